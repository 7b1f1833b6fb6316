"""The base class of all backends: one array library on one device."""

from __future__ import annotations

import contextlib
import copyreg
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from anyback_nn.array_api import Array, array_namespace, is_numpy, to_numpy
from anyback_nn.backends.libraries import BACKENDS, TASKS, TRAINING, Library
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.jit.dispatch import Traced
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.scan import TracedScan
from anyback_nn.utils.memory import free_host_memory

__all__ = ["Backend", "load", "missing"]

PROCESSES: dict[str, int] = {}
"""The process in which each `Backend.runtime` was first used."""


@dataclass(frozen=True)
class Backend:
    """One array library on one device.

    Parameters
    ----------
    device_name : str, optional
        The part of the spec after the colon; None is the library's default device.
    masks_on_device : bool
        Whether dropout masks are computed on the device, where it has int64, instead of on the
        host: the same bits. Slower on the CPUs where it was measured, see
        ``benchmarks/results/dropout_masks.md``, and not measured on a GPU.
    tf32 : bool
        Whether products of float32 matrices may round their operands to the 11 binary digits of
        TF32, which NVIDIA GPUs multiply several times as fast from Ampere on; sums are in float32.
        Elsewhere it has no effect. If False, products are in float32, unless something else was set
        by `jax.default_matmul_precision` or ``torch.backends.cuda.matmul.fp32_precision``.

    Notes
    -----
    A backend holds names only, so it can be compared, hashed and pickled.
    """

    device_name: str | None = None
    masks_on_device: bool = False
    tf32: bool = False

    library: ClassVar[Library]
    """What is known of the library."""
    namespace: ClassVar[str]
    """The module that offers the library's arrays through the standard's functions."""
    packed: ClassVar[bool] = True
    """Whether the parameters are stored as one vector (see `anyback_nn.network.layout`)."""
    compiles: ClassVar[bool] = False
    """Whether functions are compiled, separately for each combination of shapes."""
    lazy: ClassVar[bool] = False
    """Whether arrays are computed only when they are read (see `defers`)."""
    steps_per_call: ClassVar[int] = 1
    """The most steps that `scan` takes in one call: an interrupt waits for its end."""

    def __reduce__(self) -> Any:
        if isinstance(self, Missing) or type(self).__module__.startswith("anyback_nn.backends."):
            # Not the class: where the library is missing, its module cannot be imported.
            return _restore, (self.name, asdict(self))
        return copyreg.__newobj__, (type(self),), self.__dict__  # type: ignore[attr-defined]

    @property
    def name(self) -> str:
        """The name of the library in a spec."""
        return self.library.name

    @property
    def spec(self) -> str:
        """The string that selects this backend again."""
        return self.name if self.device_name is None else f"{self.name}:{self.device_name}"

    @property
    def xp(self) -> Any:
        """The library as a namespace of the array API standard."""
        return importlib.import_module(self.namespace)

    @property
    def version(self) -> str:
        """The version of the library."""
        return str(importlib.import_module(self.library.module).__version__)

    @property
    def device(self) -> Any:
        """The device in the form in which the library's functions take it."""
        return "cpu"

    @property
    def device_label(self) -> str:
        """The device in words."""
        return str(self.device)

    @property
    def has_device_memory(self) -> bool:
        """Whether the device computes in memory of its own, and not in the host's."""
        return False

    @property
    def trace_rules(self) -> TraceRules | None:
        """How steps are traced (see `anyback_nn.jit`); None if they are not."""
        return None

    def devices(self) -> list[str]:
        """Return the specs of all devices that this library can use here."""
        return [self.name]

    def kinds(self) -> list[str]:
        """Return the spec of one device of each kind that can compute here, the default first."""
        return [self.name]

    def check(self) -> None:
        """Raise `BackendUnavailableError`, with the reason, if this backend cannot compute here."""
        if self.tf32 and not self.library.has_tf32:
            others = ", ".join(name for name, library in BACKENDS.items() if library.has_tf32)
            raise BackendUnavailableError(
                f"backend {self.spec!r}: it has no TF32, a format of NVIDIA's GPUs. Leave out "
                f"tf32=True, or use one of {others}"
            )
        self.check_process()
        self.check_device()

    def check_computes(self, task: str) -> None:
        """Raise `BackendUnavailableError` if the library does not compute this one of `TASKS`."""
        if task in self.library.computes:
            return
        able = " and ".join(TASKS[name] for name in self.library.computes)
        raise BackendUnavailableError(
            f"backend {self.spec!r}: it computes {able}, but no {TASKS[task]}. Train on one of "
            f"{', '.join(TRAINING)}, save the model, and load its file on {self.spec!r}"
        )

    @property
    def runtime(self) -> str:
        """What has threads or a device context of its own: the library, or a part of it."""
        return self.name

    @property
    def was_forked(self) -> bool:
        """Whether the library was used before this process was forked from another one."""
        return PROCESSES.get(self.runtime, os.getpid()) != os.getpid()

    def check_process(self) -> None:
        """Raise `BackendUnavailableError` if the library cannot compute in this forked process.

        Only the thread that forks goes on in the new process. Libraries that do not know of forks
        wait there for their other threads for ever.
        """

    def use(self) -> None:
        """Note that the library computes in this process, if it can."""
        self.check_process()
        PROCESSES.setdefault(self.runtime, os.getpid())

    def explain_fork(self) -> BackendUnavailableError:
        """Return the error for a process that was forked after the library had been used."""
        return BackendUnavailableError(
            f"backend {self.spec!r}: this process was forked from one in which "
            f"{self.library.module} had been used, and would wait for its threads for ever. Start "
            "processes by 'spawn' or 'forkserver' "
            "(multiprocessing.get_context('spawn'), or joblib's default), or compute on 'numpy', "
            "which can be forked"
        )

    def check_device(self) -> None:
        """Raise `BackendUnavailableError` if the library works but has no such device."""
        if self.device_name is not None and self.spec not in self.devices():
            raise self.no_such_device()

    def no_such_device(self) -> BackendUnavailableError:
        """Return the error for a device that does not exist."""
        return BackendUnavailableError(
            f"backend {self.spec!r}: there is no device {self.device_name!r}. "
            f"This machine has: {', '.join(self.devices())}"
        )

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is an array of this backend's library."""
        try:
            return bool(array_namespace(x) is self.xp)
        except TypeError:
            return False

    def defers(self, x: object) -> bool:
        """Return whether ``x`` is an array of this library that is computed only when it is read.

        Its values are not checked, and it is not cut into batches: it has chunks of its own.
        """
        return self.lazy and self.owns(x)

    def supports(self, dtype: str) -> bool:
        """Return whether the device has a dtype: some have no float64, few have bfloat16."""
        if dtype in self.library.half_dtypes:
            return True
        with self.scope(dtype):
            return dtype in self.xp.__array_namespace_info__().dtypes(device=self.device)

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """Move ``x`` to this backend's device, without a copy where possible.

        Parameters
        ----------
        x : array or nested sequence
            An array of any library, or what NumPy can convert to one.
        dtype : str, optional
            The name of the dtype to cast to, such as ``"float32"``. Default: unchanged.
        """
        if self.owns(x):
            array = self.to_device(x)
        elif (array := self._exchange(x)) is None:
            array = self._from_numpy(_cast_on_host(to_numpy(x), dtype))
        if dtype is None or array.dtype == getattr(self.xp, dtype):
            return array
        return self.xp.astype(array, getattr(self.xp, dtype))

    def to_device(self, x: Array) -> Array:
        """Move an array of this library to this backend's device, without a copy where possible."""
        return array_api_compat.to_device(x, self.device)

    def _exchange(self, x: Any) -> Array | None:
        """Take over another library's device memory through DLPack; None where that fails."""
        if is_numpy(x) or not hasattr(x, "__dlpack__"):
            return None
        try:
            # PyTorch exports only what carries no gradient.
            array = self.xp.from_dlpack(x.detach() if hasattr(x, "detach") else x)
        except Exception:  # each library refuses foreign devices with an error of its own
            return None
        return array if array_api_compat.device(array) == self.device else None

    def _from_numpy(self, x: Any) -> Array:
        """Move a NumPy array to the device."""
        return self.xp.asarray(x, device=self.device)

    def transfer(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        """Return a function that moves batches to the device one after another; here, `asarray`.

        On a device with memory of its own, it is copied while the device computes with the batches
        before (see `anyback_nn.backends.transfer`).

        Returns
        -------
        callable
            Takes the arrays of a batch, each with the name of its dtype, and returns them on the
            device.
        """
        return lambda arrays: [self.asarray(x, dtype) for x, dtype in arrays]

    def synchronize(self, *arrays: Array) -> None:
        """Wait until the device has computed ``arrays`` (a clock is right only after this)."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether this is the library's error when it runs out of memory."""
        # NumPy has another error for what is too large for any memory.
        messages = ("array is too big", "Maximum allowed dimension exceeded")
        too_big = isinstance(error, ValueError) and any(part in str(error) for part in messages)
        return too_big or isinstance(error, MemoryError)

    def is_without_values(self, error: BaseException) -> bool:
        """Return whether this is the error of a read on a device that has shapes alone."""
        return False

    def free_memory(self) -> int | None:
        """Return how many bytes are free on the device, or None if unknown."""
        return free_host_memory()

    def jit(
        self, function: Callable[..., Any], donate: tuple[int, ...] = (), *, replay: bool = False
    ) -> Callable[..., Any]:
        """Compile a function of arrays, or trace and replay it, as far as the library can.

        Parameters
        ----------
        function : callable
            A pure function of arrays, Python floats and nested dicts and tuples of them.
        donate : tuple of int
            The positions of arguments that are donated (overwritten): the caller must not use
            them again.
        replay : bool
            Whether the function is called often and does the same operations whatever the values
            are. A library without a compiler then traces it once and replays it.
        """
        rules = self.trace_rules if replay else None
        return function if rules is None else Traced(function, donate, rules)

    def scan(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        """Return a function that takes many steps in one call; None if that is not faster.

        Parameters
        ----------
        step : callable
            As for `jit` with ``replay``: ``step(*carried, *fixed, *x)`` returns ``*carried,
            result``. All that is carried from step to step is donated.
        donate : tuple of int
            The positions of the carried arguments that the step overwrites if it can; a library
            that compiles finds them by itself.

        Returns
        -------
        callable or None
            ``steps(carried, fixed, xs)`` returns ``carried`` and all results, stacked. The ``xs``
            of the steps are tuples of one structure and shape, of floats and NumPy arrays.
        """
        rules = self.trace_rules
        return None if rules is None else TracedScan(step, donate, rules)

    def clear_caches(self) -> None:
        """Drop what the library has compiled and keeps; by default nothing."""

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        """Create arrays on this device, and with ``dtype`` unchanged, inside the context."""
        yield


class Missing(Backend):
    """A backend that was pickled elsewhere, and whose library cannot be imported here."""

    def check(self) -> None:
        load(self.library, self.spec)
        raise BackendUnavailableError(
            f"backend {self.spec!r}: {self.library.module} could not be imported when this backend "
            "was unpickled. Unpickle it again"
        )


def missing(library: Library) -> type[Missing]:
    """Return the class of the missing backends of a library."""
    return type(f"Missing_{library.module}", (Missing,), {"library": library})


def load(library: Library, spec: str | None = None) -> type[Backend]:
    """Import the backend of a library.

    Parameters
    ----------
    library : Library
    spec : str, optional
        The spec that the user passed, for messages. Default: the library.

    Raises
    ------
    BackendUnavailableError
        The library is not installed, or cannot be imported.
    """
    spec = spec or library.name
    if importlib.util.find_spec(library.module) is None:
        raise BackendUnavailableError(
            f"backend {spec!r}: {library.module} is not installed. "
            f"Install it with: pip install '{library.requirement}'"
        )
    module, _, name = library.backend.partition(".")
    try:
        backend: type[Backend] = getattr(
            importlib.import_module(f"anyback_nn.backends.{module}"), name
        )
    except Exception as error:  # a broken installation may raise anything
        raise BackendUnavailableError(
            f"backend {spec!r}: {library.module} is installed but cannot be imported "
            f"({type(error).__name__}: {error}). "
            f"Install it again with: pip install --force-reinstall '{library.requirement}'"
        ) from error
    return backend


def _restore(name: str, settings: dict[str, Any]) -> Backend:
    """Unpickle a backend."""
    library, device = BACKENDS[name], settings["device_name"]
    try:
        return load(library, name if device is None else f"{name}:{device}")(**settings)
    except BackendUnavailableError:
        return missing(library)(**settings)


def _cast_on_host(x: Any, dtype: str | None) -> Any:
    """Cast before the transfer: the device may lack the wider dtype, and less is moved."""
    with np.errstate(over="ignore"):  # infinite, as where another library casts
        # Of the libraries, NumPy alone reads the other byte order.
        return x.astype(dtype or x.dtype.newbyteorder("="), copy=False)

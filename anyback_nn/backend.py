"""Which array library computes, and where: the only file that knows a concrete library.

A backend is named by a spec, ``NAME`` or ``NAME:DEVICE``: ``"numpy"``, ``"cupy"``, ``"cupy:1"``,
``"torch"``, ``"torch:cuda:0"``, ``"jax"``, ``"array-api-strict:device1"``. `select` turns the spec
into a `Backend` that is known to work; everything else in the package asks the arrays themselves
(``array_namespace(x)``) and the array API standard.

The subclasses of `Backend` are the one declaration of what is supported: the test sessions, the
test fixtures and the table in the README are made from them. Nothing but the standard library is
imported until a backend is selected.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from anyback_nn.errors import BackendUnavailableError

__all__ = [
    "BACKENDS",
    "ENVIRONMENT_VARIABLE",
    "Array",
    "Backend",
    "array_namespace",
    "is_host",
    "lies_on_host",
    "select",
    "select_for",
    "to_numpy",
]

Array = Any
"""An array of any library that follows the standard; they share no base class."""

ENVIRONMENT_VARIABLE = "ANYBACK_NN_BACKEND"
"""The environment variable that names the backend where no argument does."""


@dataclass(frozen=True)
class Backend:
    """One array library on one device.

    Parameters
    ----------
    device_name : str, optional
        What stands behind the colon of the spec; ``None`` is the library's default device.
    masks_on_device : bool
        Whether dropout masks are computed on the device, where it has int64, and not on the host
        and moved: the same bits. Slower on the CPUs where it was measured, see
        ``benchmarks/results/dropout_masks.md``, and untested on a GPU.
    tf32 : bool
        Whether products of float32 matrices may round what goes in to the 11 binary digits of TF32,
        which NVIDIA GPUs multiply several times as fast from Ampere on; sums are in float32.
        Elsewhere it has no effect. Off, it is left to the library: CuPy and PyTorch then use
        float32, but JAX uses TF32 (see ``jax.default_matmul_precision``). Untested on a GPU.

    Notes
    -----
    A backend holds names only and looks the library up when it is needed, so it can be compared,
    hashed and pickled.
    """

    device_name: str | None = None
    masks_on_device: bool = False
    tf32: bool = False

    name: ClassVar[str]
    """The name in a spec."""
    module: ClassVar[str]
    """The module whose presence tells whether the library is installed."""
    namespace: ClassVar[str]
    """The module that offers the library's arrays through the standard's functions."""
    requirement: ClassVar[str]
    """What pip installs to have it."""
    hardware: ClassVar[str]
    """Where it computes, for the table in the README."""
    purpose: ClassVar[str]
    """What it is good for, for the table in the README."""
    packed: ClassVar[bool] = True
    """Whether the parameters are stored as one vector (see `anyback_nn.network.parameters`)."""
    compiles: ClassVar[bool] = False
    """Whether functions are compiled, for each combination of shapes anew."""
    steps_a_call: ClassVar[int] = 1
    """How many steps `chained` takes in one call at the most: an interrupt waits for its end."""
    narrow: ClassVar[tuple[str, ...]] = ()
    """The dtypes of 16 bits, of which the standard has none, that the library computes in."""
    has_tf32: ClassVar[bool] = False
    """Whether the library can be asked for TF32."""

    @property
    def spec(self) -> str:
        """The text that selects this backend again."""
        return self.name if self.device_name is None else f"{self.name}:{self.device_name}"

    @property
    def xp(self) -> Any:
        """The library as a namespace of the array API standard."""
        return importlib.import_module(self.namespace)

    @property
    def version(self) -> str:
        """The version of the library."""
        return str(importlib.import_module(self.module).__version__)

    @property
    def device(self) -> Any:
        """The device in the form in which the library's functions take it."""
        return "cpu"

    @property
    def device_label(self) -> str:
        """The device in words."""
        return str(self.device)

    @property
    def own_memory(self) -> bool:
        """Whether the device computes in memory of its own, and not in the host's."""
        return False

    def devices(self) -> list[str]:
        """List the specs of all devices that this library can use here."""
        return [self.name]

    def kinds(self) -> list[str]:
        """List the spec of one device of each kind that can compute here, the default one first."""
        return [self.name]

    def check(self) -> None:
        """Raise `BackendUnavailableError`, saying why, if this backend cannot compute here."""
        if self.tf32 and not self.has_tf32:
            known = ", ".join(name for name, kind in BACKENDS.items() if kind.has_tf32)
            raise BackendUnavailableError(
                f"backend {self.spec!r}: it has no TF32, a format of NVIDIA's GPUs. Leave out "
                f"tf32=True, or use one of {known}"
            )
        if importlib.util.find_spec(self.module) is None:
            raise BackendUnavailableError(
                f"backend {self.spec!r}: {self.module} is not installed. "
                f"Install it with: pip install '{self.requirement}'"
            )
        try:
            importlib.import_module(self.namespace)
        except Exception as error:  # a broken installation may raise anything
            raise BackendUnavailableError(
                f"backend {self.spec!r}: {self.module} is installed but cannot be imported "
                f"({type(error).__name__}: {error}). "
                f"Install it again with: pip install --force-reinstall '{self.requirement}'"
            ) from error
        self.check_device()

    def check_device(self) -> None:
        """Raise `BackendUnavailableError` if the library works but has no such device."""
        if self.device_name is not None:
            raise self.no_such_device()

    def no_such_device(self) -> BackendUnavailableError:
        """Make the error for a device that does not exist."""
        return BackendUnavailableError(
            f"backend {self.spec!r}: there is no device {self.device_name!r}. "
            f"This machine has: {', '.join(self.devices())}"
        )

    def owns(self, x: object) -> bool:
        """Tell whether ``x`` is an array of this backend's library."""
        try:
            return bool(array_namespace(x) is self.xp)
        except TypeError:
            return False

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """Bring ``x`` to this backend's device; nothing is copied where nothing needs to be.

        Parameters
        ----------
        x : array or nested sequence
            An array of any library, or what NumPy can make one of.
        dtype : str, optional
            The name of the dtype to cast to, such as ``"float32"``. Default: as it is.
        """
        import array_api_compat

        if self.owns(x):
            array = array_api_compat.to_device(x, self.device)
        elif (array := self._exchange(x)) is None:
            array = self._from_numpy(_host_cast(to_numpy(x), dtype))
        if dtype is None or array.dtype == getattr(self.xp, dtype):
            return array
        return self.xp.astype(array, getattr(self.xp, dtype))

    def holds(self, dtype: str) -> bool:
        """Tell whether the device has a dtype: some have no float64, few have bfloat16."""
        if dtype in self.narrow:
            return True
        with self.scope(dtype):
            return dtype in self.xp.__array_namespace_info__().dtypes(device=self.device)

    def _exchange(self, x: Any) -> Array | None:
        """Take over another library's device memory through DLPack, or None where that fails."""
        if is_host(x) or not hasattr(x, "__dlpack__"):
            return None
        try:
            # PyTorch exports only what carries no gradient.
            array = self.xp.from_dlpack(x.detach() if hasattr(x, "detach") else x)
        except Exception:  # each library refuses foreign devices with an error of its own
            return None
        import array_api_compat

        return array if array_api_compat.device(array) == self.device else None

    def _from_numpy(self, x: Any) -> Array:
        """Bring a NumPy array to the device."""
        return self.xp.asarray(x, device=self.device)

    def feed(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        """Make what brings batches to the device one after another; here: each is, by `asarray`.

        Where it can be, the device fetches a batch while it computes with those before (untested
        on a GPU).

        Returns
        -------
        callable
            Takes the arrays of a batch, each with the name of its dtype, and gives what `asarray`
            makes of them.
        """
        return lambda arrays: [self.asarray(x, dtype) for x, dtype in arrays]

    def synchronize(self, *arrays: Array) -> None:
        """Wait until the device has computed ``arrays`` (a clock is right only after this)."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Tell whether this is how the library says that memory is used up."""
        # NumPy has another error for what is too large for any memory.
        said = ("array is too big", "Maximum allowed dimension exceeded")
        too_big = isinstance(error, ValueError) and any(words in str(error) for words in said)
        return too_big or isinstance(error, MemoryError)

    def free_memory(self) -> int | None:
        """Ask how many bytes are free on the device, or None where nothing tells."""
        return _free_host_memory()

    def compile(self, step: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """Make a function of arrays as fast as the library can; here: leave it as it is.

        Parameters
        ----------
        step : callable
            A pure function of arrays, Python floats and nested dicts and tuples of them.
        donate : tuple of int
            The positions of arguments whose memory the results may take over: the caller must
            not use those arguments again.
        """
        return step

    def recorded(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        """Make a compiled step that will be repeated often cheaper to call; here: leave it.

        Parameters
        ----------
        step : callable
            As for `compile`; moreover, it does the same operations whatever the values are, and
            depends on its arguments alone.
        donate : tuple of int
            As for `compile`.
        """
        return step

    def chained(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        """Make a function that takes many steps in one call; here: None, nothing is gained by it.

        Parameters
        ----------
        step : callable
            As for `recorded`: ``step(*carried, *fixed, *entry)`` gives ``*carried, result``. The
            memory of what is carried from step to step is used up.
        donate : tuple of int
            The positions of those, the first ones, that the step works in.

        Returns
        -------
        callable or None
            ``steps(carried, fixed, entries)`` gives ``carried`` and all results, stacked. The
            entries are tuples of one form and shape, of floats and NumPy arrays.
        """
        return None

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        """Within it, new arrays lie on this device and ``dtype`` is not cut short."""
        yield


class NumpyBackend(Backend):
    """NumPy: the CPU, and the default."""

    name = "numpy"
    module = "numpy"
    namespace = "array_api_compat.numpy"
    requirement = "numpy"
    hardware = "CPU"
    purpose = "the default: nothing else to install"
    steps_a_call = 16
    # BLAS knows no float16: NumPy multiplies such matrices in a loop of its own, which is slow.
    narrow: ClassVar[tuple[str, ...]] = ("float16",)

    def recorded(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        from anyback_nn.recorded import Recorded
        from anyback_nn.recorded.of_numpy import NUMPY

        return Recorded(step, donate, NUMPY)

    def chained(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        from anyback_nn.recorded.chain import Chain
        from anyback_nn.recorded.of_numpy import NUMPY

        return Chain(step, donate, NUMPY)

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        import numpy as np

        # As on the other libraries: what is not finite is found and reported, not warned about.
        with np.errstate(all="ignore"):
            yield


class CupyBackend(Backend):
    """CuPy: an NVIDIA GPU; ``cupy:1`` is the second one."""

    name = "cupy"
    module = "cupy"
    namespace = "array_api_compat.cupy"
    requirement = "anyback-nn[cuda13]"
    hardware = "NVIDIA GPU"
    purpose = "training on the GPU (untested on a GPU so far)"
    steps_a_call = 16
    # Its bfloat16, new in version 14, is not one of its namespace, and experimental.
    narrow = ("float16",)
    has_tf32 = True

    @property
    def device(self) -> Any:
        import cupy

        return cupy.cuda.Device(int(self.device_name or 0))

    @property
    def own_memory(self) -> bool:
        return True

    def devices(self) -> list[str]:
        import cupy

        return [f"cupy:{index}" for index in range(cupy.cuda.runtime.getDeviceCount())]

    def check_device(self) -> None:
        import cupy

        # The import succeeds without a GPU, so each thing that can be missing is asked for.
        runtime = cupy.cuda.runtime
        if runtime.driverGetVersion() == 0:
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} is installed, but this machine "
                "has no NVIDIA driver. Install the driver of your GPU, or use another backend, "
                "such as 'numpy'"
            )
        try:
            count = runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} and an NVIDIA driver are "
                f"installed, but no GPU can be used ({error}). Check it with nvidia-smi (and "
                "CUDA_VISIBLE_DEVICES, or the container's GPU option), or use another backend, "
                "such as 'numpy'"
            ) from error
        if self.device_name is not None and not _is_index(self.device_name, count):
            raise self.no_such_device()
        try:
            with self.device:
                (cupy.zeros(1) + 1.0).get()
        except Exception as error:  # CuPy raises errors of many kinds for libraries it lacks
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} finds the GPU but cannot compute "
                f"on it ({type(error).__name__}: {error}). Install it with the CUDA libraries: "
                f"pip install '{self.requirement}' (for a driver of CUDA 12: anyback-nn[cuda12])"
            ) from error

    def feed(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        import cupy
        import cupyx

        from anyback_nn.feed import Feed

        return Feed(
            self,
            stream=cupy.cuda.Stream(non_blocking=True),
            current=cupy.cuda.get_current_stream,
            event=partial(cupy.cuda.Event, disable_timing=True),
            pinned=partial(cupyx.empty_pinned, dtype="uint8"),
            send=lambda pinned, there, stream: there.set(pinned, stream=stream),
        )

    def recorded(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        # Nobody has tried it on a GPU: a recording is compared with the step before it is used.
        from anyback_nn.recorded import Recorded
        from anyback_nn.recorded.of_cupy import CUPY

        return Recorded(step, donate, CUPY)

    def chained(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        import cupy

        from anyback_nn.network.parameters import map_leaves, stacked
        from anyback_nn.recorded.chain import Chain
        from anyback_nn.recorded.of_cupy import CUPY

        chain = Chain(step, donate, CUPY)

        def brought(leaf: Any) -> Any:
            return leaf if leaf is None or isinstance(leaf, list) else cupy.asarray(leaf)

        def steps(carried: Any, fixed: Any, entries: Any) -> Any:
            # Each kind of array goes to the device once for all steps.
            entries = list(entries)
            there = map_leaves(brought, stacked(entries))

            def entry(i: int) -> Any:
                return map_leaves(lambda leaf: None if leaf is None else leaf[i], there)

            return chain(carried, fixed, map(entry, range(len(entries))))

        return steps

    def synchronize(self, *arrays: Array) -> None:
        self.device.synchronize()

    def is_out_of_memory(self, error: BaseException) -> bool:
        # CuPy's own error is a MemoryError; CUDA and cuBLAS say it in words.
        said = ("cudaErrorMemoryAllocation", "CUBLAS_STATUS_ALLOC_FAILED")
        return super().is_out_of_memory(error) or any(words in str(error) for words in said)

    def free_memory(self) -> int | None:
        import cupy

        with self.device:
            free, _ = cupy.cuda.runtime.memGetInfo()
            # What CuPy has let go of it keeps for itself.
            return int(free) + int(cupy.get_default_memory_pool().free_bytes())

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        # Some of CuPy's creation functions ignore `device=`: the current device decides.
        with self.device, self._products():
            yield

    @contextlib.contextmanager
    def _products(self) -> Iterator[None]:
        """Allow TF32 in products, if that is wanted."""
        if not self.tf32:
            yield
            return
        # What is documented, CUPY_TF32 in the environment, is read before the first product only.
        from cupy._core import _routines_linalg as products

        before = products.get_compute_type("float32")
        products.set_compute_type("float32", products.COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            products.set_compute_type("float32", before)


class TorchBackend(Backend):
    """PyTorch, its tensors only: no autograd; ``torch:cuda:0`` is its first GPU."""

    name = "torch"
    module = "torch"
    namespace = "array_api_compat.torch"
    requirement = "anyback-nn[torch]"
    hardware = "CPU; NVIDIA, AMD or Apple GPU"
    purpose = "arrays that are already PyTorch's (GPUs untested so far)"
    steps_a_call = 16
    narrow = ("float16", "bfloat16")
    has_tf32 = True

    @property
    def device(self) -> Any:
        import torch

        device = torch.device(self.device_name or "cpu")
        if device.type == "cpu" or device.index is not None:
            return device
        # "cuda" and "cuda:0" are one device, but only the second is how a tensor names it.
        return torch.empty(0, device=device).device

    @property
    def own_memory(self) -> bool:
        return bool(self.device.type == "cuda")

    def devices(self) -> list[str]:
        import torch

        found = ["torch:cpu"]
        found += [f"torch:cuda:{index}" for index in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            found.append("torch:mps")
        return found

    def kinds(self) -> list[str]:
        first = {spec.split(":")[1]: spec for spec in reversed(self.devices())}
        return [self.name, *(first[kind] for kind in ("cuda", "mps") if kind in first)]

    def check_device(self) -> None:
        import torch

        try:
            torch.empty(0, device=torch.device(self.device_name or "cpu"))
        except Exception as error:  # RuntimeError, AssertionError, NotImplementedError
            raise self.no_such_device() from error

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        array = super().asarray(x, dtype)
        return array.detach()

    def _from_numpy(self, x: Any) -> Array:
        import numpy as np

        # PyTorch takes neither read-only memory nor negative strides.
        writable = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return super()._from_numpy(x if writable else np.array(x))

    def recorded(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        if self.device.type != "cpu":  # nobody has tried it elsewhere
            return step
        from anyback_nn.recorded import Recorded
        from anyback_nn.recorded.of_torch import TORCH

        return Recorded(step, donate, TORCH)

    def chained(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        if self.device.type != "cpu":
            return None
        import torch

        from anyback_nn.network.parameters import map_leaves
        from anyback_nn.recorded.chain import Chain
        from anyback_nn.recorded.of_torch import TORCH

        chain = Chain(step, donate, TORCH)

        def brought(leaf: Any) -> Any:
            return leaf if leaf is None or isinstance(leaf, float) else torch.from_numpy(leaf)

        return lambda carried, fixed, entries: chain(
            carried, fixed, (map_leaves(brought, entry) for entry in entries)
        )

    def feed(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        if not self.own_memory:
            return super().feed()
        import torch

        from anyback_nn.feed import Feed

        def send(pinned: Any, there: Any, stream: Any) -> None:
            with torch.cuda.stream(stream):
                there.copy_(pinned, non_blocking=True)

        return Feed(
            self,
            stream=torch.cuda.Stream(self.device),
            current=partial(torch.cuda.current_stream, self.device),
            event=torch.cuda.Event,
            pinned=partial(torch.empty, dtype=torch.uint8, pin_memory=True),
            send=send,
        )

    def synchronize(self, *arrays: Array) -> None:
        import torch

        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    def is_out_of_memory(self, error: BaseException) -> bool:
        import torch

        if super().is_out_of_memory(error) or isinstance(error, torch.OutOfMemoryError):
            return True
        # The allocators of the CPU (also that of Windows) and of Apple's GPUs have no class.
        said = ("out of memory", "DefaultCPUAllocator: can't allocate", "not enough memory")
        return isinstance(error, RuntimeError) and any(words in str(error) for words in said)

    def free_memory(self) -> int | None:
        import torch

        if self.device.type == "cpu":
            return super().free_memory()
        if self.device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        # What PyTorch has let go of it keeps for itself.
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(free) + int(kept)

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        if not self.tf32:
            yield
            return
        import torch

        # A setting of the whole process.
        products = torch.backends.cuda.matmul
        before = products.fp32_precision
        products.fp32_precision = "tf32"
        try:
            yield
        finally:
            products.fp32_precision = before


class JaxBackend(Backend):
    """JAX: steps are compiled; ``jax:1`` is its second device."""

    name = "jax"
    module = "jax"
    namespace = "jax.numpy"
    requirement = "anyback-nn[jax]"
    hardware = "CPU; GPU or TPU with their JAX plugins"
    purpose = "compiled steps (GPUs and TPUs untested so far)"
    narrow = ("float16", "bfloat16")
    has_tf32 = True
    # Slices of one vector as matrix operands leave XLA's fast path on the CPU.
    packed = False
    compiles = True
    steps_a_call = 512

    @property
    def device(self) -> Any:
        import jax

        return jax.devices()[int(self.device_name or 0)]

    @property
    def own_memory(self) -> bool:
        return bool(self.device.platform != "cpu")

    def devices(self) -> list[str]:
        import jax

        return [f"jax:{index}" for index in range(len(jax.devices()))]

    def check_device(self) -> None:
        if self.device_name is not None and not _is_index(self.device_name, len(self.devices())):
            raise self.no_such_device()

    def _from_numpy(self, x: Any) -> Array:
        import jax
        import numpy as np

        # It may keep to memory that the caller goes on to write to, and `jax.numpy.asarray`, which
        # does not, takes several times as long.
        return jax.device_put(np.array(x), self.device)

    def synchronize(self, *arrays: Array) -> None:
        import jax

        jax.block_until_ready(arrays)

    def is_out_of_memory(self, error: BaseException) -> bool:
        import jax

        if super().is_out_of_memory(error):
            return True
        # Found while something else was dispatched, it has another status and the same words.
        said = ("RESOURCE_EXHAUSTED", "Out of memory")
        known = isinstance(error, jax.errors.JaxRuntimeError)
        return known and any(words in str(error) for words in said)

    def free_memory(self) -> int | None:
        if self.device.platform == "cpu":
            return super().free_memory()
        known = self.device.memory_stats() or {}
        if not known.keys() >= {"bytes_limit", "bytes_in_use"}:
            return None
        return int(known["bytes_limit"]) - int(known["bytes_in_use"])

    def compile(self, step: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        import jax

        compiled: Callable[..., Any] = jax.jit(step, donate_argnums=donate)
        return compiled

    def chained(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        import jax
        import numpy as np

        from anyback_nn.network.parameters import leaves, map_leaves, stacked

        def scanned(carried: Any, fixed: Any, entries: Any) -> Any:
            def one(carried: Any, entry: Any) -> Any:
                *carried, result = step(*carried, *fixed, *entry)
                return tuple(carried), result

            return jax.lax.scan(one, carried, entries)

        compiled = self.compile(scanned, donate=(0,))

        def steps(carried: Any, fixed: Any, entries: Any) -> Any:
            # Numbers, which come as lists, are of the dtype of what they change.
            dtype = next((one.dtype for one in leaves(carried)), None)
            on_host = map_leaves(
                lambda one: np.asarray(one, dtype) if isinstance(one, list) else one,
                stacked(list(entries)),
            )
            # They go to where the others are.
            return compiled(carried, fixed, on_host)

        return steps

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        import jax

        with contextlib.ExitStack() as settings:
            if dtype == "float64":
                settings.enter_context(jax.enable_x64(True))
            if self.tf32:
                settings.enter_context(jax.default_matmul_precision("tensorfloat32"))
            yield


class StrictBackend(NumpyBackend):
    """array-api-strict: the standard and nothing else, to find code that relies on more."""

    name = "array-api-strict"
    module = "array_api_strict"
    namespace = "array_api_strict"
    requirement = "array-api-strict"
    hardware = "CPU"
    purpose = "testing that code keeps to the standard (slow)"
    packed = False
    narrow = ()
    recorded = Backend.recorded
    chained = Backend.chained

    @property
    def device(self) -> Any:
        return self.xp.Device(self.device_name or "CPU_DEVICE")

    @property
    def device_label(self) -> str:
        return self.device_name or "CPU_DEVICE"

    def devices(self) -> list[str]:
        known = self.xp.__array_namespace_info__().devices()
        return [f"{self.name}:{device._device}" for device in known]

    def check_device(self) -> None:
        if self.device_name is not None and self.spec not in self.devices():
            raise self.no_such_device()


BACKENDS: dict[str, type[Backend]] = {
    backend.name: backend
    for backend in (NumpyBackend, CupyBackend, TorchBackend, JaxBackend, StrictBackend)
}
"""Every supported backend by its name."""


def select(
    spec: str | Backend | None = None,
    *,
    masks_on_device: bool | None = None,
    tf32: bool | None = None,
) -> Backend:
    """Select the backend that computes.

    Parameters
    ----------
    spec : str or Backend, optional
        ``NAME`` or ``NAME:DEVICE``. Default: the environment variable ``ANYBACK_NN_BACKEND``,
        and where that is not set, ``"numpy"``.
    masks_on_device : bool, optional
        Where dropout masks are made, see `Backend`. Default: on the host, or as the given backend
        does it.
    tf32 : bool, optional
        Whether products may be computed in TF32, see `Backend`. Default: as the given backend, if
        it is one, else not.

    Returns
    -------
    Backend
        A backend that can compute on this machine.

    Raises
    ------
    ValueError
        The name is not one of `BACKENDS`.
    BackendUnavailableError
        The library is not installed, or has no driver, no device or not that device, or no TF32.

    Examples
    --------
    >>> backend = select("numpy")
    >>> backend.spec, backend.asarray([1, 2], dtype="float32").dtype.name
    ('numpy', 'float32')
    """
    asked = {"masks_on_device": masks_on_device, "tf32": tf32}
    options: dict[str, Any] = {name: on for name, on in asked.items() if on is not None}
    if isinstance(spec, Backend):
        spec = replace(spec, **options) if options else spec
        spec.check()
        return spec
    if spec is None:
        named = os.environ.get(ENVIRONMENT_VARIABLE)
        try:
            return select(named or "numpy", **options)
        except (BackendUnavailableError, ValueError) as error:
            said = f" (chosen by the environment variable {ENVIRONMENT_VARIABLE})" if named else ""
            raise type(error)(f"{error}{said}") from error
    if not isinstance(spec, str):
        raise TypeError(f"expected the name of a backend, such as 'numpy', got {spec!r}")
    name, colon, device_name = spec.partition(":")
    if name not in BACKENDS or (colon and not device_name):
        gpu = ["cupy", "torch:cuda"]
        usual = {"cuda": gpu, "gpu": gpu, "pytorch": ["torch"]}
        close = usual.get(name) or difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"unknown backend {spec!r}: expected NAME or NAME:DEVICE with NAME one of "
            f"{', '.join(BACKENDS)}.{hint}"
        )
    backend = BACKENDS[name](device_name or None, **options)
    backend.check()
    return backend


def select_for(x: Array) -> Backend:
    """Select the backend that computes where an array lies.

    Raises
    ------
    TypeError
        No backend has arrays of this kind.

    Examples
    --------
    >>> import numpy as np
    >>> select_for(np.zeros(3)).spec
    'numpy'
    """
    import array_api_compat

    # The library of an array has been imported.
    for backend in (kind() for kind in BACKENDS.values() if kind.module in sys.modules):
        if backend.owns(x):
            device = array_api_compat.device(x)
            named = (select(spec) for spec in backend.devices())
            return next((one for one in (backend, *named) if one.device == device), backend)
    raise TypeError(
        f"expected an array of one of {', '.join(BACKENDS)}, got {type(x).__module__}."
        f"{type(x).__name__}"
    )


_NAMESPACES: dict[type, Any] = {}


def array_namespace(x: Array) -> Any:
    """Find the library of an array, as a namespace of the array API standard.

    What `array_api_compat.array_namespace` finds, remembered for each type of array: it is asked
    for in every layer at every step.

    Raises
    ------
    TypeError
        ``x`` is not an array of a library that follows the standard.

    Examples
    --------
    >>> import numpy as np
    >>> array_namespace(np.zeros(3)).__name__
    'array_api_compat.numpy'
    """
    kind = type(x)
    if kind not in _NAMESPACES:
        import array_api_compat

        _NAMESPACES[kind] = array_api_compat.array_namespace(x)
    return _NAMESPACES[kind]


def is_host(x: object) -> bool:
    """Tell whether ``x`` already lies in the host's memory as NumPy sees it."""
    import array_api_compat

    return array_api_compat.is_numpy_array(x) or not array_api_compat.is_array_api_obj(x)


def lies_on_host(x: object) -> bool:
    """Tell whether ``x`` lies in the host's memory, whichever library's array it is."""
    import array_api_compat

    if is_host(x):
        return True
    device = array_api_compat.device(x)
    # JAX's and array-api-strict's are not called so.
    return "cpu" in (str(device), getattr(device, "platform", None)) or "CPU_DEVICE" in str(device)


def to_numpy(x: Any) -> Any:
    """Bring an array of any library, from any device, to NumPy.

    Examples
    --------
    >>> to_numpy([[1, 2]]).shape
    (1, 2)
    """
    import array_api_compat
    import numpy as np

    if array_api_compat.is_torch_array(x):
        x = x.detach().cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if array_api_compat.is_cupy_array(x):
        return x.get()
    if type(x).__module__.startswith("array_api_strict"):
        x = array_api_compat.to_device(x, StrictBackend().device)
    return np.asarray(x)


def _host_cast(x: Any, dtype: str | None) -> Any:
    """Cast before the transfer: the device may lack the wider dtype, and less is moved."""
    import numpy as np

    with np.errstate(over="ignore"):  # infinite, as where another library casts
        # Of the libraries, NumPy alone reads the other byte order.
        return x.astype(dtype or x.dtype.newbyteorder("="), copy=False)


def _free_host_memory() -> int | None:
    """Ask the operating system how many bytes of the host's memory are free."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        # Linux counts what it can drop at once, such as files that were read, as free here only.
        with open("/proc/meminfo", encoding="ascii") as lines:
            line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # there is no such question on this system
        return None


def _is_index(text: str, count: int) -> bool:
    """Tell whether ``text`` is a whole number from 0 to ``count - 1``."""
    return text.isdecimal() and int(text) < count

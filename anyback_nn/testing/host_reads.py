"""Refuse or count reads of values back to the host, which on a GPU wait for the device.

array-api-strict has devices that only pretend to be elsewhere, so what would cross the bus can be
seen without a GPU. On them it refuses conversions to NumPy (``np.asarray(x)``), but not the reading
of a single value: ``float(x)``, ``if x``. The guard refuses all of them, and counts the explicit
transfers by ``to_device``. `count_host_reads` refuses nothing, and counts on other libraries too.

Both listen to the methods of the array class, and to the functions of NumPy that read the memory of
a CPU without them. These are replaced while anybody listens.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import numpy as np

from anyback_nn.array_api import on_host
from anyback_nn.backends import Backend, select
from anyback_nn.errors import AnybackError
from anyback_nn.testing.variants import under_test

__all__ = [
    "HostReadError",
    "HostReads",
    "count_host_reads",
    "ignore_reads",
    "no_host_reads",
    "restrict",
]

READS = {
    "__bool__": "bool() (also `if`, `while`, `and`, `or`, `not`)",
    "__int__": "int()",
    "__float__": "float()",
    "__complex__": "complex()",
    "__index__": "index() (also use as an index or as a size)",
    "__array__": "NumPy",
    "__buffer__": "NumPy, or what else reads memory",
    "__dlpack__": "DLPack, by another library",
}
"""The methods that read values back implicitly, and what calls them."""

EXPLICIT = {
    "item": "item()",
    "tolist": "tolist()",
    "numpy": "NumPy",
    "unwrap_numpy": "NumPy",
    "compute": "compute()",
    "__repr__": "repr()",
    "__str__": "str()",
}
"""The methods that read values openly, and how they are counted."""

MOVES = ("to_device", "to", "cpu", "get", "asnumpy")
"""The methods that may move an array to the host, such as CuPy's `get` and dpnp's `asnumpy`."""

FUNCTIONS = {"asarray": "a", "array": "object"}
"""The functions of NumPy that may read an array without its methods, and the argument's name."""


class HostReadError(AnybackError):
    """A value was read back to the host where nothing should be."""


class HostReads:
    """The number of transfers to the host."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @property
    def count(self) -> int:
        """The number of calls of ``to_device`` to the host (`to_numpy` is one) in this thread."""
        return getattr(self._of_thread, "count", 0)

    def add(self, n: int) -> None:
        """Count transfers of this thread."""
        self._of_thread.count = self.count + n


# Listen to an array class ------------------------------------------------------------------------


class Listener:
    """Is told of each outermost call of a method that may read values, in every thread."""

    def before(self, x: Any, method: str) -> None:
        """Look at an array whose method is about to be called; may raise."""

    def after(self, x: Any, method: str, result: Any) -> None:
        """Look at an array whose method has returned."""


LISTENERS: dict[type, list[Listener]] = {}
"""Who listens to each class of arrays whose methods are replaced."""

ORIGINALS: dict[Any, dict[str, Any]] = {}
"""What was replaced in each class, and in NumPy; None for methods that a class inherits."""

LOCK = threading.Lock()
CALLS = threading.local()


@contextlib.contextmanager
def ignore_reads() -> Iterator[None]:
    """Tell nobody of what this thread reads inside the context."""
    outer = getattr(CALLS, "inside", False)
    CALLS.inside = True
    try:
        yield
    finally:
        CALLS.inside = outer


@contextlib.contextmanager
def _listen(kind: type, listener: Listener) -> Iterator[None]:
    """Tell a listener of the reads of one class of arrays inside the context."""
    with LOCK:
        # The first one of any threads replaces the methods, and the last one restores them.
        if kind not in LISTENERS:
            _replace_methods(kind)
        if np not in ORIGINALS:
            _replace_functions()
        LISTENERS[kind] = [*LISTENERS.get(kind, ()), listener]
    try:
        yield
    finally:
        with LOCK:
            LISTENERS[kind] = [other for other in LISTENERS[kind] if other is not listener]
            if not LISTENERS[kind]:
                del LISTENERS[kind]
                _restore(kind)
            if not LISTENERS:
                _restore(np)


def _array_class(backend: Backend) -> type:
    """Return the class of a library's arrays."""
    # Looked up in this way, it is not seen as a touch (see `anyback_nn.testing.touched`).
    return type(vars(backend.xp)["asarray"](0.0))


def _replace_methods(kind: type) -> None:
    """Replace the methods of a class; raise TypeError if it is one of C that cannot be changed."""
    names = [name for name in (*READS, *EXPLICIT, *MOVES) if hasattr(kind, name)]
    originals = {name: vars(kind).get(name) for name in names}
    for name in names:
        setattr(kind, name, _wrap_method(kind, name, getattr(kind, name)))
    ORIGINALS[kind] = originals


def _replace_functions() -> None:
    """Replace the functions of NumPy."""
    ORIGINALS[np] = {name: getattr(np, name) for name in FUNCTIONS}
    for name, parameter in FUNCTIONS.items():
        setattr(np, name, _wrap_function(parameter, getattr(np, name)))


def _restore(owner: Any) -> None:
    """Restore what was replaced in a class, or in NumPy."""
    for name, original in ORIGINALS.pop(owner).items():
        setattr(owner, name, original) if original else delattr(owner, name)


def _wrap_method(kind: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that tells the listeners of a class of each call."""

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        return _tell(kind, self, name, lambda: method(self, *arguments, **options))

    return call


def _wrap_function(parameter: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of NumPy that tells the listeners of the array that it reads."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        x = arguments[0] if arguments else options.get(parameter)
        kind = next((kind for kind in tuple(LISTENERS) if isinstance(x, kind)), None)
        if kind is None:
            return function(*arguments, **options)
        return _tell(kind, x, "__array__", lambda: function(*arguments, **options))

    return call


def _tell(kind: type, x: Any, method: str, read: Callable[[], Any]) -> Any:
    """Call a method of an array, and tell the listeners of its class, unless in another one."""
    listeners = () if getattr(CALLS, "inside", False) else LISTENERS.get(kind, ())
    for listener in listeners:
        listener.before(x, method)
    with ignore_reads():
        result = read()
    for listener in listeners:
        listener.after(x, method, result)
    return result


# Refuse ------------------------------------------------------------------------------------------


class _Guard(Listener):
    """Refuses reads from array-api-strict's devices, and counts explicit transfers."""

    def __init__(self, host: Any, thread: int | None) -> None:
        self.host = host
        self.thread = thread
        self.reads = HostReads()

    def holds(self) -> bool:
        """Return whether the guard holds in this thread."""
        return self.thread in (None, threading.get_ident())

    def before(self, x: Any, method: str) -> None:
        if method not in READS or x.device == self.host or not self.holds():
            return
        raise HostReadError(
            f"a value on array-api-strict's {x.device._device!r} was read back to the host by "
            f"{READS[method]}. On a GPU this waits for the device. Keep it an array (`xp.where` "
            "instead of `if`, `array_namespace(x)` instead of NumPy), or move it explicitly, at "
            "the end, with anyback_nn.array_api.to_numpy"
        )

    def after(self, x: Any, method: str, result: Any) -> None:
        if method == "to_device" and self.holds():
            self.reads.add(x.device != self.host and result.device == self.host)


@contextlib.contextmanager
def no_host_reads(*, all_threads: bool = False) -> Iterator[HostReads]:
    """Raise `HostReadError` if a value on a device is read but by an explicit transfer.

    It watches the devices of array-api-strict other than ``CPU_DEVICE``, such as the backend
    ``"array-api-strict:device1"``; arrays of other libraries are let through. (Where JAX is
    compiled, it refuses such reads itself.)

    Parameters
    ----------
    all_threads : bool
        Whether reads are refused in all threads, and not in the calling one alone.

    Yields
    ------
    HostReads
        The number of explicit transfers so far, in the thread that looks at it.

    Raises
    ------
    BackendUnavailableError
        array-api-strict is not installed.
    HostReadError
        Within it, when ``float() int() bool() index() complex()``, NumPy or DLPack reads a value.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> from anyback_nn.array_api import to_numpy
    >>> x = select("array-api-strict:device1").asarray([1.0, 2.0])
    >>> with no_host_reads() as reads:
    ...     y = to_numpy(x * 2)
    >>> reads.count
    1
    >>> with no_host_reads():
    ...     if x[0] > 0:
    ...         pass
    Traceback (most recent call last):
    ...
    anyback_nn.testing.host_reads.HostReadError: a value on array-api-strict's 'device1' was ...
    """
    strict = select("array-api-strict")
    guard = _Guard(strict.device, None if all_threads else threading.get_ident())
    with _listen(_array_class(strict), guard):
        yield guard.reads


@contextlib.contextmanager
def restrict(backend: Backend, *, all_threads: bool = False) -> Iterator[None]:
    """Restrict a backend as `under_test` does, and refuse reads from a pretended device."""
    pretended = backend.name == "array-api-strict" and backend.device_name is not None
    guard = no_host_reads(all_threads=all_threads) if pretended else contextlib.nullcontext()
    with under_test(backend), guard:
        yield


# Count -------------------------------------------------------------------------------------------


class _Counter(Listener):
    """Counts the reads of arrays on one device, by what reads them."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def after(self, x: Any, method: str, result: Any) -> None:
        # A move is a read if it crosses from the device to the host: the copy on the host may be
        # read at will. Where the device is the host itself, the read of the copy counts.
        if method in MOVES and (on_host(x) or not on_host(result)):
            return
        if array_api_compat.device(x) == self.device:
            words = (READS | EXPLICIT).get(method, f"{method}()")
            with self.lock:
                self.counts[words.partition(" (")[0].partition(", ")[0]] += 1


@contextlib.contextmanager
def count_host_reads(backend: Backend) -> Iterator[Counter[str] | None]:
    """Count the reads of values on a backend's device inside the context, of all threads.

    Parameters
    ----------
    backend : Backend

    Yields
    ------
    Counter or None
        The number of reads by what made them, such as ``"float()"`` or ``"NumPy"``; None if they
        cannot be counted, as those of NumPy's arrays, which are in the host's memory.

    Notes
    -----
    Operations that wait for the device inside a library are not seen, such as boolean indexing.
    Nor is a function of NumPy that gets an array of JAX on its CPU, ``np.exp(x)``.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> backend = select("array-api-strict:device1")
    >>> with count_host_reads(backend) as counts:
    ...     positive = bool(backend.asarray(1.0) > 0)
    >>> dict(counts)
    {'bool()': 1}
    """
    counter = _Counter(backend.device)
    with contextlib.ExitStack() as stack:
        counts: Counter[str] | None = counter.counts
        try:
            stack.enter_context(_listen(_array_class(backend), counter))
        except TypeError:  # a class of C cannot be changed
            counts = None
        yield counts

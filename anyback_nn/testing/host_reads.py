"""A guard against reading values back to the host, which on a GPU waits for the device.

array-api-strict has devices that only pretend to be elsewhere, so what would cross the bus can be
seen without a GPU. On them it refuses conversions to NumPy (``np.asarray(x)``), but not the reading
of a single value: ``float(x)``, ``if x``. The guard refuses all of them, and counts the explicit
transfers by ``to_device``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from anyback_nn.backends import Backend, select
from anyback_nn.errors import AnybackError
from anyback_nn.testing.variants import under_test

__all__ = ["HostReadError", "HostReads", "no_host_reads", "watched"]

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


class HostReadError(AnybackError):
    """A value was read back to the host where nothing should be."""


@dataclass
class HostReads:
    """The number of transfers to the host.

    Attributes
    ----------
    count : int
        The number of calls of ``to_device`` to the host (`to_numpy` is one).
    """

    count: int = 0


@contextlib.contextmanager
def no_host_reads() -> Iterator[HostReads]:
    """Raise `HostReadError` if a value on a device is read but by an explicit transfer.

    It watches the devices of array-api-strict other than ``CPU_DEVICE``, such as the backend
    ``"array-api-strict:device1"``; arrays of other libraries are let through. (Where JAX is
    compiled, it refuses such reads itself.)

    Yields
    ------
    HostReads
        The number of explicit transfers so far.

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
    kind: Any = type(strict.asarray(0))
    host = strict.device
    reads = HostReads()

    def refusing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Any, *arguments: Any, **options: Any) -> Any:
            if self.device != host:
                raise HostReadError(
                    f"a value on array-api-strict's {self.device._device!r} was read back to the "
                    f"host by {READS[name]}. On a GPU this waits for the device. Keep it an array "
                    "(`xp.where` instead of `if`, `array_namespace(x)` instead of NumPy), or move "
                    "it explicitly, at the end, with anyback_nn.array_api.to_numpy"
                )
            return method(self, *arguments, **options)

        return read

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def to_device(self: Any, device: Any, /, **options: Any) -> Any:
            reads.count += self.device != host and device == host
            return method(self, device, **options)

        return to_device

    before = {name: vars(kind)[name] for name in READS if name in vars(kind)}
    move = kind.to_device
    for name, method in before.items():
        setattr(kind, name, refusing(name, method))
    kind.to_device = counting(move)
    try:
        yield reads
    finally:
        for name, method in before.items():
            setattr(kind, name, method)
        kind.to_device = move


@contextlib.contextmanager
def watched(backend: Backend) -> Iterator[None]:
    """Within it, `under_test` holds, and on a pretended device nothing is read back."""
    pretended = backend.name == "array-api-strict" and backend.device_name is not None
    with under_test(backend), no_host_reads() if pretended else contextlib.nullcontext():
        yield

"""What tracing needs to know about an array library: its memory, and which functions are traced.

`anyback_nn.backends.numpy`, `anyback_nn.backends.torch` and `anyback_nn.backends.cupy` define the
rules of their libraries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from anyback_nn.jit.graph import Buffer, Op

__all__ = ["TraceRules"]


class TraceRules(ABC):
    """An array library whose functions can write into memory that they are given.

    Attributes
    ----------
    array : type
        The class of its arrays.
    namespace : module
        The array API standard for them.
    functions : dict of str to callable
        The functions of the standard that can be traced: called with tracers, each adds itself to
        the graph and returns a tracer.
    in_place : dict of str to callable
        The same for those that Python's augmented assignments call.
    copy : callable
        ``copy(target, source)`` copies the elements of one array over those of another.
    fill : callable
        ``fill(target, number)`` writes a number into an array.
    tile_bytes : int
        The bytes of an array that go through several functions while they are in the cache.
    kernel_bound : bool
        Whether each call launches a kernel of a GPU, which takes longer than all that Python does
        instead. Then numbers are passed to functions as they are, inputs are not copied, and
        results are in new memory at each call.
    verify : callable, optional
        ``verify(result, expected, before)`` returns the share of the elements of a result that
        differ by more than rounding; ``before`` is what it was, if it was changed in place, else
        None. If given, a program is replayed at once and dropped if that fails or differs from what
        the step itself returned.
    """

    array: type[Any]
    namespace: Any
    functions: ClassVar[dict[str, Callable[..., Any]]]
    in_place: ClassVar[dict[str, Callable[..., Any]]]
    copy: Callable[[Any, Any], Any]
    fill: Callable[[Any, float], Any]
    tile_bytes: int
    kernel_bound: bool = False
    verify: Callable[[Any, Any, Any], float] | None = None

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of uninitialised memory."""

    @abstractmethod
    def scalar(self, number: Any, dtype: Any) -> Any:
        """Return an array without axes."""

    @abstractmethod
    def clone(self, array: Any) -> Any:
        """Return a copy of an array in memory of its own."""

    @abstractmethod
    def address(self, array: Any) -> tuple[Any, ...]:
        """Return where an array begins, and its strides."""

    @abstractmethod
    def is_contiguous(self, array: Any) -> bool:
        """Return whether the elements are stored one after another, row by row."""

    @abstractmethod
    def overlap(self, a: Any, b: Any) -> bool:
        """Return whether two arrays may share memory."""

    def rewrite(self, ops: list[Op], outputs: Iterable[Buffer]) -> list[Op]:
        """Return fewer operations that do the same; ``outputs`` are the buffers read afterwards."""
        return ops

    def is_real(self, dtype: Any) -> bool:
        """Return whether a dtype is a real floating one."""
        return bool(self.namespace.isdtype(dtype, "real floating"))

    def is_scalar(self, x: Any) -> bool:
        """Return whether this is a scalar of the library's own, which its functions take."""
        return False

    def is_large(self, x: Any) -> bool:
        """Return whether this is an array with axes, and not a number or a string."""
        return isinstance(x, self.array) and x.ndim > 0

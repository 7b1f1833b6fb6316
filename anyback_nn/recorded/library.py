"""What recording needs to know of an array library: how memory is made, and what can be recorded.

- `anyback_nn.recorded.of_numpy`, `anyback_nn.recorded.of_torch` and `anyback_nn.recorded.of_cupy`
  tell it of theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, ClassVar

from anyback_nn.recorded.stand_ins import Namespace, Stand, operators
from anyback_nn.recorded.tape import Memory, Operation

__all__ = ["Library"]


class Library(ABC):
    """An array library whose functions can be told where to write.

    Attributes
    ----------
    array : type
        Of its arrays.
    namespace : module
        The array API standard for them.
    functions : dict of str to callable
        The functions of the standard that can be recorded: called with stand-ins, each notes itself
        down and gives a stand-in.
    in_place : dict of str to callable
        The same for those that Python's augmented assignments call.
    copy : callable
        ``copy(target, source)`` writes the entries of one array over those of another.
    fill : callable
        ``fill(target, number)`` writes a number into an array.
    block : int
        How many bytes of an array go through several functions while they are in the cache.
    launches : bool
        Whether each call launches a kernel of a GPU, which takes longer than all that Python does
        instead: numbers are handed to functions as they are, inputs are not copied, and results
        lie in new memory each time.
    checked : bool
        Whether a recording is repeated at once, and dropped if that fails or does not give what the
        step itself gave: see `differing`.
    """

    array: type[Any]
    namespace: Any
    functions: ClassVar[dict[str, Callable[..., Any]]]
    in_place: ClassVar[dict[str, Callable[..., Any]]]
    copy: Callable[[Any, Any], Any]
    fill: Callable[[Any, float], Any]
    block: int
    launches: bool = False
    checked: bool = False

    @cached_property
    def stand(self) -> type[Stand]:
        """What stands for its arrays."""
        # A class of its own, because the namespace of an array is found by its class.
        members = {"library": self, "namespace": Namespace(self.namespace, self.functions)}
        return type("Stand", (Stand,), members | operators(self.functions, self.in_place))

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Make an array of memory that nothing is written to."""

    @abstractmethod
    def scalar(self, number: Any, dtype: Any) -> Any:
        """Make an array of no axes."""

    @abstractmethod
    def copied(self, array: Any) -> Any:
        """Make an array of the same entries in memory of its own."""

    @abstractmethod
    def address(self, array: Any) -> tuple[Any, ...]:
        """Tell where an array begins and in which steps it goes on."""

    @abstractmethod
    def is_contiguous(self, array: Any) -> bool:
        """Tell whether the entries lie one after another, row by row."""

    @abstractmethod
    def overlap(self, one: Any, other: Any) -> bool:
        """Tell whether two arrays may have memory in common."""

    def simplified(self, operations: list[Operation], kept: Iterable[Memory]) -> list[Operation]:
        """Do the same with fewer operations, if that can be; ``kept`` is what is still read."""
        return operations

    def differing(self, found: Any, expected: Any, before: Any) -> float:
        """Tell which share of the entries of a result differ by more than rounding.

        Only asked where recordings are checked.

        Parameters
        ----------
        found, expected : array
        before : array, optional
            What it was that has been changed to them in place.
        """
        raise NotImplementedError

    def is_real(self, dtype: Any) -> bool:
        """Tell whether a dtype is of real numbers."""
        return bool(self.namespace.isdtype(dtype, "real floating"))

    def is_scalar(self, one: Any) -> bool:
        """Tell whether this is a number of the library's own, which its functions take."""
        return False

    def is_large(self, one: Any) -> bool:
        """Tell whether this is an array, and not a number or a word."""
        return isinstance(one, self.array) and one.ndim > 0

"""What is noted down while a step is followed: operations, and the memory that they use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from anyback_nn.recorded.library import Library

__all__ = ["Kind", "Memory", "NotRecordable", "Operation", "Tape", "Value"]

Kind = Literal["entries", "copy", "join", "other"]
"""What a function does: the same for each entry, a copy of each entry, vectors put together."""


class NotRecordable(Exception):
    """Something happened that cannot be repeated without Python."""


@dataclass(eq=False)
class Memory:
    """A stretch of memory.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    array : array, optional
        The memory itself; missing until the plan has found a place for it.
    leaf : int, optional
        Which of the step's inputs it is: an array that is another one at each call.
    made, used : int
        The operations that fill it first and use it last.
    """

    shape: tuple[int, ...]
    dtype: Any
    array: Any = None
    leaf: int | None = None
    made: int = -1
    used: int = -1

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Value:
    """Memory as an operation sees it: the whole, or a view of it.

    Attributes
    ----------
    memory : Memory
    views : tuple of callable
        What is done to the array, one after another, to get the view.
    """

    memory: Memory
    views: tuple[Callable[[Any], Any], ...] = ()

    def of(self, array: Any) -> Any:
        """Look at an array in this way."""
        for view in self.views:
            array = view(array)
        return array

    @property
    def array(self) -> Any:
        """The view, once the memory has its place."""
        return self.of(self.memory.array)


@dataclass(eq=False)
class Operation:
    """One call of a function of the array library.

    Attributes
    ----------
    function : callable
    arguments : tuple
        Values, the one for the result among them, and whatever else the function wants.
    options : mapping
        The same for what it wants by name.
    kind : str
        What it does, see `Kind`. A copy has what it copies to and from as its arguments, vectors
        are put together from a tuple, the first argument.
    result : Memory, optional
        The new memory that it fills.
    replaces : tuple of int
        The positions of the arguments that the result may be written over, entry by entry.
    further : tuple of Memory
        More new memory that it fills, if several functions have become one.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "other"
    result: Memory | None = None
    replaces: tuple[int, ...] = ()
    further: tuple[Memory, ...] = ()

    @property
    def results(self) -> tuple[Memory, ...]:
        """All new memory that it fills."""
        return self.further if self.result is None else (self.result, *self.further)

    @property
    def values(self) -> Iterator[Value]:
        """The memory that it uses."""
        for one in (*self.arguments, *self.options.values()):
            if isinstance(one, Value):
                yield one
            elif isinstance(one, tuple):
                yield from (entry for entry in one if isinstance(entry, Value))


@dataclass(eq=False)
class Tape:
    """All operations of a step, in order.

    Attributes
    ----------
    library : Library
        What computes.
    operations : list of Operation
    constants : dict
        The arrays that hold one number everywhere.
    """

    library: Library
    operations: list[Operation] = field(default_factory=list)
    constants: dict[Any, Any] = field(default_factory=dict)

    def filled(self, number: Any, like: Any) -> Any:
        """Give an array of the shape and dtype of another that holds a number everywhere."""
        key = (tuple(like.shape), like.dtype, float(number))
        if key not in self.constants:
            self.constants[key] = self.library.namespace.full_like(like, float(number))
        return self.constants[key]

    def note(self, operation: Operation) -> None:
        """Note down an operation on memory that is there."""
        self.operations.append(operation)

    def make(self, like: Any, operation: Callable[[Value], Operation]) -> Value:
        """Note down an operation that fills new memory, of the shape and dtype of an array.

        Parameters
        ----------
        like : array
        operation : callable
            Gives the operation, told where its result goes.
        """
        result = Value(Memory(tuple(like.shape), like.dtype))
        noted = operation(result)
        noted.result = result.memory
        self.operations.append(noted)
        return result

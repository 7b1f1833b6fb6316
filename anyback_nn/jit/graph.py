"""The graph of a traced step: a list of operations, and the buffers that they read and write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from anyback_nn.array_api import array_namespace

__all__ = ["Buffer", "Call", "Graph", "Kind", "Op", "TraceError", "View"]

Kind = Literal["elementwise", "copy", "concat", "other"]
"""What a function does with elements: each by itself, a copy, a concatenation of vectors."""


class TraceError(Exception):
    """The step did something that cannot be replayed without Python."""


@dataclass(eq=False)
class Buffer:
    """A stretch of memory.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    array : array, optional
        The memory itself; None until it is assigned (see `anyback_nn.jit.memory`).
    input_index : int, optional
        The input of the step that it is: another array at each call.
    first, last : int
        The positions of the operations that write it first and use it last.
    """

    shape: tuple[int, ...]
    dtype: Any
    array: Any = None
    input_index: int | None = None
    first: int = -1
    last: int = -1

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * int(self.dtype.itemsize)


@dataclass(frozen=True, eq=False)
class View:
    """A buffer as an operation sees it: all of it, or a view.

    Attributes
    ----------
    buffer : Buffer
    path : tuple of callable
        The functions, applied one after another, that make the view of the buffer's array.
    """

    buffer: Buffer
    path: tuple[Callable[[Any], Any], ...] = ()

    def of(self, array: Any) -> Any:
        """Return this view of an array."""
        for function in self.path:
            array = function(array)
        return array

    @property
    def array(self) -> Any:
        """The view, once the buffer has its memory."""
        return self.of(self.buffer.array)


@dataclass(eq=False)
class Op:
    """One call of a function of the array library.

    Attributes
    ----------
    function : callable
    arguments : tuple
        Views, that of the result among them, and whatever else the function takes.
    options : mapping
        The same for keyword arguments.
    kind : str
        See `Kind`. A copy has its target and its source as arguments; a concatenation has the
        tuple of its parts as the first one.
    result : Buffer, optional
        The new buffer that it fills.
    may_overwrite : tuple of int
        The positions of the arguments whose memory the result may take, element by element.
    more_results : tuple of Buffer
        Further new buffers that it fills, if several functions were fused.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "other"
    result: Buffer | None = None
    may_overwrite: tuple[int, ...] = ()
    more_results: tuple[Buffer, ...] = ()

    @property
    def results(self) -> tuple[Buffer, ...]:
        """All new buffers that it fills."""
        return self.more_results if self.result is None else (self.result, *self.more_results)

    @property
    def views(self) -> Iterator[View]:
        """All views that it uses."""
        for argument in (*self.arguments, *self.options.values()):
            if isinstance(argument, View):
                yield argument
            elif isinstance(argument, tuple):
                yield from (part for part in argument if isinstance(part, View))


class Call(NamedTuple):
    """An operation with its arrays filled in: a list where some are filled in at each replay."""

    function: Callable[..., Any]
    arguments: Any
    options: Mapping[str, Any]
    op: Op


@dataclass(eq=False)
class Graph:
    """All operations of a step, in order.

    Attributes
    ----------
    ops : list of Op
    constants : dict
        Arrays that hold one number everywhere, by shape, dtype and number.
    """

    ops: list[Op] = field(default_factory=list)
    constants: dict[Any, Any] = field(default_factory=dict)

    def constant(self, number: Any, like: Any) -> Any:
        """Return an array of the shape and dtype of ``like`` that holds a number everywhere."""
        key = (tuple(like.shape), like.dtype, float(number))
        if key not in self.constants:
            self.constants[key] = array_namespace(like).full_like(like, float(number))
        return self.constants[key]

    def append(self, op: Op) -> None:
        """Add an operation on buffers that exist."""
        self.ops.append(op)

    def emit(self, like: Any, build: Callable[[View], Op]) -> View:
        """Add an operation that fills a new buffer of the shape and dtype of an array.

        Parameters
        ----------
        like : array
        build : callable
            Builds the operation, given the view that it writes to.
        """
        result = View(Buffer(tuple(like.shape), like.dtype))
        op = build(result)
        op.result = result.buffer
        self.ops.append(op)
        return result

"""What tracing needs to know about an array library: its memory, and how functions are traced.

`anyback_nn.backends.numpy`, `anyback_nn.backends.torch` and `anyback_nn.backends.cupy` define the
rules of their libraries with the functions here.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, ClassVar

from anyback_nn.jit.graph import Buffer, Kind, Op, TraceError, View
from anyback_nn.jit.tracer import ScalarTracer, TracedNamespace, Tracer, operators

__all__ = [
    "TraceRules",
    "concatenation",
    "copying",
    "elementwise",
    "in_place",
    "shape_functions",
    "unwrap",
]


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

    @cached_property
    def tracer(self) -> type[Tracer]:
        """The class of the tracers of its arrays."""
        # A class of its own, because the namespace of an array is looked up by its class.
        members = {"rules": self, "namespace": TracedNamespace(self.namespace, self.functions)}
        return type("Tracer", (Tracer,), members | operators(self.functions, self.in_place))

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


def elementwise(
    function: Callable[..., Any],
    *,
    out_by_name: bool,
    kind: Kind = "elementwise",
    fill_numbers: bool = False,
) -> Callable[..., Any]:
    """Return the rule of a function that can write into a given array.

    Parameters
    ----------
    function : callable
    out_by_name : bool
        Whether it takes that array as ``out=``, and not after its operands.
    kind : str
    fill_numbers : bool
        Whether a number is replaced by an array, where it computes real numbers.
    """

    def call(*operands: Any) -> Any:
        tracer, arrays, views = unwrap(operands)
        result = tracer.rules.namespace.asarray(function(*arrays))
        if fill_numbers and tracer.rules.is_real(result.dtype):
            views = tuple(
                tracer.graph.constant(operand, result) if isinstance(operand, float | int) else view
                for operand, view in zip(operands, views)
            )
        may_overwrite = tuple(range(len(operands))) if kind == "elementwise" else ()

        def build(out: View) -> Op:
            arguments, options = (views, {"out": out}) if out_by_name else ((*views, out), {})
            return Op(function, arguments, options, kind, may_overwrite=may_overwrite)

        return tracer.emit(result, build)

    return call


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that writes into its first operand.

    Parameters
    ----------
    function : callable
        Called as ``function(target, other, out=target)``.
    """

    def call(self: Tracer, other: Any) -> Any:
        _, arrays, (target, view) = unwrap((self, other))
        if target.buffer.input_index is not None:
            raise TraceError("an input that is written to")
        function(*arrays, out=arrays[0])
        self.graph.append(Op(function, (target, view), {"out": target}, "elementwise"))
        return self

    return call


def concatenation(function: Callable[..., Any], *, out_by_name: bool) -> Callable[..., Any]:
    """Return the rule of a function that concatenates arrays: ``function(arrays, axis)``."""

    def call(arrays: Any, /, *, axis: int | None = 0) -> Any:
        tracer, parts, views = unwrap(tuple(arrays))
        kind: Kind = "concat" if axis == 0 else "other"

        def build(out: View) -> Op:
            if out_by_name:
                return Op(function, (views, axis), {"out": out}, kind)
            return Op(function, (views, axis, out), kind=kind)

        return tracer.emit(function(parts, axis), build)

    return call


def viewing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that returns a view, or a copy where it must."""

    def call(x: Tracer, /, *arguments: Any, **options: Any) -> Any:
        def look(array: Any) -> Any:
            return function(array, *arguments, **options)

        if x.rules.overlap(look(x.array), x.array):
            return x.look(look)
        return copying(look)(x)

    return call


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that cannot write into a given array: its result is copied."""

    def call(*operands: Any) -> Any:
        tracer, arrays, views = unwrap(operands)
        copy = tracer.rules.copy

        def compute(target: Any, *arrays: Any) -> None:
            copy(target, function(*arrays))

        return tracer.emit(function(*arrays), lambda out: Op(compute, (out, *views)))

    return call


def constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that uses the shape and dtype of an array alone."""

    def call(x: Tracer, /, *arguments: Any, **options: Any) -> Any:
        return function(x.array, *arguments, **options)

    return call


def shape_functions(namespace: Any) -> dict[str, Callable[..., Any]]:
    """Return the rules of the standard's functions that reshape an array, or create one like it."""
    views = ("broadcast_to", "expand_dims", "reshape", "squeeze")
    constants = ("full_like", "ones_like", "zeros_like")
    return {
        **{name: viewing(getattr(namespace, name)) for name in views},
        # An attribute is faster than the function.
        "matrix_transpose": viewing(operator.attrgetter("mT")),
        **{name: constant(getattr(namespace, name)) for name in constants},
    }


def unwrap(
    operands: tuple[Any, ...], same_dtype: tuple[int, ...] | None = None
) -> tuple[Tracer, tuple[Any, ...], tuple[Any, ...]]:
    """Return one of the tracers, the arrays of this step, and what the graph holds for them.

    Parameters
    ----------
    operands : tuple
        Numbers become arrays of the dtype of the arrays among them.
    same_dtype : tuple of int, optional
        The positions of the operands that have one dtype. Default: all.
    """
    tracer = next((x for x in operands if isinstance(x, Tracer)), None)
    if tracer is None:
        raise TraceError("an operation without an array of the step")
    rules = tracer.rules
    typed = operands if same_dtype is None else tuple(operands[i] for i in same_dtype)
    dtype = next((x.dtype for x in typed if isinstance(x, Tracer | rules.array)), None)
    constants = [_as_operand(x, dtype, rules) for x in operands]
    arrays = tuple(map(_current, constants))
    views = tuple(x.view if isinstance(x, Tracer) else x for x in constants)
    return tracer, arrays, views


def _current(operand: Any) -> Any:
    """Return the value of an operand in the step that is traced."""
    if isinstance(operand, Tracer):
        return operand.array
    return operand.number if isinstance(operand, ScalarTracer) else operand


def _as_operand(x: Any, dtype: Any, rules: TraceRules) -> Any:
    """Return what the library's function gets for an operand; a tracer stays one."""
    if isinstance(x, Tracer | rules.array) or rules.is_scalar(x):
        return x
    real = dtype is not None and rules.is_real(dtype)
    if isinstance(x, ScalarTracer):
        if not real:
            raise TraceError("a number with an array that is not of a real floating dtype")
        return x if rules.kernel_bound else x.cell(dtype, rules)
    if not isinstance(x, bool | int | float):
        raise TraceError(f"an operand of type {type(x).__name__}")
    # What the library does with a Python number at every call.
    return rules.scalar(x, dtype) if real and not isinstance(x, bool) else x

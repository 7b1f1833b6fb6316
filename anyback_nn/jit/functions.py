"""How functions of an array library are traced: each rule is built by one of the functions here.

A rule is called with tracers and does three things: it computes the result of this step, adds the
operation to the graph, and returns the tracer of the result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from anyback_nn.jit.graph import Kind, Op, TraceError, View
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.tracer import ARITHMETIC, ScalarTracer, Tracer

__all__ = [
    "call_with_out",
    "concatenation",
    "copying",
    "elementwise",
    "in_place_functions",
    "shape_functions",
    "unwrap",
]


def elementwise(
    function: Callable[..., Any],
    *,
    out_by_name: bool = True,
    kind: Kind = "elementwise",
    fill_numbers: bool = False,
    same_dtype: slice = slice(None),
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
    same_dtype : slice
        The operands that have one dtype, which is that of numbers.
    """

    def call(*operands: Any) -> Any:
        tracer, arrays, views = unwrap(operands, same_dtype)
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


def in_place_functions(
    functions: Mapping[str, Callable[..., Any]],
) -> dict[str, Callable[..., Any]]:
    """Return the rules of augmented assignments, by the functions that they call.

    Parameters
    ----------
    functions : mapping of str to callable
        The library's, by their names in the standard: ``function(target, other, out=target)``.
    """
    return {name: _in_place(functions[name]) for name in ARITHMETIC.values()}


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that writes into its first operand."""

    def call(self: Tracer, other: Any) -> Any:
        _, arrays, (target, view) = unwrap((self, other))
        if target.buffer.input_index is not None:
            raise TraceError("an input that is written to")
        function(*arrays, out=arrays[0])
        self.graph.append(Op(function, (target, view), {"out": target}, "elementwise"))
        return self

    return call


def call_with_out(
    function: Callable[..., Any], *arguments: Any, kind: Kind = "other", **options: Any
) -> Any:
    """Trace the call of a function that takes the array to write into as ``out=``.

    Parameters
    ----------
    function : callable
    *arguments, **options
        Its arguments: tracers, and what is the same at every call.
    kind : str
    """
    tracer = next(x for x in arguments if isinstance(x, Tracer))
    arrays = [x.array if isinstance(x, Tracer) else x for x in arguments]
    views = tuple(x.view if isinstance(x, Tracer) else x for x in arguments)
    return tracer.emit(
        function(*arrays, **options),
        lambda out: Op(function, views, {**options, "out": out}, kind),
    )


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


def _viewing(function: Callable[..., Any]) -> Callable[..., Any]:
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


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a function that uses the shape and dtype of an array alone."""

    def call(x: Tracer, /, *arguments: Any, **options: Any) -> Any:
        return function(x.array, *arguments, **options)

    return call


def shape_functions(namespace: Any) -> dict[str, Callable[..., Any]]:
    """Return the rules of the standard's functions that reshape an array, or create one like it."""
    views = ("broadcast_to", "expand_dims", "reshape", "squeeze")
    constants = ("full_like", "ones_like", "zeros_like")
    return {
        **{name: _viewing(getattr(namespace, name)) for name in views},
        # An attribute is faster than the function.
        "matrix_transpose": _viewing(operator.attrgetter("mT")),
        **{name: _constant(getattr(namespace, name)) for name in constants},
    }


def unwrap(
    operands: tuple[Any, ...], same_dtype: slice = slice(None)
) -> tuple[Tracer, tuple[Any, ...], tuple[Any, ...]]:
    """Return one of the tracers, the arrays of this step, and what the graph holds for them.

    Parameters
    ----------
    operands : tuple
        Numbers become arrays of the dtype of the arrays among them.
    same_dtype : slice
        The operands that have one dtype.
    """
    tracer = next((x for x in operands if isinstance(x, Tracer)), None)
    if tracer is None:
        raise TraceError("an operation without an array of the step")
    rules = tracer.rules
    typed = operands[same_dtype]
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
        return x if rules.kernel_bound else x.cell(dtype)
    if not isinstance(x, bool | int | float):
        raise TraceError(f"an operand of type {type(x).__name__}")
    # What the library does with a Python number at every call.
    return rules.scalar(x, dtype) if real and not isinstance(x, bool) else x

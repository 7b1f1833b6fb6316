"""CuPy, as the recording of its steps needs it: untested on a GPU.

A recording is therefore repeated at once, which compiles all of its kernels, and used only if it
computes what the step itself did; otherwise the step is called as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import array_api_compat.cupy as compat
import cupy
import numpy as np

from anyback_nn.recorded.fused import Formula, Kernels
from anyback_nn.recorded.stand_ins import Stand, copying, entries, in_place, opened, shapes
from anyback_nn.recorded.tape import NotRecordable, Operation

__all__ = ["CUPY"]


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a reduction along axes."""

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        options = {"axis": axis, "keepdims": keepdims}
        return x.made(
            function(x.array, **options),
            lambda out: Operation(function, (x.value,), {**options, "out": out}),
        )

    return call


def minimum(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Record the smallest entries."""
    # CuPy 14 takes ``out`` for a dtype here.
    return copying(lambda array: cupy.min(array, axis=axis, keepdims=keepdims))(x)


def power(x: Any, exponent: Any, /) -> Any:
    """Record ``x ** exponent``, for which CuPy has several functions."""
    if isinstance(exponent, float | int):
        if exponent == 2:
            return entries(cupy.square, by_name=True)(x)
        if exponent in (-1, 0.5):
            raise NotRecordable("a power that CuPy computes in a way of its own")
    return entries(cupy.power, by_name=True)(x, exponent)


def choose(condition: Any, x: Any, y: Any, *, out: Any) -> None:
    """Write a choice into memory: CuPy's own function cannot be told where to."""
    cupy.copyto(out, cupy.where(condition, x, y))


def where(condition: Any, x: Any, y: Any, /) -> Any:
    """Record a choice."""
    stand, arrays, values = opened((condition, x, y), alike=(1, 2))
    return stand.made(
        cupy.where(*arrays), lambda out: Operation(choose, values, {"out": out}, "entries")
    )


def cast(x: Any, *, out: Any) -> None:
    """Write entries into memory of another dtype."""
    cupy.copyto(out, x, casting="unsafe")


def astype(x: Stand, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Record a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.made(
        x.array.astype(dtype), lambda out: Operation(cast, (x.value,), {"out": out}, "entries")
    )


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Record a concatenation."""
    stand, opened_arrays, values = opened(tuple(arrays))
    return stand.made(
        cupy.concatenate(opened_arrays, axis),
        lambda out: Operation(
            cupy.concatenate, (values, axis, out), kind="join" if axis == 0 else "other"
        ),
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Record a choice of rows by their numbers."""
    stand, (array, rows), (source, chosen) = opened((x, indices))
    return stand.made(
        cupy.take(array, rows, axis),
        lambda out: Operation(cupy.take, (source, chosen, axis, out)),
    )


# The formulas are those of CuPy's own functions, so they are as accurate.
_COMPARISONS = {
    "equal": "==",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "not_equal": "!=",
}
_FORMULAS = {
    **{
        name: Formula(f"{name}({{0}})")
        for name in (
            *("ceil", "cos", "exp", "expm1", "floor", "log", "log10", "log1p", "log2", "sin"),
            *("sqrt", "tan", "tanh"),
        )
    },
    "abs": Formula("fabs({0})"),
    "atan2": Formula("atan2({0}, {1})"),
    "divide": Formula("{0} / {1}"),
    "maximum": Formula("(isnan({0}) | isnan({1})) ? ({type})NAN : max({0}, {1})"),
    "minimum": Formula("(isnan({0}) | isnan({1})) ? ({type})NAN : min({0}, {1})"),
    "pow": Formula("pow({0}, {1})"),
    "sign": Formula("(({0} < 0) | ({0} > 0)) ? copysign(({type})1, {0}) : {0} - {0}"),
    "add": Formula("{0} + {1}", "if"),
    "multiply": Formula("{0} * {1}", "if"),
    "negative": Formula("-{0}", "if"),
    "square": Formula("{0} * {0}", "if"),
    "subtract": Formula("{0} - {1}", "if"),
    **{name: Formula(f"{{0}} {sign} {{1}}", "bif", "bool") for name, sign in _COMPARISONS.items()},
    **{name: Formula(f"{name}({{0}})", gives="bool") for name in ("isfinite", "isinf", "isnan")},
    **{name: Formula("{0} & {1}", "b") for name in ("bitwise_and", "logical_and")},
    **{name: Formula("{0} | {1}", "b") for name in ("bitwise_or", "logical_or")},
    **{name: Formula("!{0}", "b") for name in ("bitwise_invert", "logical_not")},
}
_NAMES = {"abs": "absolute", "atan2": "arctan2", "bitwise_invert": "invert", "pow": "power"}
"""Where CuPy's names differ from those of the standard."""
_ENTRIES = {name: getattr(cupy, _NAMES.get(name, name)) for name in _FORMULAS}
_NAN = """
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
"""


class _Cupy(Kernels):
    array = cupy.ndarray
    namespace = compat
    functions: ClassVar = {
        **{name: entries(function, by_name=True) for name, function in _ENTRIES.items()},
        "matmul": entries(cupy.matmul, by_name=True, of_entries=False),
        **{name: reduction(getattr(cupy, name)) for name in ("all", "any", "max", "mean", "sum")},
        **shapes(compat),
        "argmax": reduction(cupy.argmax),
        "astype": astype,
        "concat": concat,
        "min": minimum,
        "pow": power,
        "take": take,
        "vecdot": copying(compat.vecdot),
        "where": where,
    }
    in_place: ClassVar = {
        name: in_place(_ENTRIES[name]) for name in ("add", "subtract", "multiply", "divide")
    }
    copy = staticmethod(cupy.copyto)
    fill = staticmethod(cupy.ndarray.fill)
    formulas: ClassVar = {
        **{_ENTRIES[name]: formula for name, formula in _FORMULAS.items()},
        cast: Formula("({type}){0}", "bif", "any"),
        choose: Formula("{0} ? {1} : {2}", "bif", alike=slice(1, None)),
    }
    checked = True

    def kernel(self, inputs: str, outputs: str, statements: str) -> Callable[..., Any]:
        # CuPy compiles it, once, when it is first called. Contracted into one operation, a product
        # and a sum would be rounded once only.
        made: Callable[..., Any] = cupy.ElementwiseKernel(
            inputs,
            outputs,
            statements,
            "anyback_nn_fused",
            preamble=_NAN,
            no_return=True,
            options=("--fmad=false",),
        )
        return made

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return cupy.empty(shape, dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        # CuPy's functions, and kernels, take it as one of the dtype of the array beside it.
        return number

    def copied(self, array: Any) -> Any:
        return array.copy()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.data.ptr, array.strides

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def overlap(self, one: Any, other: Any) -> bool:
        return bool(cupy.may_share_memory(one, other))

    def differing(self, found: Any, expected: Any, before: Any) -> float:
        found, expected = cupy.asnumpy(found), cupy.asnumpy(expected)
        if expected.dtype.kind != "f" or not expected.size:
            return float(not np.array_equal(found, expected))
        if not np.isfinite(expected).all():
            return 1.0
        # Half of the digits of the largest change must be right, where it has not been rounded off.
        changed = expected if before is None else expected - cupy.asnumpy(before)
        epsilon = float(np.finfo(expected.dtype).eps)
        allowed = math.sqrt(epsilon) * np.abs(changed).max() + 8 * epsilon * np.abs(expected).max()
        return float(np.mean(~(np.abs(found - expected) <= allowed)))


CUPY = _Cupy()
"""CuPy, on the current device."""

"""NumPy: the CPU, and the default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import array_api_compat.numpy as compat
import numpy as np

from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.jit.functions import (
    concatenation,
    elementwise,
    in_place_functions,
    shape_functions,
    unwrap,
)
from anyback_nn.jit.graph import Kind, Op, TraceError
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.tracer import ScalarTracer, Tracer

__all__ = ["RULES", "NumpyBackend", "NumpyRules"]


class NumpyBackend(Backend):
    """NumPy: the CPU, and the default."""

    library = BACKENDS["numpy"]
    namespace = "array_api_compat.numpy"
    steps_per_call = 16

    @property
    def trace_rules(self) -> TraceRules | None:
        return RULES

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        # As in the other libraries: no warning, because training checks that results are finite.
        with np.errstate(all="ignore"):
            yield


# How functions are traced ------------------------------------------------------------------------


def ufunc(function: np.ufunc) -> Callable[..., Any]:
    """Return the rule of an elementwise function, or of one of matrices."""
    # With a number, these take three times as long; they take their result as `out=` only.
    extreme = function in (np.maximum, np.minimum)
    kind: Kind = "elementwise" if function.signature is None else "other"
    return elementwise(function, out_by_name=extreme, kind=kind, fill_numbers=extreme)


def reduction(function: np.ufunc) -> Callable[..., Any]:
    """Return the rule of a reduction along axes."""

    def call(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        result = np.asarray(function.reduce(x.array, axis=axis, keepdims=keepdims))
        return x.emit(result, lambda out: Op(function.reduce, (x.view, axis, None, out, keepdims)))

    return call


def mean(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Trace a mean: as NumPy computes it, a sum and a division."""
    if x.dtype.kind != "f":
        raise TraceError("a mean of integers")
    total = reduction(np.add)(x, axis=axis, keepdims=keepdims)
    total /= x.size // total.size
    return total


def where(condition: Any, x: Any, y: Any, /) -> Any:
    """Trace a choice: a copy of all of ``y``, then ``x`` where the condition holds."""
    tracer, arrays, (chosen, first, second) = unwrap((condition, x, y), slice(1, None))

    def build(out: Any) -> Op:
        return Op(np.copyto, (out, second), kind="copy", may_overwrite=(1,))

    result = tracer.emit(np.where(*arrays), build)
    operands = (result.view, first, "same_kind", chosen)
    tracer.graph.append(Op(np.copyto, operands, kind="elementwise"))
    return result


def argmax(x: Tracer, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Trace the index of the largest element."""
    if keepdims:
        raise TraceError("argmax with keepdims")
    result = np.asarray(np.argmax(x.array, axis))
    return x.emit(result, lambda out: Op(np.argmax, (x.view, axis, out)))


def power(x: Any, exponent: Any) -> Any:
    """Trace ``x ** exponent``, for which NumPy has several functions."""
    if isinstance(exponent, ScalarTracer | Tracer):
        return ufunc(np.power)(x, exponent)
    if exponent == 2:
        return ufunc(np.square)(x)
    if exponent in (-1, 0, 0.5, 1):
        raise TraceError("a power that NumPy computes in a special way")
    return ufunc(np.power)(x, exponent)


def astype(x: Tracer, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Trace a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.emit(
        x.array.astype(dtype, order="C"),
        lambda out: Op(np.copyto, (out, x.view, "unsafe"), kind="elementwise"),
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Trace a choice of rows by their indices."""
    tracer, (array, rows), (source, chosen) = unwrap((x, indices))
    # In the mode "raise" NumPy would fill memory of its own first, and copy it.
    return tracer.emit(
        array.take(rows, axis),
        lambda out: Op(np.ndarray.take, (source, chosen, axis, out, "wrap")),
    )


_UFUNCS: dict[str, np.ufunc] = {
    "abs": np.absolute,
    "add": np.add,
    "atan2": np.arctan2,
    "bitwise_and": np.bitwise_and,
    "bitwise_invert": np.invert,
    "bitwise_or": np.bitwise_or,
    "ceil": np.ceil,
    "cos": np.cos,
    "divide": np.divide,
    "equal": np.equal,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "less": np.less,
    "less_equal": np.less_equal,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logical_and": np.logical_and,
    "logical_not": np.logical_not,
    "logical_or": np.logical_or,
    "matmul": np.matmul,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "negative": np.negative,
    "not_equal": np.not_equal,
    "positive": np.positive,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "subtract": np.subtract,
    "tan": np.tan,
    "tanh": np.tanh,
    "vecdot": np.vecdot,
}


class NumpyRules(TraceRules):
    """How NumPy's functions are traced."""

    array = np.ndarray
    namespace = compat
    functions: ClassVar = {
        **{name: ufunc(function) for name, function in _UFUNCS.items()},
        "sum": reduction(np.add),
        "max": reduction(np.maximum),
        "min": reduction(np.minimum),
        "all": reduction(np.logical_and),
        "any": reduction(np.logical_or),
        **shape_functions(compat),
        "argmax": argmax,
        "astype": astype,
        "concat": concatenation(np.concatenate, out_by_name=False),
        "mean": mean,
        "pow": power,
        "take": take,
        "where": where,
    }
    in_place: ClassVar = in_place_functions(_UFUNCS)
    copy = staticmethod(np.copyto)
    fill = staticmethod(np.ndarray.fill)
    tile_bytes = 2**19

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        return np.asarray(number, dtype=dtype)

    def clone(self, array: Any) -> Any:
        return array.copy()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.__array_interface__["data"][0], array.strides

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def overlap(self, a: Any, b: Any) -> bool:
        return bool(np.may_share_memory(a, b))

    def is_scalar(self, x: Any) -> bool:
        return isinstance(x, np.generic) and not isinstance(x, float)


RULES = NumpyRules()

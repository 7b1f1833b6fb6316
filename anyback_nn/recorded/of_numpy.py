"""NumPy, as the recording of its steps needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import array_api_compat.numpy as compat
import numpy as np

from anyback_nn.recorded.library import Library
from anyback_nn.recorded.stand_ins import (
    Number,
    Stand,
    entries,
    in_place,
    opened,
    shapes,
)
from anyback_nn.recorded.tape import NotRecordable, Operation

__all__ = ["NUMPY"]


def ufunc(function: np.ufunc) -> Callable[..., Any]:
    """Record a function of entries, or of matrices."""
    # With a number, NumPy's take three times as long; they want their memory by its name.
    extreme = function in (np.maximum, np.minimum)
    of_entries = function.signature is None
    return entries(function, by_name=extreme, of_entries=of_entries, filled=extreme)


def reduction(function: np.ufunc) -> Callable[..., Any]:
    """Record a reduction along axes."""

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        result = np.asarray(function.reduce(x.array, axis=axis, keepdims=keepdims))
        return x.made(
            result, lambda out: Operation(function.reduce, (x.value, axis, None, out, keepdims))
        )

    return call


def mean(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Record a mean: as NumPy computes it, a sum and a division."""
    if x.dtype.kind != "f":
        raise NotRecordable("a mean of whole numbers")
    total = reduction(np.add)(x, axis=axis, keepdims=keepdims)
    total /= x.size // total.size
    return total


def where(condition: Any, x: Any, y: Any, /) -> Any:
    """Record a choice: all of one, then the other where it is wanted."""
    stand, arrays, (chosen, first, second) = opened((condition, x, y), alike=(1, 2))

    def operation(out: Any) -> Operation:
        return Operation(np.copyto, (out, second), kind="copy", replaces=(1,))

    result = stand.made(np.where(*arrays), operation)
    operands = (result.value, first, "same_kind", chosen)
    stand.tape.note(Operation(np.copyto, operands, kind="entries"))
    return result


def argmax(x: Stand, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Record where the largest entry stands."""
    if keepdims:
        raise NotRecordable("argmax with keepdims")
    result = np.asarray(np.argmax(x.array, axis))
    return x.made(result, lambda out: Operation(np.argmax, (x.value, axis, out)))


def power(x: Any, exponent: Any) -> Any:
    """Record ``x ** exponent``, for which NumPy has several functions."""
    if isinstance(exponent, Number | Stand):
        return ufunc(np.power)(x, exponent)
    if exponent == 2:
        return ufunc(np.square)(x)
    if exponent in (-1, 0, 0.5, 1):
        raise NotRecordable("a power that NumPy computes in a way of its own")
    return ufunc(np.power)(x, exponent)


def astype(x: Stand, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Record a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.made(
        x.array.astype(dtype, order="C"),
        lambda out: Operation(np.copyto, (out, x.value, "unsafe"), kind="entries"),
    )


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Record a concatenation."""
    stand, opened_arrays, values = opened(tuple(arrays))
    return stand.made(
        np.concatenate(opened_arrays, axis),
        lambda out: Operation(
            np.concatenate, (values, axis, out), kind="join" if axis == 0 else "other"
        ),
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Record a choice of rows by their numbers."""
    stand, (array, rows), (source, chosen) = opened((x, indices))
    # In the mode "raise" NumPy would fill memory of its own first, and copy it.
    return stand.made(
        array.take(rows, axis),
        lambda out: Operation(np.ndarray.take, (source, chosen, axis, out, "wrap")),
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


class _Numpy(Library):
    array = np.ndarray
    namespace = compat
    functions: ClassVar = {
        **{name: ufunc(function) for name, function in _UFUNCS.items()},
        "sum": reduction(np.add),
        "max": reduction(np.maximum),
        "min": reduction(np.minimum),
        "all": reduction(np.logical_and),
        "any": reduction(np.logical_or),
        **shapes(compat),
        "argmax": argmax,
        "astype": astype,
        "concat": concat,
        "mean": mean,
        "pow": power,
        "take": take,
        "where": where,
    }
    in_place: ClassVar = {
        name: in_place(_UFUNCS[name]) for name in ("add", "subtract", "multiply", "divide")
    }
    copy = staticmethod(np.copyto)
    fill = staticmethod(np.ndarray.fill)
    block = 2**19

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        return np.asarray(number, dtype=dtype)

    def copied(self, array: Any) -> Any:
        return array.copy()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.__array_interface__["data"][0], array.strides

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def overlap(self, one: Any, other: Any) -> bool:
        return bool(np.may_share_memory(one, other))

    def is_scalar(self, one: Any) -> bool:
        return isinstance(one, np.generic) and not isinstance(one, float)


NUMPY = _Numpy()
"""NumPy."""

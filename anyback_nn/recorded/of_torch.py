"""PyTorch, as the recording of its steps needs it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import array_api_compat.torch as compat
import torch

from anyback_nn.recorded.library import Library
from anyback_nn.recorded.stand_ins import (
    Number,
    Stand,
    copying,
    entries,
    in_place,
    opened,
    shapes,
)
from anyback_nn.recorded.tape import Memory, NotRecordable, Operation, Value

__all__ = ["TORCH"]


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a reduction along axes."""

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        dims = tuple(range(x.ndim)) if axis is None else axis
        if dims == ():
            raise NotRecordable("a reduction of no axes")
        arguments = (dims, keepdims)
        return x.made(
            function(x.array, *arguments),
            lambda out: Operation(function, (x.value, *arguments), {"out": out}),
        )

    return call


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a sum or a mean of real numbers."""
    along_axes = reduction(function)

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        if not x.library.is_real(x.dtype):
            raise NotRecordable("a reduction of whole numbers")
        if axis is None and not keepdims:
            # Told where to write, PyTorch adds up in another order.
            return copying(function)(x)
        return along_axes(x, axis=axis, keepdims=keepdims)

    return call


def divide(x: Any, y: Any, /) -> Any:
    """Record a quotient."""
    if isinstance(x, float | int | Number):
        # PyTorch divides a number by an array in this way.
        return entries(torch.mul, by_name=True)(entries(torch.reciprocal, by_name=True)(y), x)
    return entries(torch.div, by_name=True)(x, y)


def power(x: Any, exponent: Any, /) -> Any:
    """Record ``x ** exponent``."""
    if not isinstance(exponent, float | int):
        return entries(torch.pow, by_name=True)(x, exponent)
    # For some numbers PyTorch has ways of its own, for no array.
    return x.made(
        torch.pow(x.array, exponent),
        lambda out: Operation(torch.pow, (x.value, exponent), {"out": out}, "entries"),
    )


def where(condition: Any, x: Any, y: Any, /) -> Any:
    """Record a choice."""
    stand, arrays, values = opened((condition, x, y), alike=(1, 2))
    return stand.made(
        torch.where(*arrays),
        lambda out: Operation(torch.where, values, {"out": out}, "entries", replaces=(1, 2)),
    )


def argmax(x: Stand, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Record where the largest entry stands."""
    arguments = (axis, keepdims)
    return x.made(
        torch.argmax(x.array, *arguments),
        lambda out: Operation(torch.argmax, (x.value, *arguments), {"out": out}),
    )


def astype(x: Stand, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Record a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.made(
        x.array.to(dtype, copy=True, memory_format=torch.contiguous_format),
        lambda out: Operation(torch.Tensor.copy_, (out, x.value), kind="entries"),
    )


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Record a concatenation."""
    if axis is None:
        raise NotRecordable("a concatenation of all entries")
    stand, opened_arrays, values = opened(tuple(arrays))
    kind: Any = "join" if axis == 0 else "other"
    return stand.made(
        torch.cat(opened_arrays, axis),
        lambda out: Operation(torch.cat, (values, axis), {"out": out}, kind),
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Record a choice of rows by their numbers."""
    stand, (array, rows), (source, chosen) = opened((x, indices))
    axis = 0 if axis is None else axis
    return stand.made(
        torch.index_select(array, axis, rows),
        lambda out: Operation(torch.index_select, (source, axis, chosen), {"out": out}),
    )


_ENTRIES = {
    "abs": torch.abs,
    "add": torch.add,
    "atan2": torch.atan2,
    "bitwise_and": torch.bitwise_and,
    "bitwise_invert": torch.bitwise_not,
    "bitwise_or": torch.bitwise_or,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "divide": torch.div,
    "equal": torch.eq,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "logical_and": torch.logical_and,
    "logical_not": torch.logical_not,
    "logical_or": torch.logical_or,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "multiply": torch.mul,
    "negative": torch.neg,
    "not_equal": torch.ne,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "subtract": torch.sub,
    "tan": torch.tan,
    "tanh": torch.tanh,
}


class _Torch(Library):
    array = torch.Tensor
    namespace = compat
    functions: ClassVar = {
        **{name: entries(function, by_name=True) for name, function in _ENTRIES.items()},
        "matmul": entries(torch.matmul, by_name=True, of_entries=False),
        **{
            name: copying(function)
            for name, function in {
                "isfinite": torch.isfinite,
                "isinf": torch.isinf,
                "isnan": torch.isnan,
                "vecdot": compat.vecdot,
            }.items()
        },
        "sum": total(torch.sum),
        "mean": total(torch.mean),
        "max": reduction(torch.amax),
        "min": reduction(torch.amin),
        "all": reduction(torch.all),
        "any": reduction(torch.any),
        **shapes(compat),
        "argmax": argmax,
        "divide": divide,
        "astype": astype,
        "concat": concat,
        "pow": power,
        "take": take,
        "where": where,
    }
    in_place: ClassVar = {
        name: in_place(_ENTRIES[name]) for name in ("add", "subtract", "multiply", "divide")
    }
    copy = staticmethod(torch.Tensor.copy_)
    fill = staticmethod(torch.Tensor.fill_)
    # Its calls take longer than NumPy's, and divide their work between threads.
    block = 2**20

    def simplified(self, operations: list[Operation], kept: Iterable[Memory]) -> list[Operation]:
        """Let comparisons give real numbers: a cast behind them takes ten times as long."""
        uses = Counter(value.memory for one in operations for value in one.values)
        kept, left = set(kept), operations[:1]
        for before, one in itertools.pairwise(operations):
            truth, cast = before.result, one.result
            alone = truth is not None and truth not in kept and uses[truth] == 2
            if alone and _is_cast(one, truth) and _compares(before, cast):
                target = {"out": one.arguments[0]}
                left[-1] = Operation(before.function, before.arguments, target, "entries", cast)
            else:
                left.append(one)
        return left

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.empty(shape, dtype=dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        return torch.tensor(number, dtype=dtype)

    def copied(self, array: Any) -> Any:
        return array.clone()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.data_ptr(), array.stride()

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.is_contiguous())

    def overlap(self, one: Any, other: Any) -> bool:
        return _begins(one) < _ends(other) and _begins(other) < _ends(one)


COMPARISONS = (torch.eq, torch.ne, torch.gt, torch.ge, torch.lt, torch.le)


def _compares(operation: Operation, like: Memory | None) -> bool:
    """Tell whether an operation compares real numbers of the same dtype as this memory."""
    if operation.function not in COMPARISONS or like is None:
        return False
    operands = (one.memory if isinstance(one, Value) else one for one in operation.arguments)
    return like.dtype.is_floating_point and all(one.dtype == like.dtype for one in operands)


def _is_cast(operation: Operation, memory: Memory | None) -> bool:
    """Tell whether an operation casts all of this memory."""
    if operation.function is not torch.Tensor.copy_ or memory is None:
        return False
    source = operation.arguments[1]
    return isinstance(source, Value) and source.memory is memory and not source.views


def _begins(x: torch.Tensor) -> int:
    return int(x.data_ptr())


def _ends(x: torch.Tensor) -> int:
    """Tell where the memory of an array ends."""
    steps = (step * (n - 1) for step, n in zip(x.stride(), x.shape))
    return int(x.data_ptr() + x.element_size() * (1 + sum(steps)))


TORCH = _Torch()
"""PyTorch, on the CPU."""

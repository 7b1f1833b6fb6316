"""Stand-ins for the arrays and numbers of a step, which note down what is done with them.

They hold the values of the step that is followed, so that shapes, dtypes and views are NumPy's own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.numpy as compat
import numpy as np

from anyback_nn.recorded.tape import NotRecordable, Tape, Value

__all__ = ["Number", "Stand"]


class Stand:
    """Stands for an array while a step is followed.

    Parameters
    ----------
    tape : Tape
    array : numpy.ndarray
        The array, with the values of this step.
    value : Value
        The memory that it will be when the step is repeated.
    """

    # NumPy's arrays leave operations with this to it.
    __array_ufunc__ = None
    device = "cpu"

    def __init__(self, tape: Tape, array: Any, value: Value) -> None:
        self.tape, self.array, self.value = tape, array, value

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return NAMESPACE

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def size(self) -> int:
        return int(self.array.size)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple):
            key = (key,)
        if not all(isinstance(one, slice | int | None) or one is ... for one in key):
            raise NotRecordable("an index that is not known beforehand")
        # With an ellipsis a single entry, too, is a view.
        key = key if ... in key else (*key, ...)
        return self.view(lambda array: array[key])

    def view(self, look: Callable[[Any], Any]) -> Stand:
        """Stand for a view of this."""
        views = (*self.value.views, look)
        return Stand(self.tape, look(self.array), Value(self.value.memory, views))

    def __pow__(self, exponent: Any) -> Any:
        return power(self, exponent)

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a value that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = _refuse


class Number:
    """Stands for a number that is handed to the step, or that it computes of such numbers.

    For each dtype of the arrays that it is combined with there is an array of no axes that holds
    it, as NumPy itself would make one.

    Parameters
    ----------
    number : float
        What it is in this step.
    compute : callable, optional
        Computes it anew from the numbers that it was made of.
    derived : list of Number
        All that are computed, in order: those of this one are added.
    """

    __array_ufunc__ = None

    def __init__(
        self,
        number: float,
        derived: list[Number],
        compute: Callable[[], float] | None = None,
    ) -> None:
        self.number, self.compute, self.derived = number, compute, derived
        self.cells: dict[Any, Any] = {}
        if compute is not None:
            derived.append(self)

    def cell(self, dtype: Any) -> Any:
        """Give the array of this dtype."""
        if dtype not in self.cells:
            self.cells[dtype] = np.asarray(self.number, dtype=dtype)
        return self.cells[dtype]

    def set(self, number: float) -> None:
        """Take another value."""
        self.number = number
        for cell in self.cells.values():
            cell[...] = number

    def update(self) -> None:
        """Compute it anew."""
        if self.compute is not None:
            self.set(self.compute())

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a number that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


# Functions ---------------------------------------------------------------------------------------


def elementwise(function: np.ufunc) -> Callable[..., Any]:
    """Record a function of entries, or of matrices, that can be told where to write."""
    replaces = (0, 1) if function.signature is None else ()

    def call(*operands: Any) -> Any:
        tape, arrays, values = opened(operands)
        result = np.asarray(function(*arrays))
        noted: Callable[..., Any] = function
        if function in (np.maximum, np.minimum):
            noted = partial(_named, function)
            if result.dtype.kind == "f":
                # With a number, NumPy's takes three times as long.
                values = tuple(
                    tape.filled(value, result) if isinstance(one, float | int) else value
                    for one, value in zip(operands, values)
                )
        made = tape.make(result, noted, lambda out: (*values, out), replaces[: len(operands)])
        return Stand(tape, result, made)

    return call


def _named(function: np.ufunc, *operands: Any) -> None:
    """Call a function that wants the memory for its result by its name."""
    *inputs, memory = operands
    function(*inputs, out=memory)


def in_place(function: np.ufunc) -> Callable[..., Any]:
    """Record a function that writes into its first operand."""

    def call(self: Stand, other: Any) -> Any:
        tape, arrays, (target, value) = opened((self, other))
        if target.memory.leaf is not None:
            raise NotRecordable("an input that is written to")
        function(*arrays, arrays[0])
        tape.note(function, target, value, target)
        return self

    return call


def reduction(function: np.ufunc) -> Callable[..., Any]:
    """Record a reduction along axes."""

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        result = np.asarray(function.reduce(x.array, axis=axis, keepdims=keepdims))
        made = x.tape.make(
            result, function.reduce, lambda out: (x.value, axis, None, out, keepdims)
        )
        return Stand(x.tape, result, made)

    return call


def mean(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Record a mean: as NumPy computes it, a sum and a division."""
    if x.dtype.kind != "f":
        raise NotRecordable("a mean of whole numbers")
    total = FUNCTIONS["sum"](x, axis=axis, keepdims=keepdims)
    total /= x.size // total.size
    return total


def where(condition: Any, x: Any, y: Any, /) -> Any:
    """Record a choice: all of one, then the other where it is wanted."""
    tape, arrays, (chosen, first, second) = opened((condition, x, y), alike=(1, 2))
    result = np.where(*arrays)
    made = tape.make(result, np.copyto, lambda out: (out, second), replaces=(1,))
    tape.note(np.copyto, made, first, "same_kind", chosen)
    return Stand(tape, result, made)


def argmax(x: Stand, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Record where the largest entry stands."""
    if keepdims:
        raise NotRecordable("argmax with keepdims")
    result = np.asarray(np.argmax(x.array, axis))
    made = x.tape.make(result, np.argmax, lambda out: (x.value, axis, out))
    return Stand(x.tape, result, made)


def power(self: Stand, exponent: Any) -> Any:
    """Record ``x ** exponent``, for which NumPy has several functions."""
    if exponent == 2:
        return elementwise(np.square)(self)
    if exponent in (-1, 0, 0.5, 1):
        raise NotRecordable("a power that NumPy computes in a way of its own")
    return FUNCTIONS["pow"](self, exponent)


def astype(x: Stand, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Record a cast."""
    if not copy and x.dtype == dtype:
        return x
    result = x.array.astype(dtype)
    made = x.tape.make(result, np.copyto, lambda out: (out, x.value, "unsafe"))
    return Stand(x.tape, result, made)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Record a concatenation."""
    tape, opened_arrays, values = opened(tuple(arrays))
    result = np.concatenate(opened_arrays, axis)
    made = tape.make(result, np.concatenate, lambda out: (values, axis, out))
    return Stand(tape, result, made)


def viewing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Follow a function that gives a view; where it copies, record that."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        def look(array: Any) -> Any:
            return function(array, *arguments, **options)

        result = look(x.array)
        if np.may_share_memory(result, x.array):
            return x.view(look)
        made = x.tape.make(result, _copy_of, lambda out: (out, look, x.value))
        return Stand(x.tape, result, made)

    return call


def _copy_of(memory: Any, look: Callable[[Any], Any], array: Any) -> None:
    """Call a function that cannot be told where to write."""
    memory[...] = look(array)


def like(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a constant of the shape of an array."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        return function(x.array, *arguments, **options)

    return call


def opened(
    operands: tuple[Any, ...], alike: tuple[int, ...] | None = None
) -> tuple[Tape, tuple[Any, ...], tuple[Any, ...]]:
    """Give the tape, the arrays of this step, and what is noted down for them.

    Parameters
    ----------
    operands : tuple
        Numbers become arrays of the dtype of those beside them.
    alike : tuple of int, optional
        The positions whose dtypes belong together. Default: all.
    """
    beside = operands if alike is None else tuple(operands[i] for i in alike)
    dtype = next((one.dtype for one in beside if isinstance(one, Stand | np.ndarray)), None)
    tape = next((one.tape for one in operands if isinstance(one, Stand)), None)
    if tape is None:
        raise NotRecordable("an operation without an array of the step")
    constants = [_constant(one, dtype) for one in operands]
    arrays = tuple(one.array if isinstance(one, Stand) else one for one in constants)
    values = tuple(one.value if isinstance(one, Stand) else one for one in constants)
    return tape, arrays, values


def _constant(one: Any, dtype: Any) -> Any:
    """Give what NumPy's function gets for an operand; a stand-in stays one."""
    if isinstance(one, Stand | np.ndarray | np.generic):
        return one
    real = dtype is not None and dtype.kind == "f"
    if isinstance(one, Number):
        if not real:
            raise NotRecordable("a number beside an array that is not of real numbers")
        return one.cell(dtype)
    if not isinstance(one, bool | int | float):
        raise NotRecordable(f"an operand of type {type(one).__name__}")
    # What NumPy does with a Python number at every call.
    return np.asarray(one, dtype=dtype) if real and not isinstance(one, bool) else one


_UFUNCS: dict[str, np.ufunc] = {
    "abs": np.absolute,
    "add": np.add,
    "atan2": np.arctan2,
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
    "pow": np.power,
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "subtract": np.subtract,
    "tan": np.tan,
    "tanh": np.tanh,
    "vecdot": np.vecdot,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: elementwise(function) for name, function in _UFUNCS.items()},
    **{
        name: reduction(function)
        for name, function in {
            "sum": np.add,
            "max": np.maximum,
            "min": np.minimum,
            "all": np.logical_and,
            "any": np.logical_or,
        }.items()
    },
    **{
        name: viewing(getattr(compat, name))
        for name in ("broadcast_to", "expand_dims", "reshape", "squeeze")
    },
    # An attribute is quicker than the function.
    "matrix_transpose": viewing(operator.attrgetter("mT")),
    **{name: like(getattr(compat, name)) for name in ("full_like", "ones_like", "zeros_like")},
    "argmax": argmax,
    "astype": astype,
    "concat": concat,
    "mean": mean,
    "where": where,
}
"""The functions of the standard that can be recorded."""


class Namespace:
    """The array API standard for stand-ins."""

    def __getattr__(self, name: str) -> Any:
        known = getattr(compat, name)
        if not callable(known) or isinstance(known, type):
            return known
        recorded = FUNCTIONS.get(name)

        def call(*arguments: Any, **options: Any) -> Any:
            if not any(map(_stands, arguments)):
                return known(*arguments, **options)
            if recorded is None:
                raise NotRecordable(f"the function {name}")
            try:
                return recorded(*arguments, **options)
            except (TypeError, AttributeError) as error:
                raise NotRecordable(f"{name} in this form ({error})") from error

        setattr(self, name, call)
        return call


NAMESPACE = Namespace()


def _stands(one: Any) -> bool:
    """Tell whether this is, or holds, a stand-in."""
    return isinstance(one, Stand | Number) or (
        isinstance(one, tuple | list) and any(map(_stands, one))
    )


def _operators() -> None:
    """Give the stand-ins Python's operators."""
    binary = {
        "add": "add",
        "sub": "subtract",
        "mul": "multiply",
        "truediv": "divide",
        "matmul": "matmul",
    }
    for python, name in binary.items():
        call = FUNCTIONS[name]
        setattr(Stand, f"__{python}__", lambda self, other, call=call: call(self, other))
        setattr(Stand, f"__r{python}__", lambda self, other, call=call: call(other, self))
        if python != "matmul":
            setattr(Stand, f"__i{python}__", in_place(_UFUNCS[name]))
    compared = {
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
        "eq": "equal",
        "ne": "not_equal",
    }
    for python, name in compared.items():
        call = FUNCTIONS[name]
        setattr(Stand, f"__{python}__", lambda self, other, call=call: call(self, other))
    functions: dict[str, np.ufunc] = {
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "neg": np.negative,
        "abs": np.absolute,
        "invert": np.invert,
    }
    for python, function in functions.items():
        setattr(Stand, f"__{python}__", elementwise(function))


def _arithmetic() -> None:
    """Let numbers be computed with."""

    def made(function: Callable[[Any, Any], float], a: Any, b: Any) -> Any:
        if not all(isinstance(one, Number | float | int) for one in (a, b)):
            return NotImplemented
        derived = next(one.derived for one in (a, b) if isinstance(one, Number))

        def compute() -> float:
            return function(*(one.number if isinstance(one, Number) else one for one in (a, b)))

        return Number(compute(), derived, compute)

    for name in ("add", "sub", "mul", "truediv"):
        function = getattr(operator, name)
        for prefix, call in {
            "": lambda self, other, function=function: made(function, self, other),
            "r": lambda self, other, function=function: made(function, other, self),
        }.items():
            setattr(Number, f"__{prefix}{name}__", call)


_operators()
_arithmetic()

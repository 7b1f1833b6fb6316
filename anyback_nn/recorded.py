"""Steps on NumPy without Python in between: recorded once, then repeated.

A step of training is a pure function: for inputs of the same shapes it is the same operations, one
after another. In a small network most of its time goes to finding out which ones, and to memory for
their results. So a step is followed once, with stand-ins for its arrays that note down each NumPy
function with the memory that it reads and writes, and from then on only these functions are called.
Memory is used again as soon as nothing that comes later reads it.

The results are the same bits: the same functions, on the same numbers, in the same order. What
cannot be noted down, such as a value that is read to decide something, ends the recording, and the
step is called as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import array_api_compat.numpy as compat
import numpy as np

from anyback_nn.network.parameters import leaves as leaves_of
from anyback_nn.network.parameters import map_leaves

__all__ = ["Recorded"]

BEFORE_RECORDING = 2
"""How often a step is called as it is first: a step that is not repeated is not worth recording."""


class NotRecordable(Exception):
    """Something happened that cannot be repeated without Python."""


# The stand-ins -----------------------------------------------------------------------------------


class Tape:
    """The functions that were called, and the memory that they use."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.free: dict[Any, list[Any]] = defaultdict(list)

    def note(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Note down a call."""
        self.calls.append((function, arguments))

    def keep(self, result: Any) -> Any:
        """Put a result into memory of the recording."""
        kind = (result.shape, result.dtype)
        memory = self.free[kind].pop() if self.free[kind] else np.empty(*kind)
        memory[...] = result
        return memory


class Stand:
    """Stands for an array while a step is followed.

    Parameters
    ----------
    tape : Tape
    array : numpy.ndarray
        The memory, with the values of this step.
    base : Stand, optional
        What this is a view of: its memory is in use as long as this is.
    lent : bool
        Whether the memory can be used for something else when this is no longer needed.
    """

    # NumPy's arrays leave operations with this to it.
    __array_ufunc__ = None
    device = "cpu"

    def __init__(
        self, tape: Tape, array: Any, base: Stand | None = None, lent: bool = False
    ) -> None:
        self.tape, self.array, self.base, self.lent = tape, array, base, lent

    def __del__(self) -> None:
        if self.lent:
            self.tape.free[self.array.shape, self.array.dtype].append(self.array)

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
        return self.view(self.array[key if ... in key else (*key, ...)])

    def view(self, array: Any) -> Stand:
        """Stand for another view of the same memory."""
        return Stand(self.tape, array, base=self)

    def __pow__(self, exponent: Any) -> Any:
        return power(self, exponent)

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a value that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = _refuse


class Number:
    """Stands for a number that is handed to the step.

    For each dtype of the arrays that it is combined with there is an array of no axes that holds
    it, as NumPy itself would make one.
    """

    __array_ufunc__ = None

    def __init__(self, value: float) -> None:
        self.value = value
        self.cells: dict[Any, Any] = {}

    def cell(self, dtype: Any) -> Any:
        """Give the array of this dtype."""
        if dtype not in self.cells:
            self.cells[dtype] = np.asarray(self.value, dtype=dtype)
        return self.cells[dtype]

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a number that is computed with")

    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


# Functions ---------------------------------------------------------------------------------------


def elementwise(function: np.ufunc) -> Callable[..., Any]:
    """Record a function of entries, or of matrices, that can be told where to write."""

    def call(*operands: Any) -> Any:
        tape, arrays = opened(operands)
        result = function(*arrays)
        memory = tape.keep(np.asarray(result))
        if function in (np.maximum, np.minimum):  # which want the memory by its name
            tape.note(partial(function, out=memory), *arrays)
        else:
            tape.note(function, *arrays, memory)
        return Stand(tape, memory, lent=True)

    return call


def in_place(function: np.ufunc) -> Callable[..., Any]:
    """Record a function that writes into its first operand."""

    def call(self: Stand, other: Any) -> Any:
        tape, (target, array) = opened((self, other))
        function(target, array, target)
        tape.note(function, target, array, target)
        return self

    return call


def reduction(function: np.ufunc) -> Callable[..., Any]:
    """Record a reduction along axes."""

    def call(x: Stand, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        result = np.asarray(function.reduce(x.array, axis=axis, keepdims=keepdims))
        memory = x.tape.keep(result)
        x.tape.note(function.reduce, x.array, axis, None, memory, keepdims)
        return Stand(x.tape, memory, lent=True)

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
    tape, (chosen, first, second) = opened((condition, x, y), alike=(1, 2))
    memory = tape.keep(np.where(chosen, first, second))
    tape.note(np.copyto, memory, second)
    tape.note(np.copyto, memory, first, "same_kind", chosen)
    return Stand(tape, memory, lent=True)


def argmax(x: Stand, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Record where the largest entry stands."""
    if keepdims:
        raise NotRecordable("argmax with keepdims")
    memory = x.tape.keep(np.asarray(np.argmax(x.array, axis)))
    x.tape.note(np.argmax, x.array, axis, memory)
    return Stand(x.tape, memory, lent=True)


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
    memory = x.tape.keep(x.array.astype(dtype))
    x.tape.note(np.copyto, memory, x.array, "unsafe")
    return Stand(x.tape, memory, lent=True)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Record a concatenation."""
    tape, opened_arrays = opened(tuple(arrays))
    memory = tape.keep(np.concatenate(opened_arrays, axis))
    tape.note(np.concatenate, opened_arrays, axis, memory)
    return Stand(tape, memory, lent=True)


def viewing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Follow a function that gives a view; where it copies, record that."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        result = function(x.array, *arguments, **options)
        if np.may_share_memory(result, x.array):
            return x.view(result)
        memory = x.tape.keep(result)
        x.tape.note(copy_of, memory, function, x.array, arguments, options)
        return Stand(x.tape, memory, lent=True)

    return call


def copy_of(
    memory: Any, function: Callable[..., Any], array: Any, arguments: Any, options: Any
) -> None:
    """Call a function that cannot be told where to write."""
    memory[...] = function(array, *arguments, **options)


def like(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a constant of the shape of an array."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        return function(x.array, *arguments, **options)

    return call


def opened(
    operands: tuple[Any, ...], alike: tuple[int, ...] | None = None
) -> tuple[Tape, tuple[Any, ...]]:
    """Give the arrays behind stand-ins; numbers become arrays of the dtype of those beside them.

    Parameters
    ----------
    operands : tuple
    alike : tuple of int, optional
        The positions whose dtypes belong together. Default: all.
    """
    beside = operands if alike is None else tuple(operands[i] for i in alike)
    dtype = next((one.dtype for one in beside if isinstance(one, Stand | np.ndarray)), None)
    tape = next((one.tape for one in operands if isinstance(one, Stand)), None)
    if tape is None:
        raise NotRecordable("an operation without an array of the step")
    return tape, tuple(operand(one, dtype) for one in operands)


def operand(one: Any, dtype: Any) -> Any:
    """Give what NumPy's function gets for an operand."""
    if isinstance(one, Stand):
        return one.array
    if isinstance(one, np.ndarray | np.generic):
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
        for name in ("broadcast_to", "expand_dims", "matrix_transpose", "reshape", "squeeze")
    },
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


_operators()


# Repeating ---------------------------------------------------------------------------------------


class Plan:
    """A recorded step: where its arguments go, what is called, where its results are.

    Parameters
    ----------
    step : callable
    arguments : tuple
    donate : tuple of int
        The positions of arguments whose memory is worked in.
    """

    def __init__(
        self, step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...]
    ) -> None:
        tape = Tape()
        lent: list[Any] = []
        self.inputs: list[Any] = []

        def work_in(leaf: Any) -> Any:
            if not isinstance(leaf, np.ndarray):
                return leaf
            lent.append(leaf)
            return Stand(tape, leaf)

        def copy(leaf: Any) -> Any:
            if leaf is None:
                return None
            entry = Number(leaf) if isinstance(leaf, float) else Stand(tape, leaf.copy())
            self.inputs.append(entry)
            return entry

        stands = [
            map_leaves(work_in if position in donate else copy, one)
            for position, one in enumerate(arguments)
        ]
        before = [array.copy() for array in lent]
        try:
            output = step(*stands)
        except Exception:
            for array, values in zip(lent, before):
                array[...] = values
            raise
        self.calls = tape.calls
        memory = {id(array) for array in lent}
        # What consists of memory that was handed in is the same at every call.
        self.output = [
            (map_leaves(_array_of, one), True) if _lies_in(one, memory) else (one, False)
            for one in output
        ]
        # The memory that it works in, as it was handed in and as it is given back.
        self.lent = [arguments[position] for position in donate]
        self.given_back = [one if fixed else None for one, fixed in self.output[: len(donate)]]

    def fits(self, donated: list[Any]) -> bool:
        """Tell whether these arguments are the memory that it works in."""
        return all(
            one is known or one is back or _same(one, known)
            for one, known, back in zip(donated, self.lent, self.given_back)
        )

    def run(self, leaves: list[Any]) -> tuple[Any, ...]:
        """Repeat the step with other arguments."""
        for one, leaf in zip(self.inputs, leaves):
            if type(one) is Number:
                for cell in one.cells.values():
                    cell[...] = leaf
            else:
                one.array[...] = leaf
        for function, arguments in self.calls:
            function(*arguments)
        return self.results()

    def results(self) -> tuple[Any, ...]:
        """Give what the step returns: copies, but for the memory that was handed in."""
        return tuple([one if fixed else map_leaves(_copied, one) for one, fixed in self.output])


def _array_of(leaf: Any) -> Any:
    return leaf.array if isinstance(leaf, Stand) else leaf


def _copied(leaf: Any) -> Any:
    return leaf.array.copy() if isinstance(leaf, Stand) else leaf


def _lies_in(tree: Any, memory: set[int]) -> bool:
    """Tell whether all arrays of a tree are among these."""
    return all(not isinstance(one, Stand) or id(one.array) in memory for one in leaves_of(tree))


def _same(tree: Any, other: Any) -> bool:
    """Tell whether two trees hold the very same arrays."""
    found, known = list(leaves_of(tree)), list(leaves_of(other))
    return len(found) == len(known) and all(one is that for one, that in zip(found, known))


class Recorded:
    """A step that is recorded for each combination of shapes, and repeated from then on.

    Parameters
    ----------
    step : callable
        A pure function of arrays, Python floats and nested dicts and tuples of them, which does
        the same operations whatever their values and returns a tuple.
    donate : tuple of int
        The positions of arguments whose memory the results may take over.

    Examples
    --------
    >>> def step(p, rate, x):
    ...     p -= rate * x
    ...     return (p,)
    >>> step = Recorded(step, donate=(0,))
    >>> p = np.zeros(2)
    >>> for rate in (1.0, 10.0, 100.0, 1000.0):
    ...     (p,) = step(p, rate, np.asarray([1.0, 2.0]))
    >>> p.tolist(), len(step.plans)
    ([-1111.0, -2222.0], 1)
    """

    def __init__(self, step: Callable[..., Any], donate: tuple[int, ...]) -> None:
        self.step, self.donate = step, donate
        self.plans: dict[Any, Plan] = {}
        self.seen: dict[Any, int] = defaultdict(int)

    def __call__(self, *arguments: Any) -> Any:
        donated: list[Any] = []
        leaves: list[Any] = []
        shapes: list[Any] = []
        for position, one in enumerate(arguments):
            if position in self.donate:
                donated.append(one)
            elif one is None:
                shapes.append(None)
            elif type(one) is np.ndarray:
                leaves.append(one)
                shapes.append((one.shape, one.dtype))
            else:
                _spread(one, leaves, shapes)
        if UNKNOWN in shapes:
            return self.step(*arguments)
        key = tuple(shapes)
        plan = self.plans.get(key)
        if plan is not None:
            if plan.fits(donated):
                return plan.run(leaves)
            del self.plans[key]
            self.seen[key] = 0
        self.seen[key] += 1
        if self.seen[key] != BEFORE_RECORDING + 1:
            return self.step(*arguments)
        try:
            self.plans[key] = plan = Plan(self.step, arguments, self.donate)
        except Exception:  # an error of the step itself comes again
            return self.step(*arguments)
        return plan.results()


UNKNOWN = "unknown"
"""Stands among the shapes for an argument of another kind."""


def _spread(value: Any, leaves: list[Any], shapes: list[Any]) -> None:
    """List the arrays and numbers of a tree, and what a recording holds for."""
    if value is None:
        shapes.append(None)
    elif type(value) is np.ndarray:
        leaves.append(value)
        shapes.append((value.shape, value.dtype))
    elif type(value) is float:
        leaves.append(value)
        shapes.append(float)
    elif isinstance(value, tuple):
        shapes.append(len(value))
        for one in value:
            if type(one) is float:
                leaves.append(one)
                shapes.append(float)
            else:
                _spread(one, leaves, shapes)
    elif isinstance(value, dict):
        shapes.append(tuple(value))
        for one in value.values():
            _spread(one, leaves, shapes)
    else:
        shapes.append(UNKNOWN)

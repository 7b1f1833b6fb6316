"""Stand-ins for the arrays and numbers of a step, which note down what is done with them.

They hold the values of the step that is followed, so that shapes, dtypes and views are the array
library's own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from anyback_nn.recorded.tape import Kind, NotRecordable, Operation, Tape, Value

if TYPE_CHECKING:
    from anyback_nn.recorded.library import Library

__all__ = [
    "Namespace",
    "Number",
    "Stand",
    "copying",
    "entries",
    "in_place",
    "like",
    "opened",
    "operators",
    "shapes",
    "viewing",
]


class Stand:
    """Stands for an array while a step is followed.

    Parameters
    ----------
    tape : Tape
    array : array
        The array, with the values of this step.
    value : Value
        The memory that it will be when the step is repeated.
    """

    library: ClassVar[Library]
    namespace: ClassVar[Namespace]

    # NumPy's arrays leave operations with this to it.
    __array_ufunc__ = None

    def __init__(self, tape: Tape, array: Any, value: Value) -> None:
        self.tape, self.array, self.value = tape, array, value

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.namespace

    @property
    def device(self) -> Any:
        return getattr(self.array, "device", "cpu")

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
        return math.prod(self.shape)

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
        return type(self)(self.tape, look(self.array), Value(self.value.memory, views))

    def made(self, result: Any, operation: Callable[[Value], Operation]) -> Stand:
        """Stand for the result of an operation, see `Tape.make`."""
        return type(self)(self.tape, result, self.tape.make(result, operation))

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a value that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = _refuse


class Number:
    """Stands for a number that is handed to the step, or that it computes of such numbers.

    For each dtype of the arrays that it is combined with there is an array of no axes that holds
    it, as the library itself would make one.

    Parameters
    ----------
    number : float
        What it is in this step.
    derived : list of Number
        All that are computed, in order: those of this one are added.
    compute : callable, optional
        Computes it anew from the numbers that it was made of.
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
        self.fills: list[Callable[[float], Any]] = []
        if compute is not None:
            derived.append(self)

    def cell(self, dtype: Any, library: Library) -> Any:
        """Give the array of this dtype."""
        if dtype not in self.cells:
            made = self.cells[dtype] = library.scalar(self.number, dtype)
            self.fills.append(lambda number: library.fill(made, number))
        return self.cells[dtype]

    def set(self, number: float) -> None:
        """Take another value."""
        self.number = number
        for fill in self.fills:
            fill(number)

    def update(self) -> None:
        """Compute it anew."""
        if self.compute is not None:
            self.set(self.compute())

    def _refuse(self, *_: Any) -> Any:
        raise NotRecordable("a number that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


# How functions are recorded ----------------------------------------------------------------------


def entries(
    function: Callable[..., Any],
    *,
    by_name: bool,
    of_entries: bool = True,
    filled: bool = False,
) -> Callable[..., Any]:
    """Record a function of arrays that can be told where to write.

    Parameters
    ----------
    function : callable
    by_name : bool
        Whether it is told so by the name ``out``, and not behind its operands.
    of_entries : bool
        Whether it does the same for each entry.
    filled : bool
        Whether it gets an array in the place of a number, where it computes real numbers.
    """

    def call(*operands: Any) -> Any:
        stand, arrays, values = opened(operands)
        result = stand.library.namespace.asarray(function(*arrays))
        if filled and stand.library.is_real(result.dtype):
            values = tuple(
                stand.tape.filled(one, result) if isinstance(one, float | int) else value
                for one, value in zip(operands, values)
            )
        kind: Kind = "entries" if of_entries else "other"
        replaces = tuple(range(len(operands))) if of_entries else ()

        def operation(out: Value) -> Operation:
            arguments, options = (values, {"out": out}) if by_name else ((*values, out), {})
            return Operation(function, arguments, options, kind, replaces=replaces)

        return stand.made(result, operation)

    return call


def in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a function that writes into its first operand.

    Parameters
    ----------
    function : callable
        Called as ``function(target, other, out=target)``.
    """

    def call(self: Stand, other: Any) -> Any:
        _, arrays, (target, value) = opened((self, other))
        if target.memory.leaf is not None:
            raise NotRecordable("an input that is written to")
        function(*arrays, out=arrays[0])
        self.tape.note(Operation(function, (target, value), {"out": target}, "entries"))
        return self

    return call


def viewing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Follow a function that gives a view; where it copies, record that."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        def look(array: Any) -> Any:
            return function(array, *arguments, **options)

        result = look(x.array)
        if x.library.overlap(result, x.array):
            return x.view(look)
        return copying(look)(x)

    return call


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record a function of arrays that cannot be told where to write."""

    def call(*operands: Any) -> Any:
        stand, arrays, values = opened(operands)
        copy = stand.library.copy

        def compute(memory: Any, *arrays: Any) -> None:
            copy(memory, function(*arrays))

        return stand.made(function(*arrays), lambda out: Operation(compute, (out, *values)))

    return call


def like(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a constant of the shape of an array."""

    def call(x: Stand, /, *arguments: Any, **options: Any) -> Any:
        return function(x.array, *arguments, **options)

    return call


def shapes(namespace: Any) -> dict[str, Callable[..., Any]]:
    """List the functions of a library that look at arrays in another shape, or make one alike."""
    views = ("broadcast_to", "expand_dims", "reshape", "squeeze")
    alike = ("full_like", "ones_like", "zeros_like")
    return {
        **{name: viewing(getattr(namespace, name)) for name in views},
        # An attribute is quicker than the function.
        "matrix_transpose": viewing(operator.attrgetter("mT")),
        **{name: like(getattr(namespace, name)) for name in alike},
    }


def opened(
    operands: tuple[Any, ...], alike: tuple[int, ...] | None = None
) -> tuple[Stand, tuple[Any, ...], tuple[Any, ...]]:
    """Give one of the stand-ins, the arrays of this step, and what is noted down for them.

    Parameters
    ----------
    operands : tuple
        Numbers become arrays of the dtype of those beside them.
    alike : tuple of int, optional
        The positions whose dtypes belong together. Default: all.
    """
    stand = next((one for one in operands if isinstance(one, Stand)), None)
    if stand is None:
        raise NotRecordable("an operation without an array of the step")
    library = stand.library
    beside = operands if alike is None else tuple(operands[i] for i in alike)
    dtype = next((one.dtype for one in beside if isinstance(one, Stand | library.array)), None)
    constants = [_constant(one, dtype, library) for one in operands]
    arrays = tuple(map(_now, constants))
    values = tuple(one.value if isinstance(one, Stand) else one for one in constants)
    return stand, arrays, values


def _now(one: Any) -> Any:
    """Give what an operand is in the step that is followed."""
    if isinstance(one, Stand):
        return one.array
    return one.number if isinstance(one, Number) else one


def _constant(one: Any, dtype: Any, library: Library) -> Any:
    """Give what the library's function gets for an operand; a stand-in stays one."""
    if isinstance(one, Stand | library.array) or library.is_scalar(one):
        return one
    real = dtype is not None and library.is_real(dtype)
    if isinstance(one, Number):
        if not real:
            raise NotRecordable("a number beside an array that is not of real numbers")
        return one if library.launches else one.cell(dtype, library)
    if not isinstance(one, bool | int | float):
        raise NotRecordable(f"an operand of type {type(one).__name__}")
    # What the library does with a Python number at every call.
    return library.scalar(one, dtype) if real and not isinstance(one, bool) else one


class Namespace:
    """The array API standard for stand-ins.

    Parameters
    ----------
    known : module
        The standard for the arrays that they stand for.
    functions : dict of str to callable
        What can be recorded.
    """

    def __init__(self, known: Any, functions: dict[str, Callable[..., Any]]) -> None:
        self._known, self._functions = known, functions

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._known, name)
        if not callable(known) or isinstance(known, type):
            return known
        recorded = self._functions.get(name)

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


def _stands(one: Any) -> bool:
    """Tell whether this is, or holds, a stand-in."""
    return isinstance(one, Stand | Number) or (
        isinstance(one, tuple | list) and any(map(_stands, one))
    )


# Python's operators ------------------------------------------------------------------------------

BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "matmul": "matmul",
    "pow": "pow",
}
OTHERS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "neg": "negative",
    "abs": "abs",
    "invert": "bitwise_invert",
}


def operators(
    functions: dict[str, Callable[..., Any]], changing: dict[str, Callable[..., Any]]
) -> dict[str, Callable[..., Any]]:
    """List Python's operators for stand-ins by the names of their methods.

    Parameters
    ----------
    functions, changing : dict of str to callable
        The library's functions that can be recorded, and those that work in place.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for python, name in (BINARY | OTHERS).items():
        call = functions[name]
        methods[f"__{python}__"] = lambda *operands, call=call: call(*operands)
    for python, name in BINARY.items():
        call = functions[name]
        methods[f"__r{python}__"] = lambda self, other, call=call: call(other, self)
        if name in changing:
            methods[f"__i{python}__"] = changing[name]
    return methods


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


_arithmetic()

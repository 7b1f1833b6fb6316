"""Tracers, which replace arrays and numbers while a step is traced.

A tracer holds the value of the step that is traced, so that shapes, dtypes and views are the array
library's own, and adds each operation to the graph.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from anyback_nn.jit.graph import Graph, Op, TraceError, View

if TYPE_CHECKING:
    from anyback_nn.jit.rules import TraceRules

__all__ = ["ScalarTracer", "TracedNamespace", "Tracer", "operators"]


class Tracer:
    """An array of a step that is traced.

    Parameters
    ----------
    graph : Graph
    array : array
        Its value in this step.
    view : View
        Its memory in a replay.
    """

    rules: ClassVar[TraceRules]
    namespace: ClassVar[TracedNamespace]

    # NumPy's arrays leave operations with this to it.
    __array_ufunc__ = None

    def __init__(self, graph: Graph, array: Any, view: View) -> None:
        self.graph, self.array, self.view = graph, array, view

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
        if not all(isinstance(index, slice | int | None) or index is ... for index in key):
            raise TraceError("an index that depends on data")
        # With an ellipsis a single element, too, is a view.
        key = key if ... in key else (*key, ...)
        return self.look(lambda array: array[key])

    def look(self, function: Callable[[Any], Any]) -> Tracer:
        """Return the tracer of a view of this array, made by ``function``."""
        view = View(self.view.buffer, (*self.view.path, function))
        return type(self)(self.graph, function(self.array), view)

    def emit(self, result: Any, build: Callable[[View], Op]) -> Tracer:
        """Return the tracer of an operation's result, see `Graph.emit`."""
        return type(self)(self.graph, result, self.graph.emit(result, build))

    def _refuse(self, *_: Any) -> Any:
        raise TraceError("a value that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = _refuse


class ScalarTracer:
    """A Python float of a step that is traced: an argument, or computed from arguments.

    For each dtype of the arrays that it is combined with there is an array without axes that holds
    it, as the library itself would create one.

    Parameters
    ----------
    number : float
        Its value in this step.
    derived : list of ScalarTracer
        All that are computed, in order; this one is added if it is.
    compute : callable, optional
        Computes it from the numbers that it depends on.
    """

    __array_ufunc__ = None

    def __init__(
        self,
        number: float,
        derived: list[ScalarTracer],
        compute: Callable[[], float] | None = None,
    ) -> None:
        self.number, self.compute, self.derived = number, compute, derived
        self.cells: dict[Any, Any] = {}
        self.fills: list[Callable[[float], Any]] = []
        if compute is not None:
            derived.append(self)

    def cell(self, dtype: Any, rules: TraceRules) -> Any:
        """Return the array of this dtype that holds the number."""
        if dtype not in self.cells:
            array = self.cells[dtype] = rules.scalar(self.number, dtype)
            self.fills.append(lambda number: rules.fill(array, number))
        return self.cells[dtype]

    def set(self, number: float) -> None:
        """Change the value."""
        self.number = number
        for fill in self.fills:
            fill(number)

    def update(self) -> None:
        """Compute the value again."""
        assert self.compute is not None
        self.set(self.compute())

    def _refuse(self, *_: Any) -> Any:
        raise TraceError("a number that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


class TracedNamespace:
    """The array API standard for tracers.

    Parameters
    ----------
    namespace : module
        The standard for the library's arrays.
    functions : dict of str to callable
        The functions that can be traced.
    """

    def __init__(self, namespace: Any, functions: dict[str, Callable[..., Any]]) -> None:
        self._namespace, self._functions = namespace, functions

    def __getattr__(self, name: str) -> Any:
        eager = getattr(self._namespace, name)
        if not callable(eager) or isinstance(eager, type):
            return eager
        traced = self._functions.get(name)

        def call(*arguments: Any, **options: Any) -> Any:
            if not any(map(_is_traced, arguments)):
                return eager(*arguments, **options)
            if traced is None:
                raise TraceError(f"the function {name}")
            try:
                return traced(*arguments, **options)
            except (TypeError, AttributeError) as error:
                raise TraceError(f"{name} in this form ({error})") from error

        setattr(self, name, call)
        return call


def _is_traced(argument: Any) -> bool:
    """Return whether this is, or contains, a tracer."""
    return isinstance(argument, Tracer | ScalarTracer) or (
        isinstance(argument, tuple | list) and any(map(_is_traced, argument))
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
    functions: dict[str, Callable[..., Any]], in_place: dict[str, Callable[..., Any]]
) -> dict[str, Callable[..., Any]]:
    """Return Python's operators for tracers by the names of their methods.

    Parameters
    ----------
    functions, in_place : dict of str to callable
        The library's functions that can be traced, and those that work in place.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for python, name in (BINARY | OTHERS).items():
        call = functions[name]
        methods[f"__{python}__"] = lambda *operands, call=call: call(*operands)
    for python, name in BINARY.items():
        call = functions[name]
        methods[f"__r{python}__"] = lambda self, other, call=call: call(other, self)
        if name in in_place:
            methods[f"__i{python}__"] = in_place[name]
    return methods


def _arithmetic() -> None:
    """Define arithmetic of scalar tracers."""

    def derive(function: Callable[[Any, Any], float], a: Any, b: Any) -> Any:
        if not all(isinstance(operand, ScalarTracer | float | int) for operand in (a, b)):
            return NotImplemented
        derived = next(operand.derived for operand in (a, b) if isinstance(operand, ScalarTracer))

        def compute() -> float:
            return function(*(x.number if isinstance(x, ScalarTracer) else x for x in (a, b)))

        return ScalarTracer(compute(), derived, compute)

    for name in ("add", "sub", "mul", "truediv"):
        function = getattr(operator, name)
        for prefix, call in {
            "": lambda self, other, function=function: derive(function, self, other),
            "r": lambda self, other, function=function: derive(function, other, self),
        }.items():
            setattr(ScalarTracer, f"__{prefix}{name}__", call)


_arithmetic()

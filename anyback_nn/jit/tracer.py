"""Tracers, which replace arrays and numbers while a step is traced.

A tracer holds the value of the step that is traced, so that shapes, dtypes and views are the array
library's own, and adds each operation to the graph.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from anyback_nn.jit.graph import Graph, Op, TraceError, View
from anyback_nn.jit.rules import TraceRules

__all__ = ["ScalarTracer", "Tracer", "tracer_type"]


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
    # As arrays have none.
    __hash__ = None  # type: ignore[assignment]

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
    rules : TraceRules
        Those of the arrays that it is combined with.
    derived : list of ScalarTracer
        All that are computed, in order; this one is added if it is.
    compute : callable, optional
        Computes it from the numbers that it depends on.
    """

    __array_ufunc__ = None

    def __init__(
        self,
        number: float,
        rules: TraceRules,
        derived: list[ScalarTracer],
        compute: Callable[[], float] | None = None,
    ) -> None:
        self.number, self.rules, self.derived, self.compute = number, rules, derived, compute
        self.cells: dict[Any, Any] = {}
        if compute is not None:
            derived.append(self)

    def cell(self, dtype: Any) -> Any:
        """Return the array of this dtype that holds the number."""
        if dtype not in self.cells:
            self.cells[dtype] = self.rules.scalar(self.number, dtype)
        return self.cells[dtype]

    def set(self, number: float) -> None:
        """Change the value."""
        self.number = number
        for cell in self.cells.values():
            self.rules.fill(cell, number)

    def update(self) -> None:
        """Compute the value again."""
        assert self.compute is not None
        self.set(self.compute())

    def _refuse(self, *_: Any) -> Any:
        raise TraceError("a number that is read")

    __bool__ = __float__ = __int__ = __index__ = __array__ = _refuse


class TracedNamespace:
    """The array API standard for tracers of a library's arrays."""

    def __init__(self, rules: TraceRules) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        eager = getattr(self._rules.namespace, name)
        if not callable(eager) or isinstance(eager, type):
            return eager
        traced = self._rules.functions.get(name)

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


@cache
def tracer_type(rules: TraceRules) -> type[Tracer]:
    """Return the class of the tracers of a library's arrays.

    It is one of its own, because the namespace of an array is looked up by its class.
    """
    return type("Tracer", (Tracer,), {"rules": rules, "namespace": TracedNamespace(rules)})


# Python's operators ------------------------------------------------------------------------------

ARITHMETIC = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide"}
BINARY = ARITHMETIC | {"matmul": "matmul", "pow": "pow"}
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


def _define_operators(python: str, name: str) -> None:
    """Let an operator of tracers, by the name of its method, call a function of the standard."""

    def call(self: Tracer, *others: Any) -> Any:
        return self.rules.functions[name](self, *others)

    def call_reflected(self: Tracer, other: Any) -> Any:
        return self.rules.functions[name](other, self)

    def call_in_place(self: Tracer, other: Any) -> Any:
        return self.rules.in_place[name](self, other)

    setattr(Tracer, f"__{python}__", call)
    if python in BINARY:
        setattr(Tracer, f"__r{python}__", call_reflected)
    if python in ARITHMETIC:
        setattr(Tracer, f"__i{python}__", call_in_place)


def _define_arithmetic(python: str) -> None:
    """Let an operator of scalar tracers return another one, which is computed at each call."""
    function = getattr(operator, python)

    def derive(a: Any, b: Any) -> Any:
        if not all(isinstance(operand, ScalarTracer | float | int) for operand in (a, b)):
            return NotImplemented
        tracer = a if isinstance(a, ScalarTracer) else b

        def compute() -> float:
            numbers = (x.number if isinstance(x, ScalarTracer) else x for x in (a, b))
            return float(function(*numbers))

        return ScalarTracer(compute(), tracer.rules, tracer.derived, compute)

    setattr(ScalarTracer, f"__{python}__", derive)
    setattr(ScalarTracer, f"__r{python}__", lambda self, other: derive(other, self))


for _python, _name in (BINARY | OTHERS).items():
    _define_operators(_python, _name)
for _python in ARITHMETIC:
    _define_arithmetic(_python)

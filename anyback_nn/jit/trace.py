"""Trace a step: call it with tracers, which record what it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from anyback_nn.jit.graph import Buffer, Graph, View
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.tracer import ScalarTracer, Tracer, tracer_type
from anyback_nn.tree import tree_map

__all__ = ["Trace", "trace"]


class Trace(NamedTuple):
    """What a step does, as one call of it has shown.

    Attributes
    ----------
    graph : Graph
    donated : list of Buffer
        The arrays that the step works in.
    inputs : list of Buffer or ScalarTracer
        All other arrays and numbers, in order.
    derived : list of ScalarTracer
        The numbers that the step computes from numbers.
    output : tuple of tree
        What the step returns: views, and constants.
    """

    graph: Graph
    donated: list[Buffer]
    inputs: list[Buffer | ScalarTracer]
    derived: list[ScalarTracer]
    output: tuple[Any, ...]


def trace(
    step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...], rules: TraceRules
) -> tuple[Trace, tuple[Any, ...]]:
    """Call a step with tracers in place of its arguments.

    Returns
    -------
    trace : Trace
    values : tuple of tree
        What the step has returned in this call.
    """
    record = Trace(Graph(), [], [], [], ())
    tracer = tracer_type(rules)

    def trace_donated(leaf: Any) -> Any:
        if not isinstance(leaf, rules.array):
            return leaf
        buffer = Buffer(tuple(leaf.shape), leaf.dtype, leaf)
        record.donated.append(buffer)
        return tracer(record.graph, leaf, View(buffer))

    def trace_input(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, float):
            number = ScalarTracer(leaf, rules, record.derived)
            record.inputs.append(number)
            return number
        buffer = Buffer(tuple(leaf.shape), leaf.dtype, input_index=len(record.inputs))
        record.inputs.append(buffer)
        return tracer(record.graph, leaf, View(buffer))

    output = step(
        *(
            tree_map(trace_donated if position in donate else trace_input, tree)
            for position, tree in enumerate(arguments)
        )
    )
    views = tree_map(lambda x: x.view if isinstance(x, Tracer) else x, output)
    values = tree_map(lambda x: x.array if isinstance(x, Tracer) else x, output)
    return record._replace(output=views), values

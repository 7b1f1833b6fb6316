"""Replay a traced step: a loop of calls whose arrays are known but for some of its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anyback_nn.jit.graph import Buffer, Call, Op, View
from anyback_nn.jit.memory import skip_done
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.tiling import tile
from anyback_nn.jit.trace import Trace
from anyback_nn.jit.tracer import ScalarTracer
from anyback_nn.tree import tree_leaves, tree_map

__all__ = ["Replay"]


class Replay:
    """The calls of a step whose buffers have their memory.

    Parameters
    ----------
    trace : Trace
    ops : list of Op
        The operations of its graph, which may have been rewritten.
    new_arrays : list of (shape, dtype)
        Arrays that are allocated at each call, as further inputs.
    rules : TraceRules

    Attributes
    ----------
    calls : list of (function, arguments, options)
    ops : list of Op
        The operation of each call.
    results : list of Result
    """

    def __init__(
        self,
        trace: Trace,
        ops: list[Op],
        new_arrays: list[tuple[tuple[int, ...], Any]],
        rules: TraceRules,
    ) -> None:
        self.rules, self.new_arrays, self.derived = rules, new_arrays, trace.derived
        # Where each input goes: into memory of the program's, or among the arguments of calls.
        inputs = list(enumerate(trace.inputs))
        self.numbers = [(i, x) for i, x in inputs if isinstance(x, ScalarTracer)]
        self.copies = [
            (i, x.array) for i, x in inputs if isinstance(x, Buffer) and x.input_index is None
        ]
        self.array_slots: list[tuple[Any, Any, int, View]] = []
        self.number_slots: list[tuple[Any, Any, ScalarTracer]] = []
        remaining = [self._prepare(rest) for op in ops for rest in skip_done(op, rules)]
        calls = list(tile(remaining, trace.graph.constants.values(), rules))
        self.calls = [call[:3] for call in calls]
        self.ops = [call.op for call in calls]
        self.results = [Result(tree, trace.donated, rules) for tree in trace.output]
        self.trees = [result.tree for result in self.results]
        self.copied = [(i, result) for i, result in enumerate(self.results) if not result.fixed]

    def _prepare(self, op: Op) -> Call:
        """Fill in the arguments that are the same at every call, and remember the others."""
        arguments, options = list(op.arguments), dict(op.options)
        varies = self._fill(arguments, enumerate(op.arguments))
        varies |= self._fill(options, op.options.items())
        return Call(op.function, arguments if varies else tuple(arguments), options, op)

    def _fill(self, slots: Any, arguments: Iterable[tuple[Any, Any]]) -> bool:
        """Fill arguments into their slots, and return whether some vary from call to call."""
        n_varying = len(self.array_slots) + len(self.number_slots)
        for key, x in arguments:
            if isinstance(x, ScalarTracer):
                self.number_slots.append((slots, key, x))
            elif isinstance(x, View) and x.buffer.input_index is not None:
                self.array_slots.append((slots, key, x.buffer.input_index, x))
                slots[key] = None
            elif isinstance(x, View):
                slots[key] = x.array
            elif isinstance(x, tuple):
                parts = list(x)
                slots[key] = parts if self._fill(parts, enumerate(x)) else tuple(parts)
        return len(self.array_slots) + len(self.number_slots) > n_varying

    @property
    def n_calls(self) -> int:
        """The number of library calls, copies of inputs and results among them."""
        leaves = (leaf for _, result in self.copied for leaf in tree_leaves(result.tree))
        copied = sum(isinstance(leaf, self.rules.array) for leaf in leaves)
        return len(self.calls) + len(self.copies) + copied

    def run(self, inputs: list[Any]) -> tuple[Any, ...]:
        """Take the step with these inputs."""
        copy = self.rules.copy
        for index, number in self.numbers:
            number.set(inputs[index])
        for number in self.derived:
            number.update()
        for index, array in self.copies:
            copy(array, inputs[index])
        if self.new_arrays:
            inputs = [*inputs, *(self.rules.empty(*kind) for kind in self.new_arrays)]
        for slots, key, index, view in self.array_slots:
            slots[key] = view.of(inputs[index])
        for slots, key, number in self.number_slots:
            slots[key] = number.number
        for function, arguments, options in self.calls:
            if options:
                function(*arguments, **options)
            else:  # a little faster
                function(*arguments)
        # Not to keep the last batch alive.
        for slots, key, *_ in self.array_slots:
            slots[key] = None
        results = self.trees.copy()
        for position, result in self.copied:
            results[position] = result.copy(inputs)
        return tuple(results)


class Result:
    """One of the trees that a step returns.

    Parameters
    ----------
    views : nested tuples and dicts of views and constants
    donated : list of Buffer
        The arrays that the step works in.
    rules : TraceRules

    Attributes
    ----------
    tree : nested tuples and dicts of arrays, views of inputs, and constants
    fixed : bool
        Whether all of its arrays were donated: then they are the same ones at every call.
    """

    def __init__(self, views: Any, donated: list[Buffer], rules: TraceRules) -> None:
        self.tree = tree_map(_get_stored, views)
        self.fixed = all(
            x.buffer in donated and not x.path for x in tree_leaves(views) if isinstance(x, View)
        )
        self.flat = isinstance(self.tree, tuple) and all(
            isinstance(x, rules.array) for x in self.tree
        )
        self.rules = rules

    def copy(self, inputs: list[Any]) -> Any:
        """Return it in memory of its own: the program's is overwritten at the next call."""
        clone, array = self.rules.clone, self.rules.array
        if self.flat:
            return tuple([clone(x) for x in self.tree])

        def take(leaf: Any) -> Any:
            if isinstance(leaf, View):
                assert leaf.buffer.input_index is not None
                return leaf.of(inputs[leaf.buffer.input_index])
            return clone(leaf) if isinstance(leaf, array) else leaf

        return tree_map(take, self.tree)


def _get_stored(leaf: Any) -> Any:
    """Return the array of a view, if it is the same one at every call."""
    is_fixed = isinstance(leaf, View) and leaf.buffer.input_index is None
    return leaf.array if is_fixed else leaf

"""A traced step that is ready to run: its calls, the memory of its inputs and its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from anyback_nn.jit.graph import Buffer, Call, Graph, Op, TraceError, View
from anyback_nn.jit.memory import as_new_inputs, assign_buffers, skip_done
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.tiling import tile
from anyback_nn.jit.tracer import ScalarTracer, Tracer
from anyback_nn.tree import tree_leaves, tree_map, tree_named_leaves

__all__ = ["Program"]

COPY_LIMIT = 2**13
"""The bytes up to which inputs are copied, which is as fast as filling them into the calls."""

MAY_DIFFER = 0.01
"""The share of the elements of one result that may differ when a program is verified."""


class Program:
    """A step, traced with the arguments of one call.

    Parameters
    ----------
    step : callable
    arguments : tuple
    donate : tuple of int
        The positions of the arguments that the step works in.
    rules : TraceRules
    """

    def __init__(
        self,
        step: Callable[..., Any],
        arguments: tuple[Any, ...],
        donate: tuple[int, ...],
        rules: TraceRules,
    ) -> None:
        self.rules = rules
        leaves = tree_leaves(tuple(arguments[position] for position in donate))
        donated = [leaf for leaf in leaves if isinstance(leaf, rules.array)]
        before = [rules.clone(array) for array in donated]
        try:
            self._trace(step, arguments, donate)
            if rules.verify is not None:
                others = tuple(x for i, x in enumerate(arguments) if i not in donate)
                self._verify(donated, before, [x for x in tree_leaves(others) if x is not None])
        except Exception:
            for array, values in zip(donated, before):
                rules.copy(array, values)
            raise

    def _trace(
        self, step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...]
    ) -> None:
        """Trace the step and prepare its replay."""
        rules = self.rules
        graph, self.buffers, inputs, self.derived, output = _trace(step, arguments, donate, rules)
        self.views = tree_map(lambda x: x.view if isinstance(x, Tracer) else x, output)
        results = [x.buffer for x in tree_leaves(self.views) if isinstance(x, View)]
        limit = 0 if rules.kernel_bound else COPY_LIMIT
        for x in inputs:
            # The caller may write into an input afterwards, so a result must be a copy.
            if isinstance(x, Buffer) and (x.nbytes <= limit or x in results):
                x.array, x.input_index = rules.empty(x.shape, x.dtype), None
        self.graph_ops = rules.rewrite(graph.ops, results)
        self.new_results = (
            list(as_new_inputs(self.graph_ops, results, len(inputs))) if rules.kernel_bound else []
        )
        assign_buffers(self.graph_ops, results, rules)
        # Where each input goes: into memory of the program's, or among the arguments of calls.
        self.numbers = [(i, x) for i, x in enumerate(inputs) if isinstance(x, ScalarTracer)]
        self.copies = [
            (i, x.array)
            for i, x in enumerate(inputs)
            if isinstance(x, Buffer) and x.input_index is None
        ]
        self.constants = list(graph.constants.values())
        buffers = (buffer for op in self.graph_ops for buffer in op.results)
        arrays = {rules.address(x)[0]: x for x in (b.array for b in buffers) if x is not None}
        self.nbytes = sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays.values())
        self._link([arguments[position] for position in donate])
        self.first = tuple(
            result.tree if result.fixed else tree_map(self._traced_value, tree)
            for result, tree in zip(self.output, output)
        )

    def _link(self, donated: list[Any]) -> None:
        """Prepare the calls: all arrays are known but for inputs that are not copied."""
        rules = self.rules
        self.array_slots: list[tuple[Any, Any, int, View]] = []
        self.number_slots: list[tuple[Any, Any, ScalarTracer]] = []
        remaining = (op for traced in self.graph_ops for op in skip_done(traced, rules))
        calls = list(tile(list(map(self._prepare, remaining)), self.constants, rules))
        self.calls = [call[:3] for call in calls]
        # The operation of each call, for those who look into a program.
        self.ops = [call.op for call in calls]
        self.output = [_Result(tree, self.buffers, rules) for tree in self.views]
        self.results = [result.tree for result in self.output]
        self.copied_results = [
            (position, result) for position, result in enumerate(self.output) if not result.fixed
        ]
        # The memory that it works in, as it was donated and as it is returned.
        self.donated = donated
        returned = [result.tree if result.fixed else None for result in self.output[: len(donated)]]
        self.returned = [*returned, *[None] * (len(donated) - len(returned))]

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

    def _verify(self, donated: list[Any], before: list[Any], inputs: list[Any]) -> None:
        """Replay the step that was traced: the results must be the same, but for rounding."""
        rules = self.rules
        assert rules.verify is not None
        after = [rules.clone(array) for array in donated]
        for array, values in zip(donated, before):
            rules.copy(array, values)
        results = zip(tree_leaves(self.run(inputs)), tree_leaves(self.first))
        pairs = [(*pair, None) for pair in results if isinstance(pair[0], rules.array)]
        pairs += zip(donated, after, before)
        # Where a gradient is mostly rounding, as before batch normalisation, an optimiser may
        # change a few parameters as much as others; what it keeps of gradients then shows nothing.
        *others, most = sorted([0.0, *(rules.verify(*pair) for pair in pairs)])
        if any(others) or most > MAY_DIFFER:
            raise TraceError(f"results that differ in the replay, in {most:.1%} of their elements")
        for array, values in zip(donated, after):
            rules.copy(array, values)

    def _traced_value(self, leaf: Any) -> Any:
        """Return the value of a result in the step that was traced."""
        return self.rules.clone(leaf.array) if isinstance(leaf, Tracer) else leaf

    @property
    def n_calls(self) -> int:
        """The number of library calls of a replay: on a GPU each of them launches a kernel."""
        leaves = (leaf for _, result in self.copied_results for leaf in tree_leaves(result.tree))
        copied = sum(isinstance(leaf, self.rules.array) for leaf in leaves)
        return len(self.calls) + len(self.copies) + copied

    def bind(self, donated: list[Any]) -> bool:
        """Let the program work in these arguments; return False if it cannot.

        Most of the time it does already. A new optimiser, or parameters that are restored, are
        other memory: nothing is copied, because the caller may still hold what it had before.
        """
        if all(
            x is known or x is back
            for x, known, back in zip(donated, self.donated, self.returned, strict=True)
        ):
            return True
        known, new = (tree_named_leaves(tuple(trees)) for trees in (self.donated, donated))
        if list(known) != list(new):
            return False
        pairs = list(zip(known.values(), new.values()))
        if all(x is y for x, y in pairs):
            return True
        arrays = [x for x in new.values() if isinstance(x, self.rules.array)]
        overlap = any(self.rules.overlap(*pair) for pair in combinations(arrays, 2))
        if overlap or not all(_is_like(*pair, self.rules) for pair in pairs):
            return False
        for buffer, array in zip(self.buffers, arrays, strict=True):
            buffer.array = array
        self._link(donated)
        return True

    def first_results(self) -> tuple[Any, ...]:
        """Return what the step returned when it was traced: once, right after that."""
        first, self.first = self.first, ()
        return first

    def run(self, inputs: list[Any]) -> tuple[Any, ...]:
        """Replay the step with other inputs."""
        copy = self.rules.copy
        for index, number in self.numbers:
            number.set(inputs[index])
        for number in self.derived:
            number.update()
        for index, array in self.copies:
            copy(array, inputs[index])
        if self.new_results:
            inputs = [*inputs, *(self.rules.empty(*kind) for kind in self.new_results)]
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
        results = self.results.copy()
        for position, result in self.copied_results:
            results[position] = result.copy(inputs)
        return tuple(results)


class _Result:
    """One of the trees that a step returns.

    Parameters
    ----------
    views : nested tuples and dicts of views and constants
    donated : list of Buffer
        What the step works in.
    rules : TraceRules
    """

    def __init__(self, views: Any, donated: list[Buffer], rules: TraceRules) -> None:
        self.tree = tree_map(_stored, views)
        # Results in memory that was donated are the same arrays at every call.
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


def _trace(
    step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...], rules: TraceRules
) -> tuple[Graph, list[Buffer], list[Buffer | ScalarTracer], list[ScalarTracer], tuple[Any, ...]]:
    """Call a step with tracers.

    Returns
    -------
    graph : Graph
    donated : list of Buffer
    inputs : list of Buffer or ScalarTracer
    derived : list of ScalarTracer
        The numbers that the step computes from numbers.
    output : tuple
        What the step returns.
    """
    graph = Graph(rules)
    donated: list[Buffer] = []
    derived: list[ScalarTracer] = []
    inputs: list[Buffer | ScalarTracer] = []

    def trace_donated(leaf: Any) -> Any:
        if not isinstance(leaf, rules.array):
            return leaf
        donated.append(Buffer(tuple(leaf.shape), leaf.dtype, leaf))
        return rules.tracer(graph, leaf, View(donated[-1]))

    def trace_input(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, float):
            inputs.append(ScalarTracer(leaf, derived))
            return inputs[-1]
        buffer = Buffer(tuple(leaf.shape), leaf.dtype, input_index=len(inputs))
        inputs.append(buffer)
        return rules.tracer(graph, leaf, View(buffer))

    tracers = [
        tree_map(trace_donated if position in donate else trace_input, tree)
        for position, tree in enumerate(arguments)
    ]
    return graph, donated, inputs, derived, step(*tracers)


def _stored(leaf: Any) -> Any:
    """Return where a result is in a replay: its array, or its view of an input."""
    if not isinstance(leaf, View) or leaf.buffer.input_index is not None:
        return leaf
    return leaf.array


def _is_like(x: Any, y: Any, rules: TraceRules) -> bool:
    """Return whether arrays are stored in the same way, or are the same if they are no arrays."""
    if not isinstance(x, rules.array) or not isinstance(y, rules.array):
        return x is y
    layouts = [(array.shape, array.dtype, *rules.address(array)[1:]) for array in (x, y)]
    return bool(layouts[0] == layouts[1])

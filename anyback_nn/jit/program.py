"""A traced step that is ready to run: its memory, which is assigned once, and its replay."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from anyback_nn.jit.graph import Buffer, TraceError, View
from anyback_nn.jit.memory import as_new_inputs, assign_buffers, count_bytes
from anyback_nn.jit.replay import Replay
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.trace import trace
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

    Attributes
    ----------
    replay : Replay
    first : tuple
        What the step returned when it was traced, until `first_results` is called.
    nbytes : int
        The memory of the results that it stores.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        arguments: tuple[Any, ...],
        donate: tuple[int, ...],
        rules: TraceRules,
    ) -> None:
        self.rules = rules
        donated = [arguments[position] for position in donate]
        arrays = [x for x in tree_leaves(tuple(donated)) if isinstance(x, rules.array)]
        before = [rules.clone(array) for array in arrays]
        try:
            self.trace, values = trace(step, arguments, donate, rules)
            self._assign_memory()
            self._link(donated)
            self.first = tuple(
                result.tree if result.fixed else tree_map(self._clone, tree)
                for result, tree in zip(self.replay.results, values)
            )
            del values  # On a device, this is memory that the replay needs.
            if rules.verify is not None:
                others = tuple(x for i, x in enumerate(arguments) if i not in donate)
                self._verify(arrays, before, [x for x in tree_leaves(others) if x is not None])
        except Exception:
            for array, elements in zip(arrays, before):
                rules.copy(array, elements)
            raise

    def _assign_memory(self) -> None:
        """Choose what is copied and what is new at each call, and assign memory to all else."""
        rules, inputs = self.rules, self.trace.inputs
        results = [x.buffer for x in tree_leaves(self.trace.output) if isinstance(x, View)]
        limit = 0 if rules.kernel_bound else COPY_LIMIT
        for x in inputs:
            # The caller may write into an input afterwards, so a result must be a copy.
            if isinstance(x, Buffer) and (x.nbytes <= limit or x in results):
                x.array, x.input_index = rules.empty(x.shape, x.dtype), None
        self.graph_ops = rules.rewrite(self.trace.graph.ops, results)
        self.new_arrays = (
            list(as_new_inputs(self.graph_ops, results, len(inputs))) if rules.kernel_bound else []
        )
        assign_buffers(self.graph_ops, results, rules)
        self.nbytes = count_bytes(self.graph_ops, rules)

    def _link(self, donated: list[Any]) -> None:
        """Prepare the replay in the memory that the donated buffers have now."""
        self.replay = Replay(self.trace, self.graph_ops, self.new_arrays, self.rules)
        # The memory that it works in, as it was donated and as it is returned.
        self.donated = donated
        returned = [x.tree if x.fixed else None for x in self.replay.results[: len(donated)]]
        self.returned = [*returned, *[None] * (len(donated) - len(returned))]

    def _verify(self, donated: list[Any], before: list[Any], inputs: list[Any]) -> None:
        """Replay the step that was traced: the results must be the same, but for rounding."""
        rules = self.rules
        assert rules.verify is not None
        after = [rules.clone(array) for array in donated]
        for array, values in zip(donated, before):
            rules.copy(array, values)
        results = zip(tree_leaves(self.replay.run(inputs)), tree_leaves(self.first))
        pairs = [(*pair, None) for pair in results if isinstance(pair[0], rules.array)]
        pairs += zip(donated, after, before)
        # Where a gradient is mostly rounding, as before batch normalisation, an optimiser may
        # change a few parameters as much as others; what it keeps of gradients then shows nothing.
        *others, most = sorted([0.0, *(rules.verify(*pair) for pair in pairs)])
        if any(others) or most > MAY_DIFFER:
            raise TraceError(f"results that differ in the replay, in {most:.1%} of their elements")
        for array, values in zip(donated, after):
            rules.copy(array, values)

    def _clone(self, leaf: Any) -> Any:
        """Copy a result of the step that was traced."""
        return self.rules.clone(leaf) if isinstance(leaf, self.rules.array) else leaf

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
        for buffer, array in zip(self.trace.donated, arrays, strict=True):
            buffer.array = array
        self._link(donated)
        return True

    def first_results(self) -> tuple[Any, ...]:
        """Return what the step returned when it was traced: once, right after that."""
        first, self.first = self.first, ()
        return first

    def run(self, inputs: list[Any]) -> tuple[Any, ...]:
        """Replay the step with other inputs."""
        return self.replay.run(inputs)


def _is_like(x: Any, y: Any, rules: TraceRules) -> bool:
    """Return whether arrays are stored in the same way, or are the same if they are no arrays."""
    if not isinstance(x, rules.array) or not isinstance(y, rules.array):
        return x is y
    layouts = [(array.shape, array.dtype, *rules.address(array)[1:]) for array in (x, y)]
    return bool(layouts[0] == layouts[1])

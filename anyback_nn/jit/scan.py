"""Take many traced steps in one call, with next to nothing between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from anyback_nn.jit.dispatch import Traced
from anyback_nn.jit.program import Program
from anyback_nn.jit.rules import TraceRules
from anyback_nn.tree import tree_leaves, tree_stack

__all__ = ["TracedScan"]


class TracedScan:
    """A loop of steps, each of which continues from what the last one returned.

    Parameters
    ----------
    step : callable
        As for `Traced`: ``step(*carried, *fixed, *x)`` returns ``*carried, result``.
    donate : tuple of int
        The positions of the arguments that are donated, the first ones.
    rules : TraceRules
        The rules of the arrays' library.
    convert : callable, optional
        Makes arrays of that library of the NumPy arrays among the ``xs`` of all steps.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.backends.numpy import RULES
    >>> def step(total, x, i):
    ...     total += i * x
    ...     return total, (total * 2.0,)
    >>> steps = TracedScan(step, (0,), RULES)
    >>> xs = [(1.0,), (10.0,), (100.0,), (1000.0,)]
    >>> (total,), results = steps((np.zeros(2),), (np.asarray([1.0, 2.0]),), xs)
    >>> total.tolist(), results[0][-1].tolist()
    ([1111.0, 2222.0], [2222.0, 4444.0])
    """

    def __init__(
        self,
        step: Callable[..., Any],
        donate: tuple[int, ...],
        rules: TraceRules,
        convert: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    ) -> None:
        self.traced, self.n_donated = Traced(step, donate, rules), len(donate)
        self.convert = convert

    def drop_large_programs(self) -> None:
        """Drop the programs whose memory is worth more than tracing them again."""
        self.traced.drop_large_programs()

    def __call__(
        self, carried: tuple[Any, ...], fixed: tuple[Any, ...], xs: Iterable[tuple[Any, ...]]
    ) -> tuple[tuple[Any, ...], Any]:
        """Take the steps.

        Parameters
        ----------
        carried : tuple
            What the first step gets from none before it.
        fixed : tuple
            What is the same in each step.
        xs : iterable of tuple
            What is not, all of the same shapes.

        Returns
        -------
        carried : tuple
        results : tree of array
            Each has an element for each step.
        """
        results: list[Any] = []
        remaining = iter(self.convert(xs))
        for x in remaining:
            arguments = (*carried, *fixed, *x)
            program, _ = self.traced.program_for(arguments)
            if program is not None and not program.first:
                # All further steps are replays of one program.
                rest = chain([x], remaining)
                carried = _replay(program, self.n_donated, carried, fixed, rest, results)
                break
            *new, result = program.first_results() if program else self.traced.step(*arguments)
            carried = tuple(new)
            results.append(result)
        return carried, tree_stack(results)


def _replay(
    program: Program,
    n_donated: int,
    carried: tuple[Any, ...],
    fixed: tuple[Any, ...],
    xs: Iterable[tuple[Any, ...]],
    results: list[Any],
) -> tuple[Any, ...]:
    """Run a program for each of ``xs``, and append to the results."""
    constant = tree_leaves(fixed)
    for x in xs:
        leaves = [*tree_leaves(carried[n_donated:]), *constant, *tree_leaves(x)]
        inputs = [leaf for leaf in leaves if leaf is not None]
        returned = program.run(inputs)
        carried = returned[:-1]
        results.append(returned[-1])
    return carried

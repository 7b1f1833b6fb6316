"""Many recorded steps in one call, with next to nothing between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from anyback_nn.network.parameters import stacked
from anyback_nn.recorded import Recorded
from anyback_nn.recorded.library import Library
from anyback_nn.recorded.plan import Plan

__all__ = ["Chain"]


class Chain:
    """Takes a step for each of many entries, each going on with what the last one returned.

    Parameters
    ----------
    step : callable
        As `Recorded` takes it: ``step(*carried, *fixed, *entry)`` gives ``*carried, result``.
    donate : tuple of int
        The positions of arguments whose memory the results may take over: the first ones.
    library : Library
        That of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.recorded.of_numpy import NUMPY
    >>> def step(total, x, i):
    ...     total += i * x
    ...     return total, (total * 2.0,)
    >>> steps = Chain(step, (0,), NUMPY)
    >>> entries = [(1.0,), (10.0,), (100.0,), (1000.0,)]
    >>> (total,), results = steps((np.zeros(2),), (np.asarray([1.0, 2.0]),), entries)
    >>> total.tolist(), results[0][-1].tolist()
    ([1111.0, 2222.0], [2222.0, 4444.0])
    """

    def __init__(self, step: Callable[..., Any], donate: tuple[int, ...], library: Library) -> None:
        self.recorded, self.n_donated = Recorded(step, donate, library), len(donate)

    def __call__(
        self, carried: tuple[Any, ...], fixed: tuple[Any, ...], entries: Iterable[tuple[Any, ...]]
    ) -> tuple[tuple[Any, ...], Any]:
        """Take the steps.

        Parameters
        ----------
        carried, fixed : tuple
        entries : iterable of tuple
            All of the same shapes.

        Returns
        -------
        carried : tuple
        results : tree of array
            Each has an entry for each step.
        """
        results: list[Any] = []
        remaining = iter(entries)
        for entry in remaining:
            arguments = (*carried, *fixed, *entry)
            plan, _ = self.recorded.plan_for(arguments)
            if plan is not None and not plan.first:
                # All steps from here on are repetitions of one recording.
                alike = chain([entry], remaining)
                carried = _repeated(plan, self.n_donated, carried, fixed, alike, results)
                break
            *taken, result = plan.first_results() if plan else self.recorded.step(*arguments)
            carried = tuple(taken)
            results.append(result)
        return carried, stacked(results)


def _repeated(
    plan: Plan,
    n_donated: int,
    carried: Sequence[Any],
    fixed: tuple[Any, ...],
    entries: Iterable[tuple[Any, ...]],
    results: list[Any],
) -> tuple[Any, ...]:
    """Repeat a recording, and add to the results."""
    constant = _inputs(fixed)
    for entry in entries:
        inputs = [*_inputs(carried[n_donated:]), *constant, *_inputs(entry)]
        *carried, result = plan.run(inputs)
        results.append(result)
    return tuple(carried)


def _inputs(trees: Sequence[Any]) -> list[Any]:
    """List what goes into a plan: the leaves of trees, without a generator, which takes longer."""
    found: list[Any] = []
    for one in trees:
        if isinstance(one, dict):
            found += _inputs(tuple(one.values()))
        elif isinstance(one, tuple):
            found += _inputs(one)
        elif one is not None:
            found.append(one)
    return found

"""Competitors take turns, so that all of them meet the machine in the same states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any


def take_turns(
    tasks: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 0
) -> dict[str, Any]:
    """Run each task in each turn; a task that fails is left out from then on.

    Parameters
    ----------
    tasks : mapping of str to callable
    repeats, warm_up : int
        The number of turns that count, and of those before them.

    Returns
    -------
    dict of str to list or str
        The results of each task, one a turn, or the reason why there are none.

    Examples
    --------
    >>> take_turns({"first": lambda: 1, "second": lambda: 2}, repeats=3)
    {'first': [1, 1, 1], 'second': [2, 2, 2]}
    """
    results: dict[str, Any] = {name: [] for name in tasks}
    for turn in range(-warm_up, repeats):
        for name, task in tasks.items():
            if isinstance(results[name], str):
                continue
            try:
                result = task()
            except RuntimeError as error:
                results[name] = str(error)
                continue
            if turn >= 0:
                results[name].append(result)
    return results


def name_columns(results: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Name the components of results, and list each of them over all turns.

    Examples
    --------
    >>> name_columns({"first": [(1, 2), (3, 4)], "second": "it failed"}, "x", "y")
    {'first': {'x': [1, 3], 'y': [2, 4]}, 'second': 'it failed'}
    """
    return {
        task: rows if isinstance(rows, str) else dict(zip(names, map(list, zip(*rows))))
        for task, rows in results.items()
    }


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios of each turn, which other load on the machine changes least.

    Examples
    --------
    >>> median_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0])
    2.0
    """
    return median(theirs / ours for theirs, ours in zip(numerators, denominators))

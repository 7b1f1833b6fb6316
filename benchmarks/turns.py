"""What is compared takes turns, so that all of it sees the machine in the same states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def in_turns(
    tasks: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 0
) -> dict[str, Any]:
    """Do each task when it is its turn; one that fails is left out from then on.

    Parameters
    ----------
    tasks : mapping of str to callable
    repeats, warm_up : int
        The turns that count, and those before them.

    Returns
    -------
    dict of str to list
        What each task gave in each turn that counts, or the reason why there is nothing, a string.

    Examples
    --------
    >>> in_turns({"one": lambda: 1, "two": lambda: 2}, repeats=3)
    {'one': [1, 1, 1], 'two': [2, 2, 2]}
    """
    found: dict[str, Any] = {name: [] for name in tasks}
    for turn in range(-warm_up, repeats):
        for name, task in tasks.items():
            if isinstance(found[name], str):
                continue
            try:
                one = task()
            except RuntimeError as error:
                found[name] = str(error)
                continue
            if turn >= 0:
                found[name].append(one)
    return found


def columns(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Name what tasks gave in each turn, and put that of all turns beside each other.

    Examples
    --------
    >>> columns({"one": [(1, 2), (3, 4)], "two": "it failed"}, "first", "second")
    {'one': {'first': [1, 3], 'second': [2, 4]}, 'two': 'it failed'}
    """
    return {
        task: one if isinstance(one, str) else dict(zip(names, map(list, zip(*one))))
        for task, one in found.items()
    }

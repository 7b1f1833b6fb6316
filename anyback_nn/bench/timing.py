"""The times of several backends, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

from anyback_nn.errors import AnybackError

__all__ = ["Timing", "time_steps"]

ROUNDS = 7
"""The number of turns of each backend."""

MIN_ROUNDS = 3
"""The number of turns if there is little time."""

TURN_SECONDS = 0.3
"""The seconds of a turn at most, unless a single step takes longer."""

MAX_STEPS = 64
"""The largest number of steps in a turn: enough for the end of an epoch not to matter."""

WARM_UP = 3
"""The number of steps before the first turn: NumPy's are traced in the third one."""


class Timing(NamedTuple):
    """How quick a backend is.

    Attributes
    ----------
    first_step : float
        The seconds to the end of the first step, in which parameters are drawn, data are moved and
        steps are compiled; without the import of the library.
    step : float
        The seconds of each later step: the median of several turns.
    """

    first_step: float
    step: float


def time_steps(
    beginnings: Mapping[str, Callable[[], Callable[[int], float]]],
    has_time: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time training steps on several backends, which take turns.

    Turns spread the other work on the machine over all of them.

    Parameters
    ----------
    beginnings : mapping of str to callable
        For each backend, the function that creates its `Steps`.
    has_time : callable
        Returns whether there is time for another round after the first `MIN_ROUNDS`.
    clock : callable
        Returns seconds.

    Returns
    -------
    timings : dict of str to Timing
    failures : dict of str to str
        Why the other backends could not be timed.
    """
    first: dict[str, float] = {}
    turns: dict[str, Callable[[], float]] = {}
    failures: dict[str, str] = {}
    for backend, begin in beginnings.items():
        try:
            first[backend], turns[backend] = _warm_up(begin, clock)
        except Exception as error:  # of any library; the other backends are timed nevertheless
            failures[backend] = _describe(error)
    seconds: dict[str, list[float]] = {backend: [] for backend in turns}
    for n_done in range(ROUNDS):
        if n_done >= MIN_ROUNDS and not has_time():
            break
        for backend in [backend for backend in turns if backend not in failures]:
            try:
                seconds[backend].append(turns[backend]())
            except Exception as error:
                failures[backend] = _describe(error)
    timings = {
        backend: Timing(first[backend], median(times))
        for backend, times in seconds.items()
        if backend not in failures
    }
    return timings, failures


def _warm_up(
    begin: Callable[[], Callable[[int], float]], clock: Callable[[], float]
) -> tuple[float, Callable[[], float]]:
    """Take the first steps on a backend.

    Returns
    -------
    first : float
        The seconds to the end of the first step.
    turn : callable
        Takes the steps of a turn, and returns the seconds of one.
    """
    started = clock()
    steps = begin()
    steps(1)
    first = clock() - started
    n = max(1, min(int(TURN_SECONDS / max(steps(1), 1e-9)), MAX_STEPS))
    # Another number of steps may be compiled again.
    for _ in range(2, WARM_UP, n):
        steps(n)
    return first, lambda: steps(n) / n


def _describe(error: Exception) -> str:
    """Return what went wrong; the package's own errors need no name."""
    return str(error) if isinstance(error, AnybackError) else f"{type(error).__name__}: {error}"

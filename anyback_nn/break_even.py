"""From which size on another backend is the faster one: found from times at growing sizes.

Where two backends cross is read between two measured sizes: times grow about as a power of the
size, so their logarithms run along straight lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["BreakEven", "Measured", "break_even", "crossing", "fastest", "grow"]

MARGIN = 1.05
"""Another backend is the faster one if it is faster by this factor: less is within the noise."""


class Measured(NamedTuple):
    """The seconds that a step takes on each backend, for one size of batch or network."""

    size: float
    seconds: Mapping[str, float]


class BreakEven(NamedTuple):
    """Another backend, and the size from which on it is the fastest."""

    backend: str
    size: float


def fastest(seconds: Mapping[str, float]) -> str:
    """Name the backend with the shortest time.

    >>> fastest({"numpy": 2e-4, "jax": 1e-4})
    'jax'
    """
    return min(seconds, key=lambda backend: seconds[backend])


def crossing(before: Measured, after: Measured, ahead: str, behind: str) -> float:
    """Find the size at which two backends take the same time, between two sizes.

    Parameters
    ----------
    before, after : Measured
        Two sizes, the smaller one first.
    ahead, behind : str
        The backend that is faster at the first size, and the one that is faster at the second.

    Examples
    --------
    One takes as much time as the size says, the other as its square root, and 10 times that:

    >>> small = Measured(1.0, {"a": 1.0, "b": 10.0})
    >>> large = Measured(10_000.0, {"a": 10_000.0, "b": 1_000.0})
    >>> round(crossing(small, large, "a", "b"), 6)
    100.0
    """
    lead, lag = (math.log(one.seconds[behind] / one.seconds[ahead]) for one in (before, after))
    return float(before.size * (after.size / before.size) ** (lead / (lead - lag)))


def break_even(points: Sequence[Measured]) -> BreakEven | None:
    """Find from which size on another backend is faster than the fastest one of the first size.

    Parameters
    ----------
    points : sequence of Measured
        Of growing sizes. A backend may be missing from some of them.

    Returns
    -------
    BreakEven or None
        None if no other one is faster by more than noise.

    Examples
    --------
    >>> times = [(64, 1.0, 2.0), (256, 3.0, 3.0), (1024, 12.0, 8.0)]
    >>> points = [Measured(size, {"numpy": a, "jax": b}) for size, a, b in times]
    >>> break_even(points)
    BreakEven(backend='jax', size=256.0)
    """
    first, *larger = points
    ahead = fastest(first.seconds)
    for before, after in zip(points, larger):
        if ahead not in after.seconds:
            return None
        limit = after.seconds[ahead] / MARGIN
        faster = [name for name, seconds in after.seconds.items() if seconds < limit]
        crossings = [
            BreakEven(name, crossing(before, after, ahead, name))
            for name in faster
            if name in before.seconds
        ]
        if crossings:
            return min(crossings, key=lambda one: one.size)
    return None


def grow(
    first: Measured,
    sizes: Iterable[float],
    measure: Callable[[float], Mapping[str, float]],
    has_time: Callable[[Measured], bool],
) -> list[Measured]:
    """Measure larger and larger sizes, until another backend is faster or time is short.

    Parameters
    ----------
    first : Measured
        The size to begin with.
    sizes : iterable of float
        Larger ones, one after another.
    measure : callable
        Gives the seconds of a step on each backend at a size.
    has_time : callable
        Tells, from the last size that was measured, whether there is time for the next one.

    Returns
    -------
    list of Measured
        With the first one.
    """
    points = [first]
    for size in sizes:
        if not has_time(points[-1]) or len(points[-1].seconds) < 2:
            break
        seconds = measure(size)
        if not seconds:
            break
        points.append(Measured(size, seconds))
        if break_even(points):
            break
    return points

"""The mean and the spread of numbers that are seen one part after another."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

__all__ = ["Moments"]


@dataclass(frozen=True)
class Moments:
    """How many numbers there were, their mean, and the sum of their squared distances from it.

    Adding those of two parts gives those of both together. Parts in the same order give the same
    bits.

    Reference: T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance:
    analysis and recommendations", The American Statistician 37, 1983.

    Parameters
    ----------
    count : int
    mean : float
    spread : float

    Examples
    --------
    >>> Moments.of(np.array([1.0, 3.0])) + Moments.of(np.array([np.nan, 8.0]))
    Moments(count=3, mean=4.0, spread=26.0)
    """

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0

    @classmethod
    def of(cls, column: np.ndarray) -> Moments:
        """Measure a column of numbers, shape (n_rows,), of which NaN is left out."""
        values = column[~np.isnan(column)]
        if not len(values):
            return cls()
        mean = float(values.mean())
        values -= mean
        return cls(len(values), mean, float(values @ values))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return self
        apart, share = other.mean - self.mean, other.count / count
        spread = self.spread + other.spread + apart * apart * self.count * share
        return Moments(count, self.mean + apart * share, spread)

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 if no more is left of it than rounding, as in scikit-learn."""
        variance = self.spread / self.count
        rounding = self.count * sys.float_info.epsilon
        is_constant = variance <= rounding * variance + (rounding * self.mean) ** 2
        return 0.0 if is_constant else math.sqrt(variance)

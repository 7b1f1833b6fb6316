"""Reproducible random numbers: drawn on the host, keyed by purpose, the same on every backend.

The array API standard has no random numbers. They are drawn with NumPy's Philox generator under a
key that names what they are for, ``(seed, purpose, counters...)``, and then moved. No generator is
carried along: who knows the key draws the same numbers again, so a resumed run goes on as the
uninterrupted one would have, and the same seed gives the same initial weights, batch order and
dropout masks, bit for bit, on every backend.

Reference: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback_nn.backend import Array, Backend

__all__ = ["PURPOSES", "Blank", "Draws", "generator"]

PURPOSES = ("weights", "order", "noise", "split")
"""What numbers are drawn for: the position is part of the key, so only append to it."""


def generator(seed: int, purpose: str, *counters: int) -> Any:
    """Make the NumPy generator of one purpose.

    Parameters
    ----------
    seed : int
        The run's seed, 0 or greater.
    purpose : str
        One of `PURPOSES`.
    *counters : int
        What tells this draw from others for the same purpose, such as the epoch.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> int(generator(0, "order", 1).integers(1000)) == int(generator(0, "order", 1).integers(1000))
    True
    """
    import numpy as np

    key = (PURPOSES.index(purpose), *counters)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Draws:
    """Random arrays on a backend, drawn on the host.

    Parameters
    ----------
    generator : numpy.random.Generator
        Where the numbers come from: each call goes on in its sequence.
    backend : Backend
        Where the arrays are put.
    dtype : str
        The dtype of the arrays, ``"float32"`` or ``"float64"``. The numbers are drawn in float64
        and rounded, so both dtypes start from the same weights.

    Examples
    --------
    >>> from anyback_nn.backend import select
    >>> draws = Draws(generator(0, "weights"), select("numpy"), "float32")
    >>> draws.normal((2, 3)).shape
    (2, 3)
    """

    generator: Any
    backend: Backend
    dtype: str

    def normal(self, shape: tuple[int, ...], std: float = 1.0) -> Array:
        """Draw from the normal distribution with mean 0 and standard deviation ``std``."""
        return self._move(self.generator.standard_normal(shape) * std)

    def uniform(self, shape: tuple[int, ...], limit: float = 1.0) -> Array:
        """Draw evenly from ``-limit`` to ``limit``."""
        return self._move(self.generator.uniform(-limit, limit, shape))

    def orthogonal(self, shape: tuple[int, int], gain: float = 1.0) -> Array:
        """Draw a matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

        All such matrices are equally likely: the R of a QR decomposition is made to have a
        positive diagonal, without which they would not be (F. Mezzadri, Notices of the AMS 54,
        2007).
        """
        import numpy as np

        tall = (max(shape), min(shape))
        q, r = np.linalg.qr(self.generator.standard_normal(tall))
        q = gain * q * np.sign(np.diagonal(r))
        return self._move(np.ascontiguousarray(q if shape == tall else q.T))

    def full(self, shape: tuple[int, ...], value: float) -> Array:
        """Fill an array with one value (nothing is drawn)."""
        xp = self.backend.xp
        return xp.full(shape, value, dtype=getattr(xp, self.dtype), device=self.backend.device)

    def bernoulli(self, shape: tuple[int, ...], probability: float) -> Array:
        """Draw booleans that are true with ``probability``, the same ones for every dtype."""
        return self.backend.asarray(self.generator.random(shape, dtype="float32") < probability)

    def _move(self, x: Any) -> Array:
        return self.backend.asarray(x, dtype=self.dtype)


class Blank(Draws):
    """Zeros of the right shape in place of every draw, for arrays that are filled in later."""

    def normal(self, shape: tuple[int, ...], std: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def uniform(self, shape: tuple[int, ...], limit: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def orthogonal(self, shape: tuple[int, int], gain: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def bernoulli(self, shape: tuple[int, ...], probability: float) -> Array:
        xp = self.backend.xp
        return xp.zeros(shape, dtype=xp.bool, device=self.backend.device)

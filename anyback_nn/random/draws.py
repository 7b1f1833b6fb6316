"""Random arrays on any backend, drawn with NumPy's Philox generator under a key."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends import Backend
from anyback_nn.random.philox import WORDS_PER_BLOCK, words

__all__ = ["PURPOSES", "Random", "ShapeOnly", "ZerosOnly", "generator"]

PURPOSES = ("weights", "order", "noise", "split", "sample")
"""The uses of random numbers. The index is part of the key, so only append to it."""


def generator(seed: int, purpose: str, *counters: int) -> Any:
    """Create the NumPy generator of one purpose.

    Parameters
    ----------
    seed : int
        Seed of the run, 0 or greater.
    purpose : str
        One of `PURPOSES`.
    *counters : int
        Distinguish this draw from others for the same purpose, such as the epoch.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> int(generator(0, "order", 1).integers(1000)) == int(generator(0, "order", 1).integers(1000))
    True
    """
    if seed < 0 or purpose not in PURPOSES:
        expected = f"expected a seed of 0 or greater and a purpose out of {', '.join(PURPOSES)}"
        raise ValueError(f"{expected}, got {seed!r} and {purpose!r}")
    key = (PURPOSES.index(purpose), *counters)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Random:
    """Random arrays on a backend.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the numbers, see `generator`. Each call advances it.
    backend : Backend
        Backend of the arrays.
    dtype : str
        Dtype of the arrays, ``"float32"`` or ``"float64"``. The numbers are drawn in float64 and
        rounded, so both dtypes start from the same weights.
    rows : slice, optional
        The rows that are kept of arrays of ``n_rows``, along axis -2: those of a share of a batch.
        Default: all.
    n_rows : int
        The number of rows of the whole batch.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> draws = Random(generator(0, "weights"), select("numpy"), "float32")
    >>> draws.normal((2, 3)).shape
    (2, 3)
    """

    generator: Any
    backend: Backend
    dtype: str
    rows: slice | None = None
    n_rows: int = 0

    def normal(self, shape: tuple[int, ...], std: float = 1.0) -> Array:
        """Draw from the normal distribution with mean 0 and standard deviation ``std``."""
        return self._move(self.generator.standard_normal(shape) * std)

    def uniform(self, shape: tuple[int, ...], limit: float = 1.0) -> Array:
        """Draw from the uniform distribution from ``-limit`` to ``limit``."""
        return self._move(self.generator.uniform(-limit, limit, shape))

    def orthogonal(self, shape: tuple[int, int], gain: float = 1.0) -> Array:
        """Draw a matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

        The distribution is uniform over all such matrices, because the signs are chosen such that
        the R of the QR decomposition has a positive diagonal (F. Mezzadri, Notices of the AMS 54,
        2007).
        """
        tall = (max(shape), min(shape))
        q, r = np.linalg.qr(self.generator.standard_normal(tall))
        q = gain * q * np.sign(np.diagonal(r))
        return self._move(np.ascontiguousarray(q if shape == tall else q.T))

    def full(self, shape: tuple[int, ...], value: float) -> Array:
        """Create an array filled with one value; nothing is drawn."""
        # Not on the device, where JAX would compile it for each shape, and keep that.
        return self._move(np.full(shape, value, self.dtype))

    def bernoulli(self, shape: tuple[int, ...], probability: float) -> Array:
        """Draw booleans that are true with ``probability``, the same for every dtype.

        An element is true if 32 random bits, as an unsigned integer, are below ``probability *
        2**32``. With `Backend.masks_on_device` they are computed on the device, with the same bits.
        """
        philox = self.generator.bit_generator
        philox.advance(0)  # drops the rest of the last block
        size = math.prod(shape)
        n_blocks = -(-size // WORDS_PER_BLOCK)
        threshold = round(probability * 2**32)
        if self.backend.masks_on_device:
            with self.backend.scope("float64"):  # outside of it JAX has no int64
                if compute := _compile_mask(self.backend, shape, n_blocks):
                    state = philox.state["state"]
                    start = np.concatenate((state["key"], state["counter"])).view("int64")
                    philox.advance(n_blocks)
                    return self._cut(compute(self.backend.asarray(start), threshold))
        low, high, kept = 0, size, shape
        if self.rows is not None and shape[:-1] == (self.n_rows,):
            # The blocks of these rows alone are drawn, and the others passed over.
            low, high = self.rows.start * shape[1], self.rows.stop * shape[1]
            kept = (self.rows.stop - self.rows.start, shape[1])
        begin, end = low // WORDS_PER_BLOCK, -(-high // WORDS_PER_BLOCK)
        philox.advance(begin)
        # The lower half of each word of 64 bits comes first, whatever the machine's byte order.
        bits = philox.random_raw(4 * (end - begin)).astype("<u8", copy=False).view("<u4")
        philox.advance(n_blocks - end)
        bits = bits[low - WORDS_PER_BLOCK * begin :][: high - low].reshape(kept)
        return self.backend.asarray(self._cut(bits) < threshold)

    def _move(self, x: Any) -> Array:
        return self.backend.asarray(self._cut(x), dtype=self.dtype)

    def _cut(self, x: Array) -> Array:
        """Keep the rows of this share, where they are those of the batch."""
        cuts = self.rows is not None and tuple(x.shape[-2:-1]) == (self.n_rows,)
        return x[..., self.rows, :] if cuts else x


class ZerosOnly(Random):
    """Zeros of the right shape in place of every draw, for arrays that are overwritten later."""

    def normal(self, shape: tuple[int, ...], std: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def uniform(self, shape: tuple[int, ...], limit: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def orthogonal(self, shape: tuple[int, int], gain: float = 1.0) -> Array:
        return self.full(shape, 0.0)

    def bernoulli(self, shape: tuple[int, ...], probability: float) -> Array:
        xp = self.backend.xp
        return xp.zeros(shape, dtype=xp.bool, device=self.backend.device)


class ShapeOnly(ZerosOnly):
    """NumPy arrays of the right shape that take no memory, for counting their elements."""

    def full(self, shape: tuple[int, ...], value: float) -> Array:
        return np.broadcast_to(np.asarray(value, self.dtype), shape)


@lru_cache
def _compile_mask(
    backend: Backend, shape: tuple[int, ...], n_blocks: int
) -> Callable[..., Array] | None:
    """Compile the masks of one shape for the device; None if it has no int64."""
    if not backend.supports("int64"):
        return None

    def mask(start: Array, threshold: int) -> Array:
        bits = words(start[:2], start[2:], n_blocks)[: math.prod(shape)]
        return backend.xp.reshape(bits, shape) < threshold

    return backend.jit(mask)

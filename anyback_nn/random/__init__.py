"""Reproducible random numbers: keyed by purpose, the same on every backend.

The array API standard has no random numbers. They are drawn on the host with NumPy's Philox
generator, under a key that names their use, ``(seed, purpose, counters...)``, and then moved.
Dropout masks can also be computed on the device, with the same bits (`anyback_nn.random.philox`).

There is no generator state to store: the same key draws the same numbers again. So a resumed run
continues exactly as the uninterrupted one would have, and the same seed gives the same initial
weights, batch order and dropout masks, bit for bit, on every backend.

Reference: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from anyback_nn.random.draws import PURPOSES, Random, ShapeOnly, ZerosOnly, generator

__all__ = ["PURPOSES", "Random", "ShapeOnly", "ZerosOnly", "generator"]

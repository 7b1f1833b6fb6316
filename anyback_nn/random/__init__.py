"""Reproducible random numbers: keyed by purpose, the same on every backend.

The array API standard has no random numbers. They are drawn with NumPy's Philox generator under a
key that names what they are for, ``(seed, purpose, counters...)``, and then moved; dropout masks
can also be computed on the device, as the same stream (`anyback_nn.random.philox`). No generator is
carried along: who knows the key draws the same numbers again, so a resumed run goes on as the
uninterrupted one would have, and the same seed gives the same initial weights, batch order and
dropout masks, bit for bit, on every backend.

Reference: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from anyback_nn.random.draws import PURPOSES, Random, ShapeOnly, Zeros, generator

__all__ = ["PURPOSES", "Random", "ShapeOnly", "Zeros", "generator"]

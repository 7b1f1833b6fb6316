"""The random numbers of the page, which the library draws: JavaScript draws none."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np

from anyback_nn.datasets import synthetic
from anyback_nn.playground.settings import MAX_DEPTH, MAX_WIDTH, N_INPUTS, N_SEEDS
from anyback_nn.random import generator

__all__ = ["N_SAMPLES", "SHAPES", "draw_shapes", "draw_weights", "get_noise"]

N_SAMPLES = 500
"""The number of points of a shape."""

SHAPES: dict[str, Callable[..., Any]] = {
    "spirals": synthetic.make_spirals,
    "moons": synthetic.make_moons,
    "circles": synthetic.make_circles,
    "xor": synthetic.make_xor,
    "blobs": synthetic.make_blobs,
}


def draw_weights() -> np.ndarray:
    """Draw what initial weights are scaled from, for each seed.

    `GlorotUniform` draws from -limit to limit: that is ``-limit + 2 limit u``, and ``u``, from 0 to
    1, does not depend on the shape. The layers take the numbers one after another.

    Returns
    -------
    ndarray of float64, shape (n_seeds, n_weights)
        For the largest network.
    """
    widths = (N_INPUTS, *(MAX_WIDTH,) * MAX_DEPTH, 1)
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(widths))
    return np.stack([generator(seed, "weights").random(n_weights) for seed in range(N_SEEDS)])


def get_noise(name: str) -> float:
    """Return the default noise of a shape.

    >>> get_noise("blobs")
    0.5
    """
    noise: float = signature(SHAPES[name]).parameters["noise"].default
    return noise


def draw_shapes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw the points of each shape without noise and with noise 1, of two classes.

    Points are linear in the noise, so the page has those of any noise: ``x(0) + noise (x(1) -
    x(0))``.

    Returns
    -------
    dict of str to (ndarray of float32, ndarray of int64)
        Points of shape (2, n_samples, 2), and their classes.
    """
    shapes = {}
    for name, make in SHAPES.items():
        options = {"n_classes": 2} if name in ("spirals", "blobs") else {}
        clean, y = make(N_SAMPLES, noise=0.0, seed=0, **options)
        noisy, _ = make(N_SAMPLES, noise=1.0, seed=0, **options)
        shapes[name] = (np.stack([clean, noisy]), y)
    return shapes

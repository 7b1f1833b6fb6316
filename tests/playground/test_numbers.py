"""The random numbers of the page are those that the library draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from anyback_nn.playground.numbers import SHAPES, draw_shapes, draw_weights
from anyback_nn.playground.settings import MAX_DEPTH, MAX_WIDTH, build_model


@pytest.mark.parametrize("widths", [(), (3,), (1, 5, 2), (MAX_WIDTH,) * MAX_DEPTH])
@pytest.mark.parametrize("seed", [0, 49])
def test_initial_weights_are_scaled_from_the_stored_numbers(widths, seed):
    numbers = iter(draw_weights()[seed])
    for params in build_model(widths, "ReLU", seed).params[::2]:
        n_in, n_out = params["weight"].shape
        limit = math.sqrt(6 / (n_in + n_out))
        scaled = [-limit + 2 * limit * next(numbers) for _ in range(n_in * n_out)]
        assert np.array_equal(params["weight"].ravel(), np.asarray(scaled, "float32"))
        assert not params["bias"].any()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.07, 0.5])
def test_points_of_any_noise_follow_from_two(name, noise):
    (clean, noisy), y = draw_shapes()[name]
    options = {"n_classes": 2} if name in ("spirals", "blobs") else {}
    x, expected = SHAPES[name](len(y), noise=noise, seed=0, **options)
    clean, noisy = clean.astype("float64"), noisy.astype("float64")
    np.testing.assert_allclose(clean + noise * (noisy - clean), x, rtol=0, atol=5e-7)
    assert np.array_equal(y, expected)
    assert {*y} == {0, 1}

"""Dropout: how many are kept, how they are scaled; random/test_random.py has the masks."""

import math

import numpy as np
import pytest
from network_cases import TOLERANCE, relative_error

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.random import Random, generator

SHAPE = (200, 100)


def mask(probability, backend=None, dtype="float32"):
    draws = Random(generator(0, "noise"), backend or nn.select("numpy"), dtype)
    return nn.Dropout(probability).noise(SHAPE, draws)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_rate(probability):
    n_kept = np.sum(mask(probability))
    n = SHAPE[0] * SHAPE[1]
    assert abs(n_kept - n * (1 - probability)) <= 5 * math.sqrt(n * probability * (1 - probability))


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.9])
def test_what_is_kept_is_scaled(probability, backend, dtype):
    x = np.random.default_rng(0).normal(size=SHAPE)
    noise = mask(probability, backend, dtype)
    y, cache = nn.Dropout(probability).forward(
        {}, backend.asarray(x, dtype), nn.Context(True, {}, noise)
    )
    expected = np.where(to_numpy(noise), x / (1 - probability), 0.0)
    assert relative_error(y, expected) < TOLERANCE[dtype]
    dx, grads = nn.Dropout(probability).backward({}, cache, backend.asarray(np.ones(SHAPE), dtype))
    assert relative_error(dx, expected / x) < TOLERANCE[dtype]
    assert grads == {}


def test_prediction_changes_nothing(backend, dtype):
    x = backend.asarray(np.random.default_rng(0).normal(size=SHAPE), dtype)
    y, cache = nn.Dropout(0.5).forward({}, x)
    np.testing.assert_array_equal(to_numpy(y), to_numpy(x))
    dx, _ = nn.Dropout(0.5).backward({}, cache, x)
    np.testing.assert_array_equal(to_numpy(dx), to_numpy(x))


def test_layers_of_a_network_drop_different_inputs():
    network = nn.Network(nn.Dropout(0.5), nn.Dense(100), nn.Dropout(0.5))
    draws = Random(generator(0, "noise"), nn.select("numpy"), "float32")
    first, nothing, last = network.noise(SHAPE, draws)
    assert nothing is None
    assert first.shape == last.shape == SHAPE
    assert not np.array_equal(first, last)

"""`Network.walk` and `walk_back` return what every layer computes, also inside of the network."""

from __future__ import annotations

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.random import Random, generator
from anyback_nn.testing import assert_close
from anyback_nn.tree import tree_leaves

NETWORK = nn.Network(
    nn.Dense(5), nn.Tanh(), nn.Residual(nn.Dense(4), nn.ReLU(), nn.Dense(5)), nn.Dense(2)
)


@pytest.fixture
def arrays(backend, finest):
    """Parameters, inputs and the gradient of the output."""
    draws = Random(generator(0, "weights"), backend, finest)
    return NETWORK.init(3, draws), draws.normal((7, 3), 1.0), draws.normal((7, 2), 1.0)


def test_each_output_is_that_of_the_layers_up_to_it(arrays):
    params, x, _ = arrays
    outputs, _ = NETWORK.walk(params, x)
    for n_layers, output in enumerate(outputs, start=1):
        expected, _ = nn.Network(*NETWORK.layers[:n_layers]).forward(params[:n_layers], x)
        assert_close(output, expected)


def test_each_gradient_is_the_slope_along_the_output_of_its_layer(arrays, backend, float64):
    params, x, dy = arrays
    outputs, cache = NETWORK.walk(params, x)
    d_outputs, grads = NETWORK.walk_back(params, cache, dy)
    assert_close(d_outputs[-1], dy)
    direction = backend.asarray(np.cos(np.arange(35.0)).reshape(7, 5), float64)

    def loss(layer, output, step):
        """Return the sum of the outputs times ``dy``, from the output of one layer on."""
        rest = nn.Network(*NETWORK.layers[layer + 1 :])
        y, _ = rest.forward(params[layer + 1 :], output + step * direction)
        return float(np.sum(to_numpy(y * dy)))

    for layer, (output, gradient) in enumerate(zip(outputs[:-1], d_outputs)):
        slope = (loss(layer, output, 1e-6) - loss(layer, output, -1e-6)) / 2e-6
        assert np.sum(to_numpy(gradient * direction)) == pytest.approx(slope, rel=1e-6)
    for own, expected in zip(tree_leaves(grads), tree_leaves(NETWORK.gradients(params, cache, dy))):
        assert_close(own, expected)

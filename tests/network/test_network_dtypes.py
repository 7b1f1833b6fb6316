"""What comes out has the dtype and the device of what went in: nothing is promoted or moved."""

import numpy as np
from array_api_compat import device
from network_cases import (
    arrays,
    each_function,
    each_layer,
    each_loss,
    each_weights,
    move,
)

from anyback_nn.network.losses import mean_loss, weighted_mean
from anyback_nn.network.network import Network


def assert_all(tree, backend, dtype):
    found = arrays(tree)
    assert found
    for name, array in found.items():
        assert array.dtype == getattr(backend.xp, dtype), name
        assert device(array) == backend.device, name


@each_layer
def test_layer(case, backend, dtype):
    problem = case.draw(3).to(backend, dtype)
    assert_all(problem.run(), backend, dtype)
    if isinstance(problem.layer, Network):
        y = problem.layer.predict(problem.params, problem.x, problem.context.state)
        assert_all(y, backend, dtype)


@each_weights
@each_loss
def test_loss(case, weights, backend, dtype):
    outputs, targets, weights = move((*case.draw(3), weights), backend, dtype)
    values, cache = case.loss.forward(outputs, targets)
    result = mean_loss(case.loss, outputs, targets, weights)
    mean = weighted_mean(values, weights)
    linked = case.loss.link(outputs)
    assert_all((values, cache, result, mean, linked), backend, dtype)
    if case.loss.classifies:
        assert_all(case.loss.correct(outputs, targets), backend, dtype)
        assert device(case.loss.decide(outputs)) == backend.device


@each_function
def test_function(case, backend, dtype):
    z = backend.asarray(np.linspace(-3, 3, 16), dtype)
    assert_all((case.value(z), case.slope(z)), backend, dtype)

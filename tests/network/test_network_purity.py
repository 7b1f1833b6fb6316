"""Nothing writes into its arguments: NumPy's arrays are made read-only, all are compared."""

import numpy as np
from network_cases import (
    arrays,
    each_function,
    each_layer,
    each_loss,
    each_weights,
    move,
)

from anyback_nn.array_api import to_numpy
from anyback_nn.network.activations import log_sum_exp
from anyback_nn.network.losses import mean_loss, weighted_mean
from anyback_nn.network.network import Network


class Guard:
    """Keep copies of arrays, to compare the arrays with them later."""

    def __init__(self):
        self.watched = []

    def __call__(self, tree):
        for name, array in arrays(tree).items():
            self.watched.append((name, array, np.array(to_numpy(array))))
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        return tree

    def check(self):
        assert self.watched
        for name, array, before in self.watched:
            np.testing.assert_array_equal(to_numpy(array), before, err_msg=name)


@each_layer
def test_layer(case, backend, finest):
    guard = Guard()
    problem = case.draw(3).to(backend, finest).map(guard)
    layer, params, x, context, dy = vars(problem).values()
    y, cache = layer.forward(params, x, context)
    guard((y, cache))
    guard(layer.backward(params, cache, dy))
    guard(layer.gradients(params, cache, dy))
    if context.training:
        guard(layer.next_state(context.state, cache))
    if isinstance(layer, Network):
        guard(layer.predict(params, x, context.state))
    guard.check()


@each_weights
@each_loss
def test_loss(case, weights, backend, finest):
    guard = Guard()
    outputs, targets, weights = guard(move((*case.draw(3), weights), backend, finest))
    guard(mean_loss(case.loss, outputs, targets, weights))
    values, cache = guard(case.loss.forward(outputs, targets))
    guard(case.loss.backward(cache, values))
    guard(weighted_mean(values, weights))
    guard(case.loss.link(outputs))
    guard(case.loss.check_targets(targets, 3))
    if case.loss.classifies:
        guard(case.loss.decide(outputs))
        guard(case.loss.correct(outputs, targets))
    guard.check()


@each_function
def test_function(case, backend, finest):
    guard = Guard()
    z = guard(backend.asarray(np.linspace(-3, 3, 16).reshape(4, 4), finest))
    case.value(z)
    case.slope(z)
    log_sum_exp(z)
    guard.check()

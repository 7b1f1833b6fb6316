"""Forward and backward as one compiled function, against NumPy's eager result in float64.

On JAX this traces the mathematics: reading a value, branching on one or writing into an input
raises. Elsewhere `Backend.jit` changes nothing, and the backend is compared with NumPy. All results
have the dtype and the device of the inputs: nothing is promoted or moved.
"""

import pytest
from array_api_compat import device
from network_cases import (
    LAYERS,
    TOLERANCE,
    arrays,
    assert_close,
    each_layer,
    each_loss,
    each_weights,
    move,
)

from anyback_nn.network.losses import mean_loss, weighted_mean


def assert_like(result, expected, backend, dtype):
    for name, array in arrays(result).items():
        if name != "decision":
            assert array.dtype == getattr(backend.xp, dtype), name
        assert device(array) == backend.device, name
    assert_close(result, expected, TOLERANCE[dtype])


@each_layer
def test_layer(case, backend, dtype):
    numbers = case.draw(3)
    problem = numbers.to(backend, dtype)
    result = backend.jit(problem.step)(*problem.arguments)
    assert_like(result, numbers.run(), backend, dtype)


@each_weights
@each_loss
def test_loss(case, weights, backend, dtype):
    numbers = (*case.draw(3), weights)

    def step(outputs, targets, weights):
        values, cache = case.loss.forward(outputs, targets)
        mean, derivative = mean_loss(case.loss, outputs, targets, weights)
        again = weighted_mean(values, weights)
        return {"values": values, "cache": cache, "mean": (mean, again), "derivative": derivative}

    result = backend.jit(step)(*move(numbers, backend, dtype))
    assert_like(result, step(*numbers), backend, dtype)


@each_loss
def test_link_decision_and_score(case, backend, dtype):
    numbers = case.draw(3)

    def step(outputs, targets):
        linked = {"link": case.loss.link(outputs)}
        if not case.loss.classifies:
            return linked
        correct = case.loss.correct(outputs, targets)
        return linked | {"decision": case.loss.decide(outputs), "correct": correct}

    result = backend.jit(step)(*move(numbers, backend, dtype))
    assert_like(result, step(*numbers), backend, dtype)


@pytest.mark.parametrize("training", [True, False])
def test_prediction_and_gradients(training, backend, dtype):
    """`Network.predict` and `gradients`, the shorter ways through a network, compile too."""
    (case,) = (case for case in LAYERS if case.name == "Network")
    numbers = case.draw(2)

    def step(params, x, state, noise, dy):
        network, context = numbers.layer, numbers.context._replace(state=state, noise=noise)
        _, cache = network.forward(params, x, context._replace(training=training))
        grads = network.gradients(params, cache, dy)
        return {"y": network.predict(params, x, state), "grads": grads}

    result = backend.jit(step)(*numbers.to(backend, dtype).arguments)
    assert_like(result, step(*numbers.arguments), backend, dtype)

"""Forward and backward as one compiled function, against NumPy's eager result in float64.

On JAX this traces the mathematics: reading a value, branching on one or writing into an input
raises. Elsewhere `Backend.compile` changes nothing, and the backend is compared with NumPy.
"""

import pytest
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

from anyback_nn.network.losses import mean_loss


@each_layer
def test_layer(case, backend, dtype):
    numbers = case.draw(3)
    problem = numbers.to(backend, dtype)
    result = backend.jit(problem.step)(*problem.arguments)
    assert_close(result, numbers.run(), TOLERANCE[dtype])


@each_weights
@each_loss
def test_loss(case, weights, backend, finest):
    numbers = (*case.draw(3), weights)

    def step(*arrays):
        return mean_loss(case.loss, *arrays)

    result = backend.jit(step)(*move(numbers, backend, finest))
    assert_close(result, step(*numbers), TOLERANCE[finest])


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
    assert_close(result, step(*numbers), TOLERANCE[dtype])


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
    expected = step(*numbers.arguments)
    assert arrays(result).keys() == arrays(expected).keys()
    assert_close(result, expected, TOLERANCE[dtype])

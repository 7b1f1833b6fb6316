"""Values and gradients against JAX, in float64.

What is written by hand is compared with two derivatives that JAX takes: of our own ``forward``, and
of JAX's function for the same layer, or Optax's for the same loss.
"""

import pytest
from network_cases import (
    LAYERS,
    LOSSES,
    TOLERANCE,
    WEIGHTS,
    assert_close,
    each_layer,
    each_loss,
    move,
)
from network_references import compositions, elementwise

from anyback_nn.backends import select
from anyback_nn.network.losses import mean_loss

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp, losses = jax.numpy, optax.losses


def on_jax(function, arrays):
    with jax.enable_x64(True):
        return jax.jit(function)(*move(arrays, select("jax"), "float64"))


def batch_norm(x, p, context):
    known = {} if context.training else context.state
    return jax.nn.standardize(x, axis=0, epsilon=1e-5, **known) * p["scale"] + p["shift"]


def layer_norm(x, p, context):
    return jax.nn.standardize(x, axis=-1, epsilon=0.1) * p["scale"] + p["shift"]


ACTIVATIONS = (
    *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"),
    *("softplus", "softmax"),
)
REFERENCE_LAYERS = {
    **compositions(jnp.tanh, jnp.where),
    "BatchNorm": batch_norm,
    "BatchNorm in prediction": batch_norm,
    "LayerNorm": layer_norm,
    **{name: elementwise(getattr(jax.nn, name)) for name in ACTIVATIONS},
    "leaky_relu with a slope": elementwise(lambda x: jax.nn.leaky_relu(x, 0.3)),
    "elu with alpha": elementwise(lambda x: jax.nn.elu(x, 0.6)),
}


@each_layer
def test_layer(case, backend, float64):
    problem = case.draw(3)

    def ours(x, params, context):
        return problem.layer.forward(params, x, context)[0]

    functions = (ours, REFERENCE_LAYERS.get(case.name))

    def expected(params, x, state, noise, dy):
        context = problem.context._replace(state=state, noise=noise)

        def derive(function):
            y, pull_back = jax.vjp(lambda p, x: function(x, p, context), params, x)
            grads, dx = pull_back(dy)
            return {"y": y, "dx": dx, "grads": grads}

        return [derive(function) for function in functions if function]

    result = problem.to(backend, float64).run()
    for one in on_jax(expected, problem.arguments):
        assert_close({name: result[name] for name in one}, one, TOLERANCE[float64])


def cross_entropy(outputs, targets, smoothing=0.0):
    if jnp.issubdtype(targets.dtype, jnp.floating):
        return losses.softmax_cross_entropy(outputs, losses.smooth_labels(targets, smoothing))
    if not smoothing:
        return losses.softmax_cross_entropy_with_integer_labels(outputs, targets)
    return cross_entropy(outputs, jax.nn.one_hot(targets, outputs.shape[-1]), smoothing)


def of_probabilities(outputs, targets):
    return losses.sigmoid_binary_cross_entropy(jax.scipy.special.logit(outputs), targets)


def mean_of(function):
    return lambda o, t: jnp.mean(function(o, t), axis=-1)


REFERENCE_LOSSES = {
    "MeanSquaredError": mean_of(losses.squared_error),
    "MeanAbsoluteError": mean_of(lambda o, t: jnp.abs(o - t)),  # Optax has none
    "Huber": mean_of(losses.huber_loss),
    "Huber with delta": mean_of(lambda o, t: losses.huber_loss(o, t, delta=0.8)),
    "Poisson": mean_of(lambda o, t: losses.generalized_kl_divergence(o, t, axis=())),
    "BinaryCrossEntropy": mean_of(losses.sigmoid_binary_cross_entropy),
    "BinaryCrossEntropy, soft": mean_of(losses.sigmoid_binary_cross_entropy),
    "BinaryCrossEntropy, smoothed": mean_of(
        lambda o, t: losses.sigmoid_binary_cross_entropy(o, 0.8 * t + 0.1)
    ),
    "ProbabilityCrossEntropy": mean_of(of_probabilities),
    "ProbabilityCrossEntropy, soft": mean_of(of_probabilities),
    "SoftmaxCrossEntropy, classes": cross_entropy,
    "SoftmaxCrossEntropy, one-hot": cross_entropy,
    "SoftmaxCrossEntropy, soft": cross_entropy,
    "SoftmaxCrossEntropy, classes smoothed": lambda o, t: cross_entropy(o, t, 0.1),
    "SoftmaxCrossEntropy, soft smoothed": lambda o, t: cross_entropy(o, t, 0.3),
}


@each_loss
def test_loss(case, backend, float64):
    arrays = (*case.draw(3), WEIGHTS["some weights zero"])

    def ours(outputs, targets, weights):
        return mean_loss(case.loss, outputs, targets, weights)[0]

    def reference(outputs, targets, weights):
        return jnp.average(REFERENCE_LOSSES[case.name](outputs, targets), weights=weights)

    def expected(*arrays):
        return [jax.value_and_grad(function)(*arrays) for function in (ours, reference)]

    result = mean_loss(case.loss, *move(arrays, backend, float64))
    for one in on_jax(expected, arrays):
        assert_close(result, one, TOLERANCE[float64])


@pytest.mark.usefixtures("backend")
def test_every_layer_and_loss_has_a_reference():
    networks = {"Network", "Network in prediction"}  # compositions of what is compared
    assert REFERENCE_LAYERS.keys() == {case.name for case in LAYERS} - networks
    assert REFERENCE_LOSSES.keys() == {case.name for case in LOSSES}

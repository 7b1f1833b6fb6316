"""Values and gradients against PyTorch's functions and its autograd, in float32."""

import numpy as np
import pytest
from network_cases import (
    LAYERS,
    LOSSES,
    arrays,
    assert_close,
    each_weights,
    each_width,
    move,
    relative_error,
)
from network_references import compositions, elementwise

from anyback_nn.array_api import to_numpy
from anyback_nn.network.losses import mean_loss

torch = pytest.importorskip("torch")
F = torch.nn.functional
TOLERANCE = 1e-5


def tensor(x):
    """Create a float32 tensor from an array of any library."""
    x = np.array(to_numpy(x))
    return torch.from_numpy(x.astype(np.float32) if x.dtype.kind == "f" else x)


def in_one(gradients):
    return np.concatenate([np.ravel(to_numpy(gradient)) for gradient in gradients])


def batch_norm(x, p, context):
    running = (context.state["mean"], context.state["variance"])  # updated in place, in training
    return F.batch_norm(x, *running, p["scale"], p["shift"], context.training, 1 - 0.9, 1e-5)


def layer_norm(x, p, context):
    return F.layer_norm(x, x.shape[-1:], p["scale"], p["shift"], 0.1)


ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "silu", "softplus")
REFERENCE_LAYERS = {
    **compositions(torch.tanh, torch.where),
    "BatchNorm": batch_norm,
    "BatchNorm in prediction": batch_norm,
    "LayerNorm": layer_norm,
    "identity": elementwise(lambda x: x * 1),
    **{name: elementwise(getattr(F, name)) for name in ACTIVATIONS},
    "leaky_relu with a slope": elementwise(lambda x: F.leaky_relu(x, 0.3)),
    "elu with alpha": elementwise(lambda x: F.elu(x, 0.6)),
    "gelu": elementwise(lambda x: F.gelu(x, approximate="tanh")),
    "softmax": elementwise(lambda x: F.softmax(x, dim=-1)),
}


@each_width
@pytest.mark.parametrize("name", REFERENCE_LAYERS)
def test_layer(name, n_out, backend):
    (case,) = (case for case in LAYERS if case.name == name)
    problem = case.draw(n_out).to(backend, "float32")
    result = problem.run()

    reference = problem.map(
        lambda tree: (
            {key: tensor(x) for key, x in tree.items()}
            if isinstance(tree, dict)
            else tuple({key: tensor(x) for key, x in layer.items()} for layer in tree)
            if isinstance(tree, tuple)
            else None
            if tree is None
            else tensor(tree)
        )
    )
    learned = [reference.x, *arrays(reference.params).values()]
    for one in learned:
        one.requires_grad_()
    y = REFERENCE_LAYERS[name](reference.x, reference.params, reference.context)
    y.backward(reference.dy)

    assert relative_error(result["y"], y) < TOLERANCE
    # All gradients as one vector: of one feature, LayerNorm's dx is 0, and PyTorch's is rounded.
    ours = [result["dx"], *arrays(result["grads"]).values()]
    assert relative_error(in_one(ours), in_one([one.grad for one in learned])) < TOLERANCE
    assert_close(result["state"], reference.context.state, TOLERANCE)


def poisson(outputs, targets):
    # PyTorch leaves out the constant that makes the loss of a perfect prediction 0.
    values = F.poisson_nll_loss(outputs, targets, log_input=True, full=False, reduction="none")
    return values + torch.xlogy(targets, targets) - targets


def cross_entropy(outputs, targets, smoothing=0.0):
    classes = targets if targets.is_floating_point() else targets.long()
    return F.cross_entropy(outputs, classes, reduction="none", label_smoothing=smoothing)


def mean_of(function, **options):
    return lambda o, t: function(o, t, reduction="none", **options).mean(-1)


REFERENCE_LOSSES = {
    "MeanSquaredError": mean_of(F.mse_loss),
    "MeanAbsoluteError": mean_of(F.l1_loss),
    "Huber": mean_of(F.huber_loss),
    "Huber with delta": mean_of(F.huber_loss, delta=0.8),
    "Poisson": lambda o, t: poisson(o, t).mean(-1),
    "BinaryCrossEntropy": mean_of(F.binary_cross_entropy_with_logits),
    "BinaryCrossEntropy, soft": mean_of(F.binary_cross_entropy_with_logits),
    # PyTorch smooths labels of several classes only: here between yes and no.
    "BinaryCrossEntropy, smoothed": lambda o, t: cross_entropy(
        torch.stack([0 * o, o], 1), torch.stack([1 - t, t], 1), 0.2
    ).mean(-1),
    "ProbabilityCrossEntropy": mean_of(F.binary_cross_entropy),
    "ProbabilityCrossEntropy, soft": mean_of(F.binary_cross_entropy),
    "SoftmaxCrossEntropy, classes": cross_entropy,
    "SoftmaxCrossEntropy, one-hot": cross_entropy,
    "SoftmaxCrossEntropy, soft": cross_entropy,
    "SoftmaxCrossEntropy, classes smoothed": lambda o, t: cross_entropy(o, t, 0.1),
    "SoftmaxCrossEntropy, soft smoothed": lambda o, t: cross_entropy(o, t, 0.3),
}


@each_width
@each_weights
@pytest.mark.parametrize("name", REFERENCE_LOSSES)
def test_loss(name, weights, n_out, backend):
    (case,) = (case for case in LOSSES if case.name == name)
    outputs, targets = case.draw(n_out)
    ours = mean_loss(case.loss, *move((outputs, targets, weights), backend, "float32"))

    outputs, targets = tensor(outputs).requires_grad_(), tensor(targets)
    values = REFERENCE_LOSSES[name](outputs, targets)
    weights = torch.ones_like(values) if weights is None else tensor(weights)
    value = (weights * values).sum() / weights.sum()
    value.backward()

    assert relative_error(ours[0], value) < TOLERANCE
    assert relative_error(ours[1], outputs.grad) < TOLERANCE


@pytest.mark.usefixtures("backend")
def test_every_layer_and_loss_is_compared():
    networks = {"Network", "Network in prediction"}  # compositions of what is compared
    assert REFERENCE_LAYERS.keys() == {case.name for case in LAYERS} - networks
    assert REFERENCE_LOSSES.keys() == {case.name for case in LOSSES}

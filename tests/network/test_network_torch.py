"""Outputs, gradients and states of layers against PyTorch's functions and its autograd.

test_network_sklearn.py compares losses.
"""

import numpy as np
import pytest
from network_cases import LAYERS, TOLERANCE, arrays, assert_close, each_width, relative_error

from anyback_nn.array_api import to_numpy
from anyback_nn.tree import tree_map

torch = pytest.importorskip("torch")
F = torch.nn.functional


def elementwise(function):
    """Return a reference that needs the inputs alone."""
    return lambda x, params, context: function(x)


def dense(x, p, context):
    return x @ p["weight"] + p.get("bias", 0.0)


def dropout(x, p, context):
    return torch.where(context.noise, x / (1 - 0.4), 0.0) if context.training else x * 1


def batch_norm(x, p, context):
    running = (context.state["mean"], context.state["variance"])  # updated in place, in training
    return F.batch_norm(x, *running, p["scale"], p["shift"], context.training, 1 - 0.9, 1e-5)


def layer_norm(x, p, context):
    return F.layer_norm(x, x.shape[-1:], p["scale"], p["shift"], 0.1)


ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "silu", "softplus")
REFERENCE_LAYERS = {
    "Dense": dense,
    "Dense without bias": dense,
    "Dropout": dropout,
    "Dropout in prediction": dropout,
    "BatchNorm": batch_norm,
    "BatchNorm in prediction": batch_norm,
    "LayerNorm": layer_norm,
    "Residual": lambda x, p, c: x + dense(torch.tanh(dense(x, p[0], c)), p[2], c),
    "Residual of nothing": elementwise(lambda x: x + x),
    "Residual that ends in an activation": lambda x, p, c: x + torch.tanh(dense(x, p[0], c)),
    "identity": elementwise(lambda x: x * 1),
    **{name: elementwise(getattr(F, name)) for name in ACTIVATIONS},
    "leaky_relu with a slope": elementwise(lambda x: F.leaky_relu(x, 0.3)),
    "elu with alpha": elementwise(lambda x: F.elu(x, 0.6)),
    "gelu": elementwise(lambda x: F.gelu(x, approximate="tanh")),
    "softmax": elementwise(lambda x: F.softmax(x, dim=-1)),
}


@each_width
@pytest.mark.parametrize("name", REFERENCE_LAYERS)
def test_layer(name, n_out, backend, float64):
    (case,) = (case for case in LAYERS if case.name == name)
    numbers = case.draw(n_out)
    result = numbers.to(backend, float64).run()

    reference = numbers.map(
        lambda tree: tree_map(lambda x: None if x is None else torch.tensor(x), tree)
    )
    learned = [reference.x, *arrays(reference.params).values()]
    for tensor in learned:
        tensor.requires_grad_()
    y = REFERENCE_LAYERS[name](reference.x, reference.params, reference.context)
    y.backward(reference.dy)

    assert relative_error(result["y"], y) < TOLERANCE[float64]
    # All gradients as one vector: of one feature, LayerNorm's dx is 0, and PyTorch's is rounded.
    ours, expected = (
        np.concatenate([np.ravel(to_numpy(gradient)) for gradient in gradients])
        for gradients in (
            [result["dx"], *arrays(result["grads"]).values()],
            [tensor.grad for tensor in learned],
        )
    )
    assert relative_error(ours, expected) < TOLERANCE[float64]
    assert_close(result["state"], reference.context.state, TOLERANCE[float64])


@pytest.mark.usefixtures("backend")
def test_every_layer_is_compared():
    networks = {"Network", "Network in prediction"}  # compositions of what is compared
    assert REFERENCE_LAYERS.keys() == {case.name for case in LAYERS} - networks

"""What traced steps are tested with: everything that a step of training can consist of."""

from __future__ import annotations

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.sklearn import MLPClassifier
from anyback_nn.tree import tree_named_leaves

N_SAMPLES = 50
CLASSES = np.random.default_rng(1).integers(0, 3, N_SAMPLES)
VALUES = np.random.default_rng(1).standard_normal((N_SAMPLES, 3))

NETWORKS = {
    **{name: (nn.Dense(8), layer(), nn.Dense(3)) for name, layer in ACTIVATIONS.items()},
    # A bias in front of it has a gradient of rounding alone.
    "batch norm": (nn.Dense(8, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dense(3)),
    "layer norm": (nn.LayerNorm(), nn.Dense(8), nn.Tanh(), nn.Dense(3, bias=False)),
    "dropout": (nn.Dense(8), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3)),
    "residual": (nn.Residual(nn.Dense(6), nn.ReLU(), nn.Dense(4)), nn.Dense(3)),
    "network": (nn.Network(nn.Dense(6), nn.Dropout(0.5), nn.BatchNorm()), nn.ELU(), nn.Dense(3)),
    "no hidden layer": (nn.Dense(3),),
}

LOSSES = {
    "mean squared": (nn.MeanSquaredError(), VALUES),
    "mean absolute": (nn.MeanAbsoluteError(), VALUES),
    "huber": (nn.Huber(0.5), VALUES),
    "poisson": (nn.Poisson(), np.abs(VALUES).round()),
    "probabilities": (nn.ProbabilityCrossEntropy(), VALUES > 0),
    "labels": (nn.BinaryCrossEntropy(), VALUES > 0),
    "smooth labels": (nn.BinaryCrossEntropy(label_smoothing=0.1), VALUES > 0),
    "classes": (nn.SoftmaxCrossEntropy(), CLASSES),
    "smooth classes": (nn.SoftmaxCrossEntropy(label_smoothing=0.1), CLASSES),
    "one-hot": (nn.SoftmaxCrossEntropy(), np.eye(3)[CLASSES]),
}

OPTIMIZERS = {
    **{name: kind(0.01) for name, kind in nn.OPTIMIZERS.items()},
    "penalties": nn.Adam(0.01, l1=0.01, l2=0.01),
    "all penalized": nn.GradientDescent(0.1, l2=0.1, penalize_all=True),
    "clipped": nn.Nesterov(0.1, clip_value=0.01, clip_norm=0.02),
    "schedule": nn.Momentum(nn.CosineDecay(0.1, epochs=6, warmup=1)),
    "decay and schedule": nn.AdamW(nn.ExponentialDecay(0.1, 0.5), weight_decay=0.1),
}


each_network = pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
each_loss = pytest.mark.parametrize(("loss", "y"), LOSSES.values(), ids=LOSSES)
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)

UNARY = (
    *("abs", "ceil", "cos", "exp", "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10"),
    *("log1p", "log2", "negative", "sign", "sin", "sqrt", "square", "tan", "tanh"),
)
"""Elementwise functions of one array."""

BINARY = (
    *("add", "atan2", "divide", "equal", "greater", "greater_equal", "less", "less_equal"),
    *("maximum", "minimum", "multiply", "not_equal", "pow", "subtract"),
)
"""Elementwise functions of two arrays."""


def train(backend, layers, loss, y, optimizer=None, dtype="float64", **options):
    """Train a network in batches of 16 and a last one of 2; return every number that changes."""
    x = np.random.default_rng(0).standard_normal((N_SAMPLES, 4))
    model = nn.Model(*layers, loss=loss, backend=backend, dtype=dtype, seed=3)
    options = {"epochs": 5, "batch_size": 16, "progress": False} | options
    model.fit(x, y, optimizer=optimizer or nn.Adam(0.01), **options)
    return numbers_of(model)


def numbers_of(model):
    """Return every number that training has changed."""
    training = model.training
    trees = (training.params, training.state, training.optimizer_state)
    rows = [[v for k, v in row.items() if k != "seconds"] for row in training.history]
    arrays = [to_numpy(a).copy() for tree in trees for a in tree_named_leaves(tree).values()]
    return [*arrays, np.asarray(rows)]


def assert_same(results, expected):
    """Compare arrays bit for bit."""
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_array_equal(to_numpy(result), to_numpy(right), strict=True)


def fit_twice(backend, width):
    """Train a model twice, in batches of one shape."""
    layers = (nn.Dense(width), nn.Dense(width), nn.Dense(3))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)
    x = np.random.default_rng(0).standard_normal((40, 4))
    for _ in range(2):
        model.fit(x, CLASSES[:40], epochs=2, batch_size=10, progress=False)


def partial_fit_twice(backend, width):
    """Train an estimator twice, in batches of one shape."""
    mlp = MLPClassifier(hidden_layer_sizes=(width, width), batch_size=10, backend=backend)
    x = np.random.default_rng(0).standard_normal((40, 4))
    for _ in range(2):
        mlp.partial_fit(x, CLASSES[:40], classes=[0, 1, 2])

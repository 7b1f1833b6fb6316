"""Networks to explain, and equations computed as they are written."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

import anyback_nn as nn
from anyback_nn.explain.code import HELPERS, to_code
from anyback_nn.network.layout import Layout
from anyback_nn.random import Random, generator
from anyback_nn.tree import tree_map

N_IN, N_SAMPLES = 3, 4

NETWORKS = {
    "tanh, sigmoid": ((nn.Dense(5), nn.Tanh(), nn.Dense(1)), nn.BinaryCrossEntropy()),
    "probabilities": (
        (nn.Dense(4), nn.Sigmoid(), nn.Dense(1), nn.Sigmoid()),
        nn.ProbabilityCrossEntropy(),
    ),
    "labels": ((nn.Dense(4), nn.Softplus(), nn.Dense(2)), nn.BinaryCrossEntropy(0.1)),
    "classes": (
        (nn.Dense(5), nn.ReLU(), nn.Dropout(0.5), nn.Dense(4), nn.LeakyReLU(), nn.Dense(3)),
        nn.SoftmaxCrossEntropy(),
    ),
    "values": ((nn.Dense(4, bias=False), nn.SiLU(), nn.Dense(2)), nn.MeanSquaredError()),
    "quantile": ((nn.Dense(4), nn.ELU(0.7), nn.Dense(1)), nn.Quantile(0.9)),
    "errors": ((nn.Dense(4), nn.SELU(), nn.Dense(2)), nn.MeanAbsoluteError()),
    "huber": ((nn.Dense(4), nn.GELU(), nn.Dense(1)), nn.Huber(0.5)),
    "counts": ((nn.Dense(2), nn.Identity(), nn.Dense(2)), nn.Poisson()),
    "norms": (
        (nn.BatchNorm(), nn.Dense(4), nn.LayerNorm(), nn.Tanh(), nn.Dense(4), nn.BatchNorm()),
        nn.MeanSquaredError(),
    ),
    "softmax inside": ((nn.Dense(4), nn.Softmax(), nn.Tanh(), nn.Dense(1)), nn.Huber(0.5)),
    "block": (
        (nn.Dense(4), nn.Residual(nn.Dense(2), nn.Tanh(), nn.Dense(4)), nn.Dense(1)),
        nn.MeanSquaredError(),
    ),
}


def draw(layers: Any, loss: nn.Loss, n_samples: int = N_SAMPLES) -> tuple[Any, ...]:
    """Return the network, its parameters and state, inputs and targets, in NumPy and float64."""
    network = nn.Network(*layers)
    draws = Random(generator(1, "weights"), nn.select("numpy"), "float64")
    rng = np.random.default_rng(2)
    params = tree_map(lambda x: x + 0.3 * rng.normal(size=x.shape), network.init(N_IN, draws))
    state = tree_map(lambda x: x + rng.uniform(0.1, 1.0, x.shape), network.init_state(N_IN, draws))
    n_out = network.output_size(N_IN)
    x = rng.normal(size=(n_samples, N_IN))
    y = rng.normal(size=(n_samples, n_out))
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        y = np.eye(n_out)[rng.integers(n_out, size=n_samples)]
    elif loss.classifies:
        y = (y > 0).astype(float)
    elif isinstance(loss, nn.Poisson):
        y = rng.poisson(2.0, y.shape) + 1.0
    return network, params, state, x, y


def pack(tree: Any) -> tuple[Layout, Any]:
    """Return the layout of parameters, and their packed form."""
    layout = Layout.of(tree, packed=True)
    return layout, layout.pack(tree)


def compute(equation: str, values: dict[str, Any], axis: int) -> Any:
    """Compute an equation as it is written; ``axis`` is that of the samples."""
    names: dict[str, Any] = {**values, "np": np}
    for helper in HELPERS.values():
        # What is over the features of a sample is over the other axis.
        exec(helper.replace("axis=1", f"axis={1 - axis}"), names)
    for line in to_code(equation, axis):
        exec(line, names)
    return names[re.search(r"\{(\w+)\} = ", equation)[1]]

"""Our networks of dense layers with ReLU, as the benchmarks build them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peers.work import MOMENTUM, RATES, Work

import anyback_nn as nn


def layers(sizes: Sequence[int], dropout: float = 0.0, batch_norm: bool = False) -> list[Any]:
    """List the layers of a classifier.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden units, classes.
    dropout : float
        Behind each hidden layer.
    batch_norm : bool
        In front of each ReLU.
    """
    found: list[Any] = []
    for n in sizes[1:-1]:
        found.append(nn.Dense(n))
        found += [nn.BatchNorm()] if batch_norm else []
        found.append(nn.ReLU())
        found += [nn.Dropout(dropout)] if dropout else []
    return [*found, nn.Dense(sizes[-1])]


def model(sizes: Sequence[int], backend: str = "numpy", **options: Any) -> nn.Model:
    """Make a classifier that records its loss alone.

    Parameters
    ----------
    sizes : sequence of int
    backend : str
    **options
        Of `layers`.
    """
    return nn.Model(
        *layers(sizes, **options), loss=nn.SoftmaxCrossEntropy(), backend=backend, metrics=()
    )


def model_of(work: Work, backend: Any = "numpy") -> nn.Model:
    """Make the network of a row of the table, see `peers.work`."""
    return model(work.sizes, backend, dropout=work.dropout, batch_norm=work.batch_norm)


def optimizer_of(work: Work) -> nn.Optimizer:
    """Make the optimiser of a row of the table."""
    rate = RATES[work.optimizer]
    return nn.Adam(rate) if work.optimizer == "adam" else nn.Momentum(rate, MOMENTUM)


def with_weights(model: nn.Model, weights: Sequence[tuple[Any, Any]]) -> nn.Model:
    """Give the dense layers of a model these weights and biases, one pair a layer."""
    model.build(len(weights[0][0]))
    left = iter(weights)
    tree = list(model.layout.unpack(model.training.params))
    for position, layer in enumerate(model.network.layers):
        if isinstance(layer, nn.Dense):
            weight, bias = (model.backend.asarray(one, model.dtype) for one in next(left))
            tree[position] = {"weight": weight, "bias": bias}
    model.training.params = model.layout.pack(tuple(tree))
    return model


def noise(n_samples: int, n_in: int, n_classes: int) -> tuple[Any, Any]:
    """Draw data of a shape: times do not depend on what they mean."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_samples, n_in), dtype=np.float32)
    return x, rng.integers(n_classes, size=n_samples, dtype=np.int32)

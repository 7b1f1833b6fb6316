"""The networks of the other libraries, as both the training and the prediction benchmark use them.

All are dense layers with ReLU between them, optionally with batch normalisation in front of each
ReLU and dropout behind it. ``weights`` are a weight (n_in, n_out) and a bias for each layer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Weights = Sequence[tuple[Any, Any]]


def of_torch(weights: Weights, dropout: float = 0.0, batch_norm: bool = False) -> Any:
    """Build a network that gives logits in PyTorch."""
    import torch
    from torch import nn

    def layers() -> Iterator[Any]:
        for weight, bias in weights:
            dense = nn.Linear(*weight.shape)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(weight.T))
                dense.bias.copy_(torch.from_numpy(bias))
            yield dense
            yield from [nn.BatchNorm1d(len(bias))] if batch_norm else []
            yield nn.ReLU()
            yield from [nn.Dropout(dropout)] if dropout else []

    n_behind_last = 1 + batch_norm + bool(dropout)
    return nn.Sequential(*layers())[:-n_behind_last]


def of_keras(
    weights: Weights, dropout: float = 0.0, batch_norm: bool = False, softmax: bool = False
) -> Any:
    """Build a network that gives logits, or probabilities, in Keras on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported
    from keras import Input, Sequential
    from keras import layers as of

    layers: list[Any] = [Input((len(weights[0][0]),))]
    for weight, _ in weights[:-1]:
        layers.append(of.Dense(weight.shape[1]))
        layers += [of.BatchNormalization()] if batch_norm else []
        layers.append(of.ReLU())
        layers += [of.Dropout(dropout)] if dropout else []
    last = of.Dense(weights[-1][0].shape[1], "softmax" if softmax else None)
    model = Sequential([*layers, last])
    dense = (layer for layer in model.layers if isinstance(layer, of.Dense))
    for layer, pair in zip(dense, weights):
        layer.set_weights(list(pair))
    return model


def of_thinc(weights: Weights, dropout: float = 0.0) -> Any:
    """Build a network that gives probabilities in Thinc on the CPU."""
    import thinc.api as thinc

    thinc.set_current_ops(thinc.get_ops("cpu"))
    n_in, n_out = len(weights[0][0]), weights[-1][0].shape[1]
    hidden = [thinc.Relu(weight.shape[1], dropout=dropout or None) for weight, _ in weights[:-1]]
    model: Any = thinc.chain(*hidden, thinc.Softmax(n_out))
    model.initialize(X=np.zeros((2, n_in), np.float32), Y=np.eye(2, n_out, dtype=np.float32))
    for layer, (weight, bias) in zip(model.layers, weights):
        layer.set_param("W", np.ascontiguousarray(weight.T))
        layer.set_param("b", bias)
    return model

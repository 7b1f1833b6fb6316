"""From the parameters of an estimator to a network, and to its first weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from anyback_nn.backend import Backend
from anyback_nn.network.activations import ACTIVATIONS, Activation, Sigmoid
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import BatchNorm, Dense, Dropout

__all__ = ["ACTIVATION_NAMES", "activations", "drawn", "hidden_sizes", "stacked"]

_NAMED: dict[str, type[Activation]] = {"logistic": Sigmoid, **ACTIVATIONS}

ACTIVATION_NAMES = tuple(name for name in _NAMED if name != "softmax")
"""The names that ``activation`` takes."""


def hidden_sizes(sizes: Any) -> list[int]:
    """List the numbers of hidden units."""
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"hidden_layer_sizes must be whole numbers, got {sizes}.")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def _one_each(name: str, value: Any, n_layers: int) -> list[Any]:
    """Give each hidden layer its own of a value, or the same to all."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if len(value) != n_layers:
            raise ValueError(
                f"{name}: expected one for each of the {n_layers} hidden layers, got {len(value)}"
            )
        return list(value)
    return [value] * n_layers


def activations(activation: Any, n_layers: int) -> list[Activation]:
    """Make the activation of each hidden layer, from a name, a layer or a list of them."""
    found = []
    for one in _one_each("activation", activation, n_layers):
        if isinstance(one, str) and one not in ACTIVATION_NAMES:
            raise ValueError(
                f"activation: expected one of {', '.join(ACTIVATION_NAMES)}, got {one!r}"
            )
        if not isinstance(one, str | Activation):
            raise TypeError(f"activation: expected a name or an Activation, got {one!r}")
        found.append(_NAMED[one]() if isinstance(one, str) else one)
    return found


def stacked(
    sizes: Sequence[int],
    activation: Any,
    dropout: Any,
    batch_norm: bool,
    n_outputs: int,
) -> list[Layer]:
    """List the layers: for each hidden one dense, normalisation, activation and dropout."""
    layers: list[Layer] = []
    rates = _one_each("dropout", dropout, len(sizes))
    for rate in rates:
        if not isinstance(rate, Real):
            raise TypeError(f"dropout: expected numbers from 0 to below 1, got {rate!r}")
    for size, function, rate in zip(sizes, activations(activation, len(sizes)), rates):
        layers += [Dense(size), *([BatchNorm()] if batch_norm else []), function]
        layers += [Dropout(rate)] if rate else []
    return [*layers, Dense(n_outputs)]


def drawn(
    layers: Sequence[Layer], activation: Any, n_in: int, random: Any
) -> list[tuple[Any, Any]]:
    """Draw weights and biases as scikit-learn does, in its order: the same numbers for a seed.

    Both are uniform within ``sqrt(6 / (n_in + n_out))``, with 2 for 6 around a logistic function
    (X. Glorot, Y. Bengio, AISTATS 2010).

    Parameters
    ----------
    layers : sequence of Layer
        As `stacked` made them.
    activation : str or other
        What they were made with: the name counts even where there is no hidden layer.
    n_in : int
    random : numpy.random.RandomState

    Returns
    -------
    list of (weight, bias)
        One for each dense layer.
    """
    pairs, position = [], 0
    functions = [one for one in layers if isinstance(one, Activation)]
    for layer in layers:
        if isinstance(layer, Dense):
            around = functions[min(position, len(functions) - 1)] if functions else activation
            factor = 2.0 if isinstance(around, Sigmoid) or around == "logistic" else 6.0
            bound = math.sqrt(factor / (n_in + layer.n_out))
            weight = random.uniform(-bound, bound, (n_in, layer.n_out))
            pairs.append((weight, random.uniform(-bound, bound, layer.n_out)))
            n_in, position = layer.n_out, position + 1
    return pairs


def filled(tree: Any, layers: Sequence[Layer], pairs: Any, backend: Backend, dtype: str) -> Any:
    """Put drawn weights into the parameters of the dense layers."""
    remaining = iter(pairs)
    result = []
    for layer, params in zip(layers, tree):
        if isinstance(layer, Dense):
            weight, bias = (backend.asarray(one, dtype) for one in next(remaining))
            params = {"weight": weight, "bias": bias}
        result.append(params)
    return tuple(result)

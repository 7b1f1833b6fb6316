"""From the parameters of an estimator to its model, and from the model to ``coefs_``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.errors import ShapeError
from anyback_nn.model import Model
from anyback_nn.network.activations import ACTIVATIONS, Activation, Sigmoid
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import BatchNorm, Dense, Dropout
from anyback_nn.random import ZerosOnly, generator
from anyback_nn.sklearn import inputs
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.tree import tree_map, tree_named_leaves

__all__ = [
    "ACTIVATION_NAMES",
    "Parameters",
    "build_layers",
    "build_model",
    "check_hidden_sizes",
    "dense_params",
    "init_like_sklearn",
    "set_dense_params",
]

_NAMED: dict[str, type[Activation]] = {"logistic": Sigmoid, **ACTIVATIONS}

ACTIVATION_NAMES = tuple(name for name in _NAMED if name != "softmax")
"""The names that ``activation`` takes."""


# From an estimator to layers ---------------------------------------------------------------------


def check_hidden_sizes(sizes: Any) -> list[int]:
    """List the numbers of hidden units."""
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"hidden_layer_sizes must be integers, got {sizes}.")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def build_layers(mlp: Estimator) -> Sequence[Layer]:
    """List the layers: for each hidden one dense, normalisation, activation and dropout."""
    if mlp.layers is not None:
        others = [name for name in ("dropout", "batch_norm") if getattr(mlp, name)]
        if others:
            raise ValueError(
                f"layers describes the whole network, and {' and '.join(others)} would have no "
                "effect: put them into layers, or leave layers out"
            )
        return cast(Sequence[Layer], mlp.layers)
    sizes = check_hidden_sizes(mlp.hidden_layer_sizes)
    rates = _one_each("dropout", mlp.dropout, len(sizes))
    for rate in rates:
        if not isinstance(rate, Real):
            raise TypeError(f"dropout: expected numbers from 0 to below 1, got {rate!r}")
    layers: list[Layer] = []
    for size, function, rate in zip(sizes, _activations(mlp.activation, len(sizes)), rates):
        layers += [Dense(size), *([BatchNorm()] if mlp.batch_norm else []), function]
        layers += [Dropout(rate)] if rate else []
    return [*layers, Dense(mlp.n_outputs_)]


def _activations(activation: Any, n_layers: int) -> list[Activation]:
    """Create the activation of each hidden layer, from a name, a layer or a list of them."""
    layers = []
    for value in _one_each("activation", activation, n_layers):
        if isinstance(value, str) and value not in ACTIVATION_NAMES:
            raise ValueError(
                f"activation: expected one of {', '.join(ACTIVATION_NAMES)}, got {value!r}"
            )
        if not isinstance(value, str | Activation):
            raise TypeError(f"activation: expected a name or an Activation, got {value!r}")
        layers.append(_NAMED[value]() if isinstance(value, str) else value)
    return layers


def _one_each(name: str, value: Any, n_layers: int) -> list[Any]:
    """Return a value for each hidden layer: its own from a list, or the same for all."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if len(value) != n_layers:
            raise ValueError(
                f"{name}: expected one for each of the {n_layers} hidden layers, got {len(value)}"
            )
        return list(value)
    return [value] * n_layers


# From layers to a model --------------------------------------------------------------------------


def build_model(mlp: Estimator, X: Any, random: Any, *, lbfgs: bool) -> Model:
    """Create the model with its first weights.

    Of ``X``, the width, dtype, library and device count. With ``lbfgs``, L-BFGS will train it.
    """
    backend = inputs.choose_backend(mlp.backend, X)
    layers, n_in = build_layers(mlp), int(X.shape[1])
    dtype = inputs.dtype_name(mlp.dtype)
    pairs = None
    if mlp.layers is None:
        pairs = init_like_sklearn(layers, mlp.activation, n_in, random)
    # A seed is drawn only if one is needed, so that the other draws stay scikit-learn's.
    seeded = pairs is None or bool(mlp.dropout)
    model = Model(
        *layers,
        loss=mlp._choose_loss()[0],
        backend=backend,
        seed=int(random.randint(2**31 - 1)) if seeded else 0,
        dtype=inputs.choose_dtype(dtype, X, backend, lbfgs=lbfgs),
        metrics=(),
    )
    if pairs is None:
        model.build(n_in)
    else:
        model.init(n_in, ZerosOnly(generator(0, "weights"), backend, model.dtype))
        for name, values in zip(("weight", "bias"), zip(*pairs)):
            set_dense_params(model, name, values)
    if model.n_out != mlp.n_outputs_:
        raise ShapeError(
            f"layers: the network has {model.n_out} outputs, but these targets need "
            f"{mlp.n_outputs_}: end it with Dense({mlp.n_outputs_})"
        )
    return model


def init_like_sklearn(
    layers: Sequence[Layer], activation: Any, n_in: int, random: Any
) -> list[tuple[Any, Any]]:
    """Draw weights and biases of the dense layers as scikit-learn does: the same for a seed.

    Both are uniform within ``sqrt(6 / (n_in + n_out))``, with 2 instead of 6 around a logistic
    function (X. Glorot, Y. Bengio, AISTATS 2010). ``activation`` is what `build_layers` was given:
    a name counts even if there is no hidden layer.
    """
    pairs, position = [], 0
    functions = [layer for layer in layers if isinstance(layer, Activation)]
    for layer in layers:
        if isinstance(layer, Dense):
            around = functions[min(position, len(functions) - 1)] if functions else activation
            factor = 2.0 if isinstance(around, Sigmoid) or around == "logistic" else 6.0
            bound = math.sqrt(factor / (n_in + layer.n_out))
            weight = random.uniform(-bound, bound, (n_in, layer.n_out))
            pairs.append((weight, random.uniform(-bound, bound, layer.n_out)))
            n_in, position = layer.n_out, position + 1
    return pairs


# From a model to coefs_ and intercepts_, and back ------------------------------------------------


def dense_params(model: Model, name: str) -> list[Array]:
    """List the parameters with that name, ``"weight"`` or ``"bias"``, layer by layer."""
    with model.backend.scope(model.dtype):
        tree = model.layout.unpack(model.training.params)
        return [array for path, array in tree_named_leaves(tree).items() if _is_called(name, path)]


def set_dense_params(model: Model, name: str, values: Iterable[Any]) -> None:
    """Replace the parameters with that name."""
    shapes = [leaf.shape for leaf in model.layout.leaves if _is_called(name, leaf.name)]
    with model.backend.scope(model.dtype):
        arrays = [model.backend.asarray(value, model.dtype) for value in values]
        given = [tuple(array.shape) for array in arrays]
        if given != shapes:
            attribute = {"weight": "coefs_", "bias": "intercepts_"}[name]
            raise ShapeError(f"{attribute}: expected arrays of shapes {shapes}, got {given}")
        remaining = iter(arrays)
        tree = model.layout.unpack(model.training.params)
        leaves = iter(
            next(remaining) if _is_called(name, path) else leaf
            for path, leaf in tree_named_leaves(tree).items()
        )
        model.training.params = model.layout.pack(tree_map(lambda _: next(leaves), tree))


def _is_called(name: str, path: str) -> bool:
    """Return whether a parameter's path, such as ``"0.weight"``, ends in a name."""
    return path.rpartition(".")[2] == name


class Parameters(list[Array]):
    """The arrays of all layers; replacing one of them puts all into the model, by ``set_all``."""

    def __init__(self, arrays: Sequence[Array], set_all: Callable[[Sequence[Array]], None]) -> None:
        super().__init__(arrays)
        self._set_all = set_all

    def __setitem__(self, position: Any, value: Any) -> None:
        super().__setitem__(position, value)
        self._set_all(self)

    def __reduce__(self) -> Any:
        """Be a plain list in a copy."""
        return list, (list(self),)

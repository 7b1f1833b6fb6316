"""One table of layers, one of losses and one of functions: the tests of the mathematics go through
them, so a new layer, loss or activation is one more row.

A row draws its numbers with NumPy in float64; `Problem.to` brings them to a backend.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import Array, to_numpy
from anyback_nn.network import activations
from anyback_nn.random import Random, generator
from anyback_nn.tree import tree_map, tree_named_leaves

N_SAMPLES = 5
# Weights with the mean 1, as `weighted_mean` asks for.
WEIGHTS = {
    "unweighted": None,
    "weighted": np.asarray([0.5, 2.0, 1.0, 1.25, 0.25]),
    "some weights zero": np.asarray([0.0, 2.5, 1.0, 0.0, 1.5]),
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""Of two ways to compute the same in one dtype, relative to the largest element."""
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
"""The distance from 1 to the next number."""


# Trees of arrays ---------------------------------------------------------------------------------


def move(tree: Any, backend: nn.Backend, dtype: str) -> Any:
    """Move a tree of NumPy arrays to a backend; integers and booleans stay what they are."""

    def move_array(x: Any) -> Any:
        return None if x is None else backend.asarray(x, dtype if x.dtype.kind == "f" else None)

    return tree_map(move_array, tree)


def pick(tree: Any, index: Any) -> Any:
    """Index every array of a tree."""
    return tree_map(lambda x: None if x is None else x[index], tree)


def arrays(tree: Any) -> dict[str, Any]:
    """Return the arrays of a tree by their names, without None (no noise, say)."""
    return {name: leaf for name, leaf in tree_named_leaves(tree).items() if leaf is not None}


def relative_error(actual: Any, expected: Any) -> float:
    """Return the largest error relative to the largest element; 0 if both arrays are zero."""
    actual, expected = to_numpy(actual), to_numpy(expected)
    assert actual.shape == expected.shape
    scale = np.max(np.abs(expected))
    error = np.max(np.abs(actual.astype(np.float64) - expected))
    return float(error if scale == 0 else error / scale)


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Assert that two trees have the same names and, relatively, the same numbers."""
    actual, expected = arrays(actual), arrays(expected)
    assert actual.keys() == expected.keys()
    errors = {name: relative_error(actual[name], expected[name]) for name in actual}
    assert all(error < tolerance for error in errors.values()), errors


def central_differences(value: Callable[[Any], float], x: Any, step: float = 1e-5) -> Any:
    """Derive ``value(x)``, of a NumPy array, with respect to each of its elements."""
    x, gradient = x.copy(), np.empty_like(x)
    for index in np.ndindex(x.shape):
        center = x[index]
        x[index] = center + step
        above = value(x)
        x[index] = center - step
        below = value(x)
        x[index] = center
        gradient[index] = (above - below) / (2 * step)
    return gradient


# Layers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerCase:
    """A layer under test; ``make`` builds it for a number of outputs."""

    name: str
    make: Callable[[int], nn.Layer]
    training: bool = False
    n_in: int | None = None  # default: as many as outputs

    def draw(self, n_out: int, n_samples: int = N_SAMPLES, replicas: tuple = ()) -> Problem:
        """Draw everything that forward and backward need, as NumPy arrays in float64."""
        layer = self.make(n_out)
        n_in = self.n_in or n_out
        rng = np.random.default_rng(n_out)
        draws = Random(generator(n_out, "weights"), nn.select("numpy"), "float64")
        # Scales that are not 1 and shifts that are not 0 show what multiplying by them hides.
        params = tree_map(
            lambda x: x + 0.3 * rng.normal(size=(*replicas, *x.shape)), layer.init(n_in, draws)
        )
        state = tree_map(
            lambda x: x + rng.uniform(0.1, 1.0, (*replicas, *x.shape)),
            layer.init_state(n_in, draws),
        )
        shape = (*replicas, n_samples, n_in)
        noise = layer.noise(shape, draws) if self.training else None
        x = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape)  # not at the kink
        dy = rng.normal(size=(*replicas, n_samples, n_out))
        return Problem(layer, params, x, nn.Context(self.training, state, noise), dy)


@dataclass(frozen=True)
class Problem:
    """A layer and the arrays that it is called with."""

    layer: nn.Layer
    params: Any
    x: Array
    context: nn.Context
    dy: Array

    def map(self, function: Callable[[Any], Any]) -> Problem:
        """Apply a function to every tree of arrays."""
        training, state, noise = self.context[:3]
        return replace(
            self,
            params=function(self.params),
            x=function(self.x),
            context=nn.Context(training, function(state), function(noise)),
            dy=function(self.dy),
        )

    def to(self, backend: nn.Backend, dtype: str) -> Problem:
        """Move all arrays to a backend."""
        return self.map(lambda tree: move(tree, backend, dtype))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All arrays, as the arguments of `step`."""
        return self.params, self.x, self.context.state, self.context.noise, self.dy

    def step(self, params: Any, x: Array, state: Any, noise: Any, dy: Array) -> dict[str, Any]:
        """Go forward and backward: a pure function of arrays."""
        layer, training = self.layer, self.context.training
        y, cache = layer.forward(params, x, nn.Context(training, state, noise))
        dx, grads = layer.backward(params, cache, dy)
        new_state = layer.next_state(state, cache) if training else state
        return {"y": y, "cache": cache, "dx": dx, "grads": grads, "state": new_state}

    def run(self) -> dict[str, Any]:
        """Go forward and backward with the own arrays."""
        return self.step(*self.arguments)


LAYERS = (
    LayerCase("Dense", nn.Dense, n_in=4),
    LayerCase("Dense without bias", lambda n: nn.Dense(n, bias=False), n_in=4),
    LayerCase("Dropout", lambda n: nn.Dropout(0.4), training=True),
    LayerCase("Dropout in prediction", lambda n: nn.Dropout(0.4)),
    LayerCase("BatchNorm", lambda n: nn.BatchNorm(), training=True),
    LayerCase("BatchNorm in prediction", lambda n: nn.BatchNorm()),
    # With a small epsilon, one sample of two features is always (-1, 1), and nothing is left to
    # derive.
    LayerCase("LayerNorm", lambda n: nn.LayerNorm(epsilon=0.1)),
    LayerCase("Residual", lambda n: nn.Residual(nn.Dense(4), nn.Tanh(), nn.Dense(n))),
    LayerCase("Residual of nothing", lambda n: nn.Residual(nn.Identity())),
    LayerCase("Residual that ends in an activation", lambda n: nn.Residual(nn.Dense(n), nn.Tanh())),
    LayerCase(
        "Network",
        # No bias before BatchNorm, which takes it away again: its gradient would be zero.
        lambda n: nn.Network(
            nn.Dense(4, bias=False),
            nn.BatchNorm(),
            nn.Softplus(),
            nn.Dropout(0.3),
            nn.Residual(nn.SiLU(), nn.Dense(4)),
            nn.Dense(n),
        ),
        training=True,
        n_in=3,
    ),
    LayerCase(
        "Network in prediction",
        lambda n: nn.Network(
            nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.3), nn.Network(nn.Dense(n))
        ),
        n_in=3,
    ),
    LayerCase("leaky_relu with a slope", lambda n: nn.LeakyReLU(0.3)),
    LayerCase("elu with alpha", lambda n: nn.ELU(0.6)),
    *(LayerCase(name, lambda n, make=kind: make()) for name, kind in nn.ACTIVATIONS.items()),
)
each_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


# Losses ------------------------------------------------------------------------------------------


def _values(rng: Any, shape: tuple) -> tuple[Any, Any]:
    """Errors on both sides of 1 and away from 0: there MeanAbsoluteError and Huber have kinks."""
    targets = rng.normal(size=shape[-2:])
    sizes = np.resize([0.4, 1.7, 1.5], shape) + rng.uniform(-0.2, 0.2, shape)
    return targets + rng.choice([-1.0, 1.0], shape) * sizes, targets


def _counts(rng: Any, shape: tuple) -> tuple[Any, Any]:
    targets = rng.poisson(3.0, shape[-2:]).astype(float)
    targets[0] = 0.0
    return rng.normal(size=shape), targets


def _labels(rng: Any, shape: tuple) -> tuple[Any, Any]:
    targets = rng.integers(2, size=shape[-2:]).astype(float)
    return 2 * rng.normal(size=shape), targets


def _soft_labels(rng: Any, shape: tuple) -> tuple[Any, Any]:
    return 2 * rng.normal(size=shape), rng.uniform(size=shape[-2:])


def _probabilities(rng: Any, shape: tuple) -> tuple[Any, Any]:
    return rng.uniform(0.1, 0.9, shape), _labels(rng, shape)[1]


def _soft_probabilities(rng: Any, shape: tuple) -> tuple[Any, Any]:
    return rng.uniform(0.1, 0.9, shape), rng.uniform(size=shape[-2:])


def _classes(rng: Any, shape: tuple) -> tuple[Any, Any]:
    return 2 * rng.normal(size=shape), rng.integers(shape[-1], size=shape[-2], dtype=np.int32)


def _one_hot(rng: Any, shape: tuple) -> tuple[Any, Any]:
    outputs, classes = _classes(rng, shape)
    return outputs, np.eye(shape[-1])[classes]


def _soft_classes(rng: Any, shape: tuple) -> tuple[Any, Any]:
    return 2 * rng.normal(size=shape), rng.dirichlet(np.ones(shape[-1]), size=shape[-2])


def _some_missing(numbers: Callable) -> Callable:
    """Let some of the targets be missing, but not all of a sample's."""

    def draw(rng: Any, shape: tuple) -> tuple[Any, Any]:
        outputs, targets = numbers(rng, shape)
        missing = rng.uniform(size=targets.shape) < 0.4
        missing[:, 0] &= ~missing.all(axis=1)
        return outputs, np.where(missing, np.nan, targets)

    return draw


@dataclass(frozen=True)
class LossCase:
    """A loss under test, with outputs and targets that suit it."""

    name: str
    loss: nn.Loss
    numbers: Callable[[Any, tuple], tuple[Any, Any]]

    def draw(self, n_out: int, n_samples: int = N_SAMPLES, replicas: tuple = ()) -> tuple[Any, Any]:
        """Draw outputs and targets as NumPy arrays."""
        return self.numbers(np.random.default_rng(n_out), (*replicas, n_samples, n_out))


LOSSES = (
    LossCase("MeanSquaredError", nn.MeanSquaredError(), _values),
    LossCase("MeanAbsoluteError", nn.MeanAbsoluteError(), _values),
    LossCase("Quantile", nn.Quantile(), _values),
    LossCase("Quantile, high", nn.Quantile(0.9), _values),
    LossCase("Huber", nn.Huber(), _values),
    LossCase("Huber with delta", nn.Huber(0.8), _values),
    LossCase("Poisson", nn.Poisson(), _counts),
    LossCase("BinaryCrossEntropy", nn.BinaryCrossEntropy(), _labels),
    LossCase("BinaryCrossEntropy, soft", nn.BinaryCrossEntropy(), _soft_labels),
    LossCase("BinaryCrossEntropy, smoothed", nn.BinaryCrossEntropy(0.2), _labels),
    LossCase("ProbabilityCrossEntropy", nn.ProbabilityCrossEntropy(), _probabilities),
    LossCase("ProbabilityCrossEntropy, soft", nn.ProbabilityCrossEntropy(), _soft_probabilities),
    LossCase("SoftmaxCrossEntropy, classes", nn.SoftmaxCrossEntropy(), _classes),
    LossCase("SoftmaxCrossEntropy, one-hot", nn.SoftmaxCrossEntropy(), _one_hot),
    LossCase("SoftmaxCrossEntropy, soft", nn.SoftmaxCrossEntropy(), _soft_classes),
    LossCase("SoftmaxCrossEntropy, classes smoothed", nn.SoftmaxCrossEntropy(0.1), _classes),
    LossCase("SoftmaxCrossEntropy, soft smoothed", nn.SoftmaxCrossEntropy(0.3), _soft_classes),
)
WITH_MISSING = tuple(
    LossCase(f"{case.name}, some missing", nn.KnownTargets(case.loss), _some_missing(case.numbers))
    for case in LOSSES
    if case.name in ("MeanSquaredError", "Quantile, high", "Poisson", "BinaryCrossEntropy")
)
each_loss = pytest.mark.parametrize("case", [*LOSSES, *WITH_MISSING], ids=lambda case: case.name)
each_weights = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
each_width = pytest.mark.parametrize("n_out", [1, 2, 3])


# Functions ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FunctionCase:
    """An elementwise activation and its derivative."""

    name: str
    options: tuple[float, ...] = ()

    def value(self, z: Array) -> Array:
        return getattr(activations, self.name)(z, *self.options)

    def slope(self, z: Array) -> Array:
        """Call the derivative with the input or the output, as the name of its argument asks."""
        derivative = getattr(activations, f"{self.name}_derivative")
        takes = next(iter(inspect.signature(derivative).parameters))
        return derivative({"z": z, "a": self.value(z)}[takes], *self.options)


FUNCTIONS = (
    *(FunctionCase(name) for name in nn.ACTIVATIONS if name not in ("identity", "softmax")),
    FunctionCase("leaky_relu", (0.3,)),
    FunctionCase("elu", (0.6,)),
)
each_function = pytest.mark.parametrize(
    "case", FUNCTIONS, ids=lambda case: "-".join([case.name, *map(str, case.options)])
)

"""A race of activations, for C3 and C5: the same network and data, ten seeds, three data sets.

The networks of all seeds are trained at once. Their parameters and data have a first axis of ten,
which the layers let through: ``x @ weight`` is then ten products of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.random import Random, generator
from anyback_nn.tree import tree_map, tree_named_leaves, tree_stack

SEEDS = range(10)
"""Data and initial weights differ from seed to seed."""

DATA = ("moons", "circles", "digits")
STEPS = 200
LOSS = nn.SoftmaxCrossEntropy()


@dataclass(frozen=True)
class Run:
    """A network after training: its parameters, as NumPy arrays, and its scores."""

    params: Any
    validation_loss: float
    test_loss: float
    accuracy: float


def draw_data(name: str, seed: int) -> tuple[Any, ...]:
    """Return inputs and targets for training, for choosing learning rates, and for testing."""
    if name == "digits":
        digits = nn.datasets.load_digits()
        rows = np.random.default_rng(seed).permutation(len(digits.x_train))
        train, validation = rows[:250], rows[250:750]
        return (
            *(digits.x_train[train], digits.y_train[train]),
            *(digits.x_train[validation], digits.y_train[validation]),
            *(digits.x_test, digits.y_test),
        )
    draw, noise = {
        "moons": (nn.datasets.make_moons, 0.2),
        "circles": (nn.datasets.make_circles, 0.1),
    }[name]
    return (
        *draw(300, noise=noise, seed=1000 + seed),
        *draw(500, noise=noise, seed=2000 + seed),
        *draw(1000, noise=noise, seed=3000 + seed),
    )


def build(activation: nn.Layer, n_hidden: int, n_classes: int) -> nn.Network:
    """Return a network with hidden layers of 16 units."""
    hidden = [layer for _ in range(n_hidden) for layer in (nn.Dense(16), activation)]
    return nn.Network(*hidden, nn.Dense(n_classes))


def sort(params: Any) -> tuple[Any, ...]:
    """Return the arrays in the order of their names: JAX changes that of a dict."""
    return tuple(array for _, array in sorted(tree_named_leaves(params).items()))


@lru_cache
def compile_step(backend: nn.Backend, network: nn.Network, optimizer: nn.Optimizer) -> Any:
    """Return the step of training for all seeds, compiled where the library can."""

    def step(params: Any, state: Any, x: Any, y: Any, coefficients: Any) -> Any:
        outputs, caches = network.forward(params, x)
        _, d_outputs = nn.mean_loss(LOSS, outputs, y)
        grads = network.gradients(params, caches, d_outputs)
        leaves, state = optimizer.update(sort(params), sort(grads), state, (), coefficients)
        names = tree_named_leaves(params)
        updated, order = dict(zip(sorted(names), leaves)), iter(names)
        return tree_map(lambda _: updated[next(order)], params), state

    return backend.jit(step, (0, 1))


def train(
    backend: nn.Backend,
    network: nn.Network,
    optimizer: nn.Optimizer,
    rate: float,
    data: Sequence[Any],
) -> list[Run]:
    """Train with every seed on all of its samples, `STEPS` times, and score.

    ``data`` are the arrays of `draw_data`, with a first axis of seeds.
    """
    with backend.scope("float32"):
        x, y, x_valid, y_valid, x_test, y_test = (
            backend.asarray(array, "float32" if array.dtype.kind == "f" else "int32")
            for array in data
        )
        params = tree_stack(
            [
                network.init(x.shape[-1], Random(generator(seed, "weights"), backend, "float32"))
                for seed in SEEDS
            ]
        )
        state = optimizer.init(sort(params))
        step = compile_step(backend, network, optimizer)
        for number in range(1, STEPS + 1):
            coefficients = optimizer.coefficients(number, rate)
            params, state = step(params, state, x, y, coefficients)
        outputs = network.predict(params, x_test)
        losses, _ = nn.mean_loss(LOSS, outputs, y_test)
        valid_losses, _ = nn.mean_loss(LOSS, network.predict(params, x_valid), y_valid)
        accuracies = backend.xp.mean(LOSS.correct(outputs, y_test), axis=-1)
        host = tree_map(to_numpy, (params, valid_losses, losses, accuracies))
    params, *scores = host
    # A network that diverged has lost against all others.
    scores = [np.nan_to_num(score, nan=math.inf) for score in scores]
    return [
        Run(take_seed(params, position), *(float(score[position]) for score in scores))
        for position in range(len(SEEDS))
    ]


def take_seed(params: Any, position: int) -> Any:
    """Take the parameters of one seed out of those of all."""
    return tree_map(lambda array: array[position], params)


Race = dict[tuple[str, str, float], list[Run]]
"""The runs by data set, activation and learning rate: one for each of `SEEDS`."""


def race(
    backend: nn.Backend,
    activations: dict[str, nn.Layer],
    rule: type[nn.Optimizer],
    rates: Sequence[float],
    n_hidden: int = 1,
) -> Race:
    """Train with each activation, on each data set, with each learning rate.

    Everything else is the same: the network, the data, the random numbers from which the initial
    weights are made, and the number of steps.
    """
    runs: Race = {}
    for name in DATA:
        data = [np.stack(arrays) for arrays in zip(*(draw_data(name, seed) for seed in SEEDS))]
        for label, rate in product(activations, rates):
            network = build(activations[label], n_hidden, int(data[1].max()) + 1)
            runs[name, label, rate] = train(backend, network, rule(1.0), rate, data)
    return runs


def choose_best(runs: Race, name: str, label: str) -> list[Run]:
    """Choose for each seed the run with the learning rate of the lowest validation loss."""
    by_rate = [runs[key] for key in runs if key[:2] == (name, label)]
    return [min(same_seed, key=lambda run: run.validation_loss) for same_seed in zip(*by_rate)]


def wins(ours: Iterable[Run], theirs: Iterable[Run]) -> int:
    """Count the seeds in which we have the lower test loss; accuracies are often equal."""
    return sum(our.test_loss < their.test_loss for our, their in zip(ours, theirs))

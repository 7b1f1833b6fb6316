"""Many steps in one call, where the backend has that, against the same steps one by one.

A callback that wants to be called for every batch makes the loop take them one by one.
"""

from __future__ import annotations

import numpy as np
import pytest
from forget_compiled import forget_compiled

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS
from anyback_nn.backends.base import load
from anyback_nn.training import loop
from anyback_nn.tree import tree_named_leaves


class EveryBatch(nn.Callback):
    def on_batch_end(self, fit):
        pass


class Counting(nn.Callback):
    """Does not want to know about every batch, but how far the epoch has come."""

    every_batch = False

    def __init__(self):
        self.seen = []

    def on_batch_end(self, fit):
        self.seen.append((fit.epochs_done, fit.batches_done))


def chains(backend):
    """Tell whether a backend takes many steps in one call."""
    return backend.scan(lambda: None) is not None


NETWORKS = {
    "dense": (nn.Dense(8), nn.ReLU(), nn.Dense(3)),
    "batch norm": (nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(3)),
    "dropout": (nn.Dense(8), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3)),
    "residual": (nn.Residual(nn.Dense(6), nn.Dropout(0.5), nn.Dense(4)), nn.Dense(3)),
}
OPTIMIZERS = {
    "adam": nn.Adam(0.01),
    "penalties": nn.Adam(0.01, l2=0.1),
    "schedule": nn.Nesterov(nn.CosineDecay(0.1, epochs=3, warmup=1)),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    # Batches of 16, and a last one of 2.
    return rng.standard_normal((50, 4)), rng.integers(0, 3, 50)


def train(backend, dtype, data, layers, callbacks=(), epochs=3, **options):
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, dtype=dtype, seed=1)
    options = {"batch_size": 16, "progress": False} | options
    model.fit(*data, epochs=epochs, callbacks=callbacks, **options)
    return model


def assert_same(model, other):
    for one, that in zip(model.history, other.history, strict=True):
        for name in one.keys() - {"seconds"}:
            assert one[name] == pytest.approx(that[name], rel=1e-9), name
    trees = [
        (m.training.params, m.training.state, m.training.optimizer_state) for m in (model, other)
    ]
    arrays = [[to_numpy(a) for a in tree_named_leaves(tree).values()] for tree in trees]
    for one, that in zip(*arrays, strict=True):
        np.testing.assert_allclose(one, that, rtol=1e-9, atol=1e-12)
    assert model.training.step == other.training.step


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_networks(backend, float64, data, layers):
    one_by_one = train(backend, float64, data, layers, [EveryBatch()])
    assert_same(train(backend, float64, data, layers), one_by_one)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(backend, float64, data, optimizer):
    layers = NETWORKS["dense"]
    one_by_one = train(backend, float64, data, layers, [EveryBatch()], optimizer=optimizer)
    assert_same(train(backend, float64, data, layers, optimizer=optimizer), one_by_one)


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"validation": 0.2},
        {"sample_weight": np.linspace(0, 2, 50)},
        {"batch_size": None},
        {"batch_size": 25},
    ],
    ids=str,
)
def test_ways_to_make_batches(backend, float64, data, options):
    layers = NETWORKS["dense"]
    one_by_one = train(backend, float64, data, layers, [EveryBatch()], **options)
    assert_same(train(backend, float64, data, layers, **options), one_by_one)


@pytest.mark.parametrize("layers", [NETWORKS["dense"], NETWORKS["dropout"]])
@pytest.mark.parametrize("limited", ["steps", "noise"])
def test_long_epochs_are_divided(backend, float64, data, layers, limited, monkeypatch):
    one_by_one = train(backend, float64, data, layers, [EveryBatch()])
    if limited == "steps":
        monkeypatch.setattr(type(backend), "steps_per_call", 2)
    else:
        monkeypatch.setattr(loop, "MOST_NOISE", 16 * 8 * 2)
    counting = Counting()
    assert_same(train(backend, float64, data, layers, [counting]), one_by_one)
    # Three batches of 16 and one of 2 an epoch.
    noisy = any(isinstance(one, nn.Dropout) for one in layers)
    divided = [2, 3, 4] if limited == "steps" or noisy else [3, 4]
    ends = divided if chains(backend) else [1, 2, 3, 4]
    assert counting.seen == [(epoch, end) for epoch in range(3) for end in ends]


def test_training_can_change_from_one_to_the_other(backend, float64, data):
    layers = NETWORKS["dropout"]
    both = train(backend, float64, data, layers, epochs=1)
    both.fit(*data, epochs=1, batch_size=16, callbacks=[EveryBatch()], progress=False)
    both.fit(*data, epochs=1, batch_size=16, progress=False)
    assert_same(both, train(backend, float64, data, layers))


@pytest.mark.needs("jax")
def test_nothing_is_compiled_again_in_later_epochs(data, monkeypatch):
    forget_compiled(monkeypatch)
    compiled = []
    kind = load(BACKENDS["jax"])
    build = kind.jit

    def counted(self, step, donate=(), **options):
        def traced(*arguments):
            compiled.append(step)
            return step(*arguments)

        return build(self, traced, donate, **options)

    monkeypatch.setattr(kind, "jit", counted)
    model = nn.Model(nn.Dense(7), nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend="jax")
    model.fit(*data, epochs=1, batch_size=16, progress=False)
    # A copy to go back to, three steps in one call, the last batch, and what is read.
    assert len(compiled) == 4
    model.fit(*data, epochs=3, batch_size=16, progress=False)
    assert len(compiled) == 4


def test_an_epoch_that_diverges_is_undone(backend, data):
    layers = (nn.Dense(8), nn.Dense(3))
    model = train(backend, "float32", data, layers, epochs=1)
    before = [to_numpy(a).copy() for a in tree_named_leaves(model.training.params).values()]
    with pytest.raises(nn.DivergenceError, match="step"):
        model.fit(*data, epochs=5, batch_size=16, optimizer=nn.Momentum(1e30), progress=False)
    for one, that in zip(tree_named_leaves(model.training.params).values(), before, strict=True):
        np.testing.assert_array_equal(to_numpy(one), that)

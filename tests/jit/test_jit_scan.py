"""Many steps in one call, where the backend has that, against the same steps one by one.

A callback with a hook for every batch makes the loop take them one by one.
"""

from __future__ import annotations

import numpy as np
import pytest
from forget_compiled import forget_compiled
from traced_steps import assert_same, numbers_of

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS
from anyback_nn.backends.base import load
from anyback_nn.training import loop


class EveryBatch(nn.Callback):
    def on_batch_end(self, fit):
        pass


class Counting(nn.Callback):
    """Counts the batches after each call of a scan."""

    every_batch = False

    def __init__(self):
        self.seen = []

    def on_batch_end(self, fit):
        self.seen.append((fit.epochs_done, fit.batches_done))


NETWORKS = {
    "dense": (nn.Dense(8), nn.ReLU(), nn.Dense(3)),
    "batch norm": (nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(3)),
    "dropout": (nn.Dense(8), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3)),
    "residual": (nn.Residual(nn.Dense(6), nn.Dropout(0.5), nn.Dense(4)), nn.Dense(3)),
}
OPTIONS = {
    "adam": {"optimizer": nn.Adam(0.01)},
    "penalties": {"optimizer": nn.Adam(0.01, l2=0.1)},
    "schedule": {"optimizer": nn.Nesterov(nn.CosineDecay(0.1, epochs=3, warmup=1))},
    "not shuffled": {"shuffle": False},
    "validation": {"validation": 0.2},
    "sample_weight": {"sample_weight": np.linspace(0, 2, 50)},
    "one batch": {"batch_size": None},
    "two batches": {"batch_size": 25},
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


def assert_close(model, other):
    for row, right in zip(model.history, other.history, strict=True):
        for name in row.keys() - {"seconds"}:
            assert row[name] == pytest.approx(right[name], rel=1e-9), name
    *arrays, _ = numbers_of(model)
    *expected, _ = numbers_of(other)
    for array, right in zip(arrays, expected, strict=True):
        np.testing.assert_allclose(array, right, rtol=1e-9, atol=1e-9)
    assert model.training.step == other.training.step


CASES = {name: (layers, {}) for name, layers in NETWORKS.items()}
CASES |= {name: (NETWORKS["dense"], options) for name, options in OPTIONS.items()}


@pytest.mark.parametrize(("layers", "options"), CASES.values(), ids=CASES)
def test_training(backend, float64, data, layers, options):
    one_by_one = train(backend, float64, data, layers, [EveryBatch()], **options)
    assert_close(train(backend, float64, data, layers, **options), one_by_one)


@pytest.mark.parametrize("layers", [NETWORKS["dense"], NETWORKS["dropout"]])
@pytest.mark.parametrize("limited", ["steps", "noise"])
def test_long_epochs_are_divided(backend, float64, data, layers, limited, monkeypatch):
    one_by_one = train(backend, float64, data, layers, [EveryBatch()])
    if limited == "steps":
        monkeypatch.setattr(type(backend), "steps_per_call", 2)
    else:
        monkeypatch.setattr(loop, "MOST_NOISE", 16 * 8 * 2)
    counting = Counting()
    assert_close(train(backend, float64, data, layers, [counting]), one_by_one)
    # Three batches of 16 and one of 2 an epoch.
    divided = [2, 3, 4] if limited == "steps" or layers is NETWORKS["dropout"] else [3, 4]
    ends = [1, 2, 3, 4] if backend.scan(lambda: None) is None else divided
    assert counting.seen == [(epoch, end) for epoch in range(3) for end in ends]


def test_training_can_change_from_one_to_the_other(backend, float64, data):
    layers = NETWORKS["dropout"]
    both = train(backend, float64, data, layers, epochs=1)
    both.fit(*data, epochs=1, batch_size=16, callbacks=[EveryBatch()], progress=False)
    both.fit(*data, epochs=1, batch_size=16, progress=False)
    assert_close(both, train(backend, float64, data, layers))


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
    # A copy of the first parameters, the state of the optimiser, a copy to go back to, three steps
    # in one call, the last batch, and what is read; before that, on a device, what two small
    # batches take there.
    n_compiled = 8 if model.backend.has_device_memory else 6
    assert len(compiled) == n_compiled
    model.fit(*data, epochs=3, batch_size=16, progress=False)
    assert len(compiled) == n_compiled


def test_an_epoch_that_diverges_is_undone(backend, data):
    model = train(backend, "float32", data, (nn.Dense(8), nn.Dense(3)), epochs=1)
    before = numbers_of(model)
    with pytest.raises(nn.DivergenceError, match="step"):
        model.fit(*data, epochs=5, batch_size=16, optimizer=nn.Momentum(1e30), progress=False)
    assert_same(map(to_numpy, model.training.params), before[: len(model.training.params)])

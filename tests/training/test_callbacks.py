"""Callbacks, early stopping, the history and the progress bar."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy


@pytest.fixture(scope="module")
def moons():
    return nn.datasets.make_moons(100, noise=0.2, seed=0)


def make(backend):
    layers = (nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(2))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)


class Recorder(nn.Callback):
    """Notes every call."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.calls.append((name[3:], fit.epoch))
        return super().__getattribute__(name)


def test_callbacks_are_called_in_order(backend, moons):
    recorder = Recorder()
    make(backend).fit(*moons, epochs=2, batch_size=50, callbacks=[recorder])
    steps = ["batch_begin", "batch_end"] * 2
    epochs = [
        [("epoch_begin", n), *((step, n) for step in steps), ("epoch_end", n + 1)] for n in (0, 1)
    ]
    assert recorder.calls == [("train_begin", 0), *epochs[0], *epochs[1], ("train_end", 2)]


@pytest.mark.parametrize(("event", "steps"), [("on_batch_end", 1), ("on_epoch_end", 4)])
def test_a_callback_can_stop_training(backend, moons, event, steps):
    class Stop(nn.Callback):
        pass

    setattr(Stop, event, lambda self, fit: fit.stop("enough"))
    model = make(backend)
    model.fit(*moons, epochs=9, batch_size=25, callbacks=[Stop()])
    assert (len(model.history), model.training.step) == (1, steps)


def test_stopping_before_an_epoch_trains_nothing_of_it(backend, moons):
    class Stop(nn.Callback):
        def on_epoch_begin(self, fit):
            if fit.epoch == 2:
                fit.stop("enough")

    model = make(backend)
    model.fit(*moons, epochs=9, batch_size=25, callbacks=[Stop()])
    assert (len(model.history), model.training.step) == (2, 8)


class Course(nn.Callback):
    """Sets a metric of each epoch, and keeps the training state after it."""

    def __init__(self, values, name="validation_loss"):
        self.values, self.name, self.states = values, name, []

    def on_epoch_end(self, fit):
        fit.history.last[self.name] = self.values[fit.epoch - 1]
        self.states.append(fit.model.training.copy())


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_waits_and_restores_the_best(backend, moons, restore):
    course = Course([3.0, 2.0, 1.0, 1.5, 0.99, 1.2, 1.1, 0.5])
    stopping = nn.EarlyStopping(patience=2, min_delta=0.1, restore_best=restore)
    model = make(backend)
    model.fit(*moons, epochs=8, callbacks=[course, stopping])
    # 0.99 is not better than 1.0 by 0.1, so epochs 4 and 5 are the two that are waited for.
    assert (len(model.history), stopping.best_epoch) == (5, 3)
    kept = course.states[2 if restore else 4]
    for ours, theirs in zip(model.training.params, kept.params, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    ours, theirs = model.training.state[1]["mean"], kept.state[1]["mean"]
    np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


def test_the_best_parameters_are_restored_also_when_training_is_not_cut_short(backend, moons):
    course = Course([3.0, 1.0, 2.0])
    model = make(backend)
    model.fit(*moons, epochs=3, callbacks=[course, nn.EarlyStopping(patience=10)])
    best = course.states[1].params[0]
    np.testing.assert_array_equal(to_numpy(model.training.params[0]), to_numpy(best))


def test_early_stopping_that_is_used_again_starts_again(backend, moons):
    stopping = nn.EarlyStopping(patience=1)
    for values in ([0.5, 0.6], [3.0, 2.0, 2.5, 1.0]):
        model = make(backend)
        model.fit(*moons, epochs=4, callbacks=[Course(values), stopping])
    assert (len(model.history), stopping.best_epoch) == (3, 2)


def test_early_stopping_on_accuracy_waits_for_more(backend, moons):
    course = Course([0.5, 0.9, 0.8, 0.7], "train_accuracy")
    stopping = nn.EarlyStopping(patience=2, monitor="train_accuracy")
    model = make(backend)
    model.fit(*moons, epochs=9, callbacks=[course, stopping])
    assert (len(model.history), stopping.best_epoch) == (4, 2)


def test_early_stopping_asks_which_direction_is_better(backend, moons):
    with pytest.raises(ValueError, match="are lower or higher values of 'f1' better"):
        nn.EarlyStopping(monitor="f1")
    stopping = nn.EarlyStopping(patience=2, monitor="f1", mode="max")
    make(backend).fit(*moons, epochs=9, callbacks=[Course([0.1, 0.5, 0.4, 0.3], "f1"), stopping])
    assert stopping.best_epoch == 2


def test_early_stopping_says_what_is_recorded(backend, moons):
    with pytest.raises(ValueError, match="'validation_loss' is not recorded.*train_loss"):
        make(backend).fit(*moons, epochs=1, callbacks=[nn.EarlyStopping()])


def test_reduce_on_plateau_acts_in_training(backend, moons):
    rate = nn.ReduceOnPlateau(0.4, factor=0.5, patience=0)
    model = make(backend)
    course = Course([1.0, 1.0, 1.0, 0.5])
    model.fit(*moons, optimizer=nn.GradientDescent(rate), epochs=4, callbacks=[course])
    assert model.history["learning_rate"] == [0.4, 0.4, 0.2, 0.1]


def test_the_history_is_written_as_csv(tmp_path):
    history = nn.History([{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}])
    history.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        assert list(csv.reader(file)) == [["epoch", "train_loss"], ["1", "0.5"], ["2", "0.25"]]


def test_the_history_names_what_it_has():
    history = nn.History([{"epoch": 1}, {"epoch": 2, "validation_loss": 0.5}])
    assert np.isnan(history["validation_loss"][0])
    with pytest.raises(KeyError, match="'loss' is not recorded; the history has epoch, valid"):
        history["loss"]
    with pytest.raises(IndexError, match="not been trained"):
        nn.History().last


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_the_progress_bar_is_for_terminals(backend, moons, progress, shown, capfd):
    make(backend).fit(*moons, epochs=2, progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("epoch 2/2" in err) is shown

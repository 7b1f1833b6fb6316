"""Callbacks, early stopping, the history and the progress bar."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.tree import tree_leaves


@pytest.fixture(scope="module")
def moons():
    return nn.datasets.make_moons(100, noise=0.2, seed=0)


@pytest.fixture
def train(backend, moons):
    """A function that trains a new model with some callbacks, and returns it."""

    def train(*callbacks, **options):
        layers = (nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(2))
        model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)
        model.fit(*moons, callbacks=callbacks, **options)
        return model

    return train


class Recorder(nn.Callback):
    """Notes every call."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.calls.append((name[3:], fit.epoch))
        return super().__getattribute__(name)


def test_callbacks_are_called_in_order(train):
    recorder = Recorder()
    train(recorder, epochs=2, batch_size=50)
    steps = ["batch_begin", "batch_end"] * 2
    epochs = [
        [("epoch_begin", n), *((step, n) for step in steps), ("epoch_end", n + 1)] for n in (0, 1)
    ]
    assert recorder.calls == [("train_begin", 0), *epochs[0], *epochs[1], ("train_end", 2)]


@pytest.mark.parametrize(("event", "steps"), [("on_batch_end", 1), ("on_epoch_end", 4)])
def test_a_callback_can_stop_training(train, event, steps):
    class Stop(nn.Callback):
        pass

    setattr(Stop, event, lambda self, fit: fit.stop("enough"))
    model = train(Stop(), epochs=9, batch_size=25)
    assert (len(model.history), model.training.step) == (1, steps)


@pytest.mark.parametrize("value", [True, "enough"])
def test_setting_stop_is_explained(train, value):
    class Stop(nn.Callback):
        def on_epoch_end(self, fit):
            fit.stop = value

    with pytest.raises(AttributeError, match=r"write fit\.stop\(reason\), not = "):
        train(Stop())


def test_the_reason_for_stopping_can_be_left_out(train):
    class Stop(nn.Callback):
        def on_epoch_end(self, fit):
            fit.stop()

    assert len(train(Stop(), epochs=9).history) == 1


def test_stopping_before_an_epoch_trains_nothing_of_it(train):
    class Stop(nn.Callback):
        def on_epoch_begin(self, fit):
            if fit.epoch == 2:
                fit.stop("enough")

    model = train(Stop(), epochs=9, batch_size=25)
    assert (len(model.history), model.training.step) == (2, 8)


class Course(nn.Callback):
    """Sets a metric of each epoch, and keeps the training state after it."""

    def __init__(self, values, name="validation_loss"):
        self.values, self.name, self.states = values, name, []

    def on_epoch_end(self, fit):
        fit.history.last[self.name] = self.values[fit.epoch - 1]
        self.states.append(fit.model.training.copy())


def assert_restored(model, training):
    """Assert that parameters and statistics are those of a training state."""
    ours, expected = ((state.params, state.state) for state in (model.training, training))
    for array, other in zip(tree_leaves(ours), tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(to_numpy(array), to_numpy(other))


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_waits_and_restores_the_best(train, restore):
    course = Course([3.0, 2.0, 1.0, 1.5, 0.99, 1.2, 1.1, 0.5])
    stopping = nn.EarlyStopping(patience=2, min_delta=0.1, restore_best=restore)
    model = train(course, stopping, epochs=8)
    # 0.99 is not better than 1.0 by 0.1, so epochs 4 and 5 are the two that are waited for.
    assert (len(model.history), stopping.best_epoch) == (5, 3)
    assert_restored(model, course.states[2 if restore else 4])


def test_the_best_parameters_are_restored_also_when_training_is_not_cut_short(train):
    course = Course([3.0, 1.0, 2.0])
    assert_restored(train(course, nn.EarlyStopping(patience=10), epochs=3), course.states[1])


def test_early_stopping_that_is_used_again_starts_again(train):
    stopping = nn.EarlyStopping(patience=1)
    for values in ([0.5, 0.6], [3.0, 2.0, 2.5, 1.0]):
        model = train(Course(values), stopping, epochs=4)
    assert (len(model.history), stopping.best_epoch) == (3, 2)


@pytest.mark.parametrize("monitor", ["validation_loss", "train_loss", "course_loss"])
@pytest.mark.parametrize("again", ["same", "other"])
def test_early_stopping_counts_the_state_that_a_second_fit_begins_with(backend, monitor, again):
    x, y = np.linspace(-1.0, 1.0, 20)[:, None], np.linspace(-1.0, 1.0, 20)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend)
    stopping = nn.EarlyStopping(patience=9, monitor=monitor)

    def fit(stopping, rate, values, epochs=3):
        course = Course([None] * len(model.history.rows if model.n_in else ()) + values, monitor)
        callbacks = [course, stopping] if monitor == "course_loss" else [stopping]
        options = {"optimizer": nn.GradientDescent(rate), "validation": (x, y), "epochs": epochs}
        model.fit(x, y, callbacks=callbacks, batch_size=5, **options)
        return model.training.copy()

    best = fit(stopping, 0.1, [3.0, 2.0, 1.0])
    second = stopping if again == "same" else nn.EarlyStopping(patience=9, monitor=monitor)
    # Every step of it is much too long.
    worse = fit(second, 1.9, [4.0, 5.0, 6.0])
    assert (len(model.history), second.best_epoch) == (6, 3)
    assert_restored(model, best)
    if again == "same" and monitor != "train_loss":  # which is a mean over the epoch
        # Those that were restored are not those of the last epoch.
        fit(second, 1.9, [3.5, 3.5, 3.5])
        assert second.best_epoch == 6
        assert_restored(model, best)
    assert worse.epoch == 6
    # And better ones are kept.
    better = fit(second, 0.1, [0.5], epochs=1)
    assert second.best_epoch == better.epoch


def test_early_stopping_on_accuracy_waits_for_more(train):
    course = Course([0.5, 0.9, 0.8, 0.7], "train_accuracy")
    stopping = nn.EarlyStopping(patience=2, monitor="train_accuracy")
    model = train(course, stopping, epochs=9)
    assert (len(model.history), stopping.best_epoch) == (4, 2)


def test_early_stopping_asks_which_direction_is_better(train):
    with pytest.raises(ValueError, match="are lower or higher values of 'f1' better"):
        nn.EarlyStopping(monitor="f1")
    stopping = nn.EarlyStopping(patience=2, monitor="f1", mode="max")
    train(Course([0.1, 0.5, 0.4, 0.3], "f1"), stopping, epochs=9)
    assert stopping.best_epoch == 2


def test_early_stopping_says_what_is_recorded(train):
    with pytest.raises(ValueError, match="'validation_loss' is not recorded.*train_loss"):
        train(nn.EarlyStopping(), epochs=1)


def test_reduce_on_plateau_acts_in_training(train):
    rate = nn.ReduceOnPlateau(0.4, factor=0.5, patience=0)
    model = train(Course([1.0, 1.0, 1.0, 0.5]), optimizer=nn.GradientDescent(rate), epochs=4)
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


@pytest.mark.parametrize("in_notebook", [False, True])
@pytest.mark.parametrize("progress", [True, False, None])
def test_without_a_terminal_progress_is_a_line_an_epoch(
    train, progress, in_notebook, capfd, monkeypatch
):
    if in_notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    train(epochs=2, progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    is_shown = in_notebook if progress is None else progress
    lines = [line.split("  ")[0] for line in err.splitlines()]
    assert lines == ["epoch 1/2", "epoch 2/2"] * is_shown


def test_a_log_has_what_the_history_has(train, backend):
    file = io.StringIO()
    model = train(nn.EpochLog(file), epochs=2, validation=0.2)
    model.fit(
        *nn.datasets.make_moons(100, noise=0.2, seed=0),
        epochs=5,
        callbacks=[nn.EpochLog(file), nn.EarlyStopping(1, monitor="train_loss", min_delta=9.0)],
    )
    lines = file.getvalue().splitlines()
    rows = model.history.rows
    assert lines[0].startswith(
        f"epoch 1/2  loss {rows[0]['train_loss']:.4f}  "
        f"validation {rows[0]['validation_loss']:.4f}  {rows[0]['seconds']:.2f} s"
    )
    assert lines[2].startswith(f"epoch 3/7  loss {rows[2]['train_loss']:.4f}  ")
    assert lines[-1].startswith("stopped: train_loss has not improved for 1 epochs")
    assert len(lines) == len(rows) + 1

"""Callbacks and the progress bar, in epochs and in iterations of L-BFGS."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn_cases import STILL, StopAt, all_weights, classifier, cross_entropy, flatten

import anyback_nn as nn


class Events(nn.Callback):
    """Notes every call."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.calls.append((name[3:], fit.epoch))
        return super().__getattribute__(name)


def test_callbacks_are_called_in_order(iris):
    events = Events()
    classifier(callbacks=[events], max_iter=2, batch_size=30).fit(*iris)
    steps = ["batch_begin", "batch_end"] * 2
    epochs = [
        [("epoch_begin", n), *((step, n) for step in steps), ("epoch_end", n + 1)] for n in (0, 1)
    ]
    assert events.calls == [("train_begin", 0), *epochs[0], *epochs[1], ("train_end", 2)]


def test_callbacks_of_lbfgs(iris):
    events = Events()
    ours = classifier(callbacks=[events], max_iter=3, solver="lbfgs").fit(*iris)
    ends = [("epoch_end", epoch) for epoch in range(1, ours.n_iter_ + 1)]
    assert [one for one in events.calls if one[0] == "epoch_end"] == ends
    begins = [("epoch_begin", epoch) for epoch in range(ours.n_iter_)]
    assert [one for one in events.calls if one[0] == "epoch_begin"] == begins
    assert events.calls[:3] == [("train_begin", 0), ("epoch_begin", 0), ("epoch_end", 1)]
    assert events.calls[-1] == ("train_end", ours.n_iter_)


class When(nn.Callback):
    """Does something at the n-th time of an event."""

    def __init__(self, event, times, act):
        self.event, self.times, self.act = event, times, act

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.happened(name[3:], fit)
        return super().__getattribute__(name)

    def happened(self, event, fit):
        if event == self.event:
            self.times -= 1
            if not self.times:
                self.act(fit)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("event", "times"), [("train_begin", 1), ("epoch_begin", 1)])
def test_a_callback_can_stop_training_before_it_begins(event, times, solver, iris):
    first = classifier(solver=solver, optimizer=STILL).fit(*iris)
    stop = When(event, times, lambda fit: fit.stop("enough"))
    ours = classifier(solver=solver, callbacks=[stop]).fit(*iris)
    assert (ours.n_iter_, ours.loss_curve_, ours.converged_) == (0, [], False)
    np.testing.assert_allclose(all_weights(ours), all_weights(first))


def test_a_callback_can_stop_between_iterations(iris):
    stop = When("epoch_begin", 3, lambda fit: fit.stop("enough"))
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=[stop]).fit(*iris)
    expected = classifier(solver="lbfgs", max_iter=2).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.converged_) == (2, 2, False)
    np.testing.assert_array_equal(all_weights(ours), all_weights(expected))


def test_an_error_in_lbfgs_leaves_what_was_reached(iris):
    def fail(fit):
        raise RuntimeError("mine")

    x, y = iris
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=[When("epoch_end", 3, fail)])
    with pytest.raises(RuntimeError, match="mine"):
        ours.fit(x, y)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)
    assert ours.loss_ == ours.loss_curve_[-1] == pytest.approx(cross_entropy(x, y)(ours))


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_callback_can_stop_training(solver, iris):
    # Which is no lack of convergence to be warned about.
    ours = classifier(solver=solver, max_iter=30, callbacks=[StopAt(3)]).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)


def test_early_stopping_of_the_library_is_a_callback(iris):
    x, y = iris
    course = []

    class Losses(nn.Callback):
        def on_epoch_end(self, fit):
            fit.history.last["validation_loss"] = [3.0, 1.0, 2.0, 1.5, 1.2][fit.epoch - 1]
            course.append(flatten(fit.model))

    stopping = nn.EarlyStopping(patience=2)
    ours = classifier(max_iter=5, callbacks=[Losses(), stopping]).fit(x, y)
    assert (ours.n_iter_, stopping.best_epoch) == (4, 2)
    np.testing.assert_array_equal(flatten(ours.model_), course[1])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_written_to_the_terminal_only(progress, solver, iris, capfd):
    classifier(max_iter=2, progress=progress, solver=solver).fit(*iris)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("epoch 2/2" in err) is progress

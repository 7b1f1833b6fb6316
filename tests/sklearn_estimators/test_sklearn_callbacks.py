"""Callbacks and the progress bar, in epochs and in iterations of L-BFGS."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn_cases import STILL, StopAt, all_weights, classifier, cross_entropy, flatten

import anyback_nn as nn


class Events(nn.Callback):
    """Notes every call, and does something at the n-th time of an event."""

    def __init__(self, event=None, times=1, act=None):
        self.event, self.times, self.act, self.calls = event, times, act, []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.note(name[3:], fit)
        return super().__getattribute__(name)

    def note(self, event, fit):
        self.calls.append((event, fit.epoch))
        if event == self.event:
            self.times -= 1
            if not self.times:
                self.act(fit)


def stop(fit):
    fit.stop("enough")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_are_called_in_order(solver, iris):
    events = Events()
    ours = classifier(callbacks=[events], max_iter=3, batch_size=30, solver=solver).fit(*iris)
    # Iterations of L-BFGS count as epochs.
    epochs = [call for n in range(3) for call in (("epoch_begin", n), ("epoch_end", n + 1))]
    calls = [call for call in events.calls if not call[0].startswith("batch")]
    assert calls == [("train_begin", 0), *epochs, ("train_end", 3)]
    assert len(events.calls) - len(calls) == (0 if solver == "lbfgs" else 3 * 2 * 2)
    assert ours.n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("event", ["train_begin", "epoch_begin"])
def test_a_callback_can_stop_training_before_it_begins(event, solver, iris):
    first = classifier(optimizer=STILL).fit(*iris)
    ours = classifier(solver=solver, callbacks=[Events(event, 1, stop)]).fit(*iris)
    assert (ours.n_iter_, ours.loss_curve_, ours.converged_) == (0, [], False)
    np.testing.assert_allclose(all_weights(ours), all_weights(first))


def test_a_callback_can_stop_between_iterations(iris):
    stopped = [Events("epoch_begin", 3, stop)]
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=stopped).fit(*iris)
    expected = classifier(solver="lbfgs", max_iter=2).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.converged_) == (2, 2, False)
    np.testing.assert_array_equal(all_weights(ours), all_weights(expected))


def test_an_error_in_lbfgs_leaves_what_was_reached(iris):
    def fail(fit):
        raise RuntimeError("mine")

    x, y = iris
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=[Events("epoch_end", 3, fail)])
    with pytest.raises(RuntimeError, match="mine"):
        ours.fit(x, y)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)
    assert ours.loss_ == ours.loss_curve_[-1] == pytest.approx(cross_entropy(x, y)(ours))


@pytest.mark.parametrize("event", ["train_begin", "epoch_begin", "train_end"])
def test_an_iterator_that_ends_in_a_callback_does_not_end_lbfgs_silently(event, iris):
    exhausted = Events(event, 1, lambda fit: next(iter(())))
    with pytest.raises(StopIteration):
        classifier(solver="lbfgs", max_iter=3, callbacks=[exhausted]).fit(*iris)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_callback_can_stop_training(solver, iris):
    # Which is no lack of convergence to be warned about.
    ours = classifier(solver=solver, max_iter=30, callbacks=[StopAt(3)]).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)


def test_weights_that_a_callback_restores_are_what_predicts(iris):
    course = []

    class Losses(nn.Callback):
        def on_epoch_end(self, fit):
            fit.history.last["validation_loss"] = [3.0, 1.0, 2.0, 1.5, 1.2][fit.epoch - 1]
            course.append(flatten(fit.model))

    ours = classifier(max_iter=5, callbacks=[Losses(), nn.EarlyStopping(patience=2)]).fit(*iris)
    assert ours.n_iter_ == 4
    np.testing.assert_array_equal(flatten(ours.model_), course[1])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_written_to_the_terminal_only(progress, solver, iris, capfd):
    classifier(max_iter=2, progress=progress, solver=solver).fit(*iris)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("epoch 2/2" in err) is progress

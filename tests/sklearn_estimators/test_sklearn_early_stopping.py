"""Early stopping: scikit-learn's course in `fit`, and ours in `partial_fit`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn_cases import (
    PROBLEMS,
    Recorder,
    ScriptedMetric,
    all_weights,
    assert_same_weights,
    average_path,
    classifier,
    fit_pair,
    flatten,
    load_problem,
    make_pair,
    same_error,
    train_pair,
)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_early_stopping_takes_the_same_course(name, solver):
    settings = {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2}
    settings |= {"solver": solver, "learning_rate_init": 0.02, "max_iter": 60, "batch_size": 32}
    _, ours = train_pair(name, **settings)
    assert len(ours.validation_scores_) == ours.n_iter_
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    assert ours.best_loss_ is None


def test_the_best_weights_are_put_back():
    # After the best epoch come others that spoil the weights.
    settings = {"early_stopping": True, "solver": "sgd", "learning_rate_init": 0.2}
    _, ours = train_pair("values", **settings, n_iter_no_change=3, max_iter=50)
    best = int(np.argmax(ours.validation_scores_))
    assert best < ours.n_iter_ - 1
    _, until = fit_pair("values", **settings, n_iter_no_change=3, max_iter=best + 1)
    assert_same_weights(until, ours, 0.0)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_a_validation_part_that_is_too_small(name):
    x, y = (part[::15][:9] for part in load_problem(name))
    _, text = same_error(make_pair(name, early_stopping=True), lambda mlp: mlp.fit(x, y))
    assert text.startswith("The validation set is too small")


def test_a_validation_fraction_of_zero():
    for mlp in make_pair("classes", early_stopping=True, validation_fraction=0.0):
        with pytest.raises(ValueError, match="test_size"):
            mlp.fit(*load_problem("classes"))


def test_early_stopping_restores_the_average_of_the_best_epoch(iris):
    recorder, metric = Recorder(), ScriptedMetric([0.1, 0.2, 0.9, 0.3, 0.3, 0.3])
    ours = classifier(early_stopping=True, n_iter_no_change=1, max_iter=20, average_weights=0.8)
    ours.set_params(early_stopping_metric=metric, callbacks=[recorder]).fit(*iris)
    assert ours.n_iter_ == 5
    expected = average_path(recorder.after[:3], 0.8)
    np.testing.assert_allclose(flatten(ours.model_), expected, rtol=1e-12)


def test_the_validation_curve_of_early_stopping(iris):
    x, y = iris
    seen = []

    def metric(estimator, x_held, y_held):
        seen.append((x_held, y_held))
        return -log_loss(y_held, estimator.predict_proba(x_held))

    ours = classifier(early_stopping=True, max_iter=5, early_stopping_metric=metric).fit(x, y)
    # The loss and the metric are computed on the same rows, a tenth of them.
    assert ours.validation_curve_ == pytest.approx([-score for score in ours.validation_scores_])
    assert all(held[0].shape == (6, 4) for held in seen)
    rows = {tuple(row): label for row, label in zip(x, y, strict=True)}
    assert all(rows[tuple(row)] == label for held in seen for row, label in zip(*held, strict=True))


def test_validation_data_for_early_stopping(iris):
    x, y = iris
    ours = classifier(early_stopping=True, max_iter=100, n_iter_no_change=2, tol=0.0)
    ours.set_params(validation_data=(x[:20], y[:20]), learning_rate_init=0.05).fit(x[20:], y[20:])
    assert ours.converged_
    assert ours.t_ == 40 * ours.n_iter_
    best = max(ours.validation_scores_)
    assert ours.best_validation_score_ == best == ours.score(x[:20], y[:20])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_best_epoch_of_the_metric_is_restored(solver, iris):
    metric = ScriptedMetric([0.1, 0.7, 0.3, 0.9, 0.2, 0.9, 0.8, 0.5, 0.4])
    ours = classifier(solver=solver, early_stopping=True, n_iter_no_change=2, max_iter=50)
    ours.set_params(early_stopping_metric=metric).fit(*iris)
    # The 2 that are waited for are counted as scikit-learn counts them: a third one ends it.
    assert (ours.n_iter_, ours.converged_, ours.best_validation_score_) == (7, True, 0.9)
    np.testing.assert_array_equal(all_weights(ours), metric.calls[3][3])


@pytest.mark.parametrize("rate", [1.0, 1e300], ids=["later", "at once"])
@pytest.mark.parametrize("metric", [None, "r2"])
def test_a_run_that_diverges_goes_on_and_restores_the_best_weights(rate, metric):
    settings = {"solver": "sgd", "activation": "identity", "learning_rate_init": rate}
    settings |= {"early_stopping": True, "max_iter": 20, "hidden_layer_sizes": 100}
    theirs, ours = make_pair("outputs", **settings)
    x, y = load_problem("outputs")
    with np.errstate(all="ignore"), pytest.warns(ConvergenceWarning):
        theirs.fit(x, y)
    ours.set_params(early_stopping_metric=metric)
    with pytest.warns(ConvergenceWarning, match=r"yet\. It diverged, .* restored: the .* in epoch"):
        ours.fit(x, y)
    assert ours.n_iter_ == theirs.n_iter_ == len(ours.validation_scores_) == 20
    assert np.isnan(ours.validation_scores_[-1])
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-4)
    assert_same_weights(theirs, ours, 1e-8)


# partial_fit with early stopping -----------------------------------------------------------------


@pytest.mark.parametrize("own_data", [True, False], ids=["validation_data", "a part of each call"])
def test_partial_fit_stops_early_and_restores_the_best(own_data, iris):
    x, y = iris
    metric = ScriptedMetric([0.2, 0.8, 0.5, 0.6, 0.7, 0.1, 0.1, 0.1])
    ours = classifier(early_stopping=True, n_iter_no_change=2, early_stopping_metric=metric)
    if own_data:
        ours.set_params(validation_data=(x[:20], y[:20]))
    for calls in range(1, 6):
        assert not getattr(ours, "converged_", False)
        ours.partial_fit(x, y, classes=[0, 1, 2])
        assert len(metric.calls) == calls
        if calls < 5:
            # Until it ends, training resumes from the last weights, not from the best ones.
            np.testing.assert_array_equal(all_weights(ours), metric.calls[-1][3])
    assert ours.converged_
    assert ours.best_validation_score_ == 0.8
    best = metric.calls[1][3]
    np.testing.assert_array_equal(all_weights(ours), best)
    # From here on, nothing changes, which is warned of.
    with pytest.warns(UserWarning, match=r"Call fit, or set early_stopping=False, to resume it"):
        ours.partial_fit(x, y)
    with pytest.raises(ValueError, match="X has 3 features, but"):
        ours.partial_fit(x[:, :3], y)
    np.testing.assert_array_equal(all_weights(ours), best)
    assert len(metric.calls) == 5
    # fit begins again.
    ours.fit(x, y)
    assert len(metric.calls) == 6
    assert (ours.n_iter_, len(ours.loss_curve_), ours.best_validation_score_) == (1, 1, 0.1)
    assert not np.array_equal(all_weights(ours), best)


def test_after_early_stopping_partial_fit_resumes_without_it(iris):
    x, y = iris
    ours = classifier(early_stopping=True, n_iter_no_change=1, max_iter=9)
    ours.set_params(early_stopping_metric=ScriptedMetric([0.5, 0.1, 0.1, 0.1])).fit(x, y)
    assert ours.converged_
    before = all_weights(ours)
    with pytest.raises(ValueError, match=r"not support early_stopping=True after fit.* to resume"):
        ours.partial_fit(x, y)
    ours.set_params(early_stopping=False, early_stopping_metric=None).partial_fit(x, y)
    assert not np.array_equal(all_weights(ours), before)


def test_partial_fit_sets_aside_what_a_batch_allows(tumours):
    # A batch need not hold two of each class, as a stratified split needs.
    x = tumours[0]
    y = np.zeros(80, dtype=int)
    y[[3, 20, 40, 41, 60]] = 1
    ours = classifier(early_stopping=True)
    for begin in range(0, 80, 16):
        ours.partial_fit(x[begin : begin + 16], y[begin : begin + 16], classes=[0, 1])
    assert len(ours.validation_scores_) == 5


def test_a_batch_that_is_too_small_to_set_something_aside(tumours):
    x, y = tumours
    ours = classifier(early_stopping=True)
    with pytest.raises(ValueError, match=r"0\.1 of the 4 samples .* is 1, .* set validation_data"):
        ours.partial_fit(x[:4], y[:4], classes=[0, 1])
    assert not hasattr(ours, "n_features_in_")
    ours.set_params(validation_data=(x, y)).partial_fit(x[:4], y[:4], classes=[0, 1])

"""Validation data, their curves and metrics of the user's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn_cases import ScriptedMetric, classifier, regressor

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier


class Curves(nn.Callback):
    """Computes after each epoch what ``measure`` finds with the estimator as it is."""

    def __init__(self, measure):
        self.measure, self.found = measure, []

    def on_epoch_end(self, fit):
        self.found.append(self.measure(self.estimator))


def with_curves(estimator, measure):
    """Let a callback know its estimator."""
    curves = Curves(measure)
    curves.estimator = estimator.set_params(callbacks=[curves])
    return curves


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_data_of_classes(weighted, iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, 20) if weighted else None
    ours = classifier(max_iter=6, alpha=1.0, batch_size=10)
    ours.set_params(validation_data=(x[:20], y[:20], w) if weighted else (x[:20], y[:20]))
    curves = with_curves(
        ours,
        lambda one: (
            log_loss(y[:20], one.predict_proba(x[:20]), sample_weight=w),
            accuracy_score(y[:20], one.predict(x[:20]), sample_weight=w),
        ),
    )
    ours.fit(x[20:], y[20:])
    losses, scores = zip(*curves.found, strict=True)
    np.testing.assert_allclose(ours.validation_curve_, losses, rtol=1e-9)
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-12)
    assert len(losses) == 6
    # Nothing was set aside: each epoch has gone through all 40 rows.
    assert ours.t_ == 240


def test_validation_data_of_values(values):
    x, y = values
    ours = regressor(max_iter=4, validation_data=(x[:10], y[:10]))
    curves = with_curves(
        ours,
        lambda one: (
            mean_squared_error(y[:10], one.predict(x[:10])) / 2,
            r2_score(y[:10], one.predict(x[:10])),
        ),
    )
    ours.fit(x[10:], y[10:])
    np.testing.assert_allclose(
        list(zip(ours.validation_curve_, ours.validation_scores_)), curves.found
    )


def test_validation_data_in_lbfgs(iris):
    x, y = iris
    ours = classifier(solver="lbfgs", max_iter=6, validation_data=(x[:20], y[:20]))
    curves = with_curves(ours, lambda one: log_loss(y[:20], one.predict_proba(x[:20])))
    ours.fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_curve_, curves.found, rtol=1e-9)
    assert len(curves.found) == ours.n_iter_ == len(ours.loss_curve_)


def test_without_validation_there_are_no_curves(iris):
    ours = classifier().fit(*iris)
    assert ours.validation_curve_ is None
    assert ours.validation_scores_ is None
    assert not hasattr(MLPClassifier(), "validation_curve_")


def test_the_metric_is_called_with_what_was_given(iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])
    held = (x[:20].tolist(), names[y[:20]])
    metric = ScriptedMetric([0.5, 0.6])
    ours = classifier(max_iter=2, validation_data=held, early_stopping_metric=metric)
    ours.fit(x[20:], names[y[20:]])
    for estimator, seen, labels, _ in metric.calls:
        assert estimator is ours
        assert seen is held[0]
        np.testing.assert_array_equal(labels, held[1])
    assert ours.validation_scores_ == [0.5, 0.6]


def test_metrics_by_name(iris):
    x, y = iris
    held = (x[:20], y[:20])
    ours = classifier(max_iter=4, early_stopping_metric="neg_log_loss", validation_data=held)
    ours.fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_scores_, -np.asarray(ours.validation_curve_))


def weighted_accuracy(estimator, x, y, sample_weight=None):
    return estimator.score(x, y, sample_weight)


@pytest.mark.parametrize("metric", ["accuracy", weighted_accuracy])
def test_metrics_get_the_weights_of_the_validation_data(metric, iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, 20)
    settings = {"max_iter": 4, "validation_data": (x[:20], y[:20], w)}
    ours = classifier(early_stopping_metric=metric, **settings).fit(x[20:], y[20:])
    default = classifier(**settings).fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_scores_, default.validation_scores_, rtol=1e-12)


def test_metrics_get_the_weights_of_the_part_that_is_set_aside(iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, len(y))
    settings = {"max_iter": 4, "early_stopping": True}
    ours = classifier(early_stopping_metric="accuracy", **settings).fit(x, y, w)
    default = classifier(**settings).fit(x, y, w)
    np.testing.assert_allclose(ours.validation_scores_, default.validation_scores_, rtol=1e-12)


def test_a_metric_without_weights_is_not_for_weighted_validation_data(iris):
    x, y = iris
    ours = classifier(early_stopping_metric=lambda estimator, x, y: 0.5)
    with pytest.raises(ValueError, match="early_stopping_metric does not take the weights"):
        ours.set_params(validation_data=(x, y, np.ones(len(y)))).fit(x, y)


@pytest.mark.parametrize("given", ["array", "table"])
def test_names_of_features_are_spoken_of_once(given, iris):
    x, y = iris
    table = pl.DataFrame(x, list("abcd"))
    held, other = (x, table) if given == "array" else (table, x)
    ours = classifier(max_iter=3, early_stopping_metric="accuracy", validation_data=(held, y))
    with pytest.warns(UserWarning, match="feature names") as caught:
        ours.fit(other, y)
    assert len([one for one in caught if "feature names" in str(one.message)]) == 1

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
    """Measures after each epoch what an estimator reaches on held-out rows."""

    def __init__(self, estimator, x, y, weights=None):
        self.estimator, self.data, self.measured = (
            estimator.set_params(callbacks=[self]),
            (x, y),
            [],
        )
        self.options = {} if weights is None else {"sample_weight": weights}

    def on_epoch_end(self, fit):
        x, y = self.data
        predicted = self.estimator.predict(x)
        if hasattr(self.estimator, "classes_"):
            loss = log_loss(y, self.estimator.predict_proba(x), **self.options)
            score = accuracy_score(y, predicted, **self.options)
        else:
            loss = mean_squared_error(y, predicted, **self.options) / 2
            score = r2_score(y, predicted, **self.options)
        self.measured.append((loss, score))


WEIGHTS = np.linspace(0.1, 3.0, 20)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", ["classes", "values", "lbfgs"])
def test_validation_data(kind, weights, iris, values):
    x, y = values if kind == "values" else iris
    held = (x[:20], y[:20]) if weights is None else (x[:20], y[:20], weights)
    ours = (regressor if kind == "values" else classifier)(max_iter=6, alpha=1.0, batch_size=10)
    ours.set_params(solver="lbfgs" if kind == "lbfgs" else "adam", validation_data=held)
    curves = Curves(ours, *held)
    ours.fit(x[20:], y[20:])
    pairs = [*zip(ours.validation_curve_, ours.validation_scores_, strict=True)]
    np.testing.assert_allclose(pairs, curves.measured, rtol=1e-9)
    assert len(pairs) == ours.n_iter_ == 6
    if kind != "lbfgs":
        # Nothing was set aside: each epoch has gone through all rows.
        assert ours.t_ == 6 * len(x[20:])


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


def weighted_accuracy(estimator, x, y, sample_weight=None):
    return estimator.score(x, y, sample_weight)


@pytest.mark.parametrize("metric", ["accuracy", weighted_accuracy])
@pytest.mark.parametrize("held", ["validation data", "a part"])
def test_metrics_get_the_weights_of_held_out_rows(held, metric, iris):
    x, y = iris
    if held == "a part":
        data = (x, y, np.linspace(0.1, 3.0, len(y)))
        settings = {"max_iter": 4, "early_stopping": True}
    else:
        data = (x[20:], y[20:])
        settings = {"max_iter": 4, "validation_data": (x[:20], y[:20], WEIGHTS)}
    ours = classifier(early_stopping_metric=metric, **settings).fit(*data)
    default = classifier(**settings).fit(*data)
    np.testing.assert_allclose(ours.validation_scores_, default.validation_scores_, rtol=1e-12)


def test_a_metric_without_weights_is_not_for_weighted_validation_data(iris):
    x, y = iris
    ours = classifier(early_stopping_metric=lambda estimator, x, y: 0.5)
    with pytest.raises(ValueError, match="early_stopping_metric does not take the weights"):
        ours.set_params(validation_data=(x, y, np.ones(len(y)))).fit(x, y)


@pytest.mark.parametrize("given", ["array", "table"])
def test_names_of_features_are_warned_of_once(given, iris):
    x, y = iris
    table = pl.DataFrame(x, list("abcd"))
    held, other = (x, table) if given == "array" else (table, x)
    ours = classifier(max_iter=3, early_stopping_metric="accuracy", validation_data=(held, y))
    with pytest.warns(UserWarning, match="feature names") as caught:
        ours.fit(other, y)
    assert len([warning for warning in caught if "feature names" in str(warning.message)]) == 1

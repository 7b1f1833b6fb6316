"""Metrics against scikit-learn's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from network_cases import TOLERANCE, each_weights, move
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    roc_auc_score,
)

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.training import metrics

RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(5, 3))
PROBABILITIES = RNG.uniform(size=(5, 3))
CLASSES = RNG.integers(3, size=5).astype(np.int32)
LABELS = RNG.integers(2, size=(5, 3)).astype(float)
COUNTS = RNG.poisson(2.0, size=(5, 3)).astype(float)
CONSTANT = np.full((5, 1), 2.0)


@each_weights
@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "decided", "right"),
    [
        (nn.SoftmaxCrossEntropy(), OUTPUTS, CLASSES, OUTPUTS.argmax(axis=1), CLASSES),
        (nn.SoftmaxCrossEntropy(), OUTPUTS, np.eye(3)[CLASSES], OUTPUTS.argmax(axis=1), CLASSES),
        (nn.BinaryCrossEntropy(), OUTPUTS[:, :1], LABELS[:, :1], OUTPUTS[:, 0] > 0, LABELS[:, 0]),
        (nn.BinaryCrossEntropy(), OUTPUTS, LABELS, OUTPUTS > 0, LABELS),
        (nn.ProbabilityCrossEntropy(), PROBABILITIES, LABELS, PROBABILITIES > 0.5, LABELS),
    ],
    ids=["classes", "one-hot", "one label", "several labels", "probabilities"],
)
def test_accuracy(loss, outputs, targets, decided, right, weights, backend, finest):
    values = metrics.accuracy(loss, *move((outputs, targets), backend, finest))
    each = None if weights is None else np.repeat(weights, right.size // 5)
    expected = accuracy_score(right.ravel(), decided.ravel(), sample_weight=each)
    accuracy = np.average(to_numpy(values), weights=weights)
    assert accuracy == pytest.approx(expected, rel=TOLERANCE[finest])


REGRESSIONS = pytest.mark.parametrize(
    ("loss", "outputs", "targets", "predicted"),
    [
        (nn.MeanSquaredError(), OUTPUTS, COUNTS, OUTPUTS),
        (nn.MeanSquaredError(), COUNTS + 0.3 * OUTPUTS, COUNTS, COUNTS + 0.3 * OUTPUTS),
        (nn.Huber(), OUTPUTS[:, :1], COUNTS[:, :1], OUTPUTS[:, :1]),
        (nn.Poisson(), OUTPUTS, COUNTS, np.exp(OUTPUTS)),
        (nn.MeanSquaredError(), CONSTANT, CONSTANT, CONSTANT),
        (nn.MeanSquaredError(), OUTPUTS[:, :1], CONSTANT, OUTPUTS[:, :1]),
    ],
    ids=["bad", "good", "one output", "counts", "constant and met", "constant and missed"],
)


@each_weights
@REGRESSIONS
def test_absolute_error(loss, outputs, targets, predicted, weights, backend, finest):
    values = metrics.absolute_error(loss, *move((outputs, targets), backend, finest))
    expected = mean_absolute_error(targets, predicted, sample_weight=weights)
    error = np.average(to_numpy(values), weights=weights)
    assert error == pytest.approx(expected, rel=TOLERANCE[finest])


@each_weights
@REGRESSIONS
def test_r2(loss, outputs, targets, predicted, weights, backend, finest):
    r2 = metrics.r2(loss, *move((outputs, targets, weights), backend, finest))
    expected = r2_score(targets, predicted, sample_weight=weights)
    assert float(to_numpy(r2)) == pytest.approx(expected, rel=TOLERANCE[finest])


# Of all samples together -------------------------------------------------------------------------

OVR = partial(roc_auc_score, multi_class="ovr")
PROBLEMS = {
    "two classes": (nn.SoftmaxCrossEntropy(), 2, lambda y: y % 2, roc_auc_score),
    "three classes": (nn.SoftmaxCrossEntropy(), 3, lambda y: y, OVR),
    "rows of probabilities": (nn.SoftmaxCrossEntropy(), 3, lambda y: np.eye(3)[y], OVR),
    "one label": (nn.BinaryCrossEntropy(), 1, lambda y: y % 2, roc_auc_score),
    "labels": (nn.BinaryCrossEntropy(), 3, lambda y: np.eye(3)[y], average_precision_score),
    "one value": (nn.MeanSquaredError(), 1, lambda y: y + 0.5, median_absolute_error),
    "values": (nn.MeanSquaredError(), 3, lambda y: np.eye(3)[y], median_absolute_error),
}
"""Losses, their outputs, their targets, and scikit-learn's function of targets and predictions."""


def draw_rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(90, 4)), rng.integers(3, size=90), rng.uniform(0.5, 2.0, 90)


@each_weights
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_metric_of_all_samples_is_that_of_scikit_learn(problem, weights, backend):
    loss, n_out, code, function = PROBLEMS[problem]
    x, y, values = draw_rows()
    y, weights = code(y), None if weights is None else values
    metrics = [nn.EpochMetric(function, name="mine")]
    if loss.classifies:
        metrics.append(nn.EpochMetric(partial(f1_score, average="macro"), of="classes"))
    model = nn.Model(nn.Dense(n_out), loss=loss, backend=backend, metrics=metrics)
    data = (x, y) if weights is None else (x, y, weights)
    history = model.fit(x, y, epochs=2, validation=data, sample_weight=weights)
    predicted, targets = model.predict(x), y
    if problem == "two classes":
        predicted = predicted[:, 1]
    if problem == "rows of probabilities":
        targets = y.argmax(axis=1)
    # In parts, but computed of all of them.
    scores = model.evaluate(x, y, sample_weight=weights, batch_size=17)
    expected = function(targets, predicted, sample_weight=weights)
    assert scores["mine"] == pytest.approx(expected, rel=1e-5)
    assert history.last["validation_mine"] == pytest.approx(expected, rel=1e-5)
    assert "train_mine" not in history.last
    if loss.classifies:
        classes = model.predict_classes(x)
        expected = f1_score(targets, classes, average="macro", sample_weight=weights)
        assert scores["f1_score"] == pytest.approx(expected)


def test_early_stopping_on_a_metric_of_all_samples(backend):
    x, y, _ = draw_rows()
    metric = nn.EpochMetric(OVR)
    model = nn.Model(nn.Dense(3), loss="softmax_cross_entropy", backend=backend, metrics=[metric])
    stopping = nn.EarlyStopping(patience=2, monitor="validation_roc_auc_score")
    history = model.fit(x, y, epochs=40, validation=0.3, callbacks=[stopping])
    scores = history["validation_roc_auc_score"]
    assert stopping.best_epoch == 1 + int(np.argmax(scores))
    assert model.to("numpy").metrics == (metric,)


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ("accuracy", TypeError, r"expected metrics to be a list, such as \['accuracy'\]"),
        (metrics.accuracy, TypeError, "expected metrics to be a list"),
        (["acuracy"], ValueError, "unknown metric 'acuracy'. Did you mean 'accuracy'"),
        ([f1_score], TypeError, r"\(loss, outputs, targets\) .* nn\.EpochMetric\(f1_score\)"),
        ([lambda loss, outputs: 0], TypeError, r"one value per sample\. For a function of \(tar"),
        ([nn.EpochMetric], TypeError, r"Write EpochMetric\(\.\.\.\)"),
        ([0.5], TypeError, "expected a metric to be a function, got 0.5"),
        (["accuracy", metrics.accuracy], ValueError, "different names"),
        ([nn.EpochMetric(f1_score, name="r2")], ValueError, "none called loss, or r2"),
    ],
)
def test_metrics_that_are_none_are_explained(wrong, error, text):
    with pytest.raises(error, match=text):
        nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), metrics=wrong)


def test_classes_are_for_losses_that_classify():
    metric = nn.EpochMetric(len, of="classes")
    with pytest.raises(ValueError, match="metric len: of='classes' is for losses that classify"):
        nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), metrics=[metric])


def test_accuracy_is_for_losses_that_classify():
    with pytest.raises(ValueError, match=r"accuracy is for losses that classify, not for MeanSq"):
        nn.Model(nn.Dense(2), loss=nn.MeanSquaredError(), metrics=["accuracy"])


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (lambda loss, outputs, targets: 0.5, r"shape \(5,\), got float.* nn\.EpochMetric"),
        (lambda loss, outputs, targets: outputs, r"array of shape \(5,\), got shape \(5, 3\)"),
        (lambda loss, outputs, targets: outputs[0, 0], r"of shape \(5,\), got shape \(\)"),
    ],
)
def test_what_a_metric_must_return_is_explained(metric, text, backend):
    loss = nn.SoftmaxCrossEntropy()
    model = nn.Model(nn.Dense(3), loss=loss, metrics=[metric], backend=backend).build(3)
    for call in (model.fit, model.evaluate):
        with pytest.raises(nn.ShapeError, match=text):
            call(OUTPUTS, CLASSES)


def test_booleans_are_counted(backend):
    def confident(loss, outputs, targets):
        return outputs[:, 0] > 0

    loss = nn.SoftmaxCrossEntropy()
    model = nn.Model(nn.Dense(3), loss=loss, metrics=[confident], backend=backend)
    history = model.fit(OUTPUTS, CLASSES, epochs=1, validation=(OUTPUTS, CLASSES))
    share = model.evaluate(OUTPUTS, CLASSES)["confident"]
    assert share == pytest.approx(history.last["validation_confident"])
    assert share * 5 == pytest.approx(round(share * 5))


@pytest.mark.parametrize(
    ("metric", "weights", "text"),
    [
        (nn.EpochMetric(f1_score), None, r"f1_score could not be .* EpochMetric\(of='classes'\)"),
        (nn.EpochMetric(lambda y, p: 1.0, name="mine"), np.ones(5), "mine.* sample_weight"),
    ],
)
def test_metrics_of_all_samples_that_fail_are_explained(metric, weights, text, backend):
    loss = nn.SoftmaxCrossEntropy()
    model = nn.Model(nn.Dense(3), loss=loss, metrics=[metric], backend=backend).build(3)
    with pytest.raises(ValueError, match=text):
        model.evaluate(OUTPUTS, CLASSES, sample_weight=weights)

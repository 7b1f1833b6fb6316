"""Metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import TOLERANCE, each_weights, move
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score

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

"""Predictions, decisions and scores of losses, against numbers by hand."""

import numpy as np
import pytest
from network_cases import LOSSES, TOLERANCE, relative_error

import anyback_nn as nn
from anyback_nn.array_api import to_numpy


@pytest.mark.parametrize(
    ("loss", "outputs", "linked"),
    [
        (nn.MeanSquaredError(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (nn.MeanAbsoluteError(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (nn.Huber(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (nn.Poisson(), [[np.log(2.0), 0.0]], [[2.0, 1.0]]),
        (nn.BinaryCrossEntropy(), [[0.0, np.log(3.0)]], [[0.5, 0.75]]),
        (nn.ProbabilityCrossEntropy(), [[0.25, 0.75]], [[0.25, 0.75]]),
        (nn.SoftmaxCrossEntropy(), [[np.log(3.0), 0.0]], [[0.75, 0.25]]),
    ],
)
def test_link(loss, outputs, linked, backend, finest):
    """The gradient vanishes if the target is the prediction, and not if it is near it."""
    outputs = backend.asarray(np.asarray(outputs), finest)
    predicted = loss.link(outputs)
    assert relative_error(predicted, np.asarray(linked)) < TOLERANCE[finest]
    assert abs(to_numpy(nn.mean_loss(loss, outputs, predicted)[1])).max() < TOLERANCE[finest]
    assert abs(to_numpy(nn.mean_loss(loss, outputs, 0.9 * predicted)[1])).max() > 1e-3


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "decisions", "scores"),
    [
        (nn.BinaryCrossEntropy(), [[0.1], [-0.1], [3.0]], [[1], [1], [0]], [1, 0, 1], [1, 0, 0]),
        (nn.BinaryCrossEntropy(), [[2, -2], [2, 2]], [[1, 0], [1, 0]], [[1, 0], [1, 1]], [1, 0.5]),
        (nn.ProbabilityCrossEntropy(), [[0.6], [0.4]], [[1], [1]], [1, 0], [1, 0]),
        (nn.ProbabilityCrossEntropy(), [[0.9, 0.2]], [[1, 1]], [[1, 0]], [0.5]),
        (nn.SoftmaxCrossEntropy(), [[1, 3, 2], [5, 0, 1]], [[0, 1, 0], [0, 0, 1]], [1, 0], [1, 0]),
        (nn.SoftmaxCrossEntropy(), [[1, 3, 2], [5, 0, 1]], [1, 2], [1, 0], [1, 0]),
    ],
)
def test_decisions(loss, outputs, targets, decisions, scores, backend, finest):
    kind = "int32" if np.ndim(targets) == 1 else finest
    outputs = backend.asarray(np.asarray(outputs), finest)
    np.testing.assert_array_equal(to_numpy(loss.decide(outputs)), decisions)
    correct = loss.correct(outputs, backend.asarray(np.asarray(targets), kind))
    np.testing.assert_array_equal(to_numpy(correct), scores)


def test_only_losses_of_classes_classify():
    classifying = {type(case.loss) for case in LOSSES if case.loss.classifies}
    assert classifying == {
        nn.BinaryCrossEntropy,
        nn.ProbabilityCrossEntropy,
        nn.SoftmaxCrossEntropy,
    }


def test_smoothing_changes_neither_predictions_nor_scores():
    plain, smoothed = nn.BinaryCrossEntropy(), nn.BinaryCrossEntropy(0.6)
    outputs, targets = np.asarray([[0.3], [-0.3], [2.0]]), np.asarray([[1.0], [1.0], [0.0]])
    np.testing.assert_array_equal(smoothed.link(outputs), plain.link(outputs))
    np.testing.assert_array_equal(smoothed.decide(outputs), [1, 0, 1])
    np.testing.assert_array_equal(smoothed.correct(outputs, targets), [1.0, 0.0, 0.0])

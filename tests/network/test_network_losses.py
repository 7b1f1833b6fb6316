"""What a loss says to its user: predictions, decisions and scores, against numbers by hand."""

import numpy as np
import pytest
from network_cases import LOSSES, TOLERANCE, move, relative_error

from anyback_nn.array_api import to_numpy
from anyback_nn.network.losses import (
    BinaryCrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    ProbabilityCrossEntropy,
    SoftmaxCrossEntropy,
    mean_loss,
)

THIRD = 1 / 3


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "value", "gradient"),
    [
        (MeanSquaredError(), [[3.0, 0.0]], [[1.0, 1.0]], 2.5, [[2.0, -1.0]]),
        (MeanAbsoluteError(), [[3.0, 0.0]], [[1.0, 1.0]], 1.5, [[0.5, -0.5]]),
        (Huber(), [[3.0, 0.5]], [[1.0, 1.0]], (1.5 + 0.125) / 2, [[0.5, -0.25]]),
        (Huber(4.0), [[3.0]], [[1.0]], 2.0, [[2.0]]),
        (Poisson(), [[np.log(2.0)]], [[2.0]], 0.0, [[0.0]]),
        (Poisson(), [[0.0]], [[0.0]], 1.0, [[1.0]]),
        (BinaryCrossEntropy(), [[0.0]], [[1.0]], np.log(2), [[-0.5]]),
        (BinaryCrossEntropy(), [[np.log(3)]], [[0.0]], np.log(4), [[0.75]]),
        # With s = 0.4 a yes is 0.8: log(4) - 0.8 log(3), and 0.75 - 0.8.
        (BinaryCrossEntropy(0.4), [[np.log(3)]], [[1.0]], np.log(4 / 3**0.8), [[-0.05]]),
        (BinaryCrossEntropy(0.4), [[np.log(3)]], [[0.0]], np.log(4 / 3**0.2), [[0.55]]),
        (BinaryCrossEntropy(1.0), [[0.0]], [[1.0]], np.log(2), [[0.0]]),
        (ProbabilityCrossEntropy(), [[0.25]], [[1.0]], np.log(4), [[-4.0]]),
        (ProbabilityCrossEntropy(), [[0.25]], [[0.0]], np.log(4 / 3), [[4 / 3]]),
        (SoftmaxCrossEntropy(), [[0.0, 0.0, 0.0]], 1, np.log(3), [[THIRD, THIRD - 1, THIRD]]),
        (SoftmaxCrossEntropy(0.5), [[0.0, 0.0]], 0, np.log(2), [[-0.25, 0.25]]),
        (SoftmaxCrossEntropy(1.0), [[5.0, 5.0]], 0, np.log(2), [[0.0, 0.0]]),
    ],
)
def test_values_by_hand(loss, outputs, targets, value, gradient, backend, finest):
    classes = np.asarray([targets], dtype="int32")
    targets = classes if isinstance(targets, int) else np.asarray(targets)
    numbers = move((np.asarray(outputs), targets), backend, finest)
    actual, d_outputs = mean_loss(loss, *numbers)
    np.testing.assert_allclose(to_numpy(actual), value, atol=TOLERANCE[finest])
    np.testing.assert_allclose(to_numpy(d_outputs), gradient, atol=TOLERANCE[finest])


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (MeanSquaredError(), [[1.0, -2.0]]),
        (MeanAbsoluteError(), [[1.0, -2.0]]),
        (Huber(), [[1.0, -2.0]]),
        (Poisson(), [[np.log(2.0), 0.0]]),
        (BinaryCrossEntropy(), [[0.0, 10.0]]),
        (ProbabilityCrossEntropy(), [[0.25, 0.75]]),
        (SoftmaxCrossEntropy(), [[np.log(2.0), 0.0]]),
    ],
)
def test_link_of_the_outputs_is_the_target_of_no_error(loss, outputs, backend, finest):
    """The gradient vanishes where the target is the prediction, and nowhere near it."""
    outputs = backend.asarray(np.asarray(outputs), finest)
    predicted = loss.link(outputs)
    assert abs(to_numpy(mean_loss(loss, outputs, predicted)[1])).max() < TOLERANCE[finest]
    assert abs(to_numpy(mean_loss(loss, outputs, 0.9 * predicted)[1])).max() > 1e-3


@pytest.mark.parametrize(
    ("loss", "outputs", "linked"),
    [
        (MeanSquaredError(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (Poisson(), [[np.log(2.0), 0.0]], [[2.0, 1.0]]),
        (BinaryCrossEntropy(), [[0.0, np.log(3.0)]], [[0.5, 0.75]]),
        (ProbabilityCrossEntropy(), [[0.25, 0.75]], [[0.25, 0.75]]),
        (SoftmaxCrossEntropy(), [[np.log(3.0), 0.0]], [[0.75, 0.25]]),
    ],
)
def test_link(loss, outputs, linked, backend, finest):
    result = loss.link(backend.asarray(np.asarray(outputs), finest))
    assert relative_error(result, np.asarray(linked)) < TOLERANCE[finest]


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "decisions", "scores"),
    [
        (BinaryCrossEntropy(), [[0.1], [-0.1], [3.0]], [[1], [1], [0]], [1, 0, 1], [1, 0, 0]),
        (BinaryCrossEntropy(), [[2, -2], [2, 2]], [[1, 0], [1, 0]], [[1, 0], [1, 1]], [1, 0.5]),
        (ProbabilityCrossEntropy(), [[0.6], [0.4]], [[1], [1]], [1, 0], [1, 0]),
        (ProbabilityCrossEntropy(), [[0.9, 0.2]], [[1, 1]], [[1, 0]], [0.5]),
        (SoftmaxCrossEntropy(), [[1, 3, 2], [5, 0, 1]], [[0, 1, 0], [0, 0, 1]], [1, 0], [1, 0]),
        (SoftmaxCrossEntropy(), [[1, 3, 2], [5, 0, 1]], [1, 2], [1, 0], [1, 0]),
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
    assert classifying == {BinaryCrossEntropy, ProbabilityCrossEntropy, SoftmaxCrossEntropy}


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_wrong_delta(delta):
    with pytest.raises(ValueError, match=f"Huber: expected delta above 0, got {delta}"):
        Huber(delta)


@pytest.mark.parametrize("loss", [BinaryCrossEntropy, SoftmaxCrossEntropy])
@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_wrong_smoothing(smoothing, loss):
    text = f"{loss.__name__}: expected label_smoothing from 0 to 1, got {smoothing}"
    with pytest.raises(ValueError, match=text):
        loss(smoothing)


def test_smoothing_changes_neither_predictions_nor_scores():
    plain, smoothed = BinaryCrossEntropy(), BinaryCrossEntropy(0.6)
    outputs, targets = np.asarray([[0.3], [-0.3], [2.0]]), np.asarray([[1.0], [1.0], [0.0]])
    np.testing.assert_array_equal(smoothed.link(outputs), plain.link(outputs))
    np.testing.assert_array_equal(smoothed.decide(outputs), [1, 0, 1])
    np.testing.assert_array_equal(smoothed.correct(outputs, targets), [1.0, 0.0, 0.0])

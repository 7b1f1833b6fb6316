"""Losses of extreme outputs are finite, and keep their digits.

Warnings are errors in this suite, so on NumPy an overflow that is hidden afterwards fails as well.
test_network_mpmath.py has the activations.
"""

import numpy as np
import pytest
from network_cases import TOLERANCE, move, relative_error

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import assert_close


def finite(tree):
    return all(np.all(np.isfinite(to_numpy(x))) for x in tree)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "value", "gradient"),
    [
        (nn.BinaryCrossEntropy(), [[1e4]], [[1.0]], 0.0, [[0.0]]),
        (nn.BinaryCrossEntropy(), [[1e4]], [[0.0]], 1e4, [[1.0]]),
        (nn.BinaryCrossEntropy(), [[-1e4]], [[1.0]], 1e4, [[-1.0]]),
        (nn.BinaryCrossEntropy(), [[-1e4]], [[0.5]], 5e3, [[-0.5]]),
        (nn.SoftmaxCrossEntropy(), [[1e4, -1e4]], [[1.0, 0.0]], 0.0, [[0.0, 0.0]]),
        (nn.SoftmaxCrossEntropy(), [[1e4, -1e4]], [[0.0, 1.0]], 2e4, [[1.0, -1.0]]),
        (nn.SoftmaxCrossEntropy(), [[1e4, 1e4]], [[0.5, 0.5]], np.log(2), [[0.0, 0.0]]),
        (nn.SoftmaxCrossEntropy(0.5), [[1e4, -1e4]], [[1.0, 0.0]], 5e3, [[0.25, -0.25]]),
        (nn.MeanSquaredError(), [[1e4]], [[-1e4]], 4e8, [[4e4]]),
        (nn.MeanAbsoluteError(), [[-1e4]], [[1e4]], 2e4, [[-1.0]]),
        (nn.Huber(2.0), [[-1e4]], [[1e4]], 39998.0, [[-2.0]]),
        (nn.Poisson(), [[-1e4]], [[0.0]], 0.0, [[0.0]]),
        (nn.Poisson(), [[-1e4]], [[2.0]], 2e4 + 2 * np.log(2) - 2, [[-2.0]]),
        (nn.Poisson(), [[80.0]], [[0.0]], np.exp(80.0), [[np.exp(80.0)]]),
        # A count of 0, and labels that are smoothed until nothing is left of them.
        (nn.Poisson(), [[0.0]], [[0.0]], 1.0, [[1.0]]),
        (nn.BinaryCrossEntropy(1.0), [[0.0]], [[1.0]], np.log(2), [[0.0]]),
        (nn.SoftmaxCrossEntropy(1.0), [[5.0, 5.0]], [[1.0, 0.0]], np.log(2), [[0.0, 0.0]]),
    ],
)
def test_losses_at_their_limits(loss, outputs, targets, value, gradient, backend, dtype):
    numbers = (np.asarray(outputs), np.asarray(targets))
    actual, d_outputs = nn.mean_loss(loss, *move(numbers, backend, dtype))
    # Of logits of 1e4, float32 keeps three digits after the point.
    tolerance = {"float32": 1e-3, "float64": 1e-11}[dtype]
    assert_close(actual, float(value), rtol=1e-6, atol=tolerance)
    assert relative_error(d_outputs, np.asarray(gradient)) < 1e-5


@pytest.mark.parametrize(
    ("probability", "target", "sign"),
    [
        (0.0, 0.0, 1),
        (0.0, 0.5, -1),
        (0.0, 1.0, -1),
        (1e-30, 0.0, 1),
        (1e-30, 1.0, -1),
        (1.0, 0.0, 1),
        (1.0, 0.5, 1),
        (1.0, 1.0, -1),
    ],
)
def test_probabilities_rounded_to_0_or_1(probability, target, sign, backend, dtype):
    numbers = (np.asarray([[probability]]), np.asarray([[target]]))
    value, d_outputs = nn.mean_loss(nn.ProbabilityCrossEntropy(), *move(numbers, backend, dtype))
    assert finite([value, d_outputs])
    assert np.sign(to_numpy(d_outputs)[0, 0]) == sign


def test_an_output_of_one_of_many_classes_is_never_lost(backend, dtype):
    """The smallest loss that can be told from zero: one class is 20 above 999 others."""
    outputs = np.zeros((1, 1000))
    outputs[0, 7] = 20.0
    targets = np.asarray([7], dtype=np.int32)
    value, _ = nn.mean_loss(nn.SoftmaxCrossEntropy(), *move((outputs, targets), backend, dtype))
    expected = np.log1p(999 * np.exp(-20.0))
    tolerance = {"float32": 20 * 2**-23, "float64": 30 * 2**-52}[dtype]
    assert abs(float(to_numpy(value)) - expected) <= tolerance


@pytest.mark.parametrize(
    ("loss", "output", "target", "exact"),
    [
        (nn.BinaryCrossEntropy(), 20.0, 1.0, lambda o: np.log1p(np.exp(-o))),
        (nn.ProbabilityCrossEntropy(), 1e-6, 0.0, lambda o: -np.log1p(-o)),
    ],
    ids=["logit", "probability"],
)
def test_a_small_loss_keeps_its_digits(loss, output, target, exact, backend, dtype):
    numbers = move((np.asarray([[output]]), np.asarray([[target]])), backend, dtype)
    value, _ = nn.mean_loss(loss, *numbers)
    assert relative_error(value, exact(np.asarray(output))) < TOLERANCE[dtype]

"""Targets: the forms that each loss takes, and what it says about those that it does not."""

import numpy as np
import pytest
from network_cases import relative_error

from anyback_nn.array_api import to_numpy
from anyback_nn.errors import DataError, ShapeError
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

REGRESSION = [MeanSquaredError(), MeanAbsoluteError(), Huber(), Poisson()]
LABELS = [BinaryCrossEntropy(), ProbabilityCrossEntropy()]
CLASSES = SoftmaxCrossEntropy()


def check(loss, targets, n_out, backend):
    return to_numpy(loss.check_targets(backend.asarray(targets), n_out))


@pytest.mark.parametrize("kind", ["float32", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("loss", [*REGRESSION, *LABELS], ids=repr)
def test_one_output(loss, shape, kind, backend):
    targets = np.asarray([0, 1, 1, 0]).astype(kind)
    checked = check(loss, targets.reshape(shape), 1, backend)
    np.testing.assert_array_equal(checked, targets[:, None])


@pytest.mark.parametrize("loss", [*REGRESSION, *LABELS], ids=repr)
def test_several_outputs(loss, backend):
    targets = np.asarray([[0.0, 1.0], [0.25, 0.5]], dtype="float32")
    np.testing.assert_array_equal(check(loss, targets, 2, backend), targets)


@pytest.mark.parametrize("kind", ["int32", "uint32", "int16", "uint16", "int8", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_classes(shape, kind, backend):
    targets = np.asarray([0, 1, 43, 1]).astype(kind)
    checked = check(CLASSES, targets.reshape(shape), 300, backend)
    np.testing.assert_array_equal(checked, [0, 1, 43, 1])
    assert checked.dtype == np.int32


def test_classes_that_are_booleans(backend):
    checked = check(CLASSES, np.asarray([True, False]), 2, backend)
    np.testing.assert_array_equal(checked, [1, 0])
    assert checked.dtype == np.int32


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16"])
def test_narrow_integers_name_one_class_of_many(kind, backend):
    """300 classes cannot be counted in 8 bits: 43 and 299 would be one class."""
    outputs = np.zeros((2, 300), dtype="float32")
    outputs[:, 43] = 3.0
    targets = CLASSES.check_targets(backend.asarray(np.asarray([43, 7]).astype(kind)), 300)
    _, d_outputs = mean_loss(CLASSES, backend.asarray(outputs), targets)
    powers = np.exp(outputs.astype("float64"))
    expected = powers / powers.sum(axis=1, keepdims=True)
    expected[0, 43] -= 1
    expected[1, 7] -= 1
    assert relative_error(d_outputs, expected / 2) < 1e-5


@pytest.mark.parametrize("kind", ["float32", "int32", "uint8", "bool"])
def test_one_hot(kind, backend):
    checked = check(CLASSES, np.eye(3).astype(kind), 3, backend)
    np.testing.assert_array_equal(checked, np.eye(3))
    assert checked.dtype == np.float32


def test_soft_classes_of_one_output(backend):
    np.testing.assert_array_equal(
        check(CLASSES, np.ones((2, 1), "float32"), 1, backend), [[1], [1]]
    )


@pytest.mark.parametrize(
    ("loss", "targets", "n_out", "parts"),
    [
        *((loss, [1.0, 0.0], 2, ("2 outputs", "(n_samples, 2)", "(2, 1)")) for loss in REGRESSION),
        *((loss, [[1.0, 0.0]], 1, ("1 outputs", "or (n_samples,)")) for loss in LABELS),
        (MeanSquaredError(), [[[1.0]]], 1, ("(n_samples, 1)", "(1, 1, 1)")),
        (MeanSquaredError(), 1.0, 1, ("(n_samples, 1)", "()")),
        (CLASSES, [[1.0, 0.0]], 3, ("3 outputs", "(n_samples, 3)", "(1, 2)")),
        (CLASSES, 1.0, 3, ("3 outputs", "()")),
    ],
)
def test_wrong_shapes(loss, targets, n_out, parts, backend):
    with pytest.raises(ShapeError) as caught:
        check(loss, np.asarray(targets, dtype="float32"), n_out, backend)
    for part in (type(loss).__name__, *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "targets", "part"),
    [
        *((loss, [np.nan], "NaN") for loss in REGRESSION + LABELS),
        *((loss, [np.inf], "NaN") for loss in REGRESSION + LABELS),
        (Poisson(), [3.0, -1.0], "counts, 0 or greater"),
        *((loss, [0.0, 1.5], "targets from 0 to 1") for loss in LABELS),
        *((loss, [-0.5], "targets from 0 to 1") for loss in LABELS),
        (CLASSES, [0.0, 0.5], "class indices (integers)"),
        (CLASSES, [0.0, np.nan], "class indices (integers)"),
        (CLASSES, [0.0, 3.0], "class indices from 0 to 2, because the network has 3 outputs"),
        (CLASSES, [0.0, -1.0], "class indices from 0 to 2"),
        (CLASSES, [0.0, np.inf], "class indices from 0 to 2"),
        (CLASSES, [0.0, 2.0**32 + 2**10], "class indices from 0 to 2"),
        (CLASSES, [[1.5, -0.5, 0.0]], "class probabilities, 0 or greater"),
        (CLASSES, [[0.5, 0.25, 0.0]], "class probabilities with the sum 1"),
        (CLASSES, [[np.nan, 0.25, 0.0]], "NaN"),
    ],
)
def test_wrong_numbers(loss, targets, part, backend):
    n_out = 3 if loss is CLASSES else 1
    with pytest.raises(DataError) as caught:
        check(loss, np.asarray(targets, dtype="float32"), n_out, backend)
    assert type(loss).__name__ in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "n_out"),
    [([0, 3], 3), ([0, -1], 3), ([0, 200], 100)],
)
def test_wrong_integers(targets, n_out, backend):
    with pytest.raises(DataError, match=f"class indices from 0 to {n_out - 1}"):
        check(CLASSES, np.asarray(targets, dtype="int32"), n_out, backend)


@pytest.mark.parametrize("loss", [*REGRESSION, *LABELS])
@pytest.mark.parametrize("targets", [["a", "b"], [1j, 2.0]])
def test_what_is_not_a_number(loss, targets):
    with pytest.raises(DataError, match="expected numeric targets, got"):
        loss.check_targets(np.asarray(targets), 1)


@pytest.mark.parametrize("targets", [["cat", "dog"], [1j, 2.0]])
def test_labels_that_are_not_numbered(targets):
    with pytest.raises(DataError, match=r"class indices \(integers\), got .* numpy.unique"):
        CLASSES.check_targets(np.asarray(targets), 3)


@pytest.mark.parametrize(
    ("loss", "targets", "n_out"),
    [
        *((loss, [np.nan], 1) for loss in REGRESSION + LABELS),
        (Poisson(), [-1.0], 1),
        *((loss, [1.5], 1) for loss in LABELS),
        (CLASSES, [7.0], 3),
        (CLASSES, [0.5], 3),
        (CLASSES, [[0.5, -0.5, 0.5]], 3),
    ],
)
def test_form_alone(loss, targets, n_out, backend):
    """Without a look at the values, only the shape and the kind of numbers count."""
    targets = backend.asarray(targets, "float32")
    checked = to_numpy(loss.check_targets(targets, n_out, values=False))
    assert checked.shape[0] == 1
    with pytest.raises(DataError):
        loss.check_targets(targets, n_out)
    with pytest.raises(ShapeError):
        loss.check_targets(targets[None, None, ...], n_out, values=False)

"""Targets: the forms that each loss takes, and the errors for all others."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

REGRESSION = [nn.MeanSquaredError(), nn.MeanAbsoluteError(), nn.Huber(), nn.Poisson()]
LABELS = [nn.BinaryCrossEntropy(), nn.ProbabilityCrossEntropy()]
CLASSES = nn.SoftmaxCrossEntropy()


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


@pytest.mark.parametrize(
    "kind", ["int32", "uint32", "int16", "uint16", "int8", "uint8", "float32", "bool"]
)
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_classes(shape, kind, backend):
    """Also of 300 classes, which cannot be counted in 8 bits."""
    targets = np.asarray([0, 1, 43, 1]).astype(kind)
    checked = check(CLASSES, targets.reshape(shape), 300, backend)
    np.testing.assert_array_equal(checked, targets.astype("int32"))
    assert checked.dtype == np.int32


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
        (nn.MeanSquaredError(), [[[1.0]]], 1, ("(n_samples, 1)", "(1, 1, 1)")),
        (nn.MeanSquaredError(), 1.0, 1, ("(n_samples, 1)", "()")),
        (CLASSES, [[1.0, 0.0]], 3, ("3 outputs", "(n_samples, 3)", "(1, 2)")),
        (CLASSES, 1.0, 3, ("3 outputs", "()")),
    ],
)
def test_wrong_shapes(loss, targets, n_out, parts, backend):
    with pytest.raises(nn.ShapeError) as caught:
        check(loss, np.asarray(targets, dtype="float32"), n_out, backend)
    for part in (type(loss).__name__, *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "targets", "part"),
    [
        *((loss, [np.nan], "NaN") for loss in REGRESSION + LABELS),
        *((loss, [np.inf], "NaN") for loss in REGRESSION + LABELS),
        (nn.Poisson(), [3.0, -1.0], "counts, 0 or greater"),
        *((loss, [0.0, 1.5], "targets from 0 to 1") for loss in LABELS),
        *((loss, [-0.5], "targets from 0 to 1") for loss in LABELS),
        (CLASSES, [0.0, 0.5], "class indices (integers)"),
        (CLASSES, [0.0, np.nan], "class indices (integers)"),
        (CLASSES, [0.0, 3.0], "class indices from 0 to 2, because the network has 3 outputs"),
        (CLASSES, [0.0, -1.0], "class indices from 0 to 2"),
        (CLASSES, [0.0, np.inf], "class indices from 0 to 2"),
        *((CLASSES, [0, wrong], "class indices from 0 to 2") for wrong in (3, -1, 200)),
        (CLASSES, [0.0, 2.0**32 + 2**10], "class indices from 0 to 2"),
        (CLASSES, [[1.5, -0.5, 0.0]], "class probabilities, 0 or greater"),
        (CLASSES, [[0.5, 0.25, 0.0]], "class probabilities with the sum 1"),
        (CLASSES, [[np.nan, 0.25, 0.0]], "NaN"),
    ],
)
def test_wrong_numbers(loss, targets, part, backend):
    n_out = 3 if loss is CLASSES else 1
    kind = "int32" if isinstance(targets[0], int) else "float32"
    with pytest.raises(nn.DataError) as caught:
        check(loss, np.asarray(targets, dtype=kind), n_out, backend)
    assert type(loss).__name__ in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize("targets", [["cat", "dog"], [1j, 2.0]])
def test_dtypes_that_are_not_numeric(targets):
    for loss, n_out in [*((loss, 1) for loss in (*REGRESSION, *LABELS)), (CLASSES, 3)]:
        with pytest.raises(nn.DataError, match=r"expected numeric targets, got .* numpy.unique"):
            loss.check_targets(np.asarray(targets), n_out)


@pytest.mark.parametrize(
    ("loss", "targets", "n_out"),
    [
        *((loss, [np.nan], 1) for loss in REGRESSION + LABELS),
        (nn.Poisson(), [-1.0], 1),
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
    with pytest.raises(nn.DataError):
        loss.check_targets(targets, n_out)
    with pytest.raises(nn.ShapeError):
        loss.check_targets(targets[None, None, ...], n_out, values=False)

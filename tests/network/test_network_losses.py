"""Predictions, decisions and scores of losses, against numbers by hand."""

import numpy as np
import pytest
from network_cases import LOSSES, TOLERANCE, relative_error
from sklearn.metrics import r2_score

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import assert_close, check_gradients


@pytest.mark.parametrize(
    ("loss", "outputs", "linked"),
    [
        (nn.MeanSquaredError(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (nn.MeanAbsoluteError(), [[1.0, -2.0]], [[1.0, -2.0]]),
        (nn.Quantile(), [[1.0, -2.0]], [[1.0, -2.0]]),
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
    losses = [getattr(case.loss, "loss", case.loss) for case in LOSSES if case.loss.classifies]
    assert {type(loss) for loss in losses} == {
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


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_quantile_loss_is_the_pinball_loss_of_scikit_learn(quantile, backend, finest):
    from sklearn.metrics import mean_pinball_loss

    rng = np.random.default_rng(0)
    outputs, targets, weights = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), np.ones(20)
    moved = (backend.asarray(x, finest) for x in (outputs, targets, weights))
    value, _ = nn.mean_loss(nn.Quantile(quantile), *moved)
    expected = mean_pinball_loss(targets, outputs, alpha=quantile)
    assert float(to_numpy(value)) == pytest.approx(expected, rel=10 * TOLERANCE[finest])


def test_a_quantile_is_fitted(backend):
    y = np.random.default_rng(0).exponential(size=400)
    for quantile in (0.1, 0.8):
        model = nn.Model(nn.Dense(1), loss=nn.Quantile(quantile), backend=backend)
        rate = nn.CosineDecay(0.1, epochs=60)
        model.fit(np.ones((400, 1)), y, optimizer=nn.Adam(rate), epochs=60, batch_size=None)
        predicted = model.predict(np.ones((1, 1)))[0, 0]
        assert np.mean(y < predicted) == pytest.approx(quantile, abs=0.02)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0, 90])
def test_a_quantile_is_between_0_and_1(quantile):
    with pytest.raises(ValueError, match="Quantile: expected quantile above 0 and below 1"):
        nn.Quantile(quantile)


# Targets that are partly missing -----------------------------------------------------------------


KNOWN = np.asarray([[1.0, np.nan, 0.0], [np.nan, np.nan, 1.0], [0.0, 1.0, 1.0]])
SINGLE = [
    *(nn.MeanSquaredError(), nn.MeanAbsoluteError(), nn.Quantile(0.3), nn.Huber(0.5)),
    *(nn.Poisson(), nn.BinaryCrossEntropy(), nn.BinaryCrossEntropy(0.2)),
]


@pytest.mark.parametrize("loss", SINGLE, ids=repr)
@pytest.mark.parametrize("by_target", [False, True], ids=["by sample", "by target"])
def test_a_loss_of_known_targets_is_the_mean_over_those(loss, by_target, backend, finest):
    """As computed sample by sample, with the known outputs alone."""
    outputs, known = np.random.default_rng(0).normal(size=(3, 3)), ~np.isnan(KNOWN)
    counts = known.sum(axis=1)
    weights = counts / counts.mean() if by_target else np.ones(3)
    values, gradient = [], np.zeros((3, 3))
    for row, (o, t, k) in enumerate(zip(outputs, KNOWN, known)):
        value, slope = nn.mean_loss(loss, o[None, k], t[None, k])
        values.append(float(value) * weights[row] / 3)
        gradient[row, k] = slope[0] * weights[row] / 3
    moved = (backend.asarray(x, finest) for x in (outputs, KNOWN, weights))
    value, d_outputs = nn.mean_loss(nn.KnownTargets(loss), *moved)
    assert float(to_numpy(value)) == pytest.approx(sum(values), rel=10 * TOLERANCE[finest])
    assert relative_error(d_outputs, gradient) < TOLERANCE[finest]
    if by_target:
        # Every known target counts the same.
        each = nn.mean_loss(loss, outputs[known][:, None], KNOWN[known][:, None])[0]
        assert float(each) == pytest.approx(sum(values), rel=1e-12)


@pytest.mark.parametrize("loss", SINGLE, ids=repr)
def test_without_missing_targets_it_is_the_loss_itself(loss, backend, finest):
    outputs = backend.asarray(np.random.default_rng(0).normal(size=(4, 3)), finest)
    targets = backend.asarray(np.random.default_rng(1).integers(0, 2, (4, 3)), finest)
    expected, ours = (
        nn.mean_loss(other, outputs, targets) for other in (loss, nn.KnownTargets(loss))
    )
    for array, other in zip(ours, expected):
        assert relative_error(array, to_numpy(other)) < TOLERANCE[finest]


@pytest.mark.parametrize("loss", SINGLE, ids=repr)
def test_gradients_of_known_targets(loss, backend, float64):
    targets = np.tile(KNOWN, (2, 1))
    check_gradients(nn.KnownTargets(loss), (6, 3), backend=backend, dtype=float64, targets=targets)


def test_training_on_known_targets(backend):
    """What is not known has no part in it: outputs are learned as if each were alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x @ rng.normal(size=(2, 3))
    y[rng.uniform(size=y.shape) < 0.4] = np.nan
    y[np.isnan(y).all(axis=1), 0] = 0.5
    known = ~np.isnan(y)
    model = nn.Model(nn.Dense(3), loss=nn.KnownTargets(nn.MeanSquaredError()), backend=backend)
    options = {"optimizer": nn.Adam(0.05), "epochs": 40, "validation": (x, y)}
    model.fit(x, y, sample_weight=known.sum(axis=1), **options)
    scores = model.evaluate(x, y, sample_weight=known.sum(axis=1))
    error = model.predict(x) - y
    assert scores["loss"] == pytest.approx(np.mean(error[known] ** 2), rel=1e-4)
    assert scores["absolute_error"] == pytest.approx(np.mean(np.abs(error[known])), rel=1e-4)
    assert np.isfinite(model.history["validation_r2"]).all()
    shares = []
    weights = known.sum(axis=1)
    for column in range(3):
        rows = known[:, column]
        options = {"sample_weight": weights[rows]}
        shares.append(r2_score(y[rows, column], model.predict(x)[rows, column], **options))
    assert scores["r2"] == pytest.approx(np.mean(shares), rel=1e-4)


def test_accuracy_of_known_labels(backend):
    loss = nn.KnownTargets(nn.BinaryCrossEntropy())
    outputs = np.asarray([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
    correct = loss.correct(backend.asarray(outputs, "float32"), backend.asarray(KNOWN, "float32"))
    assert_close(correct, [0.5, 1.0, 1.0 / 3.0], rtol=1e-6)
    model = nn.Model(nn.Dense(3), loss=loss, backend=backend)
    model.fit(KNOWN[:, [2]], KNOWN, epochs=1)
    assert model.loss.classifies
    assert set(model.predict_classes(KNOWN[:, [2]]).ravel()) <= {0, 1}


def test_a_model_of_known_targets_is_read_again(tmp_path):
    loss = nn.KnownTargets(nn.Huber(0.5))
    nn.Model(nn.Dense(3), loss=loss).build(2).save(tmp_path / "model.safetensors")
    assert nn.Model.load(tmp_path / "model.safetensors").loss == loss


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ([[np.nan, np.nan], [1.0, 1.0]], "at least one target that is not NaN in each row"),
        ([[np.inf, np.nan], [1.0, 1.0]], "without NaN and infinite"),
    ],
)
def test_rows_without_any_known_target_are_refused(targets, text, backend):
    loss = nn.KnownTargets(nn.MeanSquaredError())
    with pytest.raises(nn.DataError, match=text):
        loss.check_targets(backend.asarray(np.asarray(targets), "float32"), 2)
    labels = nn.KnownTargets(nn.BinaryCrossEntropy())
    with pytest.raises(nn.DataError, match="from 0 to 1"):
        labels.check_targets(backend.asarray(np.asarray([[2.0, np.nan]]), "float32"), 2)


@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy(), nn.MeanSquaredError, None])
def test_only_losses_that_are_means_over_outputs_can_have_missing_targets(loss):
    with pytest.raises(TypeError, match="KnownTargets: expected a loss that is a mean"):
        nn.KnownTargets(loss)

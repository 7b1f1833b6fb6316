"""Learning curves are the rows of the history."""

import csv

import numpy as np
import pytest

from anyback_nn.plotting import LearningCurvesDisplay
from anyback_nn.sklearn import MLPClassifier


def test_the_lines_are_the_columns_of_the_history(moons_model, tmp_path):
    display = LearningCurvesDisplay.from_estimator(moons_model)
    moons_model.history.to_csv(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(display.curves) == {"loss", "accuracy"}
    for (name, part), line in display.lines_.items():
        prefix = {"training": "train", "validation": "validation"}[part]
        expected = [float(row[f"{prefix}_{name}"]) for row in rows]
        np.testing.assert_array_equal(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(rows) + 1))
        assert line.get_label() == part
    losses = [float(row["validation_loss"]) for row in rows]
    assert display.best_epoch == 1 + losses.index(min(losses))


HISTORY = [
    {"epoch": 4, "train_loss": 0.9, "validation_loss": 0.8, "validation_f1": 0.1, "seconds": 1.0},
    {"epoch": 5, "train_loss": 0.5, "validation_loss": float("nan"), "validation_f1": 0.9},
    {"epoch": 6, "train_loss": 0.4, "validation_loss": 0.6, "validation_f1": 0.5},
]


@pytest.mark.parametrize(
    ("options", "best"),
    [({}, 6), ({"monitor": "validation_f1", "mode": "max"}, 5), ({"monitor": "train_loss"}, 6)],
)
def test_the_best_epoch_is_marked(options, best):
    display = LearningCurvesDisplay.from_history(HISTORY, **options)
    assert display.best_epoch == best
    for panel in display.axes_:
        assert any(list(line.get_xdata()) == [best, best] for line in panel.lines)


@pytest.mark.parametrize(("first", "scale"), [(30.0, "log"), (3.0, "linear"), (-30.0, "linear")])
def test_a_first_loss_that_dwarfs_the_others_has_a_logarithmic_axis(first, scale):
    losses = [first, 0.9, 0.8, 0.7]
    rows = [{"epoch": i, "train_loss": loss} for i, loss in enumerate(losses, 1)]
    (panel,) = LearningCurvesDisplay.from_history(rows).axes_
    assert panel.get_yscale() == scale


def test_without_validation_no_epoch_is_marked():
    display = LearningCurvesDisplay.from_history([{"epoch": 1, "train_loss": 1.0}])
    assert display.best_epoch is None
    assert len(display.axes_) == len(display.axes_[0].lines) == 1


@pytest.mark.parametrize(
    ("history", "options", "message"),
    [([], {}, "history is empty"), (HISTORY, {"monitor": "f1"}, "expected one of epoch, train_lo")],
)
def test_what_cannot_be_drawn_is_refused(history, options, message):
    with pytest.raises(ValueError, match=message):
        LearningCurvesDisplay.from_history(history, **options)


def test_an_estimator_has_its_curves(moons):
    estimator = MLPClassifier((4,), max_iter=5, early_stopping=True, random_state=0, tol=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(*moons)
    display = LearningCurvesDisplay.from_estimator(estimator)
    np.testing.assert_allclose(display.curves["loss"]["training"], estimator.loss_curve_)
    scores = estimator.validation_scores_
    np.testing.assert_allclose(display.curves["score"]["validation"], scores)
    best = {"validation_loss": int(np.argmin(display.curves["loss"]["validation"])) + 1}
    assert display.best_epoch == best.get(display.monitor, int(np.argmax(scores)) + 1)

"""The numbers of a report are those that scikit-learn computes from the predictions."""

import re

import numpy as np
import pytest
from report_subjects import train, write_table
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    r2_score,
    roc_auc_score,
)

from anyback_nn.report.classes import (
    describe_classes,
    draw_confusion,
    draw_curves,
    find_ranked,
    list_confused,
)
from anyback_nn.report.importance import _take_columns, measure_importance
from anyback_nn.report.mistakes import describe_mistakes
from anyback_nn.report.values import describe_values


@pytest.fixture(scope="module")
def digits():
    return train("digits", epochs=2)


@pytest.fixture(scope="module")
def blobs():
    return train("blobs", epochs=2)


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    return train(write_table(tmp_path_factory.mktemp("t")), target="price", drop="label", epochs=9)


def texts(picture):
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)


def test_the_confusion_matrix(digits):
    predicted = digits.predicted.argmax(axis=1)
    expected = confusion_matrix(digits.actual, predicted)
    picture = draw_confusion(digits.actual, predicted, list(digits.classes))
    cells = [int(text) for text in texts(picture) if text.isdecimal()]
    # Each class is on two axes.
    assert sorted(cells) == sorted([*expected.ravel().tolist(), *range(10), *range(10)])


def test_the_areas_below_the_curves(digits):
    _, roc, recall, _ = describe_classes(digits).pictures
    for picture, measure in (roc, roc_auc_score), (recall, average_precision_score):
        shown = [text for text in texts(picture) if re.fullmatch(r"\d \d\.\d{3}", text)]
        expected = [
            f"{c} {measure(digits.actual == c, digits.predicted[:, c]):.3f}" for c in range(10)
        ]
        assert shown == expected


def test_two_classes_have_one_curve_that_of_the_second():
    moons = train("moons", epochs=2)
    _, roc, _, _ = describe_classes(moons).pictures
    area = roc_auc_score(moons.actual, moons.predicted[:, 1])
    assert f"1 (AUC {area:.3f})" in texts(roc)


def test_a_curve_that_is_all_wrong_has_no_area():
    actual = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.8, 0.2], [0.9, 0.1]])
    roc, _ = draw_curves(actual, probabilities, ["no", "yes"], [1])
    assert "yes (AUC 0.000)" in texts(roc)


def test_names_that_begin_with_an_underscore_are_in_the_legend():
    actual, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    roc, _ = draw_curves(actual, np.stack([1 - p, p], axis=1), ["_no", "_yes"], [1])
    assert "_yes (AUC 0.750)" in texts(roc)


def test_classes_that_cannot_be_ranked_have_no_curve():
    assert find_ranked(np.array([0, 0, 2, 2]), 4) == [0, 2]
    assert find_ranked(np.array([1, 1]), 2) == []


def test_the_most_confused_classes_are_counted():
    actual, predicted = np.array([0, 0, 0, 0, 1, 2]), np.array([1, 1, 0, 2, 1, 0])
    rows = list_confused(actual, predicted, ["a", "b", "c"]).rows
    assert rows[0] == ("a", "b", "2", "50.0%")
    assert set(rows[1:]) == {("a", "c", "1", "25.0%"), ("c", "a", "1", "100.0%")}


def test_the_most_confident_mistakes(digits):
    section = describe_mistakes(digits, [])
    predicted, sure = digits.predicted.argmax(axis=1), digits.predicted.max(axis=1)
    wrong = sorted(np.nonzero(predicted != digits.actual)[0], key=lambda i: -sure[i])
    assert section.text == [f"{len(wrong)} of the 360 rows of the test part are wrong."]
    assert [card.lines for card in section.cards] == [
        (f"predicted {predicted[i]} ({sure[i]:.0%})", f"actual {digits.actual[i]}")
        for i in wrong[:24]
    ]


def test_the_importance_is_that_of_scikit_learn_for_an_estimator_of_the_features(blobs):
    class Whole(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            raise NotImplementedError

        def predict(self, x):
            return blobs.predict(x).argmax(axis=1)

    found = measure_importance(blobs)
    expected = permutation_importance(
        Whole(),
        blobs.dataset.x_test,
        blobs.actual,
        scoring=lambda model, x, y: accuracy_score(y, model.predict(x)),
        n_repeats=5,
        random_state=0,
    )
    order = np.argsort(-expected.importances_mean, kind="stable")
    assert [column.name for column in found.columns] == [f"feature {i + 1}" for i in order]
    np.testing.assert_allclose(found.means, expected.importances_mean[order])
    np.testing.assert_allclose(found.deviations, expected.importances_std[order])


def test_the_features_of_a_column_stay_together(prices):
    found = measure_importance(prices)
    columns = found.columns
    assert len(columns) == len({column.name for column in columns}) == 4
    assert found.score == "R2"
    x = prices.dataset.x_test
    rows = np.random.default_rng(0).integers(len(x), size=(50, len(columns)))
    taken = _take_columns(x, rows, columns)
    (town,) = (column for column in columns if column.name == "größe 中")
    assert (taken[:, town.start : town.stop].sum(axis=1) == 1).all()
    assert columns[0].name.startswith("size")  # what the price depends on most


def test_predicted_values_and_the_largest_errors_are_in_units_of_the_target(prices):
    assert r2_score(prices.actual, prices.predicted) > 0.3
    assert 80 < prices.actual.mean() < 120
    section = describe_mistakes(prices, measure_importance(prices).columns)
    (table,) = section.tables
    errors = prices.predicted[:, 0] - prices.actual[:, 0]
    worst = np.argsort(-np.abs(errors))[: len(table.rows)]
    assert [row[2] for row in table.rows] == [f"{errors[i]:+.4g}" for i in worst]
    assert [row[0] for row in table.rows] == [f"{prices.actual[i, 0]:.5g}" for i in worst]
    assert len(describe_values(prices).pictures) == 2

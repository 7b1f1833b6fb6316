"""Scores of predictions, compared with scikit-learn's."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as metrics
from hypothesis import given
from hypothesis import strategies as st

from anyback_nn.cli.metrics import (
    count_confusion,
    measure_average_precision,
    measure_roc_auc,
    score_classes,
    score_values,
)


@st.composite
def predictions(draw):
    """Draw classes, probabilities with many ties, and the number of classes."""
    n_classes = draw(st.integers(2, 5))
    n_rows = draw(st.integers(n_classes, 40))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    probabilities = random.integers(1, 4, size=(n_rows, n_classes)).astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    actual = random.integers(0, n_classes, size=n_rows)
    actual[:n_classes] = range(n_classes)
    return actual, probabilities, n_classes


@given(predictions())
def test_scores_of_classes_are_those_of_scikit_learn(drawn):
    actual, probabilities, n_classes = drawn
    predicted = probabilities.argmax(axis=1)
    scores = score_classes(actual, probabilities, count_confusion(actual, predicted, n_classes))
    one_hot = np.eye(n_classes)[actual]
    ranks = (actual, probabilities[:, 1]) if n_classes == 2 else (one_hot, probabilities)
    assert scores == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(actual, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(actual, predicted),
            "f1_macro": metrics.f1_score(actual, predicted, average="macro"),
            "roc_auc": metrics.roc_auc_score(*ranks),
            "average_precision": metrics.average_precision_score(*ranks),
        },
        rel=1e-9,
    )


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1e-9])), min_size=2
    ).filter(lambda rows: len({positive for positive, _ in rows}) == 2)
)
def test_ranks_with_ties(rows):
    positive, scores = map(np.array, zip(*rows))
    assert measure_roc_auc(positive, scores) == pytest.approx(
        metrics.roc_auc_score(positive, scores)
    )
    assert measure_average_precision(positive, scores) == pytest.approx(
        metrics.average_precision_score(positive, scores)
    )


def test_classes_that_do_not_occur_are_left_out():
    actual, predicted = np.array([0, 0, 2]), np.array([0, 2, 2])
    probabilities = np.array([[0.9, 0.0, 0.1], [0.4, 0.0, 0.6], [0.1, 0.0, 0.9]])
    scores = score_classes(actual, probabilities, count_confusion(actual, predicted, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["balanced_accuracy"] == metrics.balanced_accuracy_score(actual, predicted)
        assert scores["f1_macro"] == metrics.f1_score(actual, predicted, average="macro")
    assert scores["roc_auc"] == 1
    single = score_classes(np.zeros(3, int), probabilities, np.diag([3, 0, 0]))
    assert math.isnan(single["roc_auc"])
    assert math.isnan(single["average_precision"])
    assert single["accuracy"] == single["balanced_accuracy"] == single["f1_macro"] == 1


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=20))
def test_scores_of_values_are_those_of_scikit_learn(pairs):
    actual, predicted = np.array(pairs, dtype=float).T
    assert score_values(actual, predicted) == pytest.approx(
        {
            "r2": metrics.r2_score(actual, predicted),
            "mean_absolute_error": metrics.mean_absolute_error(actual, predicted),
            "root_mean_squared_error": metrics.root_mean_squared_error(actual, predicted),
        }
    )


def test_confusion_matrix_has_classes_that_never_occur():
    actual, predicted = np.asarray([0, 2, 2]), np.asarray([0, 2, 0])
    expected = metrics.confusion_matrix(actual, predicted, labels=range(4))
    np.testing.assert_array_equal(count_confusion(actual, predicted, 4), expected)

"""Scores of predictions, as scikit-learn defines them, in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "count_confusion",
    "measure_average_precision",
    "measure_roc_auc",
    "score_classes",
    "score_values",
]


def count_confusion(actual: Any, predicted: Any, n_classes: int) -> Any:
    """Count the rows of each actual class (first axis) by predicted class (second axis).

    >>> count_confusion(np.asarray([0, 1, 1]), np.asarray([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    pairs = np.bincount(actual * n_classes + predicted, minlength=n_classes**2)
    return pairs.reshape(n_classes, n_classes)


def score_classes(actual: Any, probabilities: Any, confusion: Any) -> dict[str, float]:
    """Measure predicted classes.

    Parameters
    ----------
    actual : ndarray of int, shape (n_rows,)
        Class indices.
    probabilities : ndarray, shape (n_rows, n_classes)
    confusion : ndarray of int, shape (n_classes, n_classes)
        As `count_confusion` returns it.

    Returns
    -------
    dict of str to float
        Balanced accuracy (the mean recall) and macro F1 are means over the classes that occur. With
        two classes, ROC AUC and average precision are those of the second one; with more, means
        over each class against the others, of those that occur. NaN if all rows are of one class.
    """
    hits, rows, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs, seen = rows > 0, rows + predicted > 0
    n_classes = len(confusion)
    classes = [1] if n_classes == 2 else range(n_classes)
    ranked = [c for c in classes if 0 < rows[c] < len(actual)]
    masks = [(actual == c, probabilities[:, c]) for c in ranked]
    return {
        "accuracy": float(hits.sum() / len(actual)),
        "balanced_accuracy": float(np.mean(hits[occurs] / rows[occurs])),
        "f1_macro": float(np.mean(2 * hits[seen] / (rows + predicted)[seen])),
        "roc_auc": _mean([measure_roc_auc(*mask) for mask in masks]),
        "average_precision": _mean([measure_average_precision(*mask) for mask in masks]),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _count_hits(positive: Any, scores: Any) -> tuple[Any, Any]:
    """Count the positive and all rows at or above each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last = np.append(descending[1:] != descending[:-1], True)  # of rows of equal scores
    return np.cumsum(positive[order])[last], np.arange(1, len(scores) + 1)[last]


def measure_roc_auc(positive: Any, scores: Any) -> float:
    """Measure the area under the curve of true over false positives.

    >>> measure_roc_auc(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    0.75
    """
    hits, rows = _count_hits(positive, scores)
    misses = rows - hits
    heights = hits - np.diff(hits, prepend=0) / 2  # trapezoids, where scores are equal
    area = np.sum(np.diff(misses, prepend=0) * heights)
    return float(area / (hits[-1] * misses[-1]))


def measure_average_precision(positive: Any, scores: Any) -> float:
    """Measure the mean precision at the positive rows, in the order of their scores.

    >>> measure_average_precision(np.array([True, False, True]), np.array([0.9, 0.5, 0.4]))
    0.8333333333333333
    """
    hits, rows = _count_hits(positive, scores)
    return float(np.sum(np.diff(hits, prepend=0) * (hits / rows)) / hits[-1])


def score_values(actual: Any, predicted: Any) -> dict[str, float]:
    """Measure predictions of one continuous target, shape (n_rows,), in its own units.

    R2 of constant targets is 1 if all predictions are exact, else 0.

    >>> score_values(np.array([1.0, 3.0]), np.array([2.0, 3.0]))["r2"]
    0.5
    """
    errors = predicted - actual
    error, variance = float(np.mean(errors**2)), float(np.var(actual))
    constant = actual.min() == actual.max()  # rounding can leave a tiny variance
    r2 = float(error == 0) if constant else 1 - error / variance
    return {
        "r2": r2,
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "root_mean_squared_error": math.sqrt(error),
    }

"""How well a model does on rows whose answers are known."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from anyback_nn.datasets import Encoding
from anyback_nn.model import Model

__all__ = ["Measured", "confusion_matrix", "measure"]


class Measured(NamedTuple):
    """The scores by their names and, for classification, the confusion matrix."""

    n_rows: int
    scores: dict[str, float]
    confusion: Any = None


def measure(model: Model, encoding: Encoding, x: Any, y: Any) -> Measured:
    """Measure a model.

    Parameters
    ----------
    model : Model
    encoding : Encoding
    x, y : ndarray
        Encoded rows and answers.

    Returns
    -------
    Measured
        ``loss``, and either ``accuracy`` or ``r2``, ``mean_absolute_error`` and
        ``root_mean_squared_error``, the last two in the target's own units.
    """
    report = model.evaluate(x, y)
    if encoding.classes is not None:
        confusion = confusion_matrix(y, model.predict_classes(x), len(encoding.classes))
        scores = {"loss": report["loss"], "accuracy": float(np.trace(confusion) / len(x))}
        return Measured(len(x), scores, confusion)
    errors = encoding.decode(model.predict(x)[:, 0]) - encoding.decode(y)
    scores = {
        "loss": report["loss"],
        "r2": report["r2"],
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "root_mean_squared_error": math.sqrt(np.mean(errors**2)),
    }
    return Measured(len(x), scores)


def confusion_matrix(actual: Any, predicted: Any, n_classes: int) -> Any:
    """Count the rows of each actual class (first axis) by predicted class (second axis).

    >>> confusion_matrix(np.asarray([0, 1, 1]), np.asarray([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    pairs = np.bincount(actual * n_classes + predicted, minlength=n_classes**2)
    return pairs.reshape(n_classes, n_classes)

"""How often each class was taken for each: scikit-learn's display, also for models."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.errors import AnybackError
from anyback_nn.model import Model
from anyback_nn.plotting.models import encode_classes
from anyback_nn.plotting.style import create_axes
from anyback_nn.utils.arguments import require_extra

__all__ = ["ConfusionMatrixDisplay"]

MAX_VALUES = 20
"""With more classes, the counts would not fit into their cells."""

MAX_LETTERS = 40
"""With more in all names together, those below the matrix are vertical."""


def _require_libraries() -> None:
    for module in ("sklearn.metrics", "matplotlib"):
        require_extra(module, "sklearn,plot", "a confusion matrix", AnybackError)


class _Missing:
    """Stands for scikit-learn's display where that is not installed."""

    def __init__(self, *_: object, **__: object) -> None:
        _require_libraries()


_Display: Any = _Missing
with suppress(ImportError):
    _Display = import_module("sklearn.metrics").ConfusionMatrixDisplay


class ConfusionMatrixDisplay(_Display):
    """How often each class was taken for each: `sklearn.metrics.ConfusionMatrixDisplay`.

    Its methods, parameters and attributes are scikit-learn's. `from_estimator` takes an
    `anyback_nn.Model` too, there is no colour bar next to the counts, and counts that would not fit
    are left out.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> display = nn.plotting.ConfusionMatrixDisplay.from_predictions([0, 1, 1], [0, 1, 0])
    >>> display.confusion_matrix.tolist()
    [[1, 0], [1, 1]]
    """

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, **options: Any
    ) -> ConfusionMatrixDisplay:
        """Draw the matrix of a model, or of any fitted classifier; the options of scikit-learn."""
        if not isinstance(estimator, Model):
            predicted = estimator.predict(X)
        else:
            y = encode_classes(estimator, y)
            predicted = to_numpy(estimator.predict_classes(X))
            if estimator.n_out > 1 and predicted.ndim == 1:
                # All classes of the network, also those that these rows lack.
                options = {"labels": np.arange(estimator.n_out), **options}
        display: ConfusionMatrixDisplay = cls.from_predictions(
            to_numpy(y) if hasattr(y, "dtype") else y, to_numpy(predicted), **options
        )
        return display

    @classmethod
    def from_predictions(cls, y_true: Any, y_pred: Any, **options: Any) -> ConfusionMatrixDisplay:
        """Draw the matrix of predictions; the parameters are scikit-learn's."""
        _require_libraries()
        options = {"cmap": "Blues", "colorbar": False, **options}
        names = options.get("display_labels")
        if names is None:
            names = options.get("labels")
        if names is None:
            names = np.union1d(y_true, y_pred)
        options.setdefault("include_values", len(names) <= MAX_VALUES)
        if sum(len(str(name)) + 2 for name in names) > MAX_LETTERS:
            options.setdefault("xticks_rotation", "vertical")
        if options.get("ax") is None:
            side = min(max(len(names) / 8, 1.0), 2.0)
            options["ax"] = create_axes(scale=(0.8 * side, side))
        display: ConfusionMatrixDisplay = super().from_predictions(y_true, y_pred, **options)
        return display

    def plot(self, **options: Any) -> ConfusionMatrixDisplay:
        """Draw, by default in a new figure; the parameters are scikit-learn's."""
        super().plot(**options)
        for label in (*self.ax_.get_xticklabels(), *self.ax_.get_yticklabels()):
            label.set_parse_math(False)
        return self

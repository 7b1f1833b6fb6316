"""The model in what users pass, and their rows as the model takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback_nn.model import Model

__all__ = ["encode_classes", "find_model"]


def find_model(estimator: Any) -> Model:
    """Return the model of an estimator, or the model itself.

    Raises
    ------
    TypeError
        It is neither a model nor a fitted estimator of `anyback_nn.sklearn`.
    """
    model = getattr(estimator, "model_", estimator)
    if isinstance(model, Model):
        return model
    kind = type(estimator).__name__
    advice = ". Pass its last step, pipeline[-1]" if hasattr(estimator, "steps") else ""
    raise TypeError(
        f"expected an anyback_nn.Model or a fitted estimator of anyback_nn.sklearn, got {kind}"
        f"{advice or '. If it is one, fit it first'}"
    )


def encode_classes(estimator: Any, y: Any) -> Any:
    """Return the targets that an estimator's model takes: the indices of its classes.

    Raises
    ------
    ValueError
        A target is no class of the estimator, or a model gets names of classes.
    """
    classes = getattr(estimator, "classes_", None)
    name = next(iter(y), None) if np.ndim(y) == 1 else None
    if isinstance(estimator, Model) and isinstance(name, str):
        raise ValueError(
            f"y: expected class indices, such as 0 and 1, got {str(name)!r}: a Model does not know "
            "the names of its classes. Pass indices, and the names as display_labels"
        )
    if classes is None or np.ndim(y) != 1:
        return y
    y = np.asarray(y)
    if not np.isin(y, classes).all():
        unknown = y[~np.isin(y, classes)][0]
        raise ValueError(f"y: expected the classes {list(classes)}, got {unknown!r}")
    return np.searchsorted(classes, y)

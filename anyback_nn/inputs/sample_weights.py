"""Weights of samples: of each sample, times that of its class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.errors import DataError
from anyback_nn.inputs.checks import Samples, check_weights, count_rows
from anyback_nn.network.losses import Loss
from anyback_nn.utils.messages import quoted_list

__all__ = ["compute_class_weights", "compute_training_weights", "scale_to_mean_one"]


def compute_class_weights(
    y: Array, weights: str | Mapping[int, float], n_classes: int | None = None
) -> Any:
    """Compute the weights of samples from those of their classes.

    Parameters
    ----------
    y : array, shape (n_samples,) or (n_samples, 1)
        Class indices.
    weights : "balanced" or mapping
        From class index to weight, 1 for classes that are not named. With ``"balanced"`` every
        class has the same total weight: a sample's is ``n_samples / (n_classes * count)``.
    n_classes : int, optional
        The number of classes that the network knows; these samples need not have all of them.
        Default: that of the samples.

    Returns
    -------
    numpy.ndarray, shape (n_samples,)

    Raises
    ------
    DataError
        The targets are not classes, or the mapping names a class that the network does not know.
    TypeError, ValueError
        The weights are neither ``"balanced"`` nor a mapping from integers to numbers.

    Examples
    --------
    >>> compute_class_weights(np.asarray([0, 0, 0, 1]), "balanced").tolist()
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    labels = to_numpy(y)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or np.any(labels != np.floor(labels)):
        raise DataError(
            "class_weight: expected one class index per sample, got targets of shape "
            f"{labels.shape} and dtype {labels.dtype}. Use sample_weight instead"
        )
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f"class_weight: expected 'balanced' or a mapping, got {weights!r}")
        return (labels.size / (classes.size * counts))[inverse]
    if not isinstance(weights, Mapping):
        raise TypeError(
            "class_weight: expected 'balanced' or a mapping from class to weight, got "
            f"{type(weights).__name__}. Pass weights of samples as sample_weight"
        )
    _check_class_weights(weights, int(classes[-1]) + 1 if n_classes is None else n_classes)
    factors = [weights.get(int(label), 1.0) for label in classes]
    return np.asarray(factors, dtype=np.float64)[inverse]


def _check_class_weights(weights: Mapping[Any, Any], n_classes: int) -> None:
    """Raise an error unless a mapping is from classes to weights."""
    wrong = [key for key in weights if not isinstance(key, Real) or key % 1 != 0]
    if wrong:
        raise TypeError(
            "class_weight: expected a mapping from class index (an integer) to weight, got the "
            f"keys {quoted_list(wrong, quote=str)}. Number the labels first, as the targets are"
        )
    for key, value in weights.items():
        if not isinstance(value, Real):
            raise TypeError(
                f"class_weight: expected a number as the weight of class {key}, got {value!r}"
            )
        if not 0.0 <= float(value) < math.inf:
            raise DataError(
                f"class_weight: expected the weight of class {key} to be finite and 0 or greater, "
                f"got {value!r}"
            )
    if unknown := sorted(key for key in weights if not 0 <= key < n_classes):
        raise DataError(
            f"class_weight names classes that the network has no output for: {unknown}. It has "
            f"those from 0 to {n_classes - 1}"
        )


def compute_training_weights(
    rows: Samples,
    weights: str | Mapping[int, float] | None,
    loss: Loss,
    n_out: int,
    chosen: Any,
) -> Any:
    """Multiply the weights of samples and classes, and scale them to mean 1 over training rows.

    Parameters
    ----------
    rows : Samples
        All samples, with their weights if there are any.
    weights : "balanced" or mapping, optional
        Weights of the classes, see `compute_class_weights`.
    loss : Loss
    n_out : int
        The number of the network's outputs; one output is for two classes.
    chosen : numpy.ndarray, optional
        Indices of the training rows. Default: all rows.

    Returns
    -------
    numpy.ndarray, shape (n_samples,), or None
        Rows that are not for training have weight 0.
    """
    if rows.weights is None and weights is None:
        return None
    factors = np.ones(count_rows(rows.x)) if rows.weights is None else to_numpy(rows.weights)
    training = slice(None) if chosen is None else chosen
    result = np.zeros(factors.shape)
    result[training] = factors[training]
    if weights is not None:
        if not loss.classifies:
            raise ValueError(f"class_weight: {type(loss).__name__} does not classify")
        labels = to_numpy(rows.y)[training]
        factors = compute_class_weights(labels, weights, max(n_out, 2))
        result[training] *= factors
    name = "sample weights" if chosen is None else "sample weights of the rows for training"
    result[training] = scale_to_mean_one(check_weights(result, result.size)[training], name)
    return result


def scale_to_mean_one(weights: Any, name: str = "sample weights") -> Any:
    """Scale weights to mean 1: only their proportions matter.

    Raises
    ------
    DataError
        All of them are 0; ``name`` is theirs in the message.

    Examples
    --------
    >>> scale_to_mean_one(np.asarray([1.0, 3.0])).tolist()
    [0.5, 1.5]
    """
    weights = weights.astype(np.float64)
    largest = weights.max()
    if largest == 0:
        raise DataError(f"all {name} are 0: give at least one sample a weight above 0")
    weights = weights / largest  # so that the mean neither overflows nor vanishes
    return weights / weights.mean()

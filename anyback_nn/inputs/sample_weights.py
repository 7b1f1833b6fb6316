"""Weights of samples: of each sample, times that of its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.errors import DataError
from anyback_nn.inputs.checks import Samples, check_weights, count_rows
from anyback_nn.network.losses import Loss

__all__ = ["compute_class_weights", "compute_training_weights", "scale_to_mean_one"]


def compute_class_weights(y: Array, weights: str | Mapping[int, float]) -> Any:
    """Compute the weights of samples from those of their classes.

    Parameters
    ----------
    y : array, shape (n_samples,) or (n_samples, 1)
        Class indices.
    weights : "balanced" or mapping
        From class index to weight, 1 for classes that are not named. With ``"balanced"`` every
        class has the same total weight: a sample's is ``n_samples / (n_classes * count)``.

    Returns
    -------
    numpy.ndarray, shape (n_samples,)

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
    classes = classes.astype(int).tolist()
    unknown = sorted(set(weights) - set(classes))
    if unknown:
        raise DataError(f"class_weight names classes that no sample has: {unknown}")
    factors = [weights.get(label, 1.0) for label in classes]
    return np.asarray(factors, dtype=np.float64)[inverse]


def compute_training_weights(
    rows: Samples, weights: str | Mapping[int, float] | None, loss: Loss, chosen: Any
) -> Any:
    """Multiply the weights of samples and classes, and scale them to mean 1 over training rows.

    Parameters
    ----------
    rows : Samples
        All samples, with their weights if there are any.
    weights : "balanced" or mapping, optional
        Weights of the classes, see `compute_class_weights`.
    loss : Loss
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
        result[training] *= compute_class_weights(to_numpy(rows.y)[training], weights)
    result[training] = scale_to_mean_one(check_weights(result, result.size)[training])
    return result


def scale_to_mean_one(weights: Any) -> Any:
    """Scale weights to mean 1: only their proportions matter.

    Examples
    --------
    >>> scale_to_mean_one(np.asarray([1.0, 3.0])).tolist()
    [0.5, 1.5]
    """
    weights = weights.astype(np.float64)
    largest = weights.max()
    if largest == 0:
        raise DataError("all sample weights are 0: give at least one sample a weight above 0")
    weights = weights / largest  # so that the mean neither overflows nor vanishes
    return weights / weights.mean()

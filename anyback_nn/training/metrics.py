"""Metrics: values that are recorded in addition to the loss.

A metric is a function ``(loss, outputs, targets) -> values`` that returns one value per sample;
their mean is recorded under the name of the function. ``loss.link(outputs)`` are the predictions.
"""

from __future__ import annotations

from collections.abc import Callable

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.network.losses import Loss, weighted_mean

__all__ = ["Metric", "absolute_error", "accuracy", "choose_metrics", "r2"]

Metric = Callable[[Loss, Array, Array], Array]


def accuracy(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Score 1 if the predicted class is correct, else 0 (with several labels: their mean)."""
    return loss.correct(outputs, targets)


def absolute_error(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Compute the distance of the prediction from the target, averaged over the outputs."""
    xp = array_namespace(outputs)
    return loss.mean_over_outputs(xp.abs(loss.link(outputs) - targets), targets)


def choose_metrics(loss: Loss) -> tuple[Metric, ...]:
    """Return the default metrics of a loss."""
    return (accuracy,) if loss.classifies else (absolute_error,)


def r2(loss: Loss, outputs: Array, targets: Array, weights: Array | None = None) -> Array:
    """Compute the explained share of the targets' variance, averaged over the outputs.

    ``1 - mean (t - p)^2 / mean (t - mean t)^2``. For constant targets it is 1 if the predictions
    are exact, else 0. Unlike a metric, it is one value of all samples. The weights have mean 1.
    """
    xp = array_namespace(outputs)
    known, predictions = loss.known(targets), loss.link(outputs)
    counts = None
    if known is not None:
        # Of each output, the samples whose target is known; their weights have mean 1, too.
        targets = xp.where(known, targets, xp.zeros_like(targets))
        known = xp.astype(xp.matrix_transpose(known), targets.dtype)
        weights = known if weights is None else known * weights
        counts = xp.mean(weights, axis=-1, keepdims=True)
        weights = weights / xp.where(counts > 0, counts, xp.ones_like(counts))
    target = xp.matrix_transpose(targets)
    mean = weighted_mean(target, weights)[..., None]
    error = weighted_mean((target - xp.matrix_transpose(predictions)) ** 2, weights)
    variance = weighted_mean((target - mean) ** 2, weights)
    # The mean of constant targets may differ from them, by rounding.
    highest = lowest = target
    if weights is not None:
        highest = xp.where(weights > 0, target, -float("inf"))
        lowest = xp.where(weights > 0, target, float("inf"))
    varies = (xp.max(highest, axis=-1) > xp.min(lowest, axis=-1)) & (variance > 0)
    shares = 1.0 - error / xp.where(varies, variance, xp.ones_like(variance))
    constant = xp.astype(error == 0, error.dtype)
    shares = xp.where(varies, shares, constant)
    if counts is None:
        return xp.mean(shares, axis=-1)
    # Not an output of which no target is known.
    measured = xp.astype(counts[:, 0] > 0, shares.dtype)
    return xp.sum(shares * measured, axis=-1) / xp.maximum(xp.sum(measured, axis=-1), 1.0)

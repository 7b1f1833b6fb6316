"""What is recorded beside the loss: one number a sample, averaged.

A metric is a function ``(loss, outputs, targets) -> values`` with one value for each sample; its
name is the name under which it is recorded. ``loss.link(outputs)`` gives the predictions.
"""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace

from anyback_nn.backend import Array
from anyback_nn.network.losses import Loss

__all__ = ["Metric", "absolute_error", "accuracy", "default_metrics"]

Metric = Callable[[Loss, Array, Array], Array]


def accuracy(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Score 1 where the predicted class is right, else 0 (with several labels: their mean)."""
    return loss.correct(outputs, targets)


def absolute_error(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Measure how far the prediction is from the target, averaged over the outputs."""
    xp = array_namespace(outputs)
    return xp.mean(xp.abs(loss.link(outputs) - targets), axis=-1)


def default_metrics(loss: Loss) -> tuple[Metric, ...]:
    """Choose what suits the loss."""
    return (accuracy,) if loss.classifies else (absolute_error,)

"""Metrics: values that are recorded in addition to the loss.

A metric is a function ``(loss, outputs, targets) -> values`` that returns one value per sample;
their mean is recorded under the name of the function. ``loss.link(outputs)`` are the predictions.
A value of all samples together, such as the area under a curve, is an `EpochMetric`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.errors import ShapeError
from anyback_nn.network.losses import Loss, weighted_mean
from anyback_nn.utils.arguments import accepts, look_up
from anyback_nn.utils.messages import suggest_call

__all__ = [
    "METRICS",
    "EpochMetric",
    "Metric",
    "absolute_error",
    "accuracy",
    "check_metrics",
    "measure",
    "name_metric",
    "r2",
]

Metric = Callable[[Loss, Array, Array], Array]


@dataclass(frozen=True)
class EpochMetric:
    """A metric of all evaluated samples together, such as scikit-learn's.

    It is computed on the host by `Model.evaluate`, and for the validation data of each epoch; not
    for the batches of training.

    Parameters
    ----------
    function : callable
        ``function(targets, predictions)``, called with NumPy arrays, returns a float. With sample
        weights, it is called with ``sample_weight=``, too.
    of : {"predictions", "classes"}
        Second argument of the function: what `Model.predict` returns (of two classes, only the
        probability of the second), or what `Model.predict_classes` returns. A single output has
        the shape (n_samples,).
    name : str, optional
        Name in the history. Default: that of the function.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> from sklearn.metrics import f1_score, roc_auc_score
    >>> x, y = nn.datasets.make_moons(200, noise=0.1, seed=0)
    >>> metrics = [nn.EpochMetric(roc_auc_score), nn.EpochMetric(f1_score, of="classes")]
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), metrics=metrics)
    >>> history = model.fit(x, y, epochs=5, optimizer=nn.Adam(0.01))
    >>> sorted(model.evaluate(x, y))
    ['f1_score', 'loss', 'roc_auc_score']
    """

    function: Callable[..., Any]
    of: str = "predictions"
    name: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"EpochMetric: expected a function, got {self.function!r}")
        if self.of not in ("predictions", "classes"):
            raise ValueError(
                f"EpochMetric: expected of to be 'predictions' or 'classes', got {self.of!r}"
            )

    def __call__(
        self, loss: Loss, outputs: Array, targets: Array, weights: Array | None = None
    ) -> float:
        """Compute the metric of all outputs.

        Raises
        ------
        ValueError
            The function failed, or takes no ``sample_weight`` and there are weights.
        """
        name, options = name_metric(self), {}
        predicted = to_numpy(loss.decide(outputs) if self.of == "classes" else loss.link(outputs))
        expected = to_numpy(targets)
        if expected.ndim == 2 and predicted.ndim == 1 and expected.shape[1] > 1:
            expected = expected.argmax(axis=1)  # rows of probabilities
        if expected.ndim == 1 and predicted.ndim == 2 and predicted.shape[1] == 2:
            predicted = predicted[:, 1]
        pair = [
            array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
            for array in (expected, predicted)
        ]
        if weights is not None:
            options["sample_weight"] = to_numpy(weights)
            if not accepts(self.function, *pair, **options):
                raise ValueError(
                    f"metric {name}: expected a function with an argument sample_weight, because "
                    "there are sample weights"
                )
        try:
            return float(self.function(*pair, **options))
        except Exception as error:
            raise ValueError(
                f"metric {name} could not be computed ({type(error).__name__}: {error}). It was "
                f"called as {name}(targets, {self.of}) with arrays of shapes {pair[0].shape} and "
                f"{pair[1].shape}; pass EpochMetric(of='classes') for classes, and the options of "
                "the function by functools.partial"
            ) from error


def accuracy(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Score 1 if the predicted class is correct, else 0 (with several labels: their mean).

    Parameters
    ----------
    loss : Loss
        A loss that classifies; see `Loss.correct`.
    outputs : array, shape (..., n_samples, n_out)
        The network's raw outputs.
    targets : array
        As `Loss.check_targets` returns them.

    Returns
    -------
    array, shape (..., n_samples)

    Examples
    --------
    >>> import anyback_nn as nn
    >>> import numpy as np
    >>> outputs, targets = np.asarray([[2.0, 1.0], [3.0, 0.0]]), np.asarray([0, 1])
    >>> accuracy(nn.SoftmaxCrossEntropy(), outputs, targets).tolist()
    [1.0, 0.0]
    """
    return loss.correct(outputs, targets)


def absolute_error(loss: Loss, outputs: Array, targets: Array) -> Array:
    """Compute the distance of the prediction from the target, averaged over the outputs.

    Parameters
    ----------
    loss : Loss
        Its link turns the outputs into predictions.
    outputs : array, shape (..., n_samples, n_out)
        The network's raw outputs.
    targets : array, shape (..., n_samples, n_out)
        As `Loss.check_targets` returns them.

    Returns
    -------
    array, shape (..., n_samples)

    Examples
    --------
    >>> import anyback_nn as nn
    >>> import numpy as np
    >>> outputs, targets = np.asarray([[1.0, 4.0]]), np.asarray([[0.0, 1.0]])
    >>> absolute_error(nn.MeanSquaredError(), outputs, targets).tolist()
    [2.0]
    """
    xp = array_namespace(outputs)
    return loss.mean_over_outputs(xp.abs(loss.link(outputs) - targets), targets)


METRICS: dict[str, Metric] = {"accuracy": accuracy, "absolute_error": absolute_error}
"""The metrics by their names."""


def name_metric(metric: Any) -> str:
    """Return the name of a metric in the history."""
    if isinstance(metric, EpochMetric):
        return metric.name or name_metric(metric.function)
    if hasattr(metric, "func") and not hasattr(metric, "__name__"):  # a `functools.partial`
        return name_metric(metric.func)
    return str(getattr(metric, "__name__", None) or repr(metric))


def check_metrics(metrics: Any, loss: Loss) -> tuple[Metric | EpochMetric, ...]:
    """Check the metrics that a user passed, and look up those that are names.

    Raises
    ------
    TypeError, ValueError
        They are no sequence of metrics, of known names, or have the same name.
    """
    if metrics is None:
        return (accuracy,) if loss.classifies else (absolute_error,)
    if isinstance(metrics, str) or not isinstance(metrics, Sequence | set | frozenset):
        raise TypeError(f"expected metrics to be a list, such as [{metrics!r}]; got {metrics!r}")
    checked = tuple(_check_metric(metric, loss) for metric in metrics)
    names = ["loss", "r2", *map(name_metric, checked)]
    if len(set(names)) < len(names):
        raise ValueError(
            "expected metrics with different names (and none called loss, or r2, which evaluate "
            f"adds), got {', '.join(names[2:])}"
        )
    return checked


def _check_metric(metric: Any, loss: Loss) -> Metric | EpochMetric:
    """Check one metric."""
    if isinstance(metric, str):
        metric = look_up(metric, METRICS, "metric")
    if metric is accuracy and not loss.classifies:
        raise ValueError(
            f"accuracy is for losses that classify, not for {type(loss).__name__}: leave it out"
        )
    if isinstance(metric, EpochMetric):
        if metric.of == "classes" and not loss.classifies:
            raise ValueError(
                f"metric {name_metric(metric)}: of='classes' is for losses that classify, not for "
                f"{type(loss).__name__}: leave it out"
            )
        return metric
    name = name_metric(metric)
    if not callable(metric) or isinstance(metric, type):
        raise TypeError(
            f"expected a metric to be a function, got {metric!r}{suggest_call(metric, '...')}"
        )
    if not accepts(metric, loss, "outputs", "targets"):
        raise TypeError(
            f"metric {name}: expected a function of (loss, outputs, targets) that returns one "
            "value per sample. For a function of (targets, predictions) that returns one value of "
            f"all samples, as in scikit-learn, pass nn.EpochMetric({name})"
        )
    return metric  # type: ignore[no-any-return]


def measure(metric: Metric, loss: Loss, outputs: Array, targets: Array) -> Array:
    """Compute a metric of each sample, shape (..., n_samples), in the dtype of the outputs.

    Raises
    ------
    ShapeError
        The metric did not return one value per sample.
    """
    values = metric(loss, outputs, targets)
    expected, shape = outputs.shape[:-1], getattr(values, "shape", None)
    if shape != expected:
        got = type(values).__name__ if shape is None else f"shape {tuple(shape)}"
        name = name_metric(metric)
        raise ShapeError(
            f"metric {name}: expected one value per sample, an array of shape {tuple(expected)}, "
            f"got {got}. The mean over the samples is taken later; for one value of all samples, "
            "pass nn.EpochMetric(function), called with (targets, predictions)"
        )
    if values.dtype == outputs.dtype:
        return values
    return array_namespace(values).astype(values, outputs.dtype)


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

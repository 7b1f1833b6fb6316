"""Losses against scikit-learn's metrics, and what it has none for against SciPy's functions."""

import numpy as np
from network_cases import (
    LOSSES,
    TOLERANCE,
    each_loss,
    each_weights,
    each_width,
    move,
    relative_error,
)
from scipy.special import expit, huber
from scipy.special import softmax as probabilities
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)

from anyback_nn.network.losses import mean_loss


def poisson(t, o, w):
    """Half the deviance, which scikit-learn computes for one output."""
    pairs = zip(t.T, np.exp(o).T)
    return np.mean([mean_poisson_deviance(*pair, sample_weight=w) for pair in pairs]) / 2


def cross_entropy(t, p, w):
    """Count each sample as one of every class, with the class's probability as a weight."""
    classes = np.arange(t.shape[1])
    return log_loss(
        np.tile(classes, len(t)),
        np.repeat(p, len(classes), axis=0),
        sample_weight=(w[:, None] * t).ravel(),
        labels=classes,
    )


def yes_or_no(t, p, w):
    pairs = ((np.stack([1 - x, x], axis=1) for x in pair) for pair in zip(t.T, p.T))
    return np.mean([cross_entropy(*pair, w) for pair in pairs])


def of_classes(t, o, w, smoothing=0.0):
    if o.shape[1] == 1:  # the one class is certain, and scikit-learn wants two
        return 0.0
    t = np.eye(o.shape[1])[t] if t.ndim == 1 else t
    return cross_entropy((1 - smoothing) * t + smoothing / o.shape[1], probabilities(o, axis=1), w)


REFERENCES = {
    "MeanSquaredError": lambda t, o, w: mean_squared_error(t, o, sample_weight=w),
    "MeanAbsoluteError": lambda t, o, w: mean_absolute_error(t, o, sample_weight=w),
    "Quantile": lambda t, o, w: mean_pinball_loss(t, o, sample_weight=w, alpha=0.5),
    "Quantile, high": lambda t, o, w: mean_pinball_loss(t, o, sample_weight=w, alpha=0.9),
    "Huber": lambda t, o, w: np.average(huber(1.0, t - o).mean(axis=1), weights=w),
    "Huber with delta": lambda t, o, w: np.average(huber(0.8, t - o).mean(axis=1), weights=w),
    "Poisson": poisson,
    "BinaryCrossEntropy": lambda t, o, w: yes_or_no(t, expit(o), w),
    "BinaryCrossEntropy, soft": lambda t, o, w: yes_or_no(t, expit(o), w),
    "BinaryCrossEntropy, smoothed": lambda t, o, w: yes_or_no(0.8 * t + 0.1, expit(o), w),
    "ProbabilityCrossEntropy": yes_or_no,
    "ProbabilityCrossEntropy, soft": yes_or_no,
    "SoftmaxCrossEntropy, classes": of_classes,
    "SoftmaxCrossEntropy, one-hot": of_classes,
    "SoftmaxCrossEntropy, soft": of_classes,
    "SoftmaxCrossEntropy, classes smoothed": lambda t, o, w: of_classes(t, o, w, 0.1),
    "SoftmaxCrossEntropy, soft smoothed": lambda t, o, w: of_classes(t, o, w, 0.3),
}


@each_width
@each_weights
@each_loss
def test_loss(case, weights, n_out, backend, finest):
    outputs, targets = case.draw(n_out)
    value, _ = mean_loss(case.loss, *move((outputs, targets, weights), backend, finest))
    weights = np.ones(len(outputs)) if weights is None else weights
    reference = REFERENCES[case.name.removesuffix(", some missing")]
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        # Each sample on its own, with its known targets.
        rows = zip(targets, outputs, ~np.isnan(targets), weights)
        values = [w * reference(t[None, k], o[None, k], np.ones(1)) for t, o, k, w in rows]
        expected = np.asarray(np.mean(values))
    else:
        expected = np.asarray(reference(targets, outputs, weights))
    assert relative_error(value, expected) < TOLERANCE[finest]


def test_every_loss_is_compared():
    assert REFERENCES.keys() == {case.name for case in LOSSES}

"""What the tests of estimators share."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from network_cases import central_differences
from sklearn.base import is_classifier
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

# Problems ----------------------------------------------------------------------------------------

REGRESSIONS = ("values", "outputs", "counts")

PROBLEMS = ("binary", "classes", "digits", "labels", *REGRESSIONS)

CLASSIFICATIONS = (
    *("two", "classes", "negative", "strings", "objects", "booleans", "fractions", "labels"),
)
"""Those of `load_examples`, which has the names of `REGRESSIONS`, too."""


@functools.cache
def load_problem(name):
    """The inputs and targets of a problem."""
    if name == "binary":
        x, y = load_breast_cancer(return_X_y=True)
        return scale(x)[:120], y[:120]
    if name == "classes":
        x, y = load_iris(return_X_y=True)
        return scale(x), y
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        return x[:200] / 16, y[:200]
    if name == "labels":
        x, y = make_multilabel_classification(120, n_features=9, n_classes=4, random_state=0)
        return scale(x), y
    x, y = load_diabetes(return_X_y=True)
    x, y = scale(x)[:150], scale(y)[:150]
    outputs = np.stack([y, x[:, 0] * x[:, 1], np.abs(y)], axis=1)
    return x, {"values": y, "outputs": outputs, "counts": np.round(np.exp(y))}[name]


def load_examples(name):
    """Sixty rows in no order, with targets of each kind."""
    x, y = load_problem("binary" if name == "two" else name if name in REGRESSIONS else "classes")
    chosen = np.random.default_rng(0).permutation(len(y))[:60]
    x, y = x[chosen, : 5 if name == "two" else None], y[chosen]
    names = {
        "negative": np.asarray([-5, 0, 7]),
        "strings": np.asarray(["ä", "b", "long name"]),
        "objects": np.asarray(["ä", "b", "long name"], dtype=object),
        "booleans": np.asarray([False, True, True]),
        "fractions": np.asarray([0.0, 1.0, 2.0]),
        "labels": np.asarray([[0, 0], [1, 0], [1, 1]]),
    }
    return x, names[name][y] if name in names else y


# Estimators --------------------------------------------------------------------------------------

KINDS = [
    pytest.param(TheirClassifier, MLPClassifier, id="classifier"),
    pytest.param(TheirRegressor, MLPRegressor, id="regressor"),
]

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 3, "batch_size": "auto"}
"""The settings of a pair, unless its test sets others."""

SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "activation": "tanh",
    "alpha": 0.0,
    "max_iter": 1,
    "random_state": 1,
}
"""What `classifier` and `regressor` set."""

BRIEF = {"hidden_layer_sizes": (4, 3), "max_iter": 3, "random_state": 0, "batch_size": 20}
"""What `build` sets."""

SOLVERS = {
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.02},
    "nesterov": {"solver": "sgd", "momentum": 0.8, "learning_rate_init": 0.02},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}

STILL = nn.GradientDescent(1e-30)
"""Changes nothing, so that fitting gives the first weights and records their loss."""

each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=[*SOLVERS])


def build(name, *, theirs=False, **settings):
    """An estimator for a problem or examples, ours or scikit-learn's."""
    if name == "counts":
        settings = {"loss": "poisson"} | settings
    kinds = KINDS[name in REGRESSIONS].values
    return kinds[0 if theirs else 1](**BRIEF | settings)


def make_pair(name, **settings):
    """Both estimators for a problem, with the same settings."""
    settings = QUICK | settings
    return build(name, theirs=True, **settings), build(name, **settings)


def classifier(**settings):
    return MLPClassifier(**SMALL | settings)


def regressor(**settings):
    return MLPRegressor(**SMALL | settings)


def fit(estimator, x, y):
    return estimator.fit(x, y)


def train_more(estimator, x, y):
    """Train a little more in each of the ways."""
    estimator.partial_fit(x, y).partial_fit(x[:30], y[:30])
    return estimator.set_params(warm_start=True).fit(x, y)


def fit_pair(name, sample_weight=None, **settings):
    """Both estimators, fitted to a problem."""
    x, y = load_problem(name)
    return tuple(mlp.fit(x, y, sample_weight) for mlp in make_pair(name, **settings))


def draw_sample_weights(n_samples):
    weights = np.random.default_rng(4).uniform(0.1, 3.0, n_samples)
    weights[::4] = 0.0
    return weights


def refuse_torch(self):
    raise BackendUnavailableError("backend 'torch': torch is not installed. Install it with: ...")


# Compared with scikit-learn ----------------------------------------------------------------------


def assert_near(actual, expected, accuracy=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=accuracy * 100, atol=accuracy)


def assert_same_weights(theirs, ours, accuracy=1e-12):
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert type(mine) is type(other) is np.ndarray
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert_near(mine, other, accuracy)


def list_fitted_attributes(estimator):
    return sorted(k for k in vars(estimator) if k.endswith("_") and not k.startswith("_"))


def assert_same_fit(theirs, ours, accuracy=1e-12):
    """Compare everything that fitting has left."""
    assert_same_weights(theirs, ours, accuracy)
    for name in set(list_fitted_attributes(theirs)) - {"coefs_", "intercepts_"}:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert np.shape(mine) == np.shape(other), name
        assert isinstance(mine, type(other)) or isinstance(other, np.generic), name
        if isinstance(other, int | str | type(None)) or np.asarray(other).dtype.kind not in "f":
            assert np.array_equal(mine, other), name
        else:
            assert_near(mine, other, accuracy)


def train_pair(name, train=fit, x=None, y=None, accuracy=1e-12, **settings):
    """Return both estimators, after ``train(estimator, x, y)`` has left the same in them."""
    data = load_problem(name)
    x, y = data[0] if x is None else x, data[1] if y is None else y
    theirs, ours = make_pair(name, **settings)
    for mlp in (theirs, ours):
        train(mlp, x, y)
    assert_same_fit(theirs, ours, accuracy)
    return theirs, ours


def predictions(estimator, x):
    """All that an estimator predicts."""
    predicted = [estimator.predict(x)]
    if is_classifier(estimator):
        predicted += [estimator.predict_proba(x), estimator.predict_log_proba(x)]
    return predicted


def assert_same_predictions(theirs, ours, x, accuracy=1e-12):
    for mine, other in zip(predictions(ours, x), predictions(theirs, x), strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        if mine.dtype.kind == "f":
            assert_near(mine, other, accuracy)
        else:
            assert np.array_equal(mine, other)


def error_of(call):
    """Return the class and the message of the error that a call raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller compares it
        call()
    return type(caught.value), str(caught.value)


def same_error(pair, call):
    """Return the class and the message of the error that ``call(estimator)`` raises for both."""
    theirs, ours = (error_of(functools.partial(call, mlp)) for mlp in pair)
    assert ours == theirs
    return ours


def warnings_of(call):
    """Return the classes and the messages of the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(warning.category, str(warning.message)) for warning in caught]


def same_warnings(pair, call):
    """Return the classes and the messages of the warnings of ``call(estimator)`` for both."""
    theirs, ours = (warnings_of(functools.partial(call, mlp)) for mlp in pair)
    assert ours == theirs
    return ours


# Compared with formulas --------------------------------------------------------------------------


class Recorder(nn.Callback):
    """Notes the parameters after each step, as one vector."""

    def __init__(self):
        self.after = []

    def on_batch_end(self, fit):
        self.after.append(flatten(fit.model))


class StopAt(nn.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, fit):
        if fit.epoch == self.epoch:
            fit.stop("enough")


class ScriptedMetric:
    """A metric that gives prescribed scores, and notes what it was called with."""

    def __init__(self, scores):
        self.scores, self.calls = list(scores), []

    def __call__(self, estimator, x, y):
        self.calls.append((estimator, x, y, all_weights(estimator)))
        return self.scores[len(self.calls) - 1]


def flatten(model):
    """All parameters, in the order of `all_weights`."""
    names = ("weight", "bias", "scale", "shift")
    arrays = [layer[name] for name in names for layer in model.params if name in layer]
    return np.concatenate([a.ravel() for a in arrays])


def average_path(path, decay):
    """The mean of all weights so far, of which each counts ``decay`` times the next one."""
    powers = decay ** np.arange(len(path))[::-1]
    return np.average(path, axis=0, weights=powers)


def all_weights(estimator):
    """All weights and biases."""
    return np.concatenate([a.ravel() for a in [*estimator.coefs_, *estimator.intercepts_]])


def set_weights(estimator, numbers):
    """Set all weights and biases."""
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    ends = np.cumsum([a.size for a in arrays])[:-1]
    parts = [p.reshape(a.shape) for p, a in zip(np.split(numbers, ends), arrays, strict=True)]
    estimator.coefs_ = parts[: len(estimator.coefs_)]
    estimator.intercepts_ = parts[len(estimator.coefs_) :]


def differentiate(estimator, value):
    """Derive ``value(estimator)`` with respect to all weights and biases by differences."""
    start = all_weights(estimator)

    def at(numbers):
        set_weights(estimator, numbers)
        return value(estimator)

    gradient = central_differences(at, start)
    set_weights(estimator, start)
    return gradient


def assert_descends(estimator, x, y, value, sample_weight=None, rate=0.1):
    """Assert that an epoch with one batch is a step down the slope of ``value``, and records it."""
    estimator.set_params(optimizer=STILL).fit(x, y, sample_weight)
    start, before = all_weights(estimator), value(estimator)
    expected = differentiate(estimator, value)
    estimator.set_params(warm_start=True, optimizer=nn.GradientDescent(rate))
    estimator.fit(x, y, sample_weight)
    gradient = (start - all_weights(estimator)) / rate
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    assert np.linalg.norm(gradient) > 1e-3
    assert estimator.loss_ == pytest.approx(before, rel=1e-9)


def cross_entropy(x, y, weights=None):
    """The mean of the logarithms of the probabilities of the classes 0, 1, ..."""

    def value(estimator):
        p = estimator.predict_proba(x)
        return -np.average(np.log(p[np.arange(len(y)), y]), weights=weights)

    return value


def binary_cross_entropy(y, p):
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


# Compared with each other ------------------------------------------------------------------------


def assert_same(mlp, other, x):
    """Assert that two estimators predict the same bits."""
    for mine, theirs in zip(predictions(mlp, x), predictions(other, x), strict=True):
        np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))
        assert mine.dtype == theirs.dtype

"""Losses by name, from the library and the user's own, against differences of public methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from custom_losses import TimesSquared
from sklearn.metrics import log_loss
from sklearn_cases import (
    all_weights,
    assert_descends,
    binary_cross_entropy,
    classifier,
    cross_entropy,
    regressor,
)

import anyback_nn as nn
from anyback_nn.network.losses import LOSSES
from anyback_nn.sklearn import MLPRegressor


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "softmax_cross_entropy"])
def test_losses_of_two_classes(loss, tumours):
    x, y = tumours
    ours = classifier(loss=loss)
    assert_descends(ours, x, y, cross_entropy(x, y))
    assert ours.coefs_[-1].shape == (5, 2 if loss.startswith("softmax") else 1)
    assert ours.predict_proba(x).shape == (80, 2)
    assert set(ours.predict(x)) <= {0, 1}


ERRORS = {
    "mean_squared_error": lambda e: e**2,
    "mean_absolute_error": np.abs,
    "quantile": lambda e: np.abs(e) / 2,  # of 0.5
    "huber": lambda e: np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5),
}


@pytest.mark.parametrize("name", ERRORS)
def test_losses_of_values(name, values):
    x, y = values
    error = ERRORS[name]
    assert_descends(regressor(loss=name), x, y, lambda mlp: np.mean(error(mlp.predict(x) - y)))


def test_every_loss_of_the_library_has_a_name_here():
    named = {name for name, loss in LOSSES.items() if not loss.classifies}
    assert named == {*ERRORS, "poisson"}
    for name in named:
        MLPRegressor(loss=name)._validate_params()


@dataclass(frozen=True)
class Brier(nn.Loss):
    """Not in the library: squared errors of the probabilities of the softmax."""

    classifies = True

    def link(self, outputs):
        xp = nn.array_namespace(outputs)
        powers = xp.exp(outputs - xp.max(outputs, axis=-1, keepdims=True))
        return powers / xp.sum(powers, axis=-1, keepdims=True)

    def forward(self, outputs, targets):
        xp = nn.array_namespace(outputs)
        p = self.link(outputs)
        error = p - xp.astype(targets[:, None] == xp.arange(p.shape[-1]), p.dtype)
        return xp.sum(error * error, axis=-1), (p, error)

    def backward(self, cache, dvalues):
        p, error = cache
        inner = nn.array_namespace(p).sum(p * error, axis=-1, keepdims=True)
        return dvalues[..., None] * 2.0 * p * (error - inner)

    def check_targets(self, targets, n_out, *, values=True):
        return targets


def test_a_loss_of_the_users_that_classifies(iris):
    x, y = iris
    names, onehot = np.asarray(["setosa", "versicolor", "virginica"]), np.eye(3)[y]
    ours = classifier(loss=Brier())

    def value(mlp):
        return np.mean(((mlp.predict_proba(x) - onehot) ** 2).sum(axis=1))

    assert_descends(ours, x, names[y], value)
    assert set(ours.predict(x)) <= set(names)


@dataclass
class Absolute(nn.Loss):
    """Not in the library, and it cannot be hashed: it is no frozen dataclass."""

    factor: float = 1.0

    def forward(self, outputs, targets):
        error = outputs - targets
        return self.factor * np.abs(error).mean(axis=-1), error

    def backward(self, cache, dvalues):
        return self.factor * dvalues[..., None] * np.sign(cache) / cache.shape[-1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_loss_that_cannot_be_hashed(solver, values):
    x, y = values
    settings = {"solver": solver, "max_iter": 5, "warm_start": True}
    mine = regressor(loss=Absolute(), **settings).fit(x, y)
    known = regressor(loss="mean_absolute_error", **settings).fit(x, y)
    np.testing.assert_allclose(all_weights(mine), all_weights(known), rtol=1e-12)
    # And another one on top of it.
    mine.set_params(loss=Absolute(3.0)).fit(x, y)
    assert mine.loss_ > 2 * known.fit(x, y).loss_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_custom_losses_that_compare_equal_are_not_taken_for_each_other(solver, values):
    x, y = values
    settings = {"solver": solver, "max_iter": 1, "warm_start": True, "alpha": 0.0}
    mine = regressor(loss=TimesSquared(1.0), **settings).fit(x, y)
    other = regressor(loss=TimesSquared(5.0), **settings).fit(x, y)
    assert other.loss_curve_[0] > 2 * mine.loss_curve_[0]
    first = mine.loss_
    assert mine.set_params(loss=TimesSquared(10.0)).fit(x, y).loss_ > 2 * first


def test_a_loss_of_probabilities_needs_layers_that_make_them(tumours):
    x, y = tumours
    loss = nn.ProbabilityCrossEntropy()
    with pytest.raises(ValueError, match=r"takes probabilities.*layers=\[\.\.\., .*Sigmoid\(\)\]"):
        classifier(loss=loss).fit(x, y)
    layers = [nn.Dense(5), nn.Tanh(), nn.Dense(1), nn.Sigmoid()]
    assert_descends(classifier(loss=loss, layers=layers), x, y, cross_entropy(x, y))


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_of_classes(smoothing, iris):
    x, y = iris
    targets = (1 - smoothing) * np.eye(3)[y] + smoothing / 3

    def value(mlp):
        return -np.mean((targets * np.log(mlp.predict_proba(x))).sum(axis=1))

    assert_descends(classifier(label_smoothing=smoothing), x, y, value)


def test_label_smoothing_of_two_classes_and_of_labels(tumours):
    x, y = tumours
    several = np.stack([y, x[:, 0] > 0, x[:, 1] > 0], axis=1).astype(int)

    def of_two(mlp):
        return binary_cross_entropy(0.8 * y + 0.1, mlp.predict_proba(x)[:, 1])

    def of_several(mlp):
        # scikit-learn adds labels up.
        return 3 * binary_cross_entropy(0.8 * several + 0.1, mlp.predict_proba(x))

    assert_descends(classifier(label_smoothing=0.2), x, y, of_two)
    assert_descends(classifier(label_smoothing=0.2), x, several, of_several)


def test_validation_is_not_smoothed(iris):
    x, y = iris
    ours = classifier(label_smoothing=0.4, validation_data=(x, y), max_iter=3).fit(x, y)
    expected = log_loss(y, ours.predict_proba(x))
    assert ours.validation_curve_[-1] == pytest.approx(expected, rel=1e-9)

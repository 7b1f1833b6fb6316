"""Activations, dropout, normalisation and whole networks: the layers, and that they are trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn_cases import (
    STILL,
    all_weights,
    assert_descends,
    classifier,
    cross_entropy,
    flatten,
    regressor,
)

import anyback_nn as nn
from anyback_nn.sklearn import MLPRegressor


@pytest.mark.parametrize(
    "name", [name for name in (*nn.ACTIVATIONS, "logistic") if name != "softmax"]
)
def test_activations_by_name(name, iris):
    ours = classifier(activation=name).fit(*iris)
    function = {"logistic": nn.Sigmoid, **nn.ACTIVATIONS}[name]()
    assert ours.model_.network == nn.Network(nn.Dense(5), function, nn.Dense(3))


LAYERS = {
    "a layer": ({"activation": nn.LeakyReLU(0.3)}, [nn.LeakyReLU(0.3)], [nn.LeakyReLU(0.3)]),
    "names": ({"activation": ["tanh", "gelu"]}, [nn.Tanh()], [nn.GELU()]),
    "both": (
        {"activation": (nn.LeakyReLU(0.5), "logistic")},
        [nn.LeakyReLU(0.5)],
        [nn.Sigmoid()],
    ),
    "a rate": ({"dropout": 0.2}, [nn.Tanh(), nn.Dropout(0.2)], [nn.Tanh(), nn.Dropout(0.2)]),
    "rates": ({"dropout": [0.0, 0.25]}, [nn.Tanh()], [nn.Tanh(), nn.Dropout(0.25)]),
    "normalised": (
        {"batch_norm": True, "dropout": [0.1, 0.0]},
        [nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.1)],
        [nn.BatchNorm(), nn.Tanh()],
    ),
}
"""Settings, and what follows the first and the second dense layer."""


@pytest.mark.parametrize("name", LAYERS)
def test_the_layers_of_a_network(name, iris):
    settings, first, second = LAYERS[name]
    ours = classifier(hidden_layer_sizes=(5, 4), **settings).fit(*iris)
    expected = [nn.Dense(5), *first, nn.Dense(4), *second, nn.Dense(3)]
    assert ours.model_.network == nn.Network(*expected)


def test_dropout_silences_that_share_and_scales_up_the_rest():
    # Without biases and with one unit a layer of weight 1, an output is 0 or the product of
    # 1/(1 - rate), so that its square is on average that product. Its target is 0.
    x, y = np.ones((20_000, 1)), np.zeros(20_000)
    ours = regressor(hidden_layer_sizes=(1, 1), activation="identity", dropout=[0.2, 0.5])
    ours.set_params(optimizer=STILL, batch_size=5000, warm_start=True).fit(x, y)
    ours.coefs_, ours.intercepts_ = [np.ones((1, 1))] * 3, [np.zeros(1)] * 3
    ours.fit(x, y)
    assert ours.loss_ == pytest.approx(0.5 / (0.8 * 0.5), rel=0.03)
    # And in prediction it is not there.
    np.testing.assert_array_equal(ours.predict(x[:5]), 1.0)


def test_normalisation_is_trained_as_the_model_trains_it(iris):
    x, y = iris
    ours = classifier(hidden_layer_sizes=(5, 4), batch_norm=True, optimizer=STILL).fit(x, y)
    model, before = copy.deepcopy(ours.model_), all_weights(ours)
    rule = nn.GradientDescent(0.1)
    model.fit(x, y, epochs=5, batch_size=None, optimizer=rule)
    ours.set_params(warm_start=True, optimizer=rule, max_iter=5).fit(x, y)
    assert np.abs(all_weights(ours) - before).max() > 0.01
    np.testing.assert_allclose(flatten(ours.model_), flatten(model), atol=1e-12)
    # Which the averages of the batches have a part in.
    np.testing.assert_allclose(ours.predict_proba(x), model.predict(x), atol=1e-12)
    assert np.abs(ours.predict_proba(x[:1]) - ours.predict_proba(x)[:1]).max() < 1e-12


def test_layers_are_the_whole_network(iris):
    x, y = iris
    block = nn.Residual(nn.Dense(6), nn.LayerNorm(), nn.SiLU(), nn.Dense(5))
    ours = classifier(layers=[nn.Dense(5), nn.LayerNorm(), nn.Tanh(), block, nn.Dense(3)])
    # The scales and shifts of the normalisations are not among coefs_ and intercepts_.
    assert_descends(ours, x, y, cross_entropy(x, y))
    assert [array.shape for array in ours.coefs_] == [(4, 5), (5, 6), (6, 5), (5, 3)]
    assert ours.n_layers_ == 5


@dataclass(frozen=True)
class Square(nn.Layer):
    """Not in the library: y = x^2."""

    def forward(self, params, x, context=nn.PREDICTION):
        return x * x, x

    def backward(self, params, cache, dy):
        return 2.0 * cache * dy, {}


def test_a_layer_of_the_users():
    # x y is a difference of squares, so this network can be exact: no other activation is.
    x = np.random.default_rng(0).normal(size=(60, 2))
    y = x[:, 0] * x[:, 1]
    layers = [nn.Dense(4), Square(), nn.Dense(1)]
    ours = MLPRegressor(layers=layers, alpha=0.0, solver="lbfgs", tol=1e-8, random_state=0)
    ours.fit(x, y)
    far = 10 * x
    np.testing.assert_allclose(ours.predict(far), far[:, 0] * far[:, 1], atol=1e-2)


@pytest.mark.parametrize(
    "settings", [{"layers": [nn.Dense(4), nn.ReLU(), nn.Dense(3)]}, {"dropout": 0.5}], ids=str
)
def test_the_seed_fixes_layers_and_dropout(settings, iris):
    first, same, other = (
        classifier(**settings | {"random_state": seed}).fit(*iris) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(all_weights(first), all_weights(same))
    assert np.all(first.coefs_[0] != other.coefs_[0])

"""Activations, dropout, normalisation and whole networks, against formulas and PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss
from sklearn_cases import STILL, all_weights, assert_descends, classifier, cross_entropy, regressor

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

FORMULAS = {
    "sigmoid": expit,
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)),
    # With the tanh of the paper; PyTorch calls that approximate="tanh".
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z * expit(z),
    "softplus": lambda z: np.log1p(np.exp(z)),
}


def by_hand(estimator, x, functions):
    """The raw outputs, by the textbook."""
    for weight, bias, function in zip(
        estimator.coefs_, estimator.intercepts_, [*functions, lambda z: z], strict=True
    ):
        x = function(x @ weight + bias)
    return x


def test_every_activation_of_the_library_has_a_name_here():
    for name in {*FORMULAS, "identity", "tanh", "relu", "logistic"}:
        MLPClassifier(activation=name)._validate_params()
    assert set(nn.ACTIVATIONS) - {"softmax"} == {*FORMULAS, "identity", "tanh", "relu"}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_by_name(name, iris):
    x, y = iris
    ours = classifier(activation=name)
    assert_descends(ours, x, y, cross_entropy(x, y))
    z = by_hand(ours, x, [FORMULAS[name]])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(x), p, rtol=1e-12)


@pytest.mark.parametrize(
    ("activation", "functions"),
    [
        (nn.LeakyReLU(0.3), [lambda z: np.where(z > 0, z, 0.3 * z)] * 2),
        (["tanh", "gelu"], [np.tanh, FORMULAS["gelu"]]),
        ((nn.LeakyReLU(0.5), "logistic"), [lambda z: np.where(z > 0, z, 0.5 * z), expit]),
    ],
    ids=["layer", "names", "both"],
)
def test_activations_as_layers_and_one_for_each_hidden_layer(activation, functions, values):
    x, y = values
    ours = regressor(activation=activation, hidden_layer_sizes=(5, 4))
    value = lambda one: 0.5 * np.mean((one.predict(x) - y) ** 2)  # noqa: E731
    ours.set_params(optimizer=STILL).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), by_hand(ours, x, functions), rtol=1e-12)
    assert ours.loss_ == pytest.approx(value(ours))


@pytest.mark.parametrize("rates", [0.2, [0.2, 0.5]], ids=["one", "each"])
def test_dropout_silences_that_share_and_scales_up_the_rest(rates):
    # Without biases and with one unit a layer of weight 1, an output is 0 or the product of
    # 1/(1 - rate), so that its square is on average that product. Its target is 0.
    x, y = np.ones((20_000, 1)), np.zeros(20_000)
    ours = regressor(hidden_layer_sizes=(1, 1), activation="identity", dropout=rates)
    ours.set_params(optimizer=STILL, batch_size=5000, warm_start=True).fit(x, y)
    ours.coefs_, ours.intercepts_ = [np.ones((1, 1))] * 3, [np.zeros(1)] * 3
    ours.fit(x, y)
    one, other = np.broadcast_to(rates, 2)
    assert ours.loss_ == pytest.approx(0.5 / ((1 - one) * (1 - other)), rel=0.03)
    # And in prediction it is not there.
    np.testing.assert_array_equal(ours.predict(x[:5]), 1.0)


def test_no_dropout_in_a_layer_of_rate_zero(iris):
    ours = classifier(hidden_layer_sizes=(4, 3), dropout=[0.0, 0.25]).fit(*iris)
    kinds = [type(layer).__name__ for layer in ours.model_.network.layers]
    assert kinds == ["Dense", "Tanh", "Dense", "Tanh", "Dropout", "Dense"]


@pytest.mark.needs("torch")
def test_batch_norm_trains_as_pytorch_does(iris):
    import torch

    x, y = (torch.from_numpy(a) for a in iris)
    ours = classifier(hidden_layer_sizes=(5, 4), batch_norm=True, optimizer=STILL).fit(*iris)
    layers = []
    for n_in, n_out in ((4, 5), (5, 4), (4, 3)):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.BatchNorm1d(n_out), torch.nn.Tanh()]
    theirs = torch.nn.Sequential(*layers[:-2]).double()
    dense = [one for one in theirs if isinstance(one, torch.nn.Linear)]
    with torch.no_grad():
        for one, weight, bias in zip(dense, ours.coefs_, ours.intercepts_, strict=True):
            one.weight.copy_(torch.from_numpy(weight.T))
            one.bias.copy_(torch.from_numpy(bias))
    ours.set_params(warm_start=True, optimizer=nn.GradientDescent(0.1), max_iter=5).fit(*iris)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(x), y).backward()
        optimizer.step()
    for one, weight, bias in zip(dense, ours.coefs_, ours.intercepts_, strict=True):
        np.testing.assert_allclose(weight, one.weight.detach().numpy().T, atol=1e-10)
        np.testing.assert_allclose(bias, one.bias.detach().numpy(), atol=1e-10)


def test_batch_norm_predicts_sample_by_sample(iris):
    x, y = iris
    ours = classifier(batch_norm=True, max_iter=20).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x[:1]), ours.predict_proba(x)[:1], rtol=1e-12)


def test_layers_are_the_whole_network(iris):
    x, y = iris
    block = nn.Residual(nn.Dense(6), nn.LayerNorm(), nn.SiLU(), nn.Dense(5))
    ours = classifier(layers=[nn.Dense(5), nn.LayerNorm(), nn.Tanh(), block, nn.Dense(3)])
    # The scales and shifts of the normalisations are not among coefs_ and intercepts_.
    assert_descends(ours, x, y, cross_entropy(x, y))
    assert [one.shape for one in ours.coefs_] == [(4, 5), (5, 6), (6, 5), (5, 3)]
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


def test_the_seed_fixes_layers_and_dropout(iris):
    for settings in ({"layers": [nn.Dense(4), nn.ReLU(), nn.Dense(3)]}, {"dropout": 0.5}):
        one, same, other = (
            classifier(**{**settings, "random_state": seed}).fit(*iris) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(all_weights(one), all_weights(same))
        assert np.all(one.coefs_[0] != other.coefs_[0])


def test_the_model_is_one_of_the_library(iris):
    x, y = iris
    ours = classifier(max_iter=20).fit(x, y)
    assert isinstance(ours.model_, nn.Model)
    np.testing.assert_array_equal(ours.model_.predict(x), ours.predict_proba(x))
    report = nn.Model.evaluate(ours.model_, x, y)
    assert report["loss"] == pytest.approx(log_loss(y, ours.predict_proba(x)))
    assert [row.parameters for row in ours.model_.summary()] == [25, 0, 18]

"""What the estimators have beyond scikit-learn's, each against something independent of it.

Gradients are compared with differences of what the public methods compute, networks with formulas
in NumPy, rules of training with their definition on weights that a callback has recorded. That
nothing of it changes the defaults is proved by test_sklearn_side_by_side.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from network_cases import central_differences
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

import anyback_nn as nn
from anyback_nn.errors import ShapeError
from anyback_nn.network.losses import LOSSES
from anyback_nn.sklearn import MLPClassifier, MLPRegressor, batches
from anyback_nn.training import data

# Few epochs are enough here, and hardly any fit comes to an end by itself.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "activation": "tanh",
    "alpha": 0.0,
    "max_iter": 1,
    "random_state": 1,
}
"""What every fit has, if its test does not say otherwise."""

STILL = nn.GradientDescent(1e-30)
"""Changes nothing, so that fitting gives the first weights and records their loss."""


@pytest.fixture(scope="module")
def iris():
    """Some flowers of each class, in no order."""
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:60]
    return scale(x)[chosen], y[chosen]


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return scale(x)[:80, :4], y[:80]


@pytest.fixture(scope="module")
def values():
    """Two targets that are functions of three inputs."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    return x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 1] * x[:, 2]], axis=1)


def classifier(**settings):
    return MLPClassifier(**{**SMALL, **settings})


def regressor(**settings):
    return MLPRegressor(**{**SMALL, **settings})


def vector(estimator):
    """All weights and biases."""
    return np.concatenate([a.ravel() for a in [*estimator.coefs_, *estimator.intercepts_]])


def put(estimator, numbers):
    """Set all weights and biases."""
    arrays = [*estimator.coefs_, *estimator.intercepts_]
    ends = np.cumsum([a.size for a in arrays])[:-1]
    parts = [p.reshape(a.shape) for p, a in zip(np.split(numbers, ends), arrays, strict=True)]
    estimator.coefs_ = parts[: len(estimator.coefs_)]
    estimator.intercepts_ = parts[len(estimator.coefs_) :]


def slope(estimator, value):
    """Derive ``value(estimator)`` with respect to all weights and biases by differences."""
    start = vector(estimator)

    def at(numbers):
        put(estimator, numbers)
        return value(estimator)

    found = central_differences(at, start)
    put(estimator, start)
    return found


def assert_descends(estimator, x, y, value, sample_weight=None, rate=0.1):
    """Assert that an epoch with one batch is a step down the slope of ``value``, and records it."""
    estimator.set_params(optimizer=STILL).fit(x, y, sample_weight)
    start, before, expected = vector(estimator), value(estimator), slope(estimator, value)
    estimator.set_params(warm_start=True, optimizer=nn.GradientDescent(rate))
    estimator.fit(x, y, sample_weight)
    found = (start - vector(estimator)) / rate
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    assert np.linalg.norm(found) > 1e-3
    assert estimator.loss_ == pytest.approx(before, rel=1e-9)


def cross_entropy(x, y, weights=None):
    """The mean of the logarithms of the probabilities of the classes 0, 1, ..."""

    def value(estimator):
        p = estimator.predict_proba(x)
        return -np.average(np.log(p[np.arange(len(y)), y]), weights=weights)

    return value


class Recorder(nn.Callback):
    """Notes the parameters after each step, as one vector."""

    def __init__(self):
        self.after = []

    def on_batch_end(self, fit):
        self.after.append(flat(fit.model))


def flat(model):
    return np.concatenate([a.ravel() for layer in model.params for a in layer.values()])


# Networks ----------------------------------------------------------------------------------------

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
        np.testing.assert_array_equal(vector(one), vector(same))
        assert np.all(one.coefs_[0] != other.coefs_[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64", "int64"])
def test_dtype_comes_before_that_of_the_input(given, dtype, iris):
    x, y = (4 * iris[0]).astype(given), iris[1]
    ours = classifier(dtype=dtype, hidden_layer_sizes=(4, 3)).fit(x, y)
    for array in (*ours.coefs_, *ours.intercepts_, ours.predict_proba(x)):
        assert array.dtype == dtype
    for slot in ours.model_.training.slots.values():
        assert all(array.dtype == dtype for array in slot)


def test_the_model_is_one_of_the_library(iris):
    x, y = iris
    ours = classifier(max_iter=20).fit(x, y)
    assert isinstance(ours.model_, nn.Model)
    np.testing.assert_array_equal(ours.model_.predict(x), ours.predict_proba(x))
    report = nn.Model.evaluate(ours.model_, x, y)
    assert report["loss"] == pytest.approx(log_loss(y, ours.predict_proba(x)))
    assert [row.parameters for row in ours.model_.summary()] == [25, 0, 18]


# Losses ------------------------------------------------------------------------------------------


def binary(y, p):
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


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
    "huber": lambda e: np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5),
}


@pytest.mark.parametrize("name", ERRORS)
def test_losses_of_values(name, values):
    x, y = values
    assert_descends(
        regressor(loss=name), x, y, lambda one: np.mean(ERRORS[name](one.predict(x) - y))
    )


def test_every_loss_of_the_library_has_a_name_here():
    named = {name for name, loss in LOSSES.items() if not loss.classifies}
    assert named == {*ERRORS, "poisson"}
    for name in named:
        MLPRegressor(loss=name)._validate_params()


@dataclass(frozen=True)
class Pinball(nn.Loss):
    """Not in the library: its minimum is a quantile."""

    share: float

    def forward(self, outputs, targets):
        xp = nn.array_namespace(outputs)
        error = targets - outputs
        return xp.sum(xp.maximum(self.share * error, (self.share - 1.0) * error), axis=-1), error

    def backward(self, cache, dvalues):
        xp = nn.array_namespace(cache)
        above = xp.astype(cache > 0, cache.dtype)
        return dvalues[..., None] * ((1.0 - self.share) - above)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_loss_of_the_users(share):
    y = np.random.default_rng(0).exponential(size=500)
    ours = MLPRegressor(
        Pinball(share),
        layers=[nn.Dense(1)],
        optimizer=nn.GradientDescent(nn.ExponentialDecay(0.5, 0.97)),
        alpha=0.0,
        max_iter=200,
        random_state=0,
    ).fit(np.zeros((500, 1)), y)
    assert ours.predict([[0.0]])[0] == pytest.approx(np.quantile(y, share), abs=0.05)


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
    names = np.asarray(["setosa", "versicolor", "virginica"])
    ours = classifier(loss=Brier())
    onehot = np.eye(3)[y]
    assert_descends(
        ours, x, names[y], lambda one: np.mean(((one.predict_proba(x) - onehot) ** 2).sum(axis=1))
    )
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
    np.testing.assert_allclose(vector(mine), vector(known), rtol=1e-12)
    # And another one on top of it.
    mine.set_params(loss=Absolute(3.0)).fit(x, y)
    assert mine.loss_ > 2 * known.fit(x, y).loss_


def test_another_loss_on_a_warm_start(values):
    x, y = values[0], np.abs(values[1])
    ours = regressor(warm_start=True, optimizer=STILL).fit(x, y)
    before = ours.predict(x)
    ours.set_params(loss="poisson").fit(x, y)
    assert ours.out_activation_ == "exp"
    np.testing.assert_allclose(ours.predict(x), np.exp(before))
    np.testing.assert_allclose(ours.to_sklearn().predict(x), np.exp(before))


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_a_loss_of_another_number_of_outputs_needs_a_new_beginning(way, tumours):
    x, y = tumours
    ours = classifier(warm_start=True).fit(x, y)
    before = ours.predict_proba(x)
    ours.set_params(loss="softmax_cross_entropy")
    text = r"SoftmaxCrossEntropy needs another number of outputs, 2, .* has, 1\. .*warm_start=False"
    with pytest.raises(ValueError, match=text):
        getattr(ours, way)(x, y)
    np.testing.assert_array_equal(ours.predict_proba(x), before)
    assert ours.set_params(warm_start=False).fit(x, y).n_outputs_ == 2


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
    assert_descends(
        classifier(label_smoothing=smoothing),
        x,
        y,
        lambda one: -np.mean((targets * np.log(one.predict_proba(x))).sum(axis=1)),
    )


def test_label_smoothing_of_two_classes_and_of_labels(tumours):
    x, y = tumours
    both = np.stack([y, x[:, 0] > 0, x[:, 1] > 0], axis=1).astype(int)
    assert_descends(
        classifier(label_smoothing=0.2),
        x,
        y,
        lambda one: binary(0.8 * y + 0.1, one.predict_proba(x)[:, 1]),
    )
    # scikit-learn adds labels up.
    assert_descends(
        classifier(label_smoothing=0.2),
        x,
        both,
        lambda one: 3 * binary(0.8 * both + 0.1, one.predict_proba(x)),
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_label_smoothing_is_what_probabilities_converge_to(n_classes):
    y = np.arange(n_classes)
    ours = MLPClassifier(
        layers=[nn.Dense(1 if n_classes == 2 else n_classes)],
        solver="lbfgs",
        alpha=0.0,
        tol=1e-8,
        label_smoothing=0.3,
    ).fit(np.eye(n_classes), y)
    expected = 0.7 * np.eye(n_classes) + 0.3 / n_classes
    np.testing.assert_allclose(ours.predict_proba(np.eye(n_classes)), expected, atol=1e-4)


def test_validation_is_not_smoothed(iris):
    x, y = iris
    ours = classifier(label_smoothing=0.4, validation_data=(x, y), max_iter=3).fit(x, y)
    expected = log_loss(y, ours.predict_proba(x))
    assert ours.validation_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_settings_that_change_before_a_warm_start_count(tumours):
    # And leave other estimators of the same architecture alone.
    x, y = tumours
    targets = 0.8 * y + 0.1
    still = {"optimizer": STILL, "hidden_layer_sizes": (7,)}
    ours = classifier(**still, warm_start=True).fit(x, y)
    ours.set_params(label_smoothing=0.2).fit(x, y)
    p = ours.predict_proba(x)[:, 1]
    assert ours.loss_ == pytest.approx(binary(targets, p))
    ours.set_params(label_smoothing=0.2, alpha=0.5).fit(x, y)
    other = classifier(**still, alpha=0.5).fit(x, y)
    penalty = 0.5 / 160 * sum((w**2).sum() for w in other.coefs_)
    assert other.loss_ == pytest.approx(binary(y, p) + penalty)


# Weights of classes ------------------------------------------------------------------------------

EXACT = {"solver": "lbfgs", "max_iter": 500, "tol": 1e-9, "alpha": 0.5}
"""So that only the minimum counts. The penalty leaves a single one."""


def test_class_weight_repeats_samples(iris):
    x, y = iris
    times = np.asarray([1, 3, 2])
    weighted = classifier(**EXACT, class_weight={1: 3, 2: 2}).fit(x, y)
    repeated = classifier(**EXACT).fit(np.repeat(x, times[y], axis=0), np.repeat(y, times[y]))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), atol=1e-5)
    plain = classifier(**EXACT).fit(x, y)
    assert np.abs(weighted.predict_proba(x) - plain.predict_proba(x)).max() > 0.01


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
def test_class_weight_is_multiplied_with_sample_weight(solver, iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])[y]
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    settings = {"solver": solver, "max_iter": 20, "batch_size": 25}
    by_class = classifier(**settings, class_weight={"a": 0.5, "c": 4.0})
    by_class.fit(x, names, sample_weight=weights)
    by_sample = classifier(**settings)
    by_sample.fit(x, names, sample_weight=weights * np.asarray([0.5, 1.0, 4.0])[y])
    np.testing.assert_allclose(vector(by_class), vector(by_sample), rtol=1e-10)


def test_balanced_classes_weigh_the_same_together(iris):
    x, y = iris
    few = np.flatnonzero((y != 1) | (np.cumsum(y == 1) <= 5))
    x, y = x[few], y[few]
    weights = (len(y) / 3 / np.bincount(y))[y]
    sums = [weights[y == k].sum() for k in range(3)]
    np.testing.assert_allclose(sums, len(y) / 3)
    assert_descends(
        classifier(class_weight="balanced"), x, y, cross_entropy(x, y, weights), rate=0.05
    )


def test_class_weight_in_partial_fit(iris):
    x, y = iris
    ours = classifier(class_weight={2: 5.0}, optimizer=STILL)
    # A batch without the class, and one with it: the classes are known from the first call.
    for chosen in (y < 2, y >= 0):
        ours.partial_fit(x[chosen], y[chosen], classes=[0, 1, 2])
        value = cross_entropy(x[chosen], y[chosen], np.where(y[chosen] == 2, 5.0, 1.0))
        assert ours.loss_ == pytest.approx(value(ours))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("weights", ["balanced", {"a": 1.0, "c": 4.0}])
def test_class_weight_of_a_column_of_targets(weights, iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])[y]
    plain = classifier(class_weight=weights, max_iter=3).fit(x, names)
    for column in (names[:, None], pl.DataFrame({"name": names})):
        ours = classifier(class_weight=weights, max_iter=3).fit(x, column)
        np.testing.assert_array_equal(vector(ours), vector(plain))


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_class_weight_of_several_labels(way, iris):
    x, y = iris
    labels = np.eye(3, dtype=int)[y]
    ours = classifier(class_weight=[{0: 1.0, 1: 3.0}, {}, {1: 0.5}], max_iter=1)
    # A batch in which no one has the second label.
    x, labels = x[y != 1], labels[y != 1]
    weights = np.where(labels[:, 0], 3.0, 1.0) * np.where(labels[:, 2], 0.5, 1.0)
    if way == "fit":
        ours.fit(x, labels)
    else:
        ours.partial_fit(x, labels, classes=[0, 1, 2])
    plain = classifier(max_iter=1).fit(x, labels, weights)
    np.testing.assert_allclose(vector(ours), vector(plain), rtol=1e-12)


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("weights", "several", "text"),
    [
        ({0: -1.0}, False, "class_weight: expected weights that are finite and 0 or greater"),
        ({0: np.nan}, False, "class_weight: expected weights that are finite"),
        ({0: 0, 1: 0, 2: 0}, False, "class_weight: .*at least one of them above 0"),
        ({7: 1.0}, False, "class_weight"),
        ([{0: 1.0}], False, r"class_weight: expected .* dict of class to weight \(a list"),
        ({0: 1.0}, True, "class_weight: expected .* list with one dict .* each of the 3 labels"),
        ([{0: 1.0}], True, "class_weight: expected one dict for each of the 3 labels, got 1"),
        ([{0: -1.0}, {}, {}], True, "class_weight: expected weights that are finite"),
    ],
)
def test_class_weights_that_make_no_sense(weights, several, text, way, iris):
    x, y = iris
    more = {} if way == "fit" else {"classes": [0, 1, 2]}
    ours = classifier(class_weight=weights)
    with pytest.raises(ValueError, match=text):
        getattr(ours, way)(x, np.eye(3, dtype=int)[y] if several else y, **more)
    assert not hasattr(ours, "model_")


# Rules of training -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nn.OPTIMIZERS)
def test_optimizers_by_name(name, iris):
    x, y = iris
    recorder = Recorder()
    ours = classifier(
        optimizer=name, learning_rate_init=0.02, max_iter=30, callbacks=[recorder], batch_size=30
    ).fit(x, y)
    assert type(ours.model_.training.optimizer) is nn.OPTIMIZERS[name]
    assert ours.model_.history["learning_rate"] == [0.02] * 30
    assert len(recorder.after) == ours.model_.training.step == 60
    assert ours.loss_curve_[-1] < ours.loss_curve_[0]


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(iris):
    ours = classifier(optimizer=STILL).fit(*iris)
    start = vector(ours)
    ours.set_params(warm_start=True, optimizer="adam", learning_rate_init=0.01).fit(*iris)
    np.testing.assert_allclose(np.abs(vector(ours) - start), 0.01, rtol=1e-4)


def test_an_optimizer_comes_before_the_solver(iris):
    x, y = iris
    ours = classifier(solver="lbfgs", optimizer=nn.Momentum(0.1, momentum=0.5), max_iter=3)
    ours.fit(x, y)
    assert ours.model_.training.optimizer == nn.Momentum(0.1, momentum=0.5)
    # So there are epochs, and one more.
    ours.partial_fit(x, y)
    assert len(ours.loss_curve_) == 4


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": nn.StepDecay(0.4, every=2, factor=0.5)},
        {"schedule": nn.StepDecay(0.4, every=2, factor=0.5), "solver": "sgd"},
        {"schedule": nn.StepDecay(0.4, every=2, factor=0.5), "optimizer": "rmsprop"},
        {"schedule": nn.StepDecay(0.4, every=2, factor=0.5), "optimizer": nn.Momentum(9.0)},
        {"optimizer": nn.Momentum(nn.StepDecay(0.4, every=2, factor=0.5))},
        # scikit-learn's own schedule has no part in it.
        {"schedule": nn.StepDecay(0.4, 2, 0.5), "solver": "sgd", "learning_rate": "invscaling"},
    ],
    ids=["adam", "sgd", "name", "optimizer", "of the optimizer", "invscaling"],
)
def test_a_schedule_gives_the_rate_of_each_epoch(settings, iris):
    ours = classifier(max_iter=5, **settings).fit(*iris)
    assert ours.model_.history["learning_rate"] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])


def test_a_schedule_acts_within_an_epoch():
    # Only the penalty acts on inputs and targets of zero: each step shrinks w by 1 - rate * l2.
    x, y = np.zeros((40, 2)), np.zeros(40)
    schedule = nn.CosineDecay(0.5, epochs=3, warmup=1)
    rates = [0.5 * i / 4 for i in range(4)]
    rates += [0.25 * (1 + np.cos(np.pi * i / 8)) for i in range(8)]
    ours = regressor(optimizer=STILL, hidden_layer_sizes=(), l2_per_sample=0.3).fit(x, y)
    before = ours.coefs_[0].copy()
    ours.set_params(optimizer=nn.GradientDescent(), schedule=schedule, warm_start=True)
    ours.set_params(max_iter=3, batch_size=10).fit(x, y)
    np.testing.assert_allclose(ours.coefs_[0], before * np.prod([1 - 0.3 * r for r in rates]))


@pytest.mark.parametrize("clip_norm", [0.05, 100.0], ids=["too long", "short enough"])
@pytest.mark.parametrize("given", ["name", "optimizer", "sgd"])
def test_clip_norm_limits_the_length_of_the_gradient(given, clip_norm, iris):
    x, y = iris
    ours = classifier(optimizer=STILL).fit(x, y)
    start, gradient = vector(ours), slope(ours, cross_entropy(x, y))
    assert 0.05 < np.linalg.norm(gradient) < 100
    optimizer = {"name": "sgd", "optimizer": nn.GradientDescent(0.2), "sgd": None}[given]
    ours.set_params(optimizer=optimizer, learning_rate_init=0.2, solver="sgd", momentum=0.0)
    ours.set_params(nesterovs_momentum=False, clip_norm=clip_norm, warm_start=True).fit(x, y)
    step = 0.2 * gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    np.testing.assert_allclose(start - vector(ours), step, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_l2_per_sample_is_alpha_for_as_many_samples(solver, values):
    # Of several outputs, the gradient that scikit-learn's L-BFGS is given is not that of its loss.
    x, y = values[0], values[1][:, 0]
    settings = SMALL | {"solver": solver, "max_iter": 15, "learning_rate_init": 0.05}
    theirs = TheirRegressor(**settings | {"alpha": 0.02 * len(x)}).fit(x, y)
    ours = regressor(**settings | {"l2_per_sample": 0.02}).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-8)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_l2_per_sample_means_the_same_for_every_batch_size(batch_size):
    # What is minimised is ((w - 2)^2 + l2 w^2) / 2, so the minimum is 2 / (1 + l2).
    x = np.tile([[1.0], [-1.0]], (20, 1))
    ours = MLPRegressor(
        layers=[nn.Dense(1, bias=False)],
        optimizer=nn.GradientDescent(0.1),
        alpha=0.0,
        l2_per_sample=0.25,
        batch_size=batch_size,
        max_iter=120,
        tol=0.0,
        random_state=0,
    ).fit(x, 2.0 * x[:, 0])
    assert ours.coefs_[0][0, 0] == pytest.approx(1.6, rel=1e-4)


def test_the_penalty_acts_on_weights_alone_and_is_recorded(iris):
    x, y = iris
    data = cross_entropy(x, y)

    def value(one):
        squares = sum((w**2).sum() for w in one.coefs_)
        return data(one) + 0.5 * (0.3 + 6.0 / len(y)) * squares

    assert_descends(classifier(l2_per_sample=0.3, alpha=6.0), x, y, value)


# Averaged weights --------------------------------------------------------------------------------


def averaged(path, decay):
    """The mean of all weights so far, of which each counts ``decay`` times the next one."""
    powers = decay ** np.arange(len(path))[::-1]
    return np.average(path, axis=0, weights=powers)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_average_weights_is_the_average_of_all_steps(decay, solver, iris):
    recorder = Recorder()
    settings = {"max_iter": 4, "batch_size": 25, "solver": solver, "learning_rate_init": 0.05}
    ours = classifier(**settings, average_weights=decay, callbacks=[recorder]).fit(*iris)
    assert len(recorder.after) == 12
    np.testing.assert_allclose(flat(ours.model_), averaged(recorder.after, decay), rtol=1e-12)
    # It takes no part in training.
    alone = Recorder()
    classifier(**settings, callbacks=[alone]).fit(*iris)
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


@pytest.mark.needs("jax")
@pytest.mark.needs("optax")
def test_average_weights_is_that_of_optax(iris):
    import optax

    recorder = Recorder()
    ours = classifier(max_iter=10, average_weights=0.9, callbacks=[recorder]).fit(*iris)
    ema = optax.ema(0.9, debias=True)
    path = np.asarray(recorder.after, dtype="float32")
    state = ema.init(path[0])
    for weights in path:
        mean, state = ema.update(weights, state)
    np.testing.assert_allclose(flat(ours.model_), np.asarray(mean), atol=1e-5)


def test_averaged_weights_are_what_is_validated(iris):
    x, y = iris
    recorder = Recorder()
    ours = classifier(
        max_iter=5, average_weights=0.8, callbacks=[recorder], validation_data=(x, y)
    ).fit(x, y)
    for epoch in range(1, 6):
        nothing = classifier(optimizer=STILL).fit(x, y)
        weights = averaged(recorder.after[:epoch], 0.8)
        # The weights of a model are stored with the bias of each layer before or behind them.
        put_flat(nothing.model_, weights)
        expected = log_loss(y, nothing.predict_proba(x))
        assert ours.validation_curve_[epoch - 1] == pytest.approx(expected, rel=1e-9)


def put_flat(model, numbers):
    """The opposite of `flat`."""
    tree, begin = [], 0
    for layer in model.params:
        filled = {}
        for name, a in layer.items():
            filled[name] = numbers[begin : begin + a.size].reshape(a.shape)
            begin += a.size
        tree.append(filled)
    model.training.params = model.layout.store(tuple(tree))


def test_averaging_goes_on_in_partial_fit(iris):
    x, y = iris
    recorder, alone = Recorder(), Recorder()
    ours = classifier(average_weights=0.7, callbacks=[recorder])
    plain = classifier(callbacks=[alone])
    for calls in range(1, 5):
        ours.partial_fit(x, y, classes=[0, 1, 2])
        plain.partial_fit(x, y, classes=[0, 1, 2])
        assert len(recorder.after) == calls
        np.testing.assert_allclose(flat(ours.model_), averaged(recorder.after, 0.7), rtol=1e-12)
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_training_and_averaging_go_on_from_weights_that_were_set(way, iris):
    x, y = iris
    ours = classifier(average_weights=0.9, max_iter=3, warm_start=True).fit(x, y)
    ours.set_params(max_iter=1, learning_rate_init=1e-9)
    put(ours, np.full_like(vector(ours), 2.0))
    if way == "partial_fit":
        # The optimiser goes on, at its rate of 0.001.
        ours.partial_fit(x, y)
    else:
        ours.fit(x, y)
    np.testing.assert_allclose(vector(ours), 2.0, atol=0.002)


def test_another_average_begins_anew(iris):
    x, y = iris
    ours, recorder = classifier(average_weights=0.5), Recorder()
    for _ in range(5):
        ours.partial_fit(x, y, classes=[0, 1, 2])
    ours.set_params(average_weights=0.99, callbacks=[recorder]).partial_fit(x, y).partial_fit(x, y)
    np.testing.assert_allclose(flat(ours.model_), averaged(recorder.after, 0.99), rtol=1e-12)


def test_averages_and_the_callback_that_restores_weights_exclude_each_other(iris):
    x, y = iris
    ours = classifier(average_weights=0.9, callbacks=[nn.EarlyStopping(monitor="train_loss")])
    with pytest.raises(ValueError, match=r"callbacks: EarlyStopping .* Use early_stopping=True"):
        ours.fit(x, y)
    assert not hasattr(ours, "model_")
    ours.set_params(callbacks=[nn.EarlyStopping(monitor="train_loss", restore_best=False)])
    ours.fit(x, y)


def test_early_stopping_restores_the_average_of_the_best_epoch(iris):
    recorder, metric = Recorder(), Given([0.1, 0.2, 0.9, 0.3, 0.3, 0.3])
    ours = classifier(early_stopping=True, n_iter_no_change=1, max_iter=20, average_weights=0.8)
    ours.set_params(early_stopping_metric=metric, callbacks=[recorder]).fit(*iris)
    assert ours.n_iter_ == 5
    np.testing.assert_allclose(flat(ours.model_), averaged(recorder.after[:3], 0.8), rtol=1e-12)


# Validation --------------------------------------------------------------------------------------


class Curves(nn.Callback):
    """Computes after each epoch what ``measure`` finds with the estimator as it is."""

    def __init__(self, measure):
        self.measure, self.found = measure, []

    def on_epoch_end(self, fit):
        self.found.append(self.measure(self.estimator))


def with_curves(estimator, measure):
    """Let a callback know its estimator."""
    curves = Curves(measure)
    curves.estimator = estimator.set_params(callbacks=[curves])
    return curves


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_data_of_classes(weighted, iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, 20) if weighted else None
    ours = classifier(max_iter=6, alpha=1.0, batch_size=10)
    ours.set_params(validation_data=(x[:20], y[:20], w) if weighted else (x[:20], y[:20]))
    curves = with_curves(
        ours,
        lambda one: (
            log_loss(y[:20], one.predict_proba(x[:20]), sample_weight=w),
            accuracy_score(y[:20], one.predict(x[:20]), sample_weight=w),
        ),
    )
    ours.fit(x[20:], y[20:])
    losses, scores = zip(*curves.found, strict=True)
    np.testing.assert_allclose(ours.validation_curve_, losses, rtol=1e-9)
    np.testing.assert_allclose(ours.validation_scores_, scores, rtol=1e-12)
    assert len(losses) == 6
    # Nothing was set aside: each epoch has gone through all 40 rows.
    assert ours.t_ == 240


def test_validation_data_of_values(values):
    x, y = values
    ours = regressor(max_iter=4, validation_data=(x[:10], y[:10]))
    curves = with_curves(
        ours,
        lambda one: (
            mean_squared_error(y[:10], one.predict(x[:10])) / 2,
            r2_score(y[:10], one.predict(x[:10])),
        ),
    )
    ours.fit(x[10:], y[10:])
    np.testing.assert_allclose(
        list(zip(ours.validation_curve_, ours.validation_scores_)), curves.found
    )


def test_validation_data_in_lbfgs(iris):
    x, y = iris
    ours = classifier(solver="lbfgs", max_iter=6, validation_data=(x[:20], y[:20]))
    curves = with_curves(ours, lambda one: log_loss(y[:20], one.predict_proba(x[:20])))
    ours.fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_curve_, curves.found, rtol=1e-9)
    assert len(curves.found) == ours.n_iter_ == len(ours.loss_curve_)


def test_the_validation_curve_of_early_stopping(iris):
    x, y = iris
    seen = []

    def metric(estimator, x_held, y_held):
        seen.append((x_held, y_held))
        return -log_loss(y_held, estimator.predict_proba(x_held))

    ours = classifier(early_stopping=True, max_iter=5, early_stopping_metric=metric).fit(x, y)
    # The loss and the metric are computed on the same rows, a tenth of them.
    assert ours.validation_curve_ == pytest.approx([-one for one in ours.validation_scores_])
    assert all(held[0].shape == (6, 4) for held in seen)
    rows = {tuple(row): one for row, one in zip(x, y, strict=True)}
    assert all(rows[tuple(row)] == one for held in seen for row, one in zip(*held, strict=True))


def test_without_validation_there_are_no_curves(iris):
    ours = classifier().fit(*iris)
    assert ours.validation_curve_ is None
    assert ours.validation_scores_ is None
    assert not hasattr(MLPClassifier(), "validation_curve_")


def test_validation_data_for_early_stopping(iris):
    x, y = iris
    ours = classifier(early_stopping=True, max_iter=100, n_iter_no_change=2, tol=0.0)
    ours.set_params(validation_data=(x[:20], y[:20]), learning_rate_init=0.05).fit(x[20:], y[20:])
    assert ours.converged_
    assert ours.t_ == 40 * ours.n_iter_
    best = max(ours.validation_scores_)
    assert ours.best_validation_score_ == best == ours.score(x[:20], y[:20])


class Given:
    """A metric that gives prescribed scores, and notes what it was called with."""

    def __init__(self, scores):
        self.scores, self.calls = list(scores), []

    def __call__(self, estimator, x, y):
        self.calls.append((estimator, x, y, vector(estimator)))
        return self.scores[len(self.calls) - 1]


def test_the_metric_is_called_with_what_was_given(iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])
    held = (x[:20].tolist(), names[y[:20]])
    metric = Given([0.5, 0.6])
    ours = classifier(max_iter=2, validation_data=held, early_stopping_metric=metric)
    ours.fit(x[20:], names[y[20:]])
    for estimator, seen, labels, _ in metric.calls:
        assert estimator is ours
        assert seen is held[0]
        np.testing.assert_array_equal(labels, held[1])
    assert ours.validation_scores_ == [0.5, 0.6]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_best_epoch_of_the_metric_is_restored(solver, iris):
    metric = Given([0.1, 0.7, 0.3, 0.9, 0.2, 0.9, 0.8, 0.5, 0.4])
    ours = classifier(solver=solver, early_stopping=True, n_iter_no_change=2, max_iter=50)
    ours.set_params(early_stopping_metric=metric).fit(*iris)
    # The 2 that are waited for are counted as scikit-learn counts them: a third one ends it.
    assert (ours.n_iter_, ours.converged_, ours.best_validation_score_) == (7, True, 0.9)
    np.testing.assert_array_equal(vector(ours), metric.calls[3][3])


def test_metrics_by_name(iris):
    x, y = iris
    held = (x[:20], y[:20])
    ours = classifier(max_iter=4, early_stopping_metric="neg_log_loss", validation_data=held)
    ours.fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_scores_, -np.asarray(ours.validation_curve_))


def weighted_accuracy(estimator, x, y, sample_weight=None):
    return estimator.score(x, y, sample_weight)


@pytest.mark.parametrize("metric", ["accuracy", weighted_accuracy])
def test_metrics_get_the_weights_of_the_validation_data(metric, iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, 20)
    settings = {"max_iter": 4, "validation_data": (x[:20], y[:20], w)}
    ours = classifier(early_stopping_metric=metric, **settings).fit(x[20:], y[20:])
    default = classifier(**settings).fit(x[20:], y[20:])
    np.testing.assert_allclose(ours.validation_scores_, default.validation_scores_, rtol=1e-12)


def test_metrics_get_the_weights_of_the_part_that_is_set_aside(iris):
    x, y = iris
    w = np.linspace(0.1, 3.0, len(y))
    settings = {"max_iter": 4, "early_stopping": True}
    ours = classifier(early_stopping_metric="accuracy", **settings).fit(x, y, w)
    default = classifier(**settings).fit(x, y, w)
    np.testing.assert_allclose(ours.validation_scores_, default.validation_scores_, rtol=1e-12)


def test_a_metric_without_weights_is_not_for_weighted_validation_data(iris):
    x, y = iris
    ours = classifier(early_stopping_metric=lambda estimator, x, y: 0.5)
    with pytest.raises(ValueError, match="early_stopping_metric does not take the weights"):
        ours.set_params(validation_data=(x, y, np.ones(len(y)))).fit(x, y)


@pytest.mark.parametrize("given", ["array", "table"])
def test_names_of_features_are_spoken_of_once(given, iris):
    x, y = iris
    table = pl.DataFrame(x, list("abcd"))
    held, other = (x, table) if given == "array" else (table, x)
    ours = classifier(max_iter=3, early_stopping_metric="accuracy", validation_data=(held, y))
    with pytest.warns(UserWarning, match="feature names") as caught:
        ours.fit(other, y)
    assert len([one for one in caught if "feature names" in str(one.message)]) == 1


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_training_goes_on_after_a_metric_was_interrupted(learning_rate, iris):
    x, y = iris

    def metric(estimator, x_held, y_held):
        if len(estimator.loss_curve_) == 2:
            raise KeyboardInterrupt
        return 0.5

    settings = {"solver": "sgd", "learning_rate": learning_rate, "validation_data": (x, y)}
    ours = classifier(early_stopping_metric=metric, **settings)
    plain = classifier(**settings)
    ours.partial_fit(x, y, classes=[0, 1, 2])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ours.partial_fit(x, y)
    ours.partial_fit(x, y)
    for _ in range(3):
        plain.partial_fit(x, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(vector(ours), vector(plain))


@pytest.fixture
def largest(monkeypatch):
    """The largest number of numbers that was made dense at once, in a list of one."""
    found, make = [0], batches._rows_of

    def noting(array, rows):
        result = make(array, rows)
        if hasattr(array, "toarray"):
            found[0] = max(found[0], result.size)
        return result

    monkeypatch.setattr(batches, "_rows_of", noting)
    monkeypatch.setattr(data, "BLOCK", 1)
    monkeypatch.setattr(batches, "LIMIT", 2000)
    return found


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs_are_made_dense_in_parts(solver, largest):
    # Of 100 features, 20 rows are as many numbers as are allowed.
    x = scipy.sparse.random(500, 100, 0.02, "csr", random_state=0)
    y = (np.asarray(x.sum(axis=1))[:, 0] > 0.9).astype(int)
    settings = {"solver": solver, "batch_size": 10, "max_iter": 3}
    settings |= {"early_stopping": True, "validation_fraction": 0.5}
    ours = classifier(**settings).fit(x, y)
    found = ours.predict_proba(x)
    assert 0 < largest[0] <= 2000
    dense = classifier(**settings).fit(x.toarray(), y)
    np.testing.assert_allclose(found, dense.predict_proba(x.toarray()), rtol=1e-9)
    assert ours.validation_scores_ == dense.validation_scores_


# Callbacks and progress --------------------------------------------------------------------------


class Events(nn.Callback):
    """Notes every call."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.calls.append((name[3:], fit.epoch))
        return super().__getattribute__(name)


def test_callbacks_are_called_in_order(iris):
    events = Events()
    classifier(callbacks=[events], max_iter=2, batch_size=30).fit(*iris)
    steps = ["batch_begin", "batch_end"] * 2
    epochs = [
        [("epoch_begin", n), *((step, n) for step in steps), ("epoch_end", n + 1)] for n in (0, 1)
    ]
    assert events.calls == [("train_begin", 0), *epochs[0], *epochs[1], ("train_end", 2)]


def test_callbacks_of_lbfgs(iris):
    events = Events()
    ours = classifier(callbacks=[events], max_iter=3, solver="lbfgs").fit(*iris)
    ends = [("epoch_end", epoch) for epoch in range(1, ours.n_iter_ + 1)]
    assert [one for one in events.calls if one[0] == "epoch_end"] == ends
    begins = [("epoch_begin", epoch) for epoch in range(ours.n_iter_)]
    assert [one for one in events.calls if one[0] == "epoch_begin"] == begins
    assert events.calls[:3] == [("train_begin", 0), ("epoch_begin", 0), ("epoch_end", 1)]
    assert events.calls[-1] == ("train_end", ours.n_iter_)


class When(nn.Callback):
    """Does something at the n-th time of an event."""

    def __init__(self, event, times, act):
        self.event, self.times, self.act = event, times, act

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda fit: self.happened(name[3:], fit)
        return super().__getattribute__(name)

    def happened(self, event, fit):
        if event == self.event:
            self.times -= 1
            if not self.times:
                self.act(fit)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("event", "times"), [("train_begin", 1), ("epoch_begin", 1)])
def test_a_callback_can_stop_training_before_it_begins(event, times, solver, iris):
    first = classifier(solver=solver, optimizer=STILL).fit(*iris)
    stop = When(event, times, lambda fit: fit.stop("enough"))
    ours = classifier(solver=solver, callbacks=[stop]).fit(*iris)
    assert (ours.n_iter_, ours.loss_curve_, ours.converged_) == (0, [], False)
    np.testing.assert_allclose(vector(ours), vector(first))


def test_a_callback_can_stop_between_iterations(iris):
    stop = When("epoch_begin", 3, lambda fit: fit.stop("enough"))
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=[stop]).fit(*iris)
    expected = classifier(solver="lbfgs", max_iter=2).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.converged_) == (2, 2, False)
    np.testing.assert_array_equal(vector(ours), vector(expected))


def test_an_error_in_lbfgs_leaves_what_was_reached(iris):
    def fail(fit):
        raise RuntimeError("mine")

    x, y = iris
    ours = classifier(solver="lbfgs", max_iter=50, callbacks=[When("epoch_end", 3, fail)])
    with pytest.raises(RuntimeError, match="mine"):
        ours.fit(x, y)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)
    assert ours.loss_ == ours.loss_curve_[-1] == pytest.approx(cross_entropy(x, y)(ours))


class StopAt(nn.Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, fit):
        if fit.epoch == self.epoch:
            fit.stop("enough")


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_callback_can_stop_training(solver, iris):
    # Which is no lack of convergence to be warned about.
    ours = classifier(solver=solver, max_iter=30, callbacks=[StopAt(3)]).fit(*iris)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (3, 3)


def test_early_stopping_of_the_library_is_a_callback(iris):
    x, y = iris
    course = []

    class Losses(nn.Callback):
        def on_epoch_end(self, fit):
            fit.history.last["validation_loss"] = [3.0, 1.0, 2.0, 1.5, 1.2][fit.epoch - 1]
            course.append(flat(fit.model))

    stopping = nn.EarlyStopping(patience=2)
    ours = classifier(max_iter=5, callbacks=[Losses(), stopping]).fit(x, y)
    assert (ours.n_iter_, stopping.best_epoch) == (4, 2)
    np.testing.assert_array_equal(flat(ours.model_), course[1])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_written_to_the_terminal_only(progress, solver, iris, capfd):
    classifier(max_iter=2, progress=progress, solver=solver).fit(*iris)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("epoch 2/2" in err) is progress


# Converged or not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "converged"),
    [
        ({"max_iter": 3}, False),
        ({"max_iter": 50, "tol": 10.0, "n_iter_no_change": 2}, True),
        ({"max_iter": 3, "solver": "lbfgs"}, False),
        ({"max_iter": 500, "solver": "lbfgs", "alpha": 1.0}, True),
        ({"max_iter": 30, "callbacks": [StopAt(2)]}, False),
    ],
    ids=["epochs", "tol", "iterations", "minimum", "callback"],
)
def test_converged(settings, converged, iris):
    ours = classifier(**settings).fit(*iris)
    assert ours.converged_ is converged


# partial_fit with early stopping -----------------------------------------------------------------


@pytest.mark.parametrize("own_data", [True, False], ids=["validation_data", "a part of each call"])
def test_partial_fit_stops_early_and_restores_the_best(own_data, iris):
    x, y = iris
    metric = Given([0.2, 0.8, 0.5, 0.6, 0.7, 0.1, 0.1, 0.1])
    ours = classifier(early_stopping=True, n_iter_no_change=2, early_stopping_metric=metric)
    if own_data:
        ours.set_params(validation_data=(x[:20], y[:20]))
    for calls in range(1, 6):
        assert not getattr(ours, "converged_", False)
        ours.partial_fit(x, y, classes=[0, 1, 2])
        assert len(metric.calls) == calls
        if calls < 5:
            # Until it ends, training goes on from the last weights, not from the best ones.
            np.testing.assert_array_equal(vector(ours), metric.calls[-1][3])
    assert ours.converged_
    assert ours.best_validation_score_ == 0.8
    best = metric.calls[1][3]
    np.testing.assert_array_equal(vector(ours), best)
    # From here on, nothing changes, which is said.
    with pytest.warns(UserWarning, match=r"Call fit, or set early_stopping=False, to go on"):
        ours.partial_fit(x, y)
    with pytest.raises(ValueError, match="X has 3 features, but"):
        ours.partial_fit(x[:, :3], y)
    np.testing.assert_array_equal(vector(ours), best)
    assert len(metric.calls) == 5
    # fit begins anew.
    ours.fit(x, y)
    assert len(metric.calls) == 6
    assert (ours.n_iter_, len(ours.loss_curve_), ours.best_validation_score_) == (1, 1, 0.1)
    assert not np.array_equal(vector(ours), best)


def test_after_early_stopping_partial_fit_goes_on_without_it(iris):
    x, y = iris
    ours = classifier(early_stopping=True, n_iter_no_change=1, max_iter=9)
    ours.set_params(early_stopping_metric=Given([0.5, 0.1, 0.1, 0.1])).fit(x, y)
    assert ours.converged_
    before = vector(ours)
    ours.set_params(early_stopping=False).partial_fit(x, y)
    assert not np.array_equal(vector(ours), before)


def test_partial_fit_sets_aside_what_a_batch_allows(tumours):
    # A batch need not hold two of each class, as a stratified split needs.
    x = tumours[0]
    y = np.zeros(80, dtype=int)
    y[[3, 20, 40, 41, 60]] = 1
    ours = classifier(early_stopping=True)
    for begin in range(0, 80, 16):
        ours.partial_fit(x[begin : begin + 16], y[begin : begin + 16], classes=[0, 1])
    assert len(ours.validation_scores_) == 5


def test_a_batch_that_is_too_small_to_set_something_aside(tumours):
    x, y = tumours
    ours = classifier(early_stopping=True)
    with pytest.raises(ValueError, match=r"0\.1 of the 4 samples .* is 1, .* set validation_data"):
        ours.partial_fit(x[:4], y[:4], classes=[0, 1])
    assert not hasattr(ours, "n_features_in_")
    ours.set_params(validation_data=(x, y)).partial_fit(x[:4], y[:4], classes=[0, 1])


# Settings that change ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": nn.GradientDescent(1e-30)},
        {"schedule": nn.StepDecay(1e-30, 2)},
        {"clip_norm": 1e-30, "solver": "sgd"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_partial_fit_begins_another_optimizer(change, iris):
    x, y = iris
    ours = classifier().partial_fit(x, y, classes=[0, 1, 2])
    before = vector(ours)
    ours.set_params(**change).partial_fit(x, y)
    np.testing.assert_allclose(vector(ours), before, atol=1e-20)
    # Once.
    ours.partial_fit(x, y)
    assert ours.model_.training.step == 2


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hidden_layer_sizes": (7,)}, r"the network \(hidden_layer_sizes, "),
        ({"activation": "relu"}, r"the network \("),
        ({"dropout": 0.1}, r"the network \("),
        ({"batch_norm": True}, r"the network \("),
        ({"layers": [nn.Dense(3)]}, r"the network \("),
        ({"dtype": "float32"}, "dtype='float32'"),
        ({"backend": "array-api-strict"}, "backend='array-api-strict'"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_changes_without_effect_are_said(change, text, way, iris):
    x, y = iris
    ours, plain = (classifier(warm_start=True, backend="numpy").fit(x, y) for _ in range(2))
    with pytest.warns(UserWarning, match=f"{text}.* no effect before .*warm_start=False"):
        getattr(ours.set_params(**change), way)(x, y)
    getattr(plain, way)(x, y)
    np.testing.assert_array_equal(vector(ours), vector(plain))


# What is refused ---------------------------------------------------------------------------------

WRONG = {
    "too few outputs": (
        {"layers": [nn.Dense(2)]},
        ShapeError,
        r"the network has 2 outputs, but these targets need 3: end it with Dense\(3\)",
    ),
    "layers that are none": (
        {"layers": [nn.Dense(3), "relu"]},
        TypeError,
        r"layer 1: expected a Layer .*'relu'",
    ),
    "a class for a layer": (
        {"layers": [nn.Dense(3), nn.ReLU]},
        TypeError,
        r"layer 1: expected a Layer .* Write ReLU\(",
    ),
    "a loss of values": (
        {"loss": nn.MeanSquaredError()},
        ValueError,
        r"MeanSquaredError does not classify .* Use MLPRegressor",
    ),
    "a loss of two classes": (
        {"loss": "binary_cross_entropy"},
        ValueError,
        r"BinaryCrossEntropy is for two classes .* there are 3 classes\. Use loss='log_loss'",
    ),
    "a loss object of two classes": (
        {"loss": nn.BinaryCrossEntropy()},
        ValueError,
        r"for two classes or several labels, but there are 3 classes\. Use loss='log_loss'",
    ),
    "smoothing twice": (
        {"loss": nn.SoftmaxCrossEntropy(), "label_smoothing": 0.1},
        ValueError,
        r"label_smoothing: give it to the loss that you pass",
    ),
    "dropout in lbfgs": (
        {"solver": "lbfgs", "dropout": 0.1},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "batch norm in lbfgs": (
        {"solver": "lbfgs", "batch_norm": True},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "batch norm among layers in lbfgs": (
        {"solver": "lbfgs", "layers": [nn.BatchNorm(), nn.Dense(3)]},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "an activation that is none": (
        {"activation": ["rleu"]},
        ValueError,
        r"activation: expected one of .*leaky_relu.*, got 'rleu'",
    ),
    "an activation that is no name": (
        {"activation": [nn.Dense(2)]},
        TypeError,
        r"activation: expected a name or an Activation, got Dense",
    ),
    "too many activations": (
        {"activation": ["relu", "tanh"]},
        ValueError,
        r"activation: expected one for each of the 1 hidden layers, got 2",
    ),
    "too few rates": (
        {"dropout": [0.1], "hidden_layer_sizes": (4, 3)},
        ValueError,
        r"dropout: expected one for each of the 2 hidden layers, got 1",
    ),
    "a rate that is no number": (
        {"dropout": ["a"]},
        TypeError,
        r"dropout: expected numbers from 0 to below 1, got 'a'",
    ),
    "a rate of 1": (
        {"dropout": [1.0]},
        ValueError,
        r"(?i)dropout.*0.*1",
    ),
    "validation data of one": (
        {"validation_data": (np.ones((2, 4)),)},
        ValueError,
        r"validation_data: expected \(X, y\) or \(X, y, sample_weight\), got 1 entries",
    ),
    "validation data of other features": (
        {"validation_data": (np.ones((2, 3)), [0, 1])},
        ValueError,
        r"X has 3 features, but MLPClassifier is expecting 4 features",
    ),
    "validation data of other classes": (
        {"validation_data": (np.ones((2, 4)), [0, 7])},
        ValueError,
        r"`y` has classes not in `self\.classes_`",
    ),
    "validation data of other lengths": (
        {"validation_data": (np.ones((2, 4)), [0])},
        ValueError,
        r"inconsistent numbers of samples: \[2, 1\]",
    ),
    "an unknown backend": (
        {"backend": "pytorch"},
        ValueError,
        r"unknown backend 'pytorch': expected .*numpy.*Did you mean 'torch'\?",
    ),
    "a metric that is none": (
        {"early_stopping_metric": "acuracy", "early_stopping": True},
        ValueError,
        r"'acuracy'",
    ),
    "callbacks that are none": (
        {"callbacks": [print]},
        TypeError,
        r"expected callbacks to be Callback objects, got <built-in function print>",
    ),
    "a class for a callback": (
        {"callbacks": [nn.EarlyStopping]},
        TypeError,
        r"Write EarlyStopping\(\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name, iris):
    settings, kind, text = WRONG[name]
    with pytest.raises(kind, match=text):
        classifier(**settings).fit(*iris)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"dtype": "float16"}, "The 'dtype' parameter"),
        ({"activation": "softmax"}, "The 'activation' parameter"),
        ({"optimizer": "adm"}, "The 'optimizer' parameter"),
        ({"schedule": 0.1}, "The 'schedule' parameter"),
        ({"clip_norm": 0.0}, "The 'clip_norm' parameter"),
        ({"l2_per_sample": -1.0}, "The 'l2_per_sample' parameter"),
        ({"average_weights": 1.0}, "The 'average_weights' parameter"),
        ({"label_smoothing": 1.5}, "The 'label_smoothing' parameter"),
        ({"class_weight": "equal"}, "The 'class_weight' parameter"),
        ({"loss": "hinge"}, "The 'loss' parameter"),
        ({"validation_data": 0.1}, "The 'validation_data' parameter"),
        ({"layers": 3}, "The 'layers' parameter"),
        ({"backend": 1}, "The 'backend' parameter"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_settings_out_of_range_are_refused_as_scikit_learn_does(settings, text, iris):
    with pytest.raises(ValueError, match=f"{text} of MLPClassifier must be"):
        classifier(**settings).fit(*iris)


def test_a_loss_of_classes_is_not_for_values(values):
    with pytest.raises(ValueError, match=r"SoftmaxCrossEntropy classifies\. Use MLPClassifier"):
        regressor(loss=nn.SoftmaxCrossEntropy()).fit(*values)


def test_the_softmax_is_not_for_labels(iris):
    x, y = iris
    with pytest.raises(ValueError, match=r"not for several labels\. Use loss='log_loss'"):
        classifier(loss="softmax_cross_entropy").fit(x, np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match=r"not for several labels\. Use loss='log_loss'"):
        classifier(loss=nn.SoftmaxCrossEntropy()).fit(x, np.eye(3, dtype=int)[y])


def test_balanced_needs_all_samples(iris):
    with pytest.raises(ValueError, match=r"Compute it with .*compute_class_weight.* as a dict"):
        classifier(class_weight="balanced").partial_fit(*iris, classes=[0, 1, 2])


def test_steps_are_recorded_with_the_penalty_that_is_the_default(iris, backend, plans):
    MLPClassifier(max_iter=5, batch_size=10, random_state=0, backend=backend).fit(*iris)
    assert plans
    assert all(plan.runs for plan in plans)


def test_what_is_refused_leaves_a_fitted_estimator_as_it_was(iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])[y]
    ours = classifier(max_iter=3).fit(x, names)
    state, before, plain = dict(vars(ours)), ours.predict_proba(x), ours.get_params()
    for settings, kind, _ in WRONG.values():
        with pytest.raises(kind):
            # The classes are others, so that half of a fit would show.
            ours.set_params(**settings).fit(x, y)
        ours.set_params(**plain)
        assert vars(ours) == state
        np.testing.assert_array_equal(ours.predict_proba(x), before)


@pytest.mark.parametrize("name", ["an unknown backend", "too few outputs", "dropout in lbfgs"])
def test_what_is_refused_leaves_an_estimator_unfitted(name, iris):
    settings, kind, _ = WRONG[name]
    ours = classifier(**settings)
    with pytest.raises(kind):
        ours.fit(*iris)
    assert set(vars(ours)) == set(ours.get_params())


# What a newcomer tried ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), "float32"])
def test_a_dtype_as_numpy_has_it(dtype, iris):
    ours = MLPClassifier(max_iter=1, dtype=dtype).fit(*iris)
    assert ours.model_.dtype == "float32"


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.dtype("int8"), dict])
def test_a_dtype_that_is_none_of_them(dtype, iris):
    with pytest.raises(ValueError, match=r"dtype: expected 'float32' or 'float64', got"):
        MLPClassifier(max_iter=1, dtype=dtype).fit(*iris)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("U3", "strings"), ("S3", "strings"), ("M8[D]", "dates"), ("m8[D]", "durations")],
)
def test_inputs_that_are_no_numbers(kind, text, iris):
    x, y = iris
    wrong = np.ones_like(x, dtype="int64").astype(kind)
    with pytest.raises(ValueError, match=rf"X: expected numbers, got {text}"):
        MLPClassifier(max_iter=1).fit(wrong, y)
    with pytest.raises(ValueError, match=rf"X: expected numbers, got {text}"):
        MLPClassifier(max_iter=1).fit(x, y).predict(wrong)


@pytest.mark.parametrize("metric", ["roc_auc", lambda y, p: 1.0])
def test_a_metric_that_does_not_suit_says_so(metric, iris):
    mlp = MLPClassifier(max_iter=1, early_stopping=True, early_stopping_metric=metric)
    text = r"early_stopping_metric could not score .*'roc_auc_ovr'.*function\(estimator, X, y\)"
    with pytest.raises(ValueError, match=text):
        mlp.fit(*iris)


@pytest.mark.parametrize("change", [{"dropout": 0.5}, {"batch_norm": True}])
def test_layers_leave_nothing_to_other_parameters(change, iris):
    mlp = MLPClassifier(max_iter=1, layers=[nn.Dense(3)], **change)
    with pytest.raises(ValueError, match=f"{next(iter(change))} would have no effect"):
        mlp.fit(*iris)

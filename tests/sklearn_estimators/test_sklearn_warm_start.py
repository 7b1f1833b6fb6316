"""Fitting again: what a second `fit` keeps, and which changed settings count."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn_cases import (
    STILL,
    all_weights,
    assert_same_weights,
    binary_cross_entropy,
    classifier,
    each_solver,
    fit_pair,
    load_problem,
    make_pair,
    regressor,
    same_error,
    train_pair,
)

import anyback_nn as nn


def fit_twice(mlp, x, y):
    mlp.fit(x, y).fit(x, y)


@each_solver
@pytest.mark.parametrize("name", ["binary", "classes", "labels", "outputs"])
def test_warm_start_resumes(name, solver):
    _, ours = train_pair(name, fit_twice, **solver, warm_start=True, max_iter=5)
    n_samples = len(load_problem(name)[0])
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (5, 10, 10 * n_samples)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_warm_start_begins_with_the_first_rate_again(learning_rate):
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.2}
    settings |= {"warm_start": True, "max_iter": 8, "tol": 0.5, "n_iter_no_change": 1}
    train_pair("classes", fit_twice, **settings)


@pytest.mark.parametrize(
    "change",
    [
        {"max_iter": 4},
        {"alpha": 1.0},
        {"learning_rate_init": 0.1},
        {"batch_size": 17},
        {"solver": "sgd"},
        {"shuffle": False},
        {"random_state": 9},
        {"beta_1": 0.1},
        {"early_stopping": False, "tol": 0.3, "n_iter_no_change": 2, "max_iter": 50},
    ],
    ids=lambda change: next(iter(change)),
)
def test_warm_start_after_set_params(change):
    def train(mlp, x, y):
        mlp.fit(x, y).set_params(**change).fit(x, y)

    train_pair("classes", train, warm_start=True, max_iter=5)


def test_warm_start_with_early_stopping():
    def train(mlp, x, y):
        mlp.fit(x, y).set_params(max_iter=20, learning_rate_init=0.01).fit(x, y)

    _, ours = train_pair("values", train, warm_start=True, early_stopping=True, max_iter=6)
    assert len(ours.validation_scores_) == 26
    assert ours.best_validation_score_ > max(ours.validation_scores_[:6])


def test_warm_start_that_does_not_improve_gives_the_best_weights_of_before():
    # scikit-learn's are lost, since it continues to train in the very arrays that it keeps.
    x, y = load_problem("classes")
    _, ours = make_pair("classes", warm_start=True, early_stopping=True, learning_rate_init=0.05)
    first = copy.deepcopy(ours.fit(x, y))
    ours.set_params(learning_rate_init=3.0, max_iter=4, tol=1e-4).fit(x, y)
    assert max(ours.validation_scores_[first.n_iter_ :]) <= first.best_validation_score_
    assert_same_weights(first, ours, 0.0)


@pytest.mark.parametrize("change", ["fewer", "more", "other", "features"])
def test_warm_start_refuses_other_data(change):
    x, y = load_problem("classes")
    text = "warm_start can only be used where `y` has the same classes as in the"
    changed = {
        "fewer": (x, np.minimum(y, 1)),
        "more": (x, np.where(x[:, 0] > 1, 3, y)),
        "other": (x, y + 1),
        "features": (x[:, :2], y),
    }[change]
    kind, message = same_error(fit_pair("classes", warm_start=True), lambda mlp: mlp.fit(*changed))
    assert kind is ValueError
    assert message.startswith("X has 2 features" if change == "features" else text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("outputs", "`y` has 2 outputs, but .* fitted to 3"),
        ("labels", "number of labels .* 4 labels"),
    ],
)
def test_warm_start_refuses_another_number_of_outputs(name, text):
    x, y = load_problem(name)
    ours = make_pair(name, warm_start=True)[1].fit(x, y)
    with pytest.raises(ValueError, match=text):
        ours.fit(x, y[:, :2])


def test_without_warm_start_fit_begins_again():
    # Other classes, another number of features: all is forgotten.
    def train(mlp, x, y):
        mlp.fit(x[:, :2], np.minimum(y, 1)).fit(x, y)

    _, ours = train_pair("classes", train)
    assert ours.loss_curve_ == clone(ours).fit(*load_problem("classes")).loss_curve_
    assert ours.n_features_in_ == 4


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


def test_settings_that_change_before_a_warm_start_count(tumours):
    # And leave other estimators of the same architecture alone.
    x, y = tumours
    targets = 0.8 * y + 0.1
    still = {"optimizer": STILL, "hidden_layer_sizes": (7,)}
    ours = classifier(**still, warm_start=True).fit(x, y)
    ours.set_params(label_smoothing=0.2).fit(x, y)
    p = ours.predict_proba(x)[:, 1]
    assert ours.loss_ == pytest.approx(binary_cross_entropy(targets, p))
    ours.set_params(label_smoothing=0.2, alpha=0.5).fit(x, y)
    other = classifier(**still, alpha=0.5).fit(x, y)
    penalty = 0.5 / 160 * sum((w**2).sum() for w in other.coefs_)
    assert other.loss_ == pytest.approx(binary_cross_entropy(y, p) + penalty)


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
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_changes_without_effect_are_warned_of(change, text, way, iris):
    x, y = iris
    ours, plain = (classifier(warm_start=True, backend="numpy").fit(x, y) for _ in range(2))
    with pytest.warns(UserWarning, match=f"{text}.* no effect before .*warm_start=False"):
        getattr(ours.set_params(**change), way)(x, y)
    getattr(plain, way)(x, y)
    np.testing.assert_array_equal(all_weights(ours), all_weights(plain))

"""Fitting again: what a second `fit` keeps, and which changed settings count."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn_cases import (
    SOLVER_SETTINGS,
    SOLVERS,
    STILL,
    all_weights,
    assert_same_fit,
    assert_same_weights,
    binary_cross_entropy,
    classifier,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
    regressor,
)

import anyback_nn as nn


@pytest.mark.parametrize("solver", SOLVER_SETTINGS, ids=list(SOLVERS))
@pytest.mark.parametrize("name", ["binary", "classes", "labels", "outputs"])
def test_warm_start_goes_on(name, solver):
    x, y = load_problem(name)
    theirs, ours = make_pair(name, **solver, warm_start=True, max_iter=5)
    for one in (theirs, ours):
        one.fit(x, y).fit(x, y)
    assert_same_fit(theirs, ours)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (5, 10, 10 * len(x))


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_warm_start_begins_with_the_first_rate_again(learning_rate):
    x, y = load_problem("classes")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.2}
    theirs, ours = make_pair(
        "classes", **settings, warm_start=True, max_iter=8, tol=0.5, n_iter_no_change=1
    )
    for one in (theirs, ours):
        one.fit(x, y).fit(x, y)
    assert_same_fit(theirs, ours)


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
    x, y = load_problem("classes")
    theirs, ours = make_pair("classes", warm_start=True, max_iter=5)
    for one in (theirs, ours):
        one.fit(x, y).set_params(**change).fit(x, y)
    assert_same_fit(theirs, ours)


def test_warm_start_with_early_stopping():
    x, y = load_problem("values")
    theirs, ours = make_pair("values", warm_start=True, early_stopping=True, max_iter=6)
    for one in (theirs, ours):
        one.fit(x, y).set_params(max_iter=20, learning_rate_init=0.01).fit(x, y)
    assert_same_fit(theirs, ours)
    assert len(ours.validation_scores_) == 26
    assert ours.best_validation_score_ > max(ours.validation_scores_[:6])


def test_warm_start_that_does_not_improve_gives_the_best_weights_of_before():
    # scikit-learn's are lost, since it goes on to train in the very arrays that it keeps.
    x, y = load_problem("classes")
    _, ours = make_pair("classes", warm_start=True, early_stopping=True, learning_rate_init=0.05)
    first = copy.deepcopy(ours.fit(x, y))
    ours.set_params(learning_rate_init=3.0, max_iter=4, tol=1e-4).fit(x, y)
    assert max(ours.validation_scores_[first.n_iter_ :]) <= first.best_validation_score_
    assert_same_weights(first, ours, 0.0)


@pytest.mark.parametrize("change", ["fewer", "more", "other"])
def test_warm_start_refuses_other_classes(change):
    x, y = load_problem("classes")
    new = {"fewer": np.minimum(y, 1), "more": np.where(x[:, 0] > 1, 3, y), "other": y + 1}[change]
    theirs, ours = fit_pair("classes", warm_start=True)
    kind, text = error_of(lambda: ours.fit(x, new))
    other_kind, other_text = error_of(lambda: theirs.fit(x, new))
    assert kind is other_kind is ValueError
    assert text.startswith("warm_start can only be used where `y` has the same classes as in the")
    assert text == other_text


def test_without_warm_start_fit_begins_anew():
    x, y = load_problem("classes")
    theirs, ours = make_pair("classes")
    once = clone(ours).fit(x, y)
    # Other classes, another number of features: all is forgotten.
    for one in (theirs, ours):
        one.fit(x[:, :2], np.minimum(y, 1)).fit(x, y)
    assert_same_fit(theirs, ours)
    assert ours.loss_curve_ == once.loss_curve_
    assert ours.n_features_in_ == 4


def test_warm_start_refuses_another_number_of_features():
    x, y = load_problem("classes")
    theirs, ours = fit_pair("classes", warm_start=True)
    assert error_of(lambda: ours.fit(x[:, :2], y)) == error_of(lambda: theirs.fit(x[:, :2], y))


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
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_changes_without_effect_are_said(change, text, way, iris):
    x, y = iris
    ours, plain = (classifier(warm_start=True, backend="numpy").fit(x, y) for _ in range(2))
    with pytest.warns(UserWarning, match=f"{text}.* no effect before .*warm_start=False"):
        getattr(ours.set_params(**change), way)(x, y)
    getattr(plain, way)(x, y)
    np.testing.assert_array_equal(all_weights(ours), all_weights(plain))

"""From scikit-learn's fitted perceptrons and back: the same predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn_cases import (
    CLASSIFICATIONS,
    KINDS,
    REGRESSIONS,
    assert_same,
    assert_same_predictions,
    build,
    load_examples,
    train_more,
)

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, from_sklearn

WAYS = [
    *[(name, {}) for name in CLASSIFICATIONS + REGRESSIONS],
    *[("classes", {"activation": activation}) for activation in ("identity", "logistic", "tanh")],
    *[("two", {"solver": solver}) for solver in ("lbfgs", "sgd")],
    ("values", {"hidden_layer_sizes": ()}),
    ("classes", {"early_stopping": True}),
    ("values", {"solver": "lbfgs"}),
]

each_way = pytest.mark.parametrize(
    ("name", "settings"), WAYS, ids=["-".join([n, *map(str, s.values())]) for n, s in WAYS]
)


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_theirs_becomes_ours(name, settings, dtype):
    x, y = load_examples(name)
    x = x.astype(dtype)
    theirs = build(name, theirs=True, **settings).fit(x, y)
    ours = from_sklearn(theirs)
    assert type(ours) is KINDS[name in REGRESSIONS].values[1]
    assert_same_predictions(ours, theirs, x, 1e-6 if dtype == "float32" else 1e-12)
    assert {**ours.get_params(), **theirs.get_params()} == ours.get_params()
    for attribute in ("n_iter_", "t_", "loss_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    if "lbfgs" not in settings.values():
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.validation_scores_ == theirs.validation_scores_


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ours_becomes_theirs(name, settings, dtype):
    x, y = load_examples(name)
    x = x.astype(dtype)
    ours = build(name, **settings).fit(x, y)
    theirs = ours.to_sklearn()
    assert type(theirs) is KINDS[name in REGRESSIONS].values[0]
    assert_same_predictions(theirs, ours, x, 1e-6 if dtype == "float32" else 1e-12)
    assert theirs.score(x, y) == pytest.approx(ours.score(x, y))
    again = from_sklearn(theirs)
    assert_same(again, ours, x)
    for mine, other in zip(theirs.coefs_, ours.coefs_, strict=True):
        assert not np.shares_memory(mine, other)
    # The parameters are those that it is fitted again with.
    fresh = build(name, theirs=True, **settings).fit(x, y)
    theirs.fit(x, y)
    assert_same_predictions(theirs, fresh, x)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("to", ["theirs", "ours"])
@pytest.mark.parametrize("name", ["two", "classes", "labels", "strings", *REGRESSIONS])
def test_training_resumes_on_the_other_side(name, to, solver):
    x, y = load_examples(name)
    settings = {"solver": solver, "momentum": 0.0, "nesterovs_momentum": False, "max_iter": 6}
    first = build(name, theirs=to == "ours", **settings).fit(x, y)
    other = first.to_sklearn() if to == "theirs" else from_sklearn(first)
    before = other.loss_
    for _ in range(3):
        other.partial_fit(x, y)
    assert other.loss_ < before
    assert other.loss_curve_[:6] == first.loss_curve_
    assert len(other.loss_curve_) == 9
    other.set_params(warm_start=True, max_iter=20).fit(x, y)
    assert other.loss_ < before
    # And with lbfgs, which has no optimiser's state to resume from.
    other.set_params(solver="lbfgs").fit(x, y)
    assert other.loss_ < before


def test_what_is_taken_over_is_a_copy(iris):
    x, y = iris
    theirs = build("classes", theirs=True).fit(x, y)
    before = theirs.predict_proba(x)
    train_more(from_sklearn(theirs), x, y)
    np.testing.assert_array_equal(theirs.predict_proba(x), before)
    ours = build("classes").fit(x, y)
    expected = ours.predict_proba(x)
    ours.to_sklearn().set_params(warm_start=True).fit(x, y)
    np.testing.assert_array_equal(ours.predict_proba(x), expected)


LAYERS = [nn.Dense(5), nn.Tanh(), nn.Dense(4), nn.Tanh(), nn.Dense(3)]


@pytest.mark.parametrize(
    ("settings", "sizes", "activation"),
    [
        ({"layers": LAYERS, "optimizer": "rmsprop"}, (5, 4), "tanh"),
        ({"dropout": [0.0, 0.4]}, (4, 3), "relu"),
        ({"average_weights": 0.8}, (4, 3), "relu"),
    ],
    ids=["layers", "dropout", "averages"],
)
def test_networks_of_their_kind_however_they_were_described(settings, sizes, activation, iris):
    ours = build("classes", **settings).fit(*iris)
    theirs = ours.to_sklearn()
    assert (theirs.hidden_layer_sizes, theirs.activation) == (sizes, activation)
    assert_same_predictions(theirs, ours, iris[0])


def test_names_of_features_go_with_it(iris):
    pl = pytest.importorskip("polars")
    table = pl.DataFrame(iris[0], list("abcd"))
    theirs = build("classes", theirs=True).fit(table, iris[1])
    ours = from_sklearn(theirs)
    assert ours.feature_names_in_.tolist() == list("abcd")
    assert_same_predictions(ours, theirs, table)
    assert_same_predictions(ours.to_sklearn(), theirs, table)


THEIR_OWN = (
    r"scikit-learn has dense layers with a bias and between them one and the same activation of "
    r"identity, logistic, relu, tanh; this network is Network\("
)

UNKNOWN = {
    "batch norm": ("classes", {"batch_norm": True}, THEIR_OWN),
    "an activation": ("classes", {"activation": "gelu"}, THEIR_OWN),
    "no bias": ("values", {"layers": [nn.Dense(1, bias=False)]}, THEIR_OWN),
    "a block": (
        "values",
        {"layers": [nn.Dense(2), nn.ReLU(), nn.Residual(nn.Dense(2)), nn.ReLU(), nn.Dense(1)]},
        THEIR_OWN,
    ),
    "several activations": ("classes", {"activation": ["relu", "tanh"]}, THEIR_OWN),
    "a loss of values": ("values", {"loss": "huber"}, r"no loss like Huber\(delta=1\.0\)"),
    "the softmax of two classes": (
        "two",
        {"loss": "softmax_cross_entropy"},
        "no loss like Softmax",
    ),
    "an activation of the outputs": (
        "values",
        {"layers": [nn.Dense(3), nn.Tanh(), nn.Dense(1), nn.Tanh()]},
        THEIR_OWN,
    ),
    "probabilities": (
        "two",
        {"layers": [nn.Dense(1), nn.Sigmoid()], "loss": nn.ProbabilityCrossEntropy()},
        THEIR_OWN,
    ),
    "another link": (
        "two",
        {"layers": [nn.Dense(3), nn.ReLU(), nn.Dense(1)], "loss": nn.ProbabilityCrossEntropy()},
        "no loss like ProbabilityCrossEntropy",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_scikit_learn_does_not_have_is_named(name):
    kind, settings, text = UNKNOWN[name]
    ours = build(kind, **settings).fit(*load_examples(kind))
    with pytest.raises(ValueError, match=text):
        ours.to_sklearn()


@pytest.mark.parametrize("wrong", [None, np.zeros(3), MLPClassifier()])
def test_what_is_not_theirs_is_named(wrong):
    with pytest.raises(TypeError, match=f"of scikit-learn, got {type(wrong).__name__}"):
        from_sklearn(wrong)


def test_theirs_must_be_fitted():
    with pytest.raises(NotFittedError):
        from_sklearn(TheirClassifier())

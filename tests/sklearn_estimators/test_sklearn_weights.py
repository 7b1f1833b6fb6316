"""Weights of samples and of classes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn_cases import (
    PROBLEMS,
    SOLVERS,
    STILL,
    all_weights,
    assert_descends,
    assert_near,
    assert_same_fit,
    assert_same_weights,
    classifier,
    cross_entropy,
    draw_sample_weights,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
)

# Weights of samples ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver", [*SOLVERS.values(), {"solver": "lbfgs"}], ids=[*SOLVERS, "lbfgs"]
)
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "outputs"])
def test_weights_of_samples(name, solver):
    weights = draw_sample_weights(len(load_problem(name)[0]))
    theirs, ours = fit_pair(name, weights, **solver, batch_size=40, alpha=0.1)
    if solver == {"solver": "lbfgs"}:
        assert_same_weights(theirs, ours, 1e-8)
        assert_near(ours.loss_, theirs.loss_, 1e-10)
    else:
        assert_same_fit(theirs, ours)


@pytest.mark.parametrize("name", ["binary", "classes", "values", "outputs"])
def test_weights_of_samples_with_early_stopping(name):
    weights = draw_sample_weights(len(load_problem(name)[0]))
    assert_same_fit(*fit_pair(name, weights, early_stopping=True, max_iter=15, batch_size=40))


@pytest.mark.parametrize(
    "weights",
    [2, 0.5, list(range(150)), np.arange(150, dtype=np.float32), np.arange(150, dtype=object)],
    ids=["int", "float", "list", "float32", "objects"],
)
def test_kinds_of_weights(weights):
    accuracy = 1e-7 if isinstance(weights, np.ndarray) else 1e-12
    assert_same_fit(*fit_pair("classes", weights), accuracy)


def test_samples_that_weigh_nothing_teach_nothing_even_as_a_batch():
    x, y = load_problem("classes")
    weights = draw_sample_weights(150)
    weights[40:80] = 0.0
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "shuffle": False, "batch_size": 40}
    (theirs, ours), (_, without) = (make_pair("classes", **settings) for _ in range(2))
    ours.fit(x, y, weights)
    rest = np.r_[:40, 80:150]
    without.fit(x[rest], y[rest], weights[rest])
    assert_same_weights(without, ours)
    # scikit-learn's divides by the sum of the weights of a batch.
    assert error_of(lambda: theirs.fit(x, y, weights))[0] is ZeroDivisionError


def test_equal_weights_are_none():
    _, ours = fit_pair("classes", np.full(150, 3.0))
    _, without = fit_pair("classes", alpha=1e-4 / 3)  # the penalty is shared by the sum of weights
    assert_near(ours.loss_curve_, without.loss_curve_)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (np.ones(7), "weight"),
        (np.ones((150, 2)), "weight"),
        (np.r_[np.nan, np.ones(149)], "weight"),
        (np.r_[-1.0, np.ones(149)], "weight"),
        (np.r_[np.inf, np.ones(149)], "weight"),
        (np.zeros(150), "Sample weights must contain at least one non-zero"),
    ],
    ids=["length", "columns", "nan", "negative", "infinite", "zeros"],
)
def test_weights_that_make_no_sense_are_refused(weights, text):
    with pytest.raises(ValueError, match=text):
        make_pair("classes")[1].fit(*load_problem("classes"), weights)


# Weights of classes ------------------------------------------------------------------------------


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
    np.testing.assert_allclose(all_weights(by_class), all_weights(by_sample), rtol=1e-10)


def test_balanced_classes_weigh_the_same_together(iris):
    x, y = iris
    few = np.flatnonzero((y != 1) | (np.cumsum(y == 1) <= 5))
    x, y = x[few], y[few]
    weights = (len(y) / 3 / np.bincount(y))[y]
    ours = classifier(class_weight="balanced")
    assert_descends(ours, x, y, cross_entropy(x, y, weights), rate=0.05)


def test_class_weight_does_not_weigh_the_validation(iris):
    settings = {"optimizer": STILL, "early_stopping": True}
    plain, ours = (
        classifier(**settings, class_weight=weights).fit(*iris) for weights in (None, {0: 9.0})
    )
    assert ours.loss_ != plain.loss_
    assert ours.validation_curve_ == plain.validation_curve_
    assert ours.validation_scores_ == plain.validation_scores_


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
        np.testing.assert_array_equal(all_weights(ours), all_weights(plain))


LABELS = np.asarray([[1, 0, 0], [0, 1, 0], [1, 0, 1]])
"""Several labels for each of three classes."""


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_class_weight_of_several_labels(way, iris):
    x, y = iris
    labels = LABELS[y]
    ours = classifier(class_weight=[{0: 1.0, 1: 3.0}, {}, {1: 0.5}], max_iter=1)
    # A batch in which no one has the second label.
    x, labels = x[y != 1], labels[y != 1]
    weights = np.where(labels[:, 0], 3.0, 1.0) * np.where(labels[:, 2], 0.5, 1.0)
    getattr(ours, way)(x, labels, **{"classes": [0, 1, 2]} if way == "partial_fit" else {})
    plain = classifier(max_iter=1).fit(x, labels, weights)
    np.testing.assert_allclose(all_weights(ours), all_weights(plain), rtol=1e-12)


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
        getattr(ours, way)(x, LABELS[y] if several else y, **more)
    assert not hasattr(ours, "model_")

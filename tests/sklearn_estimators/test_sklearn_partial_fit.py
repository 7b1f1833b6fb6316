"""partial_fit: scikit-learn's course over many calls, its classes and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn_cases import (
    PROBLEMS,
    SOLVER_SETTINGS,
    SOLVERS,
    all_weights,
    assert_same_fit,
    classifier,
    error_of,
    load_problem,
    make_pair,
)

import anyback_nn as nn
from anyback_nn.sklearn import MLPRegressor


@pytest.mark.parametrize("solver", SOLVER_SETTINGS, ids=list(SOLVERS))
@pytest.mark.parametrize("name", PROBLEMS)
def test_partial_fit_takes_the_same_course(name, solver):
    x, y = load_problem(name)
    theirs, ours = make_pair(name, **solver, batch_size=25)
    classes = {"labels": np.arange(4)}.get(name, np.unique(y))
    more = {"classes": classes} if is_classifier(ours) else {}
    for one in (theirs, ours):
        one.partial_fit(x[:80], y[:80], **more)
        one.partial_fit(x[80:], y[80:])
        one.partial_fit(x, y, **more)
    assert_same_fit(theirs, ours)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (1, 3, 2 * len(x))


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_partial_fit_lowers_the_rate(learning_rate):
    x, y = load_problem("values")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.03}
    theirs, ours = make_pair("values", **settings, tol=1.0, n_iter_no_change=1)
    for one in (theirs, ours):
        for _ in range(9):
            one.partial_fit(x, y)
    assert_same_fit(theirs, ours)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
@pytest.mark.parametrize("change", [{"learning_rate": "constant"}, {"solver": "adam"}])
def test_partial_fit_keeps_the_rule_of_the_rate(change, learning_rate):
    x, y = load_problem("values")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "tol": 10.0, "n_iter_no_change": 1}
    theirs, ours = make_pair("values", **settings)
    for one in (theirs, ours):
        for _ in range(3):
            one.partial_fit(x, y)
        one.set_params(**change)
        for _ in range(5):
            one.partial_fit(x, y)
    assert_same_fit(theirs, ours)


def test_partial_fit_goes_on_after_it_has_converged():
    x, y = load_problem("values")
    theirs, ours = make_pair("values", tol=9.0, n_iter_no_change=1)
    for one in (theirs, ours):
        for _ in range(6):
            one.partial_fit(x, y)
    assert_same_fit(theirs, ours)
    assert len(ours.loss_curve_) == 6


def test_partial_fit_and_fit_in_turn():
    x, y = load_problem("classes")
    theirs, ours = make_pair("classes", max_iter=3)
    for one in (theirs, ours):
        one.partial_fit(x, y, classes=[0, 1, 2])
        one.fit(x, y)
        one.partial_fit(x[:50], y[:50])
    assert_same_fit(theirs, ours)
    assert len(ours.loss_curve_) == 4


def test_partial_fit_with_a_generator_goes_on_drawing():
    x, y = load_problem("values")
    theirs, ours = make_pair("values")
    for one in (theirs, ours):
        one.set_params(random_state=np.random.RandomState(5))
        for _ in range(3):
            one.partial_fit(x, y)
    assert_same_fit(theirs, ours)


def test_partial_fit_of_classes_that_come_later():
    x, y = load_problem("classes")
    theirs, ours = make_pair("classes")
    for one in (theirs, ours):
        one.partial_fit(x[:60], y[:60], classes=[2, 1, 0])
    assert_same_fit(theirs, ours)
    assert ours.predict_proba(x).shape == (150, 3)


def test_partial_fit_needs_the_classes_first():
    x, y = load_problem("classes")
    theirs, ours = make_pair("classes")
    assert error_of(lambda: ours.partial_fit(x, y)) == error_of(lambda: theirs.partial_fit(x, y))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        ours.partial_fit(x, y)


def test_partial_fit_refuses_other_classes():
    x, y = load_problem("classes")
    theirs, ours = (one.partial_fit(x, y, classes=[0, 1, 2]) for one in make_pair("classes"))
    for classes in ([0, 1], [0, 1, 2, 3]):

        def again(one, classes=classes):
            one.partial_fit(x, y, classes=classes)

        assert error_of(lambda: again(ours)) == error_of(lambda: again(theirs))
    new = np.where(y == 2, 7, y)
    assert error_of(lambda: ours.partial_fit(x, new)) == error_of(
        lambda: theirs.partial_fit(x, new)
    )


def test_partial_fit_refuses_a_class_that_was_not_announced():
    x, y = load_problem("classes")
    _, ours = make_pair("classes")
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        ours.partial_fit(x, y, classes=[0, 1])


def test_partial_fit_refuses_labels_that_were_not_announced():
    x, y = load_problem("labels")
    theirs, ours = make_pair("labels")
    for one in (theirs, ours):
        with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
            one.partial_fit(x, y, classes=[0, 1])


def test_partial_fit_of_some_classes_with_warm_start():
    # As the description of `classes` says; scikit-learn's refuses it if warm_start is on.
    x, y = load_problem("classes")
    _, ours = make_pair("classes", warm_start=True)
    ours.partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x[:50], y[:50])
    _, without = make_pair("classes")
    without.partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x[:50], y[:50])
    assert ours.loss_curve_ == without.loss_curve_


def test_partial_fit_is_not_there_with_lbfgs():
    theirs, ours = make_pair("classes", solver="lbfgs")
    assert not hasattr(ours, "partial_fit")
    assert error_of(lambda: ours.partial_fit) == error_of(lambda: theirs.partial_fit)
    with pytest.raises(AttributeError) as caught:
        ours.partial_fit
    text = "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
    assert str(caught.value.__cause__) == text
    # scikit-learn's regressor has it, by a slip: its condition is a method that is not called.
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


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
    before = all_weights(ours)
    ours.set_params(**change).partial_fit(x, y)
    np.testing.assert_allclose(all_weights(ours), before, atol=1e-20)
    # Once.
    ours.partial_fit(x, y)
    assert ours.model_.training.step == 2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"average_weights": 0.9},
        {"dropout": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive"},
    ],
    ids=lambda settings: "-".join(settings) or "defaults",
)
def test_partial_fit_traces_a_step_once(backend, programs, settings, iris):
    ours = classifier(batch_size=15, backend=backend, **settings)
    for _ in range(9):
        ours.partial_fit(*iris, classes=[0, 1, 2])
    # Of 36 steps, two are called as they are, one is traced and all others are replayed.
    assert [program.runs for program in programs] == [33]

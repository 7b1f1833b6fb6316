"""partial_fit: scikit-learn's course over many calls, its classes and its errors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn_cases import (
    PROBLEMS,
    all_weights,
    classifier,
    each_solver,
    load_problem,
    make_pair,
    same_error,
    train_pair,
)

import anyback_nn as nn
from anyback_nn.sklearn import MLPRegressor


def repeat(times):
    """Train by so many calls of partial_fit."""

    def train(mlp, x, y):
        for _ in range(times):
            mlp.partial_fit(x, y)

    return train


@dataclass(frozen=True)
class TimesGradient(nn.Momentum):
    """Two of them are equal, whatever their factors."""

    factor: float = field(compare=False, kw_only=True, default=1.0)

    def rule(self, p, g, state, *coefficients):
        return super().rule(p, self.factor * g, state, *coefficients)


def test_a_second_optimizer_that_compares_equal_takes_its_own_steps():
    x, y = np.arange(8.0).reshape(4, 2) / 4, np.array([5.0, 1.0, 2.0, 3.0])
    mlp = MLPRegressor(hidden_layer_sizes=(3,), random_state=1, alpha=0.0)
    changes = []
    for factor in (1.0, 1.0, 0.0):
        before = all_weights(mlp) if changes else 0.0
        mlp.set_params(optimizer=TimesGradient(0.1, momentum=0.0, factor=factor)).partial_fit(x, y)
        changes.append(np.abs(all_weights(mlp) - before).max())
    assert changes[1] > 0.0 == changes[2]
    assert mlp.model_.training.step == 3  # the optimiser's state stays


@each_solver
@pytest.mark.parametrize("name", PROBLEMS)
def test_partial_fit_takes_the_same_course(name, solver):
    def train(mlp, x, y):
        classes = {"labels": np.arange(4)}.get(name, np.unique(y))
        more = {"classes": classes} if is_classifier(mlp) else {}
        mlp.partial_fit(x[:80], y[:80], **more)
        mlp.partial_fit(x[80:], y[80:])
        mlp.partial_fit(x, y, **more)

    _, ours = train_pair(name, train, **solver, batch_size=25)
    n_samples = len(load_problem(name)[0])
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (1, 3, 2 * n_samples)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_partial_fit_lowers_the_rate(learning_rate):
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.03}
    train_pair("values", repeat(9), **settings, tol=1.0, n_iter_no_change=1)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
@pytest.mark.parametrize("change", [{"learning_rate": "constant"}, {"solver": "adam"}])
def test_partial_fit_keeps_the_rule_of_the_rate(change, learning_rate):
    def train(mlp, x, y):
        repeat(3)(mlp, x, y)
        repeat(5)(mlp.set_params(**change), x, y)

    settings = {"solver": "sgd", "learning_rate": learning_rate, "tol": 10.0, "n_iter_no_change": 1}
    train_pair("values", train, **settings)


def test_partial_fit_resumes_after_it_has_converged():
    _, ours = train_pair("values", repeat(6), tol=9.0, n_iter_no_change=1)
    assert len(ours.loss_curve_) == 6


def test_partial_fit_and_fit_in_turn():
    def train(mlp, x, y):
        mlp.partial_fit(x, y, classes=[0, 1, 2])
        mlp.fit(x, y)
        mlp.partial_fit(x[:50], y[:50])

    _, ours = train_pair("classes", train, max_iter=3)
    assert len(ours.loss_curve_) == 4


def test_partial_fit_with_a_generator_continues_to_draw_from_it():
    def train(mlp, x, y):
        repeat(3)(mlp.set_params(random_state=np.random.RandomState(5)), x, y)

    train_pair("values", train)


def test_partial_fit_of_classes_that_come_later():
    def train(mlp, x, y):
        mlp.partial_fit(x[:60], y[:60], classes=[2, 1, 0])

    _, ours = train_pair("classes", train)
    assert ours.predict_proba(load_problem("classes")[0]).shape == (150, 3)


def test_partial_fit_needs_the_classes_first():
    x, y = load_problem("classes")
    _, text = same_error(make_pair("classes"), lambda mlp: mlp.partial_fit(x, y))
    assert text == "classes must be passed on the first call to partial_fit."


def test_partial_fit_refuses_other_classes():
    x, y = load_problem("classes")
    pair = [mlp.partial_fit(x, y, classes=[0, 1, 2]) for mlp in make_pair("classes")]
    for classes in ([0, 1], [0, 1, 2, 3]):
        same_error(pair, lambda mlp, some=classes: mlp.partial_fit(x, y, classes=some))
    same_error(pair, lambda mlp: mlp.partial_fit(x, np.where(y == 2, 7, y)))


@pytest.mark.parametrize("name", ["classes", "labels"])
def test_partial_fit_refuses_what_was_not_announced(name):
    x, y = load_problem(name)
    for mlp in make_pair(name):
        with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
            mlp.partial_fit(x, y, classes=[0, 1])


def test_partial_fit_of_some_classes_with_warm_start():
    # As the description of `classes` says; scikit-learn's refuses it if warm_start is on.
    x, y = load_problem("classes")
    ours, without = (make_pair("classes", warm_start=on)[1] for on in (True, False))
    for mlp in (ours, without):
        mlp.partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x[:50], y[:50])
    assert ours.loss_curve_ == without.loss_curve_


def test_partial_fit_is_not_there_with_lbfgs():
    pair = make_pair("classes", solver="lbfgs")
    assert not hasattr(pair[1], "partial_fit")
    same_error(pair, lambda mlp: mlp.partial_fit)
    with pytest.raises(AttributeError) as caught:
        pair[1].partial_fit
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

"""Optimisers, schedules, clipping and penalties that scikit-learn does not have."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn_cases import (
    SMALL,
    STILL,
    Recorder,
    all_weights,
    assert_descends,
    classifier,
    cross_entropy,
    differentiate,
    regressor,
)

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, MLPRegressor


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
    start = all_weights(ours)
    ours.set_params(warm_start=True, optimizer="adam", learning_rate_init=0.01).fit(*iris)
    np.testing.assert_allclose(np.abs(all_weights(ours) - start), 0.01, rtol=1e-4)


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
    start, gradient = all_weights(ours), differentiate(ours, cross_entropy(x, y))
    assert 0.05 < np.linalg.norm(gradient) < 100
    optimizer = {"name": "sgd", "optimizer": nn.GradientDescent(0.2), "sgd": None}[given]
    ours.set_params(optimizer=optimizer, learning_rate_init=0.2, solver="sgd", momentum=0.0)
    ours.set_params(nesterovs_momentum=False, clip_norm=clip_norm, warm_start=True).fit(x, y)
    step = 0.2 * gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    np.testing.assert_allclose(start - all_weights(ours), step, rtol=1e-6, atol=1e-9)


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


def test_steps_are_recorded_with_the_penalty_that_is_the_default(iris, backend, programs):
    MLPClassifier(max_iter=5, batch_size=10, random_state=0, backend=backend).fit(*iris)
    assert programs
    assert all(program.runs for program in programs)

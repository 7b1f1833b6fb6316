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
from anyback_nn.optim.like_sklearn import SklearnAdam, SklearnSGD
from anyback_nn.sklearn import MLPClassifier

DECAY = nn.StepDecay(0.4, every=2, factor=0.5)

RULES = {
    **{name: ({"optimizer": name}, rule(0.02)) for name, rule in nn.OPTIMIZERS.items()},
    "object": ({"optimizer": nn.Momentum(0.1, momentum=0.5)}, nn.Momentum(0.1, momentum=0.5)),
    "schedule of adam": ({"schedule": DECAY}, SklearnAdam(DECAY)),
    "schedule of sgd": ({"schedule": DECAY, "solver": "sgd"}, SklearnSGD(DECAY)),
    "schedule of a name": ({"schedule": DECAY, "optimizer": "rmsprop"}, nn.RMSProp(DECAY)),
    "schedule of an object": (
        {"schedule": DECAY, "optimizer": nn.Momentum(9.0)},
        nn.Momentum(DECAY),
    ),
    "schedule instead of scikit-learn's": (
        {"schedule": DECAY, "solver": "sgd", "learning_rate": "invscaling"},
        SklearnSGD(DECAY),
    ),
    "clipped name": ({"optimizer": "adam", "clip_norm": 3}, nn.Adam(0.02, clip_norm=3.0)),
    "clipped object": (
        {"optimizer": nn.Adam(0.1), "clip_norm": 3.0},
        nn.Adam(0.1, clip_norm=3.0),
    ),
    "clipped sgd": ({"solver": "sgd", "clip_norm": 3.0}, SklearnSGD(0.02, clip_norm=3.0)),
}
"""Settings, and the rule that they mean."""


@pytest.mark.parametrize("name", RULES)
def test_the_rule_of_the_steps(name, iris):
    settings, rule = RULES[name]
    recorder = Recorder()
    ours = classifier(**settings, learning_rate_init=0.02, max_iter=3, callbacks=[recorder])
    ours.set_params(batch_size=30).fit(*iris)
    assert ours.model_.training.optimizer == rule
    assert len(recorder.after) == ours.model_.training.step == 6
    assert np.abs(np.diff(recorder.after, axis=0)).max() > 1e-3
    # So there are epochs, and one more.
    ours.partial_fit(*iris)
    assert len(ours.loss_curve_) == 4


def test_a_schedule_gives_the_rate_of_each_epoch(iris):
    ours = classifier(max_iter=5, schedule=DECAY, learning_rate="invscaling").fit(*iris)
    assert ours.model_.history["learning_rate"] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])


def test_clip_norm_limits_gradients_whose_squares_overflow():
    x, y = np.full((8, 2), 1e10, dtype="float32"), np.full(8, 1e15, dtype="float32")
    rule = nn.GradientDescent(1.0)
    ours = regressor(hidden_layer_sizes=(), optimizer=rule, clip_norm=0.5, max_iter=1)
    ours.set_params(warm_start=True, alpha=0.0).fit(x, y)
    before = ours.coefs_[0].copy()
    ours.fit(x, y)
    np.testing.assert_allclose(ours.coefs_[0] - before, 0.5 / np.sqrt(2.0), rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [0.05, 100.0], ids=["too long", "short enough"])
def test_clip_norm_limits_the_length_of_the_gradient(clip_norm, iris):
    x, y = iris
    ours = classifier(optimizer=STILL).fit(x, y)
    start, gradient = all_weights(ours), differentiate(ours, cross_entropy(x, y))
    assert 0.05 < np.linalg.norm(gradient) < 100
    ours.set_params(optimizer=None, learning_rate_init=0.2, solver="sgd", momentum=0.0)
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


def test_the_penalty_acts_on_weights_alone_and_is_recorded(iris):
    x, y = iris
    data = cross_entropy(x, y)

    def value(mlp):
        squares = sum((w**2).sum() for w in mlp.coefs_)
        return data(mlp) + 0.5 * (0.3 + 6.0 / len(y)) * squares

    assert_descends(classifier(l2_per_sample=0.3, alpha=6.0), x, y, value)


def test_steps_with_the_penalty_that_is_the_default_are_traced(iris, backend, programs):
    MLPClassifier(max_iter=5, batch_size=10, random_state=0, backend=backend).fit(*iris)
    assert programs
    assert all(program.runs for program in programs)

"""Optimisers against their papers; test_optimizers_optax.py compares them with Optax's."""

from __future__ import annotations

from functools import partial

import numpy as np
import optimizer_runs
import pytest
from optimizer_runs import TOLERANCE, run

import anyback_nn as nn
from anyback_nn.optim.schedules import StepDecay


@pytest.fixture
def problem():
    return optimizer_runs.problem()


def flatten(arrays):
    return np.concatenate([array.ravel() for array in arrays.values()])


FORMULAS = {
    "sgd": (nn.GradientDescent(0.02), lambda step, p, g, state, rate: p - rate * g),
    "momentum": (nn.Momentum(0.02), optimizer_runs.momentum_formula),
    "nesterov": (nn.Nesterov(0.02), optimizer_runs.nesterov_formula),
    "adagrad": (nn.Adagrad(0.02, epsilon=0.3), optimizer_runs.adagrad_formula),
    "rmsprop": (nn.RMSProp(0.02), optimizer_runs.rmsprop_formula),
    "adam": (nn.Adam(0.02), optimizer_runs.adam_formula),
    "adamw": (
        nn.AdamW(0.02, weight_decay=0.3, penalize_all=True),
        partial(optimizer_runs.adam_formula, decay=0.3),
    ),
}


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
@pytest.mark.parametrize("name", FORMULAS)
def test_every_rule_follows_its_paper(name, packed, backend, problem, dtype):
    rule, formula = FORMULAS[name]
    expected = optimizer_runs.formula_path(formula, *problem, rate=0.02)
    path = run(rule, backend, *problem, packed, dtype)
    np.testing.assert_allclose(path, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
@pytest.mark.parametrize("size", [0.1, 3.0], ids=["short", "long"])
@pytest.mark.usefixtures("float64")
def test_clipping_limits_elements_and_then_the_norm(size, packed, backend):
    params, grads = optimizer_runs.problem(1, size)
    start, g = flatten(params), flatten(grads[0])
    limited = np.clip(g, -2.0, 2.0)
    for options, expected in (
        ({"clip_value": 2.0}, limited),
        ({"clip_norm": 1.5}, g * min(1.0, 1.5 / np.linalg.norm(g))),
        (
            {"clip_value": 2.0, "clip_norm": 1.5},
            limited * min(1.0, 1.5 / np.linalg.norm(limited)),
        ),
    ):
        path = run(nn.GradientDescent(0.1, **options), backend, params, grads, packed)
        np.testing.assert_allclose(path[0], start - 0.1 * expected, rtol=1e-12)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
@pytest.mark.parametrize("share", [2.0**-4, 0.99])
def test_a_step_has_the_length_and_direction_of_a_gradient_of_any_size(
    share, packed, backend, dtype
):
    """Also where the squares of its elements are infinite, or 0."""
    limits = np.finfo(dtype)
    params, grads = optimizer_runs.problem(1, 1.0)
    highest = np.abs(flatten(grads[0])).max()
    zeros = {name: 0.0 * p for name, p in params.items()}
    for size in (limits.max * share, limits.max**share, 2.0**12 * limits.smallest_normal / share):
        grad = {name: (g / highest * size).astype(dtype) for name, g in grads[0].items()}
        g = flatten(grad).astype("longdouble")
        length = np.sqrt((g * g).sum())
        for clip in (1.0, float(length / 2), float(min(2 * length, limits.max))):
            rule = nn.GradientDescent(1.0, clip_norm=clip)
            (step,) = run(rule, backend, zeros, [grad], packed, dtype)
            expected = -(g * min(np.longdouble(1.0), clip / length)).astype("float64")
            unit = np.abs(expected).max()
            np.testing.assert_allclose(step / unit, expected / unit, atol=8 * limits.eps)


@pytest.mark.usefixtures("float64")
def test_clipping_a_zero_gradient_gives_zero(backend, problem):
    params, grads = problem
    zeros = [{name: 0 * g for name, g in grads[0].items()}]
    path = run(nn.GradientDescent(0.1, clip_norm=1.0), backend, params, zeros)
    np.testing.assert_array_equal(path[0], flatten(params))


@pytest.mark.usefixtures("float64")
def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(backend, problem):
    # Kingma and Ba, section 2.1: m_hat / sqrt(v_hat) is the sign of the first gradient.
    params, grads = problem
    start = flatten(params)
    signs = np.sign(flatten(grads[0]))
    path = run(nn.Adam(0.01), backend, params, grads[:1])
    np.testing.assert_allclose(path[0] - start, -0.01 * signs, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_penalties_act_on_weights_alone_by_default(backend, problem):
    params, _ = problem
    zeros = [{name: 0 * p for name, p in params.items()}]
    w, b = params["weight"].ravel(), params["bias"]
    path = run(nn.GradientDescent(0.1, l1=0.2, l2=0.3), backend, params, zeros)
    np.testing.assert_allclose(path[0][:12], w - 0.1 * (0.2 * np.sign(w) + 0.3 * w), rtol=1e-14)
    np.testing.assert_array_equal(path[0][12:], b)
    path = run(nn.GradientDescent(0.1, l2=0.3, penalize_all=True), backend, params, zeros)
    np.testing.assert_allclose(path[0][12:], b - 0.1 * 0.3 * b, rtol=1e-14)


@pytest.mark.usefixtures("float64")
def test_a_schedule_sets_the_rate_of_each_step(backend, problem):
    params, grads = problem
    path = run(nn.GradientDescent(StepDecay(0.4, every=1, factor=0.5)), backend, params, grads[:3])
    p = flatten(params)
    for step, rate in enumerate([0.4, 0.2, 0.1]):
        p = p - rate * flatten(grads[step])
        np.testing.assert_allclose(path[step], p, rtol=1e-13)

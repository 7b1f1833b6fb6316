"""The update of textbooks, step by step, ends where the optimiser's own update does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.explain.notation import list_symbols
from anyback_nn.explain.updates import (
    compute_update,
    list_constants,
    list_update,
    measure_norm,
)
from anyback_nn.optim.like_sklearn import SklearnAdam, SklearnSGD


@dataclass(frozen=True)
class Halved(nn.Optimizer):
    """A rule of a user's, with a slot of its own."""

    learning_rate: float = 0.1
    slots = ("last",)

    def rule(self, p, g, state, *coefficients):
        (rate,), (last,) = coefficients, state
        p -= rate * (0.5 * g + 0.5 * last)
        return p, (g,)


OPTIMIZERS = {
    **{name: kind() for name, kind in nn.OPTIMIZERS.items()},
    "momentum 0": nn.Momentum(momentum=0.0),
    "adam, other betas": nn.Adam(0.1, beta1=0.0, beta2=0.5, epsilon=0.1),
    "adamw, strong": nn.AdamW(0.1, weight_decay=0.3, l1=0.2, l2=0.4),
    "penalties": nn.GradientDescent(l1=0.1, l2=0.3),
    "values clipped": nn.Adam(l2=0.1, clip_value=0.5),
    "norm clipped": nn.Momentum(clip_norm=0.7),
    "both clipped": nn.RMSProp(clip_value=1.0, clip_norm=0.9, l2=0.1),
    "norm within": nn.Adagrad(clip_norm=100.0),
    "like scikit-learn's": SklearnSGD(),
    "like scikit-learn's, plain": SklearnSGD(nesterov=False),
    "like scikit-learn's Adam": SklearnAdam(),
    "of a user": Halved(),
}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
N_STEPS = 4


def follow(optimizer, backend, dtype):
    """Yield for some steps: weights, gradients, slots, step, rate, and the weights after."""
    rng = np.random.default_rng(0)
    params = (backend.asarray(rng.normal(size=(3, 2)), dtype), backend.asarray([0.3, -0.2], dtype))
    state, mask = optimizer.init(params), (1.0, 0.0)
    xp = backend.xp
    for step in range(1, N_STEPS + 1):
        grads = tuple(backend.asarray(rng.normal(size=tuple(p.shape)), dtype) for p in params)
        rate = optimizer.schedule(0.0) / step
        before, trees = (params, grads, state), (params, grads, *state.values())
        # Arguments are donated.
        own = [tuple(xp.asarray(x, copy=True) for x in tree) for tree in trees]
        params, state = optimizer.update(
            *own[:2], dict(zip(state, own[2:])), mask, optimizer.coefficients(step, rate)
        )
        yield *before, step, rate, params


@each_optimizer
def test_the_update_ends_where_the_optimizers_own_does(optimizer, backend, float64):
    with backend.scope(float64):
        for params, grads, state, step, rate, after in follow(optimizer, backend, float64):
            norm = measure_norm(optimizer, grads)
            for i, (weight, gradient, expected) in enumerate(zip(params, grads, after)):
                slots = {name: arrays[i] for name, arrays in state.items()}
                values = compute_update(
                    *(optimizer, weight, gradient, slots, step, rate),
                    norm=norm,
                    penalized=i == 0,
                )
                assert to_numpy(values["w_new"]) == pytest.approx(to_numpy(expected), rel=1e-12)


@each_optimizer
def test_equations_name_the_values_that_are_computed(optimizer):
    values = compute_update(
        *(optimizer, np.ones(2), np.ones(2), {name: np.ones(2) for name in optimizer.slots}),
        *(1, 0.1),
        norm=1.0,
    )
    steps = list_update(optimizer)
    assert [step.symbol for step in steps] == [*values]
    known = {"w", "dw", "rate", "t", "norm", *list_constants(optimizer)}
    for step in steps:
        known.add(step.symbol)
        assert {*list_symbols(step.rows)} <= known
        assert step.about


@each_optimizer
def test_nothing_that_is_passed_is_overwritten(optimizer):
    arrays = [np.full(2, 0.5) for _ in range(2 + len(optimizer.slots))]
    weight, gradient, *slots = arrays
    compute_update(optimizer, weight, gradient, dict(zip(optimizer.slots, slots)), 1, 0.1, norm=1.0)
    assert all((array == 0.5).all() for array in arrays)


@pytest.mark.needs("ndonnx")
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "of a user"])
def test_an_update_can_be_traced_with_step_and_rate_as_inputs(name):
    from anyback_nn.onnx.graphs import load, trace

    optimizer = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(0.1, 1.0, (3, 2)) for name in ("w", "dw", *optimizer.slots)}
    values |= {"step": np.asarray(3.0), "rate": np.asarray(0.1), "norm": np.asarray(2.0)}

    def update(w, dw, step, rate, norm, **slots):
        return compute_update(optimizer, w, dw, slots, step, rate, norm=norm)

    inputs = {name: (array.shape, "float64") for name, array in values.items()}
    outputs = load(trace(update, inputs))(values)
    expected = update(**values | {"step": 3, "rate": 0.1, "norm": 2.0})
    for symbol, value in expected.items():
        assert outputs[symbol] == pytest.approx(value, rel=1e-9), symbol


def test_a_norm_that_is_needed_is_asked_for():
    with pytest.raises(ValueError, match="expected norm, the length of the whole gradient"):
        compute_update(nn.Adam(clip_norm=1.0), np.ones(1), np.ones(1), {}, 1, 0.1)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_length_of_a_gradient_neither_overflows_nor_vanishes(scale):
    optimizer = nn.GradientDescent(clip_norm=1.0)
    gradients = [np.asarray([[3.0, 0.0]]) * scale, np.asarray([4.0]) * scale]
    assert measure_norm(optimizer, gradients) == pytest.approx(5.0 * scale)


def test_no_gradient_has_the_length_0():
    assert measure_norm(nn.Adam(clip_norm=1.0), [np.zeros(2)]) == 0.0

"""Equations are right: computed as they are written, they give the values of the walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from explained import N_IN, N_SAMPLES, NETWORKS, compute, draw

import anyback_nn as nn
from anyback_nn.explain.code import is_computable
from anyback_nn.explain.names import name_values
from anyback_nn.explain.notation import list_symbols, to_text
from anyback_nn.explain.steps import list_steps
from anyback_nn.explain.walk import collect_parameters, compute_walk, to_columns

each_network = pytest.mark.parametrize("case", NETWORKS)


@pytest.fixture
def explained(case):
    """The steps of a network, its names, and its values in both notations."""
    network, params, state, x, y = draw(*NETWORKS[case])
    loss = NETWORKS[case][1]
    names = name_values(network, loss, params, state)
    values = {
        "X": x,
        "Y": y,
        "m": np.asarray(N_SAMPLES),
        **collect_parameters(names, params, state),
    }
    values |= compute_walk(network, loss, params, state, x, y)
    steps = list_steps(network, loss, params, state, n_in=N_IN)
    return steps, values, to_columns(names, values, N_SAMPLES)


@each_network
def test_each_equation_gives_the_value_of_its_step(explained):
    steps, values, columns = explained
    computed = [step for step in steps if is_computable(step.rows)]
    in_words = {step.symbol[:2] for step in steps} - {step.symbol[:2] for step in computed}
    assert in_words <= {"R1", "dR"}
    for step in computed:
        for equation, own, axis in ((step.rows, values, 0), (step.columns, columns, 1)):
            # Some equations have constants with five digits.
            assert compute(equation, own, axis) == pytest.approx(own[step.symbol], rel=2e-4), (
                equation
            )


@each_network
def test_steps_and_values_have_the_same_names_in_the_same_order(explained):
    steps, values, _ = explained
    symbols = [step.symbol for step in steps]
    assert symbols == [*values][-len(symbols) :]
    assert len({*symbols}) == len(symbols)


@each_network
def test_equations_name_values_that_are_known_before(explained):
    steps, values, _ = explained
    known = {*values} - {step.symbol for step in steps}
    for step in steps:
        known.add(step.symbol)
        assert {*list_symbols(step.rows + step.columns + step.title + step.about)} <= known


def test_the_textbook_shapes_are_the_transposed_ones():
    network, params, _, x, y = draw(*NETWORKS["classes"])
    loss = nn.SoftmaxCrossEntropy()
    names = name_values(network, loss, params)
    values = {"X": x, **compute_walk(network, loss, params, (), x, y)}
    columns = to_columns(names, values, N_SAMPLES)
    assert columns["X"].shape == (N_IN, N_SAMPLES)
    assert columns["Z1"].shape == columns["dZ1"].shape == (5, N_SAMPLES)
    assert columns["dW1"].shape == (N_IN, 5)
    assert columns["db1"].shape == (5, 1)


def test_the_forward_part_alone_has_no_gradients():
    network, params, state, x, _ = draw(*NETWORKS["tanh, sigmoid"])
    loss = nn.BinaryCrossEntropy()
    steps = list_steps(network, loss, params, state, n_in=N_IN, with_targets=False)
    assert {step.phase for step in steps} == {"forward"}
    assert [step.symbol for step in steps] == [*compute_walk(network, loss, params, state, x)]


def test_weights_of_samples_are_in_the_equations():
    network, params, *_ = draw(*NETWORKS["tanh, sigmoid"])
    steps = list_steps(network, nn.BinaryCrossEntropy(), params, n_in=N_IN, weighted=True)
    assert [step.rows for step in steps if "weights" in step.rows] == [
        "{L} = (1/{m}) sum(weights ⊙ −({Y} ⊙ log({A2}) + (1 − {Y}) ⊙ log(1 − {A2})))",
        "{dZ2} = weights ⊙ ({A2} − {Y}) / {m}",
    ]


@dataclass(frozen=True)
class Doubled(nn.Layer):
    def init(self, n_in, draws):
        return {"factor": draws.full((n_in,), 2.0)}

    def forward(self, params, x, context=nn.PREDICTION):
        return params["factor"] * x, x

    def backward(self, params, cache, dy):
        return params["factor"] * dy, {"factor": np.sum(cache * dy, axis=-2)}


def test_a_layer_of_a_user_is_named_by_its_class():
    case = ((nn.Dense(2), Doubled(), nn.Dense(1)), nn.MeanSquaredError())
    network, params, state, x, y = draw(*case)
    steps = list_steps(network, case[1], params, state, n_in=N_IN)
    assert [to_text(step.rows) for step in steps if "Doubled" in step.rows] == [
        "H₁ = Doubled(Z₁)",
        "dH₁.factor = Doubled.backward(dH₁)",
        "dZ₁ = Doubled.backward(dH₁)",
    ]
    walk = compute_walk(network, case[1], params, state, x, y)
    assert walk["dH1.factor"] == pytest.approx(np.sum(walk["Z1"] * walk["dH1"], axis=0))

"""The stored graphs: those that the code would give today, and what `fit` computes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest

from anyback_nn.explain.updates import compute_update
from anyback_nn.onnx.graphs import load
from anyback_nn.playground.graphs import list_graphs, read_graphs
from anyback_nn.playground.numbers import SHAPES
from anyback_nn.playground.settings import (
    ACTIVATIONS,
    BATCH_SIZE,
    MAX_DEPTH,
    OPTIMIZERS,
    build_model,
)
from anyback_nn.tree import tree_named_leaves

pytestmark = pytest.mark.needs("ndonnx")
TRACED = (
    "step/0/Tanh/GradientDescent",
    "step/2/Sigmoid/Adam",
    "step/4/LeakyReLU/RMSProp",
    "step/1/Identity/Momentum",
    "rows/3/ReLU",
    "walk/2/Tanh",
    "update/Adam",
)


def open_graph(name):
    return onnx.load_from_string(read_graphs()[name])


def draw_inputs(graph, seed):
    """Draw inputs of a graph; dimensions with a name are 3."""
    random = np.random.default_rng(seed)
    return {
        value.name: np.asarray(
            random.uniform(0.5, 2.5, [d.dim_value or 3 for d in tensor.shape.dim]),
            onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type),
        )
        for value in graph.graph.input
        for tensor in [value.type.tensor_type]
    }


def test_there_is_a_graph_for_each_choice():
    assert [*read_graphs()] == [*list_graphs()]
    assert len(list_graphs()) == (1 + MAX_DEPTH * len(ACTIVATIONS)) * (2 + len(OPTIMIZERS)) + 4


@pytest.mark.parametrize("name", TRACED)
def test_stored_graphs_compute_what_the_code_does_today(name):
    """If this fails: ``nox -s playground``."""
    traced, stored = list_graphs()[name](), open_graph(name)
    inputs = draw_inputs(stored, 1)
    expected, actual = load(traced)(inputs), load(stored)(inputs)
    assert {*expected} == {*actual}
    for output, value in expected.items():
        np.testing.assert_allclose(actual[output], value, rtol=1e-5, atol=1e-6, err_msg=output)


@pytest.mark.parametrize(
    ("widths", "activation", "name", "batch_size", "l2"),
    [
        ((), "Tanh", "GradientDescent", 64, 0.0),
        ((1,), "ReLU", "Momentum", 10, 0.01),
        ((3, 8), "Sigmoid", "Adam", 30, 0.003),
        ((8, 2, 5), "LeakyReLU", "RMSProp", 1, 0.0),
        ((2, 3, 4, 5), "Identity", "Adam", 64, 0.1),
    ],
)
def test_stored_steps_are_those_of_fit(widths, activation, name, batch_size, l2):
    optimizer = replace(OPTIMIZERS[name], learning_rate=0.01, l2=l2)
    x, y = SHAPES["moons"](100, noise=0.1)
    model = build_model(widths, activation, seed=3)
    run = load(open_graph(f"step/{len(widths)}/{activation if widths else 'Tanh'}/{name}"))
    values = {f"parameters.{key}": array for key, array in tree_named_leaves(model.params).items()}
    values |= {
        key.replace("parameters", f"optimizer.{slot}"): np.zeros_like(array)
        for key, array in values.items()
        for slot in optimizer.slots
    }
    batches = [slice(i, i + batch_size) for i in range(0, 100, batch_size)]
    for step, rows in enumerate(itertools.islice(itertools.cycle(batches), 50), 1):
        n = len(y[rows])
        coefficients = (*optimizer.coefficients(step, 0.01), l2)
        inputs = {
            "x": np.zeros((BATCH_SIZE, 2), "float32"),
            "y": np.zeros((BATCH_SIZE, 1), "float32"),
            "sample_weight": np.zeros(BATCH_SIZE, "float32"),
            **{f"coefficients.{i}": np.asarray(v, "float32") for i, v in enumerate(coefficients)},
        }
        inputs["x"][:n], inputs["y"][:n, 0] = x[rows], y[rows]
        inputs["sample_weight"][:n] = BATCH_SIZE / n
        outputs = run(values | inputs)
        values |= {key.removeprefix("next."): array for key, array in outputs.items()}
    steps = ((x[rows], y[rows]) for rows in itertools.islice(itertools.cycle(batches), 50))
    model.fit(steps, optimizer=optimizer, epochs=1, progress=False)
    for key, array in tree_named_leaves(model.params).items():
        np.testing.assert_allclose(values[f"parameters.{key}"], array, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stored_update_is_that_of_explain(name):
    graph = open_graph(f"update/{name}")
    inputs = draw_inputs(graph, 2) | {"t": np.asarray(7.0), "lambda2": np.asarray(0.02)}
    optimizer = replace(OPTIMIZERS[name], l2=0.02)
    slots = {slot: inputs[slot] for slot in optimizer.slots}
    expected = compute_update(optimizer, inputs["w"], inputs["dw"], slots, 7, float(inputs["rate"]))
    actual = load(graph)(inputs)
    for symbol in ("g", "w_new"):
        np.testing.assert_allclose(actual[symbol], expected[symbol], rtol=1e-12)

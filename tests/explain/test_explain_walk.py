"""The values of a walk: the gradients are slopes of the loss, on every backend and in ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from explained import NETWORKS, draw, pack

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.explain.names import name_values
from anyback_nn.explain.walk import compute_walk
from anyback_nn.tree import tree_map

each_network = pytest.mark.parametrize("case", NETWORKS)


@pytest.mark.parametrize("case", ["tanh, sigmoid", "classes", "counts", "norms", "block"])
def test_a_walk_is_the_same_on_every_backend(case, backend, finest):
    (layers, loss) = NETWORKS[case]
    network, params, state, x, y = draw(layers, loss)
    expected = compute_walk(network, loss, params, state, x, y)
    with backend.scope(finest):

        def move(tree):
            return tree_map(lambda array: backend.asarray(array, finest), tree)

        walk = compute_walk(network, loss, move(params), move(state), move(x), move(y))
        assert walk.keys() == expected.keys()
        for symbol, value in walk.items():
            assert to_numpy(value) == pytest.approx(expected[symbol], rel=1e-4, abs=1e-5), symbol


@each_network
def test_gradients_are_slopes_of_the_loss(case):
    layers, loss = NETWORKS[case]
    network, params, state, x, y = draw(layers, loss)
    names = name_values(network, loss, params, state)
    weights = np.asarray([0.5, 2.0, 1.0, 0.5])
    walk = compute_walk(network, loss, params, state, x, y, weights)
    layout, (vector,) = pack(params)

    def measure(step):
        moved = layout.unpack((vector + step * direction,))
        return float(compute_walk(network, loss, moved, state, x, y, weights)["L"])

    for leaf in layout.leaves:
        direction = np.zeros_like(vector)
        direction[leaf.start : leaf.stop] = np.cos(np.arange(leaf.stop - leaf.start))
        slope = (measure(1e-6) - measure(-1e-6)) / 2e-6
        index, _, path = leaf.name.partition(".")
        gradient = walk[f"d{names.parameters[int(index)][path]}"]
        expected = np.sum(gradient.ravel() * direction[leaf.start : leaf.stop])
        assert expected == pytest.approx(slope, rel=1e-5, abs=1e-9), leaf.name


@pytest.mark.needs("ndonnx")
@each_network
def test_a_walk_can_be_traced(case):
    from anyback_nn.onnx.graphs import load, trace
    from anyback_nn.tree import tree_named_leaves

    layers, loss = NETWORKS[case]
    network, params, state, x, y = draw(layers, loss)
    tree = {"params": params, "state": state, "x": x, "y": y}
    values = tree_named_leaves(tree)

    def walk(**arrays):
        names = iter(values)
        own = tree_map(lambda _: arrays[next(names)], tree)
        return compute_walk(network, loss, own["params"], own["state"], own["x"], own["y"])

    graph = trace(walk, {name: (array.shape, "float64") for name, array in values.items()})
    outputs = load(graph)(values)
    expected = compute_walk(network, loss, params, state, x, y)
    assert outputs.keys() == expected.keys()
    for symbol, value in outputs.items():
        assert value == pytest.approx(expected[symbol], rel=1e-9, abs=1e-12), symbol


def test_classes_by_index_are_those_by_ones():
    layers, loss = NETWORKS["classes"]
    network, params, state, x, y = draw(layers, loss)
    by_index = compute_walk(network, loss, params, state, x, y.argmax(axis=1))
    for symbol, value in compute_walk(network, loss, params, state, x, y).items():
        assert by_index[symbol] == pytest.approx(value)


def test_the_prediction_is_that_of_the_model():
    model = nn.Model(nn.Dense(3), nn.Tanh(), nn.Dense(1), loss="binary_cross_entropy").build(2)
    x = np.asarray([[0.5, -1.0]])
    walk = compute_walk(model.network, model.loss, model.params, (), x.astype("float32"))
    assert walk["A2"] == pytest.approx(model.predict(x))

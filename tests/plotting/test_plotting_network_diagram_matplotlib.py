"""Lines are the weights, boxes the layers."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.plotting import NetworkDiagramDisplay
from anyback_nn.plotting.style import choose_colors
from anyback_nn.sklearn import MLPClassifier


def test_lines_are_as_wide_as_weights_are_large(moons_model):
    display = NetworkDiagramDisplay.from_estimator(moons_model)
    weights = [moons_model.params[i]["weight"] for i in (0, 2)]
    widths = [lines.get_linewidth() for lines in display.connections_]
    factor = max(map(np.max, widths)) / max(np.abs(w).max() for w in weights)
    for i, (lines, weight) in enumerate(zip(display.connections_, weights)):
        np.testing.assert_allclose(lines.get_linewidth(), factor * np.abs(weight).ravel())
        signs = choose_colors(2)[(weight.ravel() < 0).astype(int)]
        np.testing.assert_allclose(lines.get_color()[:, :3], signs)
        # From unit to unit, in the order of the weights.
        ends = np.array(lines.get_segments()).reshape(*weight.shape, 2, 2)
        for j, k in np.ndindex(weight.shape):
            np.testing.assert_array_equal(ends[j, k, 0], display.units_[i][j])
            np.testing.assert_array_equal(ends[j, k, 1], display.units_[i + 1][k])


def test_a_large_network_is_drawn_as_boxes():
    model = nn.Model(
        *(nn.BatchNorm(), nn.Dense(300), nn.ReLU(), nn.Dropout(0.1), nn.Dense(3)),
        loss=nn.SoftmaxCrossEntropy(),
    ).build(20)
    display = NetworkDiagramDisplay.from_estimator(model)
    assert not display.units_
    assert len(display.boxes_) == 3
    columns = [(c.names, c.n_units, c.n_params) for c in display.columns]
    assert columns == [
        (("input", "BatchNorm"), 20, 40),
        (("Dense", "ReLU", "Dropout"), 300, 6300),
        (("Dense",), 3, 903),
    ]
    assert sum(c.n_params for c in display.columns) == model.layout.size
    texts = [text.get_text() for text in display.ax_.texts]
    assert {"300", "6,300\nparameters", "Dense\nReLU\nDropout"} <= set(texts)


def test_blocks_are_boxes_of_their_own():
    block = nn.network.network.Residual(nn.Dense(4), nn.Tanh(), nn.Dense(3))
    model = nn.Model(nn.Dense(3), block, nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    display = NetworkDiagramDisplay.from_estimator(model)
    assert [column.names[0] for column in display.columns] == [
        "input",
        "Dense",
        "Residual",
        "Dense",
    ]
    assert len(display.boxes_) == 4


@pytest.mark.parametrize(("max_units", "n_boxes"), [(9, 0), (8, 3)])
def test_the_limit_of_units_can_be_chosen(max_units, n_boxes, moons):
    estimator = MLPClassifier((9,), solver="lbfgs", max_iter=5, tol=1).fit(*moons)
    display = NetworkDiagramDisplay.from_estimator(estimator, max_units=max_units)
    assert len(display.boxes_) == n_boxes


def test_weights_of_zero_have_no_lines(moons_model):
    model = moons_model.to("numpy")
    model.params = [{name: 0 * x for name, x in layer.items()} for layer in model.params]
    display = NetworkDiagramDisplay.from_estimator(model)
    assert all(np.max(lines.get_linewidth()) == 0 for lines in display.connections_)

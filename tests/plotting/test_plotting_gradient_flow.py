"""Norms of gradients: PyTorch's autograd, and the same on every backend."""

import copy

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.plotting import GradientFlowDisplay, gradient_norms
from anyback_nn.sklearn import MLPClassifier


@pytest.mark.needs("torch")
def test_norms_are_those_of_autograd(blobs_model, blobs):
    import torch

    x, y = blobs
    params = [
        {name: torch.tensor(np.array(a), requires_grad=True) for name, a in layer.items()}
        for layer in (blobs_model.params[0], blobs_model.params[2])
    ]
    hidden = torch.tanh(torch.tensor(x) @ params[0]["weight"] + params[0]["bias"])
    outputs = hidden @ params[1]["weight"] + params[1]["bias"]
    torch.nn.functional.cross_entropy(outputs, torch.tensor(y)).backward()
    expected = [float(sum((a.grad**2).sum() for a in layer.values()) ** 0.5) for layer in params]
    norms = gradient_norms(blobs_model, x, y)
    assert list(norms) == ["0 Dense(8)", "2 Dense(3)"]
    np.testing.assert_allclose(list(norms.values()), expected, rtol=1e-9)


def build(backend, dtype):
    layers = nn.Dense(6), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(2)
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, dtype=dtype).build(2)


def test_norms_are_those_of_numpy_on_every_backend(backend, finest, moons):
    norms = gradient_norms(build(backend, finest), *moons)
    expected = gradient_norms(build("numpy", finest), *moons)
    assert norms == pytest.approx(expected, rel=1e-4)
    assert list(norms) == ["0 Dense(6)", "1 BatchNorm", "4 Dense(2)"]


def test_nothing_is_changed_and_masks_are_drawn_again(moons):
    model = build("numpy", "float32")
    before = copy.deepcopy(model)
    assert gradient_norms(model, *moons) == gradient_norms(model, *moons)
    for tree, old in ((model.params, before.params), (model.training.state, before.training.state)):
        for own, other in zip(tree, old):
            assert all(np.array_equal(own[name], other[name]) for name in other)


def test_labels_of_an_estimator_are_encoded(moons):
    x, y = moons
    labels = np.array(["no", "yes"])[y]
    estimator = MLPClassifier((4,), solver="lbfgs", max_iter=3, tol=9).fit(x, labels)
    assert gradient_norms(estimator, x, labels) == gradient_norms(estimator.model_, x, y)


@pytest.mark.needs("matplotlib")
def test_points_are_the_norms_and_layers_without_gradient_are_named(moons):
    x, y = (array[:50] for array in moons)
    model = nn.Model(nn.Dense(4), nn.ReLU(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    dead = [dict(layer) for layer in model.params]
    dead[0]["bias"] = np.full(4, -100.0)
    model.params = dead
    display = GradientFlowDisplay.from_estimator(model, x, y)
    (points,) = display.artists_
    norms = gradient_norms(model, x, y)
    assert norms["0 Dense(4)"] == 0
    np.testing.assert_array_equal(points.get_xdata(), [np.nan, norms["2 Dense(2)"]])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["0 Dense(4) (0)", "2 Dense(2)"]


@pytest.mark.needs("matplotlib")
def test_lines_are_the_norms_of_the_epochs():
    rows = [{"a": 1.0, "b": 0.5}, {"a": 0.1, "b": 0.0}]
    display = GradientFlowDisplay.from_norms(rows, epochs=[3, 6])
    a, b = display.artists_
    assert (a.get_label(), b.get_label()) == ("a", "b")
    np.testing.assert_array_equal(a.get_ydata(), [1.0, 0.1])
    np.testing.assert_array_equal(b.get_ydata(), [0.5, np.nan])
    np.testing.assert_array_equal(a.get_xdata(), [3, 6])
    with pytest.raises(ValueError, match="got none"):
        GradientFlowDisplay.from_norms([])

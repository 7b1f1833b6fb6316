"""The backend ndonnx: predictions and scores by onnxruntime, from graphs of the same code."""

import numpy as np
import pytest
from onnx_files import randomize

import anyback_nn as nn
from anyback_nn.tree import tree_named_leaves

pytestmark = pytest.mark.needs("ndonnx")


@pytest.fixture
def moons():
    return nn.datasets.make_moons(300, noise=0.1, seed=0)


@pytest.fixture
def trained(moons):
    layers = (nn.Dense(8), nn.BatchNorm(), nn.GELU(), nn.Residual(nn.Dense(8)), nn.Dense(2))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy())
    model.fit(*moons, epochs=3, progress=False)
    return model


def test_a_model_moves_there_and_back(trained, moons):
    moved = trained.to("ndonnx")
    np.testing.assert_allclose(moved.predict(moons[0]), trained.predict(moons[0]), atol=1e-6)
    assert np.array_equal(moved.predict_classes(moons[0]), trained.predict_classes(moons[0]))
    back = tree_named_leaves(moved.to("numpy").params)
    for name, expected in tree_named_leaves(trained.params).items():
        assert np.array_equal(back[name], expected)


def test_scores(trained, moons):
    moved, expected = trained.to("ndonnx").evaluate(*moons), trained.evaluate(*moons)
    assert moved == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 4096])
def test_the_last_batch_may_be_shorter(batch_size, moons):
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(1), loss="mean_squared_error")
    x = moons[0][:15]
    predicted = randomize(model, 2).to("ndonnx").predict(x, batch_size=batch_size)
    np.testing.assert_allclose(predicted, model.predict(x), atol=1e-6)


def test_its_arrays_stay_its_arrays(trained, moons):
    moved = trained.to("ndonnx")
    x = moved.backend.asarray(moons[0], "float32")
    predicted = moved.predict(x)
    assert moved.backend.owns(predicted)
    np.testing.assert_allclose(predicted.unwrap_numpy(), trained.predict(moons[0]), atol=1e-6)

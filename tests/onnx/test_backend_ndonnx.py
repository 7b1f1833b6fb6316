"""The backend ndonnx: predictions and scores by onnxruntime, from graphs of the same code."""

import numpy as np
import pytest
from onnx_files import randomize

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.sklearn import MLPClassifier
from anyback_nn.testing import count_host_reads
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


class WithAnotherModel(nn.Layer):
    """A layer that predicts with another model on the same backend while it is traced."""

    def __init__(self, model):
        self.model = model

    def forward(self, params, x, context=nn.PREDICTION):
        (offset,) = self.model.predict(np.ones((1, 2), np.float32))
        return x + float(offset[0]), None

    def backward(self, params, cache, dy):
        return dy, {}


def test_a_layer_may_trace_another_model(moons):
    inner = nn.Model(nn.Dense(1), loss="mean_squared_error", backend="ndonnx").build(2)
    layers = (nn.Dense(2), WithAnotherModel(inner))
    x, predictions = moons[0][:5].astype(np.float32), []
    for backend in ("ndonnx", "numpy"):
        outer = nn.Model(*layers, loss="mean_squared_error", backend=backend).build(2)
        predictions.append(outer.predict(x))
    np.testing.assert_allclose(*predictions, atol=1e-6)


def test_true_is_not_one(moons):
    backend = nn.select("ndonnx")
    function = backend.jit(lambda x, flag: (x, flag))
    x = backend.asarray([1.0])
    assert [function(x, flag)[1] for flag in (True, 1, True)] == [True, 1, True]
    assert [type(function(x, flag)[1]) for flag in (True, 1)] == [bool, int]


def test_arrays_without_elements():
    backend = nn.select("ndonnx")
    x = backend.asarray(np.zeros((0, 3)), "float32")
    product = backend.jit(lambda x, w: x @ w)(x, backend.asarray(np.ones((3, 2)), "float32"))
    assert product.shape == (0, 2)


def test_estimators_take_its_arrays(moons, tmp_path):
    x, y = moons
    for labels in (y, y + 5, np.where(x[:, 0] > 1, 2, y)):
        mlp = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=200, tol=1e-2)
        mlp.fit(x, labels).save(tmp_path / "mlp.safetensors")
        array = nn.select("ndonnx").asarray(x)
        for estimator in (mlp, MLPClassifier.load(tmp_path / "mlp.safetensors", backend="ndonnx")):
            assert estimator.predict(array).unwrap_numpy().tolist() == mlp.predict(x).tolist()


def test_its_reads_are_counted(moons):
    backend = nn.select("ndonnx")
    with count_host_reads(backend) as counts:
        to_numpy(backend.asarray([1.0]) + 1.0)
        float(backend.asarray([1.0])[0])
    assert counts == {"NumPy": 1, "float()": 1}

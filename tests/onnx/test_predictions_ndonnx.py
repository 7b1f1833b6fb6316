"""Predictions as ONNX files, run by onnxruntime, against those of the model on NumPy."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import numpy as np
import onnx
import pytest
from network_cases import LAYERS, LOSSES, WITH_MISSING
from onnx_files import ROWS, draw_network, randomize, run

import anyback_nn as nn
from anyback_nn.array_api import array_namespace
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling
from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget
from anyback_nn.network.losses import Loss

pytestmark = pytest.mark.needs("ndonnx")


def assert_same(model, file, scale=1.0):
    model.to_onnx(file)
    onnx.checker.check_model(str(file), full_check=True)
    for n_rows in ROWS:
        x = np.random.default_rng(n_rows).normal(size=(n_rows, model.n_in)).astype(model.dtype)
        output = run(file, x=scale * x)["prediction"]
        expected = model.predict(scale * x)
        assert (output.shape, output.dtype) == (expected.shape, expected.dtype)
        # Float32 has seven digits, also of what is larger than 1.
        atol = 1e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_every_layer_and_activation(case, tmp_path):
    layers = (case.make(3), nn.Dense(2))
    model = nn.Model(*layers, loss=nn.MeanSquaredError())
    assert_same(randomize(model, case.n_in or 3), tmp_path / "model.onnx")


@pytest.mark.parametrize("n_out", [1, 3])
@pytest.mark.parametrize("case", [*LOSSES, *WITH_MISSING], ids=lambda case: case.name)
def test_every_link(case, n_out, tmp_path):
    last = (nn.Sigmoid(),) if isinstance(case.loss, nn.ProbabilityCrossEntropy) else ()
    model = nn.Model(nn.Dense(n_out), *last, loss=case.loss)
    assert_same(randomize(model, 4), tmp_path / "model.onnx")


@pytest.mark.parametrize("seed", range(30))
def test_drawn_networks(seed, tmp_path):
    model = nn.Model(*draw_network(seed), nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), seed=seed)
    assert_same(randomize(model, 5), tmp_path / "model.onnx")


def test_float64_to_its_own_precision(tmp_path):
    layers = (nn.Dense(8), nn.GELU(), nn.LayerNorm(), nn.Dense(2))
    model = nn.Model(*layers, loss="mean_squared_error", dtype="float64").build(3)
    model.to_onnx(tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(50, 3))
    output = run(tmp_path / "model.onnx", x=x)["prediction"]
    assert output.dtype == np.float64
    np.testing.assert_allclose(output, model.predict(x), rtol=1e-13, atol=1e-13)


def test_large_inputs(tmp_path):
    model = nn.Model(nn.Dense(4), nn.Sigmoid(), nn.Dense(3), loss=nn.SoftmaxCrossEntropy())
    model.build(2).to_onnx(tmp_path / "model.onnx")
    x = np.asarray([[1e30, -1e30], [-3e38, 3e38], [1e-40, 0], [0, 0]], np.float32)
    output = run(tmp_path / "model.onnx", x=x)["prediction"]
    np.testing.assert_allclose(output, model.predict(x), atol=1e-5)


def test_a_loss_of_a_user(tmp_path):
    @dataclass(frozen=True)
    class Angle(nn.MeanSquaredError):
        def link(self, outputs):
            return array_namespace(outputs).tanh(outputs) * 3.0

    assert_same(nn.Model(nn.Dense(2), loss=Angle()).build(3), tmp_path / "model.onnx")


def test_nothing_is_written_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = nn.Model(nn.Dense(2), loss="mean_squared_error").build(3).to_onnx()
    assert [value.name for value in graph.graph.input] == ["x"]
    assert not list(tmp_path.iterdir())


def test_the_same_model_gives_the_same_file(tmp_path):
    model = nn.Model(nn.Dense(4), nn.ReLU(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(3)
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for file in files:
        model.to_onnx(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_it_is_the_model_of_now_and_leaves_it_alone(tmp_path):
    x, y = nn.datasets.make_moons(100, seed=0)
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    model.fit(x, y, epochs=2, progress=False)
    before = model.predict(x)
    model.to_onnx(tmp_path / "model.onnx")
    assert np.array_equal(model.predict(x), before)
    model.fit(x, y, epochs=2, progress=False)
    x = x.astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x=x)["prediction"], before, atol=1e-5)


# What cannot be exported -------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubling(nn.Layer):
    """The base of layers that cannot be exported."""

    def forward(self, params, x, context=nn.PREDICTION):
        return 2.0 * x, None

    def backward(self, params, cache, dy):
        return 2.0 * dy, {}


class OnNumPy(Doubling):
    def forward(self, params, x, context=nn.PREDICTION):
        return np.tanh(x), None


class Branching(Doubling):
    def forward(self, params, x, context=nn.PREDICTION):
        return (x if float(x[0, 0]) > 0 else -x), None


class ByRows(Doubling):
    def forward(self, params, x, context=nn.PREDICTION):
        return x / x.shape[0], None


class ByState(Doubling):
    """Computes something else in each call, as a graph cannot."""

    calls = 0

    def forward(self, params, x, context=nn.PREDICTION):
        ByState.calls += 1
        return x + 0.1 * ByState.calls, None


@pytest.mark.parametrize("kind", [OnNumPy, Branching, ByRows, ByState])
def test_the_error_names_the_layer(kind, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"before")
    layers = (nn.Dense(3), nn.Residual(nn.Tanh()), kind(), nn.Dense(2))
    model = nn.Model(*layers, loss="mean_squared_error").build(2)
    with pytest.raises(nn.errors.ExportError, match=rf"^layer 2 \({kind.__name__}\): "):
        model.to_onnx(file)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


class WrongLink(nn.MeanSquaredError):
    def link(self, outputs):
        return outputs + np.random.default_rng().normal(size=outputs.shape[-1])


def test_a_loss_that_cannot_be_exported():
    model = nn.Model(nn.Dense(2), loss=WrongLink()).build(2)
    with pytest.raises(nn.errors.ExportError, match=r"^the loss \(WrongLink\)"):
        model.to_onnx()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"optimizer": "adam"}, ValueError, "training=True"),
        ({"training": True, "optimizer": "adamm"}, ValueError, "adam"),
        ({"encoding": "digits"}, nn.errors.ExportError, "expected an Encoding, got str"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(options, error, message):
    model = nn.Model(nn.Dense(2), loss="mean_squared_error").build(2)
    with pytest.raises(error, match=message):
        model.to_onnx(**options)


def test_the_encoding_of_other_data():
    digits = nn.datasets.load("digits")
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(64)
    with pytest.raises(nn.errors.ExportError, match="64 inputs and 2 outputs.* 10 outputs"):
        model.to_onnx(encoding=digits.encoding)
    with pytest.raises(nn.errors.ExportError, match=r"dataset\.encoding"):
        model.to_onnx(encoding=digits)
    with pytest.raises(ValueError, match="not both"):
        model.to_onnx(training=True, encoding=digits.encoding)


def test_labels_of_a_model_that_was_trained_in_python(tmp_path):
    encoding = Encoding(Scaling(2), ClassLabels(("no", "yes")))
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    model.to_onnx(tmp_path / "model.onnx", encoding=encoding.to_json())
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    labels = run(tmp_path / "model.onnx", x=x)["prediction"]
    assert labels.tolist() == encoding.decode(model.predict_classes(x)).tolist()


@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_the_unit_of_a_target_does_not_hide_a_difference(scale, monkeypatch):
    encoding = Encoding(Scaling(2), ContinuousTarget(mean=5 * scale, scale=scale))
    model = nn.Model(nn.Dense(1), loss="mean_squared_error").build(2)
    model.to_onnx(encoding=encoding)
    predict = nn.Model.predict
    monkeypatch.setattr(nn.Model, "predict", lambda self, x: predict(self, x) + 1e-3)
    with pytest.raises(nn.errors.ExportError, match="differs by"):
        model.to_onnx(encoding=encoding)


def test_a_file_of_predictions_holds_2_gb_and_one_of_a_step_no_parameters(monkeypatch):
    monkeypatch.setattr("anyback_nn.onnx.predictions._MOST_BYTES", 50)
    model = nn.Model(nn.Dense(2), loss="mean_squared_error").build(20)
    with pytest.raises(nn.errors.ExportError, match="2 GB"):
        model.to_onnx()
    assert model.to_onnx(training=True).ByteSize() > 0


class LostInGraphs(Doubling):
    def forward(self, params, x, context=nn.PREDICTION):
        return (x if isinstance(x, np.ndarray) else x / 0.0 * 0.0), None


def test_numbers_that_are_lost_in_the_graph():
    model = nn.Model(nn.Dense(3), LostInGraphs(), loss="mean_squared_error").build(2)
    with pytest.raises(nn.errors.ExportError, match="is not finite where the model is"):
        model.to_onnx()


def test_a_model_without_parameters():
    with pytest.raises(nn.errors.AnybackError, match=r"build\(n_in\)"):
        nn.Model(nn.Dense(2), loss="mean_squared_error").to_onnx()


def test_a_folder_that_does_not_exist(tmp_path):
    model = nn.Model(nn.Dense(2), loss="mean_squared_error").build(2)
    with pytest.raises(nn.errors.ExportError, match="there is no folder"):
        model.to_onnx(tmp_path / "none" / "model.onnx")
    with pytest.raises(nn.errors.ExportError, match="cannot write"):
        model.to_onnx(tmp_path)


# What other programs make of it ------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The file of the network that the README trains on the digits."""
    folder = tmp_path_factory.mktemp("digits")
    command = (sys.executable, "-m", "anyback_nn")
    for words in (
        ("train", "digits", "--epochs", "2", "--output", "run"),
        ("export", "run", "o.onnx"),
    ):
        subprocess.run((*command, *words, "--quiet"), cwd=folder, check=True)
    return folder / "o.onnx"


def test_digits_have_few_nodes(digits):
    graph = onnx.load(digits).graph
    assert len(graph.node) <= 25
    assert all(node.op_type != "If" for node in graph.node)
    assert [value.name for value in graph.output] == ["prediction", "probabilities"]


def test_netron_shows_it(digits):
    node = which("node")
    netron = pytest.importorskip("netron", reason="Netron is not installed")
    if node is None:
        pytest.skip("Node.js is not installed")
    parser = Path(__file__).parent / "netron_parser.mjs"
    command = (node, parser, Path(netron.__file__).parent, digits)
    outcome = subprocess.run(command, capture_output=True, text=True, check=True)
    seen = json.loads(outcome.stdout)
    assert (seen["problems"], outcome.stderr) == ([], "")
    assert seen["format"].startswith("ONNX")
    assert seen["nodes"] == [node.op_type for node in onnx.load(digits).graph.node]
    assert (seen["inputs"], seen["outputs"]) == (["x"], ["prediction", "probabilities"])


def test_no_loss_is_missing():
    assert {type(case.loss) for case in LOSSES} == {*nn.LOSSES.values()}
    assert issubclass(nn.KnownTargets, Loss)

"""Steps of training as ONNX files: many of them in onnxruntime against `fit` on NumPy."""

from dataclasses import dataclass

import numpy as np
import onnxruntime
import pytest
from network_cases import LOSSES, WITH_MISSING
from onnx_files import run_session

import anyback_nn as nn
from anyback_nn.random import Random, generator
from anyback_nn.training.checkpoint import collect_contents
from anyback_nn.tree import tree_named_leaves

pytestmark = pytest.mark.needs("ndonnx")

BATCH = 20


def start(session, model):
    """Return the first inputs of a session: the arrays of the model's file, and zeros."""
    arrays = collect_contents(model)[0]
    return {
        argument.name: arrays.get(argument.name, np.zeros(argument.shape, np.float32))
        for argument in session.get_inputs()
    }


def train(file, model, x, y, optimizer, epochs, weights=None):
    """Take the steps of `fit` by a file; return the last state and the mean loss of each epoch."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    values, losses, step = start(session, model), [], 0
    for epoch in range(epochs):
        noise, total = (
            Random(generator(model.seed, "noise", epoch), nn.select("numpy"), "float32"),
            0,
        )
        for first in range(0, len(x), BATCH):
            step, rows = step + 1, slice(first, first + BATCH)
            coefficients = optimizer.coefficients(step, optimizer.schedule(epoch))
            drawn = model.network.noise((BATCH, x.shape[1]), noise)
            values |= tree_named_leaves({"noise": drawn})
            values |= {
                f"coefficients.{i}": np.asarray(c, np.float32) for i, c in enumerate(coefficients)
            }
            values |= {"x": x[rows], "y": y[rows]}
            values["sample_weight"] = (
                np.ones(BATCH, np.float32) if weights is None else weights[rows]
            )
            outputs = run_session(session, values)
            total += outputs.pop("loss") * BATCH / len(x)
            values |= {name.removeprefix("next."): value for name, value in outputs.items()}
        losses.append(total)
    return values, losses


def compare(file, model, x, y, optimizer, epochs, **options):
    """Compare the parameters, the state and the losses with those of `fit`."""
    model.to_onnx(file, training=True, optimizer=optimizer, batch_size=BATCH)
    values, losses = train(file, model, x, y, optimizer, epochs, options.get("sample_weight"))
    history = model.fit(
        *(x, y),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=BATCH,
        **{"shuffle": False, "progress": False, **options},
    )
    for name, expected in collect_contents(model)[0].items():
        if name in values:
            np.testing.assert_allclose(values[name], expected, rtol=1e-6, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(losses, history["train_loss"], rtol=1e-5)
    assert history["train_loss"][-1] < history["train_loss"][0]


def data(n_in, n_out, n_samples=200):
    random = np.random.default_rng(0)
    x = random.normal(size=(n_samples, n_in)).astype(np.float32)
    return x, (x @ random.normal(size=(n_in, n_out))).argmax(axis=1)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("optimizer", [nn.GradientDescent(0.1), nn.Adam()], ids=["gd", "adam"])
@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()], ids=["tanh", "relu"])
@pytest.mark.parametrize("sizes", [(2, 8, 8, 2), (64, 32, 10)], ids=str)
def test_200_steps(sizes, activation, optimizer, dropout, tmp_path):
    n_in, *hidden, n_out = sizes
    layers = [layer for n in hidden for layer in (nn.Dense(n), activation, nn.Dropout(dropout))]
    model = nn.Model(*layers, nn.Dense(n_out), loss=nn.SoftmaxCrossEntropy()).build(n_in)
    compare(tmp_path / "step.onnx", model, *data(n_in, n_out), optimizer, epochs=20)


@pytest.mark.parametrize("name", sorted(nn.OPTIMIZERS))
def test_every_optimizer(name, tmp_path):
    optimizer = nn.OPTIMIZERS[name](0.01, l2=1e-3, l1=1e-4, clip_norm=0.5, clip_value=0.2)
    model = nn.Model(nn.Dense(6), nn.SiLU(), nn.Dense(3), loss=nn.SoftmaxCrossEntropy()).build(4)
    compare(tmp_path / "step.onnx", model, *data(4, 3), optimizer, epochs=4)


def test_layers_with_a_state_a_schedule_and_weights(tmp_path):
    block = nn.Residual(nn.Dense(6), nn.LayerNorm(), nn.GELU(), nn.Dropout(0.3), nn.Dense(6))
    # No bias before BatchNorm, which takes it away again: its gradient would be rounding alone.
    layers = (nn.Dense(6, bias=False), nn.BatchNorm(), nn.ELU(), block, nn.Dense(3))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(0.1)).build(4)
    weights = np.random.default_rng(1).uniform(0.5, 1.5, 200).astype(np.float32)
    # As fit does, see `weighted_mean`.
    weights /= weights.mean()
    optimizer = nn.Momentum(nn.StepDecay(0.05, every=2, factor=0.5))
    compare(tmp_path / "step.onnx", model, *data(4, 3), optimizer, 4, sample_weight=weights)


@pytest.mark.parametrize("case", [*LOSSES, *WITH_MISSING], ids=lambda case: case.name)
def test_every_loss(case, tmp_path):
    last = (nn.Sigmoid(),) if "Probability" in type(case.loss).__name__ else ()
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(2), *last, loss=case.loss).build(3)
    # It is compared with the step on NumPy before it is written.
    graph = model.to_onnx(tmp_path / "step.onnx", training=True, batch_size=5)
    names = {value.name for value in graph.graph.output}
    assert {"loss", "next.parameters.0.weight", "next.optimizer.square.2.bias"} <= names


def test_a_short_batch_is_padded_by_weights(tmp_path):
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    model.to_onnx(tmp_path / "step.onnx", training=True, optimizer="sgd", batch_size=8)
    session = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"))
    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    y, weights = x[:, :1] ** 2, np.where(np.arange(8) < 5, 8 / 5, 0).astype(np.float32)
    values = start(session, model)
    values |= {
        "x": x,
        "y": y,
        "sample_weight": weights,
        "coefficients.0": np.asarray(0.1, np.float32),
    }
    outputs = run_session(session, values)
    model.fit(x[:5], y[:5], optimizer=nn.GradientDescent(0.1), epochs=1, batch_size=5)
    np.testing.assert_allclose(
        outputs["next.parameters.0.weight"], model.params[0]["weight"], atol=1e-6
    )


def test_training_goes_on_from_a_trained_model(tmp_path):
    x, y = data(2, 2)
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    options = {"optimizer": nn.Momentum(0.1), "batch_size": BATCH, "shuffle": False}
    model.fit(x, y, epochs=2, **options)
    model.to_onnx(tmp_path / "step.onnx", training=True, batch_size=BATCH)  # the same optimiser
    values, _ = train(tmp_path / "step.onnx", model, x, y, nn.Momentum(0.1), epochs=1)
    model.fit(x, y, epochs=1, **options)
    for name in ("parameters.2.weight", "optimizer.velocity.0.bias"):
        np.testing.assert_allclose(values[name], collect_contents(model)[0][name], atol=1e-6)


def test_float64(tmp_path):
    model = nn.Model(nn.Dense(2), loss="mean_squared_error", dtype="float64").build(3)
    graph = model.to_onnx(training=True).graph
    assert {value.type.tensor_type.elem_type for value in graph.input} == {11}  # double


def test_mixed_precision_is_refused():
    model = nn.Model(nn.Dense(2), loss="mean_squared_error", compute_dtype="float16").build(3)
    with pytest.raises(nn.errors.ExportError, match="float16"):
        model.to_onnx(training=True)


@dataclass(frozen=True)
class Branching(nn.Layer):
    def forward(self, params, x, context=nn.PREDICTION):
        return 2.0 * x, x

    def backward(self, params, cache, dy):
        return (dy if bool((cache > 0)[0, 0]) else 2.0 * dy), {}


def test_a_backward_that_cannot_be_exported(tmp_path):
    layers = (nn.Dense(2), Branching(), nn.Dense(1))
    model = nn.Model(*layers, loss="mean_squared_error").build(3)
    model.to_onnx()
    with pytest.raises(
        nn.errors.ExportError, match=r"^layer 1 \(Branching\): backward: .* nor branch"
    ):
        model.to_onnx(tmp_path / "step.onnx", training=True)
    assert not list(tmp_path.iterdir())


def test_a_layer_in_a_block_is_named():
    block = nn.Residual(nn.Dense(3), nn.Dropout(0.5), nn.Network(nn.BatchNorm(), Branching()))
    model = nn.Model(nn.Dense(3), block, nn.Dense(1), loss="mean_squared_error").build(3)
    path = r"^layer 1 \(Residual\), layer 2 \(Network\), layer 1 \(Branching\): "
    with pytest.raises(nn.errors.ExportError, match=path):
        model.to_onnx(training=True)


class WrongShape(Branching):
    def backward(self, params, cache, dy):
        return dy[:, :2], {}


class NoPair(Branching):
    def backward(self, params, cache, dy):
        return dy


class Misspelt(Branching):
    def forward(self, params, x, context=nn.PREDICTION):
        return nn.array_namespace(x).tanhh(x), None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WrongShape, r"backward: expected gradients of shapes .*\(5, 3\).*, got .*\(5, 2\)"),
        (NoPair, r"backward: TypeError: NoPair.backward: expected to return a pair"),
        (Misspelt, r"forward: AttributeError: .*tanhh[^.]*$"),
    ],
)
def test_ordinary_mistakes_are_told_as_such(kind, message, tmp_path):
    layers = (nn.Dense(3), nn.Residual(kind()), nn.Dense(1))
    model = nn.Model(*layers, loss="mean_squared_error").build(3)
    path = r"^layer 1 \(Residual\), layer 0 \(" + kind.__name__ + r"\): "
    with pytest.raises(nn.errors.ExportError, match=path + message):
        model.to_onnx(tmp_path / "step.onnx", training=True, batch_size=5)
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class OtherOnNumPy(nn.BinaryCrossEntropy):
    """A loss whose slope for targets of 1 is another one on NumPy."""

    def backward(self, cache, dvalues):
        gradient = super().backward(cache, dvalues)
        is_numpy = isinstance(gradient, np.ndarray)
        return gradient * (1.0 - 0.01 * cache[-1]) if is_numpy else gradient


def test_the_comparison_sees_a_wrong_gradient(tmp_path):
    model = nn.Model(nn.Dense(1), loss=OtherOnNumPy()).build(3)
    # The rate of its first step is 0.
    optimizer = nn.GradientDescent(nn.CosineDecay(0.1, 20, warmup=10))
    message = r"^the loss \(OtherOnNumPy\).*'next.parameters.0.weight'.* differs"
    with pytest.raises(nn.errors.ExportError, match=message):
        model.to_onnx(tmp_path / "step.onnx", training=True, optimizer=optimizer)
    assert not list(tmp_path.iterdir())

"""Properties of every model, whatever its layers, its optimiser and its data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from drawn_examples import for_all, strategies
from hypothesis import reject
from hypothesis import strategies as st

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS, select
from anyback_nn.inputs.checks import DTYPES
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.optim.optimizers import OPTIMIZERS
from anyback_nn.testing.variants import usable
from anyback_nn.tree import tree_named_leaves

# Gradients of drawn networks and targets may be zero.
pytestmark = pytest.mark.filterwarnings("ignore:layer .* has not changed:UserWarning")

# What is drawn -----------------------------------------------------------------------------------


class Task(NamedTuple):
    """A network, its loss, and integers for it to learn from, as NumPy arrays."""

    layers: tuple
    loss: nn.Loss
    x: Any
    y: Any
    fit: dict

    def model(self, backend, dtype="float32"):
        return nn.Model(*self.layers, loss=self.loss, backend=backend, dtype=dtype)

    def fitted(self, backend, dtype="float32", **other):
        """Train a new model for one epoch, with other data or settings than the own."""
        options = {"x": self.x, "y": self.y, "epochs": 1, **self.fit, **other}
        model = self.model(backend, dtype)
        try:
            model.fit(**options)
        except nn.DivergenceError:  # it may, but the tests that call this are of those that do not
            reject()
        return model


LOSSES = {  # the least and the largest target
    nn.MeanSquaredError(): (-4, 4),
    nn.MeanAbsoluteError(): (-4, 4),
    nn.Huber(0.7): (-4, 4),
    nn.Quantile(0.3): (-4, 4),
    nn.Poisson(): (0, 5),
    nn.BinaryCrossEntropy(): (0, 1),
    nn.ProbabilityCrossEntropy(): (0, 1),
    nn.SoftmaxCrossEntropy(): (0, 2),
    nn.SoftmaxCrossEntropy(label_smoothing=0.1): (0, 2),
}
RATES = st.sampled_from([0.01, nn.CosineDecay(0.02, epochs=3, warmup=1), nn.StepDecay(0.03, 2)])
PENALTIES = {
    "l1": st.sampled_from([0.0, 0.01]),
    "l2": st.sampled_from([0.0, 0.1]),
    "penalize_all": st.booleans(),
    "clip_value": st.sampled_from([None, 0.5]),
    "clip_norm": st.sampled_from([None, 1.0]),
}


def integers(shape, least, most):
    """Draw NumPy arrays of integers."""
    elements = {"min_value": least, "max_value": most}
    return strategies(select("numpy")).arrays("int64", shape, elements=elements)


def layers(width, sizes):
    """Draw a layer that can take this many features."""
    activations = st.sampled_from([kind() for kind in ACTIVATIONS.values()])
    initializers = st.sampled_from([None, nn.Orthogonal(), nn.GlorotUniform(), nn.Constant(0.1)])
    return st.one_of(
        st.builds(nn.Dense, sizes, st.booleans(), initializers),
        activations,
        st.sampled_from([nn.BatchNorm(), nn.BatchNorm(0.5), nn.LayerNorm(), nn.Dropout(0.3)]),
        st.builds(nn.Residual, activations, st.just(nn.Dense(width))),
    )


def optimizers():
    """Draw an optimiser with its settings."""
    return st.one_of(st.builds(kind, RATES, **PENALTIES) for kind in OPTIMIZERS.values())


@st.composite
def tasks(draw, backend):
    """Draw a network, data for it and how it is trained."""
    few = backend.name == "jax"  # it compiles for every new shape
    sizes = st.just(3) if few else st.integers(1, 4)
    width = n_in = draw(sizes)
    network = []
    for _ in range(draw(st.integers(0, 2 if few else 4))):
        network.append(draw(layers(width, sizes)))
        width = network[-1].output_size(width)
    loss = draw(st.sampled_from(list(LOSSES)))
    one_of_classes = isinstance(loss, nn.SoftmaxCrossEntropy)
    n_out = 3 if one_of_classes else draw(sizes)
    n = 6 if few else draw(st.integers(2, 9))
    y = draw(integers((n,) if one_of_classes else (n, n_out), *LOSSES[loss]))
    options = {
        "optimizer": draw(optimizers()),
        "batch_size": 3 if few else draw(st.none() | st.integers(1, 4)),
        "shuffle": draw(st.booleans()),
    }
    x = draw(integers((n, n_in), -4, 4))
    return Task((*network, nn.Dense(n_out)), loss, x, y, options)


def test_losses_of_every_class_are_drawn():
    assert set(map(type, LOSSES)) == set(nn.LOSSES.values())


# What is compared --------------------------------------------------------------------------------


def list_contents(model):
    """Name all numbers of a model, as their bytes, and its history without times."""
    training, layout = model.training, model.layout
    states = {name: layout.unpack(array) for name, array in training.optimizer_state.items()}
    tree = {"params": model.params, "state": training.state, "optimizer": states}
    arrays = {name: to_numpy(leaf) for name, leaf in tree_named_leaves(tree).items()}
    history = [{**row, "seconds": 0.0} for row in model.history.rows]
    return history, {name: (x.dtype, x.shape, x.tobytes()) for name, x in arrays.items()}


def assert_close(actual, expected, dtype="float32"):
    """Assert that predictions are the same but for rounding."""
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    sizes = np.abs(expected[np.isfinite(expected)])
    atol = tolerance * np.max(sizes, initial=1.0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=atol)


# Training ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*constant in float32:UserWarning")
def test_an_epoch_is_finite_or_diverges_and_is_the_same_again(backend):
    widths = st.sampled_from([32, 64])

    @for_all(backend, st.data(), tasks(backend), widths)
    def holds(data, task, width):
        most = float(np.finfo("float32").max)
        numbers = st.floats(-most, most, width=width)
        x = data.draw(strategies(select("numpy")).arrays("float64", task.x.shape, elements=numbers))

        def outcome():
            model, message = task.model(backend), None
            try:
                model.fit(x, task.y, epochs=1, **task.fit)
            except nn.DivergenceError as error:
                message = str(error)
            else:
                # The mean of a metric may be infinite where that of the loss is not.
                assert np.isfinite(model.history.last["train_loss"])
            arrays = [to_numpy(array) for array in tree_named_leaves(model.params).values()]
            assert all(np.all(np.isfinite(array)) for array in arrays)
            return message, list_contents(model)

        assert outcome() == outcome()


def test_numbers_too_large_for_the_dtype_are_refused(backend):
    """Also targets, which become infinite: without a warning, which would be an error here."""

    @for_all(backend, st.floats(1e39, allow_infinity=False), examples=3)
    def holds(size):
        x, y = np.asarray([[1.0], [size]]), np.asarray([0.0, 1.0])
        model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend)
        with pytest.raises(nn.DataError, match="beyond float32 .* row 1 "):
            model.fit(x, y, epochs=1, batch_size=2)
        with pytest.raises(nn.DivergenceError, match="standardise them"):
            model.fit(y[:, None], x[:, 0], epochs=1, batch_size=2)


# Files -------------------------------------------------------------------------------------------


def test_a_file_is_the_model_on_every_backend_and_back(backend, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"

    dtypes = [dtype for dtype in DTYPES if backend.supports(dtype)]
    others, _ = usable(BACKENDS)

    @for_all(backend, tasks(backend), st.sampled_from(dtypes), examples=3)
    def holds(task, dtype):
        model = task.fitted(backend, dtype)
        model.seed, model.encoding = 7, {"kind": "anything", "labels": ["ä", "b"]}
        model.save(first)
        for other in others:
            there = nn.Model.load(first, backend=other)
            there.save(second)
            assert second.read_bytes() == first.read_bytes()
            back = nn.Model.load(second, backend=backend)
            for loaded in (there, back):
                assert list_contents(loaded) == list_contents(model)
                assert loaded.training.optimizer == model.training.optimizer
                assert (loaded.network, loaded.loss) == (model.network, model.loss)
                assert (loaded.seed, loaded.encoding) == (model.seed, model.encoding)
                assert loaded.history.rows == model.history.rows
            assert_close(there.predict(task.x), model.predict(task.x), dtype)


# Data --------------------------------------------------------------------------------------------

KINDS = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def cast(integers, kind):
    """Convert integers to a dtype that may be narrow or unsigned."""
    return integers > 0 if kind == "bool" else np.abs(integers).astype(kind)


def test_integers_and_booleans_are_taken_like_floats(backend):
    libraries = st.sampled_from([backend, select("numpy")])

    @for_all(backend, tasks(backend), st.sampled_from(KINDS), libraries)
    def holds(task, kind, library):
        host = task.x, task.y, 1 + np.arange(len(task.x))

        def given_as(kind):
            arrays = [cast(array, kind) for array in host]
            return map(library.asarray, arrays), [array.astype(np.float64) for array in arrays]

        (x, y, w), (x_float, y_float, w_float) = given_as(kind)
        model = task.fitted(backend, x=x, y=y, sample_weight=w)
        expected = task.fitted(backend, x=x_float, y=y_float, sample_weight=w_float)
        assert list_contents(model) == list_contents(expected)
        for kind in KINDS:
            (x, y, w), (x_float, y_float, w_float) = given_as(kind)
            np.testing.assert_array_equal(to_numpy(model.predict(x)), model.predict(x_float))
            report = model.evaluate(x, y, sample_weight=w)
            assert report == model.evaluate(x_float, y_float, sample_weight=w_float), kind


VIEWS = {
    "transposed": lambda backend, x: backend.xp.matrix_transpose(
        backend.asarray(np.ascontiguousarray(x.T))
    ),
    "every second": lambda backend, x: backend.asarray(np.repeat(x, 2, axis=1))[:, ::2],
    "backwards": lambda backend, x: backend.xp.flip(backend.asarray(x[::-1].copy()), axis=0),
}
"""The same numbers, not contiguous if the library has such arrays."""


def test_results_do_not_depend_on_strides(backend):
    libraries = st.sampled_from([backend, select("numpy")])

    @for_all(backend, tasks(backend), st.sampled_from(sorted(VIEWS)), libraries)
    def holds(task, kind, library):
        with backend.scope("float32"):
            x = VIEWS[kind](library, task.x.astype("float32"))
        task.fit["shuffle"] = True  # what is taken in order may stay a view
        model, expected = task.fitted(backend, x=x), task.fitted(backend)
        assert list_contents(model) == list_contents(expected)
        assert_close(to_numpy(model.predict(x)), model.predict(task.x))


def test_predictions_do_not_depend_on_the_other_samples(backend):
    @for_all(backend, st.data(), tasks(backend))
    def holds(data, task):
        n = len(task.x)
        order = data.draw(st.permutations(range(n)))
        size = 3 if backend.name == "jax" else data.draw(st.integers(1, n))
        model = task.model(backend).build(task.x.shape[1])
        predicted = model.predict(task.x)
        assert_close(model.predict(task.x[order]), predicted[order])
        assert_close(model.predict(task.x, batch_size=size), predicted)


# Weights -----------------------------------------------------------------------------------------


def weights(n):
    """Draw how often each sample counts."""
    return integers((n,), 0, 3).filter(np.any)


def test_only_the_proportions_of_weights_count(backend):
    @for_all(backend, st.data(), tasks(backend), st.integers(-1000, 1000))
    def holds(data, task, power):
        w = data.draw(weights(len(task.x)))
        scaled = w * 2.0**power
        model, expected = (task.fitted(backend, sample_weight=each) for each in (scaled, w))
        assert list_contents(model) == list_contents(expected)


def test_weights_are_how_often_a_sample_is_evaluated(backend):
    @for_all(backend, st.data(), tasks(backend))
    def holds(data, task):
        w = data.draw(weights(len(task.x)))
        model = task.model(backend).build(task.x.shape[1])
        rows = np.repeat(np.arange(len(w)), w)
        report = model.evaluate(task.x, task.y, sample_weight=w)
        expected = model.evaluate(task.x[rows], task.y[rows])
        if not np.all(np.ptp(task.y[rows], axis=0)):  # see the next test
            report.pop("r2", None), expected.pop("r2", None)
        assert report == pytest.approx(expected, rel=1e-4)


def test_r2_of_targets_that_are_all_the_same_is_zero_or_one(backend):
    values = st.sampled_from([0.1, 1 / 3, -7.0]) | st.floats(-8.0, 8.0, width=32)

    @for_all(backend, st.sampled_from([5000, 7, 6, 3]), values, st.booleans())
    def holds(n, value, equal):
        w = None if equal else np.resize([0, 1, 2, 3, 1, 7], n)
        y = np.full(n, value) if equal else np.where(w, value, 1.0)  # all that count
        model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend).build(1)
        report = model.evaluate(np.arange(n)[:, None], y, sample_weight=w)
        assert report["r2"] in {0.0, 1.0}

"""Training reads dask arrays chunk by chunk: `Model.fit`, and dask-ml's Incremental."""

from __future__ import annotations

import math
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
from chunks_dask import Chunks
from dask_ml.wrappers import Incremental
from distributed import get_worker

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.errors import CheckpointError, DataError, ShapeError
from anyback_nn.random import generator
from anyback_nn.sklearn import MLPClassifier, MLPRegressor
from anyback_nn.tree import tree_leaves

pytestmark = pytest.mark.needs("dask_ml")

SIZES = [40, 0, 25, 60, 7, 48]
"""The rows of the chunks, one of which has none."""
N, N_FILLED, SEED = sum(SIZES), 5, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 6)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype("int64")
WEIGHTS = RNG.uniform(0.5, 2.0, N)


@pytest.fixture
def chunks():
    """Chunks of which one is computed after the other, so that their number is the same always."""
    with dask.config.set(scheduler="synchronous"):
        yield Chunks(X, SIZES)


def build(backend="numpy"):
    layers = nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.1), nn.Dense(2)
    return nn.Model(*layers, loss="softmax_cross_entropy", backend=backend, seed=SEED)


def fit(model, x=X, y=Y, **options):
    options = {"epochs": 3, "batch_size": 32, "optimizer": nn.Adam(0.01), **options}
    model.fit(x, y, progress=False, **options)
    return model


def assert_same(model, expected, rtol=0.0):
    """Compare parameters and history."""
    for ours, theirs in zip(tree_leaves(model.params), tree_leaves(expected.params)):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), rtol=rtol, atol=rtol)
    for name in {*expected.history.names} - {"seconds"}:
        assert model.history[name] == pytest.approx(expected.history[name], rel=rtol), name


# Model.fit ---------------------------------------------------------------------------------------


class InDocumentedOrder:
    """Batches of the rows in memory, in the order that the pages say those of chunks have."""

    def __len__(self):
        return math.ceil(N / 32)

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number):
        draw = generator(SEED, "order", number)
        chunks = [rows for rows in np.split(np.arange(N), np.cumsum(SIZES)[:-1]) if len(rows)]
        chunks = [chunks[i] for i in draw.permutation(N_FILLED)]
        order = np.concatenate([rows[draw.permutation(len(rows))] for rows in chunks])
        for rows in np.split(order, range(32, N, 32)):
            yield X[rows], Y[rows], WEIGHTS[rows] / WEIGHTS.mean()


def test_shuffled_chunks_have_the_documented_order(backend):
    expected = build(backend)
    expected.fit(InDocumentedOrder(), epochs=3, optimizer=nn.Adam(0.01))
    x = da.from_array(X, (tuple(SIZES), 4))  # columns in chunks, too
    assert_same(fit(build(backend), x, da.from_array(Y), sample_weight=WEIGHTS), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": WEIGHTS},
        {"class_weight": "balanced"},
        {"class_weight": {0: 2.0}, "sample_weight": da.from_array(WEIGHTS, 50)},
        {"validation": 0.2},
        {"validation": 0.9, "sample_weight": WEIGHTS},
        {"validation": (da.from_array(X[:90], (40, 6)), Y[:90], WEIGHTS[:90])},
        {"batch_size": None},
        {"batch_size": 1000},
    ],
    ids=lambda options: ", ".join(f"{name}={type(x).__name__}" for name, x in options.items()),
)
def test_rows_in_their_order_are_trained_on_as_from_memory(chunks, options):
    options = {"shuffle": False, **options}
    assert_same(fit(build(), chunks.x, **options), fit(build(), **options), 1e-6)


@pytest.mark.parametrize(
    ("options", "n_passes"),
    [({}, 1), ({"shuffle": False}, 1), ({"validation": 0.2}, 2)],
    ids=["shuffled", "in order", "validation"],
)
def test_each_chunk_is_read_once_and_a_few_are_in_memory(options, n_passes):
    n_chunks, n_rows, width = 24, 4096, 64
    size = n_rows * width * 4
    data = np.broadcast_to(np.float32(1.0), (n_chunks * n_rows, width))
    chunks, y = Chunks(data, [n_rows] * n_chunks), np.arange(len(data)) % 2
    with dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        fit(build(), chunks.x, y, epochs=1, batch_size=1000, **options)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert chunks.loads == n_passes * n_chunks
    assert most < 8 * size  # with targets, orders and what Python itself takes


def test_other_backends_predict_in_one_pass(backend, chunks):
    model = fit(build(backend), epochs=1)
    expected = model.predict(X), model.evaluate(X, Y)
    np.testing.assert_allclose(model.predict(chunks.x), expected[0], rtol=1e-5)
    assert model.evaluate(chunks.x, Y, batch_size=20) == pytest.approx(expected[1], rel=1e-5)
    assert chunks.loads == 2 * N_FILLED


class Died(Exception):
    pass


class Die(nn.Callback):
    every_batch = True

    def on_batch_end(self, fit):
        if (fit.epoch, fit.batches_done) == (1, 3):
            raise Died


def test_a_run_resumes_with_the_same_bits(backend, tmp_path):
    x = da.from_array(X, (tuple(SIZES), 6))
    writer = nn.Checkpoint(tmp_path, every="1 step")
    with pytest.raises(Died):
        fit(build(backend), x, callbacks=[writer, Die()])
    resumed = fit(build(backend), x, resume=tmp_path)
    assert_same(resumed, fit(build(backend), x))
    with pytest.raises(CheckpointError, match="data"):
        fit(build(backend), x + 1, resume=tmp_path)


def on_worker(chunk):
    get_worker()  # an error elsewhere
    return chunk


def test_processes_of_a_cluster_compute_the_chunks(request):
    x = da.from_array(X, (tuple(SIZES), 6))
    expected = fit(build(), x)
    request.getfixturevalue("client")
    assert_same(fit(build(), x.map_blocks(on_worker, meta=X[:0])), expected)


def test_a_value_that_is_not_finite_is_found_when_it_is_read(chunks):
    chunks.data = X.copy()
    chunks.data[70, 2] = np.nan
    model = fit(build())
    before = model.predict(X)
    for call in (lambda: fit(model, chunks.x), lambda: model.predict(chunks.x)):
        with pytest.raises(DataError, match="first in row 70"):
            call()
    np.testing.assert_array_equal(model.predict(X), before)


def test_what_is_refused():
    x = da.from_array(X, 50)
    for unknown, shape in ((x[x[:, 0] > 0], r"\(nan, 6\)"), (x[:, x[0] > 0], r"\(180, nan\)")):
        with pytest.raises(ShapeError, match=rf"{shape}: call x.compute_chunk_sizes\(\)"):
            fit(build(), unknown)
    with pytest.raises(ShapeError, match="180 rows, but the targets have 179"):
        fit(build(), x, Y[1:])
    with pytest.raises(TypeError, match="need targets: pass y"):
        build().fit(x)


# Estimators --------------------------------------------------------------------------------------


SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 3, "tol": 0.0, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("shuffle", "n_passes"), [(False, 3), (True, 1)])
def test_estimators_that_do_not_shuffle_go_by_chunks(chunks, shuffle, n_passes):
    options = {**SETTINGS, "shuffle": shuffle, "backend": "numpy", "batch_size": 32}
    fitted = MLPClassifier(**options).fit(chunks.x, Y)
    assert chunks.loads == (n_passes + 1) * N_FILLED  # they are checked before
    for ours, theirs in zip(fitted.coefs_, MLPClassifier(**options).fit(X, Y).coefs_):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("kind", "y", "options"),
    [(MLPClassifier, Y, {"classes": [0, 1]}), (MLPRegressor, X[:, 0] ** 2, {})],
    ids=["classes", "values"],
)
def test_incremental_calls_partial_fit_on_each_chunk(backend, client, kind, y, options):
    x, targets = (da.from_array(array, (60, *array.shape[1:])) for array in (X, y))
    blocks = [(X[start:][:60], y[start:][:60]) for start in (0, 60, 120)]
    order = [0, 1, 2]
    np.random.RandomState(1).shuffle(order)
    mlp = kind(**SETTINGS, backend=backend)
    for i in order:
        mlp.partial_fit(*blocks[i], **options)
    wrapped = Incremental(kind(**SETTINGS, backend=backend), random_state=1)
    wrapped.fit(x, targets, **options)
    for ours, theirs in zip(wrapped.estimator_.coefs_, mlp.coefs_):
        np.testing.assert_array_equal(ours, theirs)
    predictions = wrapped.predict(x)
    assert predictions.chunks == targets.chunks
    np.testing.assert_array_equal(predictions, np.concatenate([mlp.predict(x) for x, _ in blocks]))
    assert wrapped.score(x, targets) == pytest.approx(mlp.score(X, y))
    wrapped.partial_fit(x[:60], targets[:60])
    mlp.partial_fit(*blocks[0])
    np.testing.assert_array_equal(wrapped.estimator_.coefs_[0], mlp.coefs_[0])

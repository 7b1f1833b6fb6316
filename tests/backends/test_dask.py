"""dask: predictions, scores and gradients of data in chunks of rows, which never are in memory."""

from __future__ import annotations

import os

import dask
import dask.array as da
import numpy as np
import pytest
from chunks_dask import Chunks
from sklearn.exceptions import ConvergenceWarning

import anyback_nn as nn
from anyback_nn.bench import Steps
from anyback_nn.errors import BackendUnavailableError, DataError, ShapeError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor
from anyback_nn.testing import compare_backends

pytestmark = pytest.mark.needs("dask")

N_CHUNKS, SIZES = 12, [30] * 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(sum(SIZES), 5))
CLASSES = (X[:, 0] * X[:, 1] > 0).astype("int64") + (X[:, 2] > 1)
VALUES = np.stack([X[:, 0] - X[:, 1], X[:, 2] ** 2], axis=1)
WEIGHTS = RNG.uniform(0.5, 2.0, len(X))


@pytest.fixture
def chunks():
    """Chunks of which one is computed after the other, so that their number is the same always."""
    with dask.config.set(scheduler="synchronous"):
        yield Chunks(X, SIZES)


def model(loss="softmax_cross_entropy", n_out=3, **options):
    """Return a trained model on NumPy that has a state."""
    layers = (nn.Dense(8), nn.BatchNorm(), nn.GELU(), nn.Dropout(0.1), nn.Dense(n_out))
    model = nn.Model(*layers, loss=loss, backend="numpy", **options)
    model.fit(X, CLASSES if n_out == 3 else VALUES, epochs=2, progress=False)
    return model


# Prediction --------------------------------------------------------------------------------------


def test_predictions_are_lazy_and_have_the_chunks_of_the_rows(chunks):
    on_numpy = model()
    on_dask = on_numpy.to("dask")
    for method in ("predict", "predict_classes"):
        chunks.loads = 0
        predictions = getattr(on_dask, method)(chunks.x)
        assert chunks.loads == 0
        assert predictions.chunks[0] == chunks.x.chunks[0]
        expected = getattr(on_numpy, method)(X)
        np.testing.assert_allclose(predictions.compute(), expected, rtol=1e-5, atol=1e-7)
        assert chunks.loads == N_CHUNKS


def test_some_predictions_take_their_chunks_alone(chunks):
    assert model().to("dask").predict(chunks.x)[-5:].compute().shape == (5, 3)
    assert chunks.loads == 1


def test_numpy_arrays_give_numpy_arrays():
    on_numpy = model()
    predictions = on_numpy.to("dask").predict(X, batch_size=100)
    assert type(predictions) is np.ndarray
    np.testing.assert_allclose(predictions, on_numpy.predict(X), rtol=1e-5, atol=1e-7)


def test_features_may_be_in_chunks_too():
    on_numpy = model()
    predictions = on_numpy.to("dask").predict(da.from_array(X, chunks=(50, 2)))
    np.testing.assert_allclose(predictions.compute(), on_numpy.predict(X), rtol=1e-5, atol=1e-6)


def test_a_row_that_is_not_finite_has_no_finite_prediction():
    x = X.copy()
    x[7, 0] = np.nan
    on_dask = model().to("dask")
    predictions = on_dask.predict(da.from_array(x, chunks=50)).compute()
    assert np.flatnonzero(np.isnan(predictions).any(axis=1)).tolist() == [7]
    with pytest.raises(DataError, match="first in row 7"):  # arrays in memory are checked
        on_dask.predict(x)


def test_an_unknown_number_of_rows_is_refused():
    x = da.from_array(X, chunks=50)
    for call in (model().to("dask").predict, lambda x: model().to("dask").evaluate(x, CLASSES)):
        with pytest.raises(ShapeError, match=r"\(nan, 5\): call x.compute_chunk_sizes\(\)"):
            call(x[x[:, 0] > 0])
    assert model().to("dask").predict(x[x[:, 0] > 0].compute_chunk_sizes()).ndim == 2


def test_a_model_returns_from_dask_as_it_was():
    on_numpy = model()
    again = on_numpy.to("dask").to("numpy")
    np.testing.assert_array_equal(again.predict(X), on_numpy.predict(X))


def test_parameters_are_copied():
    on_dask = model().to("dask")
    tree = [{name: np.array(x) for name, x in layer.items()} for layer in on_dask.params]
    on_dask.params = tree
    before = on_dask.predict(X)
    tree[0]["weight"][:] = 0.0
    np.testing.assert_array_equal(on_dask.predict(X), before)


# Scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", ["in memory", "in chunks"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(
    ("loss", "n_out", "y"),
    [("softmax_cross_entropy", 3, CLASSES), ("mean_squared_error", 2, VALUES)],
)
def test_scores_take_one_pass_in_bounded_memory(loss, n_out, y, weights, targets, chunks):
    on_numpy = model(loss, n_out)
    expected = on_numpy.evaluate(X, y, sample_weight=weights)
    y = y if targets == "in memory" else da.from_array(y, chunks=50)
    scores = on_numpy.to("dask").evaluate(chunks.x, y, sample_weight=weights)
    assert scores == pytest.approx(expected, rel=1e-5)
    assert (chunks.loads, chunks.most <= 2) == (N_CHUNKS, True)


def test_targets_of_the_same_chunks_keep_nothing_of_them(chunks):
    """In one graph with the inputs, they would keep the hidden activations of every chunk."""
    on_numpy = nn.Model(nn.Dense(8), nn.Tanh(), nn.Dense(1), loss="mean_squared_error").build(5)
    expected = on_numpy.evaluate(X.astype("float32"), X[:, 0].astype("float32"))
    scores = on_numpy.to("dask").evaluate(chunks.x, chunks.x[:, 0])
    assert scores == pytest.approx(expected, rel=1e-5)
    assert (chunks.loads, chunks.most <= 2) == (2 * N_CHUNKS, True)


def test_chunks_without_rows():
    x = da.from_array(X, chunks=50)
    some = x[x[:, 0] > 1.0].compute_chunk_sizes()
    empty = da.concatenate([x[:0], x[:40], x[:0], some])
    on_numpy = model()
    expected = np.concatenate([X[:40], X[X[:, 0] > 1.0]])
    predicted = on_numpy.to("dask").predict(empty)
    np.testing.assert_allclose(predicted.compute(), on_numpy.predict(expected), rtol=1e-6)


def test_masked_arrays_are_refused():
    x = da.ma.masked_greater(da.from_array(X, chunks=50), 1.0)
    for backend in ("dask", "numpy"):
        with pytest.raises(DataError, match="masked"):
            model().to(backend).predict(x)


def test_targets_are_checked():
    on_dask = model().to("dask")
    for y in (CLASSES + 1, da.from_array(CLASSES + 1, chunks=50)):
        with pytest.raises(DataError, match="class"):
            on_dask.evaluate(da.from_array(X, chunks=50), y)


# Gradients of all samples ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "y"), [(MLPClassifier, CLASSES), (MLPRegressor, VALUES)], ids=["classes", "values"]
)
@pytest.mark.parametrize("backend", ["dask", "auto"])
def test_lbfgs_takes_a_pass_for_each_gradient_in_bounded_memory(kind, y, backend):
    chunks = Chunks(X, SIZES, "float64")
    settings = {"hidden_layer_sizes": (6,), "solver": "lbfgs", "random_state": 0, "max_iter": 8}
    expected = kind(**settings, tol=1e-12, max_fun=10)
    estimator = kind(**settings, tol=1e-12, max_fun=10, backend=backend)
    with pytest.warns(match="lbfgs failed to converge"):
        expected.fit(X, y)
    with dask.config.set(scheduler="synchronous"), pytest.warns(match="lbfgs failed to converge"):
        estimator.fit(chunks.x, y)
    assert estimator.loss_curve_ == pytest.approx(expected.loss_curve_, rel=1e-9)
    for ours, theirs in zip(estimator.coefs_, expected.coefs_):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-6, atol=1e-8)
    n_gradients, rest = divmod(chunks.loads, N_CHUNKS)
    assert rest == 0
    assert 8 <= n_gradients <= 12
    assert chunks.most <= 2
    assert isinstance(estimator.predict(chunks.x), da.Array)
    assert estimator.score(chunks.x, y) == pytest.approx(expected.score(X, y), rel=1e-6)


# Training elsewhere ------------------------------------------------------------------------------


def test_another_backend_trains_in_bounded_memory(chunks):
    """`nox -s searches` has the other tests of it."""
    options = {"epochs": 2, "shuffle": False, "batch_size": 50, "progress": False}
    trained, expected = (
        nn.Model(nn.Dense(8), nn.Tanh(), nn.Dense(3), loss="softmax_cross_entropy").build(5)
        for _ in range(2)
    )
    trained.fit(chunks.x, CLASSES, **options)
    expected.fit(X, CLASSES, **options)
    np.testing.assert_allclose(trained.predict(X), expected.predict(X), rtol=1e-5)
    assert (chunks.loads, chunks.most <= 2) == (2 * N_CHUNKS, True)


# What it does not do -----------------------------------------------------------------------------


def take_steps(on_dask):
    return Steps(on_dask, X, CLASSES, nn.Adam(), 32)


@pytest.mark.parametrize(
    "train",
    [
        lambda on_dask: on_dask.fit(X, CLASSES),
        lambda on_dask: MLPClassifier(backend="dask").fit(X, CLASSES),
        lambda on_dask: MLPClassifier(backend="dask").partial_fit(X, CLASSES, classes=[0, 1, 2]),
        lambda on_dask: compare_backends(on_dask, (X, CLASSES), "dask", steps=1),
        take_steps,
    ],
    ids=["Model.fit", "fit", "partial_fit", "compare_backends", "bench"],
)
def test_steps_of_training_are_refused(train):
    on_dask = model().to("dask")
    before = on_dask.training
    expected = r"backend 'dask': .* no steps of training\. Train on one of numpy.* file on 'dask'"
    with pytest.raises(BackendUnavailableError, match=expected):
        train(on_dask)
    assert on_dask.training is before


def test_other_backends_are_compared_by_default():
    on_numpy = nn.Model(nn.Dense(3), loss="softmax_cross_entropy", backend="numpy")
    runs = compare_backends(on_numpy, (X, CLASSES), steps=1).runs
    assert "numpy" in {run.backend for run in runs}
    assert "dask" not in {run.backend for run in runs}


def damage(x):
    x = x.copy()
    x[3, 1] = np.nan
    return da.from_array(x, chunks=50)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_on_other_backends_check_dask_arrays():
    mlp = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=5, backend="numpy")
    with pytest.raises(DataError, match="first in row 3"):
        mlp.fit(damage(X), CLASSES)
    mlp.fit(X, CLASSES)
    for method in (mlp.predict, mlp.predict_proba):
        with pytest.raises(DataError, match="first in row 3"):
            method(damage(X))


def test_lbfgs_that_meets_nan_is_an_error():
    mlp = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=5, backend="dask")
    with (
        pytest.warns(ConvergenceWarning),
        pytest.raises(ValueError, match="Solver produced non-finite"),
    ):
        mlp.fit(damage(X), CLASSES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX
def test_a_forked_process_is_refused_instead_of_waiting_for_ever():
    on_dask = model().to("dask")
    x = da.from_array(X, chunks=50)
    on_dask.predict(x)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            on_dask.predict(x)
        except BackendUnavailableError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"was forked from one in which dask had been used" in os.read(read, 10_000)

"""Inputs of every kind: sparse, tables, dtypes, layouts of memory."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn_cases import (
    assert_near,
    assert_same_predictions,
    assert_same_weights,
    classifier,
    draw_sample_weights,
    fit_pair,
    load_problem,
    make_pair,
    same_error,
    same_warnings,
    train_pair,
)

import anyback_nn as nn
from anyback_nn.inputs.batches import take
from anyback_nn.sklearn import MLPRegressor, batches


@pytest.mark.parametrize(
    ("name", "solver", "sparse"),
    [
        *itertools.product(["digits", "values"], ["sgd", "adam", "lbfgs"], [sp.csr_matrix]),
        *itertools.product(["digits"], ["adam"], [sp.csc_matrix, sp.csr_array, sp.coo_matrix]),
    ],
)
def test_sparse_inputs(name, solver, sparse):
    x, y = load_problem(name)
    x = sparse(np.where(x > 0.2, x, 0.0))
    theirs, ours = (mlp.fit(x, y) for mlp in make_pair(name, solver=solver, max_iter=6))
    assert_same_weights(theirs, ours, 1e-8 if solver == "lbfgs" else 1e-12)
    assert_near(ours.predict(x), theirs.predict(x), 1e-8)
    assert_near(ours.predict(x.toarray()), theirs.predict(x), 1e-8)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y))


def test_sparse_inputs_in_partial_fit():
    def train(mlp, x, y):
        mlp.partial_fit(x, y, classes=np.arange(10)).partial_fit(x, y, draw_sample_weights(200))

    train_pair("digits", train, x=sp.csc_matrix(load_problem("digits")[0]))


class Convertible:
    """What NumPy can make an array of, and no more."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)

    def __len__(self):
        return len(self.array)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("metric", [None, "accuracy"])
@pytest.mark.parametrize(
    "kind", ["coo", "dia", "bsr", "lil", "csr", "csc", Convertible, np.ndarray.tolist, pl.DataFrame]
)
def test_every_kind_of_input_with_early_stopping(kind, metric):
    x, _ = load_problem("classes")
    given = sp.csr_matrix(x).asformat(kind) if isinstance(kind, str) else kind(x)

    def train(mlp, x, y):
        if hasattr(mlp, "early_stopping_metric"):
            mlp.set_params(early_stopping_metric=metric)
        mlp.fit(x, y)

    # No warning of names that are missing comes from inside.
    train_pair("classes", train, x=given, early_stopping=True)


def test_names_of_features():
    x, y = load_problem("classes")
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    theirs, ours = pair = train_pair("classes", x=table)
    assert ours.feature_names_in_.dtype == theirs.feature_names_in_.dtype == object
    assert ours.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert_same_predictions(theirs, ours, table)
    same_error(pair, lambda mlp: mlp.predict(table.rename({"a": "z"})))
    caught = same_warnings(pair, lambda mlp: mlp.predict(x))
    assert "does not have valid feature names" in caught[0][1]
    assert not hasattr(ours.fit(x, y), "feature_names_in_")


@pytest.mark.parametrize("name", ["classes", "labels", "values", "outputs", "counts"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_float32_inputs_give_float32_weights(name, solver):
    x, y = load_problem(name)
    x = x.astype(np.float32)
    theirs, ours = (mlp.fit(x, y) for mlp in make_pair(name, solver=solver, max_iter=5))
    assert_same_weights(theirs, ours, 1e-5)
    assert {c.dtype for c in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float32)}
    if hasattr(ours, "classes_"):
        assert ours.predict(x).dtype == y.dtype
        assert ours.predict_proba(x).dtype == np.float32
    else:
        assert ours.predict(x).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, bool, np.longdouble])
def test_other_inputs_give_float64_weights(dtype):
    _, ours = train_pair("digits", x=(16 * load_problem("digits")[0]).astype(dtype))
    assert ours.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("order", ["F", "strided", "readonly"])
def test_layouts_of_memory(order):
    x, y = load_problem("classes")
    other = x.copy()
    if order == "F":
        other = np.asfortranarray(x)
    elif order == "strided":
        other = np.repeat(x, 2, axis=0)[::2]
    other.flags.writeable = order != "readonly"
    _, ours = fit_pair("classes")
    assert make_pair("classes")[1].fit(other, y).loss_curve_ == ours.loss_curve_


@pytest.mark.parametrize("given", ["float32", "float64", np.float32, np.dtype("float64")], ids=repr)
@pytest.mark.parametrize("of_input", ["float32", "float64", "int64"])
def test_dtype_comes_before_that_of_the_input(of_input, given, iris):
    x, y, dtype = (4 * iris[0]).astype(of_input), iris[1], np.dtype(given)
    ours = classifier(dtype=given, hidden_layer_sizes=(4, 3)).fit(x, y)
    for array in (*ours.coefs_, *ours.intercepts_, ours.predict_proba(x)):
        assert array.dtype == dtype
    for slot in ours.model_.training.optimizer_state.values():
        assert all(array.dtype == dtype for array in slot)


@pytest.fixture
def largest(monkeypatch):
    """The largest number of elements that was made dense at once, in a list of one."""
    largest_size = [0]

    def noting(array, rows):
        result = take(array, rows)
        if hasattr(array, "toarray"):
            largest_size[0] = max(largest_size[0], result.size)
        return result

    monkeypatch.setattr("anyback_nn.inputs.batches.take", noting)
    monkeypatch.setattr("anyback_nn.inputs.batches.BLOCK", 1)
    monkeypatch.setattr(batches, "LIMIT", 2000)
    return largest_size


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs_are_made_dense_in_parts(solver, largest):
    # Of 100 features, 20 rows are as many numbers as are allowed.
    x = sp.random(500, 100, 0.02, "csr", random_state=0)
    y = (np.asarray(x.sum(axis=1))[:, 0] > 0.9).astype(int)
    settings = {"solver": solver, "batch_size": 10, "max_iter": 3}
    settings |= {"early_stopping": True, "validation_fraction": 0.5}
    ours = classifier(**settings).fit(x, y)
    predicted = ours.predict_proba(x)
    assert 0 < largest[0] <= 2000
    dense = classifier(**settings).fit(x.toarray(), y)
    np.testing.assert_allclose(predicted, dense.predict_proba(x.toarray()), rtol=1e-9)
    assert ours.validation_scores_ == dense.validation_scores_


@pytest.mark.parametrize("part", ["X", "y", "sample_weight"])
def test_masked_arrays_are_refused_if_something_is_masked(part):
    data = {"X": np.arange(8.0).reshape(4, 2), "y": np.arange(4.0), "sample_weight": np.ones(4)}
    plain = MLPRegressor(solver="lbfgs", random_state=0, max_fun=5, tol=9.0).fit(**data)
    data[part] = np.ma.masked_array(data[part], mask=np.zeros(data[part].shape))
    mlp = MLPRegressor(solver="lbfgs", random_state=0, max_fun=5, tol=9.0).fit(**data)
    np.testing.assert_array_equal(mlp.coefs_[0], plain.coefs_[0])
    data[part][0] = np.ma.masked
    with pytest.raises(nn.DataError, match=f"expected {part} without masked elements, got"):
        mlp.fit(**data)
    if part == "X":
        with pytest.raises(nn.DataError, match="expected X without masked elements"):
            mlp.predict(data["X"])


def test_dtypes_of_other_packages_are_numbers():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, y = np.arange(8.0).reshape(4, 2).astype(bfloat16), np.arange(4.0).astype(bfloat16)
    mlp = MLPRegressor(solver="lbfgs", random_state=0, tol=9.0).fit(x, y, y + y)
    assert mlp.predict(x).shape == (4,)


def test_targets_that_float32_makes_constant_are_named():
    x = np.linspace(0.0, 1.0, 20, dtype="float32")[:, None]
    mlp = MLPRegressor(random_state=0, n_iter_no_change=1, tol=1e30)
    with pytest.warns(UserWarning, match="1 column of the targets will be constant in float32"):
        mlp.fit(x, 1.7e9 + x[:, 0].astype("float64"))

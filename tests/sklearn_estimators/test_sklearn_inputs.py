"""Inputs of every kind: sparse, tables, dtypes, layouts of memory."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import polars as pl
import pytest
import scipy.sparse
import scipy.sparse as sp
from sklearn.base import is_classifier
from sklearn_cases import (
    PROBLEMS,
    QUICK,
    assert_near,
    assert_same_fit,
    assert_same_weights,
    classifier,
    draw_sample_weights,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
    warnings_of,
)

from anyback_nn.sklearn import MLPClassifier, batches


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
    theirs, ours = (one.fit(x, y) for one in make_pair(name, solver=solver, max_iter=6))
    assert_same_weights(theirs, ours, 1e-8 if solver == "lbfgs" else 1e-12)
    assert_near(ours.predict(x), theirs.predict(x), 1e-8)
    assert_near(ours.predict(x.toarray()), theirs.predict(x), 1e-8)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y))


def test_sparse_inputs_with_early_stopping_and_partial_fit():
    x, y = load_problem("digits")
    x = sp.csc_matrix(x)
    theirs, ours = (one.fit(x, y) for one in make_pair("digits", early_stopping=True))
    assert_same_fit(theirs, ours)
    theirs, ours = make_pair("digits")
    for one in (theirs, ours):
        one.partial_fit(x, y, classes=np.arange(10)).partial_fit(x, y, draw_sample_weights(200))
    assert_same_fit(theirs, ours)


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
    "kind", ["coo", "dia", "bsr", "lil", "csr", Convertible, np.ndarray.tolist]
)
def test_every_kind_of_input_with_early_stopping(kind, metric):
    x, y = load_problem("classes")
    given = sp.csr_matrix(x).asformat(kind) if isinstance(kind, str) else kind(x)
    theirs, ours = make_pair("classes", early_stopping=True)
    ours.set_params(early_stopping_metric=metric)
    assert_same_fit(theirs.fit(given, y), ours.fit(given, y))


def test_names_of_features():
    x, y = load_problem("classes")
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    theirs, ours = (one.fit(table, y) for one in make_pair("classes"))
    assert_same_fit(theirs, ours)
    assert ours.feature_names_in_.dtype == theirs.feature_names_in_.dtype == object
    assert ours.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert np.array_equal(ours.predict(table), theirs.predict(table))
    other = table.rename({"a": "z"})
    assert error_of(lambda: ours.predict(other)) == error_of(lambda: theirs.predict(other))
    caught = warnings_of(lambda: ours.predict(x))
    assert caught == warnings_of(lambda: theirs.predict(x))
    assert "does not have valid feature names" in caught[0][1]
    assert not hasattr(ours.fit(x, y), "feature_names_in_")


def test_names_of_features_with_early_stopping():
    # No warning of names that are missing comes from inside.
    x, y = load_problem("classes")
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    assert_same_fit(*(one.fit(table, y) for one in make_pair("classes", early_stopping=True)))


@pytest.mark.parametrize("name", ["classes", "labels", "values", "outputs", "counts"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_float32_inputs_give_float32_weights(name, solver):
    x, y = load_problem(name)
    x = x.astype(np.float32)
    theirs, ours = (one.fit(x, y) for one in make_pair(name, solver=solver, max_iter=5))
    assert_same_weights(theirs, ours, 1e-5)
    assert {c.dtype for c in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float32)}
    assert ours.predict(x).dtype == (y.dtype if is_classifier(ours) else np.float32)
    if is_classifier(ours):
        assert ours.predict_proba(x).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, bool, np.longdouble])
def test_other_inputs_give_float64_weights(dtype):
    x, y = load_problem("digits")
    x = (16 * x).astype(dtype)
    theirs, ours = (one.fit(x, y) for one in make_pair("digits"))
    assert_same_fit(theirs, ours)
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
    assert MLPClassifier(**QUICK).fit(other, y).loss_curve_ == ours.loss_curve_


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_written_to_the_data(name):
    x, y = (part.copy() for part in load_problem(name))
    weights = draw_sample_weights(len(x))
    before = copy.deepcopy((x, y, weights))
    for solver in ("sgd", "lbfgs"):
        _, ours = make_pair(name, solver=solver, max_iter=2)
        ours.fit(x, y, weights).predict(x)
        ours.score(x, y, weights)
    assert all(np.array_equal(now, then) for now, then in zip((x, y, weights), before))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64", "int64"])
def test_dtype_comes_before_that_of_the_input(given, dtype, iris):
    x, y = (4 * iris[0]).astype(given), iris[1]
    ours = classifier(dtype=dtype, hidden_layer_sizes=(4, 3)).fit(x, y)
    for array in (*ours.coefs_, *ours.intercepts_, ours.predict_proba(x)):
        assert array.dtype == dtype
    for slot in ours.model_.training.optimizer_state.values():
        assert all(array.dtype == dtype for array in slot)


@pytest.fixture
def largest(monkeypatch):
    """The largest number of elements that was made dense at once, in a list of one."""
    found, make = [0], batches._rows_of

    def noting(array, rows):
        result = make(array, rows)
        if hasattr(array, "toarray"):
            found[0] = max(found[0], result.size)
        return result

    monkeypatch.setattr(batches, "_rows_of", noting)
    monkeypatch.setattr("anyback_nn.inputs.batches.BLOCK", 1)
    monkeypatch.setattr(batches, "LIMIT", 2000)
    return found


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs_are_made_dense_in_parts(solver, largest):
    # Of 100 features, 20 rows are as many numbers as are allowed.
    x = scipy.sparse.random(500, 100, 0.02, "csr", random_state=0)
    y = (np.asarray(x.sum(axis=1))[:, 0] > 0.9).astype(int)
    settings = {"solver": solver, "batch_size": 10, "max_iter": 3}
    settings |= {"early_stopping": True, "validation_fraction": 0.5}
    ours = classifier(**settings).fit(x, y)
    found = ours.predict_proba(x)
    assert 0 < largest[0] <= 2000
    dense = classifier(**settings).fit(x.toarray(), y)
    np.testing.assert_allclose(found, dense.predict_proba(x.toarray()), rtol=1e-9)
    assert ours.validation_scores_ == dense.validation_scores_


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), "float32"])
def test_a_dtype_as_numpy_has_it(dtype, iris):
    ours = MLPClassifier(max_iter=1, dtype=dtype).fit(*iris)
    assert ours.model_.dtype == "float32"

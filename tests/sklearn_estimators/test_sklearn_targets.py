"""Targets of every kind: classes, labels, values, counts and several outputs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning
from sklearn_cases import (
    PROBLEMS,
    assert_near,
    assert_same_fit,
    assert_same_weights,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
    warnings_of,
)


@pytest.mark.parametrize("name", ["binary", "classes", "digits", "labels"])
def test_classes_and_probabilities(name):
    x, y = load_problem(name)
    theirs, ours = fit_pair(name, max_iter=30, learning_rate_init=0.02)
    mine, other = ours.predict(x), theirs.predict(x)
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    assert np.array_equal(mine, other)
    assert_near(ours.predict_proba(x), theirs.predict_proba(x))
    assert_near(ours.predict_log_proba(x), theirs.predict_log_proba(x), 1e-10)
    assert ours.score(x, y) == theirs.score(x, y)
    weights = np.arange(len(x)) + 0.5
    assert ours.score(x, y, weights) == pytest.approx(theirs.score(x, y, weights), rel=1e-14)
    if name != "labels":
        assert_near(ours.predict_proba(x).sum(axis=1), 1.0)


@pytest.mark.parametrize("name", ["values", "outputs", "counts"])
def test_values(name):
    x, y = load_problem(name)
    theirs, ours = fit_pair(name, max_iter=20, learning_rate_init=0.01)
    mine, other = ours.predict(x), theirs.predict(x)
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    assert_near(mine, other)
    assert_near(ours.score(x, y), theirs.score(x, y))
    weights = np.arange(len(x)) + 0.5
    assert_near(ours.score(x, y, weights), theirs.score(x, y, weights))
    assert ours.out_activation_ == ("exp" if name == "counts" else "identity")


@pytest.mark.parametrize("name", PROBLEMS)
def test_single_samples_and_many_batches(name):
    x, _ = load_problem(name)
    theirs, ours = fit_pair(name)
    for some in (x[:1], np.concatenate([x] * 30)):
        mine, other = ours.predict(some), theirs.predict(some)
        assert mine.shape == other.shape
        assert_near(mine, other)


NAMED = {
    "text": ["small", "medium", "large"],
    "object": np.array(["b", "a", "c"], dtype=object),
    "negative": [-1, -5, 3],
    "unsigned": np.array([9, 0, 200], dtype=np.uint8),
    "float": [1.0, 0.0, 5.0],
}


@pytest.mark.parametrize("names", NAMED)
def test_names_of_classes(names):
    x, y = load_problem("classes")
    y = np.asarray(NAMED[names])[y]
    theirs, ours = (one.fit(x, y) for one in make_pair("classes", early_stopping=True, max_iter=20))
    assert_same_fit(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert mine.dtype == other.dtype
    assert np.array_equal(mine, other)
    assert ours.classes_.dtype == theirs.classes_.dtype
    assert ours.score(x, y) == theirs.score(x, y)


@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [-1, 1], [2.0, 1.0]], ids=str)
def test_names_of_two_classes(names):
    x, y = load_problem("binary")
    y = np.asarray(names)[y]
    theirs, ours = (one.fit(x, y) for one in make_pair("binary"))
    assert_same_fit(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert mine.dtype == other.dtype
    assert np.array_equal(mine, other)
    assert_near(ours.predict_proba(x), theirs.predict_proba(x))


def test_lists():
    x, y = load_problem("classes")
    theirs, ours = (one.fit(x.tolist(), y.tolist()) for one in make_pair("classes"))
    assert_same_fit(theirs, ours)
    assert np.array_equal(ours.predict(x.tolist()), theirs.predict(x.tolist()))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_one_class_only(solver):
    x, y = load_problem("binary")[0], np.full(120, "only")
    theirs, ours = (one.fit(x, y) for one in make_pair("binary", solver=solver))
    assert_same_weights(theirs, ours, 1e-9)
    assert np.array_equal(ours.predict(x), y)
    assert np.array_equal(theirs.predict(x), y)
    assert ours.score(x, y) == 1.0
    # Of one class, one column. scikit-learn has a second, of a class that there is not.
    assert np.array_equal(ours.predict_proba(x), np.ones((120, 1)))
    assert np.array_equal(ours.predict_log_proba(x), np.zeros((120, 1)))


def test_a_column_of_targets_is_taken_with_a_warning():
    for name in ("classes", "values"):
        x, y = load_problem(name)
        theirs, ours = make_pair(name, tol=1e9)
        caught = [warnings_of(functools.partial(one.fit, x, y[:, None])) for one in (theirs, ours)]
        assert caught[0] == caught[1]
        assert [kind for kind, _ in caught[1]] == [DataConversionWarning]
        assert_same_fit(theirs, ours)


@pytest.mark.parametrize("sparse", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_labels_can_be_sparse(sparse):
    x, y = load_problem("labels")
    try:
        theirs, ours = (one.fit(x, sparse(y)) for one in make_pair("labels"))
    except TypeError:
        # What scikit-learn's own does not take, ours need not.
        with pytest.raises(TypeError):
            make_pair("labels")[0].fit(x, sparse(y))
        return
    assert_same_fit(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert sp.issparse(mine)
    assert sp.issparse(other)
    assert np.array_equal(mine.toarray(), other.toarray())


def test_labels_that_none_or_all_have():
    x, y = load_problem("labels")
    y = y.copy()
    y[:, 0], y[:, 1] = 0, 1
    theirs, ours = (one.fit(x, y) for one in make_pair("labels"))
    assert_same_fit(theirs, ours)
    assert np.array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize("kind", ["continuous", "multioutput"])
def test_targets_that_are_no_classes(kind):
    x, y = load_problem("classes")
    y = {"continuous": y + 0.5, "multioutput": np.stack([y, y], axis=1)}[kind]
    theirs, ours = make_pair("classes")
    assert (
        error_of(lambda: ours.fit(x, y))[0] is error_of(lambda: theirs.fit(x, y))[0] is ValueError
    )


def test_logarithms_of_probabilities_are_finite():
    # Where a probability rounds to zero, scikit-learn's logarithm of it is minus infinity.
    for name, classes in (("classes", 3), ("binary", 2)):
        _, ours = fit_pair(name)
        far = 1e6 * load_problem(name)[0]
        probabilities, logarithms = ours.predict_proba(far), ours.predict_log_proba(far)
        assert probabilities.min() == 0.0
        assert logarithms.shape == (len(far), classes)
        assert np.all(np.isfinite(logarithms))


def test_the_poisson_loss_of_several_outputs():
    x, y = load_problem("counts")
    y = np.stack([y, np.round(np.abs(x[:, 0]))], axis=1)
    theirs, ours = (one.fit(x, y) for one in make_pair("counts", max_iter=20))
    assert_same_fit(theirs, ours)

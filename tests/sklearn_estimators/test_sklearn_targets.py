"""Targets of every kind: classes, labels, values, counts and several outputs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning
from sklearn_cases import (
    PROBLEMS,
    assert_near,
    assert_same_fit,
    assert_same_predictions,
    assert_same_weights,
    classifier,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
    same_warnings,
    train_pair,
)


@pytest.mark.parametrize("name", PROBLEMS)
def test_predictions_and_scores(name):
    x, y = load_problem(name)
    theirs, ours = fit_pair(name, max_iter=30, learning_rate_init=0.02)
    # What is rounded in a small probability is magnified by the logarithm.
    for some in (x, x[:1], np.concatenate([x] * 30)):
        assert_same_predictions(theirs, ours, some, 1e-10)
    weights = np.arange(len(x)) + 0.5
    assert_near(ours.score(x, y), theirs.score(x, y))
    assert_near(ours.score(x, y, weights), theirs.score(x, y, weights))
    if name in ("binary", "classes", "digits"):
        assert_near(ours.predict_proba(x).sum(axis=1), 1.0)


NAMED = {
    "strings": ["small", "medium", "large"],
    "objects": np.array(["b", "a", "c"], dtype=object),
    "negative": [-1, -5, 3],
    "unsigned": np.array([9, 0, 200], dtype=np.uint8),
    "floats": [1.0, 0.0, 5.0],
    "two strings": ["no", "yes"],
    "booleans": [False, True],
    "signs": [-1, 1],
    "two floats": [2.0, 1.0],
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("names", NAMED)
def test_names_of_classes(names, early_stopping):
    names = np.asarray(NAMED[names])
    name = "classes" if len(names) == 3 else "binary"
    x, y = load_problem(name)
    y = names[y]
    theirs, ours = train_pair(name, y=y, early_stopping=early_stopping, max_iter=20)
    assert_same_predictions(theirs, ours, x)
    assert ours.classes_.dtype == theirs.classes_.dtype
    assert ours.score(x, y) == theirs.score(x, y)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_one_class_only(solver):
    x, y = load_problem("binary")[0], np.full(120, "only")
    theirs, ours = (mlp.fit(x, y) for mlp in make_pair("binary", solver=solver))
    assert_same_weights(theirs, ours, 1e-9)
    assert np.array_equal(ours.predict(x), y)
    assert np.array_equal(theirs.predict(x), y)
    assert ours.score(x, y) == 1.0
    # Of one class, one column. scikit-learn has a second, of a class that there is not.
    assert np.array_equal(ours.predict_proba(x), np.ones((120, 1)))
    assert np.array_equal(ours.predict_log_proba(x), np.zeros((120, 1)))


@pytest.mark.parametrize("name", ["classes", "values"])
def test_a_column_of_targets_is_taken_with_a_warning(name):
    x, y = load_problem(name)
    pair = make_pair(name, tol=1e9)
    caught = same_warnings(pair, lambda mlp: mlp.fit(x, y[:, None]))
    assert [kind for kind, _ in caught] == [DataConversionWarning]
    assert_same_fit(*pair)


@pytest.mark.parametrize("sparse", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_labels_can_be_sparse(sparse):
    x, y = load_problem("labels")
    try:
        theirs, ours = train_pair("labels", y=sparse(y))
    except TypeError:
        # What scikit-learn's own does not take, ours need not.
        with pytest.raises(TypeError):
            make_pair("labels")[0].fit(x, sparse(y))
        return
    mine, other = ours.predict(x), theirs.predict(x)
    assert sp.issparse(mine)
    assert sp.issparse(other)
    assert np.array_equal(mine.toarray(), other.toarray())


def test_labels_that_none_or_all_have():
    x, y = load_problem("labels")
    y = y.copy()
    y[:, 0], y[:, 1] = 0, 1
    assert_same_predictions(*train_pair("labels", y=y), x)


@pytest.mark.parametrize("kind", ["continuous", "multioutput"])
def test_targets_that_are_no_classes(kind):
    x, y = load_problem("classes")
    y = {"continuous": y + 0.5, "multioutput": np.stack([y, y], axis=1)}[kind]
    for mlp in make_pair("classes"):
        assert error_of(lambda mlp=mlp: mlp.fit(x, y))[0] is ValueError


@pytest.mark.parametrize(("name", "n_classes"), [("classes", 3), ("binary", 2), ("labels", 4)])
def test_logarithms_of_probabilities_are_finite(name, n_classes):
    # Where a probability rounds to zero, scikit-learn's logarithm of it is minus infinity.
    _, ours = fit_pair(name)
    far = 1e6 * load_problem(name)[0]
    probabilities, logarithms = ours.predict_proba(far), ours.predict_log_proba(far)
    assert probabilities.min() == 0.0
    assert logarithms.shape == (len(far), n_classes)
    assert np.all(np.isfinite(logarithms))


def test_the_poisson_loss_of_several_outputs():
    x, y = load_problem("counts")
    train_pair("counts", y=np.stack([y, np.round(np.abs(x[:, 0]))], axis=1), max_iter=20)


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_one_hot_rows_get_a_hint(dtype, iris):
    x, y = iris
    rows = np.eye(3, dtype=dtype)[y]
    text = r"one 1 and 2 zeros, .* classes, pass y\.argmax\(axis=1\)"
    with pytest.warns(UserWarning, match=text) as caught:
        classifier().fit(x, rows)
    assert caught[0].filename == __file__
    rows[0] = True  # several labels
    classifier().fit(x, rows)
    classifier().partial_fit(x[1:], rows[1:], classes=[0, 1, 2])  # a batch may be like that

"""L-BFGS takes scikit-learn's course, and has the right gradient of several outputs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn_cases import (
    assert_near,
    assert_same_weights,
    differentiate,
    draw_sample_weights,
    fit_pair,
    list_fitted_attributes,
    load_problem,
    make_pair,
)

from anyback_nn.inputs.checks import Samples
from anyback_nn.sklearn.batches import build_source
from anyback_nn.sklearn.lbfgs import Problem


@pytest.mark.parametrize("early_stopping", [False, True])  # which is no matter of L-BFGS
@pytest.mark.parametrize("name", ["binary", "classes", "digits", "labels", "values", "counts"])
def test_lbfgs_takes_the_same_course(name, early_stopping):
    theirs, ours = fit_pair(name, solver="lbfgs", max_iter=8, early_stopping=early_stopping)
    assert ours.n_iter_ == theirs.n_iter_ == 8
    assert_same_weights(theirs, ours, 1e-9)
    assert_near(ours.loss_, theirs.loss_, 1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["binary", "classes", "labels", "values", "counts"])
def test_lbfgs_reaches_the_same_minimum(name, dtype):
    # Linear models have one minimum, whatever the path.
    x, y = load_problem(name)
    settings = {"hidden_layer_sizes": (), "alpha": 1.0, "tol": 1e-9, "max_iter": 1000}
    pair = make_pair(name, solver="lbfgs", **settings)
    theirs, ours = (one.fit(x.astype(dtype), y) for one in pair)
    assert ours.converged_
    # SciPy's vector makes scikit-learn's weights float64, whatever it began with.
    assert_same_weights(theirs, ours, 1e-4 if dtype is np.float32 else 1e-6)
    assert {c.dtype for c in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float64)}
    assert ours.loss_ <= theirs.loss_ * (1 + 1e-6)
    if dtype is np.float64:
        assert_near(ours.loss_, theirs.loss_, 1e-12)
    assert ours.predict(x.astype(dtype)).dtype == theirs.predict(x.astype(dtype)).dtype


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"max_iter": 3}, "lbfgs failed to converge after 3 iteration"),
        ({"max_iter": 100, "max_fun": 10}, "EVALUATIONS EXCEEDS LIMIT"),
    ],
    ids=["max_iter", "max_fun"],
)
def test_the_limits_of_lbfgs(settings, text):
    x, y = load_problem("classes")
    theirs, ours = pair = make_pair("classes", solver="lbfgs", **settings)
    for one in pair:
        with pytest.warns(ConvergenceWarning, match=text):
            one.fit(x, y)
    assert ours.n_iter_ == theirs.n_iter_
    assert_same_weights(theirs, ours, 1e-9)


def test_tol_of_lbfgs():
    settings = {"solver": "lbfgs", "max_iter": 500, "alpha": 1.0}
    counts = [[one.n_iter_ for one in fit_pair("classes", tol=t, **settings)] for t in (1e-1, 1e-3)]
    assert counts[0][0] == counts[0][1] < counts[1][1] < 500
    assert counts[1][0] == counts[1][1]


def test_lbfgs_sums_over_parts_of_any_size(monkeypatch):
    x, y = load_problem("digits")
    # What is sparse is made dense in parts, here of 90 rows, 90 and 20.
    monkeypatch.setattr("anyback_nn.sklearn.batches.LIMIT", 90 * x.shape[1])
    weights = draw_sample_weights(len(x))
    theirs, ours = make_pair("digits", solver="lbfgs", max_iter=8, alpha=0.1)
    theirs.fit(x, y, weights)
    ours.fit(sp.csr_array(x), y, weights)
    assert_near(ours.loss_, theirs.loss_, 1e-10)
    assert_same_weights(theirs, ours, 1e-8)


def test_lbfgs_has_the_attributes_that_scikit_learn_has():
    theirs, ours = fit_pair("classes", solver="lbfgs")
    assert set(list_fitted_attributes(theirs)) <= {
        name for name in dir(ours) if hasattr(ours, name)
    }
    # An addition: the curve.
    assert len(ours.loss_curve_) == ours.n_iter_
    assert ours.loss_curve_[-1] == pytest.approx(ours.loss_)
    # These say nothing of it, so they must not be there as if they did.
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        assert not hasattr(theirs, name)
        assert getattr(ours, name, None) is None, name


def test_lbfgs_starts_from_the_solution_before_with_warm_start():
    x, y = load_problem("classes")
    pair = make_pair("classes", solver="lbfgs", max_iter=4, warm_start=True)
    assert_same_weights(*(one.fit(x, y).fit(x, y) for one in pair), 1e-9)


def objective(mlp, x, y):
    """The documented loss for several outputs: half the mean square, and the penalty."""
    penalty = 0.5 * mlp.alpha / len(x) * sum(np.sum(c**2) for c in mlp.coefs_)
    return 0.5 * np.mean((y - mlp.predict(x)) ** 2) + penalty


def test_lbfgs_has_the_gradient_of_several_outputs():
    # scikit-learn's is too large by their number: https://github.com/scikit-learn/scikit-learn,
    # issue 8349. So its line search goes astray, and what it calls converged is no minimum.
    x, y = load_problem("outputs")
    settings = {"hidden_layer_sizes": (3,), "activation": "tanh", "alpha": 1.0}
    theirs, ours = fit_pair("outputs", solver="lbfgs", **settings, tol=1e-7, max_iter=3000)
    assert_near(ours.loss_, objective(ours, x, y), 1e-14)
    assert_near(theirs.loss_, objective(theirs, x, y), 1e-14)
    assert ours.loss_ < theirs.loss_ - 1e-6
    slopes = differentiate(copy.deepcopy(ours), lambda one: objective(one, x, y))
    assert np.abs(slopes).max() < 1e-5


def test_the_gradient_of_several_outputs_is_that_of_the_objective():
    x, y = load_problem("outputs")
    _, ours = fit_pair("outputs", solver="lbfgs", activation="tanh", alpha=2.0, max_iter=3)
    source = build_source(Samples(x, y), ours.model_.backend, "float64", len(x))
    problem = Problem(ours.model_, ours._objective(), source)
    vector = problem.start()
    value, gradient = problem(vector)
    assert_near(value, ours.loss_, 1e-14)
    assert_near(value, objective(ours, x, y), 1e-14)
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.standard_normal(vector.shape)
        ahead, before = (problem(vector + step * direction)[0] for step in (1e-5, -1e-5))
        assert_near((ahead - before) / 2e-5, gradient @ direction, 1e-8)

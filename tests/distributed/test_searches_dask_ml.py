"""Searches over our estimators in other processes: joblib's own, and those of a dask cluster."""

from __future__ import annotations

import os

import numpy as np
import pytest
from joblib import parallel_config
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyback_nn.errors import DataError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.needs("dask_ml"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

FOLDS = 2
RATES = (1e-4, 0.05)


@pytest.fixture(params=["loky", "dask"])
def processes(request):
    """The context in which joblib computes in two other processes."""
    if request.param == "dask":
        request.getfixturevalue("client")
    yield parallel_config(request.param, n_jobs=2)
    if request.param == "loky":
        # A process that imports another large library later is taken for one that leaks memory.
        get_reusable_executor().shutdown()


def build(kind, backend, **settings):
    """An estimator that takes a few steps."""
    return kind(backend=backend, max_iter=4, random_state=0, **settings)


def load(kind):
    x, y = (load_iris if kind is MLPClassifier else load_diabetes)(return_X_y=True)
    return x[::2], y[::2] if kind is MLPClassifier else y[::2] / 100


def score_and_say_where(estimator, x, y):
    return {"score": estimator.score(x, y), "process": os.getpid()}


def search(estimator, x, y, rates=RATES, **options):
    """Search in a pipeline for the best learning rate."""
    pipeline = make_pipeline(StandardScaler(), estimator)
    grid = {f"{pipeline.steps[1][0]}__learning_rate_init": rates}
    return GridSearchCV(pipeline, grid, cv=FOLDS, **options).fit(x, y)


def test_a_search_gives_what_it_gives_in_one_process(backend, processes):
    mlp, (x, y) = build(MLPClassifier, backend), load(MLPClassifier)
    scoring = {"scoring": score_and_say_where, "refit": "score"}
    alone = search(mlp, x, y, **scoring)
    with processes:
        spread = search(mlp, x, y, **scoring)
    for fold in range(FOLDS):
        scores = spread.cv_results_[f"split{fold}_test_score"]
        assert scores[0] != scores[1]
        np.testing.assert_array_equal(scores, alone.cv_results_[f"split{fold}_test_score"])
        assert os.getpid() not in spread.cv_results_[f"split{fold}_test_process"]
    assert spread.best_params_ == alone.best_params_
    np.testing.assert_array_equal(spread.predict(x), alone.predict(x))
    assert spread.best_estimator_[-1].model_.backend == backend


def test_scores_of_folds_are_those_of_one_process(backend, processes):
    mlp = build(MLPRegressor, backend, learning_rate_init=0.05)
    alone = cross_val_score(mlp, *load(MLPRegressor), cv=FOLDS)
    with processes:
        spread = cross_val_score(mlp, *load(MLPRegressor), cv=FOLDS)
    assert len({*alone}) == FOLDS
    np.testing.assert_array_equal(spread, alone)


def test_a_search_continues_where_a_fold_fails(processes):
    mlp = build(MLPRegressor, "numpy", solver="sgd")
    with (
        processes,
        pytest.warns(FitFailedWarning, match=r"the learning rate, 1e\+30, is probably too high"),
        pytest.warns(match="test scores are non-finite"),
    ):
        fitted = search(mlp, *load(MLPRegressor), (0.01, 1e30))
    assert fitted.best_index_ == 0


def test_the_error_of_a_fold_says_what_was_wrong(processes):
    x, y = load(MLPRegressor)
    mlp = build(MLPRegressor, "numpy", loss="poisson")
    with processes, pytest.raises(DataError, match="expected targets .* 0 or greater"):
        search(mlp, x, y - 1.0, error_score="raise")

"""The estimators inside of scikit-learn's tools: searches, pipelines, ensembles, inspection.

Each tool is run with NumPy's data, computed by the backend under test. What comes out is compared
with the same tool around scikit-learn's own perceptrons, where those can do it.
"""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

import anyback_nn as nn
from anyback_nn.errors import CheckpointError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

QUICK = {"hidden_layer_sizes": (6,), "max_iter": 8, "learning_rate_init": 0.05, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    return scale(x)[::2], y[::2]


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return scale(x)[:90, :6], y[:90]


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return scale(x)[:90], scale(y)[:90]


def on(backend):
    """The precision of comparisons with scikit-learn, and what computes in it."""
    return {"backend": backend, "dtype": "float64" if backend.supports("float64") else "float32"}


def near(backend):
    return (
        {"rtol": 1e-7, "atol": 1e-9} if backend.supports("float64") else {"rtol": 0, "atol": 0.05}
    )


def classifiers(backend, **settings):
    settings = QUICK | settings
    return TheirClassifier(**settings), MLPClassifier(**settings, **on(backend))


def regressors(backend, **settings):
    settings = QUICK | settings
    return TheirRegressor(**settings), MLPRegressor(**settings, **on(backend))


# Validation and search ---------------------------------------------------------------------------


def test_cross_val_score(backend, iris):
    theirs, ours = (cross_val_score(one, *iris, cv=3) for one in classifiers(backend))
    np.testing.assert_allclose(ours, theirs, **near(backend))


def test_cross_validate_with_several_scorers(backend, cancer):
    found = [
        cross_validate(
            one,
            *cancer,
            cv=2,
            scoring=["accuracy", "roc_auc", "neg_log_loss", "neg_brier_score"],
            return_estimator=True,
        )
        for one in classifiers(backend)
    ]
    for name in ("test_accuracy", "test_roc_auc", "test_neg_log_loss", "test_neg_brier_score"):
        np.testing.assert_allclose(found[1][name], found[0][name], **near(backend))
    assert all(isinstance(one, MLPClassifier) for one in found[1]["estimator"])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_cross_val_predict(backend, iris, method):
    theirs, ours = (
        cross_val_predict(one, *iris, cv=3, method=method) for one in classifiers(backend)
    )
    np.testing.assert_allclose(ours, theirs, **near(backend))


def test_cross_val_predict_of_values(backend, diabetes):
    theirs, ours = (cross_val_predict(one, *diabetes, cv=3) for one in regressors(backend))
    np.testing.assert_allclose(ours, theirs, **near(backend))


def test_grid_search(backend, iris):
    grid = {"alpha": [1e-4, 1.0], "solver": ["adam", "lbfgs"]}
    theirs, ours = (GridSearchCV(one, grid, cv=2).fit(*iris) for one in classifiers(backend))
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], **near(backend)
    )
    assert ours.best_params_ == theirs.best_params_
    assert ours.predict(iris[0]).tolist() == theirs.predict(iris[0]).tolist()


def test_grid_search_over_our_own_parameters(backend, iris):
    _, ours = classifiers(backend)
    grid = [
        {"dropout": [0.2], "batch_norm": [True, False]},
        {"optimizer": [nn.Momentum(0.1)], "class_weight": ["balanced"]},
        {"schedule": [nn.CosineDecay(0.05, epochs=8)], "average_weights": [0.9]},
        {"clip_norm": [1.0], "label_smoothing": [0.1], "activation": [nn.ELU()]},
    ]
    search = GridSearchCV(ours, grid, cv=2, error_score="raise").fit(*iris)
    assert len(search.cv_results_["params"]) == 5
    assert search.best_score_ > 0.6
    assert isinstance(search.best_estimator_, MLPClassifier)


def test_grid_search_over_layers(backend, iris):
    _, ours = classifiers(backend)
    deep = [
        nn.Dense(6),
        nn.LayerNorm(),
        nn.ReLU(),
        nn.Residual(nn.Dense(6), nn.Tanh()),
        nn.Dense(3),
    ]
    grid = {"layers": [None, [nn.Dense(5), nn.SiLU(), nn.Dense(3)], deep]}
    search = GridSearchCV(ours, grid, cv=2, error_score="raise").fit(*iris)
    assert np.all(search.cv_results_["mean_test_score"] > 0.5)


def test_fit_leaves_the_layers_that_it_is_given_as_they_were(backend, iris):
    _, ours = classifiers(backend, max_iter=2)
    layers = [nn.Dense(6), nn.Residual(nn.Dense(6), nn.Tanh()), nn.Dense(3)]
    before = copy.deepcopy(layers)
    ours.set_params(layers=layers).fit(*iris)
    assert ours.layers is layers
    assert layers == before


def test_randomized_search(backend, cancer):
    grid = {"alpha": [1e-3, 1e-1], "hidden_layer_sizes": [(3,), (4, 2)]}
    options = {"n_iter": 2, "cv": 2, "scoring": "neg_log_loss", "random_state": 0}
    theirs, ours = (
        RandomizedSearchCV(one, grid, **options).fit(*cancer) for one in classifiers(backend)
    )
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], **near(backend)
    )
    assert ours.best_params_ == theirs.best_params_


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_search_goes_on_where_a_fit_fails(backend, iris):
    _, ours = classifiers(backend)
    search = GridSearchCV(ours, {"alpha": [1e-3, -1.0]}, cv=2)
    with pytest.warns(match="The 'alpha' parameter of MLPClassifier must be"):
        search.fit(*iris)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    assert search.best_params_ == {"alpha": 1e-3}


def test_jobs_in_other_processes(backend, iris):
    # The estimators, with their backend, are sent to the processes and back.
    theirs, ours = classifiers(backend, max_iter=2)
    alone = cross_val_score(theirs, *iris, cv=2)
    search = GridSearchCV(ours, {"alpha": [1e-4]}, cv=2, n_jobs=2).fit(*iris)
    np.testing.assert_allclose(search.best_score_, alone.mean(), **near(backend))
    fitted = cross_validate(ours, *iris, cv=2, n_jobs=2, return_estimator=True)["estimator"]
    assert all(one.predict(iris[0]).shape == iris[1].shape for one in fitted)
    assert all(one.model_.backend.spec == backend.spec for one in fitted)


def test_learning_curve(backend, iris):
    theirs, ours = (
        learning_curve(one, *iris, train_sizes=[0.5, 1.0], cv=2, shuffle=True, random_state=0)
        for one in classifiers(backend)
    )
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine, other, **near(backend))


def test_learning_curve_by_partial_fit(backend, iris):
    theirs, ours = (
        learning_curve(
            one,
            *iris,
            train_sizes=[20, 30],
            cv=2,
            shuffle=True,
            random_state=0,
            exploit_incremental_learning=True,
        )
        for one in classifiers(backend)
    )
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine, other, **near(backend))


def test_validation_curve(backend, diabetes):
    theirs, ours = (
        validation_curve(one, *diabetes, param_name="alpha", param_range=[0.01, 10.0], cv=2)
        for one in regressors(backend)
    )
    np.testing.assert_allclose(ours[1], theirs[1], **near(backend))


# Pipelines ---------------------------------------------------------------------------------------


def test_pipeline_with_a_scaler(backend):
    x, y = load_iris(return_X_y=True)
    theirs, ours = (
        Pipeline([("scale", StandardScaler()), ("mlp", one)]).fit(x, y)
        for one in classifiers(backend)
    )
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), **near(backend))
    assert ours.n_features_in_ == 4
    assert ours.set_params(mlp__alpha=0.5)["mlp"].alpha == 0.5
    html = ours._repr_html_()
    assert "MLPClassifier" in html


def test_pipeline_in_a_search_with_weights_of_samples(backend, iris):
    weights = np.linspace(0.5, 2.0, len(iris[0]))
    found = [
        GridSearchCV(make_pipeline(StandardScaler(), one), {f"{name}__alpha": [1e-4, 1.0]}, cv=2)
        .fit(*iris, **{f"{name}__sample_weight": weights})
        .cv_results_["mean_test_score"]
        for one in classifiers(backend)
        for name in [type(one).__name__.lower()]
    ]
    np.testing.assert_allclose(found[1], found[0], **near(backend))


def test_columns_of_a_table(backend):
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "size": rng.standard_normal(80) * 30,
            "weight": rng.standard_normal(80),
            "colour": rng.choice(["red", "blue", "green"], 80).tolist(),
        }
    )
    y = np.where(table["colour"].to_numpy() == "red", "yes", "no")
    found = []
    for one in classifiers(backend, max_iter=30):
        columns = ColumnTransformer(
            [
                ("numbers", StandardScaler(), ["size", "weight"]),
                ("text", OneHotEncoder(), ["colour"]),
            ]
        )
        pipeline = make_pipeline(columns, one).fit(table, y)
        found.append(pipeline.predict_proba(table))
        assert pipeline.score(table, y) > 0.9
    np.testing.assert_allclose(found[1], found[0], **near(backend))


def test_sparse_columns_of_a_table(backend):
    rng = np.random.default_rng(0)
    words = pl.DataFrame({"word": rng.choice(list("abcdefghij"), 80).tolist()})
    y = np.isin(words["word"].to_numpy(), ["a", "b", "c"])
    found = [
        make_pipeline(OneHotEncoder(sparse_output=True), one).fit(words, y).predict_proba(words)
        for one in classifiers(backend)
    ]
    np.testing.assert_allclose(found[1], found[0], **near(backend))


def test_transformed_targets(backend, diabetes):
    x, y = diabetes
    theirs, ours = (
        TransformedTargetRegressor(one, transformer=StandardScaler()).fit(x, 100 * y).predict(x)
        for one in regressors(backend)
    )
    np.testing.assert_allclose(ours / 100, theirs / 100, **near(backend))


# Ensembles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibrated_classifier(backend, cancer, method):
    theirs, ours = (
        CalibratedClassifierCV(one, method=method, cv=2).fit(*cancer).predict_proba(cancer[0])
        for one in classifiers(backend)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=near(backend)["atol"] + 1e-5)


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_voting_classifier(backend, iris, voting):
    found = []
    for one in classifiers(backend):
        forest = RandomForestClassifier(5, random_state=0)
        ensemble = VotingClassifier([("mlp", one), ("forest", forest)], voting=voting).fit(*iris)
        found.append(ensemble.predict(iris[0]).tolist())
    assert found[0] == found[1]


def test_stacking_classifier(backend, iris):
    _, ours = classifiers(backend)
    forest = RandomForestClassifier(5, random_state=0)
    stack = StackingClassifier([("forest", forest)], final_estimator=ours, cv=2).fit(*iris)
    assert stack.score(*iris) > 0.8
    assert (
        StackingClassifier([("mlp", ours), ("forest", forest)], cv=2).fit(*iris).score(*iris) > 0.8
    )


def test_bagging_regressor(backend, diabetes):
    theirs, ours = (
        BaggingRegressor(one, n_estimators=3, random_state=0).fit(*diabetes).predict(diabetes[0])
        for one in regressors(backend)
    )
    np.testing.assert_allclose(ours, theirs, **near(backend))


def test_one_network_for_each_class(backend, iris):
    theirs, ours = (
        OneVsRestClassifier(one).fit(*iris).predict_proba(iris[0]) for one in classifiers(backend)
    )
    np.testing.assert_allclose(ours, theirs, **near(backend))


def test_one_network_for_each_output(backend, diabetes):
    x, y = diabetes
    theirs, ours = (
        MultiOutputRegressor(one).fit(x, np.stack([y, -y], axis=1)).predict(x)
        for one in regressors(backend)
    )
    np.testing.assert_allclose(ours, theirs, **near(backend))


# Inspection --------------------------------------------------------------------------------------


def test_permutation_importance(backend, iris):
    theirs, ours = (
        permutation_importance(one.fit(*iris), *iris, n_repeats=2, random_state=0)
        for one in classifiers(backend)
    )
    np.testing.assert_allclose(ours.importances, theirs.importances, **near(backend))


def test_partial_dependence(backend, diabetes):
    theirs, ours = (
        partial_dependence(one.fit(*diabetes), diabetes[0], [0], grid_resolution=4)["average"]
        for one in regressors(backend)
    )
    np.testing.assert_allclose(ours, theirs, **near(backend))


@pytest.mark.usefixtures("float64")
def test_selection_of_features(backend, iris):
    theirs, ours = (
        SequentialFeatureSelector(one, n_features_to_select=1, cv=2).fit(*iris).get_support()
        for one in classifiers(backend, max_iter=3)
    )
    assert ours.tolist() == theirs.tolist()


# Arrays of the backend ---------------------------------------------------------------------------


def test_clones_of_a_search_share_nothing(backend, iris):
    _, ours = classifiers(backend, max_iter=2)
    first = clone(ours).fit(*iris)
    before = [np.array(one) for one in first.coefs_]
    clone(first).set_params(random_state=5).fit(*iris)
    assert all(np.array_equal(a, b) for a, b in zip(before, first.coefs_))


# Classes of the user's ---------------------------------------------------------------------------


class Narrow(MLPClassifier):
    """A subclass with fewer parameters."""

    def __init__(self, hidden_layer_sizes=(4,)):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=5, random_state=0)


class Named(MLPRegressor):
    """A subclass with a parameter of its own."""

    def __init__(self, title="none", hidden_layer_sizes=(4,)):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=5, random_state=0)
        self.title = title


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (Narrow, {"hidden_layer_sizes": (3,)}),
        (Named, {"hidden_layer_sizes": (3,), "title": "mine"}),
    ],
)
def test_a_subclass_has_its_own_parameters(kind, parameters, iris, tmp_path):
    x, y = iris
    ours = kind(**parameters)
    assert ours.get_params() == clone(ours).get_params() == parameters
    fitted = clone(ours).fit(x, y)
    plain = kind.__base__(hidden_layer_sizes=(3,), max_iter=5, random_state=0).fit(x, y)
    np.testing.assert_array_equal(fitted.predict(x), plain.predict(x))
    fitted.save(tmp_path / "one.safetensors")
    loaded = kind.load(tmp_path / "one.safetensors")
    assert (loaded.get_params(), loaded.max_iter) == (parameters, 5)
    np.testing.assert_array_equal(loaded.predict(x), plain.predict(x))
    with pytest.raises(CheckpointError, match=f"holds a {kind.__name__}: .* {kind.__name__}.load"):
        kind.__base__.load(tmp_path / "one.safetensors")

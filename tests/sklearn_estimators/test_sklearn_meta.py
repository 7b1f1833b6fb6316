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
from sklearn.ensemble import (
    BaggingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.inspection import partial_dependence
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn_cases import load_problem, make_pair

import anyback_nn as nn
from anyback_nn.errors import CheckpointError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

FOLDS = {"cv": 2}
CURVE = {**FOLDS, "shuffle": True, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    x, y = load_problem("classes")
    return x[::2], y[::2]


def load(name):
    """A few rows of a problem."""
    x, y = load_problem(name)
    return (x[::2], y[::2]) if name == "classes" else (x[:90, :6], y[:90])


def build_pair(backend, name="classes", **settings):
    """Both estimators, ours on the backend, in the precision of comparisons with scikit-learn."""
    quick = {"hidden_layer_sizes": (6,), "max_iter": 8, "learning_rate_init": 0.05}
    theirs, ours = make_pair(name, **quick | {"random_state": 0} | settings)
    dtype = "float64" if backend.supports("float64") else "float32"
    return theirs, ours.set_params(backend=backend, dtype=dtype)


def assert_near(actual, expected, backend, accuracy=1e-9):
    if not backend.supports("float64"):
        accuracy = 0.05
    np.testing.assert_allclose(actual, expected, rtol=accuracy * 100, atol=accuracy)


def search(mlp, x, y, kind=GridSearchCV, grid=None, **options):
    """The scores of a search, and the place of the best parameters."""
    fitted = kind(mlp, grid or {"alpha": [1e-4, 1.0]}, **FOLDS, **options).fit(x, y)
    return [*fitted.cv_results_["mean_test_score"], fitted.best_index_, fitted.score(x, y)]


def search_in_a_pipeline(mlp, x, y):
    pipeline, name = make_pipeline(StandardScaler(), mlp), type(mlp).__name__.lower()
    weights = {f"{name}__sample_weight": np.linspace(0.5, 2.0, len(x))}
    fitted = GridSearchCV(pipeline, {f"{name}__alpha": [1e-4, 1.0]}, **FOLDS).fit(x, y, **weights)
    return fitted.cv_results_["mean_test_score"]


def validate_by_several(mlp, x, y):
    names = ["accuracy", "roc_auc", "neg_log_loss", "neg_brier_score"]
    scores = cross_validate(mlp, x, y, **FOLDS, scoring=names)
    return [scores[f"test_{name}"] for name in names]


def classify_columns(mlp, x, y):
    """Numbers and strings of a table."""
    colours = np.random.default_rng(0).choice(["red", "blue", "green"], len(x))
    table = pl.DataFrame({"size": 30 * x[:, 0], "weight": x[:, 1], "colour": colours.tolist()})
    encode = ColumnTransformer(
        [("numbers", StandardScaler(), ["size", "weight"]), ("names", OneHotEncoder(), ["colour"])]
    )
    pipeline = make_pipeline(encode, mlp).fit(table, np.where(colours == "red", "yes", "no"))
    return pipeline.predict_proba(table)


def classify_sparse(mlp, x, y):
    words = pl.DataFrame({"word": np.random.default_rng(0).choice([*"abcdefgh"], len(x)).tolist()})
    targets = np.isin(words["word"].to_numpy(), ["a", "b", "c"])
    return make_pipeline(OneHotEncoder(), mlp).fit(words, targets).predict_proba(words)


def vote(mlp, x, y):
    members = [("mlp", mlp), ("forest", RandomForestClassifier(5, random_state=0))]
    return VotingClassifier(members, voting="soft").fit(x, y).predict(x)


def stack(mlp, x, y):
    forest = RandomForestClassifier(5, random_state=0)
    return StackingClassifier([("forest", forest)], mlp, **FOLDS).fit(x, y).predict_proba(x)


def cross_predict(method):
    return lambda mlp, x, y: cross_val_predict(mlp, x, y, **FOLDS, method=method)


TOOLS = {
    "several scorers": ("binary", validate_by_several),
    **{
        f"cross_val_predict-{method}": ("classes", cross_predict(method))
        for method in ("predict", "predict_proba", "predict_log_proba")
    },
    "cross_val_predict of values": ("values", cross_predict("predict")),
    "grid search": (
        "classes",
        lambda mlp, x, y: search(
            mlp, x, y, grid={"alpha": [1e-4, 1.0], "solver": ["adam", "lbfgs"]}
        ),
    ),
    "randomized search": (
        "binary",
        lambda mlp, x, y: search(
            mlp, x, y, RandomizedSearchCV, n_iter=2, scoring="neg_log_loss", random_state=0
        ),
    ),
    "search in a pipeline": ("classes", search_in_a_pipeline),
    "learning_curve": (
        "classes",
        lambda mlp, x, y: learning_curve(mlp, x, y, train_sizes=[0.5, 1.0], **CURVE)[2],
    ),
    "learning_curve by partial_fit": (
        "classes",
        lambda mlp, x, y: learning_curve(
            mlp, x, y, train_sizes=[20, 30], **CURVE, exploit_incremental_learning=True
        )[2],
    ),
    "columns of a table": ("binary", classify_columns),
    "sparse columns of a table": ("binary", classify_sparse),
    "transformed targets": (
        "values",
        lambda mlp, x, y: (
            TransformedTargetRegressor(mlp, transformer=StandardScaler()).fit(x, 100 * y).predict(x)
            / 100
        ),
    ),
    "calibration": (
        "binary",
        lambda mlp, x, y: CalibratedClassifierCV(mlp, **FOLDS).fit(x, y).predict_proba(x),
    ),
    "voting": ("classes", vote),
    "stacking": ("classes", stack),
    "bagging": (
        "values",
        lambda mlp, x, y: BaggingRegressor(mlp, 3, random_state=0).fit(x, y).predict(x),
    ),
    "one for each class": (
        "classes",
        lambda mlp, x, y: OneVsRestClassifier(mlp).fit(x, y).predict_proba(x),
    ),
    "partial_dependence": (
        "values",
        lambda mlp, x, y: partial_dependence(mlp.fit(x, y), x, [0], grid_resolution=4)["average"],
    ),
}
"""The problem that a tool is run on, and what comes out."""


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_gives_what_it_gives_with_theirs(backend, name):
    problem, run = TOOLS[name]
    theirs, ours = (run(mlp, *load(problem)) for mlp in build_pair(backend, problem))
    assert_near(ours, theirs, backend, 1e-5 if name == "calibration" else 1e-9)


def test_jobs_in_other_processes(backend, iris):
    # The estimators, with their backend, are sent to the processes and back.
    theirs, ours = build_pair(backend, max_iter=2)
    result = cross_validate(ours, *iris, cv=2, n_jobs=2, return_estimator=True)
    assert_near(result["test_score"], cross_val_score(theirs, *iris, cv=2), backend)
    for mlp in result["estimator"]:
        assert mlp.model_.backend.spec == backend.spec
        assert mlp.predict(iris[0]).shape == iris[1].shape


def test_grid_search_over_our_own_parameters(backend, iris):
    deep = [nn.Dense(6), nn.LayerNorm(), nn.ReLU(), nn.Residual(nn.Dense(6), nn.Tanh())]
    grid = [
        {"dropout": [0.2], "batch_norm": [True, False]},
        {"optimizer": [nn.Momentum(0.1)], "class_weight": ["balanced"]},
        {"schedule": [nn.CosineDecay(0.05, epochs=8)], "average_weights": [0.9]},
        {"clip_norm": [1.0], "label_smoothing": [0.1], "activation": [nn.ELU()]},
        {"layers": [[nn.Dense(5), nn.SiLU(), nn.Dense(3)], [*deep, nn.Dense(3)]]},
    ]
    fitted = GridSearchCV(build_pair(backend)[1], grid, cv=2, error_score="raise").fit(*iris)
    assert np.all(fitted.cv_results_["mean_test_score"] > 0.5)
    assert len(fitted.cv_results_["params"]) == 7
    assert isinstance(fitted.best_estimator_, MLPClassifier)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_search_continues_where_a_fit_fails(iris):
    fitted = GridSearchCV(MLPClassifier(max_iter=8), {"alpha": [1e-3, -1.0]}, cv=2)
    with pytest.warns(match="The 'alpha' parameter of MLPClassifier must be"):
        fitted.fit(*iris)
    assert np.isnan(fitted.cv_results_["mean_test_score"][1])
    assert fitted.best_params_ == {"alpha": 1e-3}


def test_fit_leaves_the_layers_that_it_is_given_as_they_were(backend, iris):
    _, ours = build_pair(backend, max_iter=2)
    layers = [nn.Dense(6), nn.Residual(nn.Dense(6), nn.Tanh()), nn.Dense(3)]
    before = copy.deepcopy(layers)
    ours.set_params(layers=layers).fit(*iris)
    assert ours.layers is layers
    assert layers == before


def test_clones_of_a_search_share_nothing(backend, iris):
    _, ours = build_pair(backend, max_iter=2)
    first = clone(ours).fit(*iris)
    before = [np.array(array) for array in first.coefs_]
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

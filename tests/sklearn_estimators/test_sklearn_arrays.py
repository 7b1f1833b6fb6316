"""Estimators and arrays of any library: what goes in, where it is computed, what comes back.

Whatever the library, the numbers are those of NumPy, and results are where the input was.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from array_api_compat import device
from sklearn_cases import REGRESSIONS, build, predictions

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import ENVIRONMENT_VARIABLE, select
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.sklearn import from_sklearn

make = partial(build, hidden_layer_sizes=(4,))
classifier = partial(make, "classes")

# Every library computes sums in an order of its own.
ACCURACY = {"float32": 1e-4, "float64": 1e-9}

OTHERS = [
    spec
    for spec, module in {
        "numpy": "numpy",
        "torch": "torch",
        "array-api-strict:device1": "array_api_strict",
    }.items()
    if find_spec(module)
]


@pytest.fixture
def there(backend, finest, iris):
    """The inputs as an array of the backend."""
    return backend.asarray(iris[0], finest)


def assert_there(array, backend, dtype=None):
    """Assert that an array is of the backend's library, on its device."""
    assert backend.owns(array)
    assert device(array) == backend.device
    if dtype is not None:
        assert array.dtype == getattr(backend.xp, dtype)


def place_of(backend):
    """The library and the device: an array on ``cuda`` says that it is on ``cuda:0``."""
    return backend.name, backend.device


def assert_close(actual, expected, dtype="float64"):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=0, atol=ACCURACY[dtype])


def results(estimator, x):
    return [*predictions(estimator, x), *estimator.coefs_, *estimator.intercepts_]


# The kind of the results -------------------------------------------------------------------------

TARGETS = {
    "classes": lambda x, y: y,
    "two": lambda x, y: (y > 0).astype(int),
    "labels": lambda x, y: (x[:, :2] > 0).astype(int),
    "one class": lambda x, y: np.full(len(x), 5),
    "any numbers": lambda x, y: np.asarray([-7, 2, 300])[y],
    "values": lambda x, y: x[:, 0] * x[:, 1],
    "outputs": lambda x, y: x[:, 1:] * x[:, :1],
}


@pytest.mark.parametrize("name", TARGETS)
def test_results_are_where_the_input_is(backend, dtype, name, iris):
    x, y = backend.asarray(iris[0], dtype), TARGETS[name](*iris)
    copies = to_numpy(x).copy(), y.copy()
    # Targets of values are of the dtype of the inputs.
    there = backend.asarray(y, dtype if name in REGRESSIONS else None)
    ours = make(name).fit(x, there)
    assert place_of(ours.model_.backend) == place_of(backend)
    predicted, *probabilities = predictions(ours, x)
    for array in (*probabilities, *ours.coefs_, *ours.intercepts_):
        assert_there(array, backend, dtype)
    assert_there(predicted, backend, dtype if name in REGRESSIONS else None)
    assert predicted.shape == y.shape
    if name not in REGRESSIONS:
        assert backend.xp.isdtype(predicted.dtype, "integral")
        assert set(to_numpy(predicted).flat) <= set(y.flat)
        assert isinstance(ours.classes_, np.ndarray)
    # Nothing is written to what was passed in.
    ours.set_params(solver="lbfgs").fit(x, there)
    assert np.array_equal(to_numpy(x), copies[0])
    assert np.array_equal(to_numpy(there), copies[1].astype(to_numpy(there).dtype))


def test_names_of_classes_are_on_the_host(backend, there, iris):
    # No other library has strings.
    names = np.asarray(["setosa", "versicolor", "virginica"])[iris[1]]
    ours = classifier(max_iter=30).fit(there, names)
    assert isinstance(ours.predict(there), np.ndarray)
    assert ours.predict(there).dtype == names.dtype
    assert_there(ours.predict_proba(there), backend)
    numbered = classifier(max_iter=30).fit(there, iris[1])
    expected = ours.classes_[to_numpy(numbered.predict(there))]
    np.testing.assert_array_equal(ours.predict(there), expected)
    assert ours.score(there, names) == numbered.score(there, iris[1])


# The same numbers --------------------------------------------------------------------------------

SETTINGS = {
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive", "early_stopping": True},
    "layers": {"layers": [nn.Dense(5), nn.LayerNorm(), nn.GELU(), nn.Dense(3)]},
    "noise": {"dropout": 0.3, "batch_norm": True, "activation": "silu"},
    "averages": {"average_weights": 0.9, "clip_norm": 0.5, "optimizer": "adamw"},
    "smoothing": {"label_smoothing": 0.1, "l2_per_sample": 0.1, "class_weight": "balanced"},
    "schedule": {"schedule": nn.CosineDecay(0.1, 3), "optimizer": "momentum"},
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in TARGETS), *(("classes", settings) for settings in SETTINGS.values())],
    ids=[*TARGETS, *SETTINGS],
)
def test_the_same_numbers_as_numpy(backend, name, settings, iris, float64):
    x, y = iris[0], TARGETS[name](*iris)
    there, y_there = backend.asarray(x, float64), backend.asarray(y)
    held, held_there = (x[:10], y[:10]), (there[:10, :], y_there[:10, ...])
    expected = make(name, backend="numpy", validation_data=held, **settings).fit(x, y)
    for given in (y, y_there):
        ours = make(name, validation_data=held_there, **settings).fit(there, given)
        for array, other in zip(results(ours, there), results(expected, x), strict=True):
            assert_close(array, other)
        np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=1e-9)
        np.testing.assert_allclose(ours.validation_curve_, expected.validation_curve_, rtol=1e-9)


def test_training_resumes_with_the_same_numbers(backend, iris, float64):
    x, y = iris
    there = backend.asarray(x, float64)
    expected, ours = classifier(backend="numpy"), classifier()
    for mlp, inputs in ((expected, x), (ours, there)):
        mlp.partial_fit(inputs[:20, :], y[:20], classes=[0, 1, 2])
        mlp.partial_fit(inputs[20:, :], y[20:])
        mlp.set_params(warm_start=True).fit(inputs, y)
    assert_close(ours.predict_proba(there), expected.predict_proba(x))


# Arrays of several libraries ---------------------------------------------------------------------


@pytest.mark.parametrize("spec", OTHERS)
def test_targets_and_weights_of_another_library(there, spec, iris):
    y, other = iris[1], select(spec)
    w = np.linspace(0.5, 2.0, 60).astype("float32")
    expected = classifier().fit(there, y, sample_weight=w)
    ours = classifier().fit(there, other.asarray(y), sample_weight=other.asarray(w))
    np.testing.assert_array_equal(
        to_numpy(ours.predict_proba(there)), to_numpy(expected.predict_proba(there))
    )
    score = ours.score(there, other.asarray(y), sample_weight=other.asarray(w))
    assert isinstance(score, float)
    assert score == expected.score(there, y, sample_weight=w)


@pytest.mark.parametrize("spec", OTHERS)
def test_predictions_are_where_their_input_is(backend, there, finest, spec, iris):
    other, x = select(spec), iris[0].astype("float32")
    ours = classifier().fit(there, iris[1])
    elsewhere = other.asarray(x)
    for predicted in (ours.predict(elsewhere), ours.predict_proba(elsewhere)):
        assert_there(predicted, other)
    # What it was fitted on stays where it was.
    assert_there(ours.coefs_[0], backend)
    expected = to_numpy(ours.predict_proba(backend.asarray(x, finest)))
    assert_close(ours.predict_proba(elsewhere), expected, "float32")


def test_numpy_in_numpy_out(backend, iris, float64):
    x, y = iris
    expected = results(classifier(backend="numpy").fit(x, y), x)
    for given in (backend.spec, backend):
        ours = classifier(backend=given).fit(x, y)
        assert ours.model_.backend == backend
        assert ours.predict(x).flags.writeable
        assert ours.predict_proba(x).flags.writeable
        for array, other in zip(results(ours, x), expected, strict=True):
            assert isinstance(array, np.ndarray)
            assert array.dtype == other.dtype
            assert_close(array, other)


def test_the_backend_comes_before_that_of_the_input(backend, there, iris):
    ours = classifier(backend="numpy").fit(there, iris[1])
    assert ours.model_.backend == select("numpy")
    assert_there(ours.predict_proba(there), backend)
    assert_there(ours.predict(there), backend)


def test_sparse_matrices_and_tables_are_computed_there(backend, finest, iris):
    x, y = np.where(iris[0] > 0, iris[0], 0.0), iris[1]
    make_ours = partial(classifier, backend=backend, dtype=finest)
    expected = make_ours().fit(x, y).predict_proba(x)
    for given in (sp.csr_matrix(x), sp.csc_array(x), pl.DataFrame(x, list("abcd"))):
        ours = make_ours().fit(given, y)
        assert ours.model_.backend == backend
        assert isinstance(ours.predict(given), np.ndarray)
        assert_close(ours.predict_proba(given), expected, finest)
    # An array has no names of features.
    assert not hasattr(ours.fit(backend.asarray(x, finest), y), "feature_names_in_")


def test_nothing_that_is_written_to_coefs_is_lost(backend, finest, iris):
    # It changes the model, as in scikit-learn, or it is refused.
    x, y = iris
    ours = classifier(backend=backend, dtype=finest).fit(x, y)
    before = ours.predict_proba(x)
    try:
        ours.coefs_[-1][...] = 0.0
    except ValueError as error:
        assert "read-only" in str(error)  # noqa: PT017 - both are right
        np.testing.assert_array_equal(ours.predict_proba(x), before)
    else:
        assert np.ptp(ours.predict_proba(x), axis=0).max() < 1e-6
    ours.coefs_[-1] = np.zeros((4, 3))
    assert np.ptp(ours.predict_proba(x), axis=0).max() < 1e-6


def test_coefs_can_be_set_from_any_library(backend, there, finest, iris):
    ours = classifier().fit(there, iris[1])
    before = to_numpy(ours.predict_proba(there))
    ours.coefs_ = [2.0 * to_numpy(array) for array in ours.coefs_]
    assert_there(ours.coefs_[0], backend, finest)
    assert np.abs(to_numpy(ours.predict_proba(there)) - before).max() > 1e-3
    ours.coefs_ = [0.5 * array for array in ours.coefs_]
    assert_close(ours.predict_proba(there), before, finest)


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_what_does_not_fit_the_network_is_not_set(there, name, iris):
    ours = classifier().fit(there, iris[1])
    before = to_numpy(ours.predict_proba(there))
    given = [to_numpy(array) for array in getattr(ours, name)]
    shapes = re.escape(str([array.shape for array in given]))
    for wrong in (given[:1], [*given, given[0]], [np.ones((5, 4)), given[1]]):
        with pytest.raises(ShapeError, match=f"{name}: expected arrays of shapes {shapes}, got"):
            setattr(ours, name, wrong)
        np.testing.assert_array_equal(to_numpy(ours.predict_proba(there)), before)
    with pytest.raises(AttributeError, match="has not been fitted yet: call fit first"):
        setattr(classifier(), name, given)


@pytest.mark.needs("torch")
def test_tensors_that_are_sparse_or_have_a_gradient(iris):
    import torch

    x = torch.tensor(iris[0], requires_grad=True)
    ours = classifier().fit(x, iris[1])
    assert not ours.predict_proba(x).requires_grad
    assert x.grad is None
    for call in (ours.predict, lambda wrong: ours.fit(wrong, iris[1])):
        with pytest.raises(DataError, match=r"expected a dense array, .*: pass X\.to_dense\(\)"):
            call(x.detach().to_sparse())


def test_weights_of_held_out_rows_are_in_the_dtype_of_the_model(backend, iris):
    x, weights = backend.asarray(iris[0], "float32"), np.linspace(0.5, 1.5, len(iris[1]))
    ours = classifier(early_stopping=True).fit(x, iris[1], sample_weight=weights)
    assert_there(ours.predict_proba(x), backend, "float32")
    assert np.all(np.isfinite(ours.validation_curve_))


def test_the_metric_gets_what_it_can_use(backend, there, iris):
    rows = {tuple(row): label for row, label in zip(to_numpy(there), iris[1], strict=True)}
    seen = []

    def metric(estimator, x_held, y_held):
        assert [rows[tuple(row)] for row in to_numpy(x_held)] == to_numpy(y_held).tolist()
        seen.append((x_held, estimator.predict_proba(x_held)))
        return float(np.mean(to_numpy(estimator.predict(x_held)) == to_numpy(y_held)))

    ours = classifier(early_stopping=True, early_stopping_metric=metric)
    ours.fit(there, backend.asarray(iris[1]))
    assert len(seen) == ours.n_iter_
    for held, probabilities in seen:
        assert type(probabilities) is type(held)
        assert held.shape == (6, 4)


@pytest.mark.parametrize("metric", ["accuracy", "neg_log_loss"])
def test_metrics_of_scikit_learn(there, metric, iris):
    y = iris[1]
    ours = classifier(early_stopping_metric=metric, validation_data=(there, y)).fit(there, y)
    expected = {"accuracy": ours.score(there, y), "neg_log_loss": -ours.validation_curve_[-1]}
    assert ours.validation_scores_[-1] == pytest.approx(expected[metric], rel=1e-5)


def test_copies_stay_on_the_library(backend, there, iris):
    y = iris[1]
    settings = {"early_stopping": True, "average_weights": 0.5, "validation_data": (there, y)}
    ours = classifier(**settings).fit(there, y).set_params(validation_data=None)
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.model_.backend == ours.model_.backend
    assert_there(copy.coefs_[0], backend)
    for _ in range(2):
        predicted, expected = (to_numpy(mlp.predict_proba(there)) for mlp in (copy, ours))
        np.testing.assert_array_equal(predicted, expected)
        for mlp in (ours, copy):
            mlp.set_params(early_stopping=False).partial_fit(there, y)


def test_theirs_on_any_backend(backend, iris, float64):
    x, y = iris
    theirs = classifier(theirs=True).fit(x, y)
    ours = from_sklearn(theirs, backend=backend)
    assert ours.model_.backend == backend
    assert_close(ours.predict_proba(x), theirs.predict_proba(x))
    assert_close(ours.predict_proba(backend.asarray(x, float64)), theirs.predict_proba(x))


# Dtypes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["float32", "float64"])
def test_the_dtype_is_that_of_the_input_of_fit(backend, dtype, other, iris):
    ours = classifier(backend=backend).fit(iris[0].astype(dtype), iris[1])
    assert ours.model_.dtype == ours.coefs_[0].dtype == dtype
    assert ours.predict_proba(iris[0].astype(other)).dtype == dtype


@pytest.mark.parametrize("given", ["int32", "uint8", "bool"])
def test_integers_are_computed_in_the_usual_dtype(backend, given, iris):
    x = backend.asarray((iris[0] > 0).astype(given))
    ours = classifier().fit(x, iris[1])
    # As scikit-learn does on the host; elsewhere float64 is slow, or not there.
    assert ours.model_.dtype == ("float64" if backend.name == "numpy" else "float32")
    assert_there(ours.predict_proba(x), backend)


# Which backend -----------------------------------------------------------------------------------


def test_the_environment_names_the_backend_of_numpy_input(backend, iris, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.spec)
    x, y = iris[0].astype("float32"), iris[1]
    for given in (x, x.tolist(), sp.csr_matrix(x)):
        ours = classifier(max_iter=1).fit(given, y)
        assert ours.model_.backend == backend
        assert isinstance(ours.predict_proba(given), np.ndarray)
    assert classifier(max_iter=1, backend="numpy").fit(x, y).model_.backend == select("numpy")


def test_other_input_comes_before_the_environment(backend, there, iris, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "array-api-strict:device2")
    selected = classifier(max_iter=1).fit(there, iris[1]).model_.backend
    expected = backend if backend.name != "numpy" else select("array-api-strict:device2")
    assert place_of(selected) == place_of(expected)


def test_an_unavailable_backend_in_the_environment_is_named(iris, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "tensorflow")
    with pytest.raises(ValueError, match=f"'tensorflow'.* variable {ENVIRONMENT_VARIABLE}"):
        classifier().fit(*iris)


# What is compiled --------------------------------------------------------------------------------


def test_other_strengths_of_the_penalty_compile_nothing_again(backend, there, iris, monkeypatch):
    make_ours = partial(classifier, hidden_layer_sizes=(3, 2))
    losses = [make_ours(alpha=1.0, l2_per_sample=0.1).fit(there, iris[1]).loss_]
    compiled = []
    build_step = type(backend).jit

    def counted(self, step, donate=(), *, replay=False):
        # What is replayed is traced for each estimator by itself.
        compiled.extend([] if replay and not backend.compiles else [step])
        return build_step(self, step, donate, replay=replay)

    monkeypatch.setattr(type(backend), "jit", counted)
    for strength in (0.1, 0.9):
        losses.append(make_ours(alpha=5.0, l2_per_sample=strength).fit(there, iris[1]).loss_)
        assert not compiled
    assert losses == sorted(losses)
    assert losses[2] - losses[1] > 1e-2


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda x: x[:, 0], (ShapeError, ValueError), r"Expected 2D|\(n_samples, n_features\)"),
        (lambda x: x[:59, :], ValueError, r"inconsistent numbers of samples: \[59, 60\]"),
        (lambda x: (x - x) / (x - x), (DataError, ValueError), r"NaN|infinite|finite"),
    ],
    ids=["one axis", "other lengths", "not finite"],
)
def test_wrong_inputs(there, change, kind, text, iris):
    with np.errstate(all="ignore"):
        wrong = change(there)
    with pytest.raises(kind, match=text):
        classifier().fit(wrong, iris[1])


def test_wrong_inputs_of_prediction(there, iris):
    ours = classifier().fit(there, iris[1])
    text = "X has 3 features, but MLPClassifier is expecting 4 features as input"
    for method in (ours.predict, ours.predict_proba, ours.predict_log_proba):
        with pytest.raises(ValueError, match=text):
            method(there[:, :3])


# scikit-learn's own dispatch ---------------------------------------------------------------------

DISPATCH = r"""
import warnings

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyback_nn.sklearn import MLPClassifier, MLPRegressor

warnings.simplefilter("error")
warnings.simplefilter("ignore", ConvergenceWarning)
x, y = load_iris(return_X_y=True)
there, labels = torch.from_numpy(x), torch.from_numpy(y)
expected = make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, random_state=0)).fit(x, y)
with config_context(array_api_dispatch=True):
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, random_state=0))
    pipeline.fit(there, labels)
    assert pipeline[-1].model_.backend.name == "torch"
    np.testing.assert_allclose(
        pipeline.predict_proba(there).numpy(), expected.predict_proba(x), atol=1e-9
    )
    assert float(pipeline.score(there, labels)) == expected.score(x, y)
    for metric in ("accuracy", "roc_auc_ovr", "neg_log_loss"):
        scores = []
        for settings in (
            {"early_stopping": True},
            {"validation_data": (there, labels)},
            {"validation_data": (x, y)},
        ):
            stopped = MLPClassifier(max_iter=3, early_stopping_metric=metric, random_state=0)
            stopped.set_params(**settings).fit(there, labels)
            scores.append(stopped.validation_scores_)
            assert len(scores[-1]) == 3
        assert scores[1] == scores[2]
    values = MLPRegressor(max_iter=5).fit(there, there[:, 0])
    float(values.score(there, there[:, 0]))
    text = r"^Inputs passed to MLPClassifier\.predict\(\) must use the same .*'numpy'.*'torch'"
    with pytest.raises(ValueError, match=text):
        pipeline[-1].predict(x)
# Without the dispatch it is moved.
assert isinstance(pipeline[-1].predict(x), np.ndarray)
print("done")
"""


@pytest.mark.needs("torch")
def test_dispatch_in_a_pipeline():
    # SciPy looks at this variable when it is imported.
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    environment.pop(ENVIRONMENT_VARIABLE, None)
    command = [sys.executable, "-c", DISPATCH]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout.strip(), done.stderr) == ("done", "")

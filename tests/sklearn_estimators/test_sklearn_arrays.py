"""Estimators and arrays of any library: what goes in, where it is computed, what comes back.

Whatever the library, the numbers are those of NumPy, and results lie where the input lay.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import scipy.sparse as sp
from array_api_compat import device
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.preprocessing import scale

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import ENVIRONMENT_VARIABLE, select
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor, from_sklearn

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, "batch_size": 20}
# Every library computes sums in an order of its own.
ACCURACY = {"float32": 1e-4, "float64": 1e-9}
OTHERS = [
    spec
    for spec, module in {"torch": "torch", "array-api-strict:device1": "array_api_strict"}.items()
    if find_spec(module)
]


@pytest.fixture(scope="module")
def flowers():
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:40]
    return scale(x)[chosen], y[chosen]


@pytest.fixture(scope="module")
def patients():
    x, y = load_diabetes(return_X_y=True)
    return scale(x)[:40], scale(y)[:40]


def classifier(**settings):
    return MLPClassifier(**{**SMALL, **settings})


def regressor(**settings):
    return MLPRegressor(**{**SMALL, **settings})


def assert_there(array, backend, dtype=None):
    """Assert that an array is of the backend's library, on its device."""
    assert backend.owns(array)
    assert device(array) == backend.device
    if dtype is not None:
        assert array.dtype == getattr(backend.xp, dtype)


def assert_close(found, expected, dtype="float64"):
    np.testing.assert_allclose(to_numpy(found), expected, rtol=0, atol=ACCURACY[dtype])


# The kind of the results -------------------------------------------------------------------------


def test_a_classifier_stays_where_the_input_is(backend, dtype, flowers):
    x, y = backend.asarray(flowers[0], dtype), backend.asarray(flowers[1])
    ours = classifier().fit(x, y)
    assert ours.model_.backend == backend
    for array in (*ours.coefs_, *ours.intercepts_):
        assert_there(array, backend, dtype)
    assert_there(ours.predict_proba(x), backend, dtype)
    assert_there(ours.predict_log_proba(x), backend, dtype)
    assert_there(ours.predict(x), backend)
    assert backend.xp.isdtype(ours.predict(x).dtype, "integral")
    assert isinstance(ours.classes_, np.ndarray)


def test_a_regressor_stays_where_the_input_is(backend, dtype, patients):
    x, y = (backend.asarray(one, dtype) for one in patients)
    ours = regressor().fit(x, y)
    assert_there(ours.predict(x), backend, dtype)
    assert ours.predict(x).shape == (40,)
    assert_there(ours.coefs_[0], backend, dtype)


def test_labels_stay_where_the_input_is(backend, finest, flowers):
    x, labels = backend.asarray(flowers[0], finest), (flowers[0][:, :2] > 0).astype(int)
    ours = classifier().fit(x, backend.asarray(labels))
    for array in (ours.predict(x), ours.predict_proba(x), ours.predict_log_proba(x)):
        assert_there(array, backend)
        assert array.shape == (40, 2)
    assert set(np.unique(to_numpy(ours.predict(x)))) <= {0, 1}


def test_names_of_classes_are_on_the_host(backend, finest, flowers):
    # No other library has text.
    names = np.asarray(["setosa", "versicolor", "virginica"])[flowers[1]]
    x = backend.asarray(flowers[0], finest)
    ours = classifier(max_iter=30).fit(x, names)
    assert isinstance(ours.predict(x), np.ndarray)
    assert ours.predict(x).dtype == names.dtype
    assert_there(ours.predict_proba(x), backend)
    numbered = classifier(max_iter=30).fit(x, flowers[1])
    np.testing.assert_array_equal(ours.predict(x), ours.classes_[to_numpy(numbered.predict(x))])
    assert ours.score(x, names) == numbered.score(x, flowers[1])


def test_classes_are_any_numbers(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), np.asarray([-7, 2, 300])[flowers[1]]
    ours = classifier(max_iter=30, learning_rate_init=0.03)
    predicted = ours.fit(x, backend.asarray(y)).predict(x)
    assert_there(predicted, backend)
    assert set(to_numpy(predicted)) <= {-7, 2, 300}
    assert np.mean(to_numpy(predicted) == y) > 0.7


def test_one_class(backend, finest, flowers):
    x = backend.asarray(flowers[0], finest)
    ours = classifier().fit(x, np.full(40, 5))
    np.testing.assert_array_equal(to_numpy(ours.predict(x)), 5)
    assert_there(ours.predict_proba(x), backend)


# The same numbers --------------------------------------------------------------------------------

TARGETS = {
    "classes": lambda x, y: y,
    "two classes": lambda x, y: (y > 0).astype(int),
    "labels": lambda x, y: (x[:, :2] > 0).astype(int),
    "values": lambda x, y: x[:, 0] * x[:, 1],
    "outputs": lambda x, y: x[:, 1:] * x[:, :1],
}


def make(name, **settings):
    return (regressor if name in ("values", "outputs") else classifier)(**settings)


def results(estimator, x):
    found = [estimator.predict(x), *estimator.coefs_, *estimator.intercepts_]
    if hasattr(estimator, "classes_"):
        found += [estimator.predict_proba(x), estimator.predict_log_proba(x)]
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_numbers_as_numpy(backend, name, flowers, float64):
    x, y = flowers
    y = TARGETS[name](x, y)
    expected = make(name, backend="numpy").fit(x, y)
    there = backend.asarray(x, float64)
    for given in (y, backend.asarray(y)):
        ours = make(name).fit(there, given)
        for one, other in zip(results(ours, there), results(expected, x), strict=True):
            assert_close(one, other)
        np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=1e-10)


BEYOND = {
    "lbfgs": {"solver": "lbfgs", "max_iter": 5},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive", "early_stopping": True},
    "layers": {"layers": [nn.Dense(5), nn.LayerNorm(), nn.GELU(), nn.Dense(3)]},
    "noise": {"dropout": 0.3, "batch_norm": True, "activation": "silu"},
    "averages": {"average_weights": 0.9, "clip_norm": 0.5, "optimizer": "adamw"},
    "smoothing": {"label_smoothing": 0.1, "l2_per_sample": 0.1, "class_weight": "balanced"},
    "schedule": {"schedule": nn.CosineDecay(0.1, 3), "optimizer": "momentum"},
}


@pytest.mark.parametrize("name", BEYOND)
def test_the_same_numbers_as_numpy_beyond_scikit_learn(backend, name, flowers, float64):
    x, y = flowers
    held = (x[:10], y[:10])
    expected = classifier(backend="numpy", validation_data=held, **BEYOND[name]).fit(x, y)
    x_there = backend.asarray(x, float64)
    held_there = (backend.asarray(x[:10], float64), backend.asarray(y[:10]))
    ours = classifier(validation_data=held_there, **BEYOND[name])
    ours.fit(x_there, y)
    for one, other in zip(results(ours, x_there), results(expected, x), strict=True):
        assert_close(one, other)
    np.testing.assert_allclose(ours.loss_curve_, expected.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.validation_curve_, expected.validation_curve_, rtol=1e-9)


def test_training_goes_on_with_the_same_numbers(backend, flowers, float64):
    x, y = flowers
    there = backend.asarray(x, float64)
    pairs = [(classifier(backend="numpy"), x), (classifier(), there)]
    for one, inputs in pairs:
        one.partial_fit(inputs[:20, :], y[:20], classes=[0, 1, 2])
        one.partial_fit(inputs[20:, :], y[20:])
        one.set_params(warm_start=True).fit(inputs, y)
    (expected, _), (ours, _) = pairs
    assert_close(ours.predict_proba(there), expected.predict_proba(x))


# Arrays of several libraries ---------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["numpy", *OTHERS])
def test_targets_and_weights_of_another_library(backend, finest, spec, flowers):
    x, y = flowers
    other = select(spec)
    w = np.linspace(0.5, 2.0, 40).astype("float32")
    there = backend.asarray(x, finest)
    expected = classifier().fit(there, y, sample_weight=w)
    ours = classifier().fit(there, other.asarray(y), sample_weight=other.asarray(w))
    np.testing.assert_array_equal(
        to_numpy(ours.predict_proba(there)), to_numpy(expected.predict_proba(there))
    )
    score = ours.score(there, other.asarray(y), sample_weight=other.asarray(w))
    assert isinstance(score, float)
    assert score == expected.score(there, y, sample_weight=w)


@pytest.mark.parametrize("spec", ["numpy", *OTHERS])
def test_predictions_lie_where_their_input_lies(backend, finest, spec, flowers):
    x, y = flowers
    other = select(spec)
    ours = classifier().fit(backend.asarray(x, finest), y)
    elsewhere = other.asarray(x.astype("float32"))
    for found in (ours.predict(elsewhere), ours.predict_proba(elsewhere)):
        assert_there(found, other)
    # What it was fitted on stays where it was.
    assert_there(ours.coefs_[0], backend)
    expected = to_numpy(ours.predict_proba(backend.asarray(x.astype("float32"), finest)))
    assert_close(ours.predict_proba(elsewhere), expected, "float32")


def test_numpy_in_numpy_out(backend, flowers, float64):
    x, y = flowers
    ours = classifier(backend=backend.spec).fit(x, y)
    assert ours.model_.backend == backend
    expected = classifier(backend="numpy").fit(x, y)
    assert ours.predict(x).flags.writeable
    assert ours.predict_proba(x).flags.writeable
    for one, other in zip(results(ours, x), results(expected, x), strict=True):
        assert isinstance(one, np.ndarray)
        assert one.dtype == other.dtype
        assert_close(one, other)


def test_a_backend_as_an_object(backend, finest, flowers):
    x, y = flowers
    ours = classifier(backend=backend, dtype=finest).fit(x, y)
    assert ours.model_.backend is backend
    assert isinstance(ours.predict_proba(x), np.ndarray)


def test_the_backend_comes_before_that_of_the_input(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    ours = classifier(backend="numpy").fit(x, y)
    assert ours.model_.backend == select("numpy")
    assert_there(ours.predict_proba(x), backend)
    assert_there(ours.predict(x), backend)


def test_sparse_matrices_and_tables_are_computed_there(backend, finest, flowers):
    pl = pytest.importorskip("polars")
    x, y = np.where(flowers[0] > 0, flowers[0], 0.0), flowers[1]
    settings = {"backend": backend, "dtype": finest}
    expected = classifier(**settings).fit(x, y).predict_proba(x)
    for given in (sp.csr_matrix(x), sp.csc_array(x), pl.DataFrame(x, list("abcd"))):
        ours = classifier(**settings).fit(given, y)
        assert ours.model_.backend == backend
        assert isinstance(ours.predict(given), np.ndarray)
        assert_close(ours.predict_proba(given), expected, finest)


def test_nothing_that_is_written_to_coefs_is_lost(backend, finest, flowers):
    # It changes the model, as in scikit-learn, or it is refused.
    x, y = flowers
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


def test_coefs_can_be_set_from_any_library(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    ours = classifier().fit(x, y)
    before = to_numpy(ours.predict_proba(x))
    ours.coefs_ = [2.0 * to_numpy(one) for one in ours.coefs_]
    assert_there(ours.coefs_[0], backend, finest)
    assert np.abs(to_numpy(ours.predict_proba(x)) - before).max() > 1e-3
    ours.coefs_ = [0.5 * one for one in ours.coefs_]
    assert_close(ours.predict_proba(x), before, finest)


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_what_does_not_fit_the_network_is_not_set(backend, finest, name, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    ours = classifier().fit(x, y)
    before = to_numpy(ours.predict_proba(x))
    given = [to_numpy(one) for one in getattr(ours, name)]
    shapes = re.escape(str([one.shape for one in given]))
    for wrong in (given[:1], [*given, given[0]], [np.ones((5, 4)), given[1]]):
        with pytest.raises(ShapeError, match=f"{name}: expected arrays of shapes {shapes}, got"):
            setattr(ours, name, wrong)
        np.testing.assert_array_equal(to_numpy(ours.predict_proba(x)), before)
    with pytest.raises(AttributeError, match="has not been fitted yet: call fit first"):
        setattr(classifier(), name, given)


@pytest.mark.needs("torch")
def test_a_sparse_tensor_is_refused(flowers):
    import torch

    x = torch.from_numpy(flowers[0])
    ours = classifier().fit(x, flowers[1])
    for call in (ours.predict, lambda wrong: ours.fit(wrong, flowers[1])):
        with pytest.raises(DataError, match=r"expected a dense array, .*: pass X\.to_dense\(\)"):
            call(x.to_sparse())


@pytest.mark.needs("torch")
def test_a_tensor_with_a_gradient(flowers):
    import torch

    x = torch.tensor(flowers[0], requires_grad=True)
    found = classifier().fit(x, flowers[1]).predict_proba(x)
    assert not found.requires_grad
    assert x.grad is None


def test_inputs_are_not_written_to(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), backend.asarray(flowers[1])
    before = to_numpy(x).copy()
    ours = classifier(early_stopping=True).fit(x, y)
    ours.predict_proba(x)
    ours.set_params(solver="lbfgs", early_stopping=False).fit(x, y)
    np.testing.assert_array_equal(to_numpy(x), before)


def test_weights_of_held_out_rows_are_in_the_dtype_of_the_model(backend, flowers):
    x, weights = backend.asarray(flowers[0], "float32"), np.linspace(0.5, 1.5, len(flowers[1]))
    ours = classifier(early_stopping=True).fit(x, flowers[1], sample_weight=weights)
    assert_there(ours.predict_proba(x), backend, "float32")
    assert np.all(np.isfinite(ours.validation_curve_))


def test_the_metric_gets_what_it_can_use(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    rows = {tuple(row): one for row, one in zip(to_numpy(x), y, strict=True)}
    seen = []

    def metric(estimator, x_held, y_held):
        assert [rows[tuple(row)] for row in to_numpy(x_held)] == to_numpy(y_held).tolist()
        seen.append((x_held, estimator.predict_proba(x_held)))
        return float(np.mean(to_numpy(estimator.predict(x_held)) == to_numpy(y_held)))

    ours = classifier(early_stopping=True, early_stopping_metric=metric).fit(x, backend.asarray(y))
    assert len(seen) == ours.n_iter_
    for held, probabilities in seen:
        assert type(probabilities) is type(held)
        assert held.shape == (4, 4)


@pytest.mark.parametrize("metric", ["accuracy", "neg_log_loss"])
def test_metrics_of_scikit_learn(backend, finest, metric, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    ours = classifier(early_stopping_metric=metric, validation_data=(x, y)).fit(x, y)
    expected = {
        "accuracy": ours.score(x, y),
        "neg_log_loss": -ours.validation_curve_[-1],
    }[metric]
    assert ours.validation_scores_[-1] == pytest.approx(expected, rel=1e-5)


def test_copies_stay_on_the_library(backend, finest, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    settings = {"early_stopping": True, "average_weights": 0.5, "validation_data": (x, y)}
    ours = classifier(**settings).fit(x, y).set_params(validation_data=None)
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.model_.backend == backend
    assert_there(copy.coefs_[0], backend)
    np.testing.assert_array_equal(to_numpy(copy.predict_proba(x)), to_numpy(ours.predict_proba(x)))
    for one in (ours, copy):
        one.set_params(early_stopping=False).partial_fit(x, y)
    np.testing.assert_array_equal(to_numpy(copy.predict_proba(x)), to_numpy(ours.predict_proba(x)))


def test_theirs_on_any_backend(backend, flowers, float64):
    x, y = flowers
    theirs = TheirClassifier((4,), max_iter=5, random_state=0).fit(x, y)
    ours = from_sklearn(theirs, backend=backend)
    assert ours.model_.backend == backend
    assert_close(ours.predict_proba(x), theirs.predict_proba(x))
    assert_close(ours.predict_proba(backend.asarray(x, float64)), theirs.predict_proba(x))


# Dtypes ------------------------------------------------------------------------------------------


def test_the_dtype_is_that_of_the_input(backend, dtype, flowers):
    for x in (backend.asarray(flowers[0], dtype), flowers[0].astype(dtype)):
        ours = classifier(backend=backend).fit(x, flowers[1])
        assert ours.model_.dtype == dtype
        assert to_numpy(ours.predict_proba(x)).dtype == dtype
        assert to_numpy(ours.coefs_[0]).dtype == dtype


@pytest.mark.parametrize("given", ["int32", "uint8", "bool"])
def test_whole_numbers_are_computed_in_the_usual_dtype(backend, given, flowers):
    x = backend.asarray((flowers[0] > 0).astype(given))
    ours = classifier().fit(x, flowers[1])
    # As scikit-learn does on the host; elsewhere float64 is slow, or not there.
    assert ours.model_.dtype == ("float64" if backend.name == "numpy" else "float32")
    assert_there(ours.predict_proba(x), backend)


@pytest.mark.parametrize("other", ["float32", "float64"])
def test_prediction_keeps_the_dtype_of_the_model(backend, other, flowers):
    ours = classifier(backend=backend).fit(flowers[0].astype("float32"), flowers[1])
    assert ours.predict_proba(flowers[0].astype(other)).dtype == "float32"


# Which backend -----------------------------------------------------------------------------------


def test_the_environment_names_the_backend_of_numpy_input(backend, flowers, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.spec)
    x, y = flowers[0].astype("float32"), flowers[1]
    for given in (x, x.tolist(), sp.csr_matrix(x)):
        ours = classifier(max_iter=1).fit(given, y)
        assert ours.model_.backend == backend
        assert isinstance(ours.predict_proba(given), np.ndarray)
    assert classifier(max_iter=1, backend="numpy").fit(x, y).model_.backend == select("numpy")


def test_other_input_comes_before_the_environment(backend, finest, flowers, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "array-api-strict:device2")
    x = backend.asarray(flowers[0], finest)
    found = classifier(max_iter=1).fit(x, flowers[1]).model_.backend
    assert found == (backend if backend.name != "numpy" else select("array-api-strict:device2"))


def test_an_unavailable_backend_in_the_environment_is_named(flowers, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "tensorflow")
    with pytest.raises(ValueError, match=f"'tensorflow'.* variable {ENVIRONMENT_VARIABLE}"):
        classifier().fit(*flowers)


# What is compiled --------------------------------------------------------------------------------


def test_other_strengths_of_the_penalty_compile_nothing_anew(backend, finest, flowers, monkeypatch):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    settings = {"hidden_layer_sizes": (3, 2), "l2_per_sample": 0.1}
    first = classifier(alpha=1.0, **settings).fit(x, y)
    compiled = []
    build = type(backend).jit

    def counted(self, step, donate=(), *, replay=False):
        # What is replayed is traced for each estimator by itself.
        compiled.extend([] if replay and not backend.compiles else [step])
        return build(self, step, donate, replay=replay)

    monkeypatch.setattr(type(backend), "jit", counted)
    second = classifier(alpha=5.0, **settings).fit(x, y)
    assert not compiled
    third = classifier(alpha=5.0, **{**settings, "l2_per_sample": 0.9}).fit(x, y)
    assert not compiled
    losses = [one.loss_ for one in (first, second, third)]
    assert losses == sorted(losses)
    assert losses[2] - losses[1] > 1e-2


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda x: x[:, 0], (ShapeError, ValueError), r"Expected 2D|\(n_samples, n_features\)"),
        (lambda x: x[:39, :], ValueError, r"inconsistent numbers of samples: \[39, 40\]"),
        (lambda x: (x - x) / (x - x), (DataError, ValueError), r"NaN|infinite|finite"),
    ],
    ids=["one axis", "other lengths", "not finite"],
)
def test_wrong_inputs(backend, finest, change, kind, text, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    with np.errstate(all="ignore"):
        wrong = change(x)
    with pytest.raises(kind, match=text):
        classifier().fit(wrong, y)


def test_wrong_inputs_of_prediction(backend, finest, flowers):
    x = backend.asarray(flowers[0], finest)
    ours = classifier().fit(x, flowers[1])
    text = "X has 3 features, but MLPClassifier is expecting 4 features as input"
    for method in (ours.predict, ours.predict_proba, ours.predict_log_proba):
        with pytest.raises(ValueError, match=text):
            method(x[:, :3])


# scikit-learn's own dispatch ---------------------------------------------------------------------

DISPATCH = """
import warnings

import numpy as np
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
    for found in (pipeline.predict(there), pipeline.predict_proba(there), pipeline[-1].coefs_[0]):
        assert isinstance(found, torch.Tensor)
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
    assert isinstance(values.predict(there), torch.Tensor)
    float(values.score(there, there[:, 0]))
    try:
        pipeline[-1].predict(x)
    except ValueError as error:
        text = "Inputs passed to MLPClassifier.predict() must use the same namespace"
        assert str(error).startswith(text), error
        assert "'numpy'" in str(error), error
        assert "'torch'" in str(error), error
    else:
        raise AssertionError("another library was not refused")
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

"""Estimators kept and moved: pickle and joblib, files without pickle, and scikit-learn's own.

A copy must predict the same bits, and go on as the original would have.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from sklearn.base import is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.backends.torch import TorchBackend
from anyback_nn.errors import BackendUnavailableError, CheckpointError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor, from_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (4, 3), "max_iter": 3, "random_state": 0, "batch_size": 20}
needs_torch = pytest.mark.needs("torch")


@pytest.fixture(scope="module")
def flowers():
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:60]
    return scale(x)[chosen], y[chosen]


def data(name):
    """Inputs and targets of each kind."""
    if name in ("values", "outputs", "counts"):
        x, y = load_diabetes(return_X_y=True)
        x, y = scale(x)[:60], scale(y)[:60]
        targets = {"values": y, "outputs": np.stack([y, x[:, 0]], axis=1)}
        return x, targets.get(name, np.round(np.exp(y)))
    if name == "two":
        x, y = load_breast_cancer(return_X_y=True)
        return scale(x)[:60, :5], y[:60]
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:60]
    x, y = scale(x)[chosen], y[chosen]
    targets = {
        "classes": y,
        "negative": np.asarray([-5, 0, 7])[y],
        "text": np.asarray(["ä", "b", "long name"])[y],
        "objects": np.asarray(["ä", "b", "long name"], dtype=object)[y],
        "truth": y > 0,
        "fractions": np.asarray([0.0, 1.0, 2.0])[y],
        "labels": np.stack([y > 0, x[:, 0] > 0], axis=1).astype(int),
    }
    return x, targets[name]


REGRESSIONS = ("values", "outputs", "counts")
CLASSIFICATIONS = (
    *("two", "classes", "negative", "text", "objects", "truth", "fractions", "labels"),
)


def make(name, **settings):
    kind = MLPRegressor if name in REGRESSIONS else MLPClassifier
    if name == "counts":
        settings = {"loss": "poisson", **settings}
    return kind(**{**SMALL, **settings})


def outputs(estimator, x):
    """All that an estimator predicts."""
    found = [estimator.predict(x)]
    if is_classifier(estimator):
        found += [estimator.predict_proba(x), estimator.predict_log_proba(x)]
    return found


def assert_same(one, other, x):
    """Assert that two estimators predict the same bits."""
    for mine, theirs in zip(outputs(one, x), outputs(other, x), strict=True):
        np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))
        assert mine.dtype == theirs.dtype


def go_on(estimator, x, y):
    """Train a little more in each of the ways."""
    estimator.partial_fit(x, y).partial_fit(x[:30], y[:30])
    return estimator.set_params(warm_start=True).fit(x, y)


# Pickle and joblib -------------------------------------------------------------------------------


def in_memory(module):
    def through(estimator):
        buffer = io.BytesIO()
        module.dump(estimator, buffer)
        buffer.seek(0)
        return module.load(buffer)

    return through


COPIES = {"pickle": in_memory(pickle), "joblib": in_memory(joblib), "deepcopy": copy.deepcopy}

EVERYTHING = {
    "averages and early stopping": {"average_weights": 0.9, "early_stopping": True},
    "layers": {"layers": [nn.Dense(4), nn.Residual(nn.Dense(4), nn.Tanh()), nn.Dense(3)]},
    "noise and state": {"dropout": 0.2, "batch_norm": True},
    "objects": {"optimizer": nn.AdamW(nn.CosineDecay(0.01, 9), clip_norm=1.0)},
    "callbacks": {"callbacks": [nn.EarlyStopping(monitor="train_loss")], "progress": False},
}


@pytest.mark.parametrize(
    ("name", "settings"),
    [*(("classes", one) for one in EVERYTHING.values()), ("labels", {}), ("outputs", {})],
    ids=[*EVERYTHING, "labels", "outputs"],
)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_predicts_the_same_and_goes_on_alike(way, name, settings):
    x, y = data(name)
    ours = make(name, **settings).fit(x, y)
    other = COPIES[way](ours)
    assert_same(other, ours, x)
    # Early stopping may have ended partial_fit, which is said; here it is to go on.
    for one in (ours, other):
        go_on(one.set_params(early_stopping=False), x, y)
    assert_same(other, ours, x)
    assert other.loss_curve_ == ours.loss_curve_
    assert other.model_ is not ours.model_


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_that_is_trained_leaves_the_original_alone(way, flowers):
    x, y = flowers
    ours = make("classes", average_weights=0.5).fit(x, y)
    before, expected = COPIES["pickle"](ours), ours.predict_proba(x)
    go_on(COPIES[way](ours), 5.0 * x, y)
    np.testing.assert_array_equal(ours.predict_proba(x), expected)
    assert_same(go_on(ours, x, y), go_on(before, x, y), x)


class Elsewhere(pickle.Unpickler):
    """Reads on a machine without PyTorch and JAX."""

    def find_class(self, module, name):
        assert module.partition(".")[0] not in ("torch", "jax", "jaxlib"), f"{module}.{name}"
        return super().find_class(module, name)


def unavailable(self):
    raise BackendUnavailableError("backend 'torch': torch is not installed. Install it with: ...")


SETTINGS = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "averages": {"average_weights": 0.9},
    "both": {"early_stopping": True, "average_weights": 0.9},
    "lbfgs": {"solver": "lbfgs"},
    "state": {"batch_norm": True},
}


@needs_torch
@pytest.mark.parametrize("spec", ["torch", "an object", "auto"])
@pytest.mark.parametrize("name", SETTINGS)
def test_where_the_backend_is_missing_a_pickle_is_on_numpy(name, spec, flowers, monkeypatch):
    x, y = flowers
    chosen = {"an object": select("torch")}.get(spec, spec)
    given = select("torch").asarray(x) if spec == "auto" else x
    ours = make("classes", backend=chosen, **SETTINGS[name]).fit(given, y)
    expected = to_numpy(ours.predict_proba(given))
    pickled = pickle.dumps(ours)
    monkeypatch.setattr(TorchBackend, "check", unavailable)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other = Elsewhere(io.BytesIO(pickled)).load()
    assert [str(one.message) for one in caught] == [
        "the model is on NumPy from now on, because: backend 'torch': torch is not installed. "
        "Install it with: ..."
    ]
    assert other.model_.backend == select("numpy")
    np.testing.assert_allclose(other.predict_proba(x), expected, rtol=1e-12)
    assert all(type(one) is np.ndarray for one in other.coefs_)
    # And training goes on there.
    if name != "lbfgs":
        go_on(other.set_params(early_stopping=False), x, y)
        assert other.model_.backend == select("numpy")


@needs_torch
def test_a_model_whose_backend_is_missing_is_on_numpy(flowers, monkeypatch):
    x, y = flowers
    model = nn.Model(
        nn.Dense(4), nn.BatchNorm(), nn.ReLU(), nn.Dense(3),
        loss=nn.SoftmaxCrossEntropy(), backend="torch", dtype="float64",
    )  # fmt: skip
    model.fit(x, y, epochs=2)
    expected, pickled = model.predict(x), pickle.dumps(model)
    monkeypatch.setattr(TorchBackend, "check", unavailable)
    with pytest.warns(UserWarning, match=r"on NumPy from now on, because: .*Install it with"):
        other = Elsewhere(io.BytesIO(pickled)).load()
    assert other.backend == select("numpy")
    np.testing.assert_allclose(other.predict(x), expected, rtol=1e-12)
    other.fit(x, y, epochs=1)
    assert len(other.history) == 3


def test_an_estimator_that_is_not_fitted_can_be_pickled():
    ours = MLPClassifier(optimizer=nn.Adam(0.1), activation=[nn.LeakyReLU(0.2)], alpha=0.5)
    assert pickle.loads(pickle.dumps(ours)).get_params() == ours.get_params()


# Files -------------------------------------------------------------------------------------------

ATTRIBUTES = ("n_features_in_", "n_iter_", "t_", "loss_", "best_loss_", "n_layers_", "n_outputs_")
ATTRIBUTES += ("out_activation_", "converged_", "loss_curve_", "validation_scores_")
ATTRIBUTES += ("validation_curve_", "best_validation_score_")


@pytest.mark.parametrize("name", CLASSIFICATIONS + REGRESSIONS)
def test_a_file_is_the_estimator(name, tmp_path):
    x, y = data(name)
    path = tmp_path / "estimator.safetensors"
    ours = make(name).fit(x, y)
    ours.save(path)
    loaded = type(ours).load(path)
    assert_same(loaded, ours, x)
    assert loaded.score(x, y) == ours.score(x, y)
    for attribute in ATTRIBUTES:
        assert getattr(loaded, attribute) == getattr(ours, attribute), attribute
        assert type(getattr(loaded, attribute)) is type(getattr(ours, attribute)), attribute
    if name not in REGRESSIONS:
        np.testing.assert_array_equal(loaded.classes_, ours.classes_)
        assert loaded.classes_.dtype == ours.classes_.dtype
    for one in (loaded, ours):
        go_on(one, x, y)
    assert_same(loaded, ours, x)
    assert loaded.loss_curve_ == ours.loss_curve_


@dataclass(frozen=True)
class Halves(nn.Layer):
    """A layer of the user's."""

    factor: float = 0.5

    def forward(self, params, x, context=nn.PREDICTION):
        return self.factor * x, None

    def backward(self, params, cache, dy):
        return self.factor * dy, {}


@dataclass(frozen=True)
class Quartic(nn.Loss):
    """A loss of the user's."""

    def forward(self, outputs, targets):
        error = outputs - targets
        return nn.array_namespace(error).sum(error**4, axis=-1), error

    def backward(self, cache, dvalues):
        return dvalues[..., None] * 4 * cache**3


KEPT = {
    "layers": {"layers": [nn.Dense(4), nn.LayerNorm(), Halves(), nn.ReLU(), nn.Dense(1)]},
    "activations": {"activation": ["gelu", nn.LeakyReLU(0.2)]},
    "optimizer": {"optimizer": nn.Momentum(0.01, momentum=0.8, clip_norm=2.0)},
    "schedule": {"schedule": nn.StepDecay(0.01, 2), "optimizer": "rmsprop"},
    "loss": {"loss": Quartic(), "learning_rate_init": 1e-4},
    "library's loss": {"loss": nn.Huber(0.5)},
    "sizes": {"hidden_layer_sizes": [4, 3], "dropout": [0.0, 0.1], "batch_norm": True},
    "numbers of numpy": {
        "alpha": np.float32(0.25),
        "hidden_layer_sizes": np.asarray([4, 3]),
        "random_state": np.int64(3),
        "optimizer": nn.Adam(np.float32(0.01)),
    },
    "solver": {"solver": "sgd", "learning_rate": "invscaling", "n_iter_no_change": np.inf},
    "penalties": {"l2_per_sample": 0.1, "dtype": "float32", "early_stopping_metric": "r2"},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.parametrize("name", KEPT)
def test_parameters_are_kept(name, tmp_path):
    x, y = data("values")
    path = tmp_path / "estimator.safetensors"
    ours = make("values", **KEPT[name]).fit(x, y)
    ours.save(path)
    loaded = MLPRegressor.load(path)
    for parameter, value in ours.get_params(deep=False).items():
        found = loaded.get_params(deep=False)[parameter]
        if isinstance(value, list | tuple | np.ndarray):
            assert list(found) == list(value), parameter
        else:
            assert found == value, parameter
    assert (loaded.model_.network, loaded.model_.loss) == (ours.model_.network, ours.model_.loss)
    assert_same(loaded, ours, x)
    if "lbfgs" in name:
        loaded.set_params(warm_start=True).fit(x, y)
        assert loaded.loss_ <= ours.loss_
        return
    for one in (loaded, ours):
        one.partial_fit(x, y).partial_fit(x, y)
    assert_same(loaded, ours, x)


def test_class_weights_are_kept(tmp_path, flowers):
    x, y = flowers
    labels = np.stack([y > 0, x[:, 0] > 0], axis=1).astype(int)
    for weights, targets in (
        ({0: 2.0, 2: 0.5}, y),
        ({}, y),
        ("balanced", y),
        ([{0: 1.0, 1: 3.0}, {}], labels),
    ):
        ours = make("classes", class_weight=weights).fit(x, targets)
        ours.save(tmp_path / "c.safetensors")
        loaded = MLPClassifier.load(tmp_path / "c.safetensors")
        assert loaded.class_weight == weights
        assert_same(loaded.fit(x, targets), ours, x)


def far_off(estimator, x, y):
    """Go on with early stopping at a rate that only makes it worse."""
    estimator.set_params(warm_start=True, max_iter=3, learning_rate_init=9.0).fit(x, y)
    assert max(estimator.validation_scores_[-3:]) < estimator.best_validation_score_
    return estimator


def test_the_best_weights_stay_the_best_in_a_file_and_from_scikit_learn(tmp_path, flowers):
    x, y = flowers
    settings = {"early_stopping": True, "max_iter": 40, "learning_rate_init": 0.05}
    ours = make("classes", **settings).fit(x, y)
    before = ours.predict_proba(x)
    ours.save(tmp_path / "c.safetensors")
    theirs = TheirClassifier(**SMALL | settings).fit(x, y)
    for one in (MLPClassifier.load(tmp_path / "c.safetensors"), from_sklearn(theirs)):
        np.testing.assert_allclose(far_off(one, x, y).predict_proba(x), before, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"average_weights": 0.9}, {"early_stopping": True}])
def test_training_goes_on_from_the_weights_that_predict(settings, tmp_path, flowers):
    # What would be needed beside them is not in the file, nor is it in scikit-learn's estimator.
    x, y = flowers
    ours = make("classes", n_iter_no_change=50, **settings)
    for _ in range(3):
        ours.partial_fit(x, y, classes=[0, 1, 2])
    ours.save(tmp_path / "c.safetensors")
    loaded = MLPClassifier.load(tmp_path / "c.safetensors")
    assert_same(loaded, ours, x)
    other = from_sklearn(ours.to_sklearn())
    other.set_params(average_weights=ours.average_weights, early_stopping=False)
    loaded.set_params(early_stopping=False).partial_fit(x, y)
    other.partial_fit(x, y)
    # Adam's first step has the length of the learning rate, with whatever it starts.
    for one, before in zip(loaded.coefs_, ours.coefs_, strict=True):
        assert 0 < np.abs(one - before).max() < 4 * loaded.learning_rate_init
    if "average_weights" in settings:
        assert_same(loaded, other, x)


def test_what_a_file_cannot_hold_has_its_default(tmp_path, flowers):
    x, y = flowers

    def metric(estimator, x_held, y_held):
        return 0.5

    ours = make("classes", callbacks=[nn.Callback()], validation_data=(x, y))
    ours.set_params(random_state=np.random.RandomState(0), early_stopping_metric=metric).fit(x, y)
    ours.save(tmp_path / "c.safetensors")
    loaded = MLPClassifier.load(tmp_path / "c.safetensors")
    for name in ("callbacks", "validation_data", "early_stopping_metric", "random_state"):
        assert getattr(loaded, name) is None
    assert loaded.validation_scores_ == ours.validation_scores_ == [0.5] * 3


def test_names_of_features_are_kept(tmp_path, flowers):
    pl = pytest.importorskip("polars")
    table = pl.DataFrame(flowers[0], ["a", "b", "ü", "d"])
    ours = make("classes").fit(table, flowers[1])
    ours.save(tmp_path / "c.safetensors")
    loaded = MLPClassifier.load(tmp_path / "c.safetensors")
    assert loaded.feature_names_in_.tolist() == ["a", "b", "ü", "d"]
    assert loaded.feature_names_in_.dtype == ours.feature_names_in_.dtype
    assert_same(loaded, ours, table)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(table.rename({"a": "z"}))


def test_a_file_is_read_on_any_backend(backend, dtype, tmp_path, flowers):
    x, y = flowers
    path = tmp_path / "c.safetensors"
    ours = make("classes", dtype=dtype, backend=backend).fit(x, y)
    ours.save(path)
    for given, expected in ((None, backend), (backend, backend), ("numpy", select("numpy"))):
        loaded = MLPClassifier.load(path, backend=given)
        assert loaded.model_.backend == expected
        assert loaded.model_.dtype == dtype
        np.testing.assert_allclose(
            loaded.predict_proba(x),
            ours.predict_proba(x),
            atol=1e-5 if dtype == "float32" else 1e-12,
        )
        assert isinstance(loaded.predict_proba(x), np.ndarray)
        # It is a setting from now on, also where it is trained anew.
        assert loaded.fit(x, y).model_.backend == expected


def test_arrays_of_a_backend_are_written_as_numbers(backend, finest, tmp_path, flowers):
    x, y = backend.asarray(flowers[0], finest), flowers[1]
    ours = make("classes", early_stopping=True, average_weights=0.5).fit(x, y)
    ours.save(tmp_path / "c.safetensors")
    loaded = MLPClassifier.load(tmp_path / "c.safetensors", backend=backend)
    np.testing.assert_array_equal(
        to_numpy(loaded.predict_proba(x)), to_numpy(ours.predict_proba(x))
    )
    assert backend.owns(loaded.predict_proba(x))


@needs_torch
def test_where_the_backend_is_missing_a_file_is_on_numpy(tmp_path, flowers, monkeypatch):
    x, y = flowers
    path = tmp_path / "c.safetensors"
    ours = make("classes", backend="torch").fit(x, y)
    ours.save(path)
    monkeypatch.setattr(TorchBackend, "check", unavailable)
    loaded = MLPClassifier.load(path)
    assert loaded.model_.backend == select("numpy")
    np.testing.assert_allclose(loaded.predict_proba(x), ours.predict_proba(x), rtol=1e-12)
    # Asked for by name, it is an error.
    with pytest.raises(BackendUnavailableError, match="not installed"):
        MLPClassifier.load(path, backend="torch")


def test_a_file_is_one_of_the_model_and_holds_no_code(tmp_path, flowers):
    x, y = flowers
    ours = make("classes").fit(x, y)
    ours.save(tmp_path / "c.safetensors")
    model = nn.Model.load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(model.predict(x), ours.predict_proba(x))
    assert model.history.rows == ours.model_.history.rows
    with safe_open(tmp_path / "c.safetensors", "numpy") as file:
        names = set(file.keys())
        settings = json.loads(file.metadata()["anyback_nn"])
    assert {name for name in names if name.startswith("parameters.")} == {
        f"parameters.{layer}.{name}" for layer in (0, 2, 4) for name in ("weight", "bias")
    }
    assert settings["estimator"]["params"]["hidden_layer_sizes"] == [4, 3]


def test_saving_again_gives_the_same_bytes(tmp_path, flowers):
    ours = make("classes", class_weight={2: 3.0}).fit(*flowers)
    ours.save(tmp_path / "one.safetensors")
    MLPClassifier.load(tmp_path / "one.safetensors").save(tmp_path / "two.safetensors")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.safetensors", "two.safetensors"))
    assert one == two


# What is refused ---------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path, flowers):
    """The file of a classifier."""
    make("classes").fit(*flowers).save(tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


def test_the_file_of_a_model_is_no_estimator(tmp_path, flowers):
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy())
    model.fit(*flowers, epochs=1)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"holds a model and no estimator: .*Model\.load"):
        MLPClassifier.load(tmp_path / "m.safetensors")


def test_the_file_of_the_other_estimator(path):
    with pytest.raises(CheckpointError, match=r"holds a MLPClassifier: .*MLPClassifier\.load"):
        MLPRegressor.load(path)


def test_a_file_that_is_cut_off(path):
    content = path.read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            MLPClassifier.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors"):
        MLPClassifier.load(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="there is no folder"):
        make("values").fit(*data("values")).save(tmp_path / "no folder" / "c.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda estimator: estimator.pop("params"),
        lambda estimator: estimator["params"].update(no_such_parameter=1),
        lambda estimator: estimator.pop("attributes"),
        lambda estimator: estimator.pop("kind"),
        lambda estimator: estimator["attributes"].update(classes_=[0, 1]),
    ],
    ids=["no parameters", "unknown parameter", "no attributes", "no kind", "wrong classes"],
)
def test_a_file_that_does_not_fit_together(change, path):
    with safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["anyback_nn"])
    change(settings["estimator"])
    nn.training.checkpoint.write(path, arrays, settings)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        MLPClassifier.load(path)


def test_saving_needs_a_fit(tmp_path):
    for one in (MLPClassifier(), MLPRegressor()):
        with pytest.raises(NotFittedError):
            one.save(tmp_path / "c.safetensors")
        with pytest.raises(NotFittedError):
            one.to_sklearn()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved_is_said(tmp_path, flowers):
    class Unknown(nn.Layer):
        """No dataclass."""

        def forward(self, params, x, context=nn.PREDICTION):
            return x, None

        def backward(self, params, cache, dy):
            return dy, {}

    ours = make("classes", layers=[nn.Dense(3), Unknown()]).fit(*flowers)
    with pytest.raises(CheckpointError, match=r"Put @dataclass\(frozen=True\) on Unknown"):
        ours.save(tmp_path / "c.safetensors")
    assert list(tmp_path.iterdir()) == []


# From scikit-learn and back ----------------------------------------------------------------------


def theirs_of(name, **settings):
    kind = TheirRegressor if name in REGRESSIONS else TheirClassifier
    if name == "counts":
        settings = {"loss": "poisson", **settings}
    return kind(**{**SMALL, **settings})


def assert_close(one, other, x, accuracy=1e-12):
    for mine, theirs in zip(outputs(one, x), outputs(other, x), strict=True):
        if np.asarray(mine).dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, rtol=100 * accuracy, atol=accuracy)
        else:
            np.testing.assert_array_equal(mine, theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype


WAYS = [
    *[(name, {}) for name in CLASSIFICATIONS + REGRESSIONS],
    *[("classes", {"activation": one}) for one in ("identity", "logistic", "tanh")],
    *[("two", {"solver": one}) for one in ("lbfgs", "sgd")],
    ("values", {"hidden_layer_sizes": ()}),
    ("classes", {"early_stopping": True}),
    ("values", {"solver": "lbfgs"}),
]
each_way = pytest.mark.parametrize(
    ("name", "settings"), WAYS, ids=["-".join([n, *map(str, s.values())]) for n, s in WAYS]
)


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_theirs_becomes_ours(name, settings, dtype):
    x, y = data(name)
    x = x.astype(dtype)
    theirs = theirs_of(name, **settings).fit(x, y)
    ours = from_sklearn(theirs)
    assert type(ours) is (MLPRegressor if name in REGRESSIONS else MLPClassifier)
    assert_close(ours, theirs, x, 1e-6 if dtype == "float32" else 1e-12)
    assert {**ours.get_params(), **theirs.get_params()} == ours.get_params()
    for attribute in ("n_iter_", "t_", "loss_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    if "lbfgs" not in settings.values():
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.validation_scores_ == theirs.validation_scores_


@each_way
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ours_becomes_theirs(name, settings, dtype):
    x, y = data(name)
    x = x.astype(dtype)
    ours = make(name, **settings).fit(x, y)
    theirs = ours.to_sklearn()
    assert type(theirs) is (TheirRegressor if name in REGRESSIONS else TheirClassifier)
    assert_close(theirs, ours, x, 1e-6 if dtype == "float32" else 1e-12)
    assert theirs.score(x, y) == pytest.approx(ours.score(x, y))
    again = from_sklearn(theirs)
    assert_same(again, ours, x)
    for mine, other in zip(theirs.coefs_, ours.coefs_, strict=True):
        assert not np.shares_memory(mine, other)
    # The parameters are those that it is fitted anew with.
    fresh = theirs_of(name, **settings).fit(x, y)
    theirs.fit(x, y)
    assert_close(theirs, fresh, x)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["two", "classes", "labels", "text", "values", "outputs"])
def test_their_training_goes_on_with_ours(name, solver):
    x, y = data(name)
    ours = make(name, solver=solver, momentum=0.0, nesterovs_momentum=False, max_iter=6).fit(x, y)
    theirs = ours.to_sklearn()
    before = theirs.loss_
    for _ in range(3):
        theirs.partial_fit(x, y)
    assert theirs.loss_ < before
    assert len(theirs.loss_curve_) == 9
    theirs.set_params(warm_start=True, max_iter=20).fit(x, y)
    assert theirs.loss_ < before
    # And with lbfgs, which has no optimiser's state to go on with.
    theirs.set_params(solver="lbfgs").fit(x, y)
    assert theirs.loss_ < before


@pytest.mark.parametrize(
    "name", ["two", "classes", "labels", "text", "values", "outputs", "counts"]
)
def test_our_training_goes_on_with_theirs(name):
    x, y = data(name)
    theirs = theirs_of(name, max_iter=6).fit(x, y)
    ours = from_sklearn(theirs)
    before = ours.loss_
    for _ in range(3):
        ours.partial_fit(x, y)
    assert ours.loss_ < before
    assert ours.loss_curve_[:6] == theirs.loss_curve_
    assert len(ours.loss_curve_) == 9
    ours.set_params(warm_start=True, max_iter=20).fit(x, y)
    assert ours.loss_ < before


def test_what_is_taken_over_is_a_copy(flowers):
    x, y = flowers
    theirs = theirs_of("classes").fit(x, y)
    before = theirs.predict_proba(x)
    go_on(from_sklearn(theirs), x, y)
    np.testing.assert_array_equal(theirs.predict_proba(x), before)
    ours = make("classes").fit(x, y)
    expected = ours.predict_proba(x)
    ours.to_sklearn().set_params(warm_start=True).fit(x, y)
    np.testing.assert_array_equal(ours.predict_proba(x), expected)


def test_averaged_weights_are_what_theirs_gets(flowers):
    x, y = flowers
    ours = make("classes", average_weights=0.8).fit(x, y)
    assert_close(ours.to_sklearn(), ours, x)


def test_networks_of_their_kind_however_they_were_described(flowers):
    x, y = flowers
    layers = [nn.Dense(5), nn.Tanh(), nn.Dense(4), nn.Tanh(), nn.Dense(3)]
    ours = make("classes", layers=layers, optimizer="rmsprop").fit(x, y)
    theirs = ours.to_sklearn()
    assert (theirs.hidden_layer_sizes, theirs.activation) == ((5, 4), "tanh")
    assert_close(theirs, ours, x)


def test_names_of_features_go_with_it(flowers):
    pl = pytest.importorskip("polars")
    table = pl.DataFrame(flowers[0], list("abcd"))
    theirs = theirs_of("classes").fit(table, flowers[1])
    ours = from_sklearn(theirs)
    assert ours.feature_names_in_.tolist() == list("abcd")
    assert_close(ours, theirs, table)
    assert_close(ours.to_sklearn(), theirs, table)


def test_dropout_is_not_there_in_prediction(flowers):
    ours = make("classes", dropout=[0.0, 0.4], max_iter=10).fit(*flowers)
    theirs = ours.to_sklearn()
    assert theirs.hidden_layer_sizes == (4, 3)
    assert_close(theirs, ours, flowers[0])


THEIR_OWN = (
    r"scikit-learn has dense layers with a bias and between them one and the same activation of "
    r"identity, logistic, relu, tanh; this network is Network\("
)
UNKNOWN = {
    "batch norm": ("classes", {"batch_norm": True}, THEIR_OWN),
    "an activation": ("classes", {"activation": "gelu"}, THEIR_OWN),
    "no bias": ("values", {"layers": [nn.Dense(1, bias=False)]}, THEIR_OWN),
    "a block": (
        "values",
        {"layers": [nn.Dense(2), nn.ReLU(), nn.Residual(nn.Dense(2)), nn.ReLU(), nn.Dense(1)]},
        THEIR_OWN,
    ),
    "several activations": ("classes", {"activation": ["relu", "tanh"]}, THEIR_OWN),
    "a loss of values": (
        "values",
        {"loss": "huber"},
        r"no loss like Huber\(delta=1\.0\)",
    ),
    "the softmax of two classes": (
        "two",
        {"loss": "softmax_cross_entropy"},
        r"no loss like SoftmaxCrossEntropy",
    ),
    "an activation of the outputs": (
        "values",
        {"layers": [nn.Dense(3), nn.Tanh(), nn.Dense(1), nn.Tanh()]},
        THEIR_OWN,
    ),
    "probabilities": (
        "two",
        {"layers": [nn.Dense(1), nn.Sigmoid()], "loss": nn.ProbabilityCrossEntropy()},
        r"scikit-learn has",
    ),
    "another link": (
        "two",
        {"layers": [nn.Dense(3), nn.ReLU(), nn.Dense(1)], "loss": nn.ProbabilityCrossEntropy()},
        r"no loss like ProbabilityCrossEntropy",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_scikit_learn_does_not_have_is_said(name):
    kind, settings, text = UNKNOWN[name]
    ours = make(kind, **settings).fit(*data(kind))
    with pytest.raises(ValueError, match=text):
        ours.to_sklearn()


@pytest.mark.parametrize("wrong", [None, np.zeros(3), MLPClassifier()])
def test_what_is_not_theirs_is_named(wrong):
    with pytest.raises(TypeError, match=f"of scikit-learn, got {type(wrong).__name__}"):
        from_sklearn(wrong)


def test_theirs_must_be_fitted():
    with pytest.raises(NotFittedError):
        from_sklearn(TheirClassifier())


def test_a_wrong_backend_is_not_the_files_fault(tmp_path):
    x, y = load_iris(return_X_y=True)
    MLPClassifier(max_iter=1).fit(x, y).save(tmp_path / "mlp.safetensors")
    with pytest.raises(ValueError, match="^unknown backend 'nump'.*Did you mean 'numpy'"):
        MLPClassifier.load(tmp_path / "mlp.safetensors", backend="nump")


def test_a_file_can_be_read_as_a_model_by_who_has_not_imported_the_estimators(tmp_path):
    x, y = load_iris(return_X_y=True)
    mlp = MLPClassifier(max_iter=1).fit(x, y)
    mlp.save(tmp_path / "mlp.safetensors")
    code = (
        "import sys, numpy, anyback_nn as nn; model = nn.Model.load(sys.argv[1]); "
        "print(model.predict(numpy.ones((1, 4))).tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "mlp.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == mlp.predict_proba(np.ones((1, 4))).tolist()

"""Files without pickle: what they keep, where they are read, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from sklearn.base import is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import scale
from sklearn_cases import (
    CLASSIFICATIONS,
    REGRESSIONS,
    assert_same,
    build,
    load_examples,
    refuse_torch,
    train_more,
)

import anyback_nn as nn
from anyback_nn.backends import BACKENDS, select
from anyback_nn.backends.base import load
from anyback_nn.errors import BackendUnavailableError, CheckpointError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor, from_sklearn

ATTRIBUTES = ("n_features_in_", "n_iter_", "t_", "loss_", "best_loss_", "n_layers_", "n_outputs_")
ATTRIBUTES += ("out_activation_", "converged_", "loss_curve_", "validation_scores_")
ATTRIBUTES += ("validation_curve_", "best_validation_score_")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "estimator.safetensors"


def reload(estimator, path, **options):
    """The estimator that is read from the file that another one was written to."""
    estimator.save(path)
    return type(estimator).load(path, **options)


@pytest.mark.parametrize("name", CLASSIFICATIONS + REGRESSIONS)
def test_a_file_is_the_estimator(name, path):
    x, y = load_examples(name)
    ours = build(name).fit(x, y)
    loaded = reload(ours, path)
    assert_same(loaded, ours, x)
    assert loaded.score(x, y) == ours.score(x, y)
    for attribute in ATTRIBUTES:
        assert getattr(loaded, attribute) == getattr(ours, attribute), attribute
        assert type(getattr(loaded, attribute)) is type(getattr(ours, attribute)), attribute
    if name not in REGRESSIONS:
        np.testing.assert_array_equal(loaded.classes_, ours.classes_)
        assert loaded.classes_.dtype == ours.classes_.dtype
    for mlp in (loaded, ours):
        train_more(mlp, x, y)
    assert_same(loaded, ours, x)
    assert loaded.loss_curve_ == ours.loss_curve_


# Layers and losses of the user's are those of tests/training/test_checkpoint.py.
KEPT = {
    "layers": {"layers": [nn.Dense(4), nn.LayerNorm(), nn.ReLU(), nn.Dense(1)]},
    "activations": {"activation": ["gelu", nn.LeakyReLU(0.2)]},
    "optimizer": {"optimizer": nn.Momentum(0.01, momentum=0.8, clip_norm=2.0)},
    "schedule": {"schedule": nn.StepDecay(0.01, 2), "optimizer": "rmsprop"},
    "loss": {"loss": nn.Huber(0.5)},
    "sizes": {"hidden_layer_sizes": [4, 3], "dropout": [0.0, 0.1], "batch_norm": True},
    "numbers of numpy": {
        "alpha": np.float32(0.25),
        "hidden_layer_sizes": np.asarray([4, 3]),
        "random_state": np.int64(3),
        "optimizer": nn.Adam(np.float32(0.01)),
    },
    "solver": {"solver": "sgd", "learning_rate": "invscaling", "n_iter_no_change": np.inf},
    "penalties": {"l2_per_sample": 0.1, "dtype": "float32"},
    "metric": {"early_stopping": True, "early_stopping_metric": "r2"},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.parametrize("name", KEPT)
def test_parameters_are_kept(name, path):
    x, y = load_examples("values")
    ours = build("values", **KEPT[name]).fit(x, y)
    loaded = reload(ours, path)
    for parameter, value in ours.get_params(deep=False).items():
        actual = loaded.get_params(deep=False)[parameter]
        if isinstance(value, list | tuple | np.ndarray):
            assert list(actual) == list(value), parameter
        else:
            assert actual == value, parameter
    assert (loaded.model_.network, loaded.model_.loss) == (ours.model_.network, ours.model_.loss)
    assert_same(loaded, ours, x)
    if "lbfgs" in name:
        loaded.set_params(warm_start=True).fit(x, y)
        assert loaded.loss_ <= ours.loss_
        return
    for mlp in (loaded, ours):
        mlp.partial_fit(x, y).partial_fit(x, y)
    assert_same(loaded, ours, x)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("classes", {0: 2.0, 2: 0.5}),
        ("classes", {}),
        ("classes", "balanced"),
        ("labels", [{0: 1.0, 1: 3.0}, {}]),
    ],
)
def test_class_weights_are_kept(name, weights, path):
    x, y = load_examples(name)
    ours = build(name, class_weight=weights).fit(x, y)
    loaded = reload(ours, path)
    assert loaded.class_weight == weights
    assert_same(loaded.fit(x, y), ours, x)


def test_the_best_weights_stay_the_best_in_a_file_and_from_scikit_learn(path, iris):
    x, y = iris
    settings = {"early_stopping": True, "max_iter": 40, "learning_rate_init": 0.05}
    theirs, ours = (build("classes", theirs=flag, **settings).fit(x, y) for flag in (True, False))
    before = ours.predict_proba(x)
    for mlp in (reload(ours, path), from_sklearn(theirs)):
        # A rate that only makes it worse.
        mlp.set_params(warm_start=True, max_iter=3, learning_rate_init=9.0).fit(x, y)
        assert max(mlp.validation_scores_[-3:]) < mlp.best_validation_score_
        np.testing.assert_allclose(mlp.predict_proba(x), before, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"average_weights": 0.9}, {"early_stopping": True}])
def test_training_resumes_from_the_weights_that_predict(settings, path, iris):
    # What else it would need is not in the file, nor is it in scikit-learn's estimator.
    x, y = iris
    ours = build("classes", n_iter_no_change=50, **settings)
    for _ in range(3):
        ours.partial_fit(x, y, classes=[0, 1, 2])
    loaded = reload(ours, path)
    assert_same(loaded, ours, x)
    other = from_sklearn(ours.to_sklearn())
    other.set_params(average_weights=ours.average_weights, early_stopping=False)
    loaded.set_params(early_stopping=False).partial_fit(x, y)
    other.partial_fit(x, y)
    # Adam's first step has the length of the learning rate, with whatever it starts.
    for array, before in zip(loaded.coefs_, ours.coefs_, strict=True):
        assert 0 < np.abs(array - before).max() < 4 * loaded.learning_rate_init
    if "average_weights" in settings:
        assert_same(loaded, other, x)


def test_an_average_that_is_set_before_saving_begins_after_loading(path, iris):
    ours = build("classes").fit(*iris).set_params(average_weights=0.9)
    loaded = reload(ours, path).partial_fit(*iris)
    assert_same(loaded, ours.partial_fit(*iris), iris[0])


def test_what_a_file_cannot_hold_has_its_default(path, iris):
    ours = build("classes", callbacks=[nn.Callback()], validation_data=iris)
    ours.set_params(random_state=np.random.RandomState(0))
    ours.set_params(early_stopping_metric=lambda estimator, x, y: 0.5).fit(*iris)
    loaded = reload(ours, path)
    for name in ("callbacks", "validation_data", "early_stopping_metric", "random_state"):
        assert getattr(loaded, name) is None
    assert loaded.validation_scores_ == ours.validation_scores_ == [0.5] * 3


def test_names_of_features_are_kept(path, iris):
    pl = pytest.importorskip("polars")
    table = pl.DataFrame(iris[0], ["a", "b", "ü", "d"])
    ours = build("classes").fit(table, iris[1])
    loaded = reload(ours, path)
    assert loaded.feature_names_in_.tolist() == ["a", "b", "ü", "d"]
    assert loaded.feature_names_in_.dtype == ours.feature_names_in_.dtype
    assert_same(loaded, ours, table)
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(table.rename({"a": "z"}))


def test_a_file_is_read_on_any_backend(backend, dtype, path, iris):
    x, y = iris
    ours = build("classes", dtype=dtype, backend=backend).fit(x, y)
    accuracy = 1e-5 if dtype == "float32" else 1e-12
    for given, expected in ((None, backend), (backend, backend), ("numpy", select("numpy"))):
        loaded = reload(ours, path, backend=given)
        assert loaded.model_.backend == expected
        assert loaded.model_.dtype == dtype
        np.testing.assert_allclose(loaded.predict_proba(x), ours.predict_proba(x), atol=accuracy)
        assert isinstance(loaded.predict_proba(x), np.ndarray)
        # It is a setting from now on, also where it is trained again.
        assert loaded.fit(x, y).model_.backend == expected


def test_arrays_of_a_backend_are_written_as_numbers(backend, finest, path, iris):
    x, y = backend.asarray(iris[0], finest), iris[1]
    ours = build("classes", early_stopping=True, average_weights=0.5).fit(x, y)
    loaded = reload(ours, path, backend=backend)
    assert_same(loaded, ours, x)
    assert backend.owns(loaded.predict_proba(x))


@pytest.mark.needs("torch")
def test_where_the_backend_is_missing_a_file_is_on_numpy(path, iris, monkeypatch):
    x, y = iris
    ours = build("classes", backend="torch").fit(x, y)
    ours.save(path)
    monkeypatch.setattr(load(BACKENDS["torch"]), "check", refuse_torch)
    loaded = MLPClassifier.load(path)
    assert loaded.model_.backend == select("numpy")
    np.testing.assert_allclose(loaded.predict_proba(x), ours.predict_proba(x), rtol=1e-12)
    # Asked for by name, it is an error.
    with pytest.raises(BackendUnavailableError, match="not installed"):
        MLPClassifier.load(path, backend="torch")


def test_a_file_is_one_of_the_model_and_holds_no_code(path, iris):
    x, y = iris
    ours = build("classes").fit(x, y)
    ours.save(path)
    model = nn.Model.load(path)
    np.testing.assert_array_equal(model.predict(x), ours.predict_proba(x))
    assert model.history.rows == ours.model_.history.rows
    with safe_open(path, "numpy") as file:
        names = set(file.keys())
        settings = json.loads(file.metadata()["anyback_nn"])
    assert {name for name in names if name.startswith("parameters.")} == {
        f"parameters.{layer}.{name}" for layer in (0, 2, 4) for name in ("weight", "bias")
    }
    assert settings["estimator"]["params"]["hidden_layer_sizes"] == [4, 3]


def test_saving_again_gives_the_same_bytes(path, iris):
    loaded = reload(build("classes", class_weight={2: 3.0}).fit(*iris), path)
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


# What is refused ---------------------------------------------------------------------------------


@pytest.fixture
def written(path, iris):
    """The file of a classifier."""
    build("classes").fit(*iris).save(path)
    return path


def test_files_of_something_else(written, path, iris):
    with pytest.raises(CheckpointError, match=r"holds a MLPClassifier: .*MLPClassifier\.load"):
        MLPRegressor.load(written)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy())
    model.fit(*iris, epochs=1)
    model.save(path)
    with pytest.raises(CheckpointError, match=r"holds a model and no estimator: .*Model\.load"):
        MLPClassifier.load(path)


def test_a_file_that_is_cut_off_or_not_there(written, path):
    # More of this in tests/training/test_checkpoint.py.
    written.write_bytes(written.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"estimator\.safetensors"):
            MLPClassifier.load(path)
        path.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="there is no folder"):
        build("values").fit(*load_examples("values")).save(path / "no folder" / "c.safetensors")


@pytest.mark.parametrize(
    ("labels", "dtype"), [([1, 2**64 - 1], "uint64"), ([-5, 7], "int8"), (["a", "b" * 99], "U99")]
)
def test_classes_come_back_exactly(path, labels, dtype):
    """Also integers that no float64 holds."""
    x = np.arange(20.0).reshape(10, 2)
    mlp = MLPClassifier(max_iter=1).fit(x, np.asarray(labels, dtype)[np.arange(10) % 2])
    mlp.save(path)
    classes = MLPClassifier.load(path).classes_
    assert (classes.dtype, classes.tolist()) == (mlp.classes_.dtype, mlp.classes_.tolist())


def attributes_of(settings):
    return settings["estimator"]["attributes"]


DAMAGE = {
    "no parameters": lambda settings: settings["estimator"].pop("params"),
    "unknown parameter": lambda settings: settings["estimator"]["params"].update(unknown=1),
    "no attributes": lambda settings: settings["estimator"].pop("attributes"),
    "no kind": lambda settings: settings["estimator"].pop("kind"),
    "wrong classes": lambda settings: settings["estimator"]["attributes"].update(classes_=[0, 1]),
    "no network": lambda settings: settings.pop("network"),
    "a method": lambda settings: attributes_of(settings).update(predict=None),
    "no iterations": lambda settings: attributes_of(settings).pop("n_iter_"),
    "a list": lambda settings: attributes_of(settings).update(n_iter_=[3]),
    "other outputs": lambda settings: attributes_of(settings).update(n_outputs_=2),
    "other classes": lambda settings: attributes_of(settings)["classes_"]["values"].pop(),
    "other features": lambda settings: attributes_of(settings).update(n_features_in_=3),
    "large strings": lambda settings: attributes_of(settings)["classes_"].update(
        dtype="S500000000"
    ),
    "objects": lambda settings: attributes_of(settings)["classes_"].update(dtype="V8"),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_does_not_fit_together(change, written):
    with safe_open(written, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["anyback_nn"])
    del settings["version"], settings["checksum"]
    change(settings)
    nn.training.checkpoint.write(written, arrays, settings)
    with pytest.raises(CheckpointError, match=r"estimator\.safetensors") as caught:
        MLPClassifier.load(written)
    assert str(caught.value).count(str(written)) == 1


def test_saving_needs_a_fit(path):
    for mlp in (MLPClassifier(), MLPRegressor()):
        for call in (mlp.to_sklearn, lambda mlp=mlp: mlp.save(path)):
            with pytest.raises(NotFittedError):
                call()
    assert not path.exists()


def test_what_cannot_be_saved_is_named(path, iris):
    class Unknown(nn.Layer):
        """No dataclass."""

        def forward(self, params, x, context=nn.PREDICTION):
            return x, None

        def backward(self, params, cache, dy):
            return dy, {}

    ours = build("classes", layers=[nn.Dense(3), Unknown()]).fit(*iris)
    with pytest.raises(CheckpointError, match=r"Put @dataclass\(frozen=True\) on Unknown"):
        ours.save(path)
    assert not path.exists()


def test_a_wrong_backend_is_not_the_files_fault(written):
    with pytest.raises(ValueError, match="^unknown backend 'nump'.*Did you mean 'numpy'"):
        MLPClassifier.load(written, backend="nump")


def test_a_file_can_be_read_as_a_model_by_who_has_not_imported_the_estimators(written):
    code = (
        "import sys, numpy, anyback_nn as nn; model = nn.Model.load(sys.argv[1]); "
        "print(model.predict(numpy.ones((1, 4))).tolist()); "
        "assert 'sklearn' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = MLPClassifier.load(written).predict_proba(np.ones((1, 4)))
    assert json.loads(done.stdout) == expected.tolist()


RELEASED = Path(__file__).parent / "release_0_1"
"""Estimators that release 0.1 wrote after five epochs, and their predictions of the first rows."""


@pytest.mark.filterwarnings("ignore:anyback_nn.* has moved:DeprecationWarning")
@pytest.mark.parametrize("suffix", ["joblib", "safetensors"])
@pytest.mark.parametrize("name", ["names_of_classes", "early_stopping", "values"])
def test_files_of_release_0_1_are_read_and_trained_further(name, suffix):
    kind, load = (MLPRegressor, load_diabetes) if name == "values" else (MLPClassifier, load_iris)
    path = RELEASED / f"{name}.{suffix}"
    ours = joblib.load(path) if suffix == "joblib" else kind.load(path)
    assert type(ours) is kind
    x, y = load(return_X_y=True)
    if is_classifier(ours):
        x, y, predict = scale(x), ours.classes_[y], ours.predict_proba
    else:
        y, predict = scale(y), ours.predict
    with np.load(RELEASED / "predictions.npz") as expected:
        np.testing.assert_allclose(predict(x[:9]), expected[name], rtol=1e-10)
    before = ours.t_
    ours.set_params(early_stopping=False).partial_fit(x, y)
    assert ours.t_ == before + len(x)

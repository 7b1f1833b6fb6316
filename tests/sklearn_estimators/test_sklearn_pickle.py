"""Pickle, joblib and deep copies: a copy predicts the same bits and resumes training alike."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn_cases import assert_same, build, load_examples, refuse_torch, train_more

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS, select
from anyback_nn.backends.base import load
from anyback_nn.sklearn import MLPClassifier


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
    [*(("classes", settings) for settings in EVERYTHING.values()), ("labels", {}), ("outputs", {})],
    ids=[*EVERYTHING, "labels", "outputs"],
)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_predicts_and_trains_alike(way, name, settings):
    x, y = load_examples(name)
    ours = build(name, **settings).fit(x, y)
    other = COPIES[way](ours)
    assert_same(other, ours, x)
    # Early stopping may have ended partial_fit, which warns of it; here it is to resume.
    for mlp in (ours, other):
        train_more(mlp.set_params(early_stopping=False), x, y)
    assert_same(other, ours, x)
    assert other.loss_curve_ == ours.loss_curve_
    assert other.model_ is not ours.model_


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_that_is_trained_leaves_the_original_alone(way, iris):
    x, y = iris
    ours = build("classes", average_weights=0.5).fit(x, y)
    before, expected = COPIES["pickle"](ours), ours.predict_proba(x)
    train_more(COPIES[way](ours), 5.0 * x, y)
    np.testing.assert_array_equal(ours.predict_proba(x), expected)
    assert_same(train_more(ours, x, y), train_more(before, x, y), x)


class Elsewhere(pickle.Unpickler):
    """Reads on a machine without PyTorch and JAX."""

    def find_class(self, module, name):
        assert module.partition(".")[0] not in ("torch", "jax", "jaxlib"), f"{module}.{name}"
        return super().find_class(module, name)


SETTINGS = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "averages": {"average_weights": 0.9},
    "both": {"early_stopping": True, "average_weights": 0.9},
    "lbfgs": {"solver": "lbfgs"},
    "state": {"batch_norm": True},
}


@pytest.mark.needs("torch")
@pytest.mark.parametrize("spec", ["torch", "an object", "auto"])
@pytest.mark.parametrize("name", SETTINGS)
def test_where_the_backend_is_missing_a_pickle_is_on_numpy(name, spec, iris, monkeypatch):
    x, y = iris
    chosen = {"an object": select("torch")}.get(spec, spec)
    given = select("torch").asarray(x) if spec == "auto" else x
    ours = build("classes", backend=chosen, **SETTINGS[name]).fit(given, y)
    expected = to_numpy(ours.predict_proba(given))
    pickled = pickle.dumps(ours)
    monkeypatch.setattr(load(BACKENDS["torch"]), "check", refuse_torch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other = Elsewhere(io.BytesIO(pickled)).load()
    assert [str(warning.message) for warning in caught] == [
        "the model is on NumPy from now on, because: backend 'torch': torch is not installed. "
        "Install it with: ..."
    ]
    assert other.model_.backend == select("numpy")
    np.testing.assert_allclose(other.predict_proba(x), expected, rtol=1e-12)
    assert all(type(array) is np.ndarray for array in other.coefs_)
    # And training resumes there.
    if name != "lbfgs":
        train_more(other.set_params(early_stopping=False), x, y)
        assert other.model_.backend == select("numpy")


def test_an_estimator_that_is_not_fitted_can_be_pickled():
    ours = MLPClassifier(optimizer=nn.Adam(0.1), activation=[nn.LeakyReLU(0.2)], alpha=0.5)
    assert pickle.loads(pickle.dumps(ours)).get_params() == ours.get_params()

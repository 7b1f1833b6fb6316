"""Estimators as ONNX files: what ``predict`` and ``predict_proba`` return, and steps."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from onnx_files import ROWS, run, run_session

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, MLPRegressor
from anyback_nn.training.checkpoint import collect_contents

pytestmark = [
    pytest.mark.needs("ndonnx"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning"),
]

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4))
TARGETS = {
    "integers": np.where(X[:, 0] > 0, 5, 3),
    "three": np.where(X[:, 0] > 0.5, 2, (X[:, 1] > 0).astype(int)),
    "strings": np.where(X[:, 0] > 0, "größe", "n o"),
    "objects": np.where(X[:, 0] > 0, "a", "b").astype(object),
    "booleans": X[:, 0] > 0,
    "floats": np.where(X[:, 0] > 0, 1.0, -1.0),
    "labels": (X[:, :3] > 0).astype(int),
    "one label": (X[:, :1] > 0).astype(int),
}


def classifier(**options):
    return MLPClassifier(hidden_layer_sizes=(6,), max_iter=3, random_state=0, **options)


@pytest.mark.parametrize("name", TARGETS)
def test_classes_of_every_kind(name, tmp_path):
    estimator = classifier().fit(X, TARGETS[name])
    estimator.to_onnx(tmp_path / "model.onnx")
    for n_rows in ROWS:
        x = RANDOM.normal(size=(n_rows, 4))
        outputs = run(tmp_path / "model.onnx", x=x)
        expected = estimator.predict(x)
        assert outputs["prediction"].shape == expected.shape
        assert outputs["prediction"].tolist() == expected.tolist()
        np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"loss": "poisson"}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_values(n_targets, options, tmp_path):
    y = np.abs(X[:, :n_targets]) if n_targets > 1 else np.abs(X[:, 0])
    estimator = MLPRegressor(hidden_layer_sizes=(6,), max_iter=3, **options).fit(X, y)
    estimator.to_onnx(tmp_path / "model.onnx")
    output = run(tmp_path / "model.onnx", x=X)["prediction"]
    assert output.shape == estimator.predict(X).shape
    np.testing.assert_allclose(output, estimator.predict(X), atol=1e-5)


def test_averaged_weights_and_named_columns(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd")).astype(np.float32)
    estimator = classifier(average_weights=0.9, activation="logistic").fit(frame, TARGETS["three"])
    estimator.to_onnx(tmp_path / "model.onnx")
    outputs = run(tmp_path / "model.onnx", x=frame.to_numpy())
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(frame), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "alpha": 0.1},
        {"average_weights": 0.9, "l2_per_sample": 0.01},
        {"optimizer": "rmsprop", "clip_norm": 1.0},
    ],
    ids=str,
)
def test_a_step(options, tmp_path):
    """The step of a file, from the weights after a first epoch, is that of a second one."""
    settings = {"batch_size": 60, "shuffle": False, "dtype": "float64", "warm_start": True}
    estimator = classifier(**settings, **options)
    estimator.partial_fit(X, TARGETS["integers"], classes=[3, 5])
    estimator.to_onnx(tmp_path / "step.onnx", training=True)
    model, training = estimator.model_, estimator.model_.training
    arrays = collect_contents(model)[0]
    if "average_weights" in options:
        # The model has the averaged ones, and these are trained.
        names = [name for name in arrays if name.startswith("parameters.")]
        tree = model.layout.unpack(estimator._training_params)
        values = [layer[key] for layer in tree for key in layer]
        arrays |= dict(zip(names, values))
    optimizer = training.optimizer
    rate = optimizer.schedule(training.epoch - training.first_epoch)
    penalties = (estimator.alpha, estimator.l2_per_sample)
    numbers = (*optimizer.coefficients(training.step + 1, rate), *penalties)
    arrays |= {f"coefficients.{i}": np.asarray(c) for i, c in enumerate(numbers)}
    y = (TARGETS["integers"] == 5).astype(np.float64)[:, None]
    session = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"))
    outputs = run_session(session, arrays | {"x": X, "y": y, "sample_weight": np.ones(60)})
    estimator.partial_fit(X, TARGETS["integers"])
    np.testing.assert_allclose(outputs["loss"], estimator.loss_, rtol=1e-10)
    params = model.layout.unpack(estimator._training_params or training.params)
    for i, layer in enumerate(params):
        for name, array in layer.items():
            np.testing.assert_allclose(outputs[f"next.parameters.{i}.{name}"], array, atol=1e-10)


def test_lbfgs_has_no_step(tmp_path):
    estimator = classifier(solver="lbfgs").fit(X, TARGETS["integers"])
    with pytest.raises(nn.errors.ExportError, match="L-BFGS"):
        estimator.to_onnx(tmp_path / "step.onnx", training=True)
    assert not list(tmp_path.iterdir())


def test_an_estimator_that_was_not_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        classifier().to_onnx()

"""Estimators resume from checkpoints with ``warm_start``, as if they had not been interrupted."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {
    "plain": {},
    "early stopping": {"early_stopping": True},
    "average": {"average_weights": 0.9, "dropout": 0.2, "batch_norm": True},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1},
    "best average": {"early_stopping": True, "average_weights": 0.9, "shuffle": False},
}


class Died(Exception):
    pass


class Die(nn.Callback):
    def __init__(self, after):
        self.after = after

    def on_batch_end(self, fit):
        if fit.model.training.step == self.after:
            raise Died


def create(kind, backend, settings, *callbacks, **more):
    options = {"max_iter": 9, "batch_size": 25, "random_state": 3, "backend": backend}
    return kind(hidden_layer_sizes=(6,), callbacks=[*callbacks], **options, **settings, **more)


@pytest.mark.parametrize("after", [1, 17, 44])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_fit_resumes_from_any_step(backend, tmp_path, settings, after):
    x, y = load_iris(return_X_y=True)
    expected = create(MLPClassifier, backend, settings, Die(-1)).fit(x, y)
    writer = nn.Checkpoint(tmp_path, every="1 step")
    with pytest.raises(Died):
        create(MLPClassifier, backend, settings, writer, Die(after)).fit(x, y)
    writer = nn.Checkpoint(tmp_path, every="1 step")
    resumed = create(MLPClassifier, backend, settings, writer, warm_start=True).fit(x, y)
    for ours, theirs in zip(
        resumed.coefs_ + resumed.intercepts_, expected.coefs_ + expected.intercepts_
    ):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    for name in ("loss_curve_", "validation_scores_", "n_iter_", "t_", "best_loss_", "converged_"):
        assert getattr(resumed, name) == getattr(expected, name), name
    np.testing.assert_array_equal(resumed.predict_proba(x), expected.predict_proba(x))


@pytest.fixture
def checkpoints(tmp_path):
    x, y = load_diabetes(return_X_y=True)
    settings = {"early_stopping": True}
    with pytest.raises(Died):
        create(MLPRegressor, "numpy", settings, nn.Checkpoint(tmp_path, every=1), Die(40)).fit(x, y)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_state": 4}, "the data are not those"),
        ({"alpha": 0.1}, "penalties"),
        ({"average_weights": 0.5}, "average_weights is None in the checkpoint, and 0.5 here"),
        ({"early_stopping": False}, "the data are not those"),
        ({"hidden_layer_sizes": (7,)}, r"network.layers\[0\].n_out is 6 in the .*, and 7 here"),
    ],
)
def test_other_parameters_are_refused(checkpoints, settings, message):
    x, y = load_diabetes(return_X_y=True)
    mlp = create(MLPRegressor, "numpy", {"early_stopping": True}, nn.Checkpoint(checkpoints))
    with pytest.raises(nn.CheckpointError, match=message):
        mlp.set_params(warm_start=True, **settings).fit(x, y)


def test_a_fit_without_warm_start_does_not_touch_them(checkpoints):
    x, y = load_diabetes(return_X_y=True)
    files = {path: path.read_bytes() for path in checkpoints.iterdir()}
    mlp = create(MLPRegressor, "numpy", {"early_stopping": True}, nn.Checkpoint(checkpoints))
    with pytest.raises(nn.CheckpointError, match="estimators with warm_start=True"):
        mlp.fit(x, y)
    assert {path: path.read_bytes() for path in checkpoints.iterdir()} == files


def test_a_second_warm_fit_continues_with_its_own_weights(checkpoints):
    x, y = load_diabetes(return_X_y=True)
    mlp = create(MLPRegressor, "numpy", {"early_stopping": True}, nn.Checkpoint(checkpoints))
    mlp.set_params(warm_start=True).fit(x, y)
    before = len(mlp.loss_curve_)
    assert len(mlp.fit(x, y).loss_curve_) > before


def test_another_seed_is_refused(tmp_path):
    x, y = load_iris(return_X_y=True)
    create(MLPClassifier, "numpy", {}, nn.Checkpoint(tmp_path)).fit(x, y)
    other = create(MLPClassifier, "numpy", {}, nn.Checkpoint(tmp_path), warm_start=True)
    with pytest.raises(nn.CheckpointError, match="random_state is 3 in the checkpoint, and 4 here"):
        other.set_params(random_state=4).fit(x, y)


def test_checkpoints_of_partial_fit_are_models(tmp_path):
    x, y = load_iris(return_X_y=True)
    mlp = create(MLPClassifier, "numpy", {}, nn.Checkpoint(tmp_path, every=1), warm_start=True)
    for _ in range(3):
        mlp.partial_fit(x, y, classes=[0, 1, 2])
    assert mlp.n_iter_ == 1
    probabilities = nn.Model.load(max(tmp_path.iterdir())).predict(x)
    np.testing.assert_allclose(probabilities, mlp.predict_proba(x), atol=1e-12)
    assert clone(mlp).get_params()["callbacks"][0].folder == tmp_path


def test_lbfgs_has_nothing_to_resume(tmp_path):
    x, y = load_iris(return_X_y=True)
    mlp = create(MLPClassifier, "numpy", {"solver": "lbfgs"}, nn.Checkpoint(tmp_path))
    with pytest.raises(ValueError, match="Checkpoint would have no effect with solver='lbfgs'"):
        mlp.fit(x, y)

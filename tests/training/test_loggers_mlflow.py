"""Logs for MLflow, read by its own client."""

from __future__ import annotations

import copy
import os

import mlflow
import pytest
from logged_fits import X, Y, create_model, fit

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier

# MLflow's own, of the libraries that it uses.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def _database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")


@pytest.fixture(autouse=True)
def client(_database, tmp_path, monkeypatch):
    """A client, with an experiment of its own for each test."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_experiment(os.getcwd())
    yield mlflow.MlflowClient()
    assert mlflow.active_run() is None


def list_runs(client):
    """List the runs of the experiment of this test, the first one first."""
    experiment = client.get_experiment_by_name(os.getcwd())
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def assert_logged(client, run, history):
    names = {*history.names} - {"epoch"}
    assert set(run.data.metrics) == names
    for name in names:
        points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        rows = [(row["epoch"], row[name]) for row in history if name in row]
        assert sorted(points) == rows


class Die(nn.Callback):
    def on_batch_end(self, fit):
        if fit.epoch == 3:
            raise RuntimeError


def test_metrics_are_the_history(client):
    model, log, states = create_model(), nn.MLflowLog(), []
    watch = nn.LogTo(lambda values, epoch: states.append(list_runs(client)[0].info.status))
    fit(model, log, watch)
    history = fit(model, log, watch, validation=0.2)
    (run,) = list_runs(client)
    assert states == ["RUNNING"] * 6
    assert_logged(client, run, history)
    assert run.info.status == "FINISHED"


def test_parameters_are_the_settings(client):
    model, log = create_model(), nn.MLflowLog()
    fit(model, log, optimizer=nn.AdamW(0.25))
    fit(model, log, optimizer=nn.Adam(0.5))  # a parameter stays as it was: MLflow refuses another
    (run,) = list_runs(client)
    params = run.data.params
    assert (params["learning_rate"], params["batch_size"], params["seed"]) == ("0.25", "20", "3")
    assert params["layers"].startswith("Dense(n_out=8, ")
    assert params["optimizer"].startswith("AdamW(learning_rate=0.25, ")


def test_the_active_run_is_used_and_stays_active(client):
    with mlflow.start_run() as active:
        mlflow.log_params({"seed": "mine"})
        history = fit(create_model(), nn.MLflowLog())
        assert mlflow.active_run().info.run_id == active.info.run_id
        assert client.get_run(active.info.run_id).info.status == "RUNNING"
    (run,) = list_runs(client)
    assert run.info.run_id == active.info.run_id
    assert_logged(client, run, history)
    assert run.data.params["seed"] == "mine"


def test_each_model_has_a_run(client):
    log = nn.MLflowLog()
    histories = [fit(create_model(), log, epochs=n) for n in (3, 2)]
    histories.append(fit(create_model(), copy.deepcopy(log), epochs=2))
    for run, history in zip(list_runs(client), histories, strict=True):
        assert_logged(client, run, history)


def test_an_error_ends_the_run_as_failed(client):
    with pytest.raises(RuntimeError):
        fit(create_model(), nn.MLflowLog(), Die(), epochs=5)
    (run,) = list_runs(client)
    assert run.info.status == "FAILED"
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 3


@pytest.mark.parametrize("is_active", [False, True])
def test_a_resumed_run_goes_on_and_has_each_epoch_once(client, tmp_path, is_active):
    def train(*callbacks, run_id=None, **options):
        log, checkpoints = nn.MLflowLog(), nn.Checkpoint(tmp_path / "checkpoints", every=2)
        if not is_active:
            return fit(create_model(), log, checkpoints, *callbacks, epochs=5, **options)
        with mlflow.start_run(run_id):
            return fit(create_model(), log, checkpoints, *callbacks, epochs=5, **options)

    with pytest.raises(RuntimeError):
        train(Die())
    (tmp_path / "checkpoints" / "epoch-00003.safetensors").unlink()  # as after a kill
    (run,) = list_runs(client)
    history = train(resume=True, run_id=run.info.run_id)
    (run,) = list_runs(client)
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in points] == [*enumerate(history["train_loss"], 1)]


def test_a_server_that_is_lost_for_a_while(client, monkeypatch):
    log_metrics = mlflow.log_metrics

    def fail(values, step, **options):
        if len(steps) < 2:
            steps.append(step)
            raise mlflow.MlflowException("API request failed")
        log_metrics(values, step=step, **options)

    steps = []
    monkeypatch.setattr(mlflow, "log_metrics", fail)
    with pytest.warns(UserWarning, match="epoch 1 was not logged: API request failed") as warned:
        history = fit(create_model(), nn.MLflowLog(), epochs=4)
    assert len(warned) == 1
    (run,) = list_runs(client)
    assert_logged(client, run, history)


def test_what_was_lost_at_the_end_is_logged_in_the_next_call_to_the_same_run(client, monkeypatch):
    def fail(values, **options):
        raise mlflow.MlflowException("API request failed")

    model, log = create_model(), nn.MLflowLog()
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_metrics", fail)
        with pytest.warns(UserWarning, match="not (be )?logged") as warned:
            fit(model, log, epochs=2)
    assert [str(warning.message) for warning in warned] == [
        "epoch 1 was not logged: API request failed",
        "the last 2 epochs could not be logged",
    ]
    history = fit(model, log, epochs=1)
    (run,) = list_runs(client)
    assert_logged(client, run, history)


def test_a_server_that_is_lost_at_the_end_loses_nothing(client, monkeypatch):
    set_terminated = mlflow.MlflowClient.set_terminated

    def fail(client, run_id, status):
        if status == "FINISHED":
            raise mlflow.MlflowException("API request failed")
        set_terminated(client, run_id, status)

    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", fail)
    with pytest.warns(UserWarning, match="the run in MLflow was not ended: API request failed"):
        assert len(fit(create_model(), nn.MLflowLog())) == 3


def test_its_function_can_be_passed_as_it_is(client):
    with mlflow.start_run():
        history = fit(create_model(), nn.LogTo(mlflow.log_metrics))
    (run,) = list_runs(client)
    assert_logged(client, run, history)


def test_estimators_log(client):
    mlp = MLPClassifier(8, callbacks=[nn.MLflowLog()], random_state=0)
    for _ in range(3):
        mlp.partial_fit(X, Y, classes=[0, 1])
    (run,) = list_runs(client)
    assert_logged(client, run, mlp.model_.history)

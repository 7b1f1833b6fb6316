"""Logs of epochs: to a function, and to CSV files."""

from __future__ import annotations

import copy
import csv
import pickle
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from logged_fits import X, Y, create_model, fit

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier
from anyback_nn.training.resume import list_files
from anyback_nn.tree import tree_leaves


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Pruned(Exception):
    pass


class StopAt(nn.Callback):
    """Raise an error in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, fit):
        if fit.epoch + 1 == self.epoch:
            raise Pruned


# A function --------------------------------------------------------------------------------------


def test_a_function_gets_the_rows_of_the_history(backend):
    """On a device that refuses to be read, the rows are all that is read: see `conftest.py`."""
    model = nn.Model(nn.Dense(2), loss="softmax_cross_entropy", backend=backend)
    calls = []
    log = nn.LogTo(lambda values, epoch: calls.append({"epoch": epoch, **values}))
    fit(model, log)
    history = fit(model, log, epochs=2, validation=0.2)
    assert calls == history.rows
    assert [row["epoch"] for row in calls] == [1, 2, 3, 4, 5]


def test_what_a_function_does_to_the_values_stays_there():
    history = fit(create_model(), nn.LogTo(lambda values, epoch: values.clear()))
    assert history.names[:2] == ["epoch", "learning_rate"]


def test_an_error_leaves_the_model_as_it_is_after_the_epoch():
    def prune(values, epoch):
        if epoch == 2:
            raise Pruned

    model, expected = create_model(), create_model()
    with pytest.raises(Pruned):
        fit(model, nn.LogTo(prune), epochs=5)
    fit(expected, epochs=2)
    for _ in range(2):  # and it can be trained further
        assert len(model.history) == len(expected.history) == model.training.epoch
        for array, other in zip(*map(tree_leaves, (model.params, expected.params)), strict=True):
            np.testing.assert_array_equal(array, other)
        fit(model, epochs=1)
        fit(expected, epochs=1)


def test_an_epoch_that_was_not_logged_is_logged_with_the_next_one():
    epochs = []

    def write(values, epoch):
        epochs.append(epoch)
        if len(epochs) in (2, 3):
            raise ConnectionError("the server is gone")

    with pytest.warns(UserWarning, match="epoch 2 was not logged: the server is gone") as warned:
        fit(create_model(), nn.LogTo(write), epochs=5)
    assert epochs == [1, 2, 2, 2, 3, 4, 5]
    assert len(warned) == 1


def test_epochs_that_were_not_logged_are_logged_in_the_next_call():
    epochs, lost = [], [2, 3]

    def write(values, epoch):
        if epoch in lost:
            raise ConnectionError("the server is gone")
        epochs.append(epoch)

    model, log = create_model(), nn.LogTo(write)
    for n_epochs in (2, 1):
        with pytest.warns(UserWarning, match="not (be )?logged") as warned:
            fit(model, log, epochs=n_epochs)
        assert epochs == [1]
        first, last = (str(warning.message) for warning in warned)
        assert first == "epoch 2 was not logged: the server is gone"
        assert last.endswith(f"epoch{'s' if n_epochs == 1 else ''} could not be logged")
    lost.clear()
    fit(model, log, epochs=1)
    assert epochs == [1, 2, 3, 4]
    fit(create_model(), log, epochs=2)
    assert epochs[4:] == [1, 2]


def test_what_was_never_logged_is_told_at_the_end():
    def write(values, epoch):
        raise OSError("the server is gone")

    with pytest.warns(UserWarning, match="not (be )?logged") as warned:
        fit(create_model(), nn.LogTo(write))
    assert [str(warning.message) for warning in warned] == [
        "epoch 1 was not logged: the server is gone",
        "the last 3 epochs could not be logged",
    ]


def test_an_epoch_whose_function_ends_training_is_not_passed_again():
    epochs = []

    def write(values, epoch):
        epochs.append(epoch)
        if epoch == 2:
            raise Pruned

    model, log = create_model(), nn.LogTo(write)
    with pytest.raises(Pruned):
        fit(model, log)
    fit(model, log, epochs=1)
    assert epochs == [1, 2, 3]


def test_an_epoch_that_is_rolled_back_is_logged_once():
    epochs = []
    model = nn.Model(nn.Dense(2), loss="mean_squared_error")
    log = nn.LogTo(lambda values, epoch: epochs.append(epoch))
    options = {"optimizer": nn.GradientDescent(10.0), "on_divergence": "rollback"}
    with pytest.warns(UserWarning, match="Epoch 1 is tried again"):
        model.fit(X, X, epochs=3, batch_size=2, callbacks=[log], progress=False, **options)
    assert epochs == [1, 2, 3]


def test_a_resumed_run_logs_the_epochs_after_its_checkpoint(tmp_path):
    epochs = []
    log = nn.LogTo(lambda values, epoch: epochs.append(epoch))
    with pytest.raises(Pruned):
        fit(create_model(), log, nn.Checkpoint(tmp_path, every=2), StopAt(4), epochs=5)
    (tmp_path / "epoch-00003.safetensors").unlink()  # as after a kill
    fit(create_model(), log, nn.Checkpoint(tmp_path, every=2), epochs=5, resume=True)
    assert epochs == [1, 2, 3, 3, 4, 5]


def test_an_epoch_is_logged_before_its_checkpoint(tmp_path):
    counts = []
    log = nn.LogTo(lambda values, epoch: counts.append(len(list_files(tmp_path))))
    fit(create_model(), nn.Checkpoint(tmp_path, every=1, keep=9), log)
    assert counts == [0, 1, 2]


@pytest.mark.parametrize("write", ["log.csv", lambda values: None, lambda a, b, c: None])
def test_what_is_no_function_of_values_and_epoch(write):
    with pytest.raises(TypeError, match=r"expected a function write\(values, epoch\), got "):
        nn.LogTo(write)


# CSV ---------------------------------------------------------------------------------------------


def test_a_csv_file_is_that_of_the_history(tmp_path):
    path, expected = tmp_path / "new" / "log.csv", tmp_path / "expected.csv"
    model, log = create_model(), nn.CSVLog(path)
    for options in ({}, {"validation": 0.2}, {"epochs": 1}):  # later with more columns, then fewer
        history = fit(model, log, **options)
        history.to_csv(expected)
        assert path.read_bytes() == expected.read_bytes()
    for frame in (pd.read_csv(path), pl.read_csv(path)):
        for name in history.names:
            np.testing.assert_array_equal(np.asarray(frame[name], dtype=float), history[name])


def test_each_line_is_there_when_its_epoch_ends(tmp_path):
    lines = []
    path = tmp_path / "log.csv"
    count = nn.LogTo(lambda values, epoch: lines.append(path.read_text().count("\n")))
    fit(create_model(), nn.CSVLog(path), count)
    assert lines == [2, 3, 4]


def test_a_new_model_replaces_the_log_and_a_later_fit_continues_it(tmp_path):
    path = tmp_path / "log.csv"
    log, model = nn.CSVLog(path), create_model()
    fit(create_model(), log)
    fit(model, log, epochs=1)
    assert [row["epoch"] for row in read_rows(path)] == ["1"]
    fit(model, copy.deepcopy(log), epochs=1)
    fit(model, pickle.loads(pickle.dumps(log)), epochs=1)
    fit(model, nn.CSVLog(path), epochs=1)
    assert [row["epoch"] for row in read_rows(path)] == ["1", "2", "3", "4"]


def test_a_run_that_was_killed_has_each_epoch_once(tmp_path):
    """Whatever is left of the last line, and after an interrupt between two checkpoints."""
    path, whole = tmp_path / "log.csv", tmp_path / "whole.csv"
    fit(create_model(), nn.CSVLog(whole), epochs=5)
    expected = [row | {"seconds": ""} for row in read_rows(whole)]
    with pytest.raises(Pruned):
        fit(create_model(), nn.CSVLog(path), nn.Checkpoint(tmp_path / "a"), StopAt(4), epochs=5)
    content = path.read_bytes()
    last = content.rindex(b"\r\n", 0, -1) + 2
    for n_bytes in (last, last + 1, last + 9, len(content) - 2, len(content) - 1, len(content)):
        path.write_bytes(content[:n_bytes])
        model = create_model()
        fit(model, epochs=2)
        fit(model, nn.CSVLog(path), epochs=3)
        rows = [row | {"seconds": ""} for row in read_rows(path)]
        assert rows == expected
    fit(create_model(), nn.CSVLog(path), nn.Checkpoint(tmp_path / "a"), epochs=5, resume=True)
    assert [row | {"seconds": ""} for row in read_rows(path)] == expected


@pytest.mark.parametrize(
    "content",
    ["x,y\n1,2\n", "x", "\ufeffepoch,train_loss\n1,2\n", "epoch,sales\n1,3\n", "\n", "\x00" * 99],
)
def test_another_file_stays_as_it_is(tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_text(content, encoding="utf-8")
    model = create_model()
    with pytest.raises(ValueError, match="data.csv begins with .*, or one that CSVLog wrote"):
        fit(model, nn.CSVLog(path))
    assert path.read_text(encoding="utf-8") == content
    assert model.n_in is None


@pytest.mark.parametrize("path", [None, 7, sys.stdout], ids=str)
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match="CSVLog: expected the path of a file"):
        nn.CSVLog(path)


@pytest.mark.parametrize("path", ["/dev/full", "."])
def test_what_is_no_regular_file(path):
    model = create_model()
    with pytest.raises(ValueError, match=f"CSVLog: {path} is not a regular file"):
        fit(model, nn.CSVLog(path))


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    model = create_model()
    with pytest.raises(FileExistsError):  # where the folder would be
        fit(model, nn.CSVLog(tmp_path / "file" / "log.csv"))
    assert model.n_in is None


@pytest.mark.parametrize("rotate", [Path.unlink, lambda path: path.write_text("")])
def test_a_file_that_is_rotated_during_training(tmp_path, rotate):
    path = tmp_path / "log.csv"
    log, model = nn.CSVLog(path), create_model()
    fit(model, log, nn.LogTo(lambda values, epoch: rotate(path) if epoch == 2 else None), epochs=4)
    assert [row["epoch"] for row in read_rows(path)] == ["1", "2", "3", "4"]
    fit(model, log, epochs=1)
    assert [row["epoch"] for row in read_rows(path)] == ["1", "2", "3", "4", "5"]


def test_a_disk_that_is_full_for_a_while(tmp_path):
    """A line that was cut in the middle is written again."""
    path, limits = tmp_path / "log.csv", resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(values, epoch):
        n_bytes = path.stat().st_size + 5 if epoch in (2, 3) else limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.warns(UserWarning, match="epoch 3 was not logged: .*too large") as warned:
            history = fit(create_model(), nn.CSVLog(path), nn.LogTo(limit), epochs=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(warned) == 1
    assert [float(row["train_loss"]) for row in read_rows(path)] == history["train_loss"]


# Estimators --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_log(tmp_path, solver):
    path = tmp_path / "log.csv"
    mlp = MLPClassifier(8, solver=solver, max_iter=5, callbacks=[nn.CSVLog(path)], random_state=0)
    mlp.fit(X, Y)
    np.testing.assert_array_equal(
        [float(row["train_loss"]) for row in read_rows(path)], mlp.model_.history["train_loss"]
    )
    assert [int(row["epoch"]) for row in read_rows(path)] == [1, 2, 3, 4, 5]


def test_incremental_fits_continue_the_log(tmp_path):
    path, epochs = tmp_path / "log.csv", []
    logs = [nn.CSVLog(path), nn.LogTo(lambda values, epoch: epochs.append(epoch))]
    mlp = MLPClassifier(8, callbacks=logs, random_state=0)
    for _ in range(2):
        mlp.partial_fit(X, Y, classes=[0, 1])
    copy.deepcopy(mlp).partial_fit(X, Y)
    assert epochs == [1, 2, 3]
    assert [int(row["epoch"]) for row in read_rows(path)] == [1, 2, 3]


def test_a_clone_logs_to_the_same_object_and_not_to_a_copy():
    """A tracker that has a lock, for example, cannot be copied."""
    from sklearn.base import clone

    class Tracker:
        def __init__(self):
            self.epochs = []

        def log(self, values, epoch):
            self.epochs.append(epoch)

        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    tracker = Tracker()
    mlp = MLPClassifier(8, max_iter=2, callbacks=[nn.LogTo(tracker.log)], tol=0.0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        clone(mlp).fit(X, Y)
    assert tracker.epochs == [1, 2]


# Libraries that are not installed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "log"), [("tensorboard", nn.TensorBoardLog("runs")), ("mlflow", nn.MLflowLog())]
)
def test_a_library_that_is_missing(monkeypatch, tmp_path, module, log):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    model = create_model()
    message = rf"Log needs {module}, .*: install it with  pip install 'anyback-nn\[{module}\]'"
    with pytest.raises(nn.AnybackError, match=message):
        fit(model, log)
    assert model.n_in is None
    assert list(tmp_path.iterdir()) == []

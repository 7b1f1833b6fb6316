"""Logs for TensorBoard, read by its own reader."""

from __future__ import annotations

import copy
import os
import pickle
import resource
import signal

import numpy as np
import pytest
from logged_fits import create_model, fit
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import anyback_nn as nn


def read(folder):
    """Read the scalars of a folder: lists of steps and values by name."""
    events = EventAccumulator(str(folder)).Reload()
    scalars = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    return {name: ([e.step for e in es], [e.value for e in es]) for name, es in scalars.items()}


def assert_logged(folder, history):
    scalars = read(folder)
    assert set(scalars) == {*history.names} - {"epoch"}
    for name, (steps, values) in scalars.items():
        rows = [row for row in history if name in row]
        assert steps == [row["epoch"] for row in rows]
        np.testing.assert_array_equal(values, np.float32([row[name] for row in rows]))


def test_scalars_are_the_history(tmp_path):
    model, log = create_model(), nn.TensorBoardLog(tmp_path / "runs" / "1")
    fit(model, log)
    assert_logged(tmp_path / "runs" / "1", fit(model, log, validation=0.2))
    assert len(os.listdir(tmp_path / "runs" / "1")) == 1
    for other in (
        copy.deepcopy(log),
        pickle.loads(pickle.dumps(log)),
        nn.TensorBoardLog(log.folder),
    ):
        assert_logged(tmp_path / "runs" / "1", fit(model, other, epochs=1))


def test_scalars_are_there_when_their_epoch_ends(tmp_path):
    steps = []
    count = nn.LogTo(lambda values, epoch: steps.append(read(tmp_path)["train_loss"][0]))
    fit(create_model(), nn.TensorBoardLog(tmp_path), count)
    assert steps == [[1], [1, 2], [1, 2, 3]]


def test_hyperparameters(tmp_path):
    fit(create_model(), nn.TensorBoardLog(tmp_path), optimizer=nn.AdamW(0.25))
    events = EventAccumulator(str(tmp_path)).Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["learning_rate"].number_value == 0.25
    assert settings["batch_size"].number_value == 20
    assert settings["layers"].string_value.startswith("Dense(n_out=8, ")
    assert settings["optimizer"].string_value.startswith("AdamW(learning_rate=0.25, ")


def test_a_schedule_is_shown_as_it_is_written(tmp_path):
    fit(create_model(), nn.TensorBoardLog(tmp_path), optimizer=nn.Adam(nn.CosineDecay(0.1, 3)))
    events = EventAccumulator(str(tmp_path)).Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["learning_rate"].string_value.startswith("CosineDecay(")


def test_a_new_model_hides_the_epochs_of_an_earlier_one(tmp_path):
    fit(create_model(), nn.TensorBoardLog(tmp_path), epochs=5)
    assert_logged(tmp_path, fit(create_model(), nn.TensorBoardLog(tmp_path), epochs=2))


@pytest.mark.parametrize("n_bytes", [0, 1, 20])
def test_a_run_that_was_killed_has_each_epoch_once(tmp_path, n_bytes):
    class Die(nn.Callback):
        def on_batch_end(self, fit):
            if fit.epoch == 3:
                raise RuntimeError

    folder, checkpoints = tmp_path / "log", nn.Checkpoint(tmp_path / "checkpoints", every=2)
    with pytest.raises(RuntimeError):
        fit(create_model(), nn.TensorBoardLog(folder), checkpoints, Die(), epochs=5)
    (tmp_path / "checkpoints" / "epoch-00003.safetensors").unlink()
    (path,) = folder.iterdir()
    os.truncate(path, path.stat().st_size - n_bytes)
    checkpoints = nn.Checkpoint(tmp_path / "checkpoints", every=2)
    log = nn.TensorBoardLog(folder)
    history = fit(create_model(), log, checkpoints, epochs=5, resume=True)
    scalars = read(folder)
    assert scalars["train_loss"][0] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(scalars["train_loss"][1], np.float32(history["train_loss"]))


def test_a_disk_that_is_full_for_a_while(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(values, epoch):
        (path,) = tmp_path.iterdir()
        n_bytes = path.stat().st_size + 9 if epoch in (2, 3) else limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.warns(UserWarning, match="epoch 3 was not logged: .*too large") as warned:
            history = fit(create_model(), nn.TensorBoardLog(tmp_path), nn.LogTo(limit), epochs=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(warned) == 1
    assert_logged(tmp_path, history)


def test_no_folder_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    model = create_model()
    with pytest.raises(NotADirectoryError):
        fit(model, nn.TensorBoardLog(tmp_path / "file" / "run"))
    assert model.n_in is None

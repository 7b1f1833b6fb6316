"""Runs that are interrupted, resumed, locked, or whose folder fails them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import anyback_nn as nn
from anyback_nn.cli import train as train_command

OPTIONS = ("--hidden", "4", "--epochs", "6", "--early-stopping", "9", "--quiet")
RUN = ("train", "moons", *OPTIONS, "--output", "run")


def read_arrays(run):
    return load_file(run / "model.safetensors")


@pytest.fixture
def signals(monkeypatch):
    """Raise signals before a batch of an epoch, and while the test part is measured."""

    def set_signals(epoch=99, *, batch=0, numbers=(signal.SIGINT,), at_end=()):
        count = [0]

        def interrupt(self, fit):
            if fit.epoch == epoch - 1:
                count[0] += 1
                if count[0] == batch + 1:
                    for number in numbers:
                        signal.raise_signal(number)

        def measure(*arguments):
            for number in at_end:
                signal.raise_signal(number)
            return compute_scores(*arguments)

        monkeypatch.setattr(nn.EarlyStopping, "on_batch_begin", interrupt)
        monkeypatch.setattr(train_command, "compute_scores", measure)

    compute_scores = train_command.compute_scores
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield set_signals
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = [sys.executable, "-m", "anyback_nn", *RUN]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "run"


@pytest.mark.parametrize(
    ("epoch", "batch", "number", "status"),
    [(1, 0, "SIGINT", 130), (3, 4, "SIGTERM", 143), (6, 11, "SIGINT", 130)],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    program, signals, uninterrupted, tmp_path, epoch, batch, number, status
):
    signals(epoch, batch=batch, numbers=[getattr(signal, number)])
    outcome = program(*RUN)
    assert outcome.status == status
    assert outcome.err.endswith("Resume with: anyback-nn train --resume run\n")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert "unfinished" not in program("inspect", "run").err
    assert "not finished" in program("evaluate", "run", "moons").err
    signals()
    assert program("train", "--resume", "run", "--quiet").status == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("model.safetensors", "history.csv", "settings.json")
    }
    ours, expected = read_arrays(tmp_path / "run"), read_arrays(uninterrupted)
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_a_second_signal_acts_at_once(program, signals, tmp_path):
    signals(2, numbers=[signal.SIGINT, signal.SIGINT])
    outcome = program("train", "moons", *OPTIONS, "--output", "run", "--checkpoint-every", "9")
    assert outcome.status == 130
    # The last checkpoint is that of the finished epoch.
    assert [path.stem for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["epoch-00001"]


def test_a_second_signal_in_the_first_epoch_leaves_nothing(fails, signals):
    signals(1, numbers=[signal.SIGINT, signal.SIGINT])
    assert fails(*RUN, status=130) == "error: interrupted\n"


def test_a_signal_waits_while_the_run_is_written(program, signals, tmp_path):
    signals(at_end=[signal.SIGINT])
    assert program(*RUN).status == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_two_signals_at_the_end_leave_the_last_checkpoint(
    program, signals, tmp_path, uninterrupted
):
    signals(at_end=[signal.SIGINT, signal.SIGINT])
    assert program(*RUN).status == 130
    signals()
    assert program("train", "--resume", "run", "--quiet").status == 0
    np.testing.assert_array_equal(
        read_arrays(tmp_path / "run")["parameters.0.weight"],
        read_arrays(uninterrupted)["parameters.0.weight"],
    )


def test_a_resumed_run_may_end_elsewhere(program, signals, tmp_path):
    signals(4)
    program(*RUN)
    result = program("train", "--resume", "run", "--epochs", "4", "--json").json
    assert result["epochs"] == 4
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["asked"]["epochs"] == 4
    assert "process" not in settings


def test_checkpoints_that_were_asked_for_are_kept(program, tmp_path):
    options = ("--hidden", "4", "--epochs", "6", "--output", "run")
    assert program("train", "moons", *options, "--checkpoint-every", "2epochs").status == 0
    files = sorted(path.stem for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert files[-2:] == ["epoch-00004", "epoch-00006"]
    latest = tmp_path / "run" / "checkpoints" / "epoch-00006.safetensors"
    about = program("inspect", latest, "--json").json
    assert about["checkpoint"] == "6 epochs done"
    assert len(about["data"]) == 64
    ours, whole = (program("evaluate", path, "moons", "--json").json for path in (latest, "run"))
    assert ours["accuracy"] == whole["accuracy"]


@pytest.fixture
def unfinished(program, signals, tmp_path):
    """A run on a table that has been interrupted."""
    rows = [f"{i % 7},{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,kind", *rows, ""]))
    signals(2)
    options = ("--target", "kind", "--features", "a,b", "--na-values", "none", *OPTIONS)
    assert program("train", "table.csv", *options, "--output", "run").status == 130
    signals()
    return tmp_path / "run"


def test_a_table_is_resumed_with_the_options_of_then(program, unfinished):
    assert program("train", "--resume", "run", "--quiet").status == 0
    settings = json.loads((unfinished / "settings.json").read_text())
    assert settings["asked"]["features"] == ["a,b"]
    assert settings["asked"]["early_stopping"] == 9


def test_what_does_not_fit_is_refused(fails, unfinished, tmp_path, monkeypatch):
    monkeypatch.setattr(nn.Model, "fit", None)
    resume = ("train", "--resume", "run")
    assert "'--hidden': a run resumes" in fails(*resume, "--hidden", "9", status=2)
    assert "checkpoint-every" in fails(*resume, "--checkpoint-every", "never", status=2)
    table = (tmp_path / "table.csv").read_text()
    (tmp_path / "moved.csv").write_text(table.replace("3", "4"))
    assert "moved.csv has other contents" in fails("train", "moved.csv", "--resume", "run")
    assert "there is no folder nowhere" in fails("train", "--resume", "nowhere")
    assert "DATA" in fails("train", status=2)


def test_data_that_have_moved_can_be_named(program, unfinished, tmp_path):
    (tmp_path / "table.csv").rename(tmp_path / "moved.csv")
    assert "table.csv" in program("train", "--resume", "run").err
    assert program("train", "moved.csv", "--resume", "run", "--quiet").status == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["asked"].update(epochs="many"),
        lambda s: s["asked"].update(more=1),
        lambda s: s["asked"].update(hidden=[[]]),
        lambda s: s["asked"].update(data=None),
        lambda s: s.pop("asked"),
        lambda s: s.update(asked=3),
        lambda s: s.update(data=None),
    ],
)
def test_damaged_settings(fails, unfinished, change):
    settings = json.loads((unfinished / "settings.json").read_text())
    change(settings)
    (unfinished / "settings.json").write_text(json.dumps(settings))
    fails("train", "--resume", "run")


def test_a_run_that_is_finished_is_not_resumed(fails, program):
    program(*RUN)
    assert "run is finished" in fails("train", "--resume", "run")


def test_an_unfinished_run_is_not_overwritten(fails, unfinished):
    assert "not finished: resume it with --resume run" in fails(*RUN)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(program, signals, tmp_path):
    signals(4, batch=2)
    program(*RUN, "--checkpoint-every", "1")
    (file,) = (tmp_path / "run" / "checkpoints").glob("*batch*")
    file.write_bytes(file.read_bytes()[:-9])
    assert program("inspect", "run", "--json").json["checkpoint"] == "3 epochs done"
    signals()
    outcome = program("train", "--resume", "run")
    assert outcome.status == 0
    assert f"note: {file.relative_to(tmp_path)} is" in outcome.err
    assert "The checkpoint before, epoch-00003.safetensors, is taken" in outcome.err


def test_a_run_that_diverged_can_be_resumed_with_a_smaller_rate(program, tmp_path, monkeypatch):
    class Poison(nn.Callback):
        """The parameters of the third epoch are too large."""

        def on_epoch_begin(self, fit):
            if fit.epoch == 2 and fit.on_divergence == "stop":
                fit.model.params = tuple(
                    {name: array * 1e30 for name, array in layer.items()}
                    for layer in fit.model.params
                )

    monkeypatch.setattr(nn.EarlyStopping, "on_epoch_begin", Poison.on_epoch_begin)
    with np.errstate(all="ignore"):
        outcome = program(*RUN)
    assert outcome.status == 1
    assert "The finished epochs are in run. To resume: anyback-nn train --resume run" in outcome.err
    result = program("train", "--resume", "run", "--on-divergence", "rollback", "--json").json
    assert result["epochs"] == 6


# Locks -------------------------------------------------------------------------------------------

HOLD = """
import filelock, sys, time
lock = filelock.FileLock(sys.argv[1])
with lock:
    print(flush=True)
    time.sleep(99)
"""


def test_two_processes_do_not_train_in_one_folder(program, fails, unfinished):
    command = [sys.executable, "-c", HOLD, unfinished / ".anyback_nn.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert "another process" in fails("train", "--resume", "run")
        other.kill()
    # The lock of a dead process counts no more.
    assert program("train", "--resume", "run", "--quiet").status == 0


def test_two_processes_never_get_the_same_number(program, tmp_path):
    command = [sys.executable, "-m", "anyback_nn", "train", "moons", *OPTIONS[:-1], "--json"]
    runs = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = {json.loads(run.communicate()[0])["output"] for run in runs}
    assert outputs == {"runs/moons-1", "runs/moons-2"}


def test_what_a_process_left_that_died_early_is_no_run(program, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".anyback_nn.lock").touch()
    (tmp_path / "run" / "checkpoints").mkdir()
    settings = {"asked": {}, "data": {}, "process": {}}
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    assert "is not finished: resume it" in program("inspect", "run").err
    assert program(*RUN).status == 0


# Places that fail --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def before_writing(monkeypatch):
    """Let something happen between training and writing."""

    def set_action(action):
        compute_scores = train_command.compute_scores

        def measure(*arguments):
            action()
            return compute_scores(*arguments)

        monkeypatch.setattr(train_command, "compute_scores", measure)

    return set_action


def test_a_folder_that_is_removed_is_created_again(program, tmp_path, before_writing):
    before_writing(lambda: shutil.rmtree(tmp_path / "run"))
    assert program(*RUN).status == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_folder_that_is_taken_meanwhile(program, tmp_path, before_writing):
    before_writing(lambda: (tmp_path / "run" / "model.safetensors").write_text("mine"))
    outcome = program(*RUN)
    assert outcome.status == 1
    assert "run holds a model by now. The run was written to" in outcome.err
    assert (tmp_path / "run" / "model.safetensors").read_text() == "mine"
    assert (tmp_path / "runs" / "moons-1" / "model.safetensors").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk(program, home, small_disk, monkeypatch):
    monkeypatch.chdir(small_disk)
    run = ("train", "moons", "--hidden", "99,99", "--epochs", "2", "--output", "disk/run")
    outcome = program(*run[:-1], str(small_disk / "run"))
    assert outcome.status == 1
    assert "no checkpoint was written: cannot write" in outcome.err
    assert "No space left on device. The run was written to" in outcome.err
    assert (home / "moons-1" / "model.safetensors").exists()
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_keeps_the_checkpoint_that_is_there(program, signals, home, small_disk):
    run = small_disk / "run"
    signals(2)
    options = ("--hidden", "9,9", "--epochs", "4", "--early-stopping", "9", "--output", run)
    assert program("train", "moons", *options).status == 130
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    kept = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    signals(3)
    outcome = program("train", "--resume", run)
    assert outcome.status == 1  # the folder cannot even be locked
    assert "No space left on device" in outcome.err
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == kept
    (small_disk / "filler").unlink()
    signals()
    assert program("train", "--resume", run).status == 0


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can be another user")
def test_a_folder_that_another_user_may_not_write_to(tmp_path):
    """Root may write anywhere, so another user trains."""
    outside = Path(tmp_path.anchor, "tmp", f"anyback-nn-{os.getpid()}")
    outside.mkdir(mode=0o755)
    try:
        command = [sys.executable, "-c", AS_NOBODY, tmp_path / "run", outside / "run"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == f"error: cannot write {outside}/run: Permission denied\n"
        assert done.returncode == 1
        assert list(outside.iterdir()) == []
    finally:
        outside.rmdir()


AS_NOBODY = f"""
import os, sys
from anyback_nn.cli import main
for folder in sys.argv[1:]:
    status = main(["train", "moons", *{OPTIONS}, "--output", folder])
    os.setuid(65534)  # when all is imported, which this user may not read
sys.exit(status)
"""


# What is not ours --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoints/best.pt", "settings.json", "checkpoints/sub/x"])
def test_files_of_the_user_stay(fails, tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": 1}')
    assert "not an empty folder" in fails(*RUN)


def test_files_of_the_user_among_checkpoints_stay(program, signals, tmp_path):
    signals(3)
    program(*RUN)
    names = ("notes.txt", "epoch-5.safetensors", "good.safetensors")
    for name in names:
        (tmp_path / "run" / "checkpoints" / name).write_text("mine")
    signals()
    assert program("train", "--resume", "run", "--quiet").status == 0
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {*names}


@pytest.mark.parametrize("create", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_a_place_that_is_no_folder(program, tmp_path, create):
    create(tmp_path / "runs")
    outcome = program("train", "moons", *OPTIONS)
    assert outcome.status == 1
    assert outcome.err.startswith("error: cannot write runs")


def test_a_run_that_ended_meanwhile_is_not_trained_again(fails, program, signals, tmp_path):
    signals(3)
    program(*RUN)
    signals()
    program("train", "--resume", "run", "--quiet")
    history = (tmp_path / "run" / "history.csv").read_text()
    fails("train", "--resume", "run")
    assert (tmp_path / "run" / "history.csv").read_text() == history


def test_the_history_of_another_model_stays(program, tmp_path, before_writing):
    def take():
        (tmp_path / "run" / "model.safetensors").write_text("mine")
        (tmp_path / "run" / "history.csv").write_text("mine")

    before_writing(take)
    assert program(*RUN).status == 1
    assert (tmp_path / "run" / "history.csv").read_text() == "mine"


def test_a_reader_that_goes_away_ends_no_run(tmp_path):
    command = (
        f"{sys.executable} -m anyback_nn train moons --log {' '.join(OPTIONS[:-1])} 2>&1 | true"
    )
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "runs" / "moons-1" / "model.safetensors").exists()


def test_a_changed_test_file_is_refused(program, signals, tmp_path):
    rows = [f"{i % 7},{i % 5},{i % 2}" for i in range(60)]
    for name in ("table.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(["a,b,kind", *rows, ""]))
    signals(2)
    options = ("--target", "kind", "--test-file", "test.csv", *OPTIONS, "--output", "run")
    assert program("train", "table.csv", *options).status == 130
    signals()
    (tmp_path / "test.csv").rename(tmp_path / "moved.csv")
    (tmp_path / "test.csv").write_text("a,b,kind\n1,1,1\n1,2,0\n")
    assert "test.csv has other contents" in program("train", "--resume", "run").err
    moved = ("train", "--resume", "run", "--test-file", "moved.csv", "--quiet")
    assert program(*moved).status == 0


def test_the_learning_rate_keeps_its_plan(program, signals, tmp_path):
    signals(4)
    program(*RUN)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    signals()
    assert program("train", "--resume", "run", "--epochs", "3", "--quiet").status == 0
    model = nn.Model.load(tmp_path / "run" / "model.safetensors")
    assert model.training.optimizer.learning_rate.epochs == 6


def test_fewer_epochs_than_are_done(program, signals):
    signals(4)
    program(*RUN)
    signals()
    assert (
        "epochs (--epochs) of at least 4, got 2"
        in program("train", "--resume", "run", "--epochs", "2").err
    )

"""The program as a whole: help, version, exit statuses, errors, streams."""

import importlib
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import anyback_nn
from anyback_nn.cli import COMMANDS


def run(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "anyback_nn", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        **settings,
    )


def test_the_module_is_the_program():
    outcome = run("--version")
    assert (outcome.returncode, outcome.stdout) == (0, f"anyback-nn {anyback_nn.__version__}\n")
    assert run("trian").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "light"),
    [
        (["--help"], ["numpy", "array_api_compat", "anyback_nn.cli.train"]),
        ([], ["numpy", "array_api_compat", "anyback_nn.cli.train"]),
        (["--version"], ["numpy", "array_api_compat", "anyback_nn.cli.train"]),
        (["train", "--help"], ["anyback_nn.cli.verify"]),
        (["verify", "--help"], ["anyback_nn.cli.train", "matplotlib"]),
    ],
)
def test_help_imports_little(arguments, light):
    absent = {*light, "torch", "jax", "polars", "sklearn"}
    code = (
        "import sys; from anyback_nn.cli import main; "
        f"print(main({arguments}), sorted({absent} & set(sys.modules)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines()[-1] == "0 []"


def test_the_table_of_commands_is_their_docstrings():
    for name, line in COMMANDS.items():
        command = getattr(importlib.import_module(f"anyback_nn.cli.{name}"), name)
        assert command.__doc__.splitlines()[0] == line
    files = {path.stem for path in Path(anyback_nn.cli.__file__).parent.glob("*.py")}
    helpers = {"__init__", "metrics", "options", "plot", "printing", "recipe", "run_folder"}
    helpers |= {"film", "pixels", "ranks", "reporting", "run_data", "scene", "scores", "watch"}
    assert files - helpers == set(COMMANDS)


def test_bare_and_help_show_the_commands(program):
    for arguments in [], ["--help"], ["-h"]:
        outcome = program(*arguments)
        assert (outcome.status, outcome.err) == (0, "")
        assert all(f" {command} " in outcome.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_80_columns(program, command):
    outcome = program(command, "--help")
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "…" not in outcome.out


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("trian", ["trian", "See: anyback-nn --help"]),
        ("train", ["DATA", "See: anyback-nn train --help"]),
        ("train digits --epoch 3", ["--epoch"]),
        ("train digits --epochs many", ["--epochs", "integer"]),
        ("train digits --epochs 0", ["--epochs", "at least 1", "got 0"]),
        ("train digits --batch-size 0", ["--batch-size", "at least 1"]),
        ("train digits --hidden 12,x", ["--hidden", "128,64", "'12,x'"]),
        ("train digits --hidden 12,0", ["--hidden", "'12,0'"]),
        ("train digits --dropout 1", ["--dropout", "0 to below 1", "got 1.0"]),
        ("train digits --validation 1", ["--validation", "0 to below 1"]),
        ("train digits --learning-rate 0", ["--learning-rate", "above 0"]),
        ("train digits --learning-rate nan", ["--learning-rate", "nan"]),
        ("train digits --learning-rate inf", ["--learning-rate", "finite"]),
        ("train digits --l2 -1", ["--l2", "0 or greater"]),
        ("train digits --l2 inf", ["--l2", "finite"]),
        ("train digits --clip-norm 0", ["--clip-norm", "above 0"]),
        ("train digits --seed -1", ["--seed", "0 or greater"]),
        ("train digits --activation rellu", ["--activation", "'relu'?", "gelu"]),
        ("train digits --optimizer adm", ["--optimizer", "'adam'?", "rmsprop"]),
        ("train digits --task regresion", ["--task", "'regression'?"]),
        ("train digits --dtype float16", ["--dtype", "float32, float64"]),
        (
            "train digits --compute-dtype float61",
            ["--compute-dtype", "'float16'?", "float16, bfloat16"],
        ),
        (
            "train digits --backend numpy --compute-dtype bfloat16",
            ["--compute-dtype", "'numpy' has no bfloat16", "'float16'", "torch, jax"],
        ),
        (
            "train digits --compute-dtype float16 --dtype float64",
            ["--compute-dtype", "dtype='float64'"],
        ),
        ("train digits --backend numpi", ["--backend", "'numpy'?"]),
        ("evaluate run digits --backend numpi", ["--backend", "'numpy'?"]),
        ("predict run digits --backend numpi", ["--backend", "'numpy'?"]),
        ("bench --backends numpi", ["--backends", "unknown backend 'numpi'"]),
        ("bench --backends ''", ["--backends", "at least one"]),
        ("bench --seconds 0", ["--seconds", "above 0"]),
        ("verify --backends numpi", ["--backends", "unknown backend 'numpi'"]),
        ("verify --backends ''", ["--backends", "at least one"]),
        ("verify --dtype float16", ["--dtype", "or float32,float64, got 'float16'"]),
        ("verify --steps 0", ["--steps", "at least 1"]),
        ("verify --plot drift.txt", ["--plot", ".png, .svg, .pdf"]),
        (
            "train digits --early-stopping 3 --validation 0",
            ["--early-stopping", "--validation above 0"],
        ),
    ],
)
def test_wrong_usage(fails, command, parts):
    message = fails(*shlex.split(command), status=2)
    assert all(part in message for part in parts), message


def test_a_backend_from_the_environment_is_checked_too(fails, monkeypatch):
    monkeypatch.setenv("ANYBACK_NN_BACKEND", "numpi")
    assert "ANYBACK_NN_BACKEND" in fails("train", "digits", status=2)


def test_traceback_before_and_after_the_command(fails):
    for arguments in (
        ["--traceback", "train", "nowhere.csv"],
        ["train", "nowhere.csv", "--traceback"],
    ):
        message = fails(*arguments, traceback=True)
        assert "DataError" in message
        assert message.splitlines()[-1].startswith("error: nowhere.csv")
    fails("train", "--traceback", status=2, traceback=True)


@pytest.mark.parametrize(
    ("error", "parts", "status"),
    [
        (KeyError("x"), ["KeyError", "--traceback"], 1),
        (OSError(28, "No space left on device", "runs"), ["runs: No space left on device"], 1),
        (KeyboardInterrupt(), ["interrupted"], 130),
    ],
)
def test_any_other_error_is_one_message_too(fails, monkeypatch, error, parts, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("anyback_nn.cli.train.load", fail)
    message = fails("train", "digits", status=status)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts)


def test_an_interrupt_during_the_imports_is_a_message(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "anyback_nn", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_warnings_of_libraries_are_not_shown_unless_asked_for(fails, monkeypatch):
    def warn(*_, **__):
        warnings.warn("noise", stacklevel=1)
        raise KeyError

    monkeypatch.setattr("anyback_nn.cli.train.load", warn)
    assert "UserWarning" in fails("train", "digits")  # as with python -W error
    monkeypatch.setattr(sys, "warnoptions", [])
    assert "KeyError" in fails("train", "digits")


def test_a_reader_that_goes_away(program, tmp_path):
    program("train", "digits", "--hidden", "none", "--epochs", "1", "--output", "run")
    predicting = [sys.executable, "-m", "anyback_nn", "predict", "run", "digits", "--probabilities"]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path}
    with subprocess.Popen(predicting, **settings) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0  # as with `predict | head`


@pytest.mark.skipif(os.name == "nt", reason="there is no /dev/full")
def test_a_full_disk_under_stdout():
    with open("/dev/full", "w") as full:
        outcome = subprocess.run(
            [sys.executable, "-m", "anyback_nn", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("error: ")
    assert "Traceback" not in outcome.stderr

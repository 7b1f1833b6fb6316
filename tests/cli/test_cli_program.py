"""The program as a whole: help, version, exit statuses, errors, streams."""

import os
import subprocess
import sys
import warnings

import pytest

import anyback_nn
from anyback_nn.cli import options
from anyback_nn.inputs.checks import COMPUTE_DTYPES, DTYPES
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.optim.optimizers import OPTIMIZERS

COMMANDS = ("train", "evaluate", "predict", "verify", "bench", "backends")


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


def test_help_imports_no_array_library():
    code = (
        "import sys; from anyback_nn.cli import main; "
        "asked = ['--help'], ['--version'], ['train', '--help'], []; "
        "heavy = {'numpy', 'array_api_compat', 'torch', 'jax', 'polars', 'sklearn'}; "
        "found = [(main(one), sorted(heavy & set(sys.modules))) for one in asked]; "
        "print(found)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.splitlines()[-1] == str([(0, [])] * 4)


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


def test_the_names_in_the_help_are_those_of_the_library():
    assert set(options.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(options.OPTIMIZERS) == set(OPTIMIZERS)
    assert options.DTYPES == DTYPES
    assert options.COMPUTE_DTYPES == COMPUTE_DTYPES


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], ["trian", "See: anyback-nn --help"]),
        (["train"], ["DATA", "See: anyback-nn train --help"]),
        (["train", "digits", "--epoch", "3"], ["--epoch"]),
        (["train", "digits", "--epochs", "many"], ["--epochs", "integer"]),
        (["train", "digits", "--epochs", "0"], ["--epochs", "at least 1", "got 0"]),
        (["train", "digits", "--batch-size", "0"], ["--batch-size", "at least 1"]),
        (["train", "digits", "--hidden", "12,x"], ["--hidden", "128,64", "'12,x'"]),
        (["train", "digits", "--hidden", "12,0"], ["--hidden", "'12,0'"]),
        (["train", "digits", "--dropout", "1.5"], ["--dropout", "0 to below 1", "1.5"]),
        (["train", "digits", "--dropout", "1"], ["--dropout", "0 to below 1"]),
        (["train", "digits", "--validation", "1"], ["--validation", "0 to below 1"]),
        (["train", "digits", "--learning-rate", "0"], ["--learning-rate", "above 0"]),
        (["train", "digits", "--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["train", "digits", "--l2", "-1"], ["--l2", "0 or greater"]),
        (["train", "digits", "--seed", "-1"], ["--seed", "0 or greater"]),
        (["train", "digits", "--activation", "rellu"], ["--activation", "'relu'?", "gelu"]),
        (["train", "digits", "--optimizer", "adm"], ["--optimizer", "'adam'?", "rmsprop"]),
        (["train", "digits", "--task", "regresion"], ["--task", "'regression'?"]),
        (["train", "digits", "--dtype", "float16"], ["--dtype", "float32, float64"]),
        (
            ["train", "digits", "--compute-dtype", "float61"],
            ["--compute-dtype", "'float16'?", "float16, bfloat16"],
        ),
        (
            ["train", "digits", "--backend", "numpy", "--compute-dtype", "bfloat16"],
            ["--compute-dtype", "'numpy' has no bfloat16", "'float16'", "torch, jax"],
        ),
        (
            ["train", "digits", "--compute-dtype", "float16", "--dtype", "float64"],
            ["--compute-dtype", "dtype='float64'"],
        ),
        (["train", "digits", "--backend", "numpi"], ["--backend", "'numpy'?"]),
        (["evaluate", "run", "digits", "--backend", "numpi"], ["--backend", "'numpy'?"]),
        (["predict", "run", "digits", "--backend", "numpi"], ["--backend", "'numpy'?"]),
        (
            ["train", "digits", "--early-stopping", "3", "--validation", "0"],
            ["--early-stopping", "--validation above 0"],
        ),
    ],
)
def test_wrong_usage(fails, arguments, said):
    message = fails(*arguments, status=2)
    assert all(part in message for part in said), message


def test_a_backend_from_the_environment_is_checked_too(fails, monkeypatch):
    monkeypatch.setenv("ANYBACK_NN_BACKEND", "numpi")
    assert "ANYBACK_NN_BACKEND" in fails("train", "digits", status=2)


def test_traceback_before_and_behind_the_command(fails):
    for arguments in (
        ["--traceback", "train", "nowhere.csv"],
        ["train", "nowhere.csv", "--traceback"],
    ):
        message = fails(*arguments, traceback=True)
        assert "DataError" in message
        assert message.splitlines()[-1].startswith("error: nowhere.csv")
    fails("train", "--traceback", status=2, traceback=True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("x"), ["KeyError", "--traceback"]),
        (OSError(28, "No space left on device", "runs"), ["runs: No space left on device"]),
        (KeyboardInterrupt(), ["interrupted"]),
    ],
)
def test_any_other_error_is_one_message_too(fails, monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("anyback_nn.datasets.load", fail)
    message = fails("train", "digits")
    assert len(message.splitlines()) == 1
    assert all(part in message for part in said)


def test_warnings_of_libraries_are_not_shown_unless_asked_for(fails, monkeypatch):
    def warn(*_, **__):
        warnings.warn("noise", stacklevel=1)
        raise KeyError

    monkeypatch.setattr("anyback_nn.datasets.load", warn)
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
    assert process.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no /dev/full")
def test_a_full_disk_behind_stdout():
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

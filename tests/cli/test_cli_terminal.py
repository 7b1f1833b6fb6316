"""Nothing that a file names reaches the terminal but as what can be read."""

import csv
import io
import os
import re
import sys

import pytest

from anyback_nn.cli.printing import Printer
from anyback_nn.errors import AnybackError

HOSTILE = "\x1b[2J\x07\u202e\x9b"
LABELS = (f"no{HOSTILE}", f"y\n{HOSTILE}error: es")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def table(tmp_path):
    """A table whose name, columns, categories and labels would control a terminal."""
    path = tmp_path / f"a{HOSTILE}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"x{HOSTILE}", f"town\r{HOSTILE}", f"id{HOSTILE}", f"y{HOSTILE}"])
        for i in range(60):
            writer.writerow([i % 7, f"{HOSTILE}{i % 3}", f"n{i}", LABELS[i % 2]])
    return path


def test_no_command_prints_control_characters(program, table):
    target, run = f"y{HOSTILE}", f"run{HOSTILE}"
    calls = [
        ("train", table, "--target", target, "--epochs", "1", "--hidden", "2", "--output", run),
        ("train", table, "--target", "y"),
        ("train", table, "--target", target, "--drop", HOSTILE),
        ("train", table, "--target", target, "--task", "regression"),
        ("train", table, "--target", target, "--task", HOSTILE),
        ("train", f"no{HOSTILE}.csv", "--target", target),
        ("evaluate", run, table),
        ("evaluate", run, table, "--target", f"x{HOSTILE}"),
        ("inspect", run),
        ("predict", run, table, "--output", f"p{HOSTILE}.csv"),
        ("predict", run, table, "--output", f"p{HOSTILE}.csv"),
        ("predict", f"{HOSTILE}", table),
        ("--traceback", "evaluate", run, table, "--target", HOSTILE),
        (HOSTILE,),
    ]
    statuses = []
    for call in calls:
        status, out, err = program(*call)
        statuses.append(status)
        assert not CONTROL.search(out + err), (call, out, err)
        assert not re.search("^.?error: es", out + err, re.MULTILINE)
    assert statuses == [0, 1, 1, 1, 2, 1, 0, 1, 0, 0, 1, 1, 1, 2]


def test_predictions_are_escaped_for_a_terminal_alone(program, table, monkeypatch):
    run = ("--target", f"y{HOSTILE}", "--epochs", "1", "--hidden", "2", "--output", "run")
    program("train", table, *run)
    words = ("predict", "run", table, "--probabilities")
    assert HOSTILE in program(*words).out
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    out = program(*words).out
    assert not CONTROL.search(out)
    assert "\\x1b[2J" in out


def test_long_names_are_cut(program, tmp_path):
    long = "a" * 100_000
    rows = "".join(f"{i % 7},{long}{i % 2}\n" for i in range(60))
    (tmp_path / "a.csv").write_text(f"{long},y\n{rows}")
    options = ("--epochs", "1", "--hidden", "2", "--output", "run")
    for call in [
        ("train", "a.csv", "--target", "y", *options),
        ("evaluate", "run", "a.csv"),
        ("inspect", "run"),
        ("evaluate", "run", "a.csv", "--target", long),
        ("train", "a.csv", "--target", "y", "--numeric", long, "--categorical", long),
    ]:
        _, out, err = program(*call)
        assert len(out + err) < 20_000, call


def test_messages_of_errors_are_cut():
    assert len(str(AnybackError("a" * 10**6))) == 4001
    assert str(AnybackError("short")) == "short"
    assert str(AnybackError()) == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_nobody_reads_is_no_error(monkeypatch, stream):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        monkeypatch.setattr(sys, stream, file)
        for _ in range(2):
            Printer().show("a table")
            Printer().notes(["a note"])


def test_the_limit_of_memory_is_an_option(fails, program, flowers):
    words = ("train", flowers, "--target", "kind", "--output", "run", "--memory-limit")
    assert "of which 2.0 kB are allowed" in fails(*words, "2kB")
    assert "expected an amount of memory, such as 4GB" in fails(*words, "much", status=2)
    assert program(*words, "1 GB", "--epochs", "1").status == 0
    for command in ("evaluate", "predict"):
        err = fails(command, "run", flowers, "--memory-limit", "2000")
        assert "(--memory-limit)" in err


def test_standard_input_has_the_limit_too(fails, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,y\n" + b"1,2\n" * 1000)))
    err = fails("train", "-", "--target", "y", "--memory-limit", "1kB")
    assert err.startswith("error: standard input: it takes more than 12.0 kB of memory")

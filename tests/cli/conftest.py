"""The program, called as a user calls it, in an empty folder."""

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from anyback_nn.backends import ENVIRONMENT_VARIABLE
from anyback_nn.cli import main


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self):
        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def program(tmp_path, monkeypatch, capsys):
    """Run the program in an empty folder: ``program("train", "moons").status``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "warnoptions", ["error"])  # warnings stay errors, as in all tests

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def fails(program, tmp_path):
    """Run the program, which must fail with one message and leave the folder as it was."""

    def run(*arguments, status=1, traceback=False):
        before = snapshot(tmp_path)
        outcome = program(*arguments)
        assert outcome.status == status, outcome
        assert ("Traceback" in outcome.err) == traceback
        assert traceback or outcome.err.startswith("error: ")
        assert snapshot(tmp_path) == before
        return outcome.err

    return run


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write_csv(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return Path(path)


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """A table with two features and three classes, one of which needs UTF-8, commas and quotes."""
    draw = np.random.default_rng(0)
    names = ("größe, [b]", "中", 'a "quote"')
    rows = [
        (f"{x:.3f}", f"{y:.3f}", names[i % 3])
        for i, (x, y) in enumerate(draw.normal(size=(120, 2)) + np.arange(120)[:, None] % 3 * 3)
    ]
    return write_csv(tmp_path_factory.mktemp("data") / "flowers.csv", ("x", "y", "kind"), rows)


@pytest.fixture(scope="session")
def houses(tmp_path_factory):
    """A table with a continuous target far from 0, as prices are."""
    area = np.random.default_rng(0).uniform(20, 200, size=150)
    rows = [(f"{a:.2f}", f"{200_000 + 1500 * a:.2f}") for a in area]
    return write_csv(tmp_path_factory.mktemp("data") / "houses.csv", ("area", "price"), rows)


@pytest.fixture(scope="session")
def sizes(tmp_path_factory):
    """A table with two continuous targets, a rare class, groups and times."""
    x = np.random.default_rng(0).uniform(size=100)
    rows = [
        (f"{a:.4f}", f"{3 + a:.4f}", f"{100 * a:.3f}", "no" if a < 0.9 else "yes", i % 10, i // 4)
        for i, a in enumerate(x)
    ]
    header = ("x", "width", "depth", "large", "owner", "week")
    return write_csv(tmp_path_factory.mktemp("data") / "sizes.csv", header, rows)


@pytest.fixture(scope="session")
def classifier(flowers, backend, tmp_path_factory):
    """The run of a network for the flowers."""
    run = tmp_path_factory.mktemp("runs") / "flowers"
    options = ["--target", "kind", "--hidden", "8", "--epochs", "3", "--batch-size", "8"]
    train(flowers, *options, "--backend", backend.spec, "--output", run)
    return run


@pytest.fixture(scope="session")
def regressor(houses, backend, tmp_path_factory):
    """The run of a network for the houses."""
    run = tmp_path_factory.mktemp("runs") / "houses"
    options = ["--target", "price", "--hidden", "none", "--epochs", "5", "--learning-rate", "0.1"]
    train(houses, *options, "--backend", backend.spec, "--output", run)
    return run


def train(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        patch.setattr(sys, "warnoptions", ["error"])
        assert main(["train", *map(str, arguments)]) == 0

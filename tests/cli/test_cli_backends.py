"""The list of backends."""

import numpy as np
import pytest

from anyback_nn.backends import BACKENDS
from anyback_nn.backends.numpy import NumpyBackend
from anyback_nn.errors import BackendUnavailableError


@pytest.fixture
def only_numpy(monkeypatch):
    """Only NumPy can be used; what to install for the others has brackets."""

    def select(name):
        if name == "numpy":
            return NumpyBackend()
        kind = BACKENDS[name]
        raise BackendUnavailableError(
            f"backend {name!r}: {kind.module} is not installed. "
            f"Install it with: pip install '{kind.requirement}'"
        )

    monkeypatch.setattr("anyback_nn.cli.backends.select", select)


@pytest.mark.usefixtures("only_numpy")
def test_table(program):
    outcome = program("backends")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    named = [line.split()[0] for line in lines[2:] if line and not line.startswith(" ")]
    assert named == [*BACKENDS, "The"]
    assert "anyback-nn[torch]" in outcome.out
    assert "The default is numpy" in outcome.out


@pytest.mark.usefixtures("only_numpy")
def test_json(program):
    outcome = program("backends", "--json")
    first, *others = outcome.json["backends"]
    assert first == {
        "name": "numpy",
        "usable": True,
        "version": np.__version__,
        "devices": ["numpy"],
        "computes": ["predictions", "gradients", "steps"],
        "reason": None,
    }
    assert [row["name"] for row in others] == list(BACKENDS)[1:]
    assert not any(row["usable"] for row in others)
    assert others[0]["reason"].startswith("cupy is not installed")
    assert (outcome.json["default"], outcome.json["environment"]) == ("numpy", None)


@pytest.mark.usefixtures("only_numpy")
def test_the_environment_variable(program, monkeypatch):
    monkeypatch.setenv("ANYBACK_NN_BACKEND", "torch:cpu")
    assert "The default is torch:cpu, from ANYBACK_NN_BACKEND\n" in program("backends").out
    assert program("backends", "--json").json["environment"] == "torch:cpu"
    monkeypatch.setenv("ANYBACK_NN_BACKEND", "numpi")
    assert "which is unknown" in program("backends").out


def test_the_backend_under_test_is_usable(program, backend):
    rows = {row["name"]: row for row in program("backends", "--json").json["backends"]}
    assert rows[backend.name]["usable"]
    assert rows[backend.name]["version"] == backend.version
    assert rows[backend.name]["devices"] == backend.devices()

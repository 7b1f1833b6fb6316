"""The comparison of backends."""

import sys

import pytest

from anyback_nn.cli.options import DTYPES

QUICK = ("--hidden", "8", "--steps", "3", "--batch-size", "32")


def test_the_table(program, backend, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    outcome = program("verify", "moons", *QUICK, "--backends", backend.spec, "--dtype", "float32")
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "All agree." in lines
    assert lines[0].startswith("moons: classification")
    assert "float32: relative differences from numpy in float64, allowed: 1e-04" in outcome.out
    head = next(line for line in lines if line.startswith("backend"))
    assert head.split() == ["backend", "loss", "gradients", "parameters", "accuracy", "seconds"]
    at = lines.index(head) + 4  # after the reference
    assert lines[at].startswith(f"{backend.spec} ")
    differences = [lines[at].split()[-3:], lines[at + 1].split()[-5:-2]]
    assert all(0 <= float(cell) < 1e-4 for row in differences for cell in row)
    assert backend.version in lines[at + 1]


def test_json(program, backend):
    result = program("verify", "moons", *QUICK, "--backends", backend.spec, "--json").json
    assert (result["data"], result["steps"], result["agree"]) == ("moons", 3, True)
    assert (result["reference"]["backend"], result["reference"]["dtype"]) == ("numpy", "float64")
    held = [dtype for dtype in DTYPES if backend.supports(dtype)]
    assert [run["dtype"] for run in result["runs"]] == held
    for run in result["runs"]:
        assert run["backend"] == backend.spec
        assert run["version"] == backend.version
        assert run["device"] == backend.device_label
        assert run["agrees"]
        assert run["tolerance"] == {"float32": 1e-4, "float64": 1e-10}[run["dtype"]]
        assert run["steps"].keys() == {"loss", "activations", "gradients", "parameters"}
        for quantity, differences in run["steps"].items():
            assert len(differences) == 3
            assert max(differences) == run["largest"][quantity]["relative"] <= run["tolerance"]
        assert 0 <= run["scores"]["accuracy"] <= 1
        assert run["seconds"] > 0


def test_by_default_every_usable_backend_on_digits(program):
    outcome = program("verify", "--steps", "1", "--json")
    assert outcome.status == 0
    assert outcome.json["data"] == "digits"
    specs = [run["backend"] for run in outcome.json["runs"]]
    assert specs[: len(specs) // 2] == specs[len(specs) // 2 :]
    assert {"numpy", "array-api-strict"} <= set(specs)
    if "cupy" not in specs:
        assert "left out: backend 'cupy'" in outcome.err


def test_two_hundred_steps_agree(program):
    """The same digits as in the README; the numbers that the project promises."""
    options = ("--backends", "numpy,array-api-strict:strictest", "--steps", "200", "--json")
    outcome = program("verify", *options)
    assert outcome.status == 0
    for run in outcome.json["runs"]:
        assert run["largest"]["parameters"]["relative"] < run["tolerance"]
    accuracies = {round(run["scores"]["accuracy"], 3) for run in outcome.json["runs"]}
    assert len(accuracies) == 1
    assert accuracies.pop() > 0.85


def test_tables_are_compared_too(program, houses):
    backends = ("--backends", "numpy,array-api-strict:device1")
    outcome = program("verify", houses, "--target", "price", *backends, *QUICK)
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "…" not in outcome.out
    assert " r2 " in outcome.out


def test_a_device_without_float64_is_compared_in_float32(program):
    backends = ("--backends", "numpy,array-api-strict:no_float64")
    outcome = program("verify", "moons", *QUICK, *backends, "--json")
    assert outcome.status == 0
    message = "array-api-strict:no_float64 is left out in float64, which its device lacks"
    assert outcome.err == f"note: {message}\n"
    assert [(run["backend"], run["dtype"]) for run in outcome.json["runs"]] == [
        ("numpy", "float32"),
        ("array-api-strict:no_float64", "float32"),
        ("numpy", "float64"),
    ]


@pytest.fixture
def wrong_derivative(monkeypatch):
    """A mistake that array-api-strict alone makes."""
    from anyback_nn.network.activations import Tanh

    right = Tanh.backward

    def backward(self, params, cache, dy):
        dx, grads = right(self, params, cache, dy)
        strict = type(dx).__module__.startswith("array_api_strict")
        return (dx * 1.001 if strict else dx), grads

    monkeypatch.setattr(Tanh, "backward", backward)


@pytest.mark.usefixtures("wrong_derivative")
def test_a_difference_is_a_failure(program):
    options = (*QUICK, "--backends", "numpy,array-api-strict")
    outcome = program("verify", "moons", *options)
    assert outcome.status == 1
    assert outcome.err.count("error: ") == 1
    for dtype in "float32", "float64":
        message = f"array-api-strict {dtype}: differs since step 1, first in the gradients of 0."
        assert message in outcome.err
    assert "numpy float" not in outcome.err
    assert "parameters" in outcome.out  # the table is printed nevertheless
    outcome = program("verify", "moons", *options, "--json")
    assert outcome.status == 1
    assert [run["agrees"] for run in outcome.json["runs"]] == [True, False] * 2
    assert not outcome.json["agree"]
    assert outcome.json["runs"][1]["first"]["quantity"] == "gradients"


def test_a_run_that_diverges_says_so(fails):
    options = ("--optimizer", "sgd", "--learning-rate", "1e200", "--activation", "identity")
    for ending in (), ("--json",):
        message = fails("verify", "moons", *QUICK, *options, "--backends", "numpy", *ending)
        assert "lower the learning rate" in message


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_picture(program, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"drift.{suffix}"
    path.touch()
    options = ("moons", *QUICK, "--backends", "numpy,array-api-strict", "--plot", path)
    assert "--force" in program("verify", *options).err
    assert path.read_bytes() == b""
    outcome = program("verify", *options, "--force")
    assert outcome.status == 0
    assert outcome.out.endswith(f"written to {path}\n")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix])


def test_what_cannot_be_compared(fails):
    assert "cupy" in fails("verify", "--backends", "cupy:99")
    assert "nothing.csv" in fails("verify", "nothing.csv")


def test_without_matplotlib_the_message_says_how_to_get_it(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'anyback-nn[plot]'" in fails("verify", "--plot", "drift.png")

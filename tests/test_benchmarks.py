"""The benchmarks run, and report what could not be measured."""

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as entry
from benchmarks import training
from benchmarks.harness.turns import take_turns
from benchmarks.peers.systems import SYSTEMS, Peer

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["report", "turns"])
def test_examples_in_benchmarks(name):
    results = doctest.testmod(importlib.import_module(f"benchmarks.harness.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_training_is_measured_next_to_other_systems():
    systems = ["ours, numpy", "products alone"]
    command = [sys.executable, "-m", "benchmarks", "training", "--quick", "--workloads", "0"]
    command += ["--systems", *systems]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "| digits 64-64-10, batch 32 | ours, numpy | - |" in result.stdout
    assert "Not measured" not in result.stdout


def test_every_report_has_its_place_on_the_command_line():
    for module in entry.MODULES.values():
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    with pytest.raises(SystemExit, match="unknown benchmark 'trianing': expected one of training,"):
        entry.main(["trianing"])


def test_a_task_that_fails_is_left_out_with_its_reason():
    calls = []

    def fail():
        calls.append("fail")
        raise RuntimeError("it is broken")

    assert take_turns({"first": fail, "second": lambda: 2}, repeats=3, warm_up=1) == {
        "first": "it is broken",
        "second": [2, 2, 2],
    }
    assert calls == ["fail"]


def test_an_error_in_training_ends_only_this_row_of_the_system(monkeypatch, capsys):
    class Fails(Peer):
        def make_epoch(self, workload, x, y):
            losses = iter([0.5, 0.25])
            return lambda batches: next(losses, None) or 1 / 0

    prepare = {"do": "prepare", "workload": 0, "samples": 8, "folder": ""}
    requests = [prepare, {"do": "turn"}, {"do": "turn"}, prepare, {"do": "turn"}]
    monkeypatch.setattr(sys, "stdin", map(json.dumps, requests))
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # the worker replaces it
    monkeypatch.setattr(training, "read", lambda *arguments: ([], []))
    monkeypatch.setitem(SYSTEMS, "fails", Fails())
    training.run_worker("fails")
    replies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    seconds, _ = replies[1]["answer"]
    assert seconds >= 0
    assert replies[:4] == [
        {"answer": None},
        {"answer": [seconds, 0.25]},
        {"error": "ZeroDivisionError: division by zero"},
        {"answer": None},
    ]
    assert replies[4]["answer"][1] == 0.25


def test_the_time_of_a_step_is_divided_among_its_parts(capsys):
    profile_step = importlib.import_module("benchmarks.profile_step")
    profile_step.main(["--quick", "--epochs", "1", "--workloads", "0"])
    row = next(line for line in capsys.readouterr().out.splitlines() if "digits" in line)
    _, step, gather, products, *_, n_calls = row.strip("| ").split(" | ")
    assert all(float(time.replace(",", "")) > 0 for time in (step, gather, products))
    assert float(n_calls) > 30


def test_the_cost_of_recording_is_measured(capsys):
    recording = importlib.import_module("benchmarks.recording")
    recording.main(["--quick", "--repeats", "1", "--backends", "numpy"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    table = {row[0]: row[1:] for row in rows if row[0].startswith("numpy: ")}
    assert len(table) == 3
    for seconds, n_records, share, ratio in table.values():
        assert float(seconds) > 0
        assert int(n_records) > 0
        assert 0 < float(share.removesuffix("%")) < 100
        assert float(ratio) > 0

"""The benchmarks can be run, and tell what could not be measured."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COMPARE = BENCHMARKS / "peers/compare.py"


@pytest.mark.parametrize("name", ["report", "turns"])
def test_examples_in_benchmarks(benchmarks, name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_training_beside_others_is_measured():
    systems = ["ours, numpy", "products alone"]
    command = [sys.executable, str(COMPARE), "--quick", "--works", "0", "--systems", *systems]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| digits 64-64-10, batch 32 | ours, numpy | - |" in done.stdout
    assert "Not measured" not in done.stdout


def test_a_task_that_fails_is_left_out_and_says_why(benchmarks):
    from turns import in_turns

    calls = []

    def fails():
        calls.append("fails")
        raise RuntimeError("it is broken")

    assert in_turns({"one": fails, "two": lambda: 2}, repeats=3, warm_up=1) == {
        "one": "it is broken",
        "two": [2, 2, 2],
    }
    assert calls == ["fails"]


class Requests:
    """Stands for another process, which asks for these things."""

    def __init__(self, *asked):
        self.asked, self.answers = iter(asked), []

    def __iter__(self):
        return self.asked

    def __next__(self):
        return next(self.asked)

    def reply(self, answer):
        self.answers.append(answer)

    def refuse(self, error):
        self.answers.append(str(error))


def test_an_error_in_training_ends_only_this_row_of_the_system(benchmarks, monkeypatch):
    from peers import systems, worker

    class Fails(systems.Peer):
        def prepare(self):
            self.losses = iter([0.5])

        def epoch(self):
            return next(self.losses, None) or 1 / 0

    prepare = {"do": "prepare", "work": 0, "samples": 8, "folder": ""}
    requests = Requests(prepare, {"do": "epoch"}, {"do": "epoch"}, prepare, {"do": "stop"})
    monkeypatch.setattr(worker, "Requests", lambda: requests)
    monkeypatch.setattr(worker, "read", lambda *arguments: ([], []))
    monkeypatch.setitem(systems.SYSTEMS, "fails", Fails)
    worker.serve("fails")
    (prepared, (seconds, loss), *rest) = requests.answers
    assert (prepared, loss) == (None, 0.5)
    assert seconds >= 0
    assert rest == ["division by zero", None, None]

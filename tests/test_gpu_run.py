"""The prepared run for a GPU: a part that hangs or fails costs the others nothing."""

import fnmatch
import importlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import cupy_stand_in
import pytest

from benchmarks.gpu import parts, run
from benchmarks.peers.workloads import WORKLOADS

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups")
ROOT = Path(__file__).parents[1]
PARTS = """
import json, pathlib, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
if name == "hangs":
    time.sleep(1000)
if name == "fails":
    sys.exit("it is broken")
summary = folder / "summary.md"
note = summary.read_text() if summary.exists() else ""
(folder / f"{name}.json").write_text(json.dumps({"rows": [{"": name, "n": 0.5}], "notes": [note]}))
"""


@pytest.fixture(autouse=True)
def _one_turn(monkeypatch):
    monkeypatch.setattr(parts, "TURNS", 1)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the run with parts that do what their names say; return the folder of the results."""
    (tmp_path / "parts.py").write_text(PARTS)
    monkeypatch.setattr(run, "COMMAND", [sys.executable, str(tmp_path / "parts.py")])

    def start(**limits):
        monkeypatch.setattr(run, "PARTS", {name: run.Part(name, limits[name]) for name in limits})
        monkeypatch.setattr(run.signal, "signal", lambda *arguments: None)
        with pytest.raises(SystemExit) as ended:
            run.main(["--stand-in", "--output", str(tmp_path / "results")])
        return ended.value.code, tmp_path / "results"

    return start


def test_a_part_that_hangs_or_fails_stops_no_other(start):
    status, folder = start(hangs=0.05, fails=60, last=60)
    assert status == 1
    # The summary is rewritten after each part, as the last one has seen.
    (seen,) = json.loads((folder / "last.json").read_text())["notes"]
    for line in ("| hangs | out of time |", "| fails | failed |", "| last | not run yet |"):
        assert line in seen
    text = (folder / "summary.md").read_text()
    assert "| last | done |" in text
    assert "| last | 0.5 |" in text
    assert "```\nit is broken\n```" in text


def test_the_exit_status_is_0_if_all_is_done(start):
    assert start(first=60)[0] == 0


def test_at_the_limit_all_processes_end_and_the_findings_are_kept(tmp_path, monkeypatch):
    class Popen(subprocess.Popen):
        """Reaches its limit as soon as the part has come to its end."""

        def wait(self, timeout=None):
            if timeout is None:
                return super().wait()
            os.read(alive, 1)
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(run.subprocess, "Popen", Popen)
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(alive, True)
    # Without a writer there would be nothing to wait for.
    writer = os.open(tmp_path / "alive", os.O_WRONLY)
    script = """
        echo '{"rows": [{"": "one"}]}' > part.json; echo hello
        (exec 3> alive; echo >&3; sleep 1000) & wait
    """
    command = ["sh", "-c", f"cd '{tmp_path}'; {script}"]
    outcome = run.run_part("part", command, 60, tmp_path, dict(os.environ))
    assert outcome.status == "out of time"
    assert outcome.findings == {"rows": [{"": "one"}]}
    assert outcome.log == ["hello"]
    # The pipe ends with the last process that can write to it.
    os.close(writer)
    assert select.select([alive], [], [], 30)[0]
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_the_parts_are_those_that_exist_and_fit_into_8_minutes():
    assert [*run.PARTS] == [*parts.PARTS]
    assert sum(part.limit for part in run.PARTS.values()) <= 480


def test_tests_that_are_left_out_exist():
    names = [path.name for path in (ROOT / "tests").rglob("*")]
    for pattern in parts.NOT_ON_GPU:
        assert fnmatch.filter(names, pattern), pattern
    assert [*(ROOT / "tests").rglob(parts.FOR_STAND_IN)]


def test_every_process_of_a_part_without_a_gpu_has_the_stand_in_for_cupy():
    environment = run.make_environment(run.PARTS["verify"], stand_in=True)
    code = "import anyback_nn, cupy; print(cupy.ndarray.__module__, anyback_nn.select('cupy').name)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["cupy_stand_in", "cupy"]


def test_launches_of_traced_steps_are_counted(tmp_path):
    workload, part = WORKLOADS[0], parts.Run(tmp_path / "launches.json", stand_in=True)
    with cupy_stand_in.installed():
        part.attempt("digits", lambda: parts.measure_launches(workload, part))
        part.attempt("broken", lambda: 1 / 0)
    (row,) = part.rows
    assert part.failures == {"broken": "ZeroDivisionError: division by zero"}
    assert 0 < row["fused"] < row["calls"]
    assert row["kernels"] < 0.55 * row["kernels, untraced"]
    assert json.loads(part.path.read_text())["rows"] == [row]


def test_a_program_that_is_not_kept_says_why(tmp_path, monkeypatch):
    part = parts.Run(tmp_path / "launches.json", stand_in=True)
    with cupy_stand_in.installed():
        rules = importlib.import_module("anyback_nn.backends.cupy").RULES
        monkeypatch.setattr(type(rules), "verify", lambda *arrays: 0.5)
        row = parts.measure_launches(WORKLOADS[0], part)
    assert row["calls"] is None
    (reason,) = part.failures.values()
    assert reason == (
        "no program was kept: TraceError: results that differ in the replay, "
        "in 50.0% of their elements"
    )


def test_transfers_are_measured():
    row = parts.measure_overlap("cupy", parts.SMALL, stand_in=True)
    assert min(row[name] for name in ("copy", "resident", "plain", "transfer")) > 0

"""The prepared run for a GPU: a part that hangs or fails costs the others nothing."""

import importlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import cupy_stand_in
import pytest

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


@pytest.fixture
def gpu(benchmarks):
    return importlib.import_module("gpu")


@pytest.fixture
def gpu_parts(gpu, monkeypatch):
    module = importlib.import_module("gpu_parts")
    monkeypatch.setattr(module, "TURNS", 1)
    return module


def test_a_part_that_hangs_or_fails_stops_no_other(gpu, tmp_path, monkeypatch):
    (tmp_path / "gpu_parts.py").write_text(PARTS)
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    limits = {"hangs": 0.05, "fails": 60, "last": 60}
    monkeypatch.setattr(gpu, "PARTS", {one: gpu.Part(one, limit) for one, limit in limits.items()})
    folder = tmp_path / "results"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--stand-in", "--output", str(folder)])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    # The summary is rewritten after each part, as the last one has seen.
    (seen,) = json.loads((folder / "last.json").read_text())["notes"]
    for line in ("| hangs | out of time |", "| fails | failed |", "| last | not run yet |"):
        assert line in seen
    text = (folder / "summary.md").read_text()
    assert "| last | done |" in text
    assert "| last | 0.5 |" in text
    assert "```\nit is broken\n```" in text


def test_the_exit_status_is_0_if_all_is_done(gpu, tmp_path, monkeypatch):
    (tmp_path / "gpu_parts.py").write_text(PARTS)
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "PARTS", {"first": gpu.Part("first", 60)})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--stand-in", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 0


def test_at_the_limit_all_processes_end_and_what_was_found_is_kept(gpu, tmp_path, monkeypatch):
    class Popen(subprocess.Popen):
        """Reaches its limit as soon as the part has come to its end."""

        def wait(self, timeout=None):
            if timeout is None:
                return super().wait()
            os.read(alive, 1)
            raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(gpu.subprocess, "Popen", Popen)
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
    outcome = gpu.run("part", command, 60, tmp_path, dict(os.environ))
    assert outcome.status == "out of time"
    assert outcome.findings == {"rows": [{"": "one"}]}
    assert outcome.log == ["hello"]
    # The pipe ends with the last process that can write to it.
    os.close(writer)
    assert select.select([alive], [], [], 30)[0]
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_the_parts_are_those_that_there_are_and_fit_into_8_minutes(gpu, gpu_parts):
    assert [*gpu.PARTS] == [*gpu_parts.PARTS]
    assert sum(part.limit for part in gpu.PARTS.values()) <= 480
    assert all((ROOT / f"tests/{name}.py").is_file() for name in gpu_parts.TESTS)


def test_launches_of_traced_steps_are_counted(gpu_parts, tmp_path):
    work = importlib.import_module("peers.work").WORKS[0]
    run = gpu_parts.Run(tmp_path / "launches.json", stand_in=True)
    with cupy_stand_in.installed():
        run.attempt("digits", lambda: gpu_parts.launches_of(work, run))
        run.attempt("broken", lambda: 1 / 0)
    (row,) = run.rows
    assert run.failures == {"broken": "ZeroDivisionError: division by zero"}
    assert 0 < row["fused"] < row["calls"]
    assert row["kernels"] < row["kernels, unrecorded"] / 2
    assert json.loads(run.path.read_text())["rows"] == [row]


def test_a_recording_that_is_not_kept_says_why(gpu_parts, tmp_path, monkeypatch):
    work = importlib.import_module("peers.work").WORKS[0]
    run = gpu_parts.Run(tmp_path / "launches.json", stand_in=True)
    with cupy_stand_in.installed():
        library = importlib.import_module("anyback_nn.backends.cupy").RULES
        monkeypatch.setattr(type(library), "verify", lambda *arrays: 0.5)
        row = gpu_parts.launches_of(work, run)
    assert row["calls"] is None
    (reason,) = run.failures.values()
    assert reason == (
        "no recording was kept: TraceError: results that differ in the replay; "
        "differing shares up to 0.5"
    )


def test_transfers_are_measured(gpu_parts):
    row = gpu_parts.overlap_on("cupy", gpu_parts.SMALL, stand_in=True)
    assert min(row[name] for name in ("copy", "resident", "plain", "feed")) > 0

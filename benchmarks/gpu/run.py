"""A prepared run for Linux with an NVIDIA GPU: tests and measurements, in at most 8 minutes.

    python -m benchmarks gpu               # writes to results/gpu/
    python -m benchmarks gpu --stand-in    # runs the same code without a GPU, to test it

Each part (see `parts.py`) is a process of its own with a time limit, to which the time is added
that those before it have left. A part that fails, crashes or hangs does not stop the others.
``summary.md`` is rewritten after each part; what a part has measured before its limit is kept.
Neither the network nor an installation of the package is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyback_nn.utils.files import atomic_write
from benchmarks.harness.process import ROOT
from benchmarks.harness.report import RESULTS, describe_machine, find_versions, format_table

COMMAND = [sys.executable, "-m", "benchmarks.gpu.parts"]
PACKAGES = (
    *("numpy", "array-api-compat", "cupy-cuda12x", "cupy-cuda13x", "torch", "jax", "optax"),
    *("scikit-learn", "pytest", "pytest-xdist", "hypothesis"),
)
NEEDED = ("numpy", "array_api_compat", "pytest", "hypothesis")
"""Modules without which nothing can be run."""
ENVIRONMENT = {
    # The parts, and the systems of the tables, share the GPU's memory.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # CuPy and PyTorch multiply in float32 by default, JAX in TF32.
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
}
FOR_STAND_INS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The machine may be busy with other work."""
STAND_INS = (Path(__file__).parent / "stand_ins", ROOT / "tests/backends")
MOST_LINES, MOST_FAILURES = 5, 50
"""How many lines of the log, and failures, of a part are shown."""


@dataclass(frozen=True)
class Part:
    """A part of the run.

    Attributes
    ----------
    title : str
    limit : float
        Seconds after which it is killed, if those before it have used all of theirs.
    environment : dict of str to str
        Environment variables in addition to `ENVIRONMENT`.
    """

    title: str
    limit: float
    environment: Mapping[str, str] = field(default_factory=dict)


PARTS = {
    # JAX is only a reference in the tests: eight workers need not start it on the GPU.
    "tests": Part("Tests on CuPy", 90, {"JAX_PLATFORMS": "cpu"}),
    "launches": Part("Traced steps on CuPy", 40),
    "verify": Part("Differences from NumPy in float64 after 200 steps", 60),
    "prediction": Part("Prediction, microseconds a call", 70),
    "overlap": Part("Transfers during computation", 40),
    "training": Part("Training, milliseconds an epoch", 180),
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a part.

    Attributes
    ----------
    status : str
        ``"done"``, ``"failed"`` or ``"out of time"``.
    seconds : float
    findings : dict
        What it has written: ``rows`` of a table, ``failures`` by name, ``notes``.
    log : list of str
        The last lines that it has printed.
    """

    status: str
    seconds: float
    findings: dict[str, Any]
    log: list[str]


# Running -----------------------------------------------------------------------------------------


def make_environment(part: Part, stand_in: bool) -> dict[str, str]:
    """Return the environment variables of a part."""
    paths = [ROOT, *(STAND_INS if stand_in else ()), *filter(None, [os.environ.get("PYTHONPATH")])]
    changed = ENVIRONMENT | part.environment | (FOR_STAND_INS if stand_in else {})
    return os.environ | changed | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def run_part(
    name: str, command: list[str], limit: float, folder: Path, environment: dict[str, str]
) -> Outcome:
    """Run a part, and kill it and all processes that it has started at its limit.

    Parameters
    ----------
    name : str
        The part writes its findings to ``folder / f"{name}.json"``.
    command : list of str
    limit : float
        Seconds.
    folder : Path
    environment : dict of str to str
        All environment variables.
    """
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    started, status = time.perf_counter(), "out of time"
    with (folder / "log.txt").open("a+", encoding="utf-8", errors="replace") as log:
        print(f"\n===== {name} =====", file=log, flush=True)
        start = log.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            process_group=0,
        )
        try:
            status = "failed" if process.wait(limit) else "done"
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(start)
        lines = log.read().rstrip().splitlines()[-MOST_LINES:]
    findings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Outcome(status, time.perf_counter() - started, findings, lines)


def find_device() -> str | None:
    """Ask the NVIDIA driver for the name of the GPU and the version of CUDA that it supports."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number, version, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(number), 0):
        return None
    driver.cuDeviceGetName(name, len(name), number)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return f"{name.value.decode()}, driver for CUDA {version.value // 1000}"


# Reporting ---------------------------------------------------------------------------------------


def summarize(head: str, parts: Mapping[str, Part], outcomes: Mapping[str, Outcome]) -> str:
    """Write the summary: how each part ended, then its numbers."""
    rows = [
        [part.title, outcome.status, f"{outcome.seconds:.0f}", f"{part.limit:g}"]
        if (outcome := outcomes.get(name))
        else [part.title, "not run yet", "-", f"{part.limit:g}"]
        for name, part in parts.items()
    ]
    table = format_table(["", "", "seconds", "limit"], rows, n_strings=2)
    paragraphs = ["# A run on a GPU", head, table]
    for name, outcome in outcomes.items():
        paragraphs += [f"## {parts[name].title}", *describe(outcome)]
    return "\n\n".join(paragraphs) + "\n"


def describe(outcome: Outcome) -> list[str]:
    """Write the findings of a part, and the end of its log if it was not done."""
    findings = outcome.findings
    paragraphs = [format_rows(findings["rows"])] if findings.get("rows") else []
    paragraphs += findings.get("notes", [])
    if failures := findings.get("failures"):
        lines = [f"- {name}: {' '.join(reason.split())[:300]}" for name, reason in failures.items()]
        if len(lines) > MOST_FAILURES:
            lines[MOST_FAILURES:] = [f"- and {len(lines) - MOST_FAILURES} more"]
        paragraphs.append("\n".join(["Failed or not measured:", "", *lines]))
    if outcome.status != "done":
        paragraphs.append("\n".join(["```", *outcome.log, "```"]))
    return paragraphs


def format_rows(rows: list[dict[str, Any]]) -> str:
    """Format rows with the same keys as a table; the first key names the row."""

    def format_cell(value: Any) -> str:
        if value is None:
            return "-"
        if not isinstance(value, float):
            return str(value)
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

    return format_table(
        list(rows[0]), [[format_cell(cell) for cell in row.values()] for row in rows]
    )


def main(arguments: list[str]) -> None:
    """Run the parts; the exit status is 1 if one was not done."""
    # A part that is running then ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    parser = argparse.ArgumentParser("python -m benchmarks gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu", metavar="DIR")
    parser.add_argument("--stand-in", action="store_true", help="without a GPU, to test the run")
    options = parser.parse_args(arguments)
    parts = {name: PARTS[name] for name in options.only or PARTS}
    where = "stand-ins, on the CPU" if options.stand_in else find_device()
    if where is None:
        sys.exit("no NVIDIA driver with a usable GPU was found; to try the code: --stand-in")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(f"not installed here: {', '.join(missing)}. This run installs nothing")
    print(where, flush=True)
    versions = ", ".join(f"{name} {number}" for name, number in find_versions(PACKAGES).items())
    head = f"{where}; {describe_machine()}; {versions}."
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").unlink(missing_ok=True)
    outcomes: dict[str, Outcome] = {}
    deadline = time.perf_counter()
    for name, part in parts.items():
        deadline += part.limit
        command = [*COMMAND, name, str(folder), *(["--stand-in"] if options.stand_in else [])]
        environment = make_environment(part, options.stand_in)
        limit = deadline - time.perf_counter()
        outcomes[name] = run_part(name, command, limit, folder, environment)
        with atomic_write(folder / "summary.md") as path:
            path.write_text(summarize(head, parts, outcomes), encoding="utf-8")
        print(f"{name}: {outcomes[name].status}, {outcomes[name].seconds:.0f} s", flush=True)
    print(f"written to {folder / 'summary.md'}")
    sys.exit(any(outcome.status != "done" for outcome in outcomes.values()))

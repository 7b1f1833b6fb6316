"""Programs that a launcher starts as several ranks on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

LAUNCHERS = {"mpi": ("mpiexec", "-n"), "gloo": ("torchrun", "--standalone", "--nproc-per-node")}
each_launcher = pytest.mark.parametrize(
    "launcher", ["mpi", pytest.param("gloo", marks=pytest.mark.needs("torch"))]
)

ENVIRONMENT = {
    # Open MPI refuses these otherwise; other launchers do not read them.
    **{"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def launch(launcher: str, n_ranks: int, *program: Any, **options: Any) -> Outcome:
    """Run a program, a script or ``-m`` and a module, on several ranks; fail if it hangs."""
    return run(*list_words(launcher, n_ranks, *program), **options)


def list_words(launcher: str, n_ranks: int, *program: Any) -> list[str]:
    """List the words of the command that starts a program on several ranks."""
    first, *rest = LAUNCHERS[launcher]
    python = [sys.executable] if launcher == "mpi" else []
    words = [Path(sys.executable).with_name(first), *rest, n_ranks, *python, *program]
    return [*map(str, words)]


def make_environment() -> dict[str, str]:
    """Return the environment of a launcher."""
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(*command: Any, timeout: float = 120.0, folder: Path | None = None) -> Outcome:
    """Run a command in a folder; fail with its output if it hangs."""
    # Files, because ranks that go on would keep a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [*map(str, command)],
            **{"env": make_environment(), "cwd": folder, "stdout": out, "stderr": err},
            start_new_session=True,
        )
        hangs = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            hangs = True
            process.terminate()  # a launcher ends its ranks
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        outcome = Outcome(process.returncode, out.read(), err.read())
    if hangs:
        pytest.fail(f"{command} had not ended after {timeout} seconds: {outcome}")
    return outcome

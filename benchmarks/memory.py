"""Memory and first steps: peaks in training, and the time to the first step.

    python -m benchmarks memory --quick

- Peak memory: each system of `peers/systems.py` trains 784-256-128-10 on Fashion-MNIST in a process
  of its own. The data come from a file that all read alike; the kernel reports what was resident
  when the system was imported, when the data were loaded, and the peak.
- Time to the first step: from the start of Python to the end of a first `fit` of one batch, on each
  backend, in its parts.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness.memory import MIB, read_status
from benchmarks.harness.process import Worker, WorkerError, run_python, serve
from benchmarks.harness.report import format_results, make_parser, publish
from benchmarks.harness.turns import take_turns
from benchmarks.peers.systems import FLOOR, ON_GPU, SYSTEMS, ask_for_epochs, find_packages
from benchmarks.peers.workloads import Workload, read, write

WORKLOAD = Workload("fashion", (784, 256, 128, 10), 128)
NETWORK = "-".join(map(str, WORKLOAD.sizes))
BATCH = WORKLOAD.batch
BACKENDS = ("numpy", "torch", "jax", "array-api-strict")


# Peak memory in training -------------------------------------------------------------------------


def train(name: str, folder: str, samples: int, epochs: int) -> dict[str, float]:
    """Train one system in this process; return its resident memory in bytes."""
    system, n = SYSTEMS[name], 2 * WORKLOAD.batch
    # Once with next to nothing, to import and compile.
    x, y = np.zeros((n, WORKLOAD.sizes[0]), np.float32), np.arange(n, dtype=np.int32) % 10
    system.train(WORKLOAD, x, y, ask_for_epochs(0))
    imported = read_status("VmRSS")
    x, y = read(WORKLOAD, samples, Path(folder))
    data = read_status("VmRSS")
    system.train(WORKLOAD, x, y, ask_for_epochs(epochs))
    return {"imported": imported, "data": data, "peak": read_status("VmHWM")}


def measure_peaks(names: list[str], samples: int, epochs: int) -> dict[str, Any]:
    """Train all systems, one after another."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write(WORKLOAD, samples, Path(folder))
        request = {"folder": folder, "samples": samples, "epochs": epochs}
        for name in names:
            with Worker("memory") as worker:
                try:
                    results[name] = worker.ask(name=name, **request)
                except WorkerError as error:
                    results[name] = str(error)
    return results


def format_peaks(result: dict[str, float]) -> list[str]:
    """Format the cells of a system, in MiB."""
    sizes = [*result.values(), result["peak"] - result["data"]]
    return [f"{size / MIB:,.0f}" for size in sizes]


# The first step ----------------------------------------------------------------------------------

FIRST_STEP = """
import sys, time
clock, started = time.perf_counter, float(sys.argv[1])
begun = clock()
import anyback_nn as nn
from anyback_nn import Model
imported = clock()
import numpy as np
layers = nn.Dense(256), nn.ReLU(), nn.Dense(128), nn.ReLU(), nn.Dense(10)
model = Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=sys.argv[2])
made = clock()
x, y = np.zeros((128, 784), np.float32), np.zeros(128, np.int32)
model.fit(x, y, epochs=1, batch_size=128, progress=False)
stepped = clock()
model.fit(x, y, epochs=1, batch_size=128, progress=False)
again = clock()
print(begun - started, imported - begun, made - imported, stepped - made, again - stepped)
"""
PARTS = ("Python", "import", "backend", "first fit")


def time_first_step(backend: str) -> list[float]:
    """Start Python and take a step; return the seconds of each part, and of a second step."""
    # The clock counts since the machine was started, the same in all processes.
    printed = run_python("-c", FIRST_STEP, repr(time.perf_counter()), backend)
    return [float(seconds) for seconds in printed.split()]


def measure_first_steps(repeats: int, warm_up: int) -> dict[str, Any]:
    """Take a first step on each backend when it is its turn."""
    tasks = {backend: partial(time_first_step, backend) for backend in BACKENDS}
    return take_turns(tasks, repeats, warm_up)


def format_first_steps(turns: list[list[float]]) -> list[str]:
    """Format the cells of a backend."""
    total = median(sum(times[: len(PARTS)]) for times in turns)
    *parts, second = (median(column) for column in zip(*turns))
    return [*(f"{seconds:.3f}" for seconds in (total, *parts)), f"{second * 1e3:,.2f}"]


# The report --------------------------------------------------------------------------------------


def run_worker() -> None:
    """Train in this process, as another one requests it."""
    serve(train)


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "memory")
    parser.add_argument("--repeats", type=int, default=0, help="timed processes; default: 7")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME")
    options = parser.parse_args(arguments)
    quick = options.quick
    # The slowest of them compiles for most of a minute.
    left_out = (FLOOR, *ON_GPU, *(["torch.compile"] if quick else []))
    names = options.systems or [name for name in SYSTEMS if name not in left_out]
    samples = 6_000 if quick else 60_000
    repeats = options.repeats or (1 if quick else 7)
    trained = measure_peaks(names, samples, epochs=1 if quick else 2)
    # The disk's cache is cold in a first turn.
    first_steps = measure_first_steps(repeats, warm_up=0 if quick else 1)
    n_bytes = 4 * WORKLOAD.sizes[0] * samples
    paragraphs = [
        "## Peak memory in training",
        f"{NETWORK} on Fashion-MNIST{', a tenth of it' * quick}, batch {BATCH}, Adam; MiB of "
        "resident memory: with the library imported and a network made, with the data "
        f"({n_bytes / MIB:,.0f} MiB), the peak (VmHWM), and the peak above what data and library "
        "take.",
        format_results(["", "imported", "with data", "peak", "above"], trained, format_peaks),
        "## Time to the first step",
        f"Seconds from the start of Python to the end of a `fit` of one batch of {BATCH}, "
        f"{NETWORK}: medians of {repeats} processes; then the milliseconds of a second such `fit`.",
        format_results(
            ["backend", "total", *PARTS, "second fit, ms"], first_steps, format_first_steps
        ),
    ]
    title, packages = "Memory and first steps", [*find_packages(names), "array-api-strict"]
    contents = {"trained": trained, "first_steps": first_steps}
    publish(options, __file__, title, packages, paragraphs, **contents)

"""The parts of `run.py`, each a process: ``python -m benchmarks.gpu.parts NAME FOLDER``.

A part writes its findings to ``FOLDER/NAME.json`` while it runs, so that what it has measured is
kept if it is killed. With ``--stand-in`` the same code runs without a GPU: CuPy is the stand-in of
the tests, PyTorch and JAX compute on the CPU, and some sizes are smaller.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import anyback_nn as nn
from anyback_nn.utils.files import atomic_write
from benchmarks.harness.internals import (
    Steps,
    collect_programs,
    count_kernels,
    disable_tracing,
    limit_memory,
)
from benchmarks.harness.process import ROOT
from benchmarks.harness.report import count_cores
from benchmarks.peers.systems import make_model, make_optimizer
from benchmarks.peers.workloads import WORKLOADS, Workload, load

Row = dict[str, Any]
GPU_SYSTEMS = ("ours, numpy", "ours, cupy", "ours, torch:cuda", "ours, jax", "torch:cuda eager")
TRAINING = (*GPU_SYSTEMS, "JAX + Optax", "JAX + Optax, scan", "Keras on JAX")
PREDICTING = (*GPU_SYSTEMS, "JAX + Optax", "Keras on JAX")
PEERS_MAY_MISS = ("training", "prediction")
"""The parts in which only ours on CuPy must be there."""


@dataclass
class Run:
    """The running part and its findings.

    Attributes
    ----------
    path : Path
        The file of the findings.
    stand_in : bool
    rows : list of dict
        The rows of the part's table, all with the same keys.
    failures : dict of str to str
        Reasons, by the names of what failed.
    notes : list of str
        Paragraphs after the table.
    data : dict
        What the summary does not show.
    """

    path: Path
    stand_in: bool = False
    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the findings so far."""
        names = ("rows", "failures", "notes", "data")
        with atomic_write(self.path) as path:
            path.write_text(json.dumps({name: getattr(self, name) for name in names}, indent=1))

    def attempt(self, name: str, measure: Callable[[], Row | list[Row]]) -> None:
        """Add what is measured to the rows, or the reason why it fails to the failures."""
        print(f"{name} ...", flush=True)
        try:
            rows = measure()
            self.rows += rows if isinstance(rows, list) else [rows]
        except Exception as error:  # whatever it is, the others are still to be measured
            traceback.print_exc()
            self.failures[name] = f"{type(error).__name__}: {error}"
        self.save()

    def name_on_cpu(self, systems: Iterable[str]) -> list[str]:
        """Name backends or systems: without a GPU, PyTorch is on the CPU."""
        return [one.replace(":cuda", "") if self.stand_in else one for one in systems]


# Tests -------------------------------------------------------------------------------------------

NOT_ON_GPU = (
    *("cli", "datasets", "sklearn*", "testing"),
    *("test_mutants.py", "test_docs.py", "test_benchmarks.py", "test_gpu_run.py"),
    "test_network_hypothesis.py",
)
"""Folders and files of tests that depend on no backend, or that take too long here."""
FOR_STAND_IN = "test_backend*.py"
WORKERS = 8


class Watch:
    """A plugin of pytest that adds the outcomes of tests to the findings."""

    def __init__(self, run: Run) -> None:
        self.run, self.counts, self.saved = run, Counter[str](), 0.0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a test."""
        if report.when == "call" or report.outcome != "passed":
            self.count(report)

    def pytest_collectreport(self, report: Any) -> None:
        """Count a file that cannot be imported."""
        if report.failed:
            self.count(report)

    def pytest_sessionfinish(self) -> None:
        """Write all."""
        self.save()

    def count(self, report: Any) -> None:
        """Add a report."""
        self.counts[report.outcome] += 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.run.failures[report.nodeid] = " ".join(message.split())[:300]
        if report.failed or time.monotonic() - self.saved > 1:
            self.save()

    def save(self) -> None:
        """Write the counts."""
        counts = {name: self.counts[name] for name in ("passed", "failed", "skipped")}
        self.run.rows = [{"": "tests", **counts}]
        self.run.save()
        self.saved = time.monotonic()


def tests(run: Run) -> None:
    """Run the tests on CuPy; without a GPU a few of them on array-api-strict."""
    import pytest

    plugins, workers = ["anyback_nn.testing.pytest_entry"], []
    if find_spec("xdist"):
        plugins.append("xdist.plugin")
        workers = ["-n", str(min(count_cores(), WORKERS))]
    # Ours need not be installed, and those of others may warn.
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": ",".join(plugins)}
    # The project's settings make errors of warnings, of which CuPy has some of its own.
    options = ["-q", "-W", "default", "-o", "addopts=--import-mode=importlib", "--tb=short"]
    options += ["--continue-on-collection-errors", "-p", "no:cacheprovider"]
    folder = ROOT / "tests"
    if run.stand_in:
        options += ["--backend", "array-api-strict", *map(str, folder.rglob(FOR_STAND_IN))]
    else:
        options += ["--backend", "cupy", str(folder)]
        options += [f"--ignore-glob=*/{name}" for name in NOT_ON_GPU]
    status = pytest.main([*options, *workers], plugins=[Watch(run)])
    if status and not run.failures:
        run.failures["pytest"] = f"it ends with {status!r}"


# Traced steps ------------------------------------------------------------------------------------

NETWORKS = (0, 2, 3, 6)
"""Indices of `WORKLOADS`."""
FEW, MANY, TURNS = 16, 48, 5
"""Numbers of steps, and how often they are timed."""


def launches(run: Run) -> None:
    """Count the launches of traced steps on CuPy and of others, and time both."""
    run.notes.append(
        "A step: the calls of its program, of which *fused* are kernels of ours; the kernels "
        "that PyTorch's profiler counts, without copies; milliseconds."
    )
    for workload in (WORKLOADS[index] for index in NETWORKS):
        run.attempt(workload.name, partial(measure_launches, workload, run))


def measure_launches(workload: Workload, run: Run) -> Row:
    """Measure one network."""
    from anyback_nn.backends.cupy import CupyBackend

    with collect_programs() as (programs, refusals):
        kernels, seconds = measure_steps(workload, CupyBackend(), run.stand_in)
    untraced_kernels, untraced_seconds = measure_steps(
        workload, disable_tracing(CupyBackend)(), run.stand_in
    )
    if not programs:
        run.failures[workload.name] = ": ".join(["no program was kept", *refusals])
    calls, fused = count_kernels(programs[0]) if programs else (None, 0)
    return {
        "": workload.name,
        "calls": calls,
        "fused": fused,
        "kernels": kernels,
        "kernels, untraced": untraced_kernels,
        "ms": seconds * 1e3,
        "ms, untraced": untraced_seconds * 1e3,
        "ratio": untraced_seconds / seconds,
    }


def measure_steps(workload: Workload, backend: Any, stand_in: bool) -> tuple[float | None, float]:
    """Train a network; return the kernels and the seconds of a step."""
    model = make_model(workload, backend).build(workload.sizes[0])
    x, y = (array[: MANY * workload.batch] for array in load(workload.data))
    steps = Steps(model, x, y, make_optimizer(workload), workload.batch)
    steps(MANY)
    seconds = median(steps(MANY) for _ in range(TURNS)) / MANY
    count = count_of_stand_in if stand_in else count_by_profiler
    # The difference leaves out what is done once an epoch.
    few, many = (count(partial(steps, n)) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW) if few and many else None, seconds


def count_of_stand_in(task: Callable[[], Any]) -> int:
    """Count the launches of the stand-in for CuPy."""
    from cupy_stand_in import count

    before: int = count.launches
    task()
    return int(count.launches) - before


def count_by_profiler(task: Callable[[], Any]) -> int:
    """Count the kernels that any library launches, without copies; 0 if nothing can count them."""
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile

        torch.cuda.init()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            task()
            torch.cuda.synchronize()
        events = [event for event in profiler.events() if event.device_type.name == "CUDA"]
    except Exception:  # without it the rest is still worth knowing
        traceback.print_exc()
        return 0
    return sum(not event.name.startswith(("Memcpy", "Memset")) for event in events)


# Agreement with NumPy ----------------------------------------------------------------------------


def verify(run: Run) -> None:
    """Compare each backend with NumPy in float64, by the command line."""
    for spec in run.name_on_cpu(["numpy", "cupy", "torch:cuda", "jax"]):
        run.attempt(spec, partial(verify_backend, spec, run))


def verify_backend(spec: str, run: Run) -> list[Row]:
    """Compare one backend."""
    command = [sys.executable, "-m", "anyback_nn", "verify", "--backends", spec]
    command += ["--steps", "200", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(result.stderr, end="", flush=True)
    if not result.stdout.strip():
        raise RuntimeError(result.stderr.strip()[-300:])
    report = json.loads(result.stdout)
    runs = report["runs"]
    run.data[spec] = [{key: one[key] for key in one if key != "steps"} for one in runs]
    if not report["agree"]:
        run.failures[spec] = "it differs by more than rounding"
    return [
        {
            "": f"{one['backend']} {one['version']}, {one['device']}",
            "dtype": one["dtype"],
            **{
                name: one["largest"][name]["relative"]
                for name in ("loss", "gradients", "parameters")
            },
            "agrees": "yes" if one["agrees"] else "no",
            "accuracy": one["scores"]["accuracy"],
            "seconds": one["seconds"],
        }
        for one in runs
    ]


# Tables ------------------------------------------------------------------------------------------


def training(run: Run) -> None:
    """Measure the training table, see `benchmarks/training.py`."""
    from benchmarks.training import (
        QUICK,
        Effort,
        format_milliseconds,
        measure_rows,
        summarize,
    )

    names, indices = run.name_on_cpu(TRAINING), range(len(WORKLOADS))
    effort = Effort(repeats=3, operations=3e10, batches=100)
    if run.stand_in:
        indices, effort = NETWORKS, QUICK
    for workload, n, results in measure_rows(names, indices, effort):
        run.data[workload.name] = results
        times = {name: format_milliseconds(results, name) for name in names}
        run.rows.append({"": workload.name, "samples": n, **times})
        run.notes = [summarize(run.data)]
        note_missing(run, workload.name, results)


def prediction(run: Run) -> None:
    """Measure the prediction table, see `benchmarks/prediction.py`."""
    from benchmarks.prediction import measure_cases

    names = run.name_on_cpu(PREDICTING)
    for case, results in measure_cases(names, repeats=3, seconds=0.05):
        run.data[case] = results
        times = {
            name: median(result["seconds"]) * 1e6 if isinstance(result, dict) else None
            for name, result in results.items()
        }
        run.rows.append({"": case, **times})
        note_missing(run, case, results)


def note_missing(run: Run, row: str, results: dict[str, Any]) -> None:
    """Note why systems could not be measured, once each, and write the findings."""
    for name, result in results.items():
        if isinstance(result, str):
            run.failures.setdefault(name, f"{result} ({row}, and maybe others)")
    run.save()


# Transfers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """The sizes of the data and the networks with which transfers are measured."""

    n_in: int = 2048
    batch: int = 2048
    n_batches: int = 16
    widths: tuple[int, ...] = (512, 1024, 2048, 4096)
    epochs: int = 6


SMALL = Sizes(n_in=64, batch=64, n_batches=8, widths=(16, 64), epochs=4)


def overlap(run: Run) -> None:
    """Measure epochs with batches that are copied while the device computes, and others."""
    run.notes.append(
        "Milliseconds a batch. *copy*: `asarray` of a batch alone; *resident*: all data are on the "
        "device; *plain*: `asarray` for each batch; *transfer*: from pinned memory in another "
        "stream. The network is the one of which a step takes about as long as a copy."
    )
    sizes = SMALL if run.stand_in else Sizes()
    for spec in run.name_on_cpu(["cupy", "torch:cuda"]):
        run.attempt(spec, partial(measure_overlap, spec, sizes, run.stand_in))


def measure_overlap(spec: str, sizes: Sizes, stand_in: bool) -> Row:
    """Measure on one backend."""
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((sizes.batch, sizes.n_in), dtype=np.float32)
    x = np.tile(batch, (sizes.n_batches, 1))
    with open_backend(spec, stand_in) as backend:

        def train(width: int, free: int | None, transfer: bool = True) -> float:
            kind = limit_memory(type(backend), free, transfer)
            return time_batches(kind(backend.device_name), x, width, sizes)

        copy = time_copy(backend, batch)
        steps = {width: train(width, free=None) for width in sizes.widths}
        width = min(steps, key=lambda one: max(steps[one] / copy, copy / steps[one]))
        plain = train(width, free=0, transfer=False)
        transfer = train(width, free=0)
    return {
        "": f"{spec}, {batch.nbytes / 2**20:.3g} MiB, width {width}",
        "copy": copy * 1e3,
        "resident": steps[width] * 1e3,
        "plain": plain * 1e3,
        "transfer": transfer * 1e3,
        "plain / transfer": plain / transfer,
        "transfer / resident": transfer / steps[width],
    }


@contextlib.contextmanager
def open_backend(spec: str, stand_in: bool) -> Iterator[Any]:
    """Select the backend; without a GPU it computes on the one that the tests pretend."""
    if not stand_in:
        yield nn.select(spec)
        return
    import pretended_gpu
    import pytest

    gpu = pretended_gpu.Gpu(eager=("computing", "copying"))
    with pytest.MonkeyPatch.context() as patches:
        pretend = pretended_gpu.cupy_on if spec == "cupy" else pretended_gpu.torch_on
        with pretend(gpu, patches) as backend:
            yield backend


def time_copy(backend: Any, batch: Any) -> float:
    """Measure how long it takes to copy a batch to the device."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        backend.synchronize(backend.asarray(batch, "float32"))
        times.append(time.perf_counter() - started)
    return median(times[2:])


def time_batches(backend: Any, x: Any, width: int, sizes: Sizes) -> float:
    """Train a network with two hidden layers; return the seconds of an epoch, per batch."""
    y = np.arange(len(x), dtype=np.int32) % 10
    model = make_model(Workload("", (sizes.n_in, width, width, 10), sizes.batch), backend)
    model.fit(x, y, epochs=sizes.epochs, batch_size=sizes.batch, shuffle=False, progress=False)
    # A step is traced in the first epoch.
    return median(model.history["seconds"][1:]) / sizes.n_batches


PARTS = {part.__name__: part for part in (tests, launches, verify, prediction, overlap, training)}


def main(name: str, folder: str, *options: str) -> None:
    """Run a part; the exit status is 1 if something failed that must not."""
    run = Run(Path(folder) / f"{name}.json", stand_in="--stand-in" in options)
    PARTS[name](run)
    run.save()
    failed = [one for one in run.failures if name not in PEERS_MAY_MISS or one == "ours, cupy"]
    sys.exit(f"failed: {', '.join(failed[:3])}" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

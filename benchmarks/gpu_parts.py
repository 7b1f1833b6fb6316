"""What `gpu.py` runs, each part in a process of its own: ``python gpu_parts.py NAME FOLDER``.

A part writes its findings to ``FOLDER/NAME.json`` as it goes on, so that what it has measured is
there if it is killed. With ``--stand-in`` the same code runs without a GPU: CuPy is the
stand-in of the tests, PyTorch and JAX compute on the CPU, and some sizes are smaller.
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
from unittest.mock import patch

from gpu import write
from report import cores

Row = dict[str, Any]
GPU_SYSTEMS = ("ours, numpy", "ours, cupy", "ours, torch:cuda", "ours, jax", "torch:cuda eager")
TRAINED = (*GPU_SYSTEMS, "JAX + Optax", "JAX + Optax, scan", "Keras on JAX")
PREDICTED = (*GPU_SYSTEMS, "JAX jit", "Keras on JAX")
PEERS_MAY_MISS = ("training", "prediction")
"""The parts in which only ours on CuPy must be there."""


@dataclass
class Run:
    """The running part and its findings.

    Attributes
    ----------
    path : Path
        Where the findings go.
    stand_in : bool
    rows : list of dict
        Of the part's table, all with the same keys.
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
        write(self.path, json.dumps({name: getattr(self, name) for name in names}, indent=1))

    def attempt(self, name: str, measure: Callable[[], Row | list[Row]]) -> None:
        """Add what is measured to the rows, or the reason why it fails to the failures."""
        print(f"{name} ...", flush=True)
        try:
            found = measure()
            self.rows += found if isinstance(found, list) else [found]
        except Exception as error:  # whatever it is, the others are still to be measured
            traceback.print_exc()
            self.failures[name] = f"{type(error).__name__}: {error}"
        self.save()

    def names(self, systems: Iterable[str]) -> list[str]:
        """Name backends or systems: without a GPU, PyTorch is on the CPU."""
        return [one.replace(":cuda", "") if self.stand_in else one for one in systems]


# Tests -------------------------------------------------------------------------------------------

TESTS = (
    *("backends/test_backends", "jit/test_jit_replay", "test_model"),
    *("network/test_network_compile", "network/test_network_custom"),
    *("network/test_network_dropout", "network/test_network_dtypes"),
    *("network/test_network_losses", "network/test_network_layout"),
    *("network/test_network_precision", "network/test_network_purity"),
    *("network/test_network_stability", "network/test_network_targets"),
    *("network/test_network_initializers", "network/test_network_properties"),
    *("training/test_callbacks", "jit/test_jit_scan", "inputs/test_batches"),
    *("backends/test_transfer", "training/test_metrics", "training/test_mixed_precision"),
    *("optim/test_optimizers", "random/test_random", "random/test_philox"),
    *("test_step_time", "backends/test_tf32"),
    *("training/test_out_of_memory", "jit/test_jit_functions", "network/test_network_torch"),
    *("network/test_network_gradients", "test_model_hypothesis"),
)
"""Some of those that depend on the backend, the most important first."""
WORKERS = 8


class Watch:
    """A plugin of pytest that adds what comes of the tests to the findings.

    Parameters
    ----------
    run : Run
    """

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
            said = crash.message if crash else str(report.longrepr)
            self.run.failures[report.nodeid] = " ".join(said.split())[:300]
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
        plugins, workers = [*plugins, "xdist.plugin"], ["-n", str(min(cores(), WORKERS))]
    # Ours need not be installed, and those of others may warn.
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": ",".join(plugins)}
    spec, names = ("array-api-strict", TESTS[:1]) if run.stand_in else ("cupy", TESTS)
    # The project's settings make errors of warnings, of which CuPy has some of its own.
    options = ["-q", "-W", "default", "-o", "addopts=--import-mode=importlib", "--tb=short"]
    options += ["--continue-on-collection-errors", "-p", "no:cacheprovider", "--backend", spec]
    files = [f"tests/{name}.py" for name in names]
    status = pytest.main([*options, *workers, *files], plugins=[Watch(run)])
    if status and not run.failures:
        run.failures["pytest"] = f"it ends with {status!r}"


# Recorded steps ----------------------------------------------------------------------------------

NETWORKS = (0, 2, 3, 6)
"""Of `peers.work.WORKS`."""
FEW, MANY, TURNS = 16, 48, 5
"""Steps, and how often they are timed."""


def launches(run: Run) -> None:
    """Count the launches of recorded steps on CuPy and of others, and time both."""
    from peers.work import WORKS

    run.notes.append(
        "A step: the calls of its recording, of which *fused* are kernels of ours; the kernels "
        "that PyTorch's profiler counts, without copies; milliseconds."
    )
    for work in (WORKS[index] for index in NETWORKS):
        run.attempt(work.name, partial(launches_of, work, run))


def launches_of(work: Any, run: Run) -> Row:
    """Measure one network."""
    from anyback_nn.backends import Backend
    from anyback_nn.backends.cupy import CupyBackend

    as_it_is = {"trace_rules": None, "scan": Backend.scan}
    unrecorded = type("Unrecorded", (CupyBackend,), as_it_is)
    with plans_noted() as (plans, refusals):
        kernels, seconds = steps_of(work, CupyBackend(), run.stand_in)
    other_kernels, other_seconds = steps_of(work, unrecorded(), run.stand_in)
    calls = [type(call[0]).__name__ for plan in plans[:1] for call in plan.calls]
    if not plans:
        run.failures[work.name] = ": ".join(["no recording was kept", *refusals])
    return {
        "": work.name,
        "calls": plans[0].n_calls if plans else None,
        "fused": calls.count("ElementwiseKernel"),
        "kernels": kernels,
        "kernels, unrecorded": other_kernels,
        "ms": seconds * 1e3,
        "ms, unrecorded": other_seconds * 1e3,
        "ratio": other_seconds / seconds,
    }


@contextlib.contextmanager
def plans_noted() -> Iterator[tuple[list[Any], list[str]]]:
    """Within it, collect the recordings that are kept, and the reasons why others are not."""
    from anyback_nn.backends.cupy import RULES
    from anyback_nn.jit import dispatch

    plans: list[Any] = []
    refusals: list[str] = []
    shares: list[float] = []
    differing = RULES.verify

    def compare(*arrays: Any) -> float:
        shares.append(differing(*arrays))
        return shares[-1]

    class Noted(dispatch.Program):
        def __init__(self, *arguments: Any) -> None:
            shares.clear()
            try:
                super().__init__(*arguments)
            except Exception as error:
                traceback.print_exc()
                compared = f"; differing shares up to {max(shares)}" if shares else ""
                refusals.append(f"{type(error).__name__}: {error}{compared}")
                raise
            plans.append(self)

    with patch.object(dispatch, "Program", Noted), patch.object(RULES, "verify", compare):
        yield plans, refusals


def steps_of(work: Any, backend: Any, stand_in: bool) -> tuple[float | None, float]:
    """Train a network; give the kernels and the seconds of a step."""
    import ours
    from peers.work import load

    from anyback_nn.step_time import Steps

    model = ours.model_of(work, backend).build(work.sizes[0])
    x, y = (one[: MANY * work.batch] for one in load(work.data))
    steps = Steps(model, x, y, ours.optimizer_of(work), work.batch)
    steps(MANY)
    seconds = median(steps(MANY) for _ in range(TURNS)) / MANY
    count = count_of_stand_in if stand_in else count_by_profiler
    # The difference is without what is done once an epoch.
    few, many = (count(partial(steps, n)) for n in (FEW, MANY))
    return (many - few) / (MANY - FEW) if few and many else None, seconds


def count_of_stand_in(task: Callable[[], Any]) -> int:
    """Count the launches of the stand-in for CuPy."""
    from cupy_stand_in import count

    before: int = count.launches
    task()
    return int(count.launches) - before


def count_by_profiler(task: Callable[[], Any]) -> int:
    """Count the kernels that any library launches, without copies; 0 where nothing tells."""
    try:
        import torch
        from torch.profiler import ProfilerActivity, profile

        torch.cuda.init()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            task()
            torch.cuda.synchronize()
        names = [one.name for one in profiler.events() if one.device_type.name == "CUDA"]
    except Exception:  # without it the rest is still worth knowing
        traceback.print_exc()
        return 0
    return sum(not name.startswith(("Memcpy", "Memset")) for name in names)


# Agreement with NumPy ----------------------------------------------------------------------------


def verify(run: Run) -> None:
    """Compare each backend with NumPy in float64, by the command line."""
    for spec in run.names(["numpy", "cupy", "torch:cuda", "jax"]):
        run.attempt(spec, partial(verify_backend, spec, run))


def verify_backend(spec: str, run: Run) -> list[Row]:
    """Compare one backend."""
    command = [sys.executable, "-m", "anyback_nn", "verify", "--backends", spec]
    command += ["--steps", "200", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stderr, end="", flush=True)
    if not done.stdout.strip():
        raise RuntimeError(done.stderr.strip()[-300:])
    found = json.loads(done.stdout)
    run.data[spec] = [{k: v for k, v in one.items() if k != "steps"} for one in found["runs"]]
    if not found["agree"]:
        run.failures[spec] = "it differs by more than rounding"
    quantities = ("loss", "gradients", "parameters")
    return [
        {
            "": f"{one['backend']} {one['version']}, {one['device']}",
            "dtype": one["dtype"],
            **{name: one["largest"][name]["relative"] for name in quantities},
            "agrees": "yes" if one["agrees"] else "no",
            "accuracy": one["scores"]["accuracy"],
            "seconds": one["seconds"],
        }
        for one in found["runs"]
    ]


# Tables ------------------------------------------------------------------------------------------


def training(run: Run) -> None:
    """Measure the training table, see `peers/compare.py`."""
    from peers import compare
    from peers.work import WORKS

    names, works = run.names(TRAINED), range(len(WORKS))
    effort = compare.Effort(repeats=3, operations=3e10, batches=100)
    if run.stand_in:
        works, effort = NETWORKS, compare.QUICK
    for work, n, found in compare.measure_works(names, works, effort):
        run.data[work.name] = found
        times = {name: compare.milliseconds(found, name) for name in names}
        run.rows.append({"": work.name, "samples": n, **times})
        run.notes = [compare.summary(run.data)]
        note_missing(run, work.name, found)


def prediction(run: Run) -> None:
    """Measure the prediction table, see `prediction.py`."""
    import prediction as benchmark

    names = run.names(PREDICTED)
    for case, found in benchmark.measure_cases(names, repeats=3, seconds=0.05):
        run.data[case] = found
        times = {
            name: median(one["seconds"]) * 1e6 if isinstance(one, dict) else None
            for name, one in found.items()
        }
        run.rows.append({"": case, **times})
        note_missing(run, case, found)


def note_missing(run: Run, row: str, found: dict[str, Any]) -> None:
    """Note why systems could not be measured, once each, and write the findings."""
    for name, one in found.items():
        if isinstance(one, str):
            run.failures.setdefault(name, f"{one} ({row}, and maybe others)")
    run.save()


# Transfers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """Of the data and the networks with which transfers are measured."""

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
        "device; *plain*: `asarray` for each batch; *feed*: from pinned memory in another stream. "
        "The network is the one of which a step takes about as long as a copy."
    )
    sizes = SMALL if run.stand_in else Sizes()
    for spec in run.names(["cupy", "torch:cuda"]):
        run.attempt(spec, partial(overlap_on, spec, sizes, run.stand_in))


def overlap_on(spec: str, sizes: Sizes, stand_in: bool) -> Row:
    """Measure on one backend."""
    import numpy as np

    from anyback_nn.backends import Backend

    rng = np.random.default_rng(0)
    batch = rng.standard_normal((sizes.batch, sizes.n_in), dtype=np.float32)
    x = np.tile(batch, (sizes.n_batches, 1))
    with backend_of(spec, stand_in) as backend:

        def seconds(width: int, free: int | None, **members: Any) -> float:
            """Train where so much memory is free; None is enough for all data."""
            members["free_memory"] = lambda self: free
            kind = type("Variant", (type(backend),), members)
            return batch_seconds(kind(backend.device_name), x, width, sizes)

        copy = copy_seconds(backend, batch)
        steps = {width: seconds(width, free=None) for width in sizes.widths}
        width = min(steps, key=lambda one: max(steps[one] / copy, copy / steps[one]))
        plain = seconds(width, free=0, transfer=Backend.transfer)
        feed = seconds(width, free=0)
    return {
        "": f"{spec}, {batch.nbytes / 2**20:.3g} MiB, width {width}",
        "copy": copy * 1e3,
        "resident": steps[width] * 1e3,
        "plain": plain * 1e3,
        "feed": feed * 1e3,
        "plain / feed": plain / feed,
        "feed / resident": feed / steps[width],
    }


@contextlib.contextmanager
def backend_of(spec: str, stand_in: bool) -> Iterator[Any]:
    """Give the backend; without a GPU it computes on the one that the tests pretend."""
    if not stand_in:
        from anyback_nn.backends import select

        yield select(spec)
        return
    import pretended_gpu
    import pytest

    gpu = pretended_gpu.Gpu(eager=("computing", "copying"))
    with pytest.MonkeyPatch.context() as patches:
        on_gpu = pretended_gpu.cupy_on if spec == "cupy" else pretended_gpu.torch_on
        with on_gpu(gpu, patches) as backend:
            yield backend


def copy_seconds(backend: Any, batch: Any) -> float:
    """Measure how long a batch takes to the device."""
    found = []
    for _ in range(7):
        started = time.perf_counter()
        backend.synchronize(backend.asarray(batch, "float32"))
        found.append(time.perf_counter() - started)
    return median(found[2:])


def batch_seconds(backend: Any, x: Any, width: int, sizes: Sizes) -> float:
    """Train a network with two hidden layers; give the seconds of an epoch, for each batch."""
    import numpy as np
    import ours

    y = np.arange(len(x), dtype=np.int32) % 10
    model = ours.model((sizes.n_in, width, width, 10), backend)
    model.fit(x, y, epochs=sizes.epochs, batch_size=sizes.batch, shuffle=False, progress=False)
    # A step is recorded in the first epoch.
    return median(model.history["seconds"][1:]) / sizes.n_batches


PARTS = {one.__name__: one for one in (tests, launches, verify, training, prediction, overlap)}


def main(name: str, folder: str, *options: str) -> None:
    """Run a part; the exit status is 1 if something failed that must not."""
    run = Run(Path(folder) / f"{name}.json", stand_in="--stand-in" in options)
    PARTS[name](run)
    run.save()
    failed = [one for one in run.failures if name not in PEERS_MAY_MISS or one == "ours, cupy"]
    sys.exit(f"failed: {', '.join(failed[:3])}" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

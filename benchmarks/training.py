"""Training time of ours and other libraries: the same data, networks, first weights and batches.

    python -m benchmarks training --quick

Every system has a process of its own and trains when it is its turn, so that all of them meet the
machine in the same states: first an epoch that is not timed, since the others have had the caches,
then one that is. Before the first turn, all build their networks and train two epochs at the
same time, when those that compile do so. Times are medians of the turns; ratios are medians of the
ratios of each turn. (scikit-learn draws first weights of its own.)
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness.process import Worker, WorkerError, serve, start_workers
from benchmarks.harness.report import format_table, make_parser, publish
from benchmarks.harness.turns import median_ratio, name_columns, take_turns
from benchmarks.peers.systems import FLOOR, ON_GPU, SYSTEMS, Turn, find_packages
from benchmarks.peers.workloads import FASHION, WORKLOADS, Workload, load, read, write

Results = dict[str, Any]
"""Of a row: for each system its ``seconds`` and ``losses``, or the reason why there are none."""

OURS = [name for name in SYSTEMS if name.startswith("ours")]
PEERS = [name for name in SYSTEMS if name not in (*OURS, FLOOR)]
REFERENCE = OURS[0]
PAIRS = {
    "JAX + Optax": "ours, jax",
    "JAX + Optax, scan": "ours, jax",
    "torch eager": "ours, torch",
    "torch:cuda eager": "ours, torch:cuda",
}
"""Peers, and ours on the same library."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    repeats : int
        The timed epochs of each system.
    operations : float
        The most floating-point operations of an epoch: large networks get a part of the samples.
    batches : float
        The most batches of an epoch.
    """

    repeats: int
    operations: float
    batches: float = math.inf

    def choose_samples(self, workload: Workload) -> int:
        """Choose the number of samples of an epoch: all, or some whole batches."""
        n_samples = len(load(workload.data)[0])
        affordable = self.operations / (workload.operations * workload.batch)
        # At least two, so that a step has been taken more than twice before it is timed: ours is
        # traced in the third one.
        n_batches = max(2, min(affordable, self.batches))
        if n_batches * workload.batch >= n_samples:
            return n_samples
        return int(n_batches) * workload.batch


FULL = Effort(repeats=5, operations=1.2e11)
QUICK = Effort(repeats=3, operations=4.5e9, batches=25)


# Measuring ---------------------------------------------------------------------------------------


def run_worker(name: str) -> None:
    """Train rows of the table with one system, as the other process requests it."""
    turn: Turn | None = None

    def prepare(workload: int, samples: int, folder: str) -> str | None:
        """Build the network of a row, or return why this system cannot train it."""
        nonlocal turn
        turn, row = None, WORKLOADS[workload]  # the memory of the last row is free then
        reason = SYSTEMS[name].missing(row)
        if reason is None:
            turn = SYSTEMS[name].make_turn(row, *read(row, samples, Path(folder)))
        return reason

    def answer(do: str, **request: Any) -> Any:
        """Prepare a row (``"prepare"``), or train two epochs of it (``"turn"``)."""
        return prepare(**request) if turn is None or do == "prepare" else turn()

    serve(answer)


def ask_all(workers: dict[str, Worker], **request: Any) -> Results:
    """Send all systems the same request, to be done at the same time; return answers or reasons."""
    for worker in workers.values():
        worker.send(**request)
    answers = {}
    for name, worker in workers.items():
        try:
            answers[name] = worker.receive()
        except WorkerError as error:
            answers[name] = str(error)
    return answers


def measure_row(workers: dict[str, Worker], repeats: int, **request: Any) -> Results:
    """Measure one row."""
    prepared = ask_all(workers, do="prepare", **request)
    ready = {name: workers[name] for name, reason in prepared.items() if reason is None}
    # Those that compile do it in the first epoch.
    first = ask_all(ready, do="turn")
    able = [name for name, result in first.items() if is_measured(result)]
    tasks = {name: partial(ready[name].ask, do="turn") for name in able}
    trained = take_turns(tasks, repeats)
    return prepared | first | name_columns(trained, "seconds", "losses")


def measure_rows(
    names: list[str], rows: Iterable[int], effort: Effort
) -> Iterator[tuple[Workload, int, Results]]:
    """Measure one row after another; yield the row, its number of samples and the results."""
    with tempfile.TemporaryDirectory() as folder, start_workers("training", names) as workers:
        for index in rows:
            row = WORKLOADS[index]
            n = effort.choose_samples(row)
            write(row, n, Path(folder))
            request = {"workload": index, "samples": n, "folder": folder}
            yield row, n, measure_row(workers, effort.repeats, **request)


def is_measured(result: Any) -> bool:
    """Return whether a result is no reason why there is none."""
    return not isinstance(result, str)


# Reporting ---------------------------------------------------------------------------------------


def seconds_of(results: Results, name: str | None) -> list[float]:
    """Return the seconds of each turn, or none."""
    result = results.get(name or "")
    return result["seconds"] if isinstance(result, dict) else []


def format_milliseconds(results: Results, name: str) -> str:
    """Format the median time of an epoch."""
    seconds = seconds_of(results, name)
    return f"{median(seconds) * 1e3:,.1f}" if seconds else "-"


def format_ratio(results: Results, numerator: str | None, denominator: str | None) -> str:
    """Format the ratio of the times of two systems."""
    times = [seconds_of(results, name) for name in (numerator, denominator)]
    return f"{median_ratio(*times):.2f}" if all(times) else "-"


def find_fastest(results: Results, names: list[str]) -> str | None:
    """Return the system with the shortest median time."""
    timed = [name for name in names if seconds_of(results, name)]
    return min(timed, key=lambda name: median(seconds_of(results, name)), default=None)


def summarize(rows: dict[str, Results]) -> str:
    """Format a table of what is compared most often."""
    names = {name for results in rows.values() for name in results}
    pairs = {peer: ours for peer, ours in PAIRS.items() if {peer, ours} <= names}
    head = ["", "our best", "best peer", "best peer / our best"]
    head += [f"{peer} / {ours}" for peer, ours in pairs.items()]
    head += [f"our best / {FLOOR}"]
    lines = []
    for row, results in rows.items():
        ours, peer = find_fastest(results, OURS), find_fastest(results, PEERS)
        ratios = [(peer, ours), *pairs.items(), (ours, FLOOR)]
        lines.append(
            [row, ours or "-", peer or "-", *(format_ratio(results, *pair) for pair in ratios)]
        )
    return format_table(head, lines, n_strings=3)


def list_failures(rows: dict[str, Results]) -> list[str]:
    """List what could not be measured, and why: a paragraph, or none."""
    reasons: dict[str, list[str]] = {}
    for row, results in rows.items():
        for name, result in results.items():
            if not is_measured(result):
                reasons.setdefault(f"{name}: {' '.join(result.split())}", []).append(row)
    lines = [f"- {reason} ({'; '.join(names)})" for reason, names in reasons.items()]
    return ["\n".join(["Not measured:", "", *lines])] if lines else []


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "training")
    parser.add_argument("--repeats", type=int, default=0, help="timed epochs of each; default: 5")
    usual = [name for name in SYSTEMS if name not in ON_GPU]
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME", default=usual)
    numbers = range(len(WORKLOADS))
    parser.add_argument("--workloads", nargs="+", type=int, choices=numbers, default=numbers)
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    effort = replace(effort, repeats=options.repeats or effort.repeats)
    names = options.systems
    rows: dict[str, Results] = {}
    samples: dict[str, int] = {}
    started = time.perf_counter()
    for row, n, results in measure_rows(names, options.workloads, effort):
        samples[row.name], rows[row.name] = n, results
        seconds = time.perf_counter() - started
        print(f"{row.name}: measured after {seconds:.0f} s", file=sys.stderr, flush=True)
    milliseconds = [
        [row, f"{samples[row]:,}", *(format_milliseconds(results, name) for name in names)]
        for row, results in rows.items()
    ]
    ratios = [
        [row, *(format_ratio(results, name, REFERENCE) for name in names)]
        for row, results in rows.items()
    ]
    paragraphs = [
        "Ratios of times, medians of the ratios of each turn. Above 1, ours is faster; the last "
        "column compares with NumPy's matrix products alone:",
        summarize(rows),
        f"Milliseconds an epoch, medians of {effort.repeats}. Fewer samples than the data have "
        "are to save time:",
        format_table(["", "samples", *names], milliseconds),
        f"Times over those of {REFERENCE}:",
        format_table(["", *names], ratios),
        *list_failures(rows),
    ]
    if not FASHION.is_dir():
        paragraphs.append("Noise of the shape of Fashion-MNIST replaced it.")
    title, packages = "Training time of ours and other libraries", find_packages(names)
    publish(options, __file__, title, packages, paragraphs, samples=samples, results=rows)

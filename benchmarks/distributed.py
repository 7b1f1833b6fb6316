"""What it costs to train on several ranks, and what that means for many: a model of the cost.

    python -m benchmarks distributed --quick

Ranks are started with ``mpiexec`` on this machine. Training alone with all threads and on ranks of
one thread each take turns, a process a turn; a step's seconds are the median over the epochs but
the first. Sums over ranks are timed on their own: the medians of many. The latency and the
bandwidth that explain them best, by least squares of the relative errors, predict the time of a sum
over any number of ranks by the formula of `predict_sum`; that, and the time of a step on one rank's
share of the batch in as many processes at once that add nothing, predict the time of a step on
ranks.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

import anyback_nn as nn
from anyback_nn.distributed import ALONE, Communicator
from benchmarks.harness.process import ROOT, WorkerError
from benchmarks.harness.report import count_cores, format_table, make_parser, publish
from benchmarks.harness.turns import median_ratio, take_turns

PACKAGES = ("numpy", "anyback_nn", "mpi4py")
NETWORKS = {
    "64-256-128-10": (64, 256, 128, 10),
    "784-1024-1024-10": (784, 1024, 1024, 10),
    "784-2048-2048-10": (784, 2048, 2048, 10),
}
BATCH = 1024
MANY = (8, 32, 128, 1000)
MEASURED = (2, 4)
ETHERNET = (50e-6, 1.25e9)
"""The latency and bandwidth that are assumed of a network of 10 Gbit/s, not measured."""
LENGTHS = (1, 2**10, 2**14, 2**17, 2**20, 2**22)
"""The numbers of float32 in the arrays that are added."""


# In the processes that are measured ---------------------------------------------------------------


def build(sizes: tuple[int, ...]) -> nn.Model:
    """Build a classifier of dense layers."""
    layers: list[nn.Layer] = [layer for n in sizes[1:-1] for layer in (nn.Dense(n), nn.ReLU())]
    return nn.Model(*layers, nn.Dense(sizes[-1]), loss=nn.SoftmaxCrossEntropy())


def time_steps(ranks: Communicator, sizes: list[int], batch: int, n_steps: int) -> float:
    """Return the seconds of a step: of five epochs, the first does not count."""
    random = np.random.default_rng(0)
    x = random.random((batch * n_steps, sizes[0]), dtype=np.float32)
    y = random.integers(sizes[-1], size=len(x))
    options = {"batch_size": batch, "optimizer": nn.Adam(1e-3), "distributed": ranks}
    history = build(tuple(sizes)).fit(x, y, epochs=5, progress=False, **options)
    return median(history["seconds"][1:]) / n_steps


def time_sums(ranks: Communicator, repeats: int) -> list[float]:
    """Return the seconds of the sum of arrays of each of `LENGTHS`."""
    seconds = []
    for length in LENGTHS:
        array, passed = np.zeros(length, np.float32), []
        for _ in range(repeats):
            ranks.add(np.ones(1))  # all begin together
            began = time.perf_counter()
            ranks.add(array)
            passed.append(time.perf_counter() - began)
        seconds.append(median(passed))
    return seconds


class Pretended(Communicator):
    """One rank that takes the step of several, and adds to its arrays nothing."""

    size = 2

    def share(self, n_rows: int) -> slice:
        return slice(0, n_rows)

    def gather(self, rows: Any, n_rows: int) -> Any:
        return rows


def time_shares(ranks: Communicator, **task: Any) -> float:
    """Return the seconds of a step in the slowest of several processes that add nothing."""
    ranks.add(np.ones(1))  # all begin together
    return max(ranks.collect(time_steps(ALONE, **task)))


def time_halves(ranks: Communicator, turns: int, **task: Any) -> list[float]:
    """Return for each turn the seconds of a step in two halves, divided by those of a whole one."""
    return [time_steps(Pretended(), **task) / time_steps(ranks, **task) for _ in range(turns)]


TASKS = {task.__name__: task for task in (time_steps, time_sums, time_shares, time_halves)}


def run_worker(request: str) -> None:
    """Measure what is requested, on all ranks of the launcher; rank 0 prints it."""
    options = json.loads(request)
    ranks = nn.distributed.init()
    result = TASKS[options.pop("task")](ranks, **options)
    if ranks.rank == 0:
        print(json.dumps(result), flush=True)


# In the process of the report ---------------------------------------------------------------------


def measure(n_ranks: int, task: str, threads: int = 1, **options: Any) -> Any:
    """Measure in ranks of so many threads each; the task is one of `TASKS`."""
    launcher = ["mpiexec", "-n", str(n_ranks)] if n_ranks > 1 else []
    command = [*launcher, sys.executable, "-m", "benchmarks", "distributed", "--worker"]
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    # Open MPI refuses more ranks than cores otherwise; other MPIs do not read this.
    allowed = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    result = subprocess.run(
        [*command, json.dumps({"task": task, **options})],
        env=os.environ | counts | allowed,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if result.returncode:
        raise WorkerError(result.stderr.strip()[-400:] or "it failed")
    return json.loads(result.stdout.splitlines()[-1])


def predict_sum(n_ranks: int, n_bytes: float, latency: float, bandwidth: float) -> float:
    """Predict the seconds of a sum over ranks: each sends and receives most of the array twice.

    ``2 ceil(log2 N) latency + 2 (N - 1) / N bytes / bandwidth``, as of an algorithm that halves
    distances (R. Thakur, R. Rabenseifner, W. Gropp, IJHPCA 19, 2005).
    """
    sent = 2 * (n_ranks - 1) / n_ranks * n_bytes
    return 2 * math.ceil(math.log2(n_ranks)) * latency + sent / bandwidth


def fit_cost(sums: dict[int, list[float]]) -> tuple[float, float]:
    """Return the latency in seconds, and the bytes a second, of sums over two ranks."""
    n_bytes, seconds = 4 * np.asarray(LENGTHS), np.asarray(sums[2])
    columns = np.stack([np.full(len(LENGTHS), 2.0), n_bytes], axis=1) / seconds[:, None]
    (latency, per_byte), *_ = np.linalg.lstsq(columns, np.ones(len(LENGTHS)), rcond=None)
    return max(float(latency), 0.0), 1 / float(per_byte)


def count_parameters(sizes: tuple[int, ...]) -> int:
    """Count the weights and biases of dense layers."""
    return sum(n_in * n_out + n_out for n_in, n_out in pairwise(sizes))


def main(arguments: list[str]) -> None:
    """Measure, and print or write the report."""
    options = make_parser(__doc__, "distributed").parse_args(arguments)
    n_turns = 2 if options.quick else 6
    step = {"sizes": NETWORKS["784-1024-1024-10"], "batch": BATCH, "n_steps": 6}
    turns = take_turns(
        {
            "alone": lambda: measure(1, "time_steps", threads=2, **step),
            "ranks": lambda: measure(2, "time_steps", **step),
        },
        n_turns,
    )
    halves = measure(1, "time_halves", turns=2 * n_turns, **step)
    sums = {n: measure(n, "time_sums", repeats=50 if options.quick else 400) for n in MEASURED}
    latency, bandwidth = fit_cost(sums)
    steps: dict[str, dict[str, float]] = {}
    for name, sizes in NETWORKS.items():
        few = {"sizes": sizes, "n_steps": 4 if sizes[0] > 64 else 50}
        steps[name] = {
            f"share {n}": measure(n, "time_shares", batch=BATCH // n, **few) for n in (1, *MEASURED)
        }
        steps[name] |= {
            f"ranks {n}": measure(n, "time_steps", batch=BATCH, **few) for n in MEASURED
        }
    results = {
        **{"turns": turns, "halves": halves, "lengths": LENGTHS, "sums": sums, "steps": steps},
        **{"latency": latency, "bandwidth": bandwidth},
    }
    title = "Training on several ranks"
    publish(options, __file__, title, PACKAGES, describe(results), **results)


def describe(results: dict[str, Any]) -> list[str]:
    """Write the tables of the report."""
    turns, steps, sums = results["turns"], results["steps"], results["sums"]
    cost = results["latency"], results["bandwidth"]
    per_second = {name: BATCH / median(seconds) for name, seconds in turns.items()}
    ratio = median_ratio(turns["alone"], turns["ranks"])
    rows = [
        ["one process, two threads", f"{per_second['alone']:,.0f}", ""],
        ["two ranks, a thread each", f"{per_second['ranks']:,.0f}", f"{ratio:.2f}"],
    ]
    kinds = [f"{n} ranks, {kind}" for n in sums for kind in ("measured", "predicted")]

    def find_efficiency(name: str, n_ranks: int, *network: float) -> float:
        n_bytes, step = 4 * count_parameters(NETWORKS[name]), steps[name]["share 1"]
        return step / (step + predict_sum(n_ranks, n_bytes, *network))

    return [
        f"784-1024-1024-10, batch {BATCH}, Adam, in turns. The ratio is the median of those of the "
        f"turns. A step in two halves, without other ranks, takes {median(results['halves']):.3f} "
        "times as long as a whole one, which a single rank takes.",
        format_table(["", "samples a second", "ratio"], rows),
        "Sums over ranks, in milliseconds: measured, and predicted from a latency of "
        f"{1e6 * cost[0]:.0f} µs and a bandwidth of {cost[1] / 1e9:.2f} GB/s.",
        format_table(
            ["float32", *kinds],
            [
                [
                    f"{length:,}",
                    *(
                        f"{1000 * x:.3f}"
                        for n in sums
                        for x in (sums[n][i], predict_sum(n, 4 * length, *cost))
                    ),
                ]
                for i, length in enumerate(results["lengths"])
            ],
        ),
        f"A step on a batch of {BATCH}, in milliseconds. Predicted: a step on the share of a rank, "
        f"in as many processes at once, and the sum. This machine has {count_cores()} cores.",
        format_table(
            ["network", "one rank", *kinds],
            [[name, *(f"{1000 * x:.1f}" for x in row)] for name, row in list_steps(results)],
        ),
        f"Efficiency on many ranks with a core each, predicted, for {BATCH} rows a rank: the time "
        "of a step without the sum over that with it. Sums between machines are as fast as here, "
        f"or have a latency of {1e6 * ETHERNET[0]:.0f} µs and a bandwidth of "
        f"{ETHERNET[1] / 1e9} GB/s, which is assumed of 10 Gbit/s.",
        format_table(
            ["network", "parameters", "sums", *map(str, MANY)],
            [
                [
                    *(name, f"{count_parameters(sizes):,}", label),
                    *(f"{find_efficiency(name, n, *speed):.2f}" for n in MANY),
                ]
                for name, sizes in NETWORKS.items()
                for label, speed in (("as here", cost), ("10 Gbit/s", ETHERNET))
            ],
            3,
        ),
    ]


def list_steps(results: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """Return the seconds of steps: on one rank, then measured and predicted on more."""
    cost, rows = (results["latency"], results["bandwidth"]), []
    for name, steps in results["steps"].items():
        row, n_bytes = [steps["share 1"]], 4 * count_parameters(NETWORKS[name])
        for n in results["sums"]:
            row += [
                steps[f"ranks {n}"],
                steps[f"share {n}"] + predict_sum(n, n_bytes, *cost),
            ]
        rows.append((name, row))
    return rows

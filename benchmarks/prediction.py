"""Prediction time of ours and other libraries, from a NumPy array to a NumPy array.

    python -m benchmarks prediction --quick

All systems have the same weights and return probabilities in float32; the largest difference from
ours is printed. Each has a process of its own and predicts for a moment when it is its turn. A turn
is the median of its calls; times are medians of the turns, ratios are medians of the ratios of each
turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import cache, partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness.process import Worker, WorkerError, serve, start_workers
from benchmarks.harness.report import format_table, make_parser, publish
from benchmarks.harness.turns import median_ratio, take_turns
from benchmarks.peers.systems import FLOOR, ON_GPU, SYSTEMS, Predictor, find_packages
from benchmarks.peers.workloads import Workload

SIZES = ((64, 64, 10), (784, 256, 128, 10))
BATCHES = (1, 64, 8192)
OURS = "ours, numpy"
# Two systems differ from others in their training only.
PREDICTING = [name for name in SYSTEMS if name not in ("torch.compile", "JAX + Optax, scan", FLOOR)]
FEWEST, MOST = 3, 2000
"""Calls of a turn."""


def draw_inputs(batch: int, n_in: int) -> Any:
    """Draw inputs of about the size 1."""
    return np.random.default_rng(batch).random((batch, n_in), dtype=np.float32)


def time_calls(predict: Predictor, x: Any, seconds: float) -> list[float]:
    """Call it for a moment; return the seconds of each call."""
    times: list[float] = []
    clock, end = time.perf_counter, time.perf_counter() + seconds
    while len(times) < FEWEST or (len(times) < MOST and clock() < end):
        started = clock()
        predict(x)
        times.append(clock() - started)
    return times


def run_worker(name: str) -> None:
    """Predict with one system, as the other process requests it."""

    @cache
    def make(sizes: tuple[int, ...]) -> Predictor:
        return SYSTEMS[name].make_predictor(Workload("", sizes, 1))

    def answer(do: str, sizes: list[int], batch: int, seconds: float = 0.0) -> Any:
        """Return some probabilities (``"values"``) or the time of a call (``"time"``)."""
        predict, x = make(tuple(sizes)), draw_inputs(batch, sizes[0])
        if do == "values":
            return np.asarray(predict(x))[:64].tolist()
        return median(time_calls(predict, x, seconds))

    serve(answer)


def measure_case(
    workers: dict[str, Worker], sizes: tuple[int, ...], batch: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """Measure one network with one batch.

    Returns
    -------
    dict of str to dict or str
        ``seconds`` of a call, one a turn, and ``difference``, the largest from ours; or the reason
        why there are none.
    """
    results: dict[str, Any] = {}
    request = {"sizes": sizes, "batch": batch}
    expected = None
    for name, worker in workers.items():
        try:
            values = np.asarray(worker.ask(do="values", **request))
            worker.ask(do="time", seconds=seconds / 4, **request)
        except WorkerError as error:
            results[name] = str(error)
            continue
        expected = values if expected is None else expected
        results[name] = {"difference": float(np.max(np.abs(values - expected)))}
    tasks = {
        name: partial(workers[name].ask, do="time", seconds=seconds, **request)
        for name, result in results.items()
        if isinstance(result, dict)
    }
    for name, times in take_turns(tasks, repeats).items():
        results[name] = times if isinstance(times, str) else results[name] | {"seconds": times}
    return results


def measure_cases(
    names: Iterable[str], repeats: int, seconds: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one network and batch after another; yield the case and the results."""
    with start_workers("prediction", names) as workers:
        for sizes in SIZES:
            for batch in BATCHES:
                case = f"{'-'.join(map(str, sizes))}, batch {batch:,}"
                yield case, measure_case(workers, sizes, batch, repeats, seconds)


def summarize(cases: dict[str, Any]) -> list[list[str]]:
    """Format the ratios of all systems to ours, a row for each case."""
    rows = []
    for case, results in cases.items():
        ours = results[OURS]["seconds"]
        ratios = [
            f"{median_ratio(result['seconds'], ours):.2f}" if isinstance(result, dict) else "-"
            for name, result in results.items()
            if name != OURS
        ]
        rows.append([case, f"{median(ours) * 1e6:,.1f}", *ratios])
    return rows


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "prediction")
    parser.add_argument("--repeats", type=int, default=0, help="turns of each; default: 7")
    usual = [name for name in PREDICTING if name not in ON_GPU]
    parser.add_argument("--systems", nargs="+", choices=PREDICTING, metavar="NAME", default=usual)
    options = parser.parse_args(arguments)
    # The others are compared with ours on NumPy.
    names = list(dict.fromkeys([OURS, *options.systems]))
    repeats = options.repeats or (3 if options.quick else 7)
    seconds = 0.05 if options.quick else 0.3
    cases = dict(measure_cases(names, repeats, seconds))
    differences = [
        result["difference"]
        for results in cases.values()
        for result in results.values()
        if isinstance(result, dict)
    ]
    paragraphs = [
        f"From a NumPy array in float32 to probabilities in a NumPy array, medians of {repeats} "
        f"turns of {seconds:g} s. The largest difference between a probability of another system "
        f"and ours on NumPy: {max(differences):.1e}.",
        "Times over those of ours on NumPy (above 1: ours is faster), and our microseconds a call:",
        format_table(["", "ours, us", *names[1:]], summarize(cases)),
    ]
    title = "Prediction time of ours and other libraries"
    publish(options, __file__, title, find_packages(names), paragraphs, results=cases)

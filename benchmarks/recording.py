"""What it costs to record the activity of layers, as `train --report` does, by default.

    python -m benchmarks recording --quick

Each network is trained with and without `ActivityLog`, in turns in one process, after a turn that
does not count, in which libraries compile. Seconds are those of the processor, which other load on
the machine changes little. The share is the time inside of the callback over that of the whole
training, the ratio that of whole trainings; both are medians over the turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import anyback_nn as nn
from benchmarks.harness.report import format_table, make_parser, publish
from benchmarks.harness.turns import median_ratio, name_columns, take_turns

PACKAGES = ("numpy", "anyback_nn", "torch", "jax")
ALLOWED = 0.05
"""The share of the time of training that recording may take."""


class TimedActivityLog(nn.ActivityLog):
    """Records, and adds up how long that takes."""

    seconds = 0.0

    def _time(self, method: Callable[[Any], None], fit: Any) -> None:
        started = time.process_time()
        method(fit)
        self.seconds += time.process_time() - started

    def on_train_begin(self, fit: Any) -> None:
        self._time(super().on_train_begin, fit)

    def on_epoch_begin(self, fit: Any) -> None:
        self._time(super().on_epoch_begin, fit)

    def on_epoch_end(self, fit: Any) -> None:
        self._time(super().on_epoch_end, fit)


def make_cases(quick: bool) -> dict[str, tuple[Callable[[], nn.Model], Any, dict[str, Any]]]:
    """Return what makes a model, its data, and the options of `fit`, for each case."""
    digits = nn.datasets.load_digits()
    rows = digits.x_train, digits.y_train
    draws, n_rows = np.random.default_rng(0), 2000 if quick else 12000
    large = draws.random((n_rows, 784), dtype=np.float32), draws.integers(10, size=n_rows)
    epochs = 1 if quick else 5

    def small(backend: str) -> nn.Model:
        return build(backend, nn.Dense(16), nn.Tanh(), nn.Dense(10))

    def default(backend: str) -> nn.Model:
        hidden = [layer for n in (256, 128) for layer in (nn.Dense(n), nn.ReLU(), nn.Dropout(0.1))]
        return build(backend, *hidden, nn.Dense(10))

    def wide(backend: str) -> nn.Model:
        hidden = [layer for n in (256, 128) for layer in (nn.Dense(n), nn.ReLU())]
        return build(backend, *hidden, nn.Dense(10))

    return {
        "digits 64-16-10, tanh, batch 32": (small, rows, {"epochs": 10 * epochs, "batch_size": 32}),
        "digits 64-256-128-10, dropout 0.1, batch 64": (
            *(default, rows),
            {"epochs": 10 * epochs, "batch_size": 64},
        ),
        f"{n_rows:,} rows, 784-256-128-10, batch 128": (
            *(wide, large),
            {"epochs": epochs, "batch_size": 128},
        ),
    }


def build(backend: str, *layers: nn.Layer) -> nn.Model:
    """Build a classifier."""
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)


def train(make: Callable[..., nn.Model], backend: str, rows: Any, options: Any, log: Any) -> Any:
    """Train a model; return the seconds, those inside of the log, and the number of records."""
    callbacks = [] if log is None else [log()]
    model = make(backend)
    started = time.process_time()
    model.fit(*rows, validation=0.1, progress=False, callbacks=callbacks, **options)
    seconds = time.process_time() - started
    if log is None:
        return seconds, 0.0, 0
    (recorded,) = callbacks
    return seconds, recorded.seconds, len({row["epoch"] for row in recorded.rows})


def measure(backends: Iterable[str], repeats: int, quick: bool) -> Iterator[tuple[str, Any]]:
    """Measure one case after another; yield its name and the results."""
    for backend in backends:
        for case, (make, rows, options) in make_cases(quick).items():
            tasks = {
                name: partial(train, make, backend, rows, options, log)
                for name, log in (("without", None), ("with", TimedActivityLog))
            }
            turns = take_turns(tasks, repeats, warm_up=1)
            yield f"{backend}: {case}", name_columns(turns, "seconds", "inside", "records")


def summarize(results: dict[str, Any]) -> list[list[str]]:
    """Format a row for each case."""
    rows = []
    for case, result in results.items():
        without, recorded = result["without"]["seconds"], result["with"]
        share = median(a / b for a, b in zip(recorded["inside"], recorded["seconds"]))
        ratio = median_ratio(recorded["seconds"], without)
        n_records = recorded["records"][0]
        cells = (f"{median(without):.3f}", f"{n_records}", f"{share:.1%}", f"{ratio:.3f}")
        rows.append([case, *cells])
    return rows


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "recording")
    parser.add_argument("--repeats", type=int, default=0, help="turns of each; default: 9")
    parser.add_argument("--backends", nargs="+", metavar="NAME", default=["numpy", "torch", "jax"])
    options = parser.parse_args(arguments)
    repeats = options.repeats or (2 if options.quick else 9)
    results = dict(measure(options.backends, repeats, options.quick))
    head = ["", "seconds without", "records", "share", "with over without"]
    paragraphs = [
        "Processor seconds of training without recording, the number of epochs that were recorded, "
        "the share of the time that this took, and the time with recording over that without; "
        f"medians of {repeats} turns. At most {ALLOWED:.0%} is allowed; without `ActivityLog`, "
        "nothing is computed.",
        format_table(head, summarize(results)),
    ]
    title = "The cost of recording the activity of layers"
    publish(options, __file__, title, PACKAGES, paragraphs, results=results)

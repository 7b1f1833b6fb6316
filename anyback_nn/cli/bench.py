"""``anyback-nn bench``: which backend is the fastest for a network and data.

The clock is in `anyback_nn.bench`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from anyback_nn.backends import Backend
from anyback_nn.backends.libraries import TRAINING
from anyback_nn.bench import Steps, Timing, time_steps
from anyback_nn.cli import options, recipe
from anyback_nn.cli.printing import Printer, create_table
from anyback_nn.datasets import load
from anyback_nn.errors import AnybackError
from anyback_nn.testing.variants import usable

__all__ = ["bench"]

LEARNING_RATE = 1e-6
"""It does not change the time, and with this one nothing diverges."""

MARGIN = 1.05
"""A backend is the faster one if it is faster by this factor: less is within the noise."""


def bench(
    data: options.OptionalData = "digits",
    target: options.Target = None,
    task: options.Task = "auto",
    hidden: options.Hidden = "256,128",
    activation: options.Activation = "relu",
    dropout: options.Dropout = 0.1,
    optimizer: options.OptimizerName = "adam",
    l2: options.L2 = 0.0,
    batch_size: options.BatchSize = 64,
    seed: options.Seed = 0,
    seconds: options.Seconds = 20.0,
    backends: options.BackendSpecs = None,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Time a training step on every backend.

    The backends take turns until each has had seven, or, after three, time is up.
    """
    selection, failures = select_backends(backends)
    dataset = load(data, target=target, task=task)
    batch_size = min(batch_size, len(dataset.x_train))  # as in training
    rule = recipe.build_optimizer(optimizer, learning_rate=LEARNING_RATE, l2=l2)
    network = [dataset.n_features, *options.parse_widths(hidden), dataset.n_outputs]

    def begin(backend: Backend) -> Steps:
        model = recipe.build_model(
            dataset,
            backend,
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            seed=seed,
            dtype=dtype,
        )
        return Steps(model, dataset.x_train, dataset.y_train, rule, batch_size)

    printer = Printer(as_json=json)
    printer.notes(dataset.notes)
    printer.show(recipe.describe_data(dataset))
    printer.show(
        f"network {'-'.join(map(str, network))}, batches of {batch_size:,}, {optimizer}, {dtype}\n"
    )
    end = time.perf_counter() + seconds
    beginnings = {backend.spec: partial(begin, backend) for backend in selection}
    timings, failed = time_steps(beginnings, lambda: time.perf_counter() < end)
    failures |= failed
    rows = timing_rows(selection, timings, batch_size)
    result: dict[str, Any] = {
        "data": dataset.name,
        "network": network,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "dtype": dtype,
        "fastest": rows[0]["backend"] if rows else None,
        "backends": rows,
        "failures": failures,
    }
    reasons = [f"{spec} was not timed: {reason}" for spec, reason in failures.items()]
    if not rows:
        printer.end(result)
        raise AnybackError("\n".join(["no backend could be timed", *reasons]))
    printer.show(timings_table(rows))
    printer.show("\n".join(["", *reasons, ""] if reasons else [""]))
    printer.show(compare(rows))
    printer.end(result)


def select_backends(specs: str | None) -> tuple[list[Backend], dict[str, str]]:
    """Select the backends to time; the second result is why others cannot compute here."""
    with options.usage_error("--backends"):
        backends, missing = usable(TRAINING if specs is None else options.parse_names(specs))
    if specs is None:
        backends, _ = usable(spec for backend in backends for spec in backend.kinds())
    return backends, {
        spec: reason.removeprefix(f"backend {spec!r}: ") for spec, reason in missing.items()
    }


def timing_rows(
    backends: Sequence[Backend], timings: Mapping[str, Timing], batch_size: int
) -> list[dict[str, Any]]:
    """Return the times of each backend, the fastest one first."""
    best = min((timing.step for timing in timings.values()), default=0.0)
    rows = [
        {
            "backend": backend.spec,
            "version": backend.version,
            "device": backend.device_label,
            "seconds_to_first_step": timings[backend.spec].first_step,
            "microseconds_a_step": 1e6 * timings[backend.spec].step,
            "samples_a_second": batch_size / timings[backend.spec].step,
            "relative": timings[backend.spec].step / best,
        }
        for backend in backends
        if backend.spec in timings
    ]
    return sorted(rows, key=lambda row: row["relative"])


def timings_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Create the table of the backends with their times."""
    numeric = ("first step", "us a step", "samples/s", "relative")
    table = create_table("backend", "device", *numeric, numeric=numeric)
    table.columns[0].overflow = table.columns[1].overflow = "fold"
    for row in rows:
        microseconds = row["microseconds_a_step"]
        table.add_row(
            Text(row["backend"], "bold green" if row is rows[0] else ""),
            Text(row["device"]),
            f"{row['seconds_to_first_step']:.2f} s",
            f"{microseconds:,.{1 if microseconds < 100 else 0}f}",  # about three digits
            f"{row['samples_a_second']:,.0f}",
            f"{row['relative']:.2f}",
        )
    return table


def compare(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return which backend is the fastest, and how far ahead of the next it is."""
    first, *others = rows
    if not others:
        return f"{first['backend']} alone could be timed here: there is nothing to compare it with."
    next_name, ratio = others[0]["backend"], others[0]["relative"]
    if ratio < MARGIN:
        return f"{first['backend']} and {next_name} are about equally fast here."
    return f"{first['backend']} is the fastest here, {ratio:.1f} times as fast as {next_name}."

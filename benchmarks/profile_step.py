"""Where the time of a training step goes: ours on NumPy, for the networks of `peers/workloads.py`.

    python -m benchmarks profile_step --quick

On NumPy a step is traced once and then replayed, call by call. While it is traced, each call is
labelled by the layer, loss or optimiser whose method it comes from; in every second epoch after
that each call is timed. *Rest* is the remainder of these epochs, less what the clocks take: the
loop, the scalars of the optimiser, the end of an epoch. The time of a whole step is that of the
epochs in between, without clocks.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from unittest.mock import patch

import anyback_nn as nn
from benchmarks.harness.internals import (
    Activation,
    ArraySource,
    collect_programs,
    label_operations,
    list_operations,
)
from benchmarks.harness.report import format_results, make_parser, publish
from benchmarks.peers.systems import make_model, make_optimizer
from benchmarks.peers.workloads import WORKLOADS, Workload, load

OTHER = "other calls"
PARTS = (
    "gather",
    "products",
    "biases",
    "activations",
    "norm, dropout",
    "loss",
    "optimiser",
    OTHER,
    "rest",
)
KINDS = {
    nn.Network: OTHER,
    nn.Dense: "biases",
    Activation: "activations",
    nn.Layer: "norm, dropout",
    nn.Loss: "loss",
    nn.Optimizer: "optimiser",
}
"""The part of an object's methods, by the first of these classes that it is of."""
WARM_UP = 2
"""Epochs; a step is traced in the first."""


def find_part(owner: Any) -> str | None:
    """Return the part that a layer, a loss or an optimiser is."""
    return next((part for kind, part in KINDS.items() if isinstance(owner, kind)), None)


def refine_part(part: str, function: str) -> str:
    """Distinguish products and gathers, by their function, from what is around them."""
    if function in ("matmul", "dot", "vecdot") and part == "biases":
        return "products"
    return "gather" if function == "take" else part


# Clocks ------------------------------------------------------------------------------------------


class Clocks(nn.Callback):
    """Times every call of the traced steps in every second epoch.

    Parameters
    ----------
    programs : list
        Filled by `collect_programs`.
    """

    def __init__(self, programs: list[Any]) -> None:
        self.programs = programs
        self.running, self.n_calls, self.n_timed = False, 0, 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.epochs: list[dict[str, float]] = []
        self.whole: list[float] = []
        self.untimed: list[tuple[Any, Any]] = []

    def on_epoch_begin(self, fit: Any) -> None:
        self.seconds.clear()
        self.n_timed = 0
        self.running = fit.epochs_done >= WARM_UP and fit.epochs_done % 2 == 1
        if self.running:
            for program in self.programs:
                self.untimed.append((program, program.replay.calls))
                parts = [refine_part(*names) for names in list_operations(program)]
                self.n_calls = max(self.n_calls, len(parts))
                program.replay.calls = [
                    (self.time_call(function, part), arguments, options)
                    for (function, arguments, options), part in zip(program.replay.calls, parts)
                ]

    def on_epoch_end(self, fit: Any) -> None:
        if self.running:
            whole = fit.history.last["seconds"] - self.n_timed * AROUND
            self.seconds["rest"] = whole - sum(self.seconds.values())
            self.epochs.append(dict(self.seconds))
        elif fit.epochs_done > WARM_UP:
            self.whole.append(fit.history.last["seconds"])
        while self.untimed:
            program, program.replay.calls = self.untimed.pop()

    def time_call(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Wrap a function to add its seconds to a part, less what the clock takes."""

        def call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **options)
            self.seconds[part] += time.perf_counter() - started - CLOCK
            self.n_timed += 1
            return result

        return call

    @contextlib.contextmanager
    def time_batches(self) -> Iterator[None]:
        """Within it, time what brings the batches, and what draws noise, too."""
        epoch, noise = ArraySource.epoch, nn.Network.noise

        def timed_epoch(source: ArraySource, number: int) -> Iterator[Any]:
            batches = epoch(source, number)
            return iter(self.time_call(lambda: next(batches, None), "gather"), None)

        with (
            patch.object(ArraySource, "epoch", timed_epoch),
            patch.object(nn.Network, "noise", self.time_call(noise, "norm, dropout")),
        ):
            yield


def measure_clock() -> float:
    """Measure the seconds that the clock adds to what it measures."""
    clock, times = time.perf_counter, []
    for _ in range(2000):
        started = clock()
        times.append(clock() - started)
    return median(times)


def measure_around() -> float:
    """Measure the seconds that a timed call takes in addition to what it measures."""
    timed, times = Clocks([]).time_call(lambda: None, "nothing"), []
    for _ in range(2000):
        started = time.perf_counter()
        timed()
        times.append(time.perf_counter() - started - CLOCK)
    return median(times)


CLOCK = measure_clock()
AROUND = measure_around()


# The table ---------------------------------------------------------------------------------------


def profile(workload: Workload, samples: int | None, epochs: int) -> dict[str, Any]:
    """Profile one network.

    Returns
    -------
    dict
        ``parts``, the microseconds of each of `PARTS` in a step; ``step``, those of a whole step
        without clocks; ``calls``, the number of NumPy calls in one.
    """
    x, y = load(workload.data)
    n_steps = len(x[:samples]) // workload.batch
    # All batches have one shape, so that there is one program.
    x, y = x[: n_steps * workload.batch], y[: n_steps * workload.batch]
    with label_operations(find_part, OTHER), collect_programs() as (programs, refusals):
        clocks = Clocks(programs)
        with clocks.time_batches():
            make_model(workload).fit(
                x,
                y,
                optimizer=make_optimizer(workload),
                epochs=WARM_UP + 2 * epochs,
                batch_size=workload.batch,
                callbacks=[clocks],
                progress=False,
            )
    if not programs:
        raise RuntimeError(": ".join([f"{workload.name}: the step was not traced", *refusals]))
    parts = {part: median(one.get(part, 0.0) for one in clocks.epochs) / n_steps for part in PARTS}
    return {
        "parts": {part: seconds * 1e6 for part, seconds in parts.items()},
        "step": median(clocks.whole) / n_steps * 1e6,
        "calls": clocks.n_calls,
    }


def format_times(result: dict[str, Any]) -> list[str]:
    """Format the microseconds of a step."""
    times = [result["step"], *(result["parts"][part] for part in PARTS)]
    return [*(f"{microseconds:,.1f}" for microseconds in times), str(result["calls"])]


def format_percent(result: dict[str, Any]) -> list[str]:
    """Format the share of each part in percent."""
    parts = result["parts"]
    return [f"{100 * parts[part] / sum(parts.values()):.1f}" for part in PARTS]


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "profile_step")
    parser.add_argument("--epochs", type=int, default=0, help="epochs of each kind; default: 5")
    numbers = range(len(WORKLOADS))
    parser.add_argument("--workloads", nargs="+", type=int, choices=numbers, default=numbers)
    options = parser.parse_args(arguments)
    epochs = options.epochs or (2 if options.quick else 5)
    results = {}
    for workload in (WORKLOADS[index] for index in options.workloads):
        samples = (
            max(4 * workload.batch, len(load(workload.data)[0]) // 12) if options.quick else None
        )
        results[workload.name] = profile(workload, samples, epochs)
    paragraphs = [
        f"Ours on NumPy; medians of {epochs} epochs without clocks (the step) and {epochs} with "
        "them (its parts), in turns. *Products* are those of matrices; *biases* are added and "
        "their gradients summed; *norm, dropout* includes the drawing of masks; *other calls* "
        "concatenate gradients. *Calls* are those of NumPy in a step. Microseconds a step:",
        format_results(["", "step", *PARTS, "calls"], results, format_times),
        "Percent of a step:",
        format_results(["", *PARTS], results, format_percent),
    ]
    title, packages = "Where the time of a step goes", ("numpy", "anyback_nn")
    publish(options, __file__, title, packages, paragraphs, results=results)

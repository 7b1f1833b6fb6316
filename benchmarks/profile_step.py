"""Where the time of a training step goes: ours on NumPy, for the networks of `peers/work.py`.

    python benchmarks/profile_step.py --quick

On NumPy a step is recorded once and then repeated, call by call (`anyback_nn.jit.dispatch`). While it
is recorded, the methods of layers, loss and optimiser are wrapped, so that it is known from which
of them each call stems; in every second epoch after that each call is timed. *Rest* is what is left
of these epochs, less what the clocks take: the loop, the numbers of the optimiser, the end of an
epoch. The whole time of a step is that of the epochs in between, without clocks.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from unittest.mock import patch

import ours
from peers.work import WORKS, load
from report import parser, preamble, publish, table, versions

import anyback_nn as nn
from anyback_nn.inputs.batches import ArraySource
from anyback_nn.jit.graph import Graph, Op
from anyback_nn.jit.program import Program
from anyback_nn.network.activations import Activation

PARTS = (
    "gather",
    "products",
    "biases",
    "activations",
    "norm, dropout",
    "loss",
    "optimiser",
    "other calls",
    "rest",
)
METHODS = ("forward", "backward", "gradients", "next_state", "update")
WARM_UP = 2
"""Epochs; a step is recorded in the first."""


# Which part a call belongs to --------------------------------------------------------------------

Stack = list[str]
"""The parts whose methods are being called, the innermost last."""


class Noted(list):  # type: ignore[type-arg]
    """The operations of a tape, each with the part that noted it down."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.stack, self.parts = stack, {}

    def append(self, operation: Op) -> None:
        """Note down an operation."""
        super().append(operation)
        self.parts[id(operation)] = self.stack[-1] if self.stack else "other calls"


def part_of(layer: Any) -> str:
    """Name the part that a layer, a loss or an optimiser is."""
    for kind, part in (
        (nn.Dense, "biases"),
        (Activation, "activations"),
        (nn.Layer, "norm, dropout"),
        (nn.Loss, "loss"),
        (nn.Optimizer, "optimiser"),
    ):
        if isinstance(layer, kind):
            return part
    return "other calls"


@contextlib.contextmanager
def wrapped(model: nn.Model, optimizer: nn.Optimizer, stack: Stack) -> Iterator[None]:
    """Within it, the methods of the model's parts tell on the stack that they are being called."""
    owners = {type(one): part_of(one) for one in (*inner(model.network), model.loss, optimizer)}
    with contextlib.ExitStack() as patches:
        for kind, part in owners.items():
            for name in METHODS:
                if hasattr(kind, name):
                    told = telling(getattr(kind, name), part, stack)
                    patches.enter_context(patch.object(kind, name, told))
        yield


def inner(network: nn.Network) -> Iterator[nn.Layer]:
    """Go through the layers, those of blocks too."""
    for layer in network.layers:
        if isinstance(layer, nn.Network):
            yield from inner(layer)
        else:
            yield layer


def telling(method: Callable[..., Any], part: str, stack: Stack) -> Callable[..., Any]:
    """Wrap a method."""

    def call(*arguments: Any, **options: Any) -> Any:
        stack.append(part)
        try:
            return method(*arguments, **options)
        finally:
            stack.pop()

    return call


@contextlib.contextmanager
def plans_noted(stack: Stack) -> Iterator[list[tuple[Program, Noted]]]:
    """Within it, every plan that is made is kept, with its operations and their parts."""
    made: list[tuple[Program, Noted]] = []
    tapes: list[Noted] = []
    make_plan, make_tape = Program.__init__, Graph.__init__

    def tape(self: Graph, *arguments: Any, **options: Any) -> None:
        make_tape(self, *arguments, **options)
        self.operations = Noted(stack)
        tapes.append(self.operations)

    def plan(self: Program, *arguments: Any, **options: Any) -> None:
        make_plan(self, *arguments, **options)
        made.append((self, tapes[-1]))

    with patch.object(Graph, "__init__", tape), patch.object(Program, "__init__", plan):
        yield made


def parts_of_calls(plan: Program, noted: Noted) -> list[str]:
    """Find for each call of a plan the part that it came from."""
    return [
        refined(noted.parts.get(id(one), "other calls"), one.function) for one in plan.operations
    ]


def refined(part: str, function: Callable[..., Any]) -> str:
    """Tell products and gathers, which are so by their function, from what is around them."""
    name = function.__name__
    if name in ("matmul", "dot", "vecdot") and part == "biases":
        return "products"
    return "gather" if name == "take" else part


# Clocks ------------------------------------------------------------------------------------------


class Clocks(nn.Callback):
    """Times every call of the recorded steps in every second epoch.

    Parameters
    ----------
    plans : list
        As `plans_noted` gives it.
    """

    def __init__(self, plans: list[tuple[Program, Noted]]) -> None:
        self.plans = plans
        self.running, self.calls, self.n_timed = False, 0, 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.epochs: list[dict[str, float]] = []
        self.whole: list[float] = []
        self.swapped: list[tuple[Program, Any]] = []

    def on_epoch_begin(self, fit: Any) -> None:
        self.seconds.clear()
        self.n_timed = 0
        self.running = fit.epochs_done >= WARM_UP and fit.epochs_done % 2 == 1
        if self.running:
            for plan, noted in self.plans:
                self.swapped.append((plan, plan.calls))
                parts = parts_of_calls(plan, noted)
                self.calls = max(self.calls, len(parts))
                plan.calls = [
                    (self.timed(function, part), arguments, options)
                    for (function, arguments, options), part in zip(plan.calls, parts)
                ]

    def on_epoch_end(self, fit: Any) -> None:
        if self.running:
            n_timed = self.n_timed
            whole = fit.history.last["seconds"] - n_timed * AROUND
            self.seconds["rest"] = whole - sum(self.seconds.values())
            self.epochs.append(dict(self.seconds))
        elif fit.epochs_done > WARM_UP:
            self.whole.append(fit.history.last["seconds"])
        while self.swapped:
            plan, plan.calls = self.swapped.pop()

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Add the seconds of each call to its part, less what the clock takes."""

        def call(*arguments: Any, **options: Any) -> None:
            started = time.perf_counter()
            function(*arguments, **options)
            self.seconds[part] += time.perf_counter() - started - CLOCK
            self.n_timed += 1

        return call

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Within it, what brings the batches, and what draws noise, is timed too."""
        epoch, noise = ArraySource.epoch, nn.Network.noise

        def timed_epoch(source: ArraySource, number: int) -> Iterator[Any]:
            batches = epoch(source, number)
            while True:
                started = time.perf_counter()
                batch = next(batches, None)
                self.seconds["gather"] += time.perf_counter() - started - CLOCK
                if batch is None:
                    return
                yield batch

        def timed_noise(network: nn.Network, *arguments: Any) -> Any:
            started = time.perf_counter()
            drawn = noise(network, *arguments)
            self.seconds["norm, dropout"] += time.perf_counter() - started - CLOCK
            return drawn

        with (
            patch.object(ArraySource, "epoch", timed_epoch),
            patch.object(nn.Network, "noise", timed_noise),
        ):
            yield


def clock_seconds() -> float:
    """Measure what the clock adds to what it measures."""
    clock, found = time.perf_counter, []
    for _ in range(2000):
        started = clock()
        found.append(clock() - started)
    return median(found)


def around_seconds() -> float:
    """Measure what a timed call takes beside what it measures."""
    timed, found = Clocks([]).timed(nothing, "nothing"), []
    for _ in range(2000):
        started = time.perf_counter()
        timed()
        found.append(time.perf_counter() - started - CLOCK)
    return median(found)


def nothing() -> None:
    """Do nothing."""


CLOCK = clock_seconds()
AROUND = around_seconds()


# The table ---------------------------------------------------------------------------------------


def profiled(work: Any, samples: int | None, epochs: int) -> dict[str, Any]:
    """Profile one network.

    Returns
    -------
    dict
        ``parts``, the microseconds a step of each of `PARTS`; ``step``, those of a whole step
        without clocks; ``calls``, the number of NumPy calls in one.
    """
    x, y = load(work.data)
    n_steps = len(x[:samples]) // work.batch
    # All batches alike, so that there is one plan.
    x, y = x[: n_steps * work.batch], y[: n_steps * work.batch]
    model, optimizer = ours.model_of(work), ours.optimizer_of(work)
    stack: Stack = []
    with wrapped(model, optimizer, stack), plans_noted(stack) as plans:
        clocks = Clocks(plans)
        with clocks.gathering():
            model.fit(
                x,
                y,
                optimizer=optimizer,
                epochs=WARM_UP + 2 * epochs,
                batch_size=work.batch,
                callbacks=[clocks],
                progress=False,
            )
    if not plans:
        raise RuntimeError(f"{work.name}: the step was not recorded")
    step = median(clocks.whole) / n_steps
    parts = {part: median(one.get(part, 0.0) for one in clocks.epochs) / n_steps for part in PARTS}
    return {
        "parts": {part: seconds * 1e6 for part, seconds in parts.items()},
        "step": step * 1e6,
        "calls": clocks.calls,
    }


def percent(parts: dict[str, float]) -> list[str]:
    """Write the share of each part, in percent."""
    whole = sum(parts.values())
    return [f"{100 * parts[part] / whole:.1f}" for part in PARTS]


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--epochs", type=int, default=0, help="of each kind; default: 5")
    cli.add_argument("--works", help="the numbers of some rows, from 0, such as 0,2")
    options = cli.parse_args()
    epochs = options.epochs or (2 if options.quick else 5)
    chosen = [WORKS[int(one)] for one in options.works.split(",")] if options.works else WORKS
    results = {}
    for work in chosen:
        samples = max(4 * work.batch, len(load(work.data)[0]) // 12) if options.quick else None
        results[work.name] = profiled(work, samples, epochs)
    named = versions(("numpy", "anyback_nn"))
    publish(
        options,
        [
            "# Where the time of a step goes",
            preamble(options, __file__, named),
            f"Ours on NumPy; medians of {epochs} epochs without clocks (the step) and {epochs} "
            "with them (its parts), in turns. *Products* are those of matrices; *biases* are added "
            "and their gradients summed; *norm, dropout* has the drawing of masks; *other calls* "
            "put gradients together. *Calls* are those of NumPy in a step. Microseconds a step:",
            table(
                ["", "step", *PARTS, "calls"],
                [
                    [
                        name,
                        f"{one['step']:,.1f}",
                        *(f"{one['parts'][part]:,.1f}" for part in PARTS),
                        str(one["calls"]),
                    ]
                    for name, one in results.items()
                ],
            ),
            "Percent of a step:",
            table(
                ["", *PARTS],
                [[name, *percent(one["parts"])] for name, one in results.items()],
            ),
        ],
        {"versions": named, "results": results},
    )


if __name__ == "__main__":
    main()

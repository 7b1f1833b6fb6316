"""``anyback-nn bench``: which backend is the fastest here, and from which size on another would be.

The clock is in `anyback_nn.step_time`, what is concluded from the times in `anyback_nn.break_even`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import typer

from anyback_nn.cli import options
from anyback_nn.errors import AnybackError

if TYPE_CHECKING:
    from rich.table import Table

    from anyback_nn.backends import Backend
    from anyback_nn.break_even import BreakEven, Measured
    from anyback_nn.datasets import Dataset
    from anyback_nn.step_time import Steps, Timing

__all__ = ["bench"]

RATE = 1e-6
"""The learning rate: it does not change the time, and with this one nothing diverges."""

WORK = 4
"""About how much more a step has to do at the next size, see `growths`."""

Widths = tuple[int, ...]


def bench(
    data: options.OptionalData = "digits",
    target: options.Target = None,
    task: options.Task = "auto",
    hidden: options.Hidden = "256,128",
    activation: options.Activation = "relu",
    dropout: options.Dropout = 0.1,
    optimizer: options.Optimizer = "adam",
    l2: options.L2 = 0.0,
    batch_size: options.BatchSize = 64,
    seed: options.Seed = 0,
    grow: options.Grow = "batch,width",
    seconds: options.Seconds = 20.0,
    backends: options.BackendSpecs = None,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Time a training step on every backend, and find from which size on another one is faster.

    Larger batches and wider layers are timed until another backend is faster, or time is up.
    """
    chosen, failures = selected(backends)

    from anyback_nn.break_even import Measured, break_even, fastest
    from anyback_nn.cli.report import Report
    from anyback_nn.cli.train import contents
    from anyback_nn.datasets import load

    dataset = load(data, target=target, task=task)
    # As in training: no more rows than there are.
    size, widths = min(batch_size, len(dataset.x_train)), options.widths(hidden)
    work = Work(chosen, dataset, activation, dropout, optimizer, l2, seed, dtype)
    network = [dataset.n_features, *widths, dataset.n_outputs]
    report = Report(as_json=json)
    report.notes(dataset.notes)
    report.show(contents(dataset))
    report.show(
        f"network {'-'.join(map(str, network))}, batches of {size:,}, {optimizer}, {dtype}\n"
    )

    started = time.perf_counter()
    timings, failed = work.timed(size, widths, end=started + seconds / 2)
    failures |= failed
    result: dict[str, Any] = {
        "data": dataset.name,
        "network": network,
        "batch_size": size,
        "optimizer": optimizer,
        "dtype": dtype,
        "fastest": None,
        "backends": rows_of(chosen, timings, size),
        "failures": failures,
        "break_even": {},
    }
    reasons = [f"{spec} was not timed: {why}" for spec, why in failures.items()]
    if not timings:
        report.end(result)
        raise AnybackError("\n".join(["no backend could be timed", *reasons]))
    report.show(timings_table(result["backends"]))
    report.show("\n".join(["", *reasons, ""] if reasons else [""]))

    steps = {spec: one.step for spec, one in timings.items()}
    result["fastest"] = fastest(steps)
    sentences = [compared(steps)]
    ways = growths(size, widths)
    asked = [name for name in options.names(grow) if name in ways and len(steps) > 1]
    took = time.perf_counter() - started
    for position, name in enumerate(asked):
        now = time.perf_counter()
        end = now + (started + seconds - now) / (len(asked) - position)
        way = ways[name]
        points, lost = explored(work, way, Measured(way.first, steps), took, end)
        found = break_even(points)
        result["break_even"][name] = in_json(found, points, lost, way)
        if len(points) > 1:
            report.show(sizes_table(name, points, way))
            report.show("")
        report.notes(f"{name} {way.label(at)}: {why}" for at, why in lost)
        sentences.append(in_words(found, points, way))
    report.show("\n".join(sentences))
    report.end(result)


def selected(specs: str | None) -> tuple[list[Backend], dict[str, str]]:
    """Select the backends to time; the second result says why others cannot compute here."""
    from anyback_nn.backends import BACKENDS
    from anyback_nn.testing.variants import usable

    try:
        if specs is None:
            backends, missing = usable(BACKENDS)
            backends, _ = usable(spec for one in backends for spec in one.kinds())
        elif names := options.names(specs):
            backends, missing = usable(names)
        else:
            raise ValueError("expected at least one backend")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--backends'") from error
    return backends, {
        spec: reason.removeprefix(f"backend {spec!r}: ") for spec, reason in missing.items()
    }


@dataclass(frozen=True)
class Work:
    """What is timed, at any size."""

    backends: Sequence[Backend]
    dataset: Dataset
    activation: str
    dropout: float
    optimizer: str
    l2: float
    seed: int
    dtype: str

    def timed(
        self,
        batch_size: int,
        widths: Widths,
        end: float,
        expected: Mapping[str, float] | None = None,
    ) -> tuple[dict[str, Timing], dict[str, str]]:
        """Time every backend, about until ``end``.

        Parameters
        ----------
        batch_size : int
        widths : tuple of int
        end : float
            On the clock of `time.perf_counter`.
        expected : mapping of str to float, optional
            About how many seconds a step takes; backends that are missing are left out.
        """
        from anyback_nn import step_time

        beginnings = {
            one.spec: partial(self._begin, one, batch_size, widths)
            for one in self.backends
            if expected is None or one.spec in expected
        }
        return step_time.time_steps(beginnings, lambda: time.perf_counter() < end, expected)

    def _begin(self, backend: Backend, batch_size: int, widths: Widths) -> Steps:
        from anyback_nn.cli.train import build, hidden_layers, rule
        from anyback_nn.step_time import Steps

        layers = hidden_layers(widths, self.activation, self.dropout)
        model = build(layers, self.dataset, backend, self.seed, self.dtype)
        step_rule = rule(self.optimizer, RATE, "constant", self.l2, epochs=1)
        return Steps(model, self.dataset.x_train, self.dataset.y_train, step_rule, batch_size)


@dataclass(frozen=True)
class Growth:
    """One way to larger sizes.

    Attributes
    ----------
    first, factor : int
        The size to begin with, and how many times larger each is than the one before.
    at : callable
        Gives the batch size and the widths of the hidden layers at a size.
    of : str
        What has the size, in a sentence.
    label, about : callable
        Write a size as it is, and one that is known only about.
    """

    first: int
    factor: int
    at: Callable[[float], tuple[int, Widths]]
    of: str
    label: Callable[[float], str]
    about: Callable[[float], str]

    def sizes(self) -> Iterator[int]:
        """Give larger and larger sizes."""
        return (self.first * self.factor**power for power in count(1))


def growths(batch_size: int, widths: Widths) -> dict[str, Growth]:
    """Give the ways to larger sizes: batches by 4, and both sides of most matrices by 2."""
    ways = {
        "batch": Growth(
            batch_size,
            4,
            lambda size: (int(size), widths),
            "batches of",
            label=lambda size: f"{size:,.0f}",
            about=lambda size: f"about {rounded(size):,}",
        ),
        "width": Growth(
            1,
            2,
            lambda factor: (batch_size, tuple(int(factor) * width for width in widths)),
            "hidden layers of",
            label=lambda factor: ",".join(str(int(factor) * width) for width in widths),
            about=lambda factor: (
                f"about {','.join(str(rounded(factor * width)) for width in widths)}"
            ),
        ),
    }
    return ways if widths else {"batch": ways["batch"]}


def rounded(number: float) -> int:
    """Round to two digits, which is what a crossing of two curves is known to.

    >>> rounded(2048.3), rounded(17.4)
    (2000, 17)
    """
    return int(float(f"{number:.1e}"))


def explored(
    work: Work, way: Growth, first: Measured, took: float, end: float
) -> tuple[list[Measured], list[tuple[float, str]]]:
    """Time larger sizes until another backend is faster, or would not be done by ``end``.

    Parameters
    ----------
    work : Work
    way : Growth
    first : Measured
    took : float
        The seconds that it took to measure this.
    end : float

    Returns
    -------
    points : list of Measured
    lost : list of (float, str)
        The sizes at which a backend could not be timed, and why.
    """
    from anyback_nn import break_even, step_time

    # The first size was compiled twice: for a step alone, and for those of a turn.
    costs, seen = [took / 2], [first.seconds]
    lost: list[tuple[float, str]] = []

    def measure(size: float) -> Mapping[str, float]:
        began = time.perf_counter()
        expected = {spec: WORK * seconds for spec, seconds in seen[-1].items()}
        timings, failed = work.timed(*way.at(size), end, expected)
        seen.append({spec: one.step for spec, one in timings.items()})
        costs.append(time.perf_counter() - began)
        lost.extend((size, f"{spec} was not timed: {why}") for spec, why in failed.items())
        return seen[-1]

    def has_time(last: Measured) -> bool:
        # Compilation again, and steps that take longer.
        expected = costs[-1] + WORK * step_time.LEAST_STEPS * sum(last.seconds.values())
        return time.perf_counter() + expected < end

    return break_even.grow(first, way.sizes(), measure, has_time), lost


def rows_of(
    backends: Sequence[Backend], timings: Mapping[str, Timing], batch_size: int
) -> list[dict[str, Any]]:
    """List what was found out about each backend, the fastest one first."""
    best = min((one.step for one in timings.values()), default=0.0)
    rows = [
        {
            "backend": one.spec,
            "version": one.version,
            "device": one.device_label,
            "seconds_to_first_step": timings[one.spec].first_step,
            "microseconds_a_step": 1e6 * timings[one.spec].step,
            "samples_a_second": batch_size / timings[one.spec].step,
            "relative": timings[one.spec].step / best,
        }
        for one in backends
        if one.spec in timings
    ]
    return sorted(rows, key=lambda row: row["relative"])


def timings_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """List the backends with their times."""
    from rich.text import Text

    from anyback_nn.cli.report import table

    numeric = ("first step", "us a step", "samples/s", "relative")
    made = table("backend", "device", *numeric, numeric=numeric)
    made.columns[0].overflow = made.columns[1].overflow = "fold"
    for row in rows:
        made.add_row(
            Text(row["backend"], "bold green" if row is rows[0] else ""),
            Text(row["device"]),
            f"{row['seconds_to_first_step']:.2f} s",
            microseconds(row["microseconds_a_step"]),
            f"{row['samples_a_second']:,.0f}",
            f"{row['relative']:.2f}",
        )
    return made


def sizes_table(name: str, points: Sequence[Measured], way: Growth) -> Table:
    """List the microseconds of a step at each size, of each backend."""
    from rich.text import Text

    from anyback_nn.break_even import fastest
    from anyback_nn.cli.report import table

    specs = list(points[0].seconds)
    made = table(name, *(f"{spec} us" for spec in specs), numeric=[f"{spec} us" for spec in specs])
    for point in points:
        best = fastest(point.seconds)
        cells = (
            Text(microseconds(1e6 * point.seconds[spec]), "bold green" if spec == best else "")
            if spec in point.seconds
            else "-"
            for spec in specs
        )
        made.add_row(way.label(point.size), *cells)
    return made


def microseconds(number: float) -> str:
    """Write microseconds with about three digits.

    >>> microseconds(62.44), microseconds(1234.5)
    ('62.4', '1,234')
    """
    return f"{number:,.{1 if number < 100 else 0}f}"


def compared(seconds: Mapping[str, float]) -> str:
    """Say which backend is the fastest, and how far ahead of the next it is."""
    from anyback_nn.break_even import MARGIN

    first, *others = sorted(seconds, key=lambda spec: seconds[spec])
    if not others:
        return f"{first} alone could be timed here: there is nothing to compare it with."
    ratio = seconds[others[0]] / seconds[first]
    if ratio < MARGIN:
        return f"{first} and {others[0]} are about equally fast here."
    return f"{first} is the fastest here, {ratio:.1f} times as fast as {others[0]}."


def in_words(found: BreakEven | None, points: Sequence[Measured], way: Growth) -> str:
    """Say from which size on another backend would be the fastest."""
    from anyback_nn.break_even import fastest

    if found is not None:
        return f"{found.backend} would be from {way.of} {way.about(found.size)} on."
    first, *larger = points
    if not larger:
        return f"There was no time for more than {way.of} {way.label(first.size)}: raise --seconds."
    best, last = fastest(first.seconds), larger[-1]
    still = "stays so" if best in last.seconds else "was timed"
    return f"{best} {still} up to {way.of} {way.label(last.size)}, the largest there was time for."


def in_json(
    found: BreakEven | None,
    points: Sequence[Measured],
    lost: Sequence[tuple[float, str]],
    way: Growth,
) -> dict[str, Any]:
    """Give one way to larger sizes as JSON."""
    measured = []
    for point in points:
        batch_size, widths = way.at(point.size)
        times = {spec: 1e6 * seconds for spec, seconds in point.seconds.items()}
        measured.append({"batch_size": batch_size, "hidden": widths, "microseconds_a_step": times})
    return {
        "backend": found and found.backend,
        "times_as_large": found and found.size / way.first,
        "measured": measured,
        "failures": [why for _, why in lost],
    }

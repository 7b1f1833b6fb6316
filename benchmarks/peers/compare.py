"""Training time beside other libraries: the same data, networks, first weights and batches.

    nox -s bench -- --quick                        # or, in an environment that has all of them:
    python benchmarks/peers/compare.py --quick

Every system runs in a process of its own and trains when it is its turn, so that all of them see
the machine in the same states: an epoch that is not timed, since the others have had the caches,
then one that is. Before the first turn, all build their networks and train an epoch at the same
time, which is when those that compile do so. Times are medians of the turns; ratios are medians of
the ratios of each turn. (scikit-learn draws first weights of its own.)
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

sys.path.append(str(Path(__file__).parents[1]))
from children import Child, ChildError, children, is_child
from peers.chart import draw
from peers.systems import FLOOR, ON_GPU, SYSTEMS
from peers.work import FASHION, WORKS, Work, load, write
from report import parser, picture, preamble, publish, ratio, table, versions
from turns import columns, in_turns

Found = dict[str, Any]
"""Of one row: for each system its ``seconds`` and ``losses``, or the reason why there are none."""

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
        The epochs of each system that are timed.
    operations : float
        Of an epoch's matrix products, at the most: large networks get a part of the samples.
    batches : float
        Of an epoch, at the most.
    """

    repeats: int
    operations: float
    batches: float = math.inf

    def samples(self, work: Work) -> int:
        """Choose how many of the samples an epoch has: all, or some whole batches."""
        n_samples = len(load(work.data)[0])
        affordable = self.operations / (work.operations * work.batch)
        # At least two, so that a step has been taken more than twice before it is timed: ours is
        # recorded in the third one.
        n_batches = max(2, min(affordable, self.batches))
        if n_batches * work.batch >= n_samples:
            return n_samples
        return int(n_batches) * work.batch


FULL = Effort(repeats=5, operations=1.2e11)
QUICK = Effort(repeats=3, operations=4.5e9, batches=25)


# Measuring ---------------------------------------------------------------------------------------


def at_once(systems: dict[str, Child], **asked: Any) -> Found:
    """Ask all for the same, to be done at the same time; give the answers, or why there is none."""
    for child in systems.values():
        child.send(**asked)
    found = {}
    for name, child in systems.items():
        try:
            found[name] = child.receive()
        except ChildError as error:
            found[name] = str(error)
    return found


def turn(child: Child) -> Any:
    """Let a system train an epoch for the caches and one that counts; give seconds and loss."""
    child.ask(do="epoch")
    return child.ask(do="epoch")


def measure(systems: dict[str, Child], repeats: int, **asked: Any) -> Found:
    """Measure one row."""
    prepared = at_once(systems, do="prepare", **asked)
    ready = {name: systems[name] for name, reason in prepared.items() if reason is None}
    # Those that compile do it in the first epoch.
    begun = at_once(ready, do="epoch")
    tasks = {name: partial(turn, systems[name]) for name in begun if measured(begun, name)}
    trained = in_turns(tasks, repeats)
    at_once({name: systems[name] for name in trained if measured(trained, name)}, do="stop")
    return prepared | begun | columns(trained, "seconds", "losses")


def measure_works(
    names: list[str], works: Iterable[int], effort: Effort
) -> Iterator[tuple[Work, int, Found]]:
    """Measure one row after another; yield the work, its number of samples and what was found."""
    with tempfile.TemporaryDirectory() as folder, children(__file__, names) as systems:
        for index in works:
            work = WORKS[index]
            n = effort.samples(work)
            write(work, n, Path(folder))
            asked = {"work": index, "samples": n, "folder": folder}
            yield work, n, measure(systems, effort.repeats, **asked)


def measured(found: Found, name: str) -> bool:
    """Tell whether a system could do what it was asked for."""
    return not isinstance(found[name], str)


# Reporting ---------------------------------------------------------------------------------------


def times(found: Found, name: str) -> list[float]:
    """Give the seconds of each turn, or none."""
    one = found.get(name)
    return one["seconds"] if isinstance(one, dict) else []


def milliseconds(found: Found, name: str) -> str:
    """Write the median time of an epoch."""
    return f"{median(times(found, name)) * 1e3:,.1f}" if times(found, name) else "-"


def over(found: Found, one: str | None, other: str | None) -> str:
    """Write how many times as long as another system one takes."""
    if one is None or other is None or not (times(found, one) and times(found, other)):
        return "-"
    return f"{ratio(times(found, one), times(found, other)):.2f}"


def fastest(found: Found, names: list[str]) -> str | None:
    """Name the system with the least median time."""
    those = [name for name in names if times(found, name)]
    return min(those, key=lambda name: median(times(found, name)), default=None)


def summary(results: dict[str, Found]) -> str:
    """Write a table of what is compared most often."""
    names = {name for found in results.values() for name in found}
    beside = {one: other for one, other in PAIRS.items() if {one, other} <= names}
    head = ["", "our best", "best peer", "best peer / our best"]
    head += [f"{theirs} / {ours}" for theirs, ours in beside.items()]
    head += [f"our best / {FLOOR}"]
    rows = []
    for work, found in results.items():
        ours, peer = fastest(found, OURS), fastest(found, PEERS)
        pairs = [(peer, ours), *beside.items(), (ours, FLOOR)]
        rows.append([work, ours or "-", peer or "-", *(over(found, *pair) for pair in pairs)])
    return table(head, rows, texts=3)


def failures(results: dict[str, Found]) -> list[str]:
    """List what could not be measured, and why: a paragraph, or none."""
    works: dict[str, list[str]] = {}
    for work, found in results.items():
        for name, one in found.items():
            if isinstance(one, str):
                works.setdefault(f"{name}: {' '.join(one.split())}", []).append(work)
    lines = [f"- {reason} ({'; '.join(rows)})" for reason, rows in works.items()]
    return ["\n".join(["Not measured:", "", *lines])] if lines else []


def packages(names: list[str]) -> dict[str, str]:
    """Give the versions of what computes."""
    return versions(package for name in names for package in SYSTEMS[name].packages)


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="timed epochs of each; default: 5")
    usual = [name for name in SYSTEMS if name not in ON_GPU]
    cli.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME", default=usual)
    numbers = range(len(WORKS))
    cli.add_argument("--works", nargs="+", type=int, choices=numbers, default=numbers)
    options = cli.parse_args()
    effort = QUICK if options.quick else FULL
    effort = replace(effort, repeats=options.repeats or effort.repeats)
    results: dict[str, Found] = {}
    samples: dict[str, int] = {}
    started = time.perf_counter()
    for work, n, found in measure_works(options.systems, options.works, effort):
        samples[work.name], results[work.name] = n, found
        took = time.perf_counter() - started
        print(f"{work.name}: measured after {took:.0f} s", file=sys.stderr, flush=True)
    contents = {"versions": packages(options.systems), "samples": samples, "results": results}
    publish(options, report(options, results, samples, effort.repeats), contents)


def relative(results: dict[str, Found]) -> dict[str, dict[str, float]]:
    """Give the ratios of the times of all systems to those of the reference."""
    return {
        work: {name: ratio(one, base) for name in found if (one := times(found, name))}
        for work, found in results.items()
        if (base := times(found, REFERENCE))
    }


def report(
    options: Any, results: dict[str, Found], samples: dict[str, int], repeats: int
) -> list[str]:
    """Write the paragraphs of the report."""
    names = options.systems
    noise = "" if FASHION.is_dir() else " Noise of the shape of Fashion-MNIST took its place."
    return [
        "# Training time beside other libraries",
        preamble(options, __file__, packages(names)) + noise,
        "Ratios of times, medians of the ratios of each turn. Above 1, ours is faster; the last "
        "column tells how far we are from NumPy's matrix products alone:",
        summary(results),
        f"Milliseconds an epoch, medians of {repeats}. Where there are fewer samples than the data "
        "have, that is to save time:",
        table(
            ["", "samples", *names],
            [
                [work, f"{samples[work]:,}", *(milliseconds(found, name) for name in names)]
                for work, found in results.items()
            ],
        ),
        f"Times over those of {REFERENCE}:",
        table(
            ["", *names],
            [
                [work, *(over(found, name, REFERENCE) for name in names)]
                for work, found in results.items()
            ],
        ),
        *failures(results),
        *picture(options, partial(draw, relative(results), REFERENCE), "time relative to ours"),
    ]


if __name__ == "__main__":
    if is_child():
        from peers.worker import serve

        serve(sys.argv[2])
    else:
        main()

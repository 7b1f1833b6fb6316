"""How the time of a step grows with width, depth and batch, and that of an epoch with samples.

    python benchmarks/scaling.py --quick

Ours on NumPy, PyTorch and JAX, each in a process of its own, in turns. One quantity grows, the
others stay as `BASE` says. A straight line is fitted to the logarithms: its slope is the exponent,
1 for time in proportion. At the small end the fixed price of a step counts, at the large end that
of the arithmetic, so the slope of the last three points is given too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from children import Child, ChildError, children, is_child, serve
from report import parser, picture, preamble, publish, table, versions

BACKENDS = ("numpy", "torch", "jax")
N_IN, N_CLASSES = 64, 10


@dataclass(frozen=True)
class Case:
    """A network and its data.

    Attributes
    ----------
    width : int
        Units of each hidden layer.
    depth : int
        The number of hidden layers.
    batch, samples : int
    """

    width: int = 256
    depth: int = 2
    batch: int = 128
    samples: int = 2048

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, hidden units, classes."""
        return (N_IN, *[self.width] * self.depth, N_CLASSES)


BASE = Case()
POINTS = {
    "width": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "depth": (1, 2, 4, 8, 16, 32),
    "batch": (1, 4, 16, 64, 256, 1024, 4096),
    "samples": (512, 2048, 8192, 32768, 131072),
}
QUICK = {
    "width": (16, 64, 256, 1024),
    "depth": (1, 3, 9),
    "batch": (8, 64, 512),
    "samples": (512, 2048, 8192),
}
LABELS = {
    "width": "units of each hidden layer",
    "depth": "hidden layers",
    "batch": "samples in a batch",
    "samples": "samples of an epoch",
}
STEPS = 16
"""The steps of an epoch, but where the samples are what grows."""


def case_of(what: str, value: int) -> Case:
    """Let one quantity have this value."""
    case = replace(BASE, **{what: value})
    return case if what == "samples" else replace(case, samples=STEPS * case.batch)


class Server:
    """One backend in its process.

    Parameters
    ----------
    backend : str
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.model: Any = None
        self.key: Any = None

    def __call__(self, what: str, value: int, epochs: int) -> list[float]:
        """Train some epochs more; give the seconds of each."""
        import ours

        import anyback_nn as nn

        case = case_of(what, value)
        if self.key != case:
            self.key, self.model = case, ours.model(case.sizes, self.backend)
            self.x, self.y = ours.noise(case.samples, N_IN, N_CLASSES)
        done = len(self.model.history) if self.model.n_in else 0
        # The rate is small, for noise is learned from here.
        options = {"optimizer": nn.Adam(1e-5), "batch_size": case.batch, "progress": False}
        self.model.fit(self.x, self.y, epochs=epochs, **options)
        return list(self.model.history["seconds"][done:])


def measure(
    processes: dict[str, Child], what: str, values: tuple[int, ...], repeats: int
) -> dict[str, Any]:
    """Measure all values of one quantity.

    Returns
    -------
    dict of str to list of float
        For each backend, seconds of a step (of an epoch, for samples) for each value.
    """
    found: dict[str, Any] = {name: [] for name in processes}
    for value in values:
        per = 1 if what == "samples" else STEPS
        seconds: dict[str, list[float]] = {name: [] for name in processes}
        asked = {"what": what, "value": value}
        for turn in range(repeats + 1):
            for name, child in processes.items():
                # The first epoch of each call has what only a first one has to do.
                took = child.ask(epochs=3, **asked)[1:]
                if turn:
                    seconds[name] += took
        for name in processes:
            found[name].append(median(seconds[name]) / per)
    return found


def slope(values: tuple[int, ...], seconds: list[float], last: int | None = None) -> float:
    """Fit a line to the logarithms of the last points, or of all; give its slope.

    Examples
    --------
    >>> round(slope((1, 2, 4, 8), [3.0, 12.0, 48.0, 192.0]), 6)
    2.0
    """
    part = slice(-last, None) if last else slice(None)
    return float(np.polyfit(np.log(values[part]), np.log(seconds[part]), 1)[0])


def rows(results: dict[str, Any], points: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """Write a row for each quantity and backend."""
    return [
        [
            what,
            name,
            f"{points[what][0]:,} to {points[what][-1]:,}",
            f"{seconds[0] * 1e3:,.3f}",
            f"{seconds[-1] * 1e3:,.3f}",
            f"{slope(points[what], seconds):.2f}",
            f"{slope(points[what], seconds, 3):.2f}",
        ]
        for what, found in results.items()
        for name, seconds in found.items()
    ]


def draw(results: dict[str, Any], points: dict[str, tuple[int, ...]], path: Path) -> None:
    """Draw one picture: a panel for each quantity, a line for each backend."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure, panels = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    markers = dict(zip(BACKENDS, "osD"))
    for panel, (what, found) in zip(panels.flat, results.items()):
        for name, seconds in found.items():
            label = f"{name}: {slope(points[what], seconds, 3):.2f}"
            milliseconds = [1e3 * one for one in seconds]
            panel.loglog(points[what], milliseconds, f"{markers[name]}-", ms=4, label=label)
        panel.set_xlabel(LABELS[what])
        panel.set_ylabel(f"ms {'an epoch' if what == 'samples' else 'a step'}")
        panel.set_xticks(points[what], [f"{value:,}" for value in points[what]])
        panel.minorticks_off()
        # Less than two powers of ten would leave a single number on the axis.
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        panel.grid(alpha=0.3)
        title = "slope of the last three points"
        panel.legend(frameon=False, fontsize=8, title=title, title_fontsize=8, alignment="left")
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    base = f"{N_IN} inputs, {BASE.depth} x {BASE.width} hidden units, batch {BASE.batch}, Adam"
    figure.suptitle(f"anyback_nn: {base}; one of these grows", fontsize=11)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="turns of two epochs; default: 5")
    options = cli.parse_args()
    points, repeats = (
        QUICK if options.quick else POINTS,
        options.repeats or (1 if options.quick else 5),
    )
    results: dict[str, Any] = {}
    with children(__file__, BACKENDS) as processes:
        for name in BACKENDS:
            try:
                processes[name].ask(what="width", value=16, epochs=1)
            except ChildError as error:
                print(f"{name}: {error}", file=sys.stderr)
                del processes[name]
        for what, values in points.items():
            results[what] = measure(processes, what, values, repeats)
    named = versions(("numpy", "anyback_nn", "torch", "jax"))
    publish(
        options,
        [
            "# How time grows",
            preamble(options, __file__, named),
            f"{N_IN} inputs, {BASE.depth} hidden layers of {BASE.width} units, {N_CLASSES} classes"
            f", batch {BASE.batch}, Adam, float32; one of these grows. Milliseconds a step (for "
            f"samples: an epoch), medians of {2 * repeats} epochs, and the slopes on logarithmic "
            "scales: of all points, and of the last three.",
            *picture(options, partial(draw, results, points), "how time grows"),
            table(
                [
                    "what grows",
                    "backend",
                    "range",
                    "ms, first",
                    "ms, last",
                    "slope",
                    "of the last 3",
                ],
                rows(results, points),
                texts=3,
            ),
        ],
        {"versions": named, "points": points, "results": results},
    )


if __name__ == "__main__":
    if is_child():
        serve(Server(sys.argv[2]))
    else:
        main()

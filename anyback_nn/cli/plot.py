"""The plot of ``anyback-nn verify``: how far training runs drift apart, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from anyback_nn.cli.run_folder import check_file
from anyback_nn.errors import AnybackError
from anyback_nn.testing.comparison import Comparison
from anyback_nn.utils.arguments import require_extra
from anyback_nn.utils.files import atomic_write

__all__ = ["check_plot", "draw"]

SUFFIXES = (".png", ".svg", ".pdf")
"""The formats that can be drawn."""

MAX_MARKERS = 20
"""With at most this many steps, each is marked by a point."""


def check_plot(path: Path, *, force: bool) -> None:
    """Raise unless a plot can be drawn and written to ``path``."""
    if path.suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"expected a file that ends in {', '.join(SUFFIXES)}, got {path}",
            param_hint="'--plot'",
        )
    check_file(path, force=force)
    require_extra("matplotlib", "plot", "drawing", AnybackError)  # before anything is computed


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw how far the parameters of each run are from the reference, for each dtype."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(comparisons), 3.8), layout="constrained")
    axes: Any = figure.subplots(1, len(comparisons), squeeze=False)[0]
    for ax, comparison in zip(axes, comparisons):
        first, *_ = comparison.runs
        ax.set_yscale("log")
        # If nothing differs, there is nothing to choose the limits by.
        ax.set_ylim(first.tolerance * 1e-7, first.tolerance * 10, auto=True)
        for position, run in enumerate(comparison.runs):
            drift = [row.relative for row in run.differences["parameters"]]
            # A logarithmic axis has no place for runs that are equal bit for bit.
            ax.plot(
                range(1, len(drift) + 1),
                [value or float("nan") for value in drift],
                label=run.backend + ("" if any(drift) else " (no difference)"),
                linewidth=len(comparison.runs) - position + 0.5,  # so that none hides another
                alpha=0.8,
                marker="." if len(drift) <= MAX_MARKERS else "",  # a single point is no line
            )
        ax.set_xlim(1, max(len(drift), 2))
        ax.axhline(first.tolerance, color="gray", linestyle="--", label="allowed")
        ax.set_title(first.dtype)
        ax.set_xlabel("step")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small")
    axes[0].set_ylabel("largest relative difference of a parameter")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)

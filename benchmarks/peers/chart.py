"""The picture of the comparison."""

from __future__ import annotations

from pathlib import Path

STYLES = {
    "ours, numpy": ("o", "tab:blue"),
    "ours, torch": ("o", "tab:red"),
    "ours, jax": ("o", "tab:green"),
    "scikit-learn": ("s", "tab:blue"),
    "torch eager": ("^", "tab:red"),
    "torch.compile": ("D", "tab:red"),
    "JAX + Optax": ("^", "tab:green"),
    "JAX + Optax, scan": ("D", "tab:green"),
    "Keras on JAX": ("s", "tab:green"),
    "Thinc": ("X", "tab:blue"),
    "products alone": ("|", "black"),
}
"""Marks and colours: ours are circles, and what computes on the same library has one colour."""

HEIGHT = 0.8
"""Of a group, of which the next one is 1 away."""


def draw(relative: dict[str, dict[str, float]], reference: str, path: Path) -> None:
    """Draw a group for each row of the table, with a mark for each system.

    Parameters
    ----------
    relative : dict of str to dict of str to float
        For each row, the time of each system over that of the reference.
    reference : str
    path : Path
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator

    names = list(dict.fromkeys(name for found in relative.values() for name in found))
    figure = Figure(figsize=(9, 1.6 + 1.25 * len(relative)), layout="constrained")
    panel = figure.subplots()
    panel.axvline(1.0, color="black", lw=0.8)
    for row in range(1, len(relative)):
        panel.axhline(row - 0.5, color="0.85", lw=0.8)
    for position, name in enumerate(names):
        marker, color = STYLES.get(name, ("P", "tab:gray"))
        # Within a group, every system has a height of its own, so that no mark hides another.
        shift = HEIGHT * ((position + 0.5) / len(names) - 0.5)
        marks = [
            (found[name], row + shift)
            for row, found in enumerate(relative.values())
            if name in found
        ]
        panel.plot(*zip(*marks), linestyle="", marker=marker, color=color, ms=6, label=name)
        for value, height in marks:
            panel.plot([1.0, value], [height, height], color=color, lw=0.8, alpha=0.4)
            panel.annotate(
                f"{value:.2f}",
                (value, height),
                (6 if value >= 1 else -6, 0),
                textcoords="offset points",
                ha="left" if value >= 1 else "right",
                va="center",
                fontsize=6,
                color="0.3",
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.minorticks_off()
    panel.margins(x=0.08)
    panel.set_yticks(range(len(relative)), [name.replace(", ", "\n") for name in relative])
    panel.set_ylim(len(relative) - 0.5, -0.5)
    panel.tick_params(labelsize=8, length=0)
    panel.set_xlabel(
        f"time of an epoch, that of {reference} = 1 (to the right: slower)", fontsize=9
    )
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)

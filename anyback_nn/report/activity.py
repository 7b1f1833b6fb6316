"""The section on what happened inside of the network while it learned."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyback_nn.errors import CheckpointError
from anyback_nn.report.content import Picture, Section, Table, shorten
from anyback_nn.report.drawing import draw
from anyback_nn.training.activity import STATISTICS

__all__ = ["describe_activity", "list_warnings", "read_activity"]

DEAD = 0.25
"""The share of dead units of a layer above which they are a waste."""

SATURATED = 0.5
"""The share of saturated outputs of a layer above which it hardly learns."""

VANISHING = 1e-3
"""The gradient by the outputs of the first layer with parameters, over that of the last one, below
which it vanishes; above the inverse, it explodes."""

RESTLESS = 1.0
"""The relative change of a layer's parameters in the last epoch above which it has not settled."""

MAX_MARKERS = 12
"""With at most this many records, each is marked by a point."""

Rows = Sequence[Mapping[str, Any]]


def read_activity(path: Path) -> list[dict[str, Any]]:
    """Read the file of `ActivityLog.to_csv`.

    Raises
    ------
    CheckpointError
        It is not as it was written.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if missing := {"epoch", "layer", "kind"} - {*(lines.fieldnames or ())}:
                raise ValueError(f"it has no column {min(missing)}")
            return [_read_row(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise CheckpointError(
            f"{path} is not as train wrote it ({type(error).__name__}: {error}): remove it, and "
            "the report goes without"
        ) from error


def _read_row(line: Mapping[str, str]) -> dict[str, Any]:
    known = {name: float(line[name]) for name in STATISTICS if line[name]}
    return {"epoch": int(line["epoch"]), "layer": int(line["layer"]), "kind": line["kind"], **known}


def describe_activity(rows: Rows | None) -> Section:
    """Show the statistics of the layers over the epochs, and what is unusual about them."""
    title = "Inside of the network"
    if not rows:
        return Section(
            "activity",
            title,
            [
                "Not recorded: train with --report to see here whether units are dead or "
                "saturated, and how the gradients of the layers compare."
            ],
        )
    rows = leave_out_silent(rows)
    last = [row for row in rows if row["epoch"] == rows[-1]["epoch"]]
    text = [
        f"Computed on the same rows of the training data at the end of some epochs, the last of "
        f"which is {last[0]['epoch']}: mean and standard deviation of the outputs, norms of the "
        "gradients and the parameters, and how far these moved in the epoch. Layers are numbered "
        "from 0."
    ]
    head = (
        *("layer", "mean", "std", "dead", "saturated", "gradient by outputs"),
        *("gradient by parameters", "parameters", "change"),
    )
    names = (
        *("mean", "std", "dead", "saturated", "output_gradient"),
        *("gradient", "parameters", "update"),
    )
    cells = [(name_layer(row), *(_write(name, row.get(name)) for name in names)) for row in last]
    table = Table(head, cells)
    pictures = [
        *_draw_lines(
            rows,
            "gradient",
            "norm of the gradient",
            "Norm of each layer's gradient. If "
            "that of the first layers is far smaller than that of the last, they hardly learn.",
            log=True,
        ),
        *_draw_lines(
            rows,
            "std",
            "standard deviation",
            "Standard deviation of each layer's "
            "outputs: if it shrinks or grows from layer to layer, so do the gradients.",
        ),
        *_draw_lines(
            rows,
            "update",
            "relative change",
            "How far the parameters of each layer moved in the epoch, relative to their norm.",
            log=True,
        ),
        *_draw_lines(
            rows,
            "dead",
            "share of units",
            "Dead units: their slope is 0 on every row, so "
            "that they have the same output for all of them, and nothing before them learns.",
            share=True,
        ),
        *_draw_lines(
            rows,
            "saturated",
            "share of outputs",
            "Saturated outputs: within 1 % of a limit "
            "of the activation, where its slope is small, and little gradient comes through.",
            share=True,
        ),
    ]
    return Section("activity", title, text, list_warnings(last), [table], pictures)


def leave_out_silent(rows: Rows) -> Rows:
    """Return the rows without layers that change nothing in a prediction, such as dropout."""
    pairs = zip(rows, [None, *rows])
    return [
        row
        for row, before in pairs
        if "parameters" in row
        or before is None
        or any(row.get(name) != before.get(name) for name in ("epoch", "mean", "std"))
    ]


def name_layer(row: Mapping[str, Any]) -> str:
    """Return the number and the kind of a layer."""
    return f"{row['layer']}\u00a0{shorten(row['kind'])}"


def list_warnings(last: Rows) -> list[str]:
    """List what is unusual about the layers in one epoch, what it means, and what to try."""
    warnings = []
    for row in last:
        name, dead, saturated = name_layer(row), row.get("dead", 0.0), row.get("saturated", 0.0)
        if dead > DEAD:
            warnings.append(
                f"{dead:.0%} of the units of layer {name} are dead: they have the same output "
                "whatever the row is, and no longer learn. Try a smaller learning rate, leaky_relu "
                "or another initial scale; or fewer units, if the scores are good."
            )
        if saturated > SATURATED:
            warnings.append(
                f"{saturated:.0%} of the outputs of layer {name} are saturated: little gradient "
                "comes through, so the layers before it learn slowly. Try inputs of a smaller "
                "scale, a smaller learning rate, a penalty (--l2), or relu."
            )
        if row.get("update", 0.0) > RESTLESS:
            warnings.append(
                f"the parameters of layer {name} changed by {row['update']:.0%} of their norm in "
                "the last epoch: it has not settled. Try a smaller learning rate, or the cosine "
                "schedule."
            )
    learned = [row for row in last if {"gradient", "output_gradient"} <= {*row}]
    if len(learned) > 1 and learned[-1]["output_gradient"]:
        first, final = learned[0], learned[-1]
        ratio = first["output_gradient"] / final["output_gradient"]
        if ratio < VANISHING:
            warnings.append(
                f"the gradient vanishes on the way back: that of layer {name_layer(first)} is "
                f"{ratio:.1e} times that of layer {name_layer(final)}, so it hardly learns. Try "
                "relu or another activation, fewer layers, BatchNorm, or blocks with a shortcut."
            )
        elif ratio > 1 / VANISHING:
            warnings.append(
                f"the gradient explodes on the way back: that of layer {name_layer(first)} is "
                f"{ratio:.1e} times that of layer {name_layer(final)}. Try --clip-norm 1, a "
                "smaller learning rate, or BatchNorm."
            )
    return warnings


def _write(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in ("dead", "saturated", "update"):
        return "< 0.1%" if 0 < value < 0.001 else f"{value:.1%}"
    return f"{value:.3g}"


def _draw_lines(
    rows: Rows, name: str, label: str, caption: str, *, log: bool = False, share: bool = False
) -> list[Picture]:
    """Draw one statistic of all layers that have it; nothing if none has it."""
    layers: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if name in row:
            # A logarithm has no place for 0.
            value = row[name] if row[name] or not log else math.nan
            layers.setdefault(name_layer(row), []).append((row["epoch"], value))
    if not layers:
        return []

    def plot(ax: Any) -> None:
        for layer, points in layers.items():
            marker = "o" if len(points) <= MAX_MARKERS else ""
            ax.plot(*zip(*points), label=layer, marker=marker, markersize=4)
        if log:
            ax.set_yscale("log")
        if share:
            from matplotlib.ticker import PercentFormatter

            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y", alpha=0.6)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

    lines = -(-len(layers) // 3)
    return [draw(plot, caption, size=(4.2, 2.9 + 0.2 * lines))]

"""What the program says: notes and errors on stderr, tables and JSON on stdout."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from anyback_nn.cli.measure import Measured
    from anyback_nn.datasets import Encoding
    from anyback_nn.model import Model

__all__ = ["Report", "confusion_table", "network_table", "say", "stop_writing", "table", "to_json"]

_STYLES = {"error": "bold red", "note": "bold cyan"}
_LABELS = {"r2": "R2"}
_STANDARDISED = " (of the standardised target)"
_MOST_PAIRS = 10


@dataclass(frozen=True)
class Report:
    """What a command tells its user.

    Parameters
    ----------
    as_json : bool
        Whether stdout is for one JSON object alone.
    quiet : bool
        Whether stdout is for the scores alone, and stderr for errors.
    """

    as_json: bool = False
    quiet: bool = False

    def notes(self, messages: Iterable[str]) -> None:
        """Write notes to stderr."""
        for message in () if self.quiet else messages:
            say("note", message)

    def show(self, part: RenderableType) -> None:
        """Write a table or text to stdout, unless asked to be quiet."""
        if not (self.as_json or self.quiet):
            _write(part)

    def scores(self, where: str, encoding: Encoding, measured: Measured) -> None:
        """Write the scores and, unless asked to be quiet, which classes were confused."""
        if self.as_json:
            return
        labels = {name: _LABELS.get(name, name.replace("_", " ")) for name in measured.scores}
        width = max(map(len, labels.values()))
        _write(Text(f"{where}: {measured.n_rows:,} rows", style="bold"))
        for name, value in measured.scores.items():
            in_units = name.endswith("error")
            number = f"{value:.6g} (units of the target)" if in_units else f"{value:.4f}"
            number += _STANDARDISED if name == "loss" and encoding.classes is None else ""
            _write(f"  {labels[name]:<{width}}  {number}")
        if encoding.classes is not None:
            self.show("")
            self.show(confusion_table(measured.confusion, encoding.classes, Console().width))
            self.show("")

    def end(self, result: Mapping[str, Any], written: object = None) -> None:
        """Write the JSON object, or where the result was written to."""
        if self.as_json:
            print(to_json(result))
        elif written is not None:
            print(f"written to {written}")


def say(kind: str, message: str) -> None:
    """Write an ``"error"`` or a ``"note"`` to stderr; lines are wrapped on a terminal only."""
    console = Console(stderr=True, highlight=False)
    text = Text.assemble((f"{kind}:", _STYLES[kind]), f" {message}")
    console.print(text, soft_wrap=not console.is_terminal)


class _Output(Console):
    """Standard output; when nobody reads it any more, the program goes on to write its files."""

    def on_broken_pipe(self) -> None:
        stop_writing()


def stop_writing() -> None:
    """Let standard output lead nowhere, so that no later write or flush fails."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(part: RenderableType) -> None:
    # Paths may hold brackets, which are no markup.
    _Output(highlight=False, markup=False).print(part)


def to_json(value: Mapping[str, Any], indent: int | None = None) -> str:
    """Write JSON; numbers that are not finite, which JSON does not have, become null.

    >>> to_json({"loss": float("nan"), "epochs": 3})
    '{"loss": null, "epochs": 3}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(*headers: str, numeric: Iterable[str] = ()) -> Table:
    """Make an empty table in the program's style; columns of numbers stand to the right."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        made.add_column(Text(header), justify="right" if header in numeric else "left")
    return made


def network_table(model: Model) -> Table:
    """List the layers, the shapes of their outputs and their numbers of parameters."""
    made = table("layer", "output shape", "parameters", numeric=["parameters"])
    made.add_row("Input", f"(rows, {model.n_in})")
    for layer, row in zip(model.network.layers, model.summary()):
        parameters = f"{row.parameters:,}" if row.parameters else ""
        made.add_row(_in_short(layer), f"(rows, {row.output_shape[1]})", parameters)
    made.add_section()
    made.add_row("total", "", f"{model.layout.size:,}", style="bold")
    return made


def _in_short(layer: Any) -> str:
    """Write a layer without the settings that are as by default."""
    values = ((one.name, getattr(layer, one.name), one.default) for one in fields(layer))
    settings = (f"{name}={value!r}" for name, value, default in values if value != default)
    return f"{type(layer).__name__}({', '.join(settings)})"


def confusion_table(counts: Any, labels: tuple[str, ...], width: int) -> Table:
    """List how many rows of each class were taken for which class.

    Parameters
    ----------
    counts : ndarray of int, shape (n_classes, n_classes)
        Actual classes on the first axis, predicted ones on the second.
    labels : tuple of str
    width : int
        Where the matrix is wider than this, the most confused pairs of classes stand instead.
    """
    made = table("actual \\ predicted", *labels, numeric=labels)
    for i, label in enumerate(labels):
        cells = (
            Text(f"{count:,}" if count else ".", style="bold" if i == j else "")
            for j, count in enumerate(counts[i].tolist())
        )
        made.add_row(Text(label), *cells)
    endless = Console(width=100_000)
    fits = Measurement.get(endless, endless.options, made).maximum <= width
    return made if fits else _confused_pairs(counts, labels)


def _confused_pairs(counts: Any, labels: tuple[str, ...]) -> Table:
    """List the pairs of classes that were confused most often."""
    made = table("actual", "predicted", "rows", "of the class", numeric=["rows", "of the class"])
    totals = counts.sum(axis=1).tolist()
    pairs = [
        (count, i, j)
        for i, row in enumerate(counts.tolist())
        for j, count in enumerate(row)
        if count and i != j
    ]
    for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:_MOST_PAIRS]:
        share = count / totals[i]
        made.add_row(Text(labels[i]), Text(labels[j]), f"{count:,}", f"{share:.1%}")
    made.title = "The most confused classes" if pairs else "No classes were confused"
    made.title_justify, made.title_style = "left", "none"
    return made

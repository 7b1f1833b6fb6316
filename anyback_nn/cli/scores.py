"""How well a model predicts rows whose targets are known."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from anyback_nn.array_api import to_numpy
from anyback_nn.cli.printing import Printer, create_table
from anyback_nn.datasets import Encoding
from anyback_nn.model import Model
from anyback_nn.training.evaluation import evaluate_and_predict
from anyback_nn.training.fit import batch_arrays, check_arrays

__all__ = ["Scores", "compute_scores", "confusion_table", "count_confusion", "show_scores"]

LABELS = {"r2": "R2"}
BATCH_SIZE = 4096
MOST_PAIRS = 10
"""The largest number of rows in the table of confused classes."""


class Scores(NamedTuple):
    """The scores by their names and, for classification, the confusion matrix."""

    n_rows: int
    values: dict[str, float]
    confusion: Any = None


def compute_scores(model: Model, encoding: Encoding, x: Any, y: Any) -> Scores:
    """Compute the scores of a model, in one pass over encoded rows.

    They are ``loss``, and either ``accuracy`` or ``r2``, ``mean_absolute_error`` and
    ``root_mean_squared_error``, the last two in the target's own units.
    """
    with model.backend.scope(model.dtype):
        rows = check_arrays(model, x, y, None)
        source = batch_arrays(model, rows, BATCH_SIZE, resident=False)
        means, outputs = evaluate_and_predict(model, source)
        read = model.loss.decide if encoding.classes is not None else model.loss.link
        predicted = to_numpy(read(outputs))
    if encoding.classes is not None:
        confusion = count_confusion(y, predicted, len(encoding.classes))
        values = {"loss": means["loss"], "accuracy": float(np.trace(confusion) / len(x))}
        return Scores(len(x), values, confusion)
    errors = encoding.decode(predicted[:, 0]) - encoding.decode(y)
    values = {
        "loss": means["loss"],
        "r2": means["r2"],
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "root_mean_squared_error": math.sqrt(np.mean(errors**2)),
    }
    return Scores(len(x), values)


def count_confusion(actual: Any, predicted: Any, n_classes: int) -> Any:
    """Count the rows of each actual class (first axis) by predicted class (second axis).

    >>> count_confusion(np.asarray([0, 1, 1]), np.asarray([0, 0, 1]), 2)
    array([[1, 0],
           [1, 1]])
    """
    pairs = np.bincount(actual * n_classes + predicted, minlength=n_classes**2)
    return pairs.reshape(n_classes, n_classes)


def show_scores(printer: Printer, source: str, encoding: Encoding, scores: Scores) -> None:
    """Print the scores and, unless asked to be quiet, which classes were confused."""
    labels = {name: LABELS.get(name, name.replace("_", " ")) for name in scores.values}
    width = max(map(len, labels.values()))
    printer.show(Text(f"{source}: {scores.n_rows:,} rows", style="bold"), even_if_quiet=True)
    for name, value in scores.values.items():
        number = f"{value:.4f}"
        if name.endswith("error"):
            number = f"{value:.6g} (units of the target)"
        elif name == "loss" and encoding.classes is None:
            number += " (of the standardised target)"
        printer.show(f"  {labels[name]:<{width}}  {number}", even_if_quiet=True)
    if encoding.classes is not None:
        printer.show("")
        printer.show(confusion_table(scores.confusion, encoding.classes, Console().width))
        printer.show("")


def confusion_table(counts: Any, labels: tuple[str, ...], width: int) -> Table:
    """Create the table of how many rows of each class were predicted as which class.

    Parameters
    ----------
    counts : ndarray of int, shape (n_classes, n_classes)
        Actual classes on the first axis, predicted ones on the second.
    labels : tuple of str
    width : int
        If the matrix is wider than this, the table has the most confused pairs of classes instead.
    """
    table = create_table("actual \\ predicted", *labels, numeric=labels)
    for i, label in enumerate(labels):
        cells = (
            Text(f"{count:,}" if count else ".", style="bold" if i == j else "")
            for j, count in enumerate(counts[i].tolist())
        )
        table.add_row(Text(label), *cells)
    unlimited = Console(width=100_000)
    fits = Measurement.get(unlimited, unlimited.options, table).maximum <= width
    return table if fits else _confused_pairs(counts, labels)


def _confused_pairs(counts: Any, labels: tuple[str, ...]) -> Table:
    """Create the table of the pairs of classes that were confused most often."""
    table = create_table(
        *("actual", "predicted", "rows", "of the class"), numeric=["rows", "of the class"]
    )
    totals = counts.sum(axis=1).tolist()
    pairs = [
        (count, i, j)
        for i, row in enumerate(counts.tolist())
        for j, count in enumerate(row)
        if count and i != j
    ]
    for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:MOST_PAIRS]:
        table.add_row(Text(labels[i]), Text(labels[j]), f"{count:,}", f"{count / totals[i]:.1%}")
    table.title = "The most confused classes" if pairs else "No classes were confused"
    table.title_justify, table.title_style = "left", "none"
    return table

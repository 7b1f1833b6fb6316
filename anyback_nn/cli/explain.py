"""``anyback-nn explain``: one sample walked through a trained network, and one weight's update."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import replace
from typing import Any

import numpy as np
import typer
from rich.text import Text

from anyback_nn.backends import select
from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.cli.run_data import load_again
from anyback_nn.datasets import Dataset, Encoding
from anyback_nn.datasets.features import Columns
from anyback_nn.datasets.targets import target_names
from anyback_nn.explain.explanation import Explanation
from anyback_nn.explain.text import Part, iterate_parts
from anyback_nn.model import Model
from anyback_nn.report.columns import list_features
from anyback_nn.utils.messages import cut, escape, plural

__all__ = ["explain"]

_STYLES = {"heading": "bold cyan", "title": "bold", "about": "dim", "values": "green"}


def explain(
    run: options.Run,
    data: options.DataAgain = None,
    sample: options.Sample = 0,
    weight: options.WeightPlace = None,
    notation: options.Notation = "rows",
    html: options.HtmlFile = None,
    python: options.AsPython = False,
    force: options.Force = False,
) -> None:
    """Walk a sample through the network of RUN: every equation in numbers.

    The sample is one of the test part of the data of training. Forward, backward, and the next
    update of one weight are worked out so that they can be checked by hand.
    """
    if html is not None:
        run_folder.check_file(html, force=force)
    place = None if weight is None else options.parse_weight(weight)
    model, encoding = run_folder.load(run, select("numpy"))
    name, dataset = load_again(run, encoding, data)
    n_rows = len(dataset.x_test)
    if sample >= n_rows:
        raise typer.BadParameter(
            f"the test part of {name} has {plural(n_rows, 'sample')}: expected a number from 0 to "
            f"{n_rows - 1}, got {sample}",
            param_hint="'--sample'",
        )
    with options.usage_error("--weight"):
        explanation = explain_sample(model, encoding, dataset, sample, place)
    title = describe_sample(model, encoding, dataset, sample, name)
    explanation = replace(
        explanation,
        description=f"{title}. {explanation.description}",
        model_file=run_folder.find_model(run),
    )

    if python:
        print(explanation.to_python(), end="")
    elif html is None:
        show(Printer(), explanation, notation)
    if html is not None:
        explanation.to_html(html)
        written = f"written to {html}"
        if python:  # standard output is the script
            Printer().notes([written])
        else:
            Printer().show(written)


def explain_sample(
    model: Model, encoding: Encoding, dataset: Dataset, sample: int, place: Any
) -> Explanation:
    """Explain a sample of the test part, with the names of features and outputs."""
    rows = slice(sample, sample + 1)
    explanation = model.explain(dataset.x_test[rows], dataset.y_test[rows], weight=place)
    outputs = encoding.classes or target_names(encoding.target)
    has_names = isinstance(encoding.features, Columns)
    return replace(
        explanation,
        features=tuple(list_features(encoding)) if has_names else (),
        classes=tuple(outputs) if len(outputs) == model.n_out else (),
    )


def describe_sample(
    model: Model, encoding: Encoding, dataset: Dataset, sample: int, name: str
) -> str:
    """Return which sample it is, and what is right and predicted."""
    x, y = dataset.x_test[[sample]], dataset.y_test[[sample]]
    predict = model.predict if encoding.classes is None else model.predict_classes
    known, predicted = (
        ", ".join(
            cut(value) if isinstance(value, str) else f"{value:.6g}"
            for value in np.ravel(encoding.decode(np.reshape(values, -1)))
        )
        for values in (y, predict(x))
    )
    where = f"Sample {sample} of {len(dataset.x_test):,} in the test part of {name}"
    return escape(f"{where}: target {known}, predicted {predicted}")


def show(printer: Printer, explanation: Explanation, notation: str) -> None:
    """Print an explanation in the width of the terminal."""
    width = shutil.get_terminal_size().columns
    is_cut = False
    for part in iterate_parts(explanation, notation, width):
        printer.show(Text(_wrap(part, width), _STYLES.get(part.kind, "")))
        is_cut |= part.kind == "values" and "…" in part.text.split()
    if is_cut:
        printer.notes(["large tables are cut to their corners: --html FILE writes more of them"])


def _wrap(part: Part, width: int) -> str:
    """Wrap lines that are wider and keep their indent; an equation breaks at its equals signs."""
    lines = []
    for line in part.text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip(" -")))
        pieces = [line]
        if part.kind == "equation" and len(line) > width:
            name, *values = line.split(" = ")
            first = " = ".join([name, *values[:1]])
            pieces = [first, *(f"{indent}    = {value}" for value in values[1:])]
        for piece in pieces:
            lines += textwrap.wrap(
                piece, width, subsequent_indent=indent + "      " * (part.kind == "equation")
            ) or [""]
    return "\n".join(lines)

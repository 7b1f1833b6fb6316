"""``anyback-nn predict``: the answers of a trained model as CSV."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

import typer

from anyback_nn.cli import options
from anyback_nn.cli.files import check_output
from anyback_nn.utils.files import atomic_write

if TYPE_CHECKING:
    from anyback_nn.datasets import Encoding
    from anyback_nn.model import Model

__all__ = ["predict"]


def predict(
    run: options.Run,
    data: options.Data,
    probabilities: options.Probabilities = False,
    backend: options.BackendSpec = None,
    output: options.PredictionFile = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict the target of each row of DATA with the model of RUN, as CSV.

    DATA need not have the target. Of data that come with a test part, that part is predicted.
    """
    selected = options.selected(backend)
    if output is not None:
        check_output(output, force=force)

    from anyback_nn.cli.report import Report
    from anyback_nn.cli.run import load
    from anyback_nn.datasets import read

    model, encoding = load(run, selected)
    if probabilities and encoding.classes is None:
        raise typer.BadParameter(
            "the model predicts a quantity, which has no probabilities",
            param_hint="'--probabilities'",
        )
    rows = read(data, encoding, with_target=False)
    columns = answers(model, encoding, rows.x, probabilities=probabilities)

    Report(quiet=quiet).notes(rows.notes)
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        write_csv(sys.stdout, columns)
        return
    with (
        atomic_write(output) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as file,
    ):
        write_csv(file, columns)
    Report(quiet=quiet).show(f"{len(rows.x):,} predictions written to {output}")


def answers(
    model: Model, encoding: Encoding, x: Any, *, probabilities: bool
) -> list[tuple[str, list[Any]]]:
    """Compute the columns of the CSV file, each with its name."""
    if encoding.classes is None:
        values = encoding.decode(model.predict(x)[:, 0])
        return [("prediction", list(values))]
    columns = [("prediction", list(encoding.decode(model.predict_classes(x))))]
    if probabilities:
        # Scalars of NumPy are written with the digits of their dtype, Python's with 17.
        columns += [(c, list(p)) for c, p in zip(encoding.classes, model.predict(x).T)]
    return columns


def write_csv(file: TextIO, columns: list[tuple[str, list[Any]]]) -> None:
    """Write columns below their names."""
    names, values = zip(*columns)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*values))

"""``anyback-nn predict``: the predictions of a trained model as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import typer

from anyback_nn.cli import options, ranks, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.datasets import Encoding, read
from anyback_nn.model import Model
from anyback_nn.utils.files import atomic_write
from anyback_nn.utils.messages import escape, plural

__all__ = ["predict"]


def predict(
    run: options.Run,
    data: options.Data,
    probabilities: options.Probabilities = False,
    drop: options.KnownDrop = None,
    features: options.KnownFeatures = None,
    ids: options.KnownIds = None,
    na_values: options.KnownNaValues = None,
    separator: options.KnownSeparator = None,
    decimal: options.KnownDecimal = None,
    text_encoding: options.KnownTextEncoding = None,
    memory_limit: options.MemoryLimit = None,
    backend: options.BackendSpec = None,
    distributed: options.Distributed = "auto",
    output: options.PredictionFile = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict the target of each row of DATA with the model of RUN, as CSV.

    DATA need not have the target. If the data come with a test part, that part is predicted.
    """
    arguments = dict(locals())
    ranks.join(distributed, data)
    device = ranks.choose_device(options.select_backend(backend))
    if output is not None:
        run_folder.check_file(output, force=force)
    model, encoding = run_folder.load(run, device)
    if probabilities and encoding.classes is None:
        raise typer.BadParameter(
            "the model predicts a continuous target, which has no probabilities",
            param_hint="'--probabilities'",
        )
    table = options.table_options(arguments, encoding.options)
    rows = read(data, encoding, with_target=False, options=table, memory_limit=memory_limit)
    columns: list[tuple[str, Sequence[Any]]] = [
        *rows.ids.items(),
        *predict_columns(model, encoding, rows.x, probabilities=probabilities),
    ]
    if ranks.joined.rank:
        return

    printer = Printer(quiet=quiet)
    printer.notes(rows.notes)
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        write_csv(sys.stdout, map(escape_column, columns) if sys.stdout.isatty() else columns)
        return
    with (
        atomic_write(output) as temporary,
        open(temporary, "x", newline="", encoding="utf-8") as file,
    ):
        write_csv(file, columns)
    printer.show(f"{plural(len(rows.x), 'prediction')} written to {output}")


def predict_columns(
    model: Model, encoding: Encoding, x: Any, *, probabilities: bool
) -> list[tuple[str, list[Any]]]:
    """Compute the columns of the CSV file, each with its name."""
    predict = model.predict if encoding.classes is None else model.predict_classes
    decoded = encoding.decode_columns(predict(x, distributed=ranks.joined))
    columns = [(name, list(values)) for name, values in decoded.items()]
    if probabilities:
        # Scalars of NumPy are written with the digits of their dtype, Python's with 17.
        columns += zip(
            encoding.classes or (), map(list, model.predict(x, distributed=ranks.joined).T)
        )
    return columns


def escape_column(column: tuple[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return a column for a terminal, which labels could control."""
    name, values = column
    return escape(name), [escape(x) if isinstance(x, str) else x for x in values]


def write_csv(file: TextIO, columns: Iterable[tuple[str, Sequence[Any]]]) -> None:
    """Write columns below their names."""
    names, values = zip(*columns)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*values))

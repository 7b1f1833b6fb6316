"""Tables for training and for a trained network, and Parquet files of which parts are read.

What a column is follows from all of its values. In a text file all values are strings at first; a
column of strings which are all numbers is a column of numbers. Rows are counted from 1, the first
row of data; blank lines do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.columns import (
    Column,
    Strings,
    Table,
    encode_strings,
    polars,
    read_column,
    read_numbers,
    read_strings,
    require_column,
    require_columns,
    require_target,
)
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Features, Scaling, fit_columns
from anyback_nn.datasets.frames import read_raw_table, table_label
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.targets import choose_task
from anyback_nn.datasets.text import refuse_unreadable
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import is_frame
from anyback_nn.utils.messages import prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ParquetFile",
    "choose_features",
    "load_table",
    "open_parquet",
    "read_table",
    "read_target",
    "select_features",
]

_IDENTIFIER_ROWS = 50
_PARQUET = "Parquet; files of a folder need the same columns"
_TARGET = "target= (--target COL)"


def load_table(
    source: Any,
    *,
    target: str | None,
    task: str,
    test_fraction: float,
    seed: int,
    options: TableOptions,
) -> Dataset:
    """Load a table for training.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    raw = read_raw_table(source, options)
    with prefix_errors(table_label(source)):
        frame = raw.frame
        target = require_target(target, frame.columns, option=_TARGET)
        if is_frame(source):
            frame = _booleans_as_numbers(frame, target)
        y = read_target(frame[target], task)
        chosen = choose_task(y, task, target)
        names = choose_features(frame.columns, target, options)
        table = {name: read_column(frame[name]) for name in names}
        identifiers = [name for name, column in table.items() if _is_identifier(column)]
        features = {name: table[name] for name in table if name not in identifiers}
        if not features:
            raise DataError(f"has no column but the target {target!r}: expected features as well")
        train, test = Part(features, y).split(chosen, test_fraction=test_fraction, seed=seed)
        fitted, notes = fit_columns(train.x)
        left_out = (
            f"column {name!r} was left out: it has another string in each row, like an "
            "identifier; drop it from the file"
            for name in identifiers
        )
        notes = (*raw.notes, *left_out, *notes)
        dataset = build_dataset(raw.name, train, test, fitted, chosen, target=target, notes=notes)
        return replace(dataset, encoding=replace(dataset.encoding, options=options))


def read_table(
    source: Any,
    encoding: Encoding,
    *,
    target: str | None,
    with_target: bool,
    options: TableOptions | None = None,
) -> Rows:
    """Read all rows of a table with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    raw = read_raw_table(source, encoding.options if options is None else options)
    with prefix_errors(table_label(source)):
        frame = raw.frame
        target = encoding.target.name if target is None else target
        y = None
        if with_target:
            reason = ", and the model was not trained on a table"
            target = require_target(target, frame.columns, reason=reason, option=_TARGET)
            y = read_target(frame[target], encoding.task)
        others = choose_features(frame.columns, target, raw.options)
        rows = encode_rows(select_features(frame, encoding.features, others), y, encoding)
        ids, absent = ({}, ()) if with_target else _read_ids(frame, raw.options, encoding.options)
        rows = replace(rows, ids=ids, notes=(*raw.notes, *absent, *rows.notes))
        if isinstance(encoding.features, Scaling):
            return rows
        notes = []
        if unused := [name for name in others if name not in encoding.features.names]:
            notes.append(f"ignored columns that the model does not use: {quoted_list(unused)}")
        if with_target and target != encoding.target.name:
            notes.append(
                f"measured against {target!r}; the model predicts {encoding.target.name!r}"
            )
        return replace(rows, notes=(*notes, *rows.notes))


def _booleans_as_numbers(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return a data frame whose booleans are 0 and 1, but for those of the target."""
    pl = polars()
    booleans = [name for name, dtype in frame.schema.items() if dtype == pl.Boolean]
    return frame.with_columns(pl.col(name).cast(pl.Int8) for name in booleans if name != target)


def choose_features(columns: Sequence[str], target: str | None, options: TableOptions) -> list[str]:
    """Return the columns that may be features, by the options."""
    excluded = {target, *options.drop, *options.ids}
    chosen = columns if options.features is None else options.features
    for name in chosen:
        require_column(name, columns)
    return [name for name in chosen if name not in excluded]


def _read_ids(
    frame: pl.DataFrame, options: TableOptions, known: TableOptions
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the columns that name the rows, as they are written, and a note on absent ones."""
    pl = polars()
    absent = [name for name in options.ids if name not in frame.columns]
    if absent and options.ids != known.ids:
        require_column(absent[0], frame.columns)
    ids = {
        name: frame[name].cast(pl.String).fill_null("").to_list()
        for name in options.ids
        if name not in absent
    }
    if not absent:
        return ids, ()
    return ids, (f"has no column {quoted_list(absent)}, which named the rows in training",)


def read_target(series: pl.Series, task: str) -> Column:
    """Return the targets of a column: numbers, or labels."""
    hint = ". Where the strings are labels, use --task classification (task=)"
    if task == "regression":
        return read_numbers(series, hint)
    return read_column(series, mixed=task == "classification", hint=hint)


def select_features(
    frame: pl.DataFrame, features: Features, names: Sequence[str]
) -> np.ndarray | Table:
    """Return the columns that an encoding of tables needs, or for one of arrays those named."""
    if isinstance(features, Scaling):
        return np.column_stack([read_numbers(frame[name]) for name in names])
    require_columns(features.names, names)
    numbers = {c.name: read_numbers(frame[c.name]) for c in features.numbers}
    strings = {c.name: encode_strings(read_strings(frame[c.name])) for c in features.categories}
    return {**numbers, **strings}


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file of which some rows are read at a time; open it with `open_parquet`.

    Parameters
    ----------
    path : Path
        A file, or a folder of several with the same columns.
    types : mapping of str to polars.DataType
        The columns, in their order.
    n_rows : int
    """

    path: Path
    types: Mapping[str, Any] = field(repr=False)
    n_rows: int

    def read(self, columns: Sequence[str], start: int, n_rows: int) -> pl.DataFrame:
        """Read these columns of some rows, as far as there are any."""
        with self.prefix_errors(), refuse_unreadable(_PARQUET):
            return _lazy(self.path).slice(start, n_rows).select(columns).collect()

    def prefix_errors(self, start: int = 0) -> AbstractContextManager[None]:
        """Prefix errors with the file, and with the row from which rows are counted."""
        return prefix_errors(f"{self.path}, counted from row {start + 1:,}" if start else self.path)


def open_parquet(path: Path) -> ParquetFile:
    """Open a Parquet file, which must have rows, without reading them."""
    with prefix_errors(path):
        if not path.exists():
            raise DataError("no such file: expected a Parquet file, or a folder of several")
        with refuse_unreadable(_PARQUET):
            pl, lazy = polars(), _lazy(path)
            types, n_rows = lazy.collect_schema(), lazy.select(pl.len()).collect().item()
        if not n_rows:
            raise DataError(f"has the columns {quoted_list(types)} but no row: expected data")
        return ParquetFile(path, types, n_rows)


def _lazy(path: Path) -> pl.LazyFrame:
    # Without glob a path may have any characters.
    return polars().scan_parquet(path, glob=False)


def _is_identifier(column: Column) -> bool:
    """Return whether a column has many rows, each with another string."""
    return isinstance(column, Strings) and len(column.values) == len(column) > _IDENTIFIER_ROWS

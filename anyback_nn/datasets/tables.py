"""Tables for training and for a trained network, and Parquet files of which parts are read.

What a column is follows from all of its values (`kinds`); in a text file all of them are strings at
first. Rows are counted from 1, the first row of data; blank lines do not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.answers import AnswerFinder
from anyback_nn.datasets.columns import (
    Column,
    Strings,
    Table,
    encode_strings,
    find_missing,
    polars,
    read_dates,
    read_labels,
    read_numbers,
    read_strings,
    require_column,
    require_columns,
    require_target,
)
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Features, Scaling, fit_columns
from anyback_nn.datasets.formats import ClockFormat, NumberFormat
from anyback_nn.datasets.frames import read_raw_table, table_label
from anyback_nn.datasets.kinds import (
    Kind,
    exclude_identifiers,
    is_identifier,
    note_kinds,
    read_column,
)
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.targets import ClassLabels, Target, choose_task, refuse_dates
from anyback_nn.datasets.text import refuse_unreadable
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import is_frame
from anyback_nn.utils.messages import plural, prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ParquetFile",
    "choose_features",
    "load_table",
    "note_identifiers",
    "note_unlabelled",
    "open_parquet",
    "read_table",
    "read_target",
    "reread_target",
    "select_features",
]

_PARQUET = "Parquet; files of a folder need the same columns"
_TARGET = "target= (--target COL)"


def load_table(
    source: Any,
    *,
    target: str | None,
    task: str,
    test_fraction: float,
    seed: int,
    options: TableOptions = NO_OPTIONS,
) -> Dataset:
    """Load a table for training.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    raw = read_raw_table(source, options)
    with prefix_errors(table_label(source)):
        frame = raw.frame
        target = require_target(target, frame.columns, option=_TARGET)
        if is_frame(source):
            frame = _booleans_as_numbers(frame, {target, *options.categorical})
        names = choose_features(frame.columns, target, options)
        y, written = read_target(frame[target], task, raw.options)
        kinds, features, identifiers = _read_features(frame.select(names), raw.options)
        whole, n_missing = _drop_unlabelled(Part(features, y), target)
        chosen = choose_task(whole.y, task, target)
        train, test = whole.split(chosen, test_fraction=test_fraction, seed=seed)
        fitted, notes = fit_columns(train.x)
        answers = AnswerFinder(fitted.names, target, frame.height)
        answers.update(frame)
        dataset = build_dataset(
            raw.name,
            train,
            test,
            fitted.with_kinds(kinds),
            chosen,
            target=target,
            written=written,
            notes=(
                *raw.notes,
                *note_unlabelled(n_missing, target),
                *note_identifiers(identifiers),
                *note_kinds({name: kinds[name] for name in fitted.names}, options),
                *notes,
                *answers.notes,
            ),
        )
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
    options = raw.options
    with prefix_errors(table_label(source)):
        frame = raw.frame
        target = encoding.target.name if target is None else target
        others = _list_features(frame.columns, target, options)
        x = select_features(frame, encoding.features, others, options)
        y, n_missing = None, 0
        if with_target:
            reason = ", and the model was not trained on a table"
            target = require_target(target, frame.columns, reason=reason, option=_TARGET)
            y = reread_target(frame[target], encoding.target, options)
            part, n_missing = _drop_unlabelled(Part(x, y), target)
            x, y = part.x, part.y
        rows = encode_rows(x, y, encoding)
        ids, absent = ({}, ()) if with_target else _read_ids(frame, options, encoding.options)
        notes = [*raw.notes, *absent, *note_unlabelled(n_missing, str(target))]
        if isinstance(encoding.features, Scaling):
            return replace(rows, ids=ids, notes=(*notes, *rows.notes))
        if unused := [name for name in others if name not in encoding.features.names]:
            notes.append(f"ignored columns that the model does not use: {quoted_list(unused)}")
        if with_target and target != encoding.target.name:
            notes.append(
                f"measured against {target!r}; the model predicts {encoding.target.name!r}"
            )
        return replace(rows, ids=ids, notes=(*notes, *rows.notes))


def _booleans_as_numbers(frame: pl.DataFrame, others: Collection[str]) -> pl.DataFrame:
    """Return a data frame whose booleans are 0 and 1, but for those of other columns."""
    pl = polars()
    booleans = [name for name, dtype in frame.schema.items() if dtype == pl.Boolean]
    return frame.with_columns(pl.col(name).cast(pl.Int8) for name in booleans if name not in others)


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


def choose_features(columns: Sequence[str], target: str, options: TableOptions) -> list[str]:
    """Return the columns that may be features, by the options, which must name columns."""
    named = (options.features or (), options.drop, options.ids, options.categorical)
    for name in (*itertools.chain(*named), *options.numeric):
        require_column(name, columns)
    names = _list_features(columns, target, options)
    if not names:
        raise DataError(f"has no column but the target {target!r}: expected features as well")
    return names


def _list_features(columns: Sequence[str], target: str | None, options: TableOptions) -> list[str]:
    chosen = columns if options.features is None else options.features
    return [name for name in chosen if name not in {target, *options.drop, *options.ids}]


def read_target(
    series: pl.Series, task: str, options: TableOptions = NO_OPTIONS
) -> tuple[Column, NumberFormat | ClockFormat | None]:
    """Return the targets of a column, and how numbers are written.

    They are `Strings` if they are classes, or else numbers. Some may be missing.
    """
    name = series.name
    if task == "classification" or (task == "auto" and name in options.categorical):
        return read_labels(series, options.na_values), None
    if task == "regression":
        options = replace(options, categorical=(), numeric=(name,))
    kind, column = read_column(series, options, is_target=True)
    if kind.values == "dates":
        raise refuse_dates(name)
    present = column[~find_missing(column)]
    if isinstance(present, Strings) or choose_task(present, task, name) == "classification":
        return read_labels(series, options.na_values), None
    return column, kind.written  # type: ignore[return-value]  # dates are refused above


def reread_target(series: pl.Series, target: Target, options: TableOptions) -> Column:
    """Return the targets of a column as those of training were read."""
    if isinstance(target, ClassLabels):
        return read_labels(series, options.na_values)
    return read_numbers(series, target.written, options.na_values)


def select_features(
    frame: pl.DataFrame,
    features: Features,
    names: Sequence[str],
    options: TableOptions = NO_OPTIONS,
) -> np.ndarray | Table:
    """Return the columns that an encoding of tables needs, or for one of arrays those named."""
    markers = options.na_values
    if isinstance(features, Scaling):
        return np.column_stack([read_numbers(frame[name], None, markers) for name in names])
    require_columns(features.names, names)
    table: dict[str, Column] = {}
    for number in features.numbers:
        missing = (*number.missing, *markers)
        table[number.name] = read_numbers(frame[number.name], number.written, missing)
    for date in features.dates:
        missing = (*date.missing, *markers)
        table[date.name] = read_dates(frame[date.name], date.written, missing)
    for category in features.categories:
        strings = read_strings(frame[category.name], (*category.missing, *markers))
        table[category.name] = encode_strings(strings)
    return table


def note_unlabelled(n_rows: int, target: str) -> tuple[str, ...]:
    """Describe how many rows were left out because they have no target."""
    if not n_rows:
        return ()
    return (f"left out {plural(n_rows, 'row')} in which the target {target!r} is missing",)


def note_identifiers(names: Sequence[str]) -> tuple[str, ...]:
    """Describe which columns were left out because they name or number the rows."""
    if not names:
        return ()
    return (
        "left out, because they name or number the rows (--features or --numeric takes them): "
        f"{quoted_list(names)}",
    )


def _read_features(
    frame: pl.DataFrame, options: TableOptions
) -> tuple[dict[str, Kind], dict[str, Column], list[str]]:
    """Return what the columns are, those that are features, and the names of those that are not."""
    read = {name: read_column(frame[name], options) for name in frame.columns}
    identifiers = [
        name for name, (_, column) in read.items() if is_identifier(frame[name], column, options)
    ]
    texts = [name for name, (_, column) in read.items() if isinstance(column, Strings)]
    identifiers = exclude_identifiers(frame.columns, identifiers, texts)
    kinds = {name: kind for name, (kind, _) in read.items()}
    table = {name: column for name, (_, column) in read.items() if name not in identifiers}
    return kinds, table, identifiers


def _drop_unlabelled(part: Part, target: str) -> tuple[Part, int]:
    """Leave out the rows without a target, and return how many there were."""
    missing = find_missing(part.y)
    if not missing.any():
        return part, 0
    if missing.all():
        raise DataError(f"the target {target!r} is missing in every row: expected values")
    return part.take(np.nonzero(~missing)[0]), int(missing.sum())


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

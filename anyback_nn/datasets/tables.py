"""Tables in CSV and Parquet files, read by polars.

What a column is follows from all of its values (`kinds`); in a CSV file all of them are strings at
first. Rows are counted from 1, the first row of data; blank lines do not count.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from anyback_nn.datasets.kinds import (
    Kind,
    exclude_identifiers,
    is_identifier,
    note_kinds,
    read_column,
)
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.targets import ClassLabels, Target, choose_task, refuse_dates
from anyback_nn.errors import DataError
from anyback_nn.utils.files import read_bytes
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
    path: Path,
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
    with prefix_errors(path):
        frame = _read(path)
        target = require_target(target, frame.columns, option=_TARGET)
        names = choose_features(frame.columns, target, options)
        y, written = read_target(frame[target], task, options)
        kinds, features, identifiers = _read_features(frame.select(names), options)
        whole, n_missing = _drop_unlabelled(Part(features, y), target)
        chosen = choose_task(whole.y, task, target)
        train, test = whole.split(chosen, test_fraction=test_fraction, seed=seed)
        fitted, notes = fit_columns(train.x)
        answers = AnswerFinder(fitted.names, target, frame.height)
        answers.update(frame)
        name = path.stem.removesuffix(".csv")  # of .csv.gz
        return build_dataset(
            name,
            train,
            test,
            fitted.with_kinds(kinds),
            chosen,
            target=target,
            written=written,
            notes=(
                *note_unlabelled(n_missing, target),
                *note_identifiers(identifiers),
                *note_kinds({name: kinds[name] for name in fitted.names}, options),
                *notes,
                *answers.notes,
            ),
        )


def read_table(
    path: Path,
    encoding: Encoding,
    *,
    target: str | None,
    with_target: bool,
    options: TableOptions = NO_OPTIONS,
) -> Rows:
    """Read all rows of a table with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    with prefix_errors(path):
        frame = _read(path)
        target = encoding.target.name if target is None else target
        others = [name for name in frame.columns if name != target]
        x = select_features(frame, encoding.features, others, options)
        y, n_missing = None, 0
        if with_target:
            reason = ", and the model was not trained on a table"
            target = require_target(target, frame.columns, reason=reason, option=_TARGET)
            y = reread_target(frame[target], encoding.target, options)
            part, n_missing = _drop_unlabelled(Part(x, y), target)
            x, y = part.x, part.y
        rows = encode_rows(x, y, encoding)
        notes = [*note_unlabelled(n_missing, str(target))]
        if isinstance(encoding.features, Scaling):
            return replace(rows, notes=(*notes, *rows.notes))
        ignored = {*encoding.features.names, *options.ids, *options.drop}
        if unused := [name for name in others if name not in ignored]:
            notes.append(f"ignored columns that the model does not use: {quoted_list(unused)}")
        if with_target and target != encoding.target.name:
            notes.append(
                f"measured against {target!r}; the model predicts {encoding.target.name!r}"
            )
        return replace(rows, notes=(*notes, *rows.notes))


def choose_features(columns: Sequence[str], target: str, options: TableOptions) -> list[str]:
    """Return the columns that may be features, by the options."""
    named = (options.features or (), options.drop, options.ids, options.categorical)
    for name in (*itertools.chain(*named), *options.numeric):
        require_column(name, columns)
    chosen = columns if options.features is None else options.features
    excluded = {target, *options.drop, *options.ids}
    names = [name for name in dict.fromkeys(chosen) if name not in excluded]
    if not names:
        raise DataError(f"has no column but the target {target!r}: expected features as well")
    return names


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
    require_columns(features.names, frame.columns)
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
        with self.prefix_errors(), _readable(_PARQUET):
            return _lazy(self.path).slice(start, n_rows).select(columns).collect()

    def prefix_errors(self, start: int = 0) -> AbstractContextManager[None]:
        """Prefix errors with the file, and with the row from which rows are counted."""
        return prefix_errors(f"{self.path}, counted from row {start + 1:,}" if start else self.path)


def open_parquet(path: Path) -> ParquetFile:
    """Open a Parquet file, which must have rows, without reading them."""
    with prefix_errors(path):
        if not path.exists():
            raise DataError("no such file: expected a Parquet file, or a folder of several")
        with _readable(_PARQUET):
            pl, lazy = polars(), _lazy(path)
            types, n_rows = lazy.collect_schema(), lazy.select(pl.len()).collect().item()
        if not n_rows:
            raise DataError(f"has the columns {quoted_list(types)} but no row: expected data")
        return ParquetFile(path, types, n_rows)


def _lazy(path: Path) -> pl.LazyFrame:
    # Without glob a path may have any characters.
    return polars().scan_parquet(path, glob=False)


@contextmanager
def _readable(expected: str) -> Iterator[None]:
    try:
        yield
    except (polars().exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot be read ({reason}): expected {expected}") from error


def _read(path: Path) -> pl.DataFrame:
    """Read a file: the columns of a CSV file are strings, those of Parquet have their types."""
    content = read_bytes(path)
    if path.suffix.lower() == ".parquet":
        with _readable("Parquet"):
            frame = polars().read_parquet(io.BytesIO(content))
    else:
        with _readable("CSV in UTF-8 with commas between the columns"):
            frame = _read_csv(content)
    if not frame.height:
        raise DataError(f"has the columns {quoted_list(frame.columns)} but no row: expected data")
    return frame


def _read_csv(content: bytes) -> pl.DataFrame:
    pl = polars()
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise DataError("is empty: expected a line of column names, then rows of data")
    try:
        # The header is read as a row, since polars would rename columns of the same name.
        frame = pl.read_csv(content, has_header=False, infer_schema=False)
    except pl.exceptions.ComputeError:
        _find_blank_lines(content)  # names the row, if one is too long
        raise
    if frame[:, -1].null_count():  # polars fills rows that are too short with nulls
        blank = _find_blank_lines(content)
        frame = frame.filter(~pl.Series(blank))
    names = [(name or "").strip() for name in frame.row(0)]
    _check_header(names)
    frame = frame[1:]
    frame.columns = names
    return frame


def _check_header(names: list[str]) -> None:
    if len(names) == 1 and (separators := [mark for mark in ";\t|" if mark in names[0]]):
        raise DataError(
            f"the columns seem to be separated by {separators[0]!r}: expected commas; write the "
            "file again with commas"
        )
    if "" in names:
        raise DataError(
            f"column {names.index('') + 1} has no name: expected a name for each column; name or "
            "drop it (pandas: to_csv(index=False))"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"several columns have the same name, {quoted_list(repeated)}: expected each name "
            "once; rename or drop them"
        )


def _find_blank_lines(content: bytes) -> list[bool]:
    """Return which lines are blank; refuse rows that are longer or shorter than the header."""
    try:
        text = content.decode().replace("\r\n", "\n")
        if '"' not in text and "\r" not in text:  # then counting commas is enough, and fast
            lines = text.removesuffix("\n").split("\n")
            n_commas = lines[0].count(",")
            if all(not line or line.count(",") == n_commas for line in lines):
                return [not line for line in lines]
        reader = csv.reader(io.StringIO(text, newline=""))
        width, blank = len(next(reader)), [False]
        for row in reader:
            blank.append(not row)
            if row and len(row) != width:
                raise DataError(
                    f"row {blank.count(False) - 1} (line {reader.line_num}) has "
                    f"{plural(len(row), 'value')}: expected {width}, as many as the header has "
                    "names; complete the row, or quote values that contain commas"
                )
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"line {line} is not UTF-8 ({error.reason}): expected text in UTF-8; save the file in "
            "that encoding"
        ) from error
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}: expected CSV") from error
    return blank

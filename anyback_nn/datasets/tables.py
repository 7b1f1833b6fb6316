"""Tables in CSV and Parquet files, read by polars.

What a column is follows from all of its values. In a CSV file every value is text at first; a
column of texts which are all numbers is a column of numbers. Rows are counted from 1, the first row
of data; blank lines do not count.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.columns import is_missing, is_numbers
from anyback_nn.datasets.dataset import Dataset, Part, Rows, dataset_of, rows_of
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling, fit_features
from anyback_nn.datasets.files import read_bytes
from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.series import (
    column_in,
    numbers_in,
    require_column,
    select,
    target_column,
)
from anyback_nn.datasets.targets import choose_task
from anyback_nn.datasets.wording import counted, listing, naming
from anyback_nn.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["load_table", "read_table"]

_IDENTIFIER_ROWS = 50


def load_table(
    path: Path, *, target: str | None, task: str, test_fraction: float, seed: int
) -> Dataset:
    """Load a table for training.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    with naming(path):
        frame = _read(path)
        if target is None:
            raise DataError(
                "no target column was named: pass target= (--target COL), one of "
                f"{listing(frame.columns, limit=30)}"
            )
        answers = target_column(_series(frame, target), task)
        chosen = choose_task(answers, task, target)
        table = {name: column_in(frame[name]) for name in frame.columns if name != target}
        identifiers = [name for name, column in table.items() if _identifies(column)]
        features = {name: table[name] for name in table if name not in identifiers}
        if not features:
            raise DataError(f"has no column but the target {target!r}: expected features as well")
        whole = Part(features, answers)
        train, test = whole.split(chosen, test_fraction=test_fraction, seed=seed)
        fitted, notes = fit_features(train.x)
        left_out = tuple(
            f"column {name!r} was left out: it has another text in each row, like an identifier; "
            "drop it from the file"
            for name in identifiers
        )
        name = path.stem.removesuffix(".csv")  # of .csv.gz
        return dataset_of(
            name, train, test, fitted, chosen, target=target, notes=(*left_out, *notes)
        )


def read_table(path: Path, encoding: Encoding, *, target: str | None, with_target: bool) -> Rows:
    """Read all rows of a table with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    with naming(path):
        frame = _read(path)
        target = encoding.target.name if target is None else target
        answers = None
        if with_target:
            if target is None:
                raise DataError(
                    "no target column was named, and the model was not trained on a table: pass "
                    f"target= (--target COL), one of {listing(frame.columns, limit=30)}"
                )
            answers = target_column(_series(frame, target), encoding.task)
        others = [name for name in frame.columns if name != target]
        if isinstance(encoding.features, Scaling):
            x = np.column_stack([numbers_in(frame[name]) for name in others])
            return rows_of(x, answers, encoding)
        rows = rows_of(select(frame, encoding.features), answers, encoding)
        if with_target and target != encoding.target.name:
            note = f"measured against {target!r}; the model predicts {encoding.target.name!r}"
            rows = replace(rows, notes=(note, *rows.notes))
        unused = [name for name in others if name not in encoding.features.names]
        if not unused:
            return rows
        note = f"ignored columns that the model does not use: {listing(unused)}"
        return replace(rows, notes=(note, *rows.notes))


def _read(path: Path) -> pl.DataFrame:
    """Read a file: the columns of a CSV file are texts, those of Parquet have their types."""
    pl = tabular("polars")
    content = read_bytes(path)
    is_parquet = path.suffix.lower() == ".parquet"
    try:
        frame = pl.read_parquet(io.BytesIO(content)) if is_parquet else _read_csv(content)
    except pl.exceptions.PolarsError as error:
        expected = "Parquet" if is_parquet else "CSV in UTF-8 with commas between the columns"
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot be read ({reason}): expected {expected}") from error
    if not frame.height:
        raise DataError(f"has the columns {listing(frame.columns)} but no row: expected data")
    return frame


def _read_csv(content: bytes) -> pl.DataFrame:
    pl = tabular("polars")
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise DataError("is empty: expected a line of column names, then rows of data")
    try:
        # The header is read as a row, since polars would rename columns of the same name.
        frame = pl.read_csv(content, has_header=False, infer_schema=False)
    except pl.exceptions.ComputeError:
        _blank_lines(content)  # names the row, if one is too long
        raise
    if frame[:, -1].null_count():  # polars fills rows that are too short with nulls
        blank = _blank_lines(content)
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
            f"several columns have the same name, {listing(repeated)}: expected each name once; "
            "rename or drop them"
        )


def _blank_lines(content: bytes) -> list[bool]:
    """Mark blank lines; refuse rows that are longer or shorter than the header."""
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""))
        width, blank = len(next(reader)), [False]
        for row in reader:
            blank.append(not row)
            if row and len(row) != width:
                raise DataError(
                    f"row {blank.count(False) - 1} (line {reader.line_num}) has "
                    f"{counted(len(row), 'value')}: expected {width}, as many as the header has "
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


def _series(frame: pl.DataFrame, name: str) -> pl.Series:
    require_column(name, frame.columns)
    return frame[name]


def _identifies(column: np.ndarray) -> bool:
    """Tell an identifier: many rows, each with another text."""
    n_rows = len(column)
    return (
        not is_numbers(column)
        and n_rows > _IDENTIFIER_ROWS
        and not is_missing(column).any()
        and len(set(column)) == n_rows
    )

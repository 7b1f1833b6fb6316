"""Tables in CSV and Parquet files, read by polars.

What a column is follows from all of its values. In a CSV file every value is text at first; a
column of texts which are all numbers is a column of numbers. Spaces around a text do not count,
``True`` and ``true`` are one, and empty, NA, NaN, null and ? are missing values. Rows are counted
from 1, the first row of data; blank lines do not count.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.columns import Table, is_missing, is_numbers, numbers
from anyback_nn.datasets.dataset import Dataset, Part, Rows, dataset_of, rows_of
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Columns, Scaling, fit_features
from anyback_nn.datasets.files import read_bytes
from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.targets import choose_task
from anyback_nn.datasets.wording import counted, listing, naming, suggestion
from anyback_nn.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["load_table", "read_table"]

_MISSING = ("", "NA", "NaN", "nan", "NAN", "null", "NULL", "Null", "?")
_MISSING_SAID = "empty, NA, NaN, null and ? count as missing"
_TRUTH = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
_IDENTIFIER_ROWS = 50
# Not numbers for a program, but surely for who wrote them: 0,43 and 12 % and $3 and 23.01.2024
_WRITTEN_NUMBER = (
    r"^[-+$€£]?\s*\d[\d.,]*(,\d+|\s*[%$€£])$"  # decimal commas, units behind
    r"|^[$€£]\s*\d"  # units in front
    r"|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$"  # dates
)


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
        answers = _target_column(frame, target, task)
        chosen = choose_task(answers, task, target)
        table = {name: _column(frame[name]) for name in frame.columns if name != target}
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
            answers = _target_column(frame, target, encoding.task)
        others = [name for name in frame.columns if name != target]
        if isinstance(encoding.features, Scaling):
            x = np.column_stack([_numbers(frame[name]) for name in others])
            return rows_of(x, answers, encoding)
        rows = rows_of(_select(frame, encoding.features), answers, encoding)
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
    if name not in frame.columns:
        raise DataError(
            f"has no column {name!r}.{suggestion(name, frame.columns)} The columns are "
            f"{listing(frame.columns, limit=30)}"
        )
    return frame[name]


def _target_column(frame: pl.DataFrame, target: str, task: str) -> np.ndarray:
    series = _series(frame, target)
    texts_are_labels = ". Where the texts are labels, use --task classification (task=)"
    if task == "regression":
        return _numbers(series, texts_are_labels)
    return _column(series, mixed=task == "classification", hint=texts_are_labels)


def _select(frame: pl.DataFrame, columns: Columns) -> Table:
    """Take the columns that an encoding needs."""
    if absent := [name for name in columns.names if name not in frame.columns]:
        raise DataError(
            f"lacks {counted(len(absent), 'column')}, {listing(absent)}: expected "
            f"{listing(columns.names, limit=30)}, as in training; the file has "
            f"{listing(frame.columns, limit=30)}"
        )
    return {
        **{column.name: _numbers(frame[column.name]) for column in columns.numbers},
        **{column.name: _objects(_texts(frame[column.name])) for column in columns.categories},
    }


def _column(series: pl.Series, *, mixed: bool = False, hint: str = "") -> np.ndarray:
    """Find out what a column is: numbers, or texts.

    Unless ``mixed``, a column most of whose texts are numbers must be numbers altogether, or one
    slip would silently turn its numbers into categories.
    """
    pl = tabular("polars")
    texts = _texts(series)
    if series.dtype in (pl.Boolean, pl.Categorical, pl.Enum):
        return _objects(texts)
    n_values = texts.count()
    n_numbers = texts.cast(pl.Float64, strict=False).count()
    if n_numbers == n_values or (not mixed and 2 * n_numbers > n_values):
        return _numbers(series, hint)
    if not mixed and texts.drop_nulls().str.contains(_ISO_DATE).all():
        raise _unusable(series, "dates")
    written = texts.str.contains(_WRITTEN_NUMBER)
    if not mixed and 2 * (written.sum() or 0) > n_values:
        row = int(written.fill_null(False).arg_max() or 0)
        raise DataError(
            f"row {row + 1}, column {series.name!r}: {texts[row]!r} is a number or date in a form "
            "that is not read: expected numbers such as 1234.5, without units and with a decimal "
            "point; rewrite the column, or drop it from the file"
        )
    return _objects(texts)


def _numbers(series: pl.Series, hint: str = "") -> np.ndarray:
    """Take a column in which every value must be a number; a hint may end the error."""
    pl = tabular("polars")
    texts = _texts(series)
    column = series if series.dtype.is_numeric() else texts
    column = column.cast(pl.Float64, strict=False)
    wrong = (column.is_null() & texts.is_not_null()).arg_true()
    if len(wrong):
        raise DataError(
            f"non-numeric value {texts[wrong[0]]!r} in column {series.name!r}, row {wrong[0] + 1}, "
            f"where numbers are expected: correct it or leave it empty; {_MISSING_SAID}{hint}"
        )
    return numbers(series.name, column.fill_null(float("nan")).to_numpy())


def _texts(series: pl.Series) -> pl.Series:
    """Write a column as texts: stripped, missing values as nulls."""
    pl = tabular("polars")
    dtype = series.dtype
    if dtype.is_temporal():
        raise _unusable(series, f"dates or times ({dtype})")
    known = (pl.String, pl.Boolean, pl.Null, pl.Categorical, pl.Enum)
    if not dtype.is_numeric() and dtype not in known:
        raise DataError(
            f"column {series.name!r} holds {dtype} values: expected numbers, texts or booleans; "
            "spread it over several columns, or drop it from the file"
        )
    texts = series.cast(pl.String).str.strip_chars()
    return texts.replace({**dict.fromkeys(_MISSING), **_TRUTH})


def _objects(texts: pl.Series) -> np.ndarray:
    column = np.empty(len(texts), dtype=object)
    column[:] = texts.to_list()
    return column


def _unusable(series: pl.Series, what: str) -> DataError:
    return DataError(
        f"column {series.name!r} holds {what}: expected numbers, texts or booleans; turn it into "
        "numbers, such as the year or the days since a fixed day, or drop it from the file"
    )


def _identifies(column: np.ndarray) -> bool:
    """Tell an identifier: many rows, each with another text."""
    n_rows = len(column)
    return (
        not is_numbers(column)
        and n_rows > _IDENTIFIER_ROWS
        and not is_missing(column).any()
        and len(set(column)) == n_rows
    )

"""What a column of a polars frame is: numbers, or texts.

Spaces around a text do not count, ``True`` and ``true`` are one, and empty, NA, NaN, null and ? are
missing values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.columns import Table, numbers
from anyback_nn.datasets.features import Columns
from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.wording import counted, listing, suggestion
from anyback_nn.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "answers_in",
    "as_objects",
    "column_in",
    "numbers_in",
    "require_column",
    "require_columns",
    "select",
    "target_column",
    "texts_in",
]

_MISSING = ("", "NA", "NaN", "nan", "NAN", "null", "NULL", "Null", "?")
_MISSING_SAID = "empty, NA, NaN, null and ? count as missing"
_TRUTH = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
# Not numbers for a program, but surely for who wrote them: 0,43 and 12 % and $3 and 23.01.2024
_WRITTEN_NUMBER = (
    r"^[-+$€£]?\s*\d[\d.,]*(,\d+|\s*[%$€£])$"  # decimal commas, units behind
    r"|^[$€£]\s*\d"  # units in front
    r"|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$"  # dates
)


def require_column(name: str, columns: Collection[str]) -> None:
    """Raise `DataError` unless there is such a column."""
    if name not in columns:
        raise DataError(
            f"has no column {name!r}.{suggestion(name, columns)} The columns are "
            f"{listing(columns, limit=30)}"
        )


def require_columns(names: Sequence[str], columns: Collection[str]) -> None:
    """Raise `DataError` unless there are all columns that an encoding needs."""
    if absent := [name for name in names if name not in columns]:
        raise DataError(
            f"lacks {counted(len(absent), 'column')}, {listing(absent)}: expected "
            f"{listing(names, limit=30)}, as in training; the file has "
            f"{listing(columns, limit=30)}"
        )


def target_column(series: pl.Series, task: str) -> np.ndarray:
    """Take the answers: numbers, or labels."""
    texts_are_labels = ". Where the texts are labels, use --task classification (task=)"
    if task == "regression":
        return numbers_in(series, texts_are_labels)
    return column_in(series, mixed=task == "classification", hint=texts_are_labels)


def answers_in(series: pl.Series) -> np.ndarray:
    """Take the answers by the type of their column, which a few of them tell as well as all do."""
    return numbers_in(series) if series.dtype.is_numeric() else as_objects(texts_in(series))


def select(frame: pl.DataFrame, columns: Columns) -> Table:
    """Take the columns that an encoding needs."""
    require_columns(columns.names, frame.columns)
    return {
        **{column.name: numbers_in(frame[column.name]) for column in columns.numbers},
        **{column.name: as_objects(texts_in(frame[column.name])) for column in columns.categories},
    }


def column_in(series: pl.Series, *, mixed: bool = False, hint: str = "") -> np.ndarray:
    """Find out what a column is: numbers, or texts.

    Unless ``mixed``, a column most of whose texts are numbers must be numbers altogether, or one
    slip would silently turn its numbers into categories.
    """
    pl = tabular("polars")
    if series.dtype.is_numeric():
        return numbers_in(series)
    texts = texts_in(series)
    if series.dtype in (pl.Boolean, pl.Categorical, pl.Enum):
        return as_objects(texts)
    n_values = texts.count()
    n_numbers = texts.cast(pl.Float64, strict=False).count()
    if n_numbers == n_values or (not mixed and 2 * n_numbers > n_values):
        return numbers_in(series, hint)
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
    return as_objects(texts)


def numbers_in(series: pl.Series, hint: str = "") -> np.ndarray:
    """Take a column in which every value must be a number; a hint may end the error."""
    pl = tabular("polars")
    if series.dtype.is_numeric():
        column = series.cast(pl.Float64)
    else:
        texts = texts_in(series)
        column = texts.cast(pl.Float64, strict=False)
        wrong = (column.is_null() & texts.is_not_null()).arg_true()
        if len(wrong):
            raise DataError(
                f"non-numeric value {texts[wrong[0]]!r} in column {series.name!r}, row "
                f"{wrong[0] + 1}, where numbers are expected: correct it or leave it empty; "
                f"{_MISSING_SAID}{hint}"
            )
    return numbers(series.name, column.fill_null(float("nan")).to_numpy())


def texts_in(series: pl.Series) -> pl.Series:
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


def as_objects(texts: pl.Series) -> np.ndarray:
    """Make a column of texts, where None is missing."""
    column = np.empty(len(texts), dtype=object)
    column[:] = texts.to_list()
    return column


def _unusable(series: pl.Series, what: str) -> DataError:
    return DataError(
        f"column {series.name!r} holds {what}: expected numbers, texts or booleans; turn it into "
        "numbers, such as the year or the days since a fixed day, or drop it from the file"
    )

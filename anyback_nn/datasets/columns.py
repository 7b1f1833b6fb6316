"""Columns of raw data, before any encoding.

There are two kinds of columns:

- *numbers*: an array of float64, in which NaN is a missing value;
- *strings*: `Strings`, the distinct values and the code of each row.

A table is a mapping of column names to columns of one length. Rows are counted from 1 in messages.

In files, spaces around a string do not count, ``True`` and ``true`` are the same, and empty, NA,
NaN, null and ? are missing values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.utils.arguments import require_extra
from anyback_nn.utils.messages import did_you_mean, plural, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Column",
    "Strings",
    "Table",
    "as_column",
    "as_numbers",
    "as_strings",
    "encode_strings",
    "find_distinct",
    "find_missing",
    "polars",
    "read_column",
    "read_numbers",
    "read_strings",
    "read_typed",
    "require_column",
    "require_columns",
    "require_target",
]

_LARGEST = float(np.finfo(np.float32).max)
_MISSING = ("", "NA", "NaN", "nan", "NAN", "null", "NULL", "Null", "?")
_BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_NUMBERS = {"false": "0", "true": "1"}
"""Booleans as the numbers that they are in data frames."""
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
# Numbers for a reader but not for a program: 0,43 and 12 % and $3 and 23.01.2024
_WRITTEN_NUMBER = (
    r"^[-+$€£]?\s*\d[\d.,]*(,\d+|\s*[%$€£])$"  # decimal commas, units after
    r"|^[$€£]\s*\d"  # units before
    r"|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$"  # dates
)


@dataclass(frozen=True, eq=False)
class Strings:
    """A column of strings, stored as codes.

    Parameters
    ----------
    values : tuple of str
        Distinct strings in sorted order; after rows were taken, some may be in no row.
    codes : ndarray of int, shape (n_rows,)
        The index of each row's value, or -1 for a missing value.

    Examples
    --------
    >>> towns = as_strings(np.array(["Rome", None, "Oslo", "Rome"], dtype=object))
    >>> towns.values, towns.codes, towns.counts
    (('Oslo', 'Rome'), array([ 1, -1,  0,  1]), {'Oslo': 1, 'Rome': 2})
    """

    values: tuple[str, ...]
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray) -> Strings:
        return Strings(self.values, self.codes[rows])

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each value, less those in no row."""
        counts = np.bincount(self.codes + 1, minlength=len(self.values) + 1)[1:].tolist()
        return {value: n for value, n in zip(self.values, counts, strict=True) if n}


Column = np.ndarray | Strings
Table = Mapping[str, Any]
"""Columns by their names. Their values are of the type `Column`."""


def find_missing(column: Column) -> np.ndarray:
    """Return a mask of the missing values."""
    mask: np.ndarray = column.codes < 0 if isinstance(column, Strings) else np.isnan(column)
    return mask


def find_distinct(column: Column) -> tuple[Sequence[Any], np.ndarray]:
    """Return the distinct values in sorted order, and the index of each row's value."""
    if isinstance(column, Strings):
        return column.values, column.codes
    values, codes = np.unique(column, return_inverse=True)
    return values.tolist(), codes


# Columns of arrays ------------------------------------------------------------------------------


def as_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Return a column of numbers; NaN is a missing value.

    Raises
    ------
    DataError
        If a value is infinite, or too large for the float32 in which networks compute.

    Examples
    --------
    >>> as_numbers("age", np.array([31, 42]))
    array([31., 42.])
    """
    column = np.asarray(values, dtype=np.float64)
    beyond = np.abs(column) > _LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"row {row + 1}, column {name!r}: the value {column[row]} is infinite or beyond "
            f"float32: expected numbers up to {_LARGEST:.2g}; correct the value or leave it empty"
        )
    return column


def as_strings(values: np.ndarray | Strings) -> Strings:
    """Return a column of strings from an array of str, in which None is a missing value."""
    if isinstance(values, Strings):
        return values
    codes = np.full(len(values), -1)
    present = np.array([value is not None for value in values], dtype=bool)
    labels, codes[present] = np.unique(values[present], return_inverse=True)
    return Strings(tuple(map(str, labels)), codes)


def as_column(name: str, values: np.ndarray) -> Column:
    """Return a column of an array: of numbers, or of strings or booleans.

    Raises
    ------
    DataError
        If the array is not one-dimensional, or has values of another type, such as dates.

    Examples
    --------
    >>> as_column("y", np.array([True, False])).values
    ('false', 'true')
    """
    if values.ndim != 1:
        raise DataError(f"{name!r} has the shape {values.shape}: expected one value a row")
    match values.dtype.kind:
        case "i" | "u" | "f":
            return as_numbers(name, values)
        case "b":
            return as_strings(np.where(values, "true", "false"))
        case "U":
            return as_strings(values)
        case _:
            raise DataError(
                f"{name!r} holds {values.dtype}: expected numbers, booleans or strings (str)"
            )


# Columns of polars frames -----------------------------------------------------------------------


def polars() -> Any:
    """Import polars, which only tables need."""
    return require_extra("polars", "tabular", "reading tables", DataError)


def require_column(name: str, columns: Collection[str]) -> None:
    """Raise `DataError` unless there is such a column."""
    if name not in columns:
        raise DataError(
            f"has no column {name!r}.{did_you_mean(name, columns)} The columns are "
            f"{quoted_list(columns, limit=30)}"
        )


def require_target(
    target: str | None, columns: Collection[str], *, reason: str = "", option: str = "target="
) -> str:
    """Return the target, or raise `DataError` unless it was named and there is such a column."""
    if target is None:
        raise DataError(
            f"no target column was named{reason}: pass {option}, one of "
            f"{quoted_list(columns, limit=30)}"
        )
    require_column(target, columns)
    return target


def require_columns(names: Sequence[str], columns: Collection[str]) -> None:
    """Raise `DataError` unless there are all columns that an encoding needs."""
    if absent := [name for name in names if name not in columns]:
        raise DataError(
            f"lacks {plural(len(absent), 'column')}, {quoted_list(absent)}: expected "
            f"{quoted_list(names, limit=30)}, as in training; the file has "
            f"{quoted_list(columns, limit=30)}"
        )


def read_column(series: pl.Series, *, mixed: bool = False, hint: str = "") -> Column:
    """Return the numbers or strings of a column, by its values.

    Unless ``mixed``, if most strings of a column are numbers, all must be: otherwise a single
    typing error would silently turn numbers into categories. A hint may end the error.
    """
    pl = polars()
    if series.dtype.is_numeric():
        return read_numbers(series)
    strings = read_strings(series)
    if series.dtype != pl.String:
        return encode_strings(strings)
    parsed = strings.cast(pl.Float64, strict=False)
    n_values, n_numbers = strings.count(), parsed.count()
    if n_numbers == n_values or (not mixed and 2 * n_numbers > n_values):
        return _require_parsed(parsed, strings, hint)
    if not mixed and strings.drop_nulls().str.contains(_ISO_DATE).all():
        raise _unusable(series, "dates")
    written = strings.str.contains(_WRITTEN_NUMBER)
    if not mixed and 2 * (written.sum() or 0) > n_values:
        row = int(written.fill_null(False).arg_max() or 0)
        raise DataError(
            f"row {row + 1}, column {series.name!r}: {strings[row]!r} is a number or date in a "
            "form that is not read: expected numbers such as 1234.5, without units and with a "
            "decimal point; rewrite the column, or drop it from the file"
        )
    return encode_strings(strings)


def read_typed(series: pl.Series) -> Column:
    """Return the numbers or strings of a column, by its type."""
    if series.dtype.is_numeric():
        return read_numbers(series)
    return encode_strings(read_strings(series))


def read_numbers(series: pl.Series, hint: str = "") -> np.ndarray:
    """Return the numbers of a column. All values must be numbers; a hint may end the error."""
    pl = polars()
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return _fill_gaps(series.cast(pl.Float64))
    strings = read_strings(series)
    present = strings.drop_nulls()
    if len(present) and present[0] in _NUMBERS and present.is_in(list(_NUMBERS)).all():
        strings = strings.replace(_NUMBERS)
    return _require_parsed(strings.cast(pl.Float64, strict=False), strings, hint)


def read_strings(series: pl.Series, *, remedy: str = "drop it from the file") -> pl.Series:
    """Return the values of a column as strings: stripped, missing values as nulls.

    The remedy is what the error advises if the column is of another type.
    """
    pl = polars()
    dtype = series.dtype
    if dtype.is_temporal():
        raise _unusable(series, f"dates or times ({dtype})", remedy)
    known = (pl.String, pl.Boolean, pl.Null, pl.Categorical, pl.Enum)
    if not dtype.is_numeric() and dtype not in known:
        raise DataError(
            f"column {series.name!r} holds {dtype} values: expected numbers, strings or booleans; "
            f"spread it over several columns, or {remedy}"
        )
    strings = series.cast(pl.String).str.strip_chars()
    return strings.replace({**dict.fromkeys(_MISSING), **_BOOLEANS})


def encode_strings(strings: pl.Series) -> Strings:
    """Return a column of strings from a series of them."""
    pl = polars()
    values = strings.unique().drop_nulls().sort()
    codes = strings.cast(pl.Enum(values)).to_physical().cast(pl.Int64).fill_null(-1)
    return Strings(tuple(values.to_list()), codes.to_numpy())


def _require_parsed(parsed: pl.Series, strings: pl.Series, hint: str) -> np.ndarray:
    wrong = (parsed.is_null() & strings.is_not_null()).arg_true()
    if len(wrong):
        raise DataError(
            f"non-numeric value {strings[wrong[0]]!r} in column {strings.name!r}, row "
            f"{wrong[0] + 1}, where numbers are expected: correct it or leave it empty; "
            f"empty, NA, NaN, null and ? count as missing{hint}"
        )
    return _fill_gaps(parsed)


def _fill_gaps(series: pl.Series) -> np.ndarray:
    return as_numbers(series.name, series.fill_null(float("nan")).to_numpy())


def _unusable(series: pl.Series, what: str, remedy: str = "drop it from the file") -> DataError:
    return DataError(
        f"column {series.name!r} holds {what}: expected numbers, strings or booleans; turn it into "
        f"numbers, such as the year or the days since a fixed day, or {remedy}"
    )

"""Columns of raw data, before any encoding.

There are three kinds of columns:

- *numbers*: an array of float64, in which NaN is a missing value, or one of integers;
- *dates*: an array of datetime64 in microseconds, in which NaT is a missing value;
- *strings*: `Strings`, the distinct values and the code of each row.

A table is a mapping of column names to columns of one length. Rows are counted from 1 in messages.

In files, spaces around a string do not count, ``True`` and ``true`` are the same feature, and the
strings of `MISSING_MARKERS` are missing values: those of pandas, and ? and -. In columns that the
user calls categorical they are values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.formats import DateFormat, Format, find_formats
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import cut, did_you_mean, plural, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "BOOLEANS",
    "MISSING_MARKERS",
    "Column",
    "Strings",
    "Table",
    "as_column",
    "as_numbers",
    "as_strings",
    "encode_strings",
    "fill_gaps",
    "find_distinct",
    "find_gaps",
    "find_markers",
    "find_missing",
    "label",
    "non_numeric",
    "parse_markers",
    "parse_plain",
    "read_dates",
    "read_labels",
    "read_numbers",
    "read_strings",
    "require_column",
    "require_columns",
    "require_parsed",
    "require_present",
    "require_target",
]

_LARGEST = float(np.finfo(np.float32).max)
MISSING_MARKERS = (
    *("", "?", "-", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "None", "NULL", "Null"),
    *("null", "NaN", "NAN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
)
"""Strings that are missing values; - is a value like others in a column that has a + too."""

BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
"""Spellings of true and false, which are one each as features."""

_NUMBERS = {"false": "0", "true": "1"}
"""Booleans as the numbers that they are in data frames."""
_INTEGER = re.compile(r"[-+]?\d+")


_COLUMN_BYTES = 2**13
"""What a column takes without its values: it is decided on, described and encoded."""

_COPIES = 3
"""How often values are in memory, about: as read, in float64, in two parts, and encoded."""


@dataclass(frozen=True, eq=False)
class Strings:
    """A column of strings, stored as codes.

    Parameters
    ----------
    values : tuple of str
        Distinct strings in sorted order, labels that are numbers by size; after rows were taken,
        some may be in no row.
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
    if isinstance(column, Strings):
        return column.codes < 0
    mask: np.ndarray = np.isnat(column) if column.dtype.kind == "M" else np.isnan(column)
    return mask


def require_room(n_columns: int, n_bytes: int = 0) -> None:
    """Raise `DataError` if a table would not fit into memory, whose values take so much as read."""
    remedy = "take fewer rows or columns, or train with nn.datasets.parquet_batches"
    require_memory(_COLUMN_BYTES * n_columns + _COPIES * n_bytes, "the table takes", remedy)


def require_present(missing: np.ndarray, what: str) -> None:
    """Raise `DataError` if ``what`` is missing in a row, by a mask of the rows."""
    if missing.any():
        raise DataError(
            f"{what} is missing in {plural(int(missing.sum()), 'row')}, first in row "
            f"{int(missing.argmax()) + 1}: expected a value in every row; fill the values in or "
            "remove the rows"
        )


def find_gaps(
    series: pl.Series, missing: Sequence[str] = (), *, keep: Collection[str] = ()
) -> np.ndarray:
    """Return a mask of the missing values of a column of a polars frame."""
    pl = polars()
    if series.dtype.is_numeric():
        series = _drop_numbers(series, missing).cast(pl.Float64).fill_nan(None)
    elif series.dtype in (pl.String, pl.Categorical, pl.Enum):
        series = read_strings(series, missing, keep=keep)
    mask: np.ndarray = series.is_null().to_numpy()
    return mask


def find_markers(series: pl.Series, missing: Sequence[str] = ()) -> set[str]:
    """Return the strings of a column that are missing values because they are known markers."""
    if series.dtype != polars().String:
        return set()
    strings = read_strings(series, missing, keep=MISSING_MARKERS)
    gaps = read_strings(series, missing).is_null() & strings.is_not_null()
    return set(strings.filter(gaps).unique().to_list())


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

    Integers remain what they are: as labels they may have more digits than float64.

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
        case "i" | "u":
            return values
        case "f":
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
    known = set(columns)
    if absent := [name for name in names if name not in known]:
        raise DataError(
            f"lacks {plural(len(absent), 'column')}, {quoted_list(absent)}: expected "
            f"{quoted_list(names, limit=30)}, as in training; the file has "
            f"{quoted_list(columns, limit=30)}"
        )


def label(value: Any) -> str:
    """Return a label as a string; a float that is an integer without its fraction.

    >>> label(2), label(2.0), label(2.5), label("2.0")
    ('2', '2', '2.5', '2.0')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def read_numbers(
    series: pl.Series,
    written: Format | None = None,
    missing: Sequence[str] = (),
) -> np.ndarray:
    """Return the numbers of a column, all of whose values must be numbers.

    Times and durations are seconds.

    Parameters
    ----------
    series : polars.Series
    written : NumberFormat or ClockFormat, optional
        How strings are written. Default: plainly, such as 1234.5.
    missing : sequence of str
        Strings that are missing values, in addition to `MISSING_MARKERS`.
    """
    pl = polars()
    if series.dtype.is_numeric():
        return fill_gaps(series.cast(pl.Float64), missing)
    if series.dtype == pl.Boolean:
        return fill_gaps(series.cast(pl.Float64))
    if series.dtype in (pl.Time, pl.Duration):
        is_time = series.dtype == pl.Time
        whole = series.to_physical() if is_time else series.dt.total_nanoseconds()
        return fill_gaps(whole / 1e9)
    strings = read_strings(series, missing)
    first = find_first(strings)
    if written is None and first in _NUMBERS and strings.drop_nulls().is_in(list(_NUMBERS)).all():
        strings = strings.replace(_NUMBERS)
    parsed = parse_plain(strings) if written is None else written.parse(strings)
    require_parsed(parsed, strings, str(written or "numbers"))
    return fill_gaps(parsed, missing)


def read_dates(
    series: pl.Series, written: Format | None = None, missing: Sequence[str] = ()
) -> np.ndarray:
    """Return the dates of a column (datetime64[us]), all of whose values must be dates."""
    pl = polars()
    if series.dtype in (pl.Date, pl.Datetime):
        dates = series
    elif series.dtype != pl.String:
        raise DataError(
            f"column {series.name!r} holds {series.dtype} values: expected dates, as in training"
        )
    else:
        strings = read_strings(series, missing)
        if written is None:  # typed dates in training
            forms = find_formats(strings.drop_nulls())
            written = next((form for form in forms if isinstance(form, DateFormat)), DateFormat())
        dates = written.parse(strings)
        require_parsed(dates, strings, str(written))
    if isinstance(dates.dtype, pl.Datetime) and dates.dtype.time_zone is not None:
        dates = dates.dt.replace_time_zone(None)
    values: np.ndarray = dates.cast(pl.Datetime("us")).to_numpy()
    return values


def read_strings(
    series: pl.Series,
    missing: Sequence[str] = (),
    *,
    remedy: str = "drop it (drop=, --drop)",
    merge_booleans: bool = True,
    keep: Collection[str] = (),
) -> pl.Series:
    """Return the values of a column as strings: stripped, missing values as nulls.

    The remedy is what the error advises if the column is of another type. Spellings of true and
    false are one each, unless ``merge_booleans`` is False. Strings to ``keep``, such as the known
    values of a category, are no missing values even if they are markers, nor is - beside +.
    """
    pl = polars()
    dtype = series.dtype
    if dtype.is_numeric():
        series = _drop_numbers(series, missing)
    if dtype.is_float():
        values = series.fill_nan(None)
        distinct = values.unique().drop_nulls()
        labels = pl.Series(map(label, distinct.to_list()), dtype=pl.String)
        return values.replace_strict(distinct, labels, default=None, return_dtype=pl.String)
    known = (pl.String, pl.Boolean, pl.Null, pl.Categorical, pl.Enum)
    if not dtype.is_numeric() and dtype not in known:
        what = f"dates or times ({dtype})" if dtype.is_temporal() else f"{dtype} values"
        raise DataError(
            f"column {series.name!r} holds {what}: expected numbers, strings or booleans; spread "
            f"it over several columns, or {remedy}"
        )
    strings = series.cast(pl.String).str.strip_chars()
    markers = set(MISSING_MARKERS).difference(keep)
    changes: dict[str, str | None] = dict.fromkeys(("", *markers, *missing))
    changes |= BOOLEANS if merge_booleans else {}
    if not strings.is_in(list(changes)).any():  # which is fast
        return strings
    if "-" not in missing and (strings == "+").any():
        changes.pop("-", None)
    return strings.replace(changes)


def read_labels(
    series: pl.Series, missing: Sequence[str] = (), *, keep: Collection[str] = ()
) -> Strings:
    """Return a column of labels, as they are written; labels that are numbers are sorted by size.

    >>> import polars as pl
    >>> read_labels(pl.Series(["10", "9", "09", "1E1"])).values
    ('09', '9', '10', '1E1')
    """
    pl = polars()
    strings = read_strings(series, missing, merge_booleans=False, keep=keep)
    values = strings.unique().drop_nulls().sort()
    if not values.cast(pl.Float64, strict=False).null_count():
        values = pl.Series(sorted(values.to_list(), key=_size), dtype=pl.String)
    return _encode(strings, values)


def encode_strings(strings: pl.Series) -> Strings:
    """Return a column of strings from a series of them."""
    return _encode(strings, strings.unique().drop_nulls().sort())


def fill_gaps(series: pl.Series, missing: Sequence[str] = ()) -> np.ndarray:
    """Return a series of numbers as a column; null, and the numbers that are missing, as NaN."""
    series = _drop_numbers(series, missing)
    return as_numbers(series.name, series.fill_null(float("nan")).to_numpy())


def _drop_numbers(series: pl.Series, missing: Sequence[str]) -> pl.Series:
    """Return a series of numbers with null for those that strings such as -999 are."""
    if not missing:  # as nearly always: a query a column is much of the time of wide tables
        return series
    numbers = parse_markers(missing)
    if not len(numbers):
        return series
    wrong = series.cast(polars().Float64).is_in(numbers.implode())
    return series.set(wrong.fill_null(False), None)


def parse_markers(missing: Sequence[str]) -> pl.Series:
    """Return those strings that are numbers (Float64), such as -999."""
    return parse_plain(polars().Series(missing, dtype=polars().String)).drop_nulls()


def find_first(series: pl.Series) -> Any:
    """Return the first value that is not missing, or None."""
    if not len(series):
        return None
    return series[0] if series[0] is not None else series[series.is_not_null().arg_max() or 0]


def parse_plain(strings: pl.Series) -> pl.Series:
    """Return the numbers of plain strings such as 1234.5 (Float64), null where there is none."""
    return strings.cast(polars().Float64, strict=False)


def require_parsed(parsed: pl.Series, strings: pl.Series, expected: str, hint: str = "") -> None:
    """Raise `DataError` if a string could not be parsed; names the first such row."""
    wrong = (parsed.is_null() & strings.is_not_null()).arg_true()
    if len(wrong):
        where = f", row {wrong[0] + 1}"
        raise non_numeric(strings[wrong[0]], strings.name, where, expected, hint)


def non_numeric(value: str, name: str, where: str, expected: str, hint: str) -> DataError:
    """Return the error about a string where numbers or dates are expected."""
    return DataError(
        f"non-numeric value {cut(value)!r} in column {name!r}{where}, where {expected} are "
        "expected: correct it or leave it empty; empty, NA, NaN, null, ? and others (na_values=, "
        f"--na-values) count as missing{hint}"
    )


def _size(value: str) -> tuple[float, str]:
    # An int has all of its digits, and is compared with a float exactly.
    return (int(value) if _INTEGER.fullmatch(value) else float(value), value)


def _encode(strings: pl.Series, values: pl.Series) -> Strings:
    pl = polars()
    codes = strings.cast(pl.Enum(values)).to_physical().cast(pl.Int64).fill_null(-1)
    return Strings(tuple(values.to_list()), codes.to_numpy())

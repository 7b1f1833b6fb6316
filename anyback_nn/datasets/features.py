"""How raw features become the numbers that a network sees."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.columns import (
    MISSING_MARKERS,
    Strings,
    Table,
    as_numbers,
    as_strings,
    find_missing,
    label,
)
from anyback_nn.datasets.formats import ClockFormat, DateFormat, NumberFormat
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import cut, plural, quoted_list

if TYPE_CHECKING:
    from anyback_nn.datasets.kinds import Kind
    from anyback_nn.datasets.options import TableOptions

__all__ = [
    "MISSING",
    "MOST_CATEGORIES",
    "RARE",
    "CategoricalColumn",
    "Columns",
    "DateColumn",
    "Features",
    "NumericColumn",
    "Scaling",
    "drop_columns",
    "fit_categories",
    "fit_columns",
    "note_gaps",
    "note_sentinels",
    "split_dates",
    "standard_deviation",
]

MISSING = "(missing)"
"""The category of missing values; in brackets, because a value of a file hardly is."""

RARE = "(rare)"
"""The category that rare ones share, and those that were not seen in training."""

MOST_CATEGORIES = 1000
_MANY_CATEGORIES = 50
_RARE_ROWS = 5
_SENTINEL = re.compile("-?99+|-1")
_LARGEST_INTEGER = 2**53  # float64 has all smaller ones


@dataclass(frozen=True)
class Scaling:
    """Features of an array: ``x = raw / scale``.

    Parameters
    ----------
    n_features : int
        Values in a row; the axes of an image are flattened.
    scale : float
        The largest raw value, such as 255 for bytes; 1 leaves the values as they are.

    Examples
    --------
    >>> Scaling(2, scale=255.0).encode(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    n_features: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.n_features < 1 or not self.scale > 0:
            raise DataError(
                f"the features have the width {self.n_features} and the scale {self.scale}: "
                "expected both above 0"
            )

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Divide by the scale.

        Parameters
        ----------
        raw : ndarray, shape (n_rows, ...)
            Numbers. With a scale other than 1 they must be integers, so that an array which is
            scaled already is not scaled twice.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_features)

        Raises
        ------
        DataError
            If the number of features differs, or if a value is missing, infinite or not an integer.
        """
        flat = flatten(raw, self.n_features)
        if flat.dtype.kind == "f":
            self._check(flat)
        # Dividing by a float32 keeps bytes away from a float64 copy eight times their size.
        x: np.ndarray = np.divide(
            flat, np.float32(self.scale), dtype=np.float32, casting="same_kind"
        )
        return x

    def _check(self, flat: np.ndarray) -> None:
        bad, expected = ~(np.abs(flat) <= np.finfo(np.float32).max), "finite numbers"
        if self.scale != 1 and not bad.any():
            bad, expected = flat != np.floor(flat), f"integers from 0 to {self.scale:g}"
        if bad.any():
            row, feature = np.argwhere(bad)[0]
            raise DataError(
                f"row {row + 1}, feature {feature + 1}: the value is {flat[row, feature]}: "
                f"expected {expected}, as in training"
            )


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers, or one part of a column of dates.

    Parameters
    ----------
    name : str
    median, mean, scale : float
        What fills gaps, what is subtracted, what it is divided by.
    written : NumberFormat or ClockFormat, optional
        How the numbers are written in a column of strings; None for plain numbers.
    missing : tuple of str
        Strings that are missing values, in addition to the known markers.
    """

    name: str
    median: float
    mean: float
    scale: float
    written: NumberFormat | ClockFormat | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise DataError(f"column {self.name!r} has the scale {self.scale}: expected above 0")

    def standardize(self, values: np.ndarray) -> np.ndarray:
        """Fill gaps with the median, subtract the mean, divide by the scale (float64)."""
        filled = np.where(np.isnan(values), self.median, values)
        filled -= self.mean
        filled /= self.scale
        return filled


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: some of its parts become features, as numbers do.

    Parameters
    ----------
    name : str
    parts : tuple of NumericColumn
        Have the names of parts that `split_dates` returns.
    written : DateFormat, optional
        How the dates are written in a column of strings; None for a type of dates.
    missing : tuple of str
        Strings that are missing values, in addition to the known markers.
    """

    name: str
    parts: tuple[NumericColumn, ...]
    written: DateFormat | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = split_dates(np.empty(0, dtype="datetime64[us]"))
        if unknown := [part.name for part in self.parts if part.name not in known]:
            raise DataError(
                f"the dates of {cut(self.name)!r} have the parts {quoted_list(unknown)}: expected "
                f"some of {quoted_list(known)}"
            )


def split_dates(dates: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parts of dates as numbers; a missing date has no part (NaN).

    Parameters
    ----------
    dates : ndarray of datetime64, shape (n_rows,)

    Returns
    -------
    dict of str to ndarray of float64, shape (n_rows,)
        ``year``; ``month`` and ``day`` from 1; ``weekday`` from 0, a Monday; ``hour`` with its
        fraction; ``elapsed``, the days since 1970.

    Examples
    --------
    >>> parts = split_dates(np.array(["2024-02-29T18:30"], dtype="datetime64[us]"))
    >>> {name: part.item() for name, part in parts.items()}
    {'year': 2024.0, 'month': 2.0, 'day': 29.0, 'weekday': 3.0, 'hour': 18.5, 'elapsed': 19782.7...}
    """
    years, months, days = (dates.astype(f"datetime64[{unit}]") for unit in "YMD")
    day = np.timedelta64(1, "D")
    elapsed = (days - np.datetime64(0, "D")) / day
    fraction = (dates - days) / day
    return {
        "year": (years - np.datetime64(0, "Y")) / np.timedelta64(1, "Y") + 1970,
        "month": (months - years) / np.timedelta64(1, "M") + 1,
        "day": (days - months) / day + 1,
        "weekday": (elapsed + 3) % 7,
        "hour": fraction * 24,
        "elapsed": elapsed + fraction,
    }


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of strings: the categories of the training part, each of which becomes a feature.

    Parameters
    ----------
    name : str
    values : tuple of str
        The categories. If ``"(rare)"`` is one, all others are in it.
    missing : tuple of str
        Strings that are missing values, in addition to the known markers.
    keeps_minus : bool
        Whether ``-``, a known marker, is a value, because ``+`` is one, too.
    """

    name: str
    values: tuple[str, ...]
    missing: tuple[str, ...] = ()
    keeps_minus: bool = False

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise DataError(
                f"column {self.name!r} has the categories {quoted_list(self.values) or '(none)'}: "
                "expected at least one, each once"
            )

    def list_missing(self, options: TableOptions) -> list[str]:
        """List all strings that are missing values, as training has decided.

        A known marker is one unless it is a category, or the column is in ``options.categorical``.
        """
        keep = MISSING_MARKERS if self.name in options.categorical else self.values
        # Files that were written before say nothing of it.
        signs = {"-"} if self.keeps_minus or "+" in self.values else set()
        markers = {*MISSING_MARKERS} - {*keep} - signs
        return sorted(markers | {"", *self.missing, *options.na_values})

    def index(self, strings: Strings) -> np.ndarray:
        """Return the category's index in each row, or -1 if it was not seen in training."""
        known = {value: i for i, value in enumerate(self.values)}
        other = known.get(RARE, -1)
        # The last is that of missing values, whose code is -1.
        indices = [known.get(value, other) for value in (*strings.values, MISSING)]
        index: np.ndarray = np.array(indices)[strings.codes]
        return index


@dataclass(frozen=True)
class Columns:
    """Features of a table.

    Numbers: a missing value becomes the training median, then the column is standardised. Dates:
    their parts are numbers. Strings: a missing value becomes the category ``"(missing)"``, then
    each category becomes a feature of 0 or 1; a category that was not seen in training is
    ``"(rare)"`` where there is such a category, or else 0 everywhere. The numbers come first, then
    the dates.

    The results are those of scikit-learn's ``SimpleImputer``, ``StandardScaler`` and
    ``OneHotEncoder``, to the last bit.

    Parameters
    ----------
    numbers : tuple of NumericColumn
    categories : tuple of CategoricalColumn
    dates : tuple of DateColumn

    Examples
    --------
    >>> columns = Columns((NumericColumn("age", median=40.0, mean=40.0, scale=10.0),),
    ...                   (CategoricalColumn("town", ("Oslo", "Rome")),))
    >>> columns.encode({"age": np.array([50.0, np.nan]),
    ...                 "town": np.array(["Rome", "Paris"], dtype=object)})
    array([[1., 0., 1.],
           [0., 0., 0.]], dtype=float32)
    """

    numbers: tuple[NumericColumn, ...]
    categories: tuple[CategoricalColumn, ...]
    dates: tuple[DateColumn, ...] = ()

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated or not self.names:
            raise DataError(
                f"the features are the columns {quoted_list(self.names) or '(none)'}: expected at "
                "least one, each once"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are needed, in any order."""
        columns: tuple[NumericColumn | DateColumn | CategoricalColumn, ...]
        columns = (*self.numbers, *self.dates, *self.categories)
        return tuple(column.name for column in columns)

    @property
    def n_features(self) -> int:
        """Width of the encoded rows."""
        n_parts = sum(len(date.parts) for date in self.dates)
        return len(self.numbers) + n_parts + sum(len(column.values) for column in self.categories)

    def encode(self, table: Table) -> np.ndarray:
        """Encode the columns of a table.

        Parameters
        ----------
        table : mapping of str to column of n_rows
            Numbers (float64, NaN is missing), dates (datetime64, NaT is missing) and strings
            (`Strings`, or object, None is missing).

        Returns
        -------
        ndarray of float32, shape (n_rows, n_features)

        Raises
        ------
        DataError
            If a standardised number is beyond float32.
        """
        x = np.zeros((len(table[self.names[0]]), self.n_features), dtype=np.float32)
        with np.errstate(over="ignore"):
            for i, number in enumerate(self.numbers):
                x[:, i] = number.standardize(table[number.name])
        self._require_finite(x, table)
        start = len(self.numbers)
        for date in self.dates:
            parts = split_dates(table[date.name])
            for i, part in enumerate(date.parts, start):
                x[:, i] = part.standardize(parts[part.name])
            start += len(date.parts)
        for column in self.categories:
            index = column.index(as_strings(table[column.name]))
            (rows,) = np.nonzero(index >= 0)
            x[rows, start + index[rows]] = 1.0
            start += len(column.values)
        return x

    def with_kinds(self, kinds: Mapping[str, Kind]) -> Columns:
        """Return these columns as their values are written in a file."""

        def mark(column: Any) -> Any:
            kind = kinds[column.name]
            if isinstance(column, CategoricalColumn):
                return replace(column, missing=kind.missing)
            return replace(column, written=kind.written, missing=kind.missing)

        return Columns(
            tuple(map(mark, self.numbers)),
            tuple(map(mark, self.categories)),
            tuple(map(mark, self.dates)),
        )

    def notes(self, *tables: Table) -> tuple[str, ...]:
        """Describe which values of some tables were filled in, and which were not seen in training.

        Each kind has one note for all columns and tables.
        """
        n_missing = {
            name: sum(int(find_missing(table[name]).sum()) for table in tables)
            for name in self.names
        }
        missing, unseen = [], []
        for column in self.categories:
            counts = Counter({MISSING: n_missing[column.name]})
            for table in tables:
                counts.update(table[column.name].counts)
            if counts[MISSING] and MISSING in column.values:
                missing.append(f"{counts[MISSING]:,} in {column.name!r}")
            for value in column.values:
                del counts[value]
            if RARE not in column.values and (n_rows := counts.total()):
                values = quoted_list(sorted(value for value, n in counts.items() if n), limit=5)
                unseen.append(f"{plural(n_rows, 'row')} in {column.name!r} ({values})")
        notes = {
            f"missing strings taken as a category of their own, {MISSING!r}": missing,
            "categories not seen in training, treated as none of the known ones": unseen,
        }
        return (
            *note_gaps(self, n_missing),
            *(f"{what}: {quoted_list(x, 6, quote=str)}" for what, x in notes.items() if x),
        )

    def name_columns(self, raw: np.ndarray) -> Table:
        """Return an array as a table with the names of these columns.

        Parameters
        ----------
        raw : ndarray, shape (n_rows, ...)

        Raises
        ------
        DataError
            If the columns hold strings, which an array of numbers cannot hold, or if the number of
            features differs.
        """
        if self.categories or self.dates:
            raise DataError(
                "an array of numbers does not fit: expected a table with the columns "
                f"{quoted_list(self.names)}, some of which hold strings or dates; give a CSV or "
                "Parquet file"
            )
        flat = flatten(raw, len(self.numbers))
        return {c.name: as_numbers(c.name, flat[:, i]) for i, c in enumerate(self.numbers)}

    def _require_finite(self, x: np.ndarray, table: Table) -> None:
        finite = np.isfinite(x[:, : len(self.numbers)])
        if not finite.all():
            row, i = np.argwhere(~finite)[0]
            column = self.numbers[i]
            raise DataError(
                f"row {row + 1}, column {column.name!r}: the value {table[column.name][row]} is "
                f"too far from the training mean, {column.mean:.6g}: expected a value of similar "
                "size; correct it or leave it empty"
            )


Features = Scaling | Columns


def fit_columns(table: Table, *, keep_all: bool = False) -> tuple[Columns, tuple[str, ...]]:
    """Learn the encoding of a table from its training part.

    Columns that teach nothing are left out: those without a value, and if there are others, those
    that are constant and those whose strings are all rare.

    Parameters
    ----------
    table : mapping of str to column of n_rows
        The feature columns: numbers (float64, NaN is missing), dates (datetime64, NaT is missing)
        and `Strings`.
    keep_all : bool
        Whether columns that teach nothing but have values are kept.

    Returns
    -------
    columns : Columns
    notes : tuple of str
        The columns that were left out, those whose rare strings share a category, and numbers that
        may be missing values.

    Raises
    ------
    DataError
        If no column is left, or if a column of strings has more than 1,000 categories.

    Examples
    --------
    >>> columns, notes = fit_columns({"age": np.array([30.0, 50.0, np.nan]),
    ...                               "town": as_strings(np.array(["Rome", "Oslo", "Rome"]))})
    >>> columns.numbers
    (NumericColumn(name='age', median=40.0, mean=40.0, scale=8.16..., written=None, missing=()),)
    >>> columns.categories[0].values
    ('Oslo', 'Rome')
    """
    used = {name: column for name, column in table.items() if not find_missing(column).all()}
    strings = {name: column for name, column in used.items() if isinstance(column, Strings)}
    arrays = {name: column for name, column in used.items() if name not in strings}
    numbers = {name: column for name, column in arrays.items() if column.dtype.kind != "M"}
    dates = tuple(_fit_dates(name, arrays[name]) for name in arrays if name not in numbers)
    categories = tuple(
        fit_categories(name, column.counts, int(find_missing(column).sum()))
        for name, column in strings.items()
    )
    columns = Columns(_fit_numbers(numbers), categories, dates)
    constant = [name for name, column in arrays.items() if _is_constant(column)]
    gaps = [name for name in constant if find_missing(arrays[name]).any()]
    columns, notes = drop_columns(table, columns, constant, gaps, keep_all=keep_all)
    return columns, (*notes, *note_sentinels(numbers))


def _fit_dates(name: str, dates: np.ndarray) -> DateColumn:
    parts = split_dates(dates)
    varying = {part: values for part, values in parts.items() if not _is_constant(values)}
    return DateColumn(name, _fit_numbers(varying or {"elapsed": parts["elapsed"]}))


def _is_constant(column: np.ndarray) -> bool:
    """Return whether values are equal, or integers so large that they differ by rounding only."""
    low, high = np.nanmin(column), np.nanmax(column)
    if low == high or column.dtype.kind != "f" or abs(high) < _LARGEST_INTEGER:
        return bool(low == high)
    return bool(high - low <= 2 * math.ulp(high))


def _fit_numbers(table: dict[str, np.ndarray]) -> tuple[NumericColumn, ...]:
    if not table:
        return ()
    raw = np.column_stack(list(table.values()))
    medians = [np.median(column[~np.isnan(column)]) for column in table.values()]
    values = np.where(np.isnan(raw), medians, raw)
    means = values.sum(axis=0) / len(values)
    values -= means
    # The corrected two-pass algorithm: what rounding left of the mean is taken from the variance.
    left = values.sum(axis=0)
    spans = np.ptp(values, axis=0)
    values *= values
    variances = (values.sum(axis=0) - left**2 / len(values)) / len(values)
    # Only where scikit-learn takes a column that varies as constant is the mean corrected as well.
    scales = [standard_deviation(*x) for x in zip(means, variances, repeat(len(values)))]
    wide = [standard_deviation(*x) for x in zip(means, variances, repeat(len(values)), spans)]
    means += np.where(np.equal(scales, wide), 0.0, left / len(values))
    fitted = zip(table, map(float, medians), means.tolist(), (x or 1.0 for x in wide), strict=True)
    return tuple(NumericColumn(*settings) for settings in fitted)


def fit_categories(name: str, counts: Mapping[str, int], n_missing: int) -> CategoricalColumn:
    """Learn the categories of a column of strings from how many rows have each of them.

    If there are more than 50, those in fewer than 5 rows share one.
    """
    categories = {*counts, MISSING} if n_missing else set(counts)
    if len(counts) > _MANY_CATEGORIES:
        rare = {value for value, n in counts.items() if n < _RARE_ROWS}
        categories = (categories - rare) | {RARE} if rare else categories
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"column {name!r} has {len(categories):,} different strings: expected at most "
            f"{MOST_CATEGORIES:,} categories; leave the column out with --drop (drop=), or group "
            "its values"
        )
    # Also if both are rare.
    keeps_minus = "+" in counts or "-" in counts
    return CategoricalColumn(name, tuple(sorted(categories)), keeps_minus=keeps_minus)


def standard_deviation(mean: float, variance: float, count: int, span: float = 0.0) -> float:
    """Return the standard deviation, or 0 if the variance may be nothing but rounding.

    It is more than that if the span from the least to the greatest value is more than two units in
    the last place, as of large numbers that differ little.

    The bound is that of scikit-learn, from T. Chan, G. Golub and R. LeVeque, "Algorithms for
    computing the sample variance: analysis and recommendations", The American Statistician 37,
    1983.
    """
    rounding = count * sys.float_info.epsilon
    is_constant = variance <= rounding * variance + (rounding * mean) ** 2
    if is_constant and span <= 2 * math.ulp(mean):
        return 0.0
    return math.sqrt(variance)


def drop_columns(
    names: Collection[str],
    columns: Columns,
    constant: Collection[str],
    gaps: Collection[str] = (),
    *,
    keep_all: bool = False,
) -> tuple[Columns, tuple[str, ...]]:
    """Leave out columns that teach nothing, unless there is no other.

    Parameters
    ----------
    names : collection of str
        All columns, in their order.
    columns : Columns
        Those that have values.
    constant : collection of str
        Those of numbers and dates that are all equal.
    gaps : collection of str
        Those of which some values are missing.
    keep_all : bool
        Whether such columns are kept.

    Returns
    -------
    columns : Columns
    notes : tuple of str
        The columns that were left out or are constant, and those with rare categories.
    """
    single = {c.name: c.values[0] for c in columns.categories if len(c.values) == 1}
    rare = [name for name, value in single.items() if value == RARE]
    equal = {*constant, *single} - {*rare}
    long = {c.name for c in columns.numbers if abs(c.median) >= _LARGEST_INTEGER}.intersection(
        constant
    )
    useless = {*equal, *rare}
    if keep_all or useless.issuperset(columns.names):
        useless = set()
    grouped = {c.name for c in columns.categories if RARE in c.values} - useless
    left_out = "left out, because " if useless else ""
    notes = {
        "left out, because no row of the training part has a value": set(names) - {*columns.names},
        f"{left_out}constant in the training part, which teaches nothing": equal - long - {*gaps},
        f"{left_out}constant where they are not missing (--categorical keeps which are)": (
            equal - long
        ).intersection(gaps),
        f"{left_out}equal in the first 16 digits, and numbers have no more (--categorical takes "
        "all)": long,
        f"left out, because no string is in {_RARE_ROWS} rows of the training part": {
            *rare
        }.intersection(useless),
        f"strings in fewer than {_RARE_ROWS} rows of the training part became {RARE!r}": grouped,
    }
    columns = Columns(
        tuple(c for c in columns.numbers if c.name not in useless),
        tuple(c for c in columns.categories if c.name not in useless),
        tuple(c for c in columns.dates if c.name not in useless),
    )
    return columns, tuple(
        f"{what}: {quoted_list(name for name in names if name in some)}"
        for what, some in notes.items()
        if some
    )


def note_gaps(columns: Columns, n_missing: Mapping[str, int]) -> tuple[str, ...]:
    """Describe which numbers and dates were missing, and how often."""
    medians = {column.name: f" ({column.median:.6g})" for column in columns.numbers}
    medians |= dict.fromkeys((column.name for column in columns.dates), "")
    gaps = [f"{n_missing[n]:,} in {n!r}{text}" for n, text in medians.items() if n_missing[n]]
    note = f"missing numbers filled with the training median: {quoted_list(gaps, 6, quote=str)}"
    return (note,) if gaps else ()


def note_sentinels(columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Describe which numbers may be missing values, such as -999, far from all others.

    They are in 2 % of the rows or more, and further from the others than their whole range.

    Examples
    --------
    >>> note_sentinels({"age": np.array([30.0, -99, 41, -99, 50])})
    ("may be missing values, far from all others: '-99' in 'age'; --na-values=-99 (na_values=)...",)
    """
    found = {name: value for name, column in columns.items() if (value := _find_sentinel(column))}
    if not found:
        return ()
    values = ",".join(dict.fromkeys(found.values()))
    where = quoted_list((f"{value!r} in {name!r}" for name, value in found.items()), 6, quote=str)
    return (
        f"may be missing values, far from all others: {where}; --na-values={values} (na_values=) "
        "makes them missing, in all columns",
    )


def _find_sentinel(column: np.ndarray) -> str | None:
    values = column[~np.isnan(column)]
    for end in (values.min(), values.max()) if len(values) else ():
        others = values[values != end]
        n_rows, text = len(values) - len(others), label(float(end))
        if _SENTINEL.fullmatch(text) and len(others) and n_rows >= max(2, 0.02 * len(column)):
            low, high = others.min(), others.max()
            if 0 < high - low < min(abs(low - end), abs(high - end)):
                return text
    return None


def flatten(raw: np.ndarray, n_features: int) -> np.ndarray:
    """Join all axes after the first; refuse another number of features.

    >>> flatten(np.zeros((5, 2, 3)), 6).shape
    (5, 6)
    """
    width = math.prod(raw.shape[1:])
    if width != n_features:
        raise DataError(
            f"the rows have {plural(width, 'feature')} each: expected {n_features:,}, as in "
            "training"
        )
    return raw.reshape(len(raw), width)

"""How raw features become the numbers that a network sees."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from anyback_nn.datasets.columns import Strings, Table, as_numbers, as_strings, find_missing
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import plural, quoted_list

__all__ = [
    "MISSING",
    "MOST_CATEGORIES",
    "CategoricalColumn",
    "Columns",
    "Features",
    "NumericColumn",
    "Scaling",
    "fit_categories",
    "fit_columns",
    "note_columns",
    "note_gaps",
    "standard_deviation",
]

MISSING = "(missing)"
"""The category of missing values; in brackets, because a value of a file hardly is."""

MOST_CATEGORIES = 1000


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
    """A column of numbers: what fills gaps, what is subtracted, what it is divided by."""

    name: str
    median: float
    mean: float
    scale: float

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
class CategoricalColumn:
    """A column of strings: the categories of the training part, each of which becomes a feature."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise DataError(
                f"column {self.name!r} has the categories {quoted_list(self.values) or '(none)'}: "
                "expected at least one, each once"
            )

    def index(self, strings: Strings) -> np.ndarray:
        """Return the category's index in each row, or -1 if it was not seen in training."""
        known = {value: i for i, value in enumerate(self.values)}
        # The last is that of missing values, whose code is -1.
        indices = [known.get(value, -1) for value in (*strings.values, MISSING)]
        index: np.ndarray = np.array(indices)[strings.codes]
        return index


@dataclass(frozen=True)
class Columns:
    """Features of a table.

    Numbers: a missing value becomes the training median, then the column is standardised. Strings:
    a missing value becomes the category ``"(missing)"``, then each category becomes a feature of 0
    or 1; a category that was not seen in training is 0 everywhere. The numbers come first.

    The results are those of scikit-learn's ``SimpleImputer``, ``StandardScaler`` and
    ``OneHotEncoder``, to the last bit.

    Parameters
    ----------
    numbers : tuple of NumericColumn
    categories : tuple of CategoricalColumn

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
        return (*(c.name for c in self.numbers), *(c.name for c in self.categories))

    @property
    def n_features(self) -> int:
        """Width of the encoded rows."""
        return len(self.numbers) + sum(len(column.values) for column in self.categories)

    def encode(self, table: Table) -> np.ndarray:
        """Encode the columns of a table.

        Parameters
        ----------
        table : mapping of str to column of n_rows
            Numbers (float64, NaN is missing), and strings (`Strings`, or object, None is missing).

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
        for column in self.categories:
            index = column.index(as_strings(table[column.name]))
            (rows,) = np.nonzero(index >= 0)
            x[rows, start + index[rows]] = 1.0
            start += len(column.values)
        return x

    def notes(self, table: Table) -> tuple[str, ...]:
        """Describe which values were filled in, and which categories training has not seen."""
        notes = [*note_gaps((c, int(find_missing(table[c.name]).sum())) for c in self.numbers)]
        for column in self.categories:
            strings = table[column.name]
            n_missing = int(find_missing(strings).sum())
            known = set(column.values)
            unseen = {v: n for v, n in strings.counts.items() if v not in known}
            if n_missing and MISSING in known:
                notes.append(
                    f"column {column.name!r}: {plural(n_missing, 'missing value')} taken as a "
                    f"category of its own, {MISSING!r}"
                )
            elif n_missing:
                unseen[MISSING] = unseen.get(MISSING, 0) + n_missing
            if unseen:
                rows = sum(unseen.values())
                notes.append(
                    f"column {column.name!r}: {plural(rows, 'row')} "
                    f"{'has a category' if rows == 1 else 'have categories'} not seen in training "
                    f"({quoted_list(sorted(unseen))}): treated as none of the known ones"
                )
        return tuple(notes)

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
        if self.categories:
            raise DataError(
                "an array of numbers does not fit: expected a table with the columns "
                f"{quoted_list(self.names)}, some of which hold strings; give a CSV or Parquet file"
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


def fit_columns(table: Table) -> tuple[Columns, tuple[str, ...]]:
    """Learn the encoding of a table from its training part.

    Parameters
    ----------
    table : mapping of str to column of n_rows
        The feature columns: numbers (float64, NaN is missing) and `Strings`.

    Returns
    -------
    columns : Columns
    notes : tuple of str
        The columns that were left out because they have no value, and those that are constant.

    Raises
    ------
    DataError
        If no column is left, or if a column of strings has more than 1,000 categories.

    Examples
    --------
    >>> columns, notes = fit_columns({"age": np.array([30.0, 50.0, np.nan]),
    ...                               "town": as_strings(np.array(["Rome", "Oslo", "Rome"]))})
    >>> columns.numbers
    (NumericColumn(name='age', median=40.0, mean=40.0, scale=8.16...),)
    >>> columns.categories
    (CategoricalColumn(name='town', values=('Oslo', 'Rome')),)
    """
    used = {name: column for name, column in table.items() if not find_missing(column).all()}
    strings = {name: column for name, column in used.items() if isinstance(column, Strings)}
    numbers = {name: column for name, column in used.items() if name not in strings}
    columns = Columns(
        _fit_numbers(numbers),
        tuple(
            fit_categories(name, column.counts, has_gaps=bool(find_missing(column).any()))
            for name, column in strings.items()
        ),
    )
    constant = [name for name, column in numbers.items() if np.nanmin(column) == np.nanmax(column)]
    return columns, note_columns(table, columns, constant)


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
    values *= values
    variances = (values.sum(axis=0) - left**2 / len(values)) / len(values)
    scales = [
        standard_deviation(mean, variance, len(values)) or 1.0
        for mean, variance in zip(means.tolist(), variances.tolist(), strict=True)
    ]
    fitted = zip(table, map(float, medians), means.tolist(), scales, strict=True)
    return tuple(NumericColumn(*settings) for settings in fitted)


def fit_categories(name: str, values: Iterable[str], *, has_gaps: bool) -> CategoricalColumn:
    """Learn the categories of a column of strings from its different values."""
    categories = sorted({*values, MISSING} if has_gaps else set(values))
    if len(categories) > MOST_CATEGORIES:
        raise DataError(
            f"column {name!r} has {len(categories):,} different strings: expected at most "
            f"{MOST_CATEGORIES:,} categories; leave the column out of the file, or group its values"
        )
    return CategoricalColumn(name, tuple(categories))


def standard_deviation(mean: float, variance: float, count: int) -> float:
    """Return the standard deviation, or 0 if the variance may be nothing but rounding.

    The bound is that of scikit-learn, from T. Chan, G. Golub and R. LeVeque, "Algorithms for
    computing the sample variance: analysis and recommendations", The American Statistician 37,
    1983.
    """
    rounding = count * sys.float_info.epsilon
    is_constant = variance <= rounding * variance + (rounding * mean) ** 2
    return 0.0 if is_constant else math.sqrt(variance)


def note_columns(
    names: Collection[str], columns: Columns, constant: Iterable[str]
) -> tuple[str, ...]:
    """Describe which columns were left out because they have no value, and which are constant.

    Parameters
    ----------
    names : collection of str
        All columns, in their order.
    columns : Columns
        Those that have values.
    constant : iterable of str
        Those of numbers that are all equal.
    """
    equal = {*constant, *(column.name for column in columns.categories if len(column.values) == 1)}
    notes = {
        "left out, because no row of the training part has a value": set(names) - {*columns.names},
        "constant in the training part, which teaches nothing": equal,
    }
    return tuple(
        f"{what}: {quoted_list(name for name in names if name in some)}"
        for what, some in notes.items()
        if some
    )


def note_gaps(counts: Iterable[tuple[NumericColumn, int]]) -> tuple[str, ...]:
    """Describe which numbers were missing, and how often."""
    gaps = [f"{n:,} in {column.name!r} ({column.median:.6g})" for column, n in counts if n]
    note = f"missing numbers filled with the training median: {quoted_list(gaps, quote=str)}"
    return (note,) if gaps else ()


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

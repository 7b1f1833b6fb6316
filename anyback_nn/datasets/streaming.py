"""Learn the encoding of a large file, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.columns import (
    Column,
    Strings,
    encode_strings,
    find_distinct,
    polars,
    read_column,
    read_numbers,
    read_strings,
    read_typed,
)
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import (
    MOST_CATEGORIES,
    CategoricalColumn,
    Columns,
    NumericColumn,
    fit_categories,
    note_columns,
    note_gaps,
    standard_deviation,
)
from anyback_nn.datasets.tables import ParquetFile, read_target
from anyback_nn.datasets.targets import (
    ContinuousTarget,
    Target,
    choose_task,
    fit_target,
    require_present,
)
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import prefix_errors

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Moments", "fit_file"]

_SAMPLE = 2**22
"""How many numbers are kept, of all columns together, to find the medians of."""

_MOST_CLASSES = 2**16

_REMEDY = "leave it out with columns="


@dataclass(frozen=True)
class Moments:
    """The count of some numbers, their mean, and the sum of their squared distances from it.

    The sum of the moments of two parts is that of both together. Parts in the same order give the
    same bits.

    Reference: T. Chan, G. Golub and R. LeVeque, "Algorithms for computing the sample variance:
    analysis and recommendations", The American Statistician 37, 1983.

    Parameters
    ----------
    count : int
    mean : float
    spread : float

    Examples
    --------
    >>> Moments.of(np.array([1.0, 3.0])) + Moments.of(np.array([np.nan, 8.0]))
    Moments(count=3, mean=4.0, spread=26.0)
    """

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0

    @classmethod
    def of(cls, column: np.ndarray) -> Moments:
        """Measure a column of numbers, shape (n_rows,), of which NaN is left out."""
        values = column[~np.isnan(column)]
        if not len(values):
            return cls()
        mean = float(values.mean())
        values -= mean
        return cls(len(values), mean, float(values @ values))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return self
        apart, share = other.mean - self.mean, other.count / count
        spread = self.spread + other.spread + apart * apart * self.count * share
        return Moments(count, self.mean + apart * share, spread)

    @property
    def deviation(self) -> float:
        """The standard deviation, or 0 if the variance may be nothing but rounding."""
        return standard_deviation(self.mean, self.spread / self.count, self.count)


def fit_file(
    file: ParquetFile, columns: Sequence[str], target: str, *, task: str, size: int
) -> tuple[Encoding, tuple[str, ...]]:
    """Learn the encoding of a file, reading it once.

    Except for rounding, it is that of `fit_columns` and `fit_target`, with two restrictions. A
    column of strings may not hold numbers. In a file of more than 4 million numbers the medians are
    those of some of the rows, at equal distances.

    The notes are about columns that were left out or are constant, and about gaps that are filled.
    ``size`` rows are read at a time.
    """
    names = [name for name in columns if file.types[name].is_numeric()]
    step = -(-file.n_rows * len(names) // _SAMPLE)
    numbers = {name: _NumericLearner(step) for name in names}
    strings = {name: _StringLearner() for name in columns if name not in numbers}
    labels = _TargetLearner(target, task)
    for start in range(0, file.n_rows, size):
        frame = file.read([*columns, target], start, size)
        with file.prefix_errors(start):
            for name, number in numbers.items():
                number.update(read_numbers(frame[name]), start)
            for name, string in strings.items():
                string.update(read_strings(frame[name], remedy=_REMEDY))
            labels.update(read_typed(frame[target]))
    with file.prefix_errors():
        features = Columns(
            tuple(x.fit(name, file.n_rows) for name, x in numbers.items() if x.moments.count),
            tuple(
                x.fit(name, file.types[name]) for name, x in strings.items() if x.distinct - {None}
            ),
        )
        encoding = Encoding(features, labels.fit(file.types[target]))
    fitted = {column: numbers[column.name].moments for column in features.numbers}
    constant = [column.name for column, moments in fitted.items() if not moments.deviation]
    gaps = ((column, file.n_rows - moments.count) for column, moments in fitted.items())
    return encoding, (*note_columns(columns, features, constant), *note_gaps(gaps))


class _NumericLearner:
    """Learns the encoding of a column of numbers; every ``step``-th row is kept for the median."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.moments, self.sample = Moments(), [np.empty(0)]

    def update(self, values: np.ndarray, start: int) -> None:
        """Learn from the rows from ``start`` on."""
        self.moments += Moments.of(values)
        sample = values[-start % self.step :: self.step]
        self.sample.append(sample[~np.isnan(sample)])

    def fit(self, name: str, n_rows: int) -> NumericColumn:
        sample = np.concatenate(self.sample)
        median = float(np.median(sample)) if len(sample) else self.moments.mean
        filled = self.moments + Moments(n_rows - self.moments.count, median)
        return NumericColumn(name, median, filled.mean, filled.deviation or 1.0)


class _StringLearner:
    """Learns the encoding of a column of strings from its distinct values."""

    def __init__(self) -> None:
        self.distinct: set[str | None] = set()

    def update(self, strings: pl.Series) -> None:
        self.distinct.update(strings.unique())
        if len(self.distinct) > MOST_CATEGORIES:
            raise DataError(
                f"column {strings.name!r} has more than {MOST_CATEGORIES:,} different strings: "
                f"expected at most that many categories; {_REMEDY}, or group the values"
            )

    def fit(self, name: str, dtype: pl.DataType) -> CategoricalColumn:
        values = sorted(value for value in self.distinct if value is not None)
        if not isinstance(_read_distinct(name, dtype, values), Strings):
            raise _numbers_as_strings(name)
        return fit_categories(name, values, has_gaps=None in self.distinct)


class _TargetLearner:
    """Learns the target; its distinct values are counted until there are too many."""

    def __init__(self, name: str, task: str) -> None:
        self.name, self.task = name, task
        self.moments = Moments()
        self.distinct: set[Any] | None = set()

    def update(self, column: Column) -> None:
        require_present(column, self.name)
        if not isinstance(column, Strings):
            self.moments += Moments.of(column)
        if self.distinct is None:
            return
        self.distinct.update(find_distinct(column)[0])
        if len(self.distinct) > _MOST_CLASSES:
            if self.task == "classification" or isinstance(column, Strings):
                raise DataError(
                    f"the target {self.name!r} has more than {_MOST_CLASSES:,} different labels: "
                    "expected at most that many classes"
                )
            self.distinct = None

    def fit(self, dtype: pl.DataType) -> Target:
        if self.distinct is not None:
            values = sorted(self.distinct)
            column = _read_distinct(self.name, dtype, values, partial(read_target, task=self.task))
            chosen = choose_task(column, self.task, self.name)
            if chosen == "classification":
                return fit_target(column, chosen, self.name)
            if not self.moments.count:
                raise _numbers_as_strings(self.name)
        return ContinuousTarget(self.moments.mean, self.moments.deviation, self.name)


def _read_distinct(
    name: str,
    dtype: pl.DataType,
    values: list[Any],
    read: Callable[[pl.Series], Column] = read_column,
) -> Column:
    """Read a column of distinct values; only strings of the type String may be numbers."""
    if dtype.is_numeric():
        return np.array(values)
    strings = polars().Series(name, values, polars().String)
    if dtype != polars().String:
        return encode_strings(strings)
    with prefix_errors("among its different strings"):
        return read(strings)


def _numbers_as_strings(name: str) -> DataError:
    return DataError(
        f"column {name!r} holds numbers written as strings: expected a type of numbers in a "
        f"Parquet file; cast the column and write the file again, or {_REMEDY}"
    )

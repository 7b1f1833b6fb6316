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
    distinct,
    encode_strings,
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
from anyback_nn.datasets.tables import Scan, read_target
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

__all__ = ["Moments", "fit_scan"]

_SAMPLE = 2**22
"""How many numbers are kept, of all columns together, to find the medians of."""

_MOST_CLASSES = 2**16


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


def fit_scan(
    scan: Scan, columns: Sequence[str], target: str, *, task: str, size: int
) -> tuple[Encoding, tuple[str, ...]]:
    """Learn the encoding of a file, reading it once.

    Except for rounding, it is that of `fit_columns` and `fit_target`, with two restrictions. A
    column of strings may not hold numbers. In a file of more than 4 million numbers the medians are
    those of some of the rows, at equal distances.

    Parameters
    ----------
    scan : Scan
    columns : sequence of str
        The features.
    target : str
    task : {"auto", "classification", "regression"}
    size : int
        How many rows are read at a time.

    Returns
    -------
    encoding : Encoding
    notes : tuple of str
        The columns that were left out, those that are constant, and the gaps that are filled.

    Raises
    ------
    DataError
        If a column can be no feature, or if the target cannot be learned.
    """
    numeric = [name for name in columns if scan.types[name].is_numeric()]
    step = -(-scan.n_rows * len(numeric) // _SAMPLE)
    with prefix_errors(scan.path):
        numbers = [_NumericLearner(name, step) for name in numeric]
        strings = [
            _StringLearner(name, scan.types[name]) for name in columns if name not in numeric
        ]
        targets = _TargetLearner(target, scan.types[target], task)
    learners: list[_NumericLearner | _StringLearner | _TargetLearner] = [
        *numbers,
        *strings,
        targets,
    ]
    for start in range(0, scan.n_rows, size):
        frame = scan.read([*columns, target], start, size)
        with scan.prefix_errors(start):
            for learner in learners:
                learner.update(frame[learner.name], start)
    with prefix_errors(scan.path):
        features = Columns(
            tuple(learner.fit(scan.n_rows) for learner in numbers if learner.moments.count),
            tuple(learner.fit() for learner in strings if learner.values),
        )
        encoding = Encoding(features, targets.fit())
    counts = {learner.name: learner.moments.count for learner in numbers}
    constant = {
        learner.name
        for learner in numbers
        if learner.moments.count and not learner.moments.deviation
    }
    constant |= {column.name for column in features.categories if len(column.values) == 1}
    notes = (
        *note_columns(
            (name for name in columns if name not in features.names),
            (name for name in columns if name in constant),
        ),
        *note_gaps((column, scan.n_rows - counts[column.name]) for column in features.numbers),
    )
    return encoding, notes


class _NumericLearner:
    """Learns the encoding of a column of numbers; every ``step``-th row is kept for the median."""

    def __init__(self, name: str, step: int) -> None:
        self.name, self.step = name, step
        self.moments, self.sample = Moments(), [np.empty(0)]

    def update(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from ``start`` on."""
        values = read_numbers(series)
        self.moments += Moments.of(values)
        sample = values[-start % self.step :: self.step]
        self.sample.append(sample[~np.isnan(sample)])

    def fit(self, n_rows: int) -> NumericColumn:
        """Return what was learned."""
        sample = np.concatenate(self.sample)
        median = float(np.median(sample)) if len(sample) else self.moments.mean
        filled = self.moments + Moments(n_rows - self.moments.count, median)
        return NumericColumn(self.name, median, filled.mean, filled.deviation or 1.0)


class _StringLearner:
    """Learns the encoding of a column of strings."""

    def __init__(self, name: str, kind: Any) -> None:
        pl = polars()
        if kind not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
            raise DataError(
                f"column {name!r} holds {kind} values: expected numbers, strings or booleans; "
                "choose the features with columns="
            )
        self.name, self.kind = name, kind
        self.distinct: set[str | None] = set()

    @property
    def values(self) -> list[str]:
        """The distinct strings, sorted."""
        return sorted(value for value in self.distinct if value is not None)

    def update(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from ``start`` on."""
        self.distinct.update(read_strings(series).unique())
        if len(self.distinct) > MOST_CATEGORIES:
            raise DataError(
                f"column {self.name!r} has more than {MOST_CATEGORIES:,} different strings: "
                "expected at most that many categories; choose the features with columns=, or "
                "group the values"
            )

    def fit(self) -> CategoricalColumn:
        """Return what was learned."""
        column = _read_distinct(self.name, self.kind, self.values, read_column)
        if not isinstance(column, Strings):
            raise _numbers_as_strings(self.name)
        return fit_categories(self.name, self.values, has_gaps=None in self.distinct)


class _TargetLearner:
    """Learns the target; its distinct values are counted until there are too many."""

    def __init__(self, name: str, kind: Any, task: str) -> None:
        self.name, self.kind, self.task = name, kind, task
        self.moments = Moments()
        self.distinct: set[Any] | None = set()

    def update(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from ``start`` on."""
        column = read_typed(series)
        require_present(column, self.name)
        if not isinstance(column, Strings):
            self.moments += Moments.of(column)
        if self.distinct is None:
            return
        self.distinct.update(distinct(column)[0])
        if len(self.distinct) > _MOST_CLASSES:
            if self.task == "classification" or isinstance(column, Strings):
                raise DataError(
                    f"the target {self.name!r} has more than {_MOST_CLASSES:,} different labels: "
                    "expected at most that many classes"
                )
            self.distinct = None

    def fit(self) -> Target:
        """Return what was learned."""
        if self.distinct is not None:
            values = sorted(self.distinct)
            if self.kind.is_numeric():
                column: Column = np.array(values)
            else:
                read = partial(read_target, task=self.task)
                column = _read_distinct(self.name, self.kind, values, read)
            chosen = choose_task(column, self.task, self.name)
            if chosen == "classification":
                return fit_target(column, chosen, self.name)
            if not self.moments.count:
                raise _numbers_as_strings(self.name)
        return ContinuousTarget(self.moments.mean, self.moments.deviation, self.name)


def _read_distinct(
    name: str, kind: Any, values: list[str], read: Callable[[pl.Series], Column]
) -> Column:
    """Read a column of distinct strings; only those of the type String may be numbers."""
    pl = polars()
    series = pl.Series(name, values, pl.String)
    if kind != pl.String:
        return encode_strings(series)
    with prefix_errors("among its different strings"):
        return read(series)


def _numbers_as_strings(name: str) -> DataError:
    return DataError(
        f"column {name!r} holds numbers written as strings: expected a type of numbers in a "
        "Parquet file; cast the column and write the file again, or leave it out with columns="
    )

"""Learn the encoding of a large file, part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.answers import AnswerFinder
from anyback_nn.datasets.columns import (
    MISSING_MARKERS,
    find_gaps,
    find_markers,
    read_labels,
    read_strings,
)
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import (
    CategoricalColumn,
    Columns,
    DateColumn,
    NumericColumn,
    drop_columns,
    fit_categories,
    note_gaps,
    note_sentinels,
    split_dates,
    standard_deviation,
)
from anyback_nn.datasets.kinds import (
    Kind,
    decide_kind,
    declare_kind,
    exclude_identifiers,
    identifies_rows,
    note_columns,
    read_array,
    refuse_numeric_dates,
    target_options,
)
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.parquet_file import ParquetFile
from anyback_nn.datasets.targets import (
    ClassLabels,
    ContinuousTarget,
    Target,
    choose_task,
    note_unlabelled,
    refuse_dates,
    refuse_unlabelled,
    require_classes,
)
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars
from anyback_nn.utils.messages import prefix_errors

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Moments", "fit_file"]

_SAMPLE = 2**22
"""How many numbers are kept, of all columns together, to find the medians of."""

_MOST_STRINGS = 2**16
"""How many distinct strings of a column are counted."""

_MOST_CLASSES = 2**16

_MOST_KEPT = 2**20
"""How many integers of a column are kept that has the name of an identifier, to see them repeat."""

_REMEDY = "leave it out with columns="


@dataclass(frozen=True)
class Moments:
    """The count of some numbers, their mean, and the sum of their squared distances from it.

    The sum of the moments of two parts is that of both together, by the formula of the reference
    in `standard_deviation`. Parts in the same order give the same bits.

    Parameters
    ----------
    count : int
    mean : float
    spread : float
    low, high : float
        The least and the greatest number.

    Examples
    --------
    >>> Moments.of(np.array([1.0, 3.0])) + Moments.of(np.array([np.nan, 8.0]))
    Moments(count=3, mean=4.0, spread=26.0, low=1.0, high=8.0)
    """

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    @classmethod
    def of(cls, column: np.ndarray) -> Moments:
        """Measure a column of numbers, shape (n_rows,), of which NaN is left out."""
        values = column[~np.isnan(column)]
        if not len(values):
            return cls()
        low, high = float(values.min()), float(values.max())
        mean = float(values.mean())
        values -= mean
        left = float(values.sum())  # of the mean, by rounding
        spread = float(values @ values) - left * left / len(values)
        return cls(len(values), mean + left / len(values), spread, low, high)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return self
        apart, share = other.mean - self.mean, other.count / count
        spread = self.spread + other.spread + apart * apart * self.count * share
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Moments(count, self.mean + apart * share, spread, low, high)

    @property
    def deviation(self) -> float:
        """The standard deviation, or 0 if the variance may be nothing but rounding."""
        span = self.high - self.low
        return standard_deviation(self.mean, self.spread / self.count, self.count, span)


def fit_file(
    file: ParquetFile,
    columns: Sequence[str],
    target: str,
    *,
    task: str,
    size: int,
    options: TableOptions = NO_OPTIONS,
) -> tuple[Encoding, tuple[str, ...], int]:
    """Learn the encoding of a file, reading it once, and its columns of strings twice.

    Except for rounding, it is that of `fit_columns` and `fit_target`. In a file of more than 4
    million numbers the medians are those of some of the rows, at equal distances.

    Returned with it are notes about what columns are, those that were left out and gaps that are
    filled, and the number of rows that have a target. ``size`` rows are read at a time.
    """
    parts = _Parts(file, target, size, options)
    kinds, kind, counts = _decide_kinds(parts, columns, task)
    labels = _TargetLearner(target, kind, task, parts.keep)
    learners = _create_learners(file, kinds, options)
    answers, n_rows = AnswerFinder(columns, target, file.n_rows), 0
    for start, frame, present in parts.read([*columns, target]):
        with file.prefix_errors(start):
            for name, learner in learners.items():
                learner.update(read_array(frame[name], kinds[name]), present, start)
            labels.update(frame[target].filter(present), options)
        answers.update(frame)
        n_rows += int(present.sum())
    with file.prefix_errors():
        if not n_rows:
            raise refuse_unlabelled(target)
        texts = {name: counts[name] for name in columns if name not in learners}
        learned = counts | learners
        identifiers = [
            name
            for name in columns
            if identifies_rows(
                name,
                file.n_rows,
                options,
                is_unique=learned[name].is_unique,
                counts_rows=learned[name].counts_rows,
            )
        ]
        identifiers = exclude_identifiers(columns, identifiers, texts)
        fitted = {
            name: learner.fit(name, n_rows)
            for name, learner in learners.items()
            if name not in identifiers and learner.moments.count
        }
        features = Columns(
            tuple(column for column in fitted.values() if isinstance(column, NumericColumn)),
            tuple(
                strings.fit(name, n_rows)
                for name, strings in texts.items()
                if strings.counts and name not in identifiers
            ),
            tuple(column for column in fitted.values() if isinstance(column, DateColumn)),
        )
        constant = [name for name in fitted if not learners[name].moments.deviation]
        gaps = {name: n_rows - learner.moments.count for name, learner in learners.items()}
        features, notes = drop_columns(
            [name for name in columns if name not in identifiers],
            features,
            constant,
            [name for name in constant if gaps[name]],
        )
        markers = () if labels.is_continuous else parts.markers
        n_labelled = n_rows - (labels.n_missing if labels.is_continuous else 0)
        unlabelled = note_unlabelled(file.n_rows - n_labelled, target, markers=markers)
        encoding = Encoding(features.with_kinds(kinds), labels.fit(unlabelled), options)
    numeric = {n: x for n, x in learners.items() if isinstance(x, _NumericLearner) and n in fitted}
    answers.columns = features.names
    all_notes = (
        *unlabelled,
        *note_columns(encoding.target, features.names, kinds, identifiers, task, options),
        *notes,
        *note_sentinels({name: np.concatenate(x.sample) for name, x in numeric.items()}),
        *note_gaps(features, gaps),
        *answers.notes,
    )
    return encoding, all_notes, n_labelled


class _Parts:
    """The parts of a file, with a mask of the rows that have a target."""

    def __init__(self, file: ParquetFile, target: str, size: int, options: TableOptions) -> None:
        self.file, self.target, self.size, self.options = file, target, size, options
        self.markers = set[str]()
        self.keep = _find_kept(file, target, size, options)

    def read(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame, np.ndarray]]:
        """Yield the first row of each part, the part, and which of its rows have a target."""
        for start in range(0, self.file.n_rows, self.size):
            frame = self.file.read(columns, start, self.size)
            with self.file.prefix_errors(start):
                series, missing = frame[self.target], self.options.na_values
                present = ~find_gaps(series, missing, keep=self.keep)
                if self.target not in self.options.categorical and not present.all():
                    self.markers |= find_markers(series, missing)
                yield start, frame, present


def _find_kept(file: ParquetFile, target: str, size: int, options: TableOptions) -> Collection[str]:
    """Return the markers that are labels in a target: all if it is named, else - beside +."""
    if target in options.categorical:
        return MISSING_MARKERS
    if file.types[target] in (polars().String, polars().Categorical, polars().Enum):
        for start in range(0, file.n_rows, size):
            if (read_strings(file.read([target], start, size)[target]) == "+").any():
                return ("-",)
    return ()


class _StringCounter:
    """Counts the strings of a column until there are too many.

    Attributes
    ----------
    counts, unlabelled : Counter
        Of rows that have a target, and of those that have none.
    """

    def __init__(self) -> None:
        self.counts, self.unlabelled = Counter[str](), Counter[str]()
        self.n_rows, self.is_unique, self.is_full = 0, True, False

    def update(self, strings: pl.Series, present: np.ndarray) -> None:
        """Count the strings of a part, of whose rows some have a target."""
        self.n_rows += len(strings)
        if self.is_full:
            if self.is_unique:
                known = polars().Series([*self.all]).implode()
                self.is_unique = not strings.is_in(known).any()
            return
        for counter, rows in ((self.counts, present), (self.unlabelled, ~present)):
            values = strings.filter(rows).drop_nulls().rename("value").value_counts(name="count")
            counter.update(dict(values.iter_rows()))
        self.is_unique = self.is_unique and len(self.all) == self.n_rows
        self.is_full = len(self.counts) > _MOST_STRINGS

    def decide_on_minus(self) -> None:
        """Count - as missing, unless there is + too."""
        if "+" not in self.all:
            del self.counts["-"], self.unlabelled["-"]

    @property
    def all(self) -> Counter[str]:
        return self.counts + self.unlabelled

    @property
    def counts_rows(self) -> bool:
        return self.is_unique

    @property
    def frame(self) -> pl.DataFrame:
        pl, counts = polars(), self.all
        values = pl.Series([*counts], dtype=pl.String)
        return pl.DataFrame({"value": values, "count": [*counts.values()]})

    def fit(self, name: str, n_rows: int) -> CategoricalColumn:
        if self.is_full:
            raise DataError(
                f"column {name!r} has more than {_MOST_STRINGS:,} different strings: expected "
                f"categories; {_REMEDY}, or group the values"
            )
        return fit_categories(name, self.counts, n_rows - self.counts.total())


def _count_strings(parts: _Parts, names: Sequence[str]) -> dict[str, _StringCounter]:
    """Count the strings of some columns."""
    counts, options = {name: _StringCounter() for name in names}, parts.options
    if names:
        for start, frame, present in parts.read([*{*names, parts.target}]):
            with parts.file.prefix_errors(start):
                for name, counter in counts.items():
                    # Whether - is a value will be known when all rows have been read.
                    keep = MISSING_MARKERS if name in options.categorical else "-"
                    strings = read_strings(
                        frame[name], options.na_values, remedy=_REMEDY, keep=keep
                    )
                    counter.update(strings, present)
        for name, counter in counts.items():
            if name not in options.categorical:
                counter.decide_on_minus()
    return counts


def _decide_kinds(
    parts: _Parts, columns: Sequence[str], task: str
) -> tuple[dict[str, Kind], Kind, dict[str, _StringCounter]]:
    """Decide what the columns and the target are, by their types, or else by all of their strings.

    Returned with it are the strings of the columns that are no numbers and no dates by their type.
    """
    types, target, options = parts.file.types, parts.target, parts.options
    asked = target_options(target, task, options)
    kinds = {name: declare_kind(name, types[name], options) for name in columns}
    target_kind = declare_kind(target, types[target], asked)
    if task == "classification":
        target_kind = Kind("categories")
    names = [name for name, kind in kinds.items() if not kind or kind.values == "categories"]
    counts = _count_strings(parts, names if target_kind else [*names, target])

    def decide(name: str, options: TableOptions, *, is_target: bool = False) -> Kind:
        with prefix_errors("among its different strings"):
            return decide_kind(name, counts[name].frame, options, is_target=is_target)

    with parts.file.prefix_errors():
        decided: dict[str, Kind] = {}
        for name, kind in kinds.items():
            decided[name] = kind or decide(name, options)
            refuse_numeric_dates(name, decided[name], options)
        target_kind = target_kind or decide(target, asked, is_target=True)
        if target_kind.values == "dates":
            raise refuse_dates(target)
    return decided, target_kind, counts


class _NumericLearner:
    """Learns the encoding of a column of numbers; every ``step``-th row is kept for the median.

    It also finds out whether integers count the rows, and if they have the name of an identifier,
    whether the first million are all different.
    """

    def __init__(self, step: int, *, is_integer: bool = False, is_named: bool = False) -> None:
        self.step = step
        self.moments, self.sample = Moments(), [np.empty(0)]
        self.first, self.counts_rows = 0.0, is_integer
        self.kept, self.room = [np.empty(0)], _MOST_KEPT if is_integer and is_named else 0

    @property
    def is_unique(self) -> bool:
        kept = np.concatenate(self.kept)
        return self.counts_rows or 0 < len(kept) == len(np.unique(kept))

    def update(self, values: np.ndarray, present: np.ndarray, start: int) -> None:
        """Learn from the rows from ``start`` on, of which some have a target."""
        if self.counts_rows:
            self.first = self.first if start else values[0]
            counted = self.first + start + np.arange(len(values))
            self.counts_rows = self.first in (0, 1) and bool((values == counted).all())
        self.kept.append(values[: self.room])
        self.room -= len(self.kept[-1])
        values = np.where(present, values, np.nan)
        self.moments += Moments.of(values)
        sample = values[-start % self.step :: self.step]
        self.sample.append(sample[~np.isnan(sample)])

    def fit(self, name: str, n_rows: int) -> NumericColumn:
        sample = np.concatenate(self.sample)
        median = float(np.median(sample)) if len(sample) else self.moments.mean
        filled = self.moments + Moments(n_rows - self.moments.count, median)
        return NumericColumn(name, median, filled.mean, filled.deviation or 1.0)


class _DateLearner:
    """Learns the encoding of a column of dates from that of their parts."""

    is_unique = counts_rows = False

    def __init__(self, step: int) -> None:
        self.step = step
        self.parts: dict[str, _NumericLearner] = {}

    def update(self, dates: np.ndarray, present: np.ndarray, start: int) -> None:
        """Learn from the rows from ``start`` on, of which some have a target."""
        for name, values in split_dates(dates).items():
            learner = self.parts.setdefault(name, _NumericLearner(self.step))
            learner.update(values, present, start)

    @property
    def moments(self) -> Moments:
        return self.parts["elapsed"].moments

    def fit(self, name: str, n_rows: int) -> DateColumn:
        varying = [part for part, learner in self.parts.items() if learner.moments.deviation]
        return DateColumn(
            name, tuple(self.parts[part].fit(part, n_rows) for part in varying or ("elapsed",))
        )


def _create_learners(
    file: ParquetFile, kinds: Mapping[str, Kind], options: TableOptions
) -> dict[str, _NumericLearner | _DateLearner]:
    """Create those of the columns of numbers and of dates."""
    numeric = {name: kind for name, kind in kinds.items() if kind.values != "categories"}
    step = max(-(-file.n_rows * len(numeric) // _SAMPLE), 1)
    learners: dict[str, _NumericLearner | _DateLearner] = {}
    for name, kind in numeric.items():
        if kind.values == "dates":
            learners[name] = _DateLearner(step)
        else:
            named = identifies_rows(name, file.n_rows, options, is_unique=True, counts_rows=False)
            is_integer = file.types[name].is_integer()
            learners[name] = _NumericLearner(step, is_integer=is_integer, is_named=named)
    return learners


class _TargetLearner:
    """Learns the target; its distinct labels are counted while it may be one of classes."""

    def __init__(self, name: str, kind: Kind, task: str, keep: Collection[str]) -> None:
        self.name, self.kind, self.task, self.keep = name, kind, task, keep
        self.moments = Moments()
        self.numbers: set[float] = set()
        self.labels: set[str] = set()
        self.is_continuous = task == "regression"
        self.n_missing = 0

    def update(self, series: pl.Series, options: TableOptions) -> None:
        """Learn from the targets of a part, none of which is missing."""
        if self.kind.values == "numbers":
            column = read_array(series, replace(self.kind, missing=options.na_values))
            column = column[~np.isnan(column)]
            self.n_missing += len(series) - len(column)
            self.moments += Moments.of(column)
            if not self.is_continuous:
                self.numbers.update(np.unique(column).tolist())
                distinct = np.array([*self.numbers])
                self.is_continuous = choose_task(distinct, "auto", self.name) == "regression"
        elif self.is_continuous:
            raise DataError(
                f"the target {self.name!r} holds strings: expected numbers; for labels use --task "
                "classification (task=)"
            )
        if not self.is_continuous:
            labels = read_labels(series, options.na_values, keep=self.keep)
            self.labels.update(labels.values)
            if len(self.labels) > _MOST_CLASSES:
                raise DataError(
                    f"the target {self.name!r} has more than {_MOST_CLASSES:,} different labels: "
                    "expected at most that many classes"
                )

    def fit(self, notes: Sequence[str]) -> Target:
        if self.is_continuous:
            target = ContinuousTarget(self.moments.mean, self.moments.deviation, self.name)
            return replace(target, written=self.kind.written)  # type: ignore[arg-type]
        strings = polars().Series(self.name, sorted(self.labels), polars().String)
        labels = read_labels(strings, keep=self.labels)
        require_classes(labels.values, notes)
        return ClassLabels.fit(labels, self.name)

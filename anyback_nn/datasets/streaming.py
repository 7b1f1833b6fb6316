"""Learn how the columns of a large file become numbers, from one part of it after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.columns import is_numbers
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import (
    MOST_CATEGORIES,
    Category,
    Columns,
    Number,
    fit_categories,
    note_on_gaps,
    notes_on,
)
from anyback_nn.datasets.moments import Moments
from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.scan import Scan
from anyback_nn.datasets.series import (
    answers_in,
    as_objects,
    column_in,
    numbers_in,
    target_column,
    texts_in,
)
from anyback_nn.datasets.targets import Quantity, Target, choose_task, fit_target, require_present
from anyback_nn.datasets.wording import naming
from anyback_nn.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["fit_scan"]

_SAMPLE = 2**22
"""How many numbers are kept, of all columns together, to find the medians of."""

_MOST_CLASSES = 2**16


def fit_scan(
    scan: Scan, columns: Sequence[str], target: str, *, task: str, size: int
) -> tuple[Encoding, tuple[str, ...]]:
    """Learn the encoding of a file, going through it once.

    It is that of `fit_columns` and `fit_target` but for rounding, with two restrictions: a column
    of texts has no numbers in it, and in a file of more than 4 million numbers the medians are
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
    numeric = [name for name in columns if scan.kinds[name].is_numeric()]
    step = -(-scan.n_rows * len(numeric) // _SAMPLE)
    with naming(scan.path):
        numbers = [_Numbers(name, step) for name in numeric]
        texts = [_Texts(name, scan.kinds[name]) for name in columns if name not in numeric]
        answers = _Answers(target, scan.kinds[target], task)
    learners: list[_Numbers | _Texts | _Answers] = [*numbers, *texts, answers]
    for start in range(0, scan.n_rows, size):
        frame = scan.read([*columns, target], start, size)
        with scan.located(start):
            for one in learners:
                one.see(frame[one.name], start)
    with naming(scan.path):
        features = Columns(
            tuple(one.number(scan.n_rows) for one in numbers if one.moments.count),
            tuple(one.category() for one in texts if one.values),
        )
        encoding = Encoding(features, answers.target())
    constant = {one.name for one in numbers if one.moments.count and not one.moments.deviation}
    constant |= {one.name for one in features.categories if len(one.values) == 1}
    counts = {one.name: one.moments.count for one in numbers}
    notes = (
        *notes_on(
            (name for name in columns if name not in features.names),
            (name for name in columns if name in constant),
        ),
        *note_on_gaps((one, scan.n_rows - counts[one.name]) for one in features.numbers),
    )
    return encoding, notes


class _Numbers:
    """What is learned of a feature of numbers; one row of ``step`` is kept for the median."""

    def __init__(self, name: str, step: int) -> None:
        self.name, self.step = name, step
        self.moments, self.sample = Moments(), [np.empty(0)]

    def see(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from this one on."""
        values = numbers_in(series)
        self.moments += Moments.of(values)
        some = values[-start % self.step :: self.step]
        self.sample.append(some[~np.isnan(some)])

    def number(self, n_rows: int) -> Number:
        """Give what was learned."""
        sample = np.concatenate(self.sample)
        median = float(np.median(sample)) if len(sample) else self.moments.mean
        filled = self.moments + Moments(n_rows - self.moments.count, median)
        return Number(self.name, median, filled.mean, filled.deviation or 1.0)


class _Texts:
    """What is learned of a feature of texts."""

    def __init__(self, name: str, kind: Any) -> None:
        pl = tabular("polars")
        if kind not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
            raise DataError(
                f"column {name!r} holds {kind} values: expected numbers, texts or booleans; choose "
                "the features with columns="
            )
        self.name, self.kind = name, kind
        self.found: set[str | None] = set()

    @property
    def values(self) -> list[str]:
        """The different texts, sorted."""
        return sorted(text for text in self.found if text is not None)

    def see(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from this one on."""
        self.found.update(texts_in(series).unique())
        if len(self.found) > MOST_CATEGORIES:
            raise DataError(
                f"column {self.name!r} has more than {MOST_CATEGORIES:,} different texts: expected "
                "so many categories at the most; choose the features with columns=, or group the "
                "values"
            )

    def category(self) -> Category:
        """Give what was learned."""
        column = _column_of_texts(self.name, self.kind, self.values, column_in)
        if is_numbers(column):
            raise _numbers_as_texts(self.name)
        gaps = [None] if None in self.found else []
        (category,) = fit_categories({self.name: np.array([*self.values, *gaps], dtype=object)})
        return category


class _Answers:
    """What is learned of the target; its different values are counted until there are too many."""

    def __init__(self, name: str, kind: Any, task: str) -> None:
        self.name, self.kind, self.task = name, kind, task
        self.moments = Moments()
        self.found: set[Any] | None = set()

    def see(self, series: pl.Series, start: int) -> None:
        """Learn from the rows from this one on."""
        column = answers_in(series)
        require_present(column, self.name)
        if is_numbers(column):
            self.moments += Moments.of(column)
        if self.found is None:
            return
        self.found.update(np.unique(column).tolist())
        if len(self.found) > _MOST_CLASSES:
            if self.task == "classification" or not is_numbers(column):
                raise DataError(
                    f"the target {self.name!r} has more than {_MOST_CLASSES:,} different labels: "
                    "expected so many classes at the most"
                )
            self.found = None

    def target(self) -> Target:
        """Give what was learned."""
        if self.found is not None:
            values = sorted(self.found)
            column = np.array(values)
            if not self.kind.is_numeric():
                column = _column_of_texts(
                    self.name, self.kind, values, partial(target_column, task=self.task)
                )
            chosen = choose_task(column, self.task, self.name)
            if chosen == "classification":
                return fit_target(column, chosen, self.name)
            if not self.moments.count:
                raise _numbers_as_texts(self.name)
        return Quantity(self.moments.mean, self.moments.deviation, self.name)


def _column_of_texts(
    name: str, kind: Any, values: list[str], read: Callable[[pl.Series], np.ndarray]
) -> np.ndarray:
    """Make a column of different texts; only what was text in the file may be numbers."""
    pl = tabular("polars")
    series = pl.Series(name, values, pl.String)
    if kind != pl.String:
        return as_objects(series)
    with naming("among its different texts"):
        return read(series)


def _numbers_as_texts(name: str) -> DataError:
    return DataError(
        f"column {name!r} holds numbers written as texts: expected a type of numbers in a Parquet "
        "file; cast the column and write the file again, or leave it out with columns="
    )

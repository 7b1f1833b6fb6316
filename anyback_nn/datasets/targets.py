"""What a network is to predict: a class, or a continuous target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from anyback_nn.datasets.columns import (
    Column,
    Strings,
    as_strings,
    find_distinct,
    find_missing,
    label,
)
from anyback_nn.datasets.formats import ClockFormat, NumberFormat
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import plural, quoted_list

__all__ = [
    "TASKS",
    "ClassLabels",
    "ContinuousTarget",
    "Target",
    "Task",
    "choose_task",
    "fit_target",
    "refuse_dates",
    "require_present",
    "require_task",
]

Task = Literal["classification", "regression"]
TASKS = ("auto", "classification", "regression")

_MOST_CLASSES_OF_INTEGERS = 20
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")


@dataclass(frozen=True)
class ClassLabels:
    """A target that is one of several classes.

    Labels are strings and remain as they are written: 1, 01 and 1.0 are three classes.

    Parameters
    ----------
    labels : tuple of str
        The classes' names; a class's index is its place.
    name : str, optional
        The target column of a table.

    Examples
    --------
    >>> classes = ClassLabels(("cat", "dog"))
    >>> classes.encode(np.array(["dog", "cat"], dtype=object))
    array([1, 0])
    >>> classes.decode([1, 0])
    array(['dog', 'cat'], dtype='<U3')
    """

    labels: tuple[str, ...]
    name: str | None = None

    task: ClassVar[Task] = "classification"

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise DataError(
                f"the target has one class only, {quoted_list(self.labels) or '(none)'}: expected "
                "at least two; give rows of other classes, or another target"
            )
        if repeated := [text for text, count in Counter(self.labels).items() if count > 1]:
            raise DataError(f"the classes {quoted_list(repeated)} are repeated: expected each once")

    @classmethod
    def fit(cls, column: Column, name: str | None = None) -> ClassLabels:
        """Learn the distinct labels of a column: numbers by size, strings by alphabet."""
        return cls(tuple(_as_labels(column).counts), name)

    @property
    def n_outputs(self) -> int:
        """The number of classes."""
        return len(self.labels)

    def encode(self, column: Column) -> np.ndarray:
        """Turn labels into class indices.

        Parameters
        ----------
        column : column of n_rows
            Numbers, or strings (`Strings`, or object). Only what other software writes for the same
            value is understood: ``1.0`` for the class ``1``, ``True`` for ``true``, or the reverse.

        Returns
        -------
        ndarray of int64, shape (n_rows,)

        Raises
        ------
        DataError
            If a label is missing or is not one of the classes; names the first such row.
        """
        if isinstance(column, np.ndarray) and column.dtype.kind not in "fiu":
            column = as_strings(column)
        require_present(column, self.name)
        labels = _as_labels(column)
        index = {text: i for i, text in enumerate(self.labels)}
        known = [
            next((index[text] for text in _spellings(value) if text in index), -1)
            for value in labels.values
        ]
        y: np.ndarray = np.array(known, dtype=np.int64)[labels.codes]
        if (y < 0).any():
            row = int((y < 0).argmax())
            raise DataError(
                f"row {row + 1}: the label {labels.values[labels.codes[row]]!r} is not one of the "
                f"classes: expected {quoted_list(self.labels, limit=20)}"
            )
        return y

    def decode(self, values: Any) -> np.ndarray:
        """Turn class indices, of any shape, into labels."""
        labels: np.ndarray = np.asarray(self.labels)[np.asarray(values)]
        return labels


@dataclass(frozen=True)
class ContinuousTarget:
    """A target that is a number, standardised for the network.

    Parameters
    ----------
    mean, scale : float
        Mean and standard deviation in the training part, in the target's own units.
    name : str, optional
        The target column of a table.
    written : NumberFormat or ClockFormat, optional
        How the numbers are written in a column of strings; None for plain numbers.

    Examples
    --------
    >>> price = ContinuousTarget(mean=100.0, scale=20.0)
    >>> price.encode(np.array([140.0]))
    array([2.], dtype=float32)
    >>> price.decode([2.0])
    array([140.])
    """

    mean: float
    scale: float
    name: str | None = None
    written: NumberFormat | ClockFormat | None = None

    task: ClassVar[Task] = "regression"
    labels: ClassVar[None] = None
    n_outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise DataError(
                f"the target's standard deviation is {self.scale} (mean {self.mean}): expected "
                "values that differ, or there is nothing to learn"
            )

    @classmethod
    def fit(cls, column: np.ndarray, name: str | None = None) -> ContinuousTarget:
        """Measure the mean and the standard deviation of a column of numbers."""
        constant = column.min() == column.max()  # rounding can leave a tiny deviation
        return cls(float(column.mean()), 0.0 if constant else float(column.std()), name)

    def encode(self, column: Column) -> np.ndarray:
        """Turn a column of numbers into standardised float32 values, shape (n_rows,).

        Raises
        ------
        DataError
            If a value is missing; names the first such row.
        """
        require_present(column, self.name)
        return ((_require_numbers(column) - self.mean) / self.scale).astype(np.float32)

    def decode(self, values: Any) -> np.ndarray:
        """Turn standardised values, of any shape, into the target's own units (float64)."""
        return np.asarray(values, dtype=np.float64) * self.scale + self.mean


Target = ClassLabels | ContinuousTarget


def choose_task(column: Column, task: str = "auto", name: str | None = None) -> Task:
    """Choose classification or regression by the target's values.

    Parameters
    ----------
    column : column of n_rows
        The target: numbers or strings.
    task : {"auto", "classification", "regression"}
        With ``"auto"``, strings and booleans are classes; numbers that are not all integers are a
        continuous target; integers are classes if there are at most 20 distinct ones, else a
        continuous target.
    name : str, optional
        The target's column, for messages.

    Raises
    ------
    DataError
        If values are missing, or if the task is regression and the target is not a number.

    Examples
    --------
    >>> choose_task(np.array([0.0, 1.0, 1.0])), choose_task(np.array([0.5, 1.0, 1.0]))
    ('classification', 'regression')
    """
    require_present(column, name)
    if task == "regression":
        _require_numbers(column)
        return "regression"
    if task == "classification" or isinstance(column, Strings):
        return "classification"
    integers = bool((column == np.floor(column)).all())
    few = len(np.unique(column)) <= _MOST_CLASSES_OF_INTEGERS
    return "classification" if integers and few else "regression"


def require_task(task: str) -> None:
    """Raise `DataError` unless there is such a task."""
    if task not in TASKS:
        raise DataError(f"the task is {task!r}: expected one of {quoted_list(TASKS)}")


def fit_target(
    column: Column,
    task: Task,
    name: str | None = None,
    written: NumberFormat | ClockFormat | None = None,
) -> Target:
    """Learn the classes, or the mean and the scale, of the training part's target."""
    if task == "classification":
        return ClassLabels.fit(column, name)
    return replace(ContinuousTarget.fit(_require_numbers(column), name), written=written)


def _as_labels(column: Column) -> Strings:
    """Return the labels of a column, none of which is missing."""
    if isinstance(column, Strings):
        return column
    values, codes = find_distinct(column)
    return Strings(tuple(map(label, values)), codes)


def _spellings(text: str) -> Iterator[str]:
    """Yield a label, then how else the same value is written by software.

    >>> list(_spellings("1.0")), list(_spellings("01"))
    (['1.0', '1'], ['01'])
    """
    yield text
    if _INTEGER.fullmatch(text):
        yield f"{text}.0"
    elif text.endswith(".0") and _INTEGER.fullmatch(text[:-2]):
        yield text[:-2]
    elif text.lower() in ("true", "false"):
        yield from (text.lower(), text.title(), text.upper())


def refuse_dates(name: str) -> DataError:
    """Return the error about a target of dates."""
    return DataError(
        f"the target {name!r} holds dates: expected numbers or labels; turn them into numbers, "
        "such as days, or use --task classification (task=)"
    )


def require_present(column: Column, name: str | None) -> None:
    """Raise `DataError` if a target is missing."""
    missing = find_missing(column)
    if missing.any():
        raise DataError(
            f"the target{f' {name!r}' if name else ''} is missing in "
            f"{plural(int(missing.sum()), 'row')}, first in row {int(missing.argmax()) + 1}: "
            "expected a value in every row; fill the values in or remove the rows"
        )


def _require_numbers(column: Column) -> np.ndarray:
    if isinstance(column, Strings):
        raise DataError(
            f"row 1: the target is the string {column.values[column.codes[0]]!r}: expected numbers "
            "for regression; use another target, or the task 'classification'"
        )
    return column

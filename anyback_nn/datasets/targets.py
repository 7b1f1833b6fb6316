"""What a network is to predict: a class, or a continuous target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.datasets.columns import (
    Column,
    Strings,
    as_strings,
    find_distinct,
    find_missing,
    label,
    require_present,
)
from anyback_nn.datasets.formats import ClockFormat, NumberFormat
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import plural, quoted_list

__all__ = [
    "TASKS",
    "ClassLabels",
    "ContinuousTarget",
    "ContinuousTargets",
    "LogTarget",
    "Target",
    "TargetScaling",
    "Task",
    "Written",
    "choose_task",
    "fit_target",
    "fit_targets",
    "list_targets",
    "note_unlabelled",
    "refuse_dates",
    "refuse_unlabelled",
    "require_classes",
    "require_task",
    "target_names",
    "written_forms",
]

Task = Literal["classification", "regression"]
TASKS = ("auto", "classification", "regression")
TargetScaling = Literal["standard", "log", "mean"]
Written = NumberFormat | ClockFormat | None
"""How numbers are written in a column of strings; None for plain numbers."""

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
        require_classes(self.labels or ("(none)",))
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
        _require_target(column, self.name)
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
        Mean and standard deviation in the training part, in the target's own units. For losses of
        counts the mean of the training part is the scale, and 0 is subtracted.
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
        values = cls.transform(column)
        constant = values.min() == values.max()  # rounding can leave a tiny deviation
        return cls(float(values.mean()), 0.0 if constant else float(values.std()), name)

    @classmethod
    def fit_mean(cls, column: np.ndarray, name: str | None = None) -> ContinuousTarget:
        """Measure the mean alone, of a column of numbers from 0, by which they are divided."""
        if (column < 0).any() or not column.any():
            raise DataError(
                f"the least target is {column.min():g}: expected counts, which are 0 or greater, "
                "not all 0; use another loss, such as the mean squared error"
            )
        return cls(0.0, float(column.mean()), name)

    @staticmethod
    def transform(values: Any) -> np.ndarray:
        """Return the values that are standardised: here the target itself."""
        return np.asarray(values, dtype=np.float64)

    def encode(self, column: Column) -> np.ndarray:
        """Turn a column of numbers into standardised float32 values, shape (n_rows,).

        Raises
        ------
        DataError
            If a value is missing; names the first such row.
        """
        _require_target(column, self.name)
        values = self.transform(_require_numbers(column))
        return ((values - self.mean) / self.scale).astype(np.float32)

    def decode(self, values: Any) -> np.ndarray:
        """Turn standardised values, of any shape, into the target's own units (float64)."""
        decoded: np.ndarray = self.restore(np.asarray(values, dtype=np.float64))
        return decoded

    def restore(self, values: Array) -> Array:
        """Turn a float64 array of any library into the target's own units."""
        return values * self.scale + self.mean


@dataclass(frozen=True)
class LogTarget(ContinuousTarget):
    """A target whose logarithm is standardised: ``log1p(y)``, for numbers of many sizes.

    Parameters
    ----------
    mean, scale : float
        Mean and standard deviation of ``log1p(y)`` in the training part.
    name : str, optional
        The target column of a table.

    Examples
    --------
    >>> price = LogTarget.fit(np.array([0.0, 9.0, 99.0]))
    >>> price.decode(price.encode(np.array([9.0, 99.0]))).round(3)
    array([ 9., 99.])
    """

    @staticmethod
    def transform(values: Any) -> np.ndarray:
        """Return the logarithms of ``1 + y``.

        Raises
        ------
        DataError
            If a value is -1 or less.
        """
        values = np.asarray(values, dtype=np.float64)
        if (values <= -1).any():
            raise DataError(
                f"the least target is {values.min():g}, and log1p has no value there: expected "
                "numbers above -1; leave --log-target (log_target=) out"
            )
        logarithms: np.ndarray = np.log1p(values)
        return logarithms

    def restore(self, values: Array) -> Array:
        values = super().restore(values)
        return array_namespace(values).expm1(values)


@dataclass(frozen=True)
class ContinuousTargets:
    """Several continuous targets, which one network predicts, each with an output of its own.

    Parameters
    ----------
    targets : tuple of ContinuousTarget
        In the order of the outputs.

    Examples
    --------
    >>> a, b = ContinuousTarget(2.0, 1.0, "a"), ContinuousTarget(0.0, 2.0, "b")
    >>> sides = ContinuousTargets((a, b))
    >>> sides.encode(np.array([[3.0, 4.0]]))
    array([[1., 2.]], dtype=float32)
    >>> sides.decode([[1.0, 2.0]])
    array([[3., 4.]])
    """

    targets: tuple[ContinuousTarget, ...]

    task: ClassVar[Task] = "regression"
    labels: ClassVar[None] = None
    name: ClassVar[None] = None

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names) or len(names) < 2:
            raise DataError(
                f"the targets are {quoted_list(map(str, names)) or '(none)'}: expected at least "
                "two, each once"
            )

    @property
    def n_outputs(self) -> int:
        """The number of targets."""
        return len(self.targets)

    def encode(self, values: Column) -> np.ndarray:
        """Turn numbers, shape (n_rows, n_targets), into standardised float32 values.

        Raises
        ------
        DataError
            If there is another number of targets, or if a value is missing.
        """
        if not isinstance(values, np.ndarray) or values.shape[1:] != (self.n_outputs,):
            raise DataError(
                f"one target was given: expected {self.n_outputs}, "
                f"{quoted_list(str(target.name) for target in self.targets)}, as in training"
            )
        return np.column_stack([t.encode(column) for t, column in zip(self.targets, values.T)])

    def decode(self, values: Any) -> np.ndarray:
        """Turn standardised values, shape (..., n_targets), into the targets' own units."""
        columns = np.moveaxis(np.asarray(values), -1, 0)
        return np.stack([t.decode(column) for t, column in zip(self.targets, columns)], axis=-1)


Target = ClassLabels | ContinuousTarget | ContinuousTargets


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
    _require_target(column, name)
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


def require_classes(labels: Collection[str], notes: Sequence[str] = ()) -> None:
    """Raise `DataError` if there is one class only; notes say which rows were left out."""
    if len(labels) == 1:
        raise DataError(
            f"the target has one class only, {quoted_list(labels)}: expected at least two; give "
            f"rows of other classes, or another target{''.join(f' ({note})' for note in notes)}"
        )


def list_targets(target: Target) -> tuple[Any, ...]:
    """Return the single targets, one for each column."""
    return target.targets if isinstance(target, ContinuousTargets) else (target,)


def target_names(target: Target) -> tuple[str, ...]:
    """Return the columns of a target; none if it is not from a table."""
    return tuple(part.name for part in list_targets(target) if part.name is not None)


def written_forms(target: Target) -> tuple[Written, ...]:
    """Return how the numbers of each column of a target are written."""
    return tuple(getattr(part, "written", None) for part in list_targets(target))


def fit_target(
    column: Column,
    task: Task,
    name: str | None = None,
    scaling: TargetScaling = "standard",
    written: Written = None,
) -> ClassLabels | ContinuousTarget:
    """Learn the classes, or the mean and the scale, of the training part's target.

    Parameters
    ----------
    column : column of n_rows
    task : {"classification", "regression"}
    name : str, optional
        The target column of a table.
    scaling : {"standard", "log", "mean"}
        For regression: values or their logarithms are standardised, or values are divided by
        their mean.
    written : NumberFormat or ClockFormat, optional
        How numbers are written in a column of strings.
    """
    if task == "regression":
        fit = {
            "standard": ContinuousTarget.fit,
            "log": LogTarget.fit,
            "mean": ContinuousTarget.fit_mean,
        }
        return replace(fit[scaling](_require_numbers(column), name), written=written)
    if scaling != "standard":
        raise DataError(
            "the target is one of several classes, which are not scaled: leave log_target "
            "(--log-target) and center_target out, or use the task 'regression'"
        )
    return ClassLabels.fit(column, name)


def fit_targets(
    columns: Column,
    task: Task,
    names: tuple[str, ...] = (),
    written: tuple[Written, ...] = (),
    scaling: TargetScaling = "standard",
) -> Target:
    """Learn one target, whose column may have no name, or several (n_rows, n_targets)."""
    if len(names) < 2:
        name, form = (*names, None)[0], (*written, None)[0]
        return fit_target(columns, task, name, scaling, form)
    fitted: Any = (
        fit_target(column, task, name, scaling, form)
        for column, name, form in zip(np.asarray(columns).T, names, written, strict=True)
    )
    return ContinuousTargets(tuple(fitted))


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


def refuse_unlabelled(*targets: str) -> DataError:
    """Return the error about targets of which there is none."""
    return DataError(f"the target {quoted_list(targets)} is missing in every row: expected values")


def note_unlabelled(n_rows: int, *targets: str, markers: Collection[str] = ()) -> tuple[str, ...]:
    """Describe how many rows were left out because they have no target, and by which markers."""
    if not n_rows:
        return ()
    note = f"left out {plural(n_rows, 'row')} in which the target {quoted_list(targets)} is missing"
    if markers:
        note += (
            f": {quoted_list(sorted(markers))} {'counts' if len(markers) == 1 else 'count'} as "
            f"missing, which --categorical {targets[0]} (categorical=) keeps as a class"
        )
    return (note,)


def _require_target(column: Column, name: str | None) -> None:
    """Raise `DataError` if a target is missing."""
    require_present(find_missing(column), f"the target{f' {name!r}' if name else ''}")


def _require_numbers(column: Column) -> np.ndarray:
    if isinstance(column, Strings):
        raise DataError(
            f"row 1: the target is the string {column.values[column.codes[0]]!r}: expected numbers "
            "for regression; use another target, or the task 'classification'"
        )
    return column

"""Data ready for a network: for training and testing, or for evaluation and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import Column, Table, find_distinct
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Columns, Features, Scaling
from anyback_nn.datasets.formats import ClockFormat, NumberFormat
from anyback_nn.datasets.split import split_rows
from anyback_nn.datasets.targets import Task, fit_target
from anyback_nn.utils.messages import prefix_errors, quoted_list

__all__ = ["Dataset", "Part", "Rows", "build_dataset", "encode_rows"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Encoded data in a training and a test part.

    Parameters
    ----------
    name : str
        The built-in name, or the file's name without its suffix.
    x_train, x_test : ndarray of float32, shape (n_rows, n_features)
        Encoded features.
    y_train, y_test : ndarray, shape (n_rows,)
        Classification: class indices (int64). Regression: standardised values (float32).
    encoding : Encoding
        How raw rows become ``x``, and outputs become predictions; fitted on the training part.
    notes : tuple of str
        Messages for the user: filled gaps, columns left out, unknown categories.

    Examples
    --------
    >>> from anyback_nn.datasets import load
    >>> moons = load("moons")
    >>> moons.x_train.shape, moons.task, moons.n_features, moons.n_outputs
    ((800, 2), 'classification', 2, 2)
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    encoding: Encoding
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """Either ``"classification"`` or ``"regression"``."""
        return self.encoding.task

    @property
    def n_features(self) -> int:
        """Width of ``x_train`` and ``x_test``."""
        return self.encoding.n_features

    @property
    def n_outputs(self) -> int:
        """The number of classes, or 1 for regression."""
        return self.encoding.n_outputs


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows encoded for a network that was trained before.

    Parameters
    ----------
    x : ndarray of float32, shape (n_rows, n_features)
    y : ndarray, shape (n_rows,), or None
        As in `Dataset`; None if the targets were not read.
    notes : tuple of str
        Messages for the user: filled gaps, unknown categories, columns not used.
    is_test_part : bool
        Whether they are the test part of divided data; if not, they are all rows.
    ids : mapping of str to sequence of str
        The columns that name the rows, see `TableOptions`.
    """

    x: np.ndarray
    y: np.ndarray | None
    notes: tuple[str, ...] = ()
    is_test_part: bool = False
    ids: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """Raw rows: the features as an array or a table, and the target as a column."""

    x: Any  # an array or a Table
    y: Column

    def take(self, rows: np.ndarray) -> Part:
        """Take some of the rows."""
        if isinstance(self.x, np.ndarray):
            return Part(self.x[rows], self.y[rows])
        return Part({name: column[rows] for name, column in self.x.items()}, self.y[rows])

    def split(self, task: Task, *, test_fraction: float, seed: int) -> tuple[Part, Part]:
        """Divide the rows into a training and a test part, for classification class by class."""
        groups = find_distinct(self.y)[1] if task == "classification" else None
        train, test = split_rows(len(self.y), test_fraction=test_fraction, seed=seed, groups=groups)
        return self.take(train), self.take(test)


def build_dataset(
    name: str,
    train: Part,
    test: Part,
    features: Features,
    task: Task,
    *,
    target: str | None = None,
    written: NumberFormat | ClockFormat | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Fit the target's encoding on the training part, and encode both parts.

    The features were fitted before, which the first notes are about; a table has a target column,
    in which numbers may be written in some form.
    """
    encoding = Encoding(features, fit_target(train.y, task, target, written))
    train_table = _name_columns(train.x, features)
    x_train = features.encode(train_table)
    y_train = encoding.target.encode(train.y)
    with prefix_errors("test part"):
        test_table = _name_columns(test.x, features)
        x_test = features.encode(test_table)
        y_test = encoding.target.encode(test.y)
    if isinstance(features, Columns):
        notes = (*notes, *features.notes(train_table, test_table))
    notes = (*notes, *(f"test part: {note}" for note in _untested(encoding, y_test)))
    return Dataset(name, x_train, y_train, x_test, y_test, encoding, notes)


def encode_rows(
    x: np.ndarray | Table, y: Column | None, encoding: Encoding, *, is_test_part: bool = False
) -> Rows:
    """Encode raw features, and the target's column if there is one."""
    features = encoding.features
    table = _name_columns(x, features)
    encoded = features.encode(table)
    notes = features.notes(table) if isinstance(features, Columns) else ()
    targets = None if y is None else encoding.target.encode(y)
    return Rows(encoded, targets, notes, is_test_part)


def _untested(encoding: Encoding, y_test: np.ndarray) -> tuple[str, ...]:
    if encoding.classes is None:
        return ()
    tested = set(y_test.tolist())
    absent = [label for i, label in enumerate(encoding.classes) if i not in tested]
    return (f"no row of the class {quoted_list(absent)}",) if absent else ()


def _name_columns(x: Any, features: Features) -> Any:
    """Return what an encoding takes: an array, or a table."""
    if isinstance(features, Scaling):
        return np.asarray(x)
    return features.name_columns(x) if isinstance(x, np.ndarray) else x

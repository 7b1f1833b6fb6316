"""Data ready for a network: for training and testing, or for evaluation and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import Column, Table, find_distinct
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Columns, Features, Scaling
from anyback_nn.datasets.split import Blocks, split_rows
from anyback_nn.datasets.targets import Task
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
    y_train, y_test : ndarray, shape (n_rows,), or (n_rows, n_outputs) for several targets
        Classification: class indices (int64). Regression: standardised values (float32).
    encoding : Encoding
        How raw rows become ``x``, and outputs become predictions; fitted on the training part.
    notes : tuple of str
        Messages for the user: filled gaps, columns left out, unknown categories.
    blocks : Blocks, optional
        Training rows that stay together: those of a group, or of one time.

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
    blocks: Blocks | None = None

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
        """The number of classes; for regression that of targets."""
        return self.encoding.n_outputs

    def split_validation(
        self, fraction: float, seed: int = 0
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Divide the training part as it was divided from the test part.

        Rows of a group stay together, and the last times are for validation. Without groups and
        times, ``Model.fit(validation=fraction)`` does the same with less memory.

        Parameters
        ----------
        fraction : float
            Share of the training rows for validation, between 0 and 1, both excluded.
        seed : int

        Returns
        -------
        train, validation : tuple of x and y

        Raises
        ------
        DataError
            If a part would have no row.

        Examples
        --------
        >>> from anyback_nn.datasets import load
        >>> train, validation = load("moons").split_validation(0.25)
        >>> train[0].shape, validation[0].shape
        ((600, 2), (200, 2))
        """
        classes = self.y_train if self.task == "classification" else None
        with prefix_errors("validation part (--validation 0 leaves it out)"):
            parts = split_rows(
                len(self.x_train),
                test_fraction=fraction,
                seed=seed,
                classes=classes,
                blocks=self.blocks,
                name="the fraction (--validation)",
            )
        train, validation = ((self.x_train[rows], self.y_train[rows]) for rows in parts)
        return train, validation


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows encoded for a network that was trained before.

    Parameters
    ----------
    x : ndarray of float32, shape (n_rows, n_features)
    y : ndarray, or None
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
    """Raw rows: the features as an array or a table, and the target.

    The target is a column, or an array of shape (n_rows, n_targets).
    """

    x: Any  # an array or a Table
    y: Column
    blocks: Blocks | None = None

    def take(self, rows: np.ndarray) -> Part:
        """Take some of the rows."""
        blocks = None if self.blocks is None else self.blocks[rows]
        if isinstance(self.x, np.ndarray):
            return Part(self.x[rows], self.y[rows], blocks)
        return Part({name: column[rows] for name, column in self.x.items()}, self.y[rows], blocks)

    def split(self, task: Task, *, test_fraction: float, seed: int) -> tuple[Part, Part]:
        """Divide the rows into a training and a test part, for classification class by class."""
        classes = find_distinct(self.y)[1] if task == "classification" else None
        parts = split_rows(
            len(self.y),
            test_fraction=test_fraction,
            seed=seed,
            classes=classes,
            blocks=self.blocks,
        )
        train, test = map(self.take, parts)
        return train, test


def build_dataset(
    name: str,
    train: Part,
    test: Part,
    encoding: Encoding,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Encode both parts; the encoding was fitted before, which the first notes are about."""
    features = encoding.features
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
    return Dataset(name, x_train, y_train, x_test, y_test, encoding, notes, train.blocks)


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

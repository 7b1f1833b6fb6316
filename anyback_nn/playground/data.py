"""A reader's own table in the page: points in the plane, of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.datasets.dataset import Dataset
from anyback_nn.datasets.frames import table_label
from anyback_nn.datasets.load import load
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import quoted_list

__all__ = ["PlaneData", "load_plane"]

MAX_ROWS = 1000
"""With more points, the page would have more to draw than to compute."""


@dataclass(frozen=True, eq=False)
class PlaneData:
    """Points in the plane, of two classes.

    Attributes
    ----------
    name : str
    columns : tuple of str
        The names of the two coordinates.
    classes : tuple of str
        The names of the classes 0 and 1.
    x : ndarray of float32, shape (n_samples, 2)
        Standardised; first the training part, then the test part.
    y : ndarray of int64, shape (n_samples,)
    n_train : int
        The number of samples in the training part.
    notes : tuple of str
        Messages for the user.
    """

    name: str
    columns: tuple[str, str]
    classes: tuple[str, str]
    x: np.ndarray
    y: np.ndarray
    n_train: int
    notes: tuple[str, ...] = ()


def load_plane(
    source: Any, *, target: str | None = None, features: str | Sequence[str] | None = None
) -> PlaneData:
    """Load a table with two numeric columns and a target of two classes.

    Parameters
    ----------
    source, target, features
        As for `anyback_nn.datasets.load`. Of a table with more columns, ``features`` are two.

    Raises
    ------
    DataError
        The table cannot be read, or has other columns.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame(
    ...     {"a": range(20), "b": [i % 7 for i in range(20)], "c": ["yes", "no"] * 10}
    ... )
    >>> data = load_plane(frame, target="c")
    >>> data.columns, data.classes, data.x.shape, data.n_train
    (('a', 'b'), ('no', 'yes'), (20, 2), 14)
    """
    dataset = load(source, target=target, features=features or None, test_fraction=0.3)
    columns, classes = _check_columns(dataset, table_label(source))
    x = np.concatenate([dataset.x_train[:MAX_ROWS], dataset.x_test[: MAX_ROWS // 2]])
    y = np.concatenate([dataset.y_train[:MAX_ROWS], dataset.y_test[: MAX_ROWS // 2]])
    n_train = min(len(dataset.x_train), MAX_ROWS)
    notes = dataset.notes
    if len(x) < len(dataset.x_train) + len(dataset.x_test):
        notes += (f"the page has {len(x):,} of the rows, of which it trains on {n_train:,}",)
    return PlaneData(dataset.name, columns, classes, x, y, n_train, notes)


def _check_columns(dataset: Dataset, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the names of the two columns and of the two classes."""
    names = tuple(getattr(dataset.encoding.features, "names", ()))
    if len(names) != 2 or dataset.n_features != 2:
        have, advice = f"{dataset.n_features} features", ""
        if len(names) == 1:
            have = f"the column {quoted_list(names)} alone"
            advice = "".join(f"; {note}" for note in dataset.notes)  # such as what is left out
        elif len(names) == 2:
            have = f"the columns {quoted_list(names)}, which become {dataset.n_features} features"
            advice = ", of which neither is a date or a category"
        elif names:
            have = f"the columns {quoted_list(names)}"
            advice = "; choose them with features (--features A,B)"
        raise DataError(f"{name} has {have}: expected a table with two columns of numbers{advice}")
    classes = dataset.encoding.classes
    if classes is None or len(classes) != 2:
        have = "a continuous target" if classes is None else f"{len(classes):,} classes"
        raise DataError(f"{name} has {have}: expected a target of two classes")
    (first, second), (negative, positive) = names, classes
    return (first, second), (negative, positive)

"""The columns of a table and the features that encode them: names, places, values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.datasets import Encoding
from anyback_nn.datasets.features import (
    CategoricalColumn,
    Columns,
    DateColumn,
    NumericColumn,
    Scaling,
)

__all__ = ["RawColumn", "find_image_shape", "list_columns", "list_features"]

LEAST_SIDE = 4
"""Of an image."""


@dataclass(frozen=True)
class RawColumn:
    """A column of the data, and the features that it became.

    Parameters
    ----------
    name : str
    start, stop : int
        Of its features.
    column : Any
        How it was encoded; None for a feature of an array.
    """

    name: str
    start: int
    stop: int
    column: Any = None

    def write(self, features: np.ndarray) -> str:
        """Write the raw value of a row; a gap has the value that filled it."""
        own = features[self.start : self.stop].astype(np.float64)
        match self.column:
            case CategoricalColumn(values=values):
                return values[int(own.argmax())] if own.any() else "(unseen)"
            case DateColumn(parts=parts):
                written = (f"{p.name} {x * p.scale + p.mean:.6g}" for p, x in zip(parts, own))
                return ", ".join(written)
            case NumericColumn(scale=scale, mean=mean):
                return f"{own[0] * scale + mean:.5g}"
        return f"{own[0]:.5g}"

    def list_names(self) -> list[str]:
        """List the names of its features."""
        match self.column:
            case CategoricalColumn(values=values):
                return [f"{self.name} = {value}" for value in values]
            case DateColumn(parts=parts):
                return [f"{self.name}, {part.name}" for part in parts]
        return [self.name]


def list_columns(encoding: Encoding) -> list[RawColumn]:
    """List the columns of the data in the order of their features.

    Examples
    --------
    >>> from anyback_nn.datasets import load
    >>> [column.name for column in list_columns(load("moons").encoding)]
    ['feature 1', 'feature 2']
    """
    features = encoding.features
    if isinstance(features, Columns):
        return list(_iterate(features))
    return [RawColumn(f"feature {i + 1}", i, i + 1) for i in range(features.n_features)]


def _iterate(features: Columns) -> Iterator[RawColumn]:
    start, width = 0, 1
    column: Any
    for column in (*features.numbers, *features.dates, *features.categories):
        if isinstance(column, DateColumn):
            width = len(column.parts)
        elif isinstance(column, CategoricalColumn):
            width = len(column.values)
        yield RawColumn(column.name, start, start + width, column)
        start += width


def list_features(encoding: Encoding) -> list[str]:
    """List the names of the encoded features."""
    return [name for column in list_columns(encoding) for name in column.list_names()]


def find_image_shape(encoding: Encoding) -> tuple[int, int] | None:
    """Return height and width if the rows are square images of integers, else None.

    Examples
    --------
    >>> from anyback_nn.datasets import load
    >>> find_image_shape(load("digits").encoding), find_image_shape(load("moons").encoding)
    ((8, 8), None)
    """
    features = encoding.features
    side = math.isqrt(features.n_features)
    is_image = isinstance(features, Scaling) and features.scale != 1.0 and side >= LEAST_SIDE
    return (side, side) if is_image and side**2 == features.n_features else None

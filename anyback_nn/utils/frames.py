"""Data frames of pandas and polars, told apart without importing either."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.utils.arguments import require_extra
from anyback_nn.utils.messages import quoted_list

__all__ = [
    "column_names",
    "get_column",
    "is_frame",
    "is_missing",
    "is_pandas",
    "is_series",
    "polars",
    "require_distinct_names",
    "to_numeric",
]


def _is_a(x: object, library: str, name: str) -> bool:
    """Return whether an object is of a class of a library, which need not be installed."""
    return any(
        cls.__name__ == name and cls.__module__.partition(".")[0] == library
        for cls in type(x).__mro__
    )


def is_pandas(x: object) -> bool:
    """Return whether ``x`` is a data frame of pandas."""
    return _is_a(x, "pandas", "DataFrame")


def is_frame(x: object) -> bool:
    """Return whether ``x`` is a data frame of pandas or polars.

    >>> is_frame([[1, 2]])
    False
    """
    return is_pandas(x) or _is_a(x, "polars", "DataFrame")


def is_series(x: object) -> bool:
    """Return whether ``x`` is a column of pandas or polars."""
    return _is_a(x, "pandas", "Series") or _is_a(x, "polars", "Series")


def column_names(frame: Any) -> tuple[str, ...]:
    """Return the names of the columns of a data frame, in order."""
    return tuple(map(str, frame.columns))


def require_distinct_names(names: Sequence[str]) -> None:
    """Raise `DataError` if several columns have the same name."""
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(
            f"several columns have the same name, {quoted_list(repeated)}: expected each name "
            "once; rename them"
        )


def get_column(frame: Any, index: int) -> Any:
    """Return a column of a data frame by its place, since names may be repeated."""
    return frame.iloc[:, index] if is_pandas(frame) else frame.to_series(index)


def to_numeric(column: Any) -> np.ndarray | None:
    """Return a column of pandas or polars as an array of numbers, or None if it has others.

    Parameters
    ----------
    column : pandas.Series or polars.Series
        Numbers or booleans; also nullable ones, and Python's in a column of objects.

    Returns
    -------
    ndarray, shape (n_rows,)
        Of the column's dtype; float64, in which NaN is a missing value, if it has gaps.
    """
    values: np.ndarray = column.to_numpy()
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind != "O":
        return None
    numbers = [math.nan if is_missing(value) else value for value in values.tolist()]
    if not all(isinstance(value, Real | Decimal | np.bool_) for value in numbers):
        return None
    return np.array([float(value) for value in numbers])


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, or what pandas has for a missing value."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def polars() -> Any:
    """Import polars, which only tables need."""
    return require_extra("polars", "tabular", "reading tables", DataError)

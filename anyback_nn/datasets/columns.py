"""What a column of raw data is, before any encoding.

A column is a NumPy array of one of two kinds:

- *numbers*: float64, where NaN is a missing value;
- *texts*: object, of ``str``, where None is a missing value.

A table is a mapping of column names to columns of one length. Rows are counted from 1 in messages.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anyback_nn.errors import DataError

__all__ = ["Table", "column_of", "is_missing", "is_numbers", "numbers", "take_rows"]

Table = Mapping[str, np.ndarray]

_LARGEST = float(np.finfo(np.float32).max)


def is_numbers(column: np.ndarray) -> bool:
    """Tell a column of numbers from a column of texts."""
    return column.dtype.kind == "f"


def is_missing(column: np.ndarray) -> np.ndarray:
    """Mark the missing values of a column."""
    mask: np.ndarray = (
        np.isnan(column)
        if is_numbers(column)
        else np.array([value is None for value in column], dtype=bool)
    )
    return mask


def take_rows(table: Table, rows: np.ndarray) -> Table:
    """Take some rows of a table."""
    return {name: column[rows] for name, column in table.items()}


def numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Make a column of numbers; NaN is a missing value.

    Parameters
    ----------
    name : str
        The column's name, for the message.
    values : ndarray, shape (n_rows,)

    Raises
    ------
    DataError
        If a value is infinite, or too large for the float32 in which networks compute.

    Examples
    --------
    >>> numbers("age", np.array([31, 42]))
    array([31., 42.])
    """
    column = np.asarray(values, dtype=np.float64)
    beyond = np.abs(column) > _LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"row {row + 1}, column {name!r}: the value {column[row]} is infinite or beyond "
            f"float32: expected numbers up to {_LARGEST:.2g}; correct the value or leave it empty"
        )
    return column


def column_of(name: str, values: np.ndarray) -> np.ndarray:
    """Make a column of a NumPy array: numbers of numbers, texts of texts and booleans.

    Raises
    ------
    DataError
        If the array is not one-dimensional, or holds something else, such as dates.

    Examples
    --------
    >>> column_of("y", np.array([True, False]))
    array(['true', 'false'], dtype=object)
    """
    if values.ndim != 1:
        raise DataError(f"{name!r} has the shape {values.shape}: expected one value a row")
    match values.dtype.kind:
        case "i" | "u" | "f":
            return numbers(name, values)
        case "b":
            return np.where(values, "true", "false").astype(object)
        case "U":
            return values.astype(object)
        case _:
            raise DataError(
                f"{name!r} holds {values.dtype}: expected numbers, booleans or texts (str)"
            )

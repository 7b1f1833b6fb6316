"""Data frames of pandas and polars as inputs: their columns, by name, as one array of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.utils.frames import (
    column_names,
    get_column,
    is_frame,
    require_distinct_names,
    to_numeric,
)
from anyback_nn.utils.messages import plural, quoted_list

__all__ = ["find_feature_names", "frame_to_numpy"]


def find_feature_names(x: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a data frame; None for an array, or if they are numbers.

    Raises
    ------
    DataError
        Several columns have the same name.
    """
    if not is_frame(x) or not all(isinstance(name, str) for name in x.columns):
        return None
    names = column_names(x)
    require_distinct_names(names)
    return names


def frame_to_numpy(frame: Any, feature_names: Sequence[str] | None = None) -> np.ndarray:
    """Return the columns of a data frame side by side.

    Parameters
    ----------
    frame : data frame of pandas or polars
        Numbers and booleans, also nullable ones.
    feature_names : sequence of str, optional
        The columns, which the frame may have in another order. Default: all, in their order, as
        also where the frame has numbers for names.

    Returns
    -------
    ndarray, shape (n_rows, n_columns)
        A missing value is NaN.

    Raises
    ------
    DataError
        The frame has other columns, or a column holds no numbers.
    """
    names = find_feature_names(frame)
    if feature_names is None or names is None:
        places: Sequence[int] = range(len(frame.columns))
    else:
        _require_same(names, feature_names)
        place_of = {name: place for place, name in enumerate(names)}
        places = [place_of[name] for name in feature_names]
    columns = []
    for place in places:
        column = get_column(frame, place)
        values = to_numeric(column)
        if values is None:
            raise DataError(
                f"expected numeric inputs, got the dtype {column.dtype} in column "
                f"{frame.columns[place]!r}. Encode strings and categories first, as "
                "nn.datasets.load(frame, target=...) does"
            )
        columns.append(values)
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _require_same(names: Sequence[str], expected: Sequence[str]) -> None:
    """Raise `DataError` unless these are the names of the columns that the model knows."""
    known, given = set(expected), set(names)
    absent = [name for name in expected if name not in given]
    unknown = [name for name in names if name not in known]
    wrong = [
        f"{what} {plural(len(some), 'column')}, {quoted_list(some)}"
        for what, some in (("lacks", absent), ("has unknown", unknown))
        if some
    ]
    if wrong:
        raise DataError(
            f"the data frame {' and '.join(wrong)}: expected those of fit, "
            f"{quoted_list(expected, limit=30)}"
        )

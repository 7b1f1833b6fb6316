"""Rows of a table that stay together, by a column of groups or of times."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.columns import (
    Column,
    Strings,
    encode_strings,
    find_missing,
    read_strings,
    require_column,
    require_present,
)
from anyback_nn.datasets.kinds import read_column
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.split import Blocks
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars
from anyback_nn.utils.messages import quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read_blocks"]


def read_blocks(
    frame: pl.DataFrame, group: str | None, time: str | None, options: TableOptions = NO_OPTIONS
) -> tuple[Blocks | None, list[str]]:
    """Return the rows that stay together, and the columns that are no features because of it.

    Those are a group, because no row of the test part has a group that was trained with, and a time
    that is not a number.

    Parameters
    ----------
    frame : polars.DataFrame
    group : str, optional
        The column whose rows of one value stay together.
    time : str, optional
        The column of numbers or dates by which the last rows are the test part.
    options : TableOptions
        How numbers are written, and which strings are missing values.

    Raises
    ------
    DataError
        If both are given, if there is no such column, or if a value is missing or is no time.
    """
    if group is not None and time is not None:
        raise DataError(
            f"both the group {group!r} and the time {time!r} are to divide the rows: expected one; "
            "leave group (--group) or time (--time) out"
        )
    if group is not None:
        require_column(group, frame.columns)
        strings = read_strings(frame[group].cast(polars().String), options.na_values)
        require_present(strings.is_null().to_numpy(), f"the group {group!r}")
        return Blocks(encode_strings(strings).codes), [group]
    if time is None:
        return None, []
    require_column(time, frame.columns)
    times = _read_times(frame[time], options)
    codes = np.unique(times, return_inverse=True)[1]
    return Blocks(codes, in_order=True), [time] if times.dtype.kind == "M" else []


def _read_times(series: pl.Series, options: TableOptions) -> np.ndarray:
    """Return numbers or dates (datetime64), none of them missing."""
    options = replace(options, categorical=(), numeric=(series.name,))
    times: Column | None = None
    with contextlib.suppress(DataError):  # which advises what is for features
        _, times = read_column(series, options, is_target=True)
    if times is None or isinstance(times, Strings):
        examples = series.drop_nulls().unique(maintain_order=True).head(3).to_list()
        raise DataError(
            f"column {series.name!r}: {quoted_list(examples)} have no form in which times can be "
            "read: expected numbers, or dates such as 2024-01-31 or 2024-01-31 12:30; rewrite the "
            "column, or use another one"
        )
    require_present(find_missing(times), f"the time {series.name!r}")
    return times

"""Rows of a table that stay together, by a column of groups or of times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anyback_nn.datasets.columns import (
    encode_strings,
    find_gaps,
    read_strings,
    require_column,
    require_present,
)
from anyback_nn.datasets.kinds import read_column
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.split import Blocks
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars

if TYPE_CHECKING:
    import polars as pl

__all__ = ["list_block_columns", "read_blocks"]

_ISO_DATE = r"^\d{4}-\d{2}-\d{2}"


def read_blocks(
    frame: pl.DataFrame, group: str | None, time: str | None, options: TableOptions = NO_OPTIONS
) -> Blocks | None:
    """Return the rows that stay together.

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
    name = group if time is None else time
    if name is None:
        return None
    require_column(name, frame.columns)
    if time is not None:
        codes = np.unique(_read_times(frame[time], options), return_inverse=True)[1]
        return Blocks(codes, in_order=True)
    strings = read_strings(frame[name].cast(polars().String), options.na_values)
    require_present(strings.is_null().to_numpy(), f"the group {name!r}")
    return Blocks(encode_strings(strings).codes)


def list_block_columns(frame: pl.DataFrame, group: str | None, time: str | None) -> list[str]:
    """Return the columns that only divide the rows: the group, and a time that is not a number.

    No row of the test part has a group that was trained with.
    """
    if time is None:
        return [] if group is None else [group]
    series = frame[time]
    if series.dtype == polars().String:
        series = read_strings(series).cast(polars().Float64, strict=False)
    return [] if series.dtype.is_numeric() and not series.null_count() else [time]


def _read_times(series: pl.Series, options: TableOptions) -> np.ndarray:
    """Return numbers that are in the order of the times."""
    pl = polars()
    if series.dtype.is_temporal() or series.dtype.is_numeric():
        require_present(find_gaps(series), f"the time {series.name!r}")
        times: np.ndarray = series.to_physical().to_numpy()
        return times
    strings = read_strings(series, options.na_values)
    require_present(strings.is_null().to_numpy(), f"the time {series.name!r}")
    numbers = strings.cast(pl.Float64, strict=False)
    if not numbers.null_count():
        times = numbers.to_numpy()
        return times
    dates = strings.set(~strings.str.contains(_ISO_DATE), None)
    # A date alone is its first moment; times in another zone are those of one clock.
    dates = dates.str.replace(r"^(.{10})$", "${1}T00:00").str.replace(" ", "T")
    parsed = dates.str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
    wrong = parsed.is_null().arg_true()
    if len(wrong):
        column = read_column(series, replace(options, categorical=(), numeric=()))[1]
        if isinstance(column, np.ndarray):
            return column.astype(np.int64) if column.dtype.kind == "M" else column
        raise DataError(
            f"row {wrong[0] + 1}, column {series.name!r}: {strings[wrong[0]]!r} is neither a "
            "number nor a date: expected times such as 2024-01-31 or 2024-01-31 12:30; rewrite "
            "the column, or use another one"
        )
    times = parsed.to_physical().to_numpy()
    return times

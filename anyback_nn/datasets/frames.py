"""Tables from files, streams and data frames: what they are called, and their columns as polars."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyback_nn.datasets.columns import require_room
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.parquet_sizes import measure_parquet
from anyback_nn.datasets.text import check_names, read_text, refuse_unreadable
from anyback_nn.errors import DataError
from anyback_nn.utils.files import decompress, read_bytes, read_what_fits
from anyback_nn.utils.frames import (
    column_names,
    get_column,
    is_frame,
    is_missing,
    is_pandas,
    polars,
)
from anyback_nn.utils.messages import prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = ["STANDARD_INPUT", "TABLES", "RawTable", "is_table", "read_raw_table", "table_label"]

STANDARD_INPUT = "-"
TABLES = (".csv", ".tsv", ".txt", ".parquet")
_COMPRESSED = (".gz", ".bz2", ".zip")
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it was given, before anything is decided about its columns.

    Parameters
    ----------
    name : str
        The file's name without its suffixes.
    frame : polars.DataFrame
        Columns of text are strings as they are written; those of Parquet files and data frames
        have their types.
    options : TableOptions
        With what was found about a text.
    notes : tuple of str
        Messages for the user about what was found.
    """

    name: str
    frame: pl.DataFrame
    options: TableOptions
    notes: tuple[str, ...] = ()


def is_table(source: Any) -> bool:
    """Return whether a source is a data frame, a stream, standard input, or named like a table."""
    if is_frame(source) or hasattr(source, "read"):
        return True
    if not isinstance(source, str | PathLike):
        return False
    path = Path(source)
    named = _split_suffixes(path)[1] in TABLES
    is_file = (named or path.suffix.lower() == ".zip") and not path.is_dir()
    return is_file or source == STANDARD_INPUT


def table_label(source: Any) -> str:
    """Return what messages call a source."""
    if is_frame(source):
        return "the data frame"
    if source == STANDARD_INPUT:
        return "standard input"
    return str(getattr(source, "name", "the stream") if hasattr(source, "read") else source)


def read_raw_table(source: Any, options: TableOptions) -> RawTable:
    r"""Read a table.

    Parameters
    ----------
    source : str, path-like, file object or data frame
        A text file or a Parquet file, plain or compressed; ``"-"`` is standard input; an open file;
        or a frame of pandas or polars, whose index is no column.
    options : TableOptions
        How text is read.

    Raises
    ------
    DataError
        It cannot be read or has no rows; the message names the source.

    Examples
    --------
    >>> import io
    >>> table = read_raw_table(io.BytesIO(b"a,b\n1,2\n"), TableOptions())
    >>> table.frame.rows(), table.options.separator
    ([('1', '2')], ',')
    """
    with prefix_errors(table_label(source)):
        notes: tuple[str, ...] = ()
        if is_frame(source):
            name, frame = "frame", _to_polars(source)
        else:
            name, content = _read_content(source)
            if isinstance(content, str):  # a stream that has decoded it
                content, options = content.encode(), replace(options, encoding="utf-8")
            content = decompress(content)
            if content.startswith(_PARQUET_MAGIC) or _split_suffixes(Path(name))[1] == ".parquet":
                with refuse_unreadable("Parquet"):
                    sizes = measure_parquet(io.BytesIO(content))
                    require_room(len(sizes.largest), sizes.total)
                    frame = polars().read_parquet(io.BytesIO(content))
            else:
                frame, options, notes = read_text(content, options)
            name = _split_suffixes(Path(name))[0]
        if not frame.height:
            raise DataError(
                f"has the columns {quoted_list(frame.columns)} but no row: expected data"
            )
        return RawTable(name, frame, options, notes)


def _read_content(source: Any) -> tuple[str, bytes | str]:
    """Return the name and the content of a file or a stream, which may be compressed."""
    if source == STANDARD_INPUT:
        return "stdin", read_what_fits(sys.stdin.buffer, "it takes more than")
    if not hasattr(source, "read"):
        return Path(source).name, read_bytes(Path(source))
    name = getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) else "stream", source.read()


def _split_suffixes(path: Path) -> tuple[str, str]:
    """Return a file's name without suffixes, and the suffix that is not one of compression."""
    if path.suffix.lower() in _COMPRESSED:
        path = path.with_suffix("")
    if path.suffix.lower() in TABLES:
        return path.stem, path.suffix.lower()
    return path.name, ""


def _to_polars(frame: Any) -> pl.DataFrame:
    """Return a data frame as one of polars, whose columns have names of their own."""
    pl, names = polars(), column_names(frame)
    check_names(names)
    if not is_pandas(frame):
        return frame
    columns = [_to_series(name, get_column(frame, i)) for i, name in enumerate(names)]
    return pl.DataFrame(columns)


def _to_series(name: str, column: Any) -> pl.Series:
    """Return a column of pandas as one of polars; polars itself would need pyarrow for it."""
    pl, dtype = polars(), column.dtype
    if getattr(dtype, "tz", None) is not None:
        column = column.dt.tz_localize(None)
        dtype = column.dtype
    kind = getattr(dtype, "kind", "O")
    if kind in "biuf" and hasattr(dtype, "numpy_dtype"):  # nullable
        values = column.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return pl.Series(name, values).set(pl.Series(column.isna().to_numpy()), None)
    if kind in "mM":  # of which polars has no whole seconds and days
        return pl.Series(name, column.to_numpy().astype(f"{kind}8[us]"))
    if kind in "biuf":
        return pl.Series(name, column.to_numpy())
    values = [None if is_missing(value) else value for value in column.tolist()]
    if hasattr(dtype, "categories"):
        strings = [None if value is None else str(value) for value in values]
        return pl.Series(name, strings, dtype=pl.Categorical)
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError):  # of several types
        return pl.Series(name, [None if value is None else str(value) for value in values])

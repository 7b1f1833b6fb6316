"""A Parquet file of which parts are read, so that it may be larger than the memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyback_nn.datasets.parquet_sizes import measure_folder
from anyback_nn.datasets.text import refuse_unreadable
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars
from anyback_nn.utils.memory import limit_memory, require_memory
from anyback_nn.utils.messages import prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ParquetFile", "open_parquet"]

_KIND = "Parquet; files of a folder need the same columns"


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file of which some rows are read at a time; open it with `open_parquet`.

    Parameters
    ----------
    path : Path
        A file, or a folder of several with the same columns.
    types : mapping of str to polars.DataType
        The columns, in their order.
    n_rows : int
    sizes : mapping of str to int
        The bytes of each column in the row group where it is largest.
    memory_limit : int, optional
        The bytes that a row group may take, which is read as a whole. Default: those that are free.
    """

    path: Path
    types: Mapping[str, Any] = field(repr=False)
    n_rows: int
    sizes: Mapping[str, int] = field(repr=False)
    memory_limit: int | None = None

    def read(self, columns: Sequence[str], start: int, n_rows: int) -> pl.DataFrame:
        """Read these columns of some rows, as far as there are any."""
        n_bytes = sum(self.sizes[name] for name in columns)
        with self.prefix_errors(), refuse_unreadable(_KIND), limit_memory(self.memory_limit):
            require_memory(n_bytes, "a row group takes", "write the file with smaller ones")
            return _lazy(self.path).slice(start, n_rows).select(columns).collect()

    def prefix_errors(self, start: int = 0) -> AbstractContextManager[None]:
        """Prefix errors with the file, and with the row from which rows are counted."""
        return prefix_errors(f"{self.path}, counted from row {start + 1:,}" if start else self.path)


def open_parquet(path: Path, memory_limit: int | None = None) -> ParquetFile:
    """Open a Parquet file, which must have rows, without reading them."""
    with prefix_errors(path):
        if not path.exists():
            raise DataError("no such file: expected a Parquet file, or a folder of several")
        with refuse_unreadable(_KIND), limit_memory(memory_limit):
            sizes = measure_folder(path).largest
            pl, lazy = polars(), _lazy(path)
            types, n_rows = lazy.collect_schema(), lazy.select(pl.len()).collect().item()
        if not n_rows:
            raise DataError(f"has the columns {quoted_list(types)} but no row: expected data")
        return ParquetFile(path, types, n_rows, sizes, memory_limit)


def _lazy(path: Path) -> pl.LazyFrame:
    # Without glob a path may have any characters.
    return polars().scan_parquet(path, glob=False)

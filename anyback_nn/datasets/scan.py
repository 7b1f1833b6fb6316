"""A Parquet file of which some rows are read at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.wording import listing, naming
from anyback_nn.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Scan", "scan_parquet"]


@dataclass(frozen=True)
class Scan:
    """A Parquet file, or a folder of several with the same columns; open it with `scan_parquet`.

    Parameters
    ----------
    path : Path
    kinds : mapping of str to polars.DataType
        The columns, in their order.
    n_rows : int
    """

    path: Path
    kinds: Mapping[str, Any] = field(repr=False)
    n_rows: int

    def read(self, columns: Sequence[str], start: int, n_rows: int) -> pl.DataFrame:
        """Read these columns of some rows, of which those that there are.

        Raises
        ------
        DataError
            If they cannot be read; names the file.
        """
        with naming(self.path), _readable():
            return _lazy(self.path).slice(start, n_rows).select(columns).collect()

    @contextmanager
    def located(self, start: int) -> Iterator[None]:
        """Put the file, and where rows are counted from, in front of errors."""
        with naming(f"{self.path}, counted from row {start + 1:,}" if start else self.path):
            yield


def scan_parquet(path: Path) -> Scan:
    """Look at a Parquet file, without reading its rows.

    Raises
    ------
    DataError
        If it does not exist, is no Parquet file, or has no rows.
    """
    with naming(path):
        if not path.exists():
            raise DataError("no such file: expected a Parquet file, or a folder of several")
        with _readable():
            pl, lazy = tabular("polars"), _lazy(path)
            kinds, n_rows = lazy.collect_schema(), lazy.select(pl.len()).collect().item()
        if not n_rows:
            raise DataError(f"has the columns {listing(kinds)} but no row: expected data")
        return Scan(path, kinds, n_rows)


def _lazy(path: Path) -> pl.LazyFrame:
    # Without glob a path is what it says, whatever signs are in it.
    return tabular("polars").scan_parquet(path, glob=False)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (tabular("polars").exceptions.PolarsError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"cannot be read ({reason}): expected Parquet; files of a folder need the same columns"
        ) from error

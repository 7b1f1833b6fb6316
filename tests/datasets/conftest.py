"""Files that several tests read."""

import polars as pl
import pytest
from parquet_file import rows


@pytest.fixture
def path(tmp_path):
    """A Parquet file in small row groups."""
    rows().write_parquet(tmp_path / "big.parquet", row_group_size=16)
    return tmp_path / "big.parquet"


@pytest.fixture
def write_parquet(tmp_path):
    """Return a function that writes columns or a frame to a Parquet file and returns its path."""

    def write(table, name="a.parquet"):
        pl.DataFrame(table).write_parquet(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def csv(tmp_path):
    """Return a function that writes a CSV file and returns its path."""

    def write(text, name="table.csv"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return write

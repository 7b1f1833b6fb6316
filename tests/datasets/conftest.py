"""Files that several tests read."""

import pytest
from parquet_file import rows


@pytest.fixture
def path(tmp_path):
    """A Parquet file in small row groups."""
    rows().write_parquet(tmp_path / "big.parquet", row_group_size=16)
    return tmp_path / "big.parquet"

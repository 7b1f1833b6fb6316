"""How much a Parquet file takes, and what of its description is refused before polars reads it."""

import io

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets import load, parquet_batches
from anyback_nn.datasets.parquet_sizes import measure_parquet
from anyback_nn.datasets.thrift import StructReader
from anyback_nn.errors import DataError

FRAME = pl.DataFrame(
    {"a": np.arange(40.0), "s": ["x", None] * 20, "y": [0, 1] * 20, "l": [[1, 2], []] * 20}
)


def written(frame=FRAME, **options):
    file = io.BytesIO()
    frame.write_parquet(file, **options)
    return file.getvalue()


def measure(content):
    return measure_parquet(io.BytesIO(content))


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "uncompressed"])
def test_values_of_all_row_groups_count(compression):
    sizes = measure(written(compression=compression, row_group_size=10))
    assert set(sizes.largest) == {"a", "s", "y", "l"}
    # Ten numbers in the largest row group, of eight bytes, plus their pages.
    assert 80 <= sizes.largest["a"] < 400
    assert 4 * 80 <= 3 * sizes.largest["a"] < sizes.total


def test_equal_values_count_as_many():
    n = 1_000_000
    content = written(pl.select(pl.repeat("the same" * 4, n).alias("a")))
    assert len(content) < n / 100
    assert measure(content).total >= 16 * n


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    frame = pl.select(pl.repeat(1.5, 10**6).alias("x"), pl.repeat(1, 10**6).alias("y"))
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"a.parquet: the table takes .* 1.0 MB are allowed: .*--mem"
    ):
        load(tmp_path / "a.parquet", target="y", memory_limit=10**6)
    with pytest.raises(DataError, match=r"a.parquet: a row group takes .* write .* smaller ones"):
        parquet_batches(tmp_path / "a.parquet", "y", memory_limit=10**6)


def test_a_folder_is_measured_file_by_file(tmp_path):
    for name in "ab":
        FRAME.write_parquet(tmp_path / f"{name}.parquet")
    assert len(parquet_batches(tmp_path, "y", columns=["a"]).file.sizes) == 4
    content = written()
    (tmp_path / "b.parquet").write_bytes(content[:-5] + b"\xff" + content[-4:])
    with pytest.raises(DataError, match=r"b.parquet: cannot be read"):
        parquet_batches(tmp_path, "y", columns=["a"])


def test_a_page_of_fewer_than_no_values_ends_no_process(tmp_path):
    """polars asks for 2**61 bytes, and ends the process."""
    content = bytearray(written(FRAME[["a"]], statistics=False, compression="uncompressed"))
    place = content.index(bytes([0x15, 40 * 2, 0x15]), 4, 40)  # the number of values, 40
    content[place + 1] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(
        DataError, match="it says to have -41 values somewhere: the file is damaged"
    ):
        load(tmp_path / "a.parquet", target="a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (bytes([0x1C]) * 100, "more than 16 structures deep"),
        (bytes([0x1D, 0]), "unknown type 13"),
        (bytes([0x16]) + b"\xff" * 20, "more than 64 bits"),
        (bytes([0x19, 0xF1]) + b"\xff" * 9 + b"\x01", "cut short"),
        (bytes([0x18, 5, 65, 0]), "cut short"),
    ],
)
def test_structures_that_are_none(content, message):
    with pytest.raises(DataError, match=message):
        StructReader(content).read({})


def test_every_damaged_byte_of_the_description():
    """Each is read or refused; the sizes of what is read are no larger than what was claimed."""
    content = written(FRAME[["a", "s"]], statistics=False, metadata=None)
    for place in range(len(content) - 600, len(content)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[place] ^= bit
            try:
                measure(bytes(damaged))
            except DataError:
                continue

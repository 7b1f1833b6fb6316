"""What the fuzzers found, and some of their inputs: each is read, or refused by our errors."""

import bz2
import gzip
import io
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from fuzz_case import find_failure, make_input
from fuzz_formats import FORMATS, arrays, npz
from fuzz_mutators import pack_zip

from anyback_nn.datasets import load
from anyback_nn.errors import DataError

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_is_read_or_refused(path):
    assert find_failure(path.stem.partition("-")[0], path) is None


# Those of Parquet could end this process: they are read by `nox -s fuzz` alone.
@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"parquet"}))
def test_a_few_inputs(name, tmp_path):
    path = tmp_path / f"input{FORMATS[name].suffix}"
    for number in range(12):
        path.write_bytes(make_input(name, "tests", number))
        assert find_failure(name, path) is None, number


def made_up_npz():
    """Return cut headers, members that are no arrays, wrong flags and methods, absurd shapes."""
    whole = npz(["x", "y"])
    for field in (6, 8):  # flags and method
        for bit in range(16):
            for magic, offset in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
                content = bytearray(whole)
                content[content.index(magic) + offset + field + bit // 8] ^= 1 << bit % 8
                yield bytes(content)
    x, y = (npy(arrays()[name]) for name in "xy")
    members = [x[:length] for length in range(0, len(x), 8)]
    members += [b"text", b"\x93NUMPY\x09\0", b"\x93NUMPY\x01\0\xff\xff" + x[10:]]
    shapes = [
        "(4000000000, 3)",
        "(-1, 3)",
        "(2**62, 0)",
        "()",
        "(20, 3.0)",
        "[20, 3]",
        "(20, 3" * 99,
    ]
    members += [x.replace(b"(20, 3)", shape.encode()) for shape in shapes]
    members += [
        x.replace(b"<f8", kind) for kind in (b"|O8", b"<U9", b"<c9", b"<M8", b"|V8", b"<f0")
    ]
    for member in members:
        yield pack_zip(Random(0), {"x.npy": member, "y.npy": y})


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_made_up_npz(tmp_path):
    path = tmp_path / "a.npz"
    for number, content in enumerate(made_up_npz()):
        path.write_bytes(content)
        assert find_failure("npz", path) is None, number


def test_bombs_of_all_formats(tmp_path):
    """Small ones: each says to take a hundred times its size."""
    n = 500_000
    frame = pl.select(x=pl.repeat(0.5, n), y=pl.repeat(1, n))
    frame.write_parquet(tmp_path / "a.parquet")
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((n, 1)), y=np.zeros(n, dtype=np.uint8))
    for name, compress in {"gz": gzip.compress, "bz2": bz2.compress}.items():
        (tmp_path / f"a.csv.{name}").write_bytes(compress(b"x,y\n" + b"1,2\n" * n))
    for path in sorted(tmp_path.iterdir()):
        assert path.stat().st_size < 20_000
        with pytest.raises(DataError, match="takes? .* of which 2.0 MB are allowed"):
            load(path, target=None if path.suffix == ".npz" else "y", memory_limit=2_000_000)

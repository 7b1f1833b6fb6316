"""Damaged files, and made-up ones: every outcome is success or an error of ours."""

import bz2
import gzip
import io
import random
import zipfile

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets import load, read_idx
from anyback_nn.datasets.text import refuse_unreadable
from anyback_nn.errors import AnybackError, DataError
from anyback_nn.utils.messages import prefix_errors

X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
TEXT = "a,t,y\n" + "".join(f"{x:.3f},{'uv'[y]},{y}\n" for x, y in zip(X[:, 0], Y))


def in_zip(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return file.getvalue()


def in_npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


WHOLE = {
    "a.csv": TEXT.encode(),
    "a.csv.gz": gzip.compress(TEXT.encode(), mtime=0),
    "a.csv.bz2": bz2.compress(TEXT.encode()),
    "a.csv.zip": in_zip(TEXT),
    "a.npz": in_npz(x=X, y=Y),
    "b.npz": in_npz(np.savez_compressed, x=X, y=Y.astype(str)),
    "images.idx": bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 3]) + bytes(36),
}


def read(path):
    if path.suffix == ".idx":
        return read_idx(path)
    return load(path, target="y" if ".csv" in path.name else None)


def damage(draw, content):
    """Flip, set, drop, insert or repeat some bytes, or cut the end off."""
    content, place = bytearray(content), draw.randrange(len(content))
    match draw.randrange(6):
        case 0 | 1:
            content[place] ^= 1 << draw.randrange(8)
        case 2:
            content[place] = draw.choice([0, 255, 127, 128, *b'0,\n"'])
        case 3:
            del content[place : place + draw.choice([1, 8, 64])]
        case 4:
            content[place:place] = draw.randbytes(draw.choice([1, 16]))
        case _:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused(name, tmp_path):
    draw, path, n_refused = random.Random(name), tmp_path / name, 0
    path.write_bytes(WHOLE[name])
    read(path)
    for _ in range(60):
        path.write_bytes(damage(draw, WHOLE[name]))
        try:
            read(path)
        except AnybackError:
            n_refused += 1
    assert n_refused


def test_a_panic_of_polars_is_an_error_of_the_file():
    with (
        pytest.raises(DataError, match="cannot be read .*: expected Parquet"),
        refuse_unreadable("Parquet"),
    ):
        raise pl.exceptions.PanicException("index out of bounds")


def test_a_panic_of_polars_is_an_error_wherever_it_comes_from():
    with (
        pytest.raises(
            DataError, match=r"a.csv: has values that cannot be read \(out-of-range date"
        ),
        prefix_errors("a.csv"),
    ):
        raise pl.exceptions.PanicException("out-of-range date\nin line 1")


def test_axes_whose_product_is_too_large_without_a_value(tmp_path):
    axes = b"\xff\xff\xff\xff" * 3 + bytes(4)
    (tmp_path / "a.idx").write_bytes(bytes([0, 0, 8, 4]) + axes)
    with pytest.raises(DataError, match="a.idx: has the shape .* which arrays cannot have"):
        read(tmp_path / "a.idx")


def test_characters_beyond_unicode(tmp_path):
    y = np.array(["u", "v"] * 10)
    y.view(np.uint32)[3] = 0x110000
    for order in "<>":
        content = in_npz(
            x=X, y=y.astype(f"{order}U1") if order == "<" else y.byteswap().view(">U1")
        )
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match="'y' has characters beyond Unicode"):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, in_zip])
def test_what_does_not_fit_into_memory_is_not_unpacked(compress, tmp_path, monkeypatch):
    monkeypatch.setattr("anyback_nn.utils.memory.free_host_memory", lambda: 10_000)
    (tmp_path / "a.csv").write_bytes(compress(TEXT.encode() * 1000))
    with pytest.raises(DataError, match="unpacked it takes more than .* 10.0 kB are free"):
        load(tmp_path / "a.csv", target="y")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"," * 10**5 + b"\n"), ("a.npz", in_npz(x=np.zeros((2, 10**5)), y=np.arange(2)))],
)
def test_many_columns_take_memory_too(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="the table takes .* of which 100.0 MB are allowed"):
        load(tmp_path / name, target="y" if name == "a.csv" else None, memory_limit=10**8)


def test_arrays_that_do_not_fit_into_memory_are_not_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(WHOLE["a.npz"])
    with pytest.raises(DataError, match="its arrays take 2.6 kB .*, of which 100.0 B are allowed"):
        load(tmp_path / "a.npz", memory_limit=100)
    assert len(load(tmp_path / "a.npz", memory_limit=10**6).x_train) == 16


def test_arrays_that_claim_more_than_is_stored(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"shape": (4 * 10**9, 3), "fortran_order": False, "descr": "<f8"}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content.getvalue() + bytes(24))
        archive.writestr("y.npy", b"no array")
    with pytest.raises(
        DataError, match=r"'x' is to be 96,000,000,000 bytes, of which \d+ are stored"
    ):
        read(tmp_path / "a.npz")


def test_more_axes_than_arrays_have(tmp_path):
    (tmp_path / "a.idx").write_bytes(bytes([0, 0, 8, 70]) + bytes(4 * 70))
    with pytest.raises(DataError, match="has 70 axes: expected at most 32"):
        read(tmp_path / "a.idx")

"""IDX files: the oracle is the format itself, written byte by byte with struct."""

import gzip
import struct

import numpy as np
import pytest

from anyback_nn.datasets import load, read, read_idx
from anyback_nn.datasets.idx import read_idx_images
from anyback_nn.errors import DataError

CODES = {"B": 0x08, "b": 0x09, "h": 0x0B, "i": 0x0C, "f": 0x0D, "d": 0x0E}


def idx_bytes(values, code="B"):
    values = np.asarray(values)
    header = bytes([0, 0, CODES[code], values.ndim]) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return header + struct.pack(f">{values.size}{code}", *values.ravel().tolist())


@pytest.fixture
def folder(tmp_path):
    """A folder of 4 training and 3 test images of 2 by 2 points."""
    for part, n in (("train", 4), ("t10k", 3)):
        images = np.arange(n * 4).reshape(n, 2, 2) * 5
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(n) % 2 * 7))
    return tmp_path


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type_plain_and_gzipped_whatever_the_name(tmp_path, code, pack):
    values = np.array([[0, 1, 2], [3, 100, 127]]) - (0 if code == "B" else 100)
    path = tmp_path / "anything.dat"
    path.write_bytes(pack(idx_bytes(values, code)))
    found = read_idx(path)
    assert found.tolist() == values.tolist()
    assert found.dtype == np.dtype(code)
    assert found.dtype.isnative
    found[0, 0] = 1  # not a view of the file's bytes


def test_images_are_not_copied(folder):
    content = (folder / "train-images-idx3-ubyte").read_bytes()
    images = read_idx_images(folder, "train")
    assert images.tobytes() == content[16:]
    assert not images.flags.writeable  # but a copy is
    assert load(folder).x_train.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"\(none\).*expected an IDX file"),
        (b"\x89PNG....", "89 50 4e 47.*expected an IDX file"),
        (b"\0\0\x0a\x01\0\0\0\x01\x05", r"type 0a: expected one of 08 \(uint8\)"),
        (b"\0\0\x08\x03\0\0", "expected a header of 16 bytes for 3 axes, found 6"),
        (idx_bytes([1, 2, 3])[:-1], r"cut short: expected 11 bytes .* \(3,\), found 10"),
        (idx_bytes([1, 2, 3]) + b"x", "bytes too many: expected 11 bytes .* found 12"),
        (gzip.compress(idx_bytes([1, 2, 3]), mtime=0)[:-9], "damaged gzip"),
        (b"\x1f\x8b" + b"junk" * 8, "damaged gzip"),
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"bad-idx: .*{message}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing: cannot be read"):
        read_idx(tmp_path / "nothing")


def test_folder(folder):
    data = load(folder)
    assert data.name == folder.name
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(
        data.x_train, np.arange(16, dtype=np.float32).reshape(4, 4) * 5 / np.float32(255)
    )
    assert data.encoding.classes == ("0", "7")
    assert data.y_train.dtype == np.int64
    assert data.y_train.tolist() == [0, 1, 0, 1]
    assert data.x_test.shape == (3, 4)
    assert data.y_test.tolist() == [0, 1, 0]
    rows = read(folder, data.encoding, with_target=True)
    np.testing.assert_array_equal(rows.x, data.x_test)
    np.testing.assert_array_equal(rows.y, data.y_test)


def test_folder_with_dots_and_gzip(folder):
    plain = load(folder)
    for path in list(folder.iterdir()):
        name = path.name.replace("-idx", ".idx") + ".gz"
        (folder / name).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(load(folder).x_test, plain.x_test)


def rename_as_in_emnist(folder, split):
    for path in folder.glob("t*"):
        name = path.name.replace("t10k", "test")
        path.with_name(f"emnist-{split}-{name}.gz").write_bytes(gzip.compress(path.read_bytes()))


def test_the_file_names_of_emnist(folder):
    expected = load(folder)
    rename_as_in_emnist(folder, "letters")
    assert load(folder).y_test.tolist() == expected.y_test.tolist()  # MNIST's names come first
    for path in folder.glob("t*"):
        path.unlink()
    data = load(folder)
    np.testing.assert_array_equal(data.x_train, expected.x_train)
    np.testing.assert_array_equal(data.x_test, expected.x_test)
    rows = read(folder, data.encoding, with_target=True)
    np.testing.assert_array_equal(rows.x, data.x_test)


def test_several_sets_in_one_folder_are_named(folder):
    for split in ("letters", "digits"):
        rename_as_in_emnist(folder, split)
    for path in folder.glob("t*"):
        path.unlink()
    with pytest.raises(DataError, match=r"'emnist-digits-', 'emnist-letters-'.* folder of its own"):
        load(folder)


def test_reading_needs_the_test_images_only(folder):
    encoding = load(folder).encoding
    for path in folder.iterdir():
        if path.name != "t10k-images-idx3-ubyte":
            path.unlink()
    assert read(folder, encoding, with_target=False).y is None
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
        read(folder, encoding, with_target=True)


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_missing_file_of_the_four_is_named(folder, part, kind):
    (folder / f"{part}-{kind}-ubyte").unlink()
    with pytest.raises(DataError, match=f"has no {part}-{kind}-ubyte"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "values", "code", "message"),
    [
        ("train-labels-idx1", [0, 7, 0], "B", r"train-labels.*shape \(3,\): expected \(4,\)"),
        ("train-images-idx3", np.ones((4, 2, 2)), "f", "train-images.*float32.*unsigned bytes"),
        ("t10k-images-idx3", np.ones((3, 2, 3), int), "B", "the rows have 6 features .*expected 4"),
        ("t10k-labels-idx1", [0, 9, 0], "B", "test part: row 2: the label '9' .* '0', '7'"),
    ],
)
def test_files_that_do_not_fit_together(folder, file, values, code, message):
    (folder / f"{file}-ubyte").write_bytes(idx_bytes(values, code))
    with pytest.raises(DataError, match=message):
        load(folder)

"""Files in the IDX format, in which MNIST and its successors are published.

Format: Y. LeCun, C. Cortes and C. Burges, *The MNIST database of handwritten digits*,
http://yann.lecun.com/exdb/mnist/. A magic number (two zero bytes, a type, the number of axes),
the length of each axis as four bytes, then the values; everything big-endian.
"""

from __future__ import annotations

import math
import re
import struct
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import Column, as_column
from anyback_nn.errors import DataError
from anyback_nn.utils.files import read_bytes
from anyback_nn.utils.messages import prefix_errors, quoted_list

__all__ = ["PARTS", "read_idx", "read_idx_images", "read_idx_labels"]

_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

_MOST_AXES = 32
"""As many as arrays have in all versions of NumPy."""

PARTS = ("train", "t10k")
"""How the names of the files for training and for testing begin."""

_PATTERNS = {"train": "train", "t10k": "t10k|test"}


def read_idx(path: str | PathLike[str]) -> np.ndarray:
    """Read one IDX file, plain or gzipped.

    Parameters
    ----------
    path : path-like
        Whether it is gzipped is found by its content, not by its name.

    Returns
    -------
    ndarray
        Of the file's shape and type (uint8, int8, int16, int32, float32 or float64), in the byte
        order of this machine.

    Raises
    ------
    DataError
        If it is not an IDX file, is truncated, has too many bytes, or is a damaged gzip file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    values = _read(path)
    return values if values.flags.writeable else values.copy()


def read_idx_images(folder: Path, part: str) -> np.ndarray:
    """Read the images of a part: read-only, uint8, shape (n_samples, ...)."""
    path = _find(folder, part, "images", 3)
    images = _read(path)
    if images.dtype != np.uint8 or images.ndim < 2 or not images.size:
        raise DataError(
            f"{path}: holds {images.dtype} values of the shape {images.shape}: expected images of "
            "unsigned bytes (n_images, height, width)"
        )
    return images


def read_idx_labels(folder: Path, part: str, n_images: int) -> Column:
    """Read the labels of a part, as a column."""
    path = _find(folder, part, "labels", 1)
    labels = _read(path)
    if labels.shape != (n_images,):
        raise DataError(
            f"{path}: holds values of the shape {labels.shape}: expected ({n_images},), a label "
            "for each image"
        )
    return as_column("labels", labels)


def _find(folder: Path, part: str, content: str, n_axes: int) -> Path:
    """Find a file by the names of MNIST, or by those of EMNIST, which begin with the set's."""
    end = rf"-{content}[-.]idx{n_axes}-ubyte(\.gz)?"
    known = re.compile(rf"(?P<name>.*?)(?:{_PATTERNS[part]}){end}")
    names = [path.name for path in folder.iterdir() if path.is_file()]
    files: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name.endswith(".gz"), name)):
        if match := known.fullmatch(name):
            files.setdefault(match["name"], name)
    if "" in files or len(files) == 1:
        return folder / files.get("", next(iter(files.values())))
    if files:
        raise DataError(
            f"{folder}: has several sets of images, {quoted_list(sorted(files))}: expected one; "
            "move the four files of one set into a folder of its own"
        )
    raise DataError(
        f"{folder}: has no {part}-{content}-idx{n_axes}-ubyte: expected a folder with "
        "train-images, train-labels, t10k-images and t10k-labels in the IDX format, also gzipped "
        "(.gz) or with a dot (.idx), or with the names of EMNIST"
    )


def _read(path: str | PathLike[str]) -> np.ndarray:
    """Read an IDX file; values that need no other byte order are not copied, and read-only."""
    with prefix_errors(path):
        return _parse(read_bytes(Path(path)))


def _parse(content: bytes) -> np.ndarray:
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(
            f"begins with the bytes {content[:4].hex(' ') or '(none)'}: expected an IDX "
            "file, which begins with 00 00, a type and the number of axes"
        )
    kind, n_axes = content[2], content[3]
    if kind not in _TYPES:
        known = ", ".join(f"{known:02x} ({dtype.name})" for known, dtype in _TYPES.items())
        raise DataError(f"has values of the type {kind:02x}: expected one of {known}")
    dtype, start = _TYPES[kind], 4 + 4 * n_axes
    if n_axes > _MOST_AXES:
        raise DataError(f"has {n_axes} axes: expected at most {_MOST_AXES}, as NumPy has")
    if len(content) < start:
        raise DataError(
            f"is cut short: expected a header of {start} bytes for {n_axes} axes, found "
            f"{len(content)}; download it again"
        )
    shape = struct.unpack(f">{n_axes}I", content[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        wrong = "is cut short" if len(content) < expected else "has bytes too many"
        raise DataError(
            f"{wrong}: expected {expected:,} bytes for {dtype.name} values of the shape "
            f"{shape}, found {len(content):,}; download it again"
        )
    try:
        values = np.frombuffer(memoryview(content)[start:], dtype).reshape(shape)
    except ValueError as error:  # no value at all, but axes beyond what NumPy multiplies
        raise DataError(f"has the shape {shape}, which arrays cannot have ({error})") from error
    return values.astype(dtype.newbyteorder("="), copy=False)

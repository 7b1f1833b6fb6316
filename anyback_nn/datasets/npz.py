"""Arrays in NumPy's ``.npz`` files."""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyback_nn.datasets.columns import Column, Table, as_column, as_numbers, require_room
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Columns, Features, Scaling, fit_columns
from anyback_nn.datasets.split import DEFAULT_FRACTION, note_parts
from anyback_nn.datasets.targets import TargetScaling, choose_task, fit_target
from anyback_nn.errors import DataError
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import plural, prefix_errors, quoted_list

__all__ = ["load_npz", "read_npz"]

_NAMES = ("x_train", "y_train", "x_test", "y_test", "x", "X", "y")
_EXPECTED = "x_train, y_train, x_test and y_test, or x (or X) and y"


def load_npz(
    path: Path,
    *,
    task: str,
    test_fraction: float | None,
    seed: int,
    test_file: Path | None = None,
    scaling: TargetScaling = "standard",
) -> Dataset:
    """Load a file for training.

    It has ``x_train, y_train, x_test, y_test``, which are split already, or ``x`` (or ``X``)
    and ``y``, which are split here. Bytes (uint8) are divided by 255; other numbers are
    standardised like the columns of a table, which are then called x0, x1 and so on.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    with prefix_errors(path):
        arrays = _open(path)
        x_name, y_name = _names(arrays, "train")
        x = _features(arrays, x_name)
        train = Part(_fittable(x), _target(arrays, y_name, x_name))
        notes: tuple[str, ...] = ()
        chosen = choose_task(train.y, task, y_name)
        if x_name == "x_train":
            notes = note_parts(test_file, test_fraction)
            test = Part(_features(arrays, "x_test"), _target(arrays, "y_test", "x_test"))
        elif test_file is not None:
            test = _read_test_part(test_file)
        else:
            fraction = DEFAULT_FRACTION if test_fraction is None else test_fraction
            train, test = train.split(chosen, test_fraction=fraction, seed=seed)
        width = math.prod(x.shape[1:])
        if isinstance(train.x, np.ndarray):
            features: Features = Scaling(width, scale=255.0)
        else:
            features, further = fit_columns(train.x, keep_all=True)
            notes += further
            _require_all(features, width)
        encoding = Encoding(features, fit_target(train.y, chosen, scaling=scaling))
        return build_dataset(path.stem, train, test, encoding, notes)


def read_npz(path: Path, encoding: Encoding, *, with_target: bool) -> Rows:
    """Read ``x_test`` and ``y_test``, or ``x`` and ``y``, with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    with prefix_errors(path):
        arrays = _open(path)
        x_name, y_name = _names(arrays, "test")
        x = _features(arrays, x_name)
        y = _target(arrays, y_name, x_name) if with_target else None
        return encode_rows(x, y, encoding, is_test_part=x_name == "x_test")


def _read_test_part(path: Path) -> Part:
    """Read the test part from a file of its own."""
    with prefix_errors(path):
        arrays = _open(path)
        x_name, y_name = _names(arrays, "test")
        return Part(_features(arrays, x_name), _target(arrays, y_name, x_name))


def _open(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays with the known names; others are not read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            present = [name for name in _NAMES if name in archive]
            _require_stored(archive.zip, present)
            arrays = {name: np.asanyarray(archive[name]) for name in present}
            names = archive.files
    except (DataError, MemoryError):
        raise
    except Exception as error:  # NumPy and zipfile have errors of many kinds for other bytes
        raise DataError(
            "cannot be read as an .npz file: expected what numpy.savez writes, with arrays of "
            "numbers or strings and no Python objects; write it again"
        ) from error
    for name, values in arrays.items():
        _require_text(name, values)
    if not arrays:
        raise DataError(f"has the arrays {quoted_list(names) or '(none)'}: expected {_EXPECTED}")
    return arrays


def _require_text(name: str, values: np.ndarray) -> None:
    """Raise `DataError` if strings have characters that are none."""
    if values.dtype.kind == "U" and values.nbytes:
        native = values.astype(values.dtype.newbyteorder("="), order="C")
        if native.view(np.uint32).max() > sys.maxunicode:
            raise DataError(f"{name!r} has characters beyond Unicode: the file is damaged")


def _require_stored(archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    """Raise `DataError` unless what arrays take is what is stored for them, and is free."""
    total = 0  # of the arrays as read, in float64, in two parts, and encoded
    for name in names:
        with archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}
            shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(file)
            n_bytes, stored = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{name}.npy")
            # Objects, which are pickled, are refused when they are read.
            if not dtype.hasobject and n_bytes != stored.file_size - file.tell():
                raise DataError(
                    f"{name!r} is to be {n_bytes:,} bytes, of which {stored.file_size:,} are "
                    "stored: the file is damaged; write it again"
                )
        total += math.prod(shape) * (6 if dtype == np.uint8 else 24 + dtype.itemsize)
    remedy = "save a part of them, or save x alone as .npy and pass a memory map to Model.fit"
    require_memory(total, "its arrays take", remedy)


def _names(arrays: dict[str, np.ndarray], part: str) -> tuple[str, str]:
    """Return the names of the features and the target of a part, or of all rows."""
    if f"x_{part}" in arrays:
        return f"x_{part}", f"y_{part}"
    return "X" if "X" in arrays else "x", "y"


def _array(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise DataError(f"has no array {name!r}, but {quoted_list(arrays)}: expected {_EXPECTED}")
    return arrays[name]


def _features(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return features as they are, shape (n_rows, ...)."""
    values = _array(arrays, name)
    if values.dtype.kind not in "biuf" or values.ndim < 2 or not values.size:
        raise DataError(
            f"{name!r} holds {values.dtype} values of the shape {values.shape}: expected numbers "
            "of the shape (n_rows, n_features), or (n_images, height, width)"
        )
    return values


def _target(arrays: dict[str, np.ndarray], name: str, x_name: str) -> Column:
    """Return a target as a column."""
    values = _array(arrays, name)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    n_rows = len(arrays[x_name])
    column = as_column(name, values)
    if len(column) != n_rows:
        raise DataError(
            f"{x_name!r} has {plural(n_rows, 'row')} and {name!r} has {len(column):,}: expected "
            "as many targets as rows"
        )
    return column


def _fittable(x: np.ndarray) -> np.ndarray | Table:
    """Return bytes as they are, and other numbers as a table, to be standardised by column."""
    if x.dtype == np.uint8:
        return x
    flat = x.reshape(len(x), -1)
    require_room(flat.shape[1])
    return {f"x{i}": as_numbers(f"x{i}", flat[:, i]) for i in range(flat.shape[1])}


def _require_all(columns: Columns, width: int) -> None:
    """Raise unless each column of the array has values: columns are known by their index."""
    known = set(columns.names)
    if gone := [name for i in range(width) if (name := f"x{i}") not in known]:
        raise DataError(
            f"no row of the training part has a value in {plural(len(gone), 'column')}, "
            f"{quoted_list(gone)}: expected numbers in each; remove what is empty from the array"
        )

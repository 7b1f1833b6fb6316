"""Load data for training, and read rows for a trained network, from a name or a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from anyback_nn.datasets.columns import as_column
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.digits import DIGITS, digits_parts
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling
from anyback_nn.datasets.idx import PARTS, read_idx_images, read_idx_labels
from anyback_nn.datasets.npz import load_npz, read_npz
from anyback_nn.datasets.split import DEFAULT_FRACTION, note_parts
from anyback_nn.datasets.synthetic import (
    make_blobs,
    make_circles,
    make_moons,
    make_spirals,
    make_xor,
)
from anyback_nn.datasets.tables import load_table, read_table
from anyback_nn.datasets.targets import TargetScaling, Task, require_task
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import did_you_mean, prefix_errors, quoted_list

__all__ = ["BUILT_IN", "load", "read"]

_SHAPES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "xor": make_xor,
    "circles": make_circles,
    "moons": make_moons,
    "spirals": make_spirals,
    "blobs": make_blobs,
}
BUILT_IN = ("digits", *_SHAPES)

_TABLES = (".csv", ".csv.gz", ".parquet")
_READABLE = "a .csv, .csv.gz, .parquet or .npz file, or a folder with IDX files"
_DEFAULT_SEED = 0


def load(
    source: str | PathLike[str],
    *,
    target: str | Sequence[str] | None = None,
    task: str = "auto",
    test_fraction: float | None = None,
    seed: int = _DEFAULT_SEED,
    test_file: str | PathLike[str] | None = None,
    group: str | None = None,
    time: str | None = None,
    log_target: bool = False,
    center_target: bool = True,
) -> Dataset:
    """Load data for training and testing.

    Parameters
    ----------
    source : str or path-like
        A built-in name (``digits``, ``xor``, ``circles``, ``moons``, ``spirals``, ``blobs``) or
        the path of a CSV file (also gzipped), a Parquet file, an ``.npz`` file, or a folder with
        IDX files. A built-in name takes precedence over a file of that name; write
        ``./digits`` for the file.
    target : str or sequence of str, optional
        The column of a table that is to be predicted; needed for tables, refused for others.
        Several continuous targets, also ``"a,b"``, are predicted together.
    task : {"auto", "classification", "regression"}
        With ``"auto"``, built-in data and IDX folders are for classification. For other files,
        strings and booleans are classes; numbers that are not all integers are a continuous target;
        integers are classes if there are at most 20 distinct ones, else a continuous target.
    test_fraction : float, optional
        Share of the rows for the test part, for data that are not split already: tables, an
        ``.npz`` file with x and y, the shapes. For classification each class is split
        separately, and a class of a single row stays in the training part. Default: 0.2.
    seed : int
        Seed for the split, and for the random numbers of the synthetic shapes.
    test_file : str or path-like, optional
        A file of the same kind whose rows are the test part; those of the source are then all for
        training.
    group : str, optional
        A column of a table whose rows of one value stay in one part, such as the patient of each
        measurement. It is no feature.
    time : str, optional
        A column of a table, of numbers or dates, by which the last rows are the test part. Rows of
        one time stay together. It is a feature if it holds numbers.
    log_target : bool
        Whether a continuous target is learned on the scale of ``log1p``, for targets above -1 of
        many sizes; `Encoding.decode` still returns its own units.
    center_target : bool
        Whether the mean is subtracted from a continuous target, and it is divided by its standard
        deviation. If not, it is divided by its mean, for losses of counts such as `nn.Poisson`.

    Returns
    -------
    Dataset
        Its encoding was fitted on the training part only.

    Raises
    ------
    DataError
        If the source does not exist, cannot be read, or cannot be learned from; the message
        names the file, row and column.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.encoding.classes[:3]
    ((1437, 64), ('0', '1', '2'))
    """
    require_task(task)
    if log_target and not center_target:
        raise DataError("log_target and center_target=False were given: expected one of them")
    scaling: TargetScaling = "log" if log_target else "standard" if center_target else "mean"
    labelled: Task = "regression" if task == "regression" else "classification"
    if source in BUILT_IN:
        name = str(source)
        _refuse_columns(source, target=target, group=group, time=time)
        with prefix_errors(name):
            notes = note_parts(test_file, test_fraction if name == "digits" else None)
        train, test = _built_in_parts(name, test_fraction, seed)
        features = DIGITS if name == "digits" else Scaling(n_features=2)
        return build_dataset(name, train, test, features, labelled, scaling=scaling, notes=notes)
    path = _existing(source)
    test_path = None if test_file is None else _existing(test_file)
    if test_path is not None and (group is not None or time is not None):
        raise DataError(
            "test_file (--test-file) is the test part, so the rows are not divided: leave group "
            "(--group) and time (--time) out"
        )
    if test_path is not None and test_fraction is not None:
        raise DataError(
            "both test_file (--test-file) and test_fraction (--test-share) were given: expected one"
        )
    if test_path is not None and _is_table(test_path) != _is_table(path):
        raise DataError(f"{test_path}: expected a file of the same kind as {path}")
    if _is_table(path):
        return load_table(
            path,
            target=target,
            task=task,
            test_fraction=test_fraction,
            seed=seed,
            test_file=test_path,
            group=group,
            time=time,
            scaling=scaling,
        )
    _refuse_columns(source, target=target, group=group, time=time)
    if path.is_dir():
        with prefix_errors(path):
            notes = note_parts(test_file, test_fraction)
        train, test = (
            Part(x := read_idx_images(path, name), read_idx_labels(path, name, len(x)))
            for name in PARTS
        )
        features = Scaling(math.prod(train.x.shape[1:]), scale=255.0)
        with prefix_errors(path):
            return build_dataset(
                path.resolve().name, train, test, features, labelled, scaling=scaling, notes=notes
            )
    return load_npz(
        path,
        task=task,
        test_fraction=test_fraction,
        seed=seed,
        test_file=test_path,
        scaling=scaling,
    )


def read(
    source: str | PathLike[str],
    encoding: Encoding,
    *,
    target: str | Sequence[str] | None = None,
    with_target: bool,
) -> Rows:
    """Read rows for a trained network, encoded as its training data were.

    Parameters
    ----------
    source : str or path-like
        As for `load`. Data that are split already (the digits, an IDX folder, an ``.npz`` file
        with x_test) give their test part, and so do the shapes, as drawn by default; tables and
        other ``.npz`` files give all rows.
    encoding : Encoding
        Fitted by `load`. A table needs its columns, in any order; others are ignored. For an
        encoding of arrays, all columns of a table but the target are the features.
    target : str or sequence of str, optional
        The columns with the targets, if they are not those of the encoding.
    with_target : bool
        Whether to read the targets too.

    Returns
    -------
    Rows

    Raises
    ------
    DataError
        If the source does not exist or cannot be read, if columns or the target are missing, if
        the number of features differs, or if a label is not one of the encoding's classes.

    Examples
    --------
    >>> rows = read("digits", load("digits").encoding, with_target=True)
    >>> rows.x.shape, rows.y.shape
    ((360, 64), (360,))
    """
    if source in BUILT_IN:
        name = str(source)
        _refuse_columns(source, target=target)
        _, test = _built_in_parts(name)
        with prefix_errors(name):
            y = test.y if with_target else None
            return encode_rows(test.x, y, encoding, is_test_part=True)
    path = _existing(source)
    if _is_table(path):
        return read_table(path, encoding, target=target, with_target=with_target)
    _refuse_columns(source, target=target)
    if path.is_dir():
        images = read_idx_images(path, "t10k")
        labels = read_idx_labels(path, "t10k", len(images)) if with_target else None
        with prefix_errors(path):
            return encode_rows(images, labels, encoding, is_test_part=True)
    return read_npz(path, encoding, with_target=with_target)


def _built_in_parts(
    name: str, test_fraction: float | None = None, seed: int = _DEFAULT_SEED
) -> tuple[Part, Part]:
    if name == "digits":
        return digits_parts()
    x, y = _SHAPES[name](seed=seed)
    fraction = DEFAULT_FRACTION if test_fraction is None else test_fraction
    return Part(x, as_column("y", y)).split("classification", test_fraction=fraction, seed=seed)


def _existing(source: str | PathLike[str]) -> Path:
    """Return the path, if it exists and is of a kind that can be read."""
    path = Path(source)
    if not path.exists():
        raise DataError(
            f"{fspath(source)}: no such file or folder.{did_you_mean(fspath(source), BUILT_IN)} "
            f"Expected {_READABLE}, or one of the built-in names {quoted_list(BUILT_IN)}"
        )
    if not (path.is_dir() or _is_table(path) or path.suffix.lower() == ".npz"):
        raise DataError(
            f"{path}: files of the kind {path.suffix or '(no suffix)'} cannot be read: expected "
            f"{_READABLE}; convert it to one of these"
        )
    return path


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(_TABLES) and not path.is_dir()


def _refuse_columns(source: str | PathLike[str], **columns: str | Sequence[str] | None) -> None:
    for role, column in columns.items():
        if column is not None:
            raise DataError(
                f"{fspath(source)}: has no columns to choose the {role} {column!r} from: leave "
                f"{role} (--{role}) out; only CSV and Parquet files take it"
            )

"""Load data for training, and read rows for a trained network, from a name or a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import as_column
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.digits import DIGITS, digits_parts
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling
from anyback_nn.datasets.frames import STANDARD_INPUT, is_table, table_label
from anyback_nn.datasets.idx import PARTS, read_idx_images, read_idx_labels
from anyback_nn.datasets.npz import load_npz, read_npz
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.split import DEFAULT_FRACTION, note_parts
from anyback_nn.datasets.synthetic import (
    make_blobs,
    make_circles,
    make_moons,
    make_spirals,
    make_xor,
)
from anyback_nn.datasets.tables import load_table, read_table
from anyback_nn.datasets.targets import TargetScaling, Task, fit_target, require_task
from anyback_nn.errors import DataError
from anyback_nn.utils.memory import limit_memory
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
"""The names of the built-in data sets, see `load`."""

_READABLE = (
    "a .csv, .tsv, .txt or .parquet file, also compressed (.gz, .bz2, .zip), an .npz file, or a "
    "folder with IDX files"
)
_DEFAULT_SEED = 0


def load(
    source: Any,
    *,
    target: str | Sequence[str] | None = None,
    task: str = "auto",
    test_fraction: float | None = None,
    seed: int = _DEFAULT_SEED,
    test_file: Any = None,
    group: str | None = None,
    time: str | None = None,
    log_target: bool = False,
    center_target: bool = True,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
    na_values: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    features: str | Sequence[str] | None = None,
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    ids: str | Sequence[str] = (),
    memory_limit: int | None = None,
) -> Dataset:
    """Load data for training and testing.

    Parameters
    ----------
    source : str, path-like, file object or data frame
        A built-in name (``digits``, ``xor``, ``circles``, ``moons``, ``spirals``, ``blobs``); the
        path of a text file (``.csv``, ``.tsv``, ``.txt``) or a Parquet file, also compressed
        (``.gz``, ``.bz2``, ``.zip``), an ``.npz`` file, or a folder with IDX files; ``-`` for a
        table from standard input; an open file; or a data frame of pandas or polars, of which
        booleans are numbers and the index is no column. A built-in name takes precedence over a
        file of that name; write ``./digits`` for the file.
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
    test_file : str, path-like, file object or data frame, optional
        A source of the same kind whose rows are the test part; those of the source are then all for
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
    separator, decimal, encoding, na_values, drop, features, categorical, numeric, ids
        How a table is read, and what its columns are, see `TableOptions`. One name stands for a
        sequence of it. They are kept in the dataset's encoding.
    memory_limit : int, optional
        The bytes that a file may take when it is read, as far as the file says; more is refused
        before it is read. Default: those that are free.

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

    >>> import polars as pl
    >>> frame = pl.DataFrame({"area": range(9), "no": range(9), "rent": [i / 4 for i in range(9)]})
    >>> load(frame, target="rent", ids="no").encoding.features.names
    ('area',)
    """
    require_task(task)
    if log_target and not center_target:
        raise DataError("log_target and center_target=False were given: expected one of them")
    scaling: TargetScaling = "log" if log_target else "standard" if center_target else "mean"
    labelled: Task = "regression" if task == "regression" else "classification"
    columns: Any = (na_values, drop, features, categorical, numeric, ids)
    options = TableOptions(separator, decimal, encoding, *columns)
    if _is_built_in(source):
        name = str(source)
        _refuse_settings(source, options, target=target, group=group, time=time)
        with prefix_errors(name):
            notes = note_parts(test_file, test_fraction if name == "digits" else None)
        train, test = _built_in_parts(name, test_fraction, seed)
        scaled = DIGITS if name == "digits" else Scaling(n_features=2)
        fitted = Encoding(scaled, fit_target(train.y, labelled, scaling=scaling))
        return build_dataset(name, train, test, fitted, notes)
    _require_existing(source)
    if test_file is not None:
        _require_existing(test_file)
        if group is not None or time is not None:
            raise DataError(
                "test_file (--test-file) is the test part, so the rows are not divided: leave "
                "group (--group) and time (--time) out"
            )
        if test_fraction is not None:
            raise DataError(
                "both test_file (--test-file) and test_fraction (--test-share) were given: "
                "expected one"
            )
        if is_table(test_file) != is_table(source):
            raise DataError(
                f"{table_label(test_file)}: expected a file of the same kind as "
                f"{table_label(source)}"
            )
    with limit_memory(memory_limit):
        if is_table(source):
            return load_table(
                source,
                target=target,
                task=task,
                test_fraction=test_fraction,
                seed=seed,
                options=options,
                test_file=test_file,
                group=group,
                time=time,
                scaling=scaling,
            )
        _refuse_settings(source, options, target=target, group=group, time=time)
        path = Path(source)
        if path.is_dir():
            with prefix_errors(path):
                notes = note_parts(test_file, test_fraction)
            train, test = (
                Part(x := read_idx_images(path, name), read_idx_labels(path, name, len(x)))
                for name in PARTS
            )
            scaled = Scaling(math.prod(train.x.shape[1:]), scale=255.0)
            with prefix_errors(path):
                fitted = Encoding(scaled, fit_target(train.y, labelled, scaling=scaling))
                return build_dataset(path.resolve().name, train, test, fitted, notes)
        return load_npz(
            path,
            task=task,
            test_fraction=test_fraction,
            seed=seed,
            test_file=None if test_file is None else Path(test_file),
            scaling=scaling,
        )


def read(
    source: Any,
    encoding: Encoding,
    *,
    target: str | Sequence[str] | None = None,
    with_target: bool,
    options: TableOptions | None = None,
    memory_limit: int | None = None,
) -> Rows:
    """Read rows for a trained network, encoded as its training data were.

    Parameters
    ----------
    source : str, path-like, file object or data frame
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
    options : TableOptions, optional
        How a table is read. Default: those that the table of training was loaded with, which are
        ``encoding.options``. A decimal mark is that of this table, whichever training had.
    memory_limit : int, optional
        As for `load`.

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
    if _is_built_in(source):
        name = str(source)
        _refuse_settings(source, options, encoding.options, target=target)
        _, test = _built_in_parts(name)
        with prefix_errors(name):
            y = test.y if with_target else None
            return encode_rows(test.x, y, encoding, is_test_part=True)
    _require_existing(source)
    with limit_memory(memory_limit):
        if is_table(source):
            return read_table(
                source, encoding, target=target, with_target=with_target, options=options
            )
        _refuse_settings(source, options, encoding.options, target=target)
        path = Path(source)
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


def _is_built_in(source: Any) -> bool:
    return isinstance(source, str) and source in BUILT_IN


def _require_existing(source: Any) -> None:
    """Raise `DataError` unless a source exists, if it is a path, and is of a kind that is read."""
    if not isinstance(source, str | PathLike):
        if is_table(source):
            return
        raise DataError(
            f"the source is a {type(source).__name__}: expected a name, a path, an open file or a "
            "data frame; arrays are passed to Model.fit"
        )
    path = Path(source)
    if source != STANDARD_INPUT and not path.exists():
        raise DataError(
            f"{fspath(source)}: no such file or folder.{did_you_mean(fspath(source), BUILT_IN)} "
            f"Expected {_READABLE}, or one of the built-in names {quoted_list(BUILT_IN)}"
        )
    if not (path.is_dir() or is_table(source) or path.suffix.lower() == ".npz"):
        raise DataError(
            f"{path}: files of the kind {path.suffix or '(no suffix)'} cannot be read: expected "
            f"{_READABLE}; convert it to one of these"
        )


def _refuse_settings(
    source: str | PathLike[str],
    options: TableOptions | None,
    known: TableOptions = NO_OPTIONS,
    **columns: str | Sequence[str] | None,
) -> None:
    """Raise `DataError` if columns or options were given for data that are no table."""
    for role, column in columns.items():
        if column is not None:
            raise DataError(
                f"{fspath(source)}: has no columns to choose the {role} {column!r} from: leave "
                f"{role} (--{role}) out; only tables take it"
            )
    if options not in (None, known):
        given = [
            f.name for f in fields(known) if getattr(options, f.name) != getattr(known, f.name)
        ]
        raise DataError(
            f"{fspath(source)}: is no table, so it cannot be read with {quoted_list(given)}: leave "
            "these options out"
        )

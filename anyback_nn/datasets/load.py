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
from anyback_nn.datasets.frames import STANDARD_INPUT, is_table
from anyback_nn.datasets.idx import PARTS, read_idx_images, read_idx_labels
from anyback_nn.datasets.npz import load_npz, read_npz
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.synthetic import (
    make_blobs,
    make_circles,
    make_moons,
    make_spirals,
    make_xor,
)
from anyback_nn.datasets.tables import load_table, read_table
from anyback_nn.datasets.targets import Task, require_task
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

_READABLE = (
    "a .csv, .tsv, .txt or .parquet file, also compressed (.gz, .bz2, .zip), an .npz file, or a "
    "folder with IDX files"
)
_DEFAULT_FRACTION, _DEFAULT_SEED = 0.2, 0


def load(
    source: Any,
    *,
    target: str | None = None,
    task: str = "auto",
    test_fraction: float = _DEFAULT_FRACTION,
    seed: int = _DEFAULT_SEED,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str = "utf-8",
    na_values: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    features: str | Sequence[str] | None = None,
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    ids: str | Sequence[str] = (),
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
    target : str, optional
        The column of a table that is to be predicted; needed for tables, refused for others.
    task : {"auto", "classification", "regression"}
        With ``"auto"``, built-in data and IDX folders are for classification. For other files,
        strings and booleans are classes; numbers that are not all integers are a continuous target;
        integers are classes if there are at most 20 distinct ones, else a continuous target.
    test_fraction : float
        Share of the rows for the test part, for data that are not split already: tables, an
        ``.npz`` file with x and y, the shapes. For classification each class is split
        separately, and a class of a single row stays in the training part.
    seed : int
        Seed for the split, and for the random numbers of the synthetic shapes.
    separator, decimal, encoding, na_values, drop, features, categorical, numeric, ids
        How a table is read, and what its columns are, see `TableOptions`. One name stands for a
        sequence of it. They are kept in the dataset's encoding.

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
    labelled: Task = "regression" if task == "regression" else "classification"
    given: dict[str, Any] = {
        "separator": separator,
        "decimal": decimal,
        "encoding": encoding,
        "na_values": na_values,
        "drop": drop,
        "features": features,
        "categorical": categorical,
        "numeric": numeric,
        "ids": ids,
    }
    options = TableOptions(**given)
    if _is_built_in(source):
        name = str(source)
        _refuse_table_options(source, target, options)
        train, test = _built_in_parts(name, test_fraction, seed)
        scaling = DIGITS if name == "digits" else Scaling(n_features=2)
        return build_dataset(name, train, test, scaling, labelled)
    _require_existing(source)
    if is_table(source):
        return load_table(
            source,
            target=target,
            task=task,
            test_fraction=test_fraction,
            seed=seed,
            options=options,
        )
    _refuse_table_options(source, target, options)
    path = Path(source)
    if path.is_dir():
        train, test = (
            Part(x := read_idx_images(path, name), read_idx_labels(path, name, len(x)))
            for name in PARTS
        )
        scaling = Scaling(math.prod(train.x.shape[1:]), scale=255.0)
        with prefix_errors(path):
            return build_dataset(path.resolve().name, train, test, scaling, labelled)
    return load_npz(path, task=task, test_fraction=test_fraction, seed=seed)


def read(
    source: Any,
    encoding: Encoding,
    *,
    target: str | None = None,
    with_target: bool,
    options: TableOptions | None = None,
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
    target : str, optional
        The column with the targets, if it is not the one of the encoding.
    with_target : bool
        Whether to read the targets too.
    options : TableOptions, optional
        How a table is read. Default: those that the table of training was loaded with, which are
        ``encoding.options``.

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
        _refuse_table_options(source, target, options, encoding.options)
        _, test = _built_in_parts(name)
        with prefix_errors(name):
            y = test.y if with_target else None
            return encode_rows(test.x, y, encoding, is_test_part=True)
    _require_existing(source)
    if is_table(source):
        return read_table(source, encoding, target=target, with_target=with_target, options=options)
    _refuse_table_options(source, target, options, encoding.options)
    path = Path(source)
    if path.is_dir():
        images = read_idx_images(path, "t10k")
        labels = read_idx_labels(path, "t10k", len(images)) if with_target else None
        with prefix_errors(path):
            return encode_rows(images, labels, encoding, is_test_part=True)
    return read_npz(path, encoding, with_target=with_target)


def _built_in_parts(
    name: str, test_fraction: float = _DEFAULT_FRACTION, seed: int = _DEFAULT_SEED
) -> tuple[Part, Part]:
    if name == "digits":
        return digits_parts()
    x, y = _SHAPES[name](seed=seed)
    return Part(x, as_column("y", y)).split(
        "classification", test_fraction=test_fraction, seed=seed
    )


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


def _refuse_table_options(
    source: str | PathLike[str],
    target: str | None,
    options: TableOptions | None,
    known: TableOptions = NO_OPTIONS,
) -> None:
    if target is not None:
        raise DataError(
            f"{fspath(source)}: has no columns to choose the target {target!r} from: leave target "
            "(--target) out; only tables take it"
        )
    if options not in (None, known):
        given = [
            f.name for f in fields(known) if getattr(options, f.name) != getattr(known, f.name)
        ]
        raise DataError(
            f"{fspath(source)}: is no table, so it cannot be read with {quoted_list(given)}: leave "
            "these options out"
        )

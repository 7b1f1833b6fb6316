"""Batches of a Parquet file that may be larger than the memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import (
    find_gaps,
    find_missing,
    require_column,
    require_columns,
    require_target,
)
from anyback_nn.datasets.encoding import Encoding, encoding_from_json
from anyback_nn.datasets.features import Columns
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.parquet_file import ParquetFile, open_parquet
from anyback_nn.datasets.streaming import fit_file
from anyback_nn.datasets.stretches import Rows, cut_batches, read_blocks
from anyback_nn.datasets.tables import choose_features, reread_targets, select_features
from anyback_nn.datasets.targets import require_task
from anyback_nn.errors import DataError
from anyback_nn.random import generator
from anyback_nn.utils.arguments import as_integer
from anyback_nn.utils.messages import quoted_list

__all__ = ["ParquetBatches", "parquet_batches"]

_BUFFER = 2**22
"""How many numbers are in memory at once, if the user does not set how many rows."""


@dataclass(frozen=True, eq=False)
class ParquetBatches:
    """The batches of a Parquet file, as `Model.fit` takes them; make them with `parquet_batches`.

    Iterating gives those of epoch 0. `Model.fit` asks for each ``epoch(number)``, so that resumed
    training has the same batches as training without a break.

    Attributes
    ----------
    file : ParquetFile
    encoding : Encoding
        How raw rows become ``x``, and outputs become predictions.
    columns : tuple of str
        The columns of the features.
    target : str
    batch_size : int
    shuffle : bool
    seed : int
    stretch : int
        The number of rows that are read from one place of the file.
    places : int
    options : TableOptions
        As in `parquet_batches`, like those without a description.
    notes : tuple of str
        Messages for the user: what columns are, filled gaps, columns and rows left out.
    n_labelled : int, optional
        The rows that have a target, if the encoding was learned from this file.
    """

    file: ParquetFile
    encoding: Encoding
    columns: tuple[str, ...]
    target: str
    batch_size: int
    shuffle: bool
    seed: int
    stretch: int
    places: int
    notes: tuple[str, ...] = ()
    options: TableOptions = NO_OPTIONS
    n_labelled: int | None = None

    def __len__(self) -> int:
        """Count the batches of an epoch; for an encoding that was given, this reads the target."""
        n_labelled = self._n_counted if self.n_labelled is None else self.n_labelled
        return math.ceil(n_labelled / self.batch_size)

    @cached_property
    def _n_counted(self) -> int:
        n_gaps, size = 0, self.stretch * self.places
        for start in range(0, self.file.n_rows, size):
            targets = self.file.read([self.target], start, size)[self.target]
            keep = self.encoding.classes or ()
            gaps = find_gaps(targets, self.options.na_values, keep=keep)
            n_gaps += int(gaps.sum())
        return self.file.n_rows - n_gaps

    def __iter__(self) -> Iterator[Rows]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Rows]:
        """Yield the batches of the epoch with this number.

        Yields
        ------
        x : ndarray of float32, shape (n_rows, n_features)
        y : ndarray, shape (n_rows,)
            Classification: class indices (int64). Regression: standardised values (float32).
        """
        random = generator(self.seed, "order", number) if self.shuffle else None
        starts = np.arange(0, self.file.n_rows, self.stretch)
        blocks = read_blocks(self._read, starts, random, self.places)
        return cut_batches(blocks, self.batch_size)

    def _read(self, start: int) -> Rows:
        """Read and encode a stretch."""
        frame = self.file.read([*self.columns, self.target], start, self.stretch)
        features: Any = self.encoding.features
        with self.file.prefix_errors(start):
            x = features.encode(select_features(frame, features, self.columns, self.options))
            target = self.encoding.target
            targets = reread_targets(frame, (self.target,), target, self.options)
            gaps = find_missing(targets)
            if gaps.any():
                x, targets = x[~gaps], targets[~gaps]
            return x, target.encode(targets)


def parquet_batches(
    path: str | PathLike[str],
    target: str | None = None,
    *,
    batch_size: int = 32,
    columns: Sequence[str] | None = None,
    task: str = "auto",
    encoding: Encoding | dict[str, Any] | None = None,
    shuffle: bool = True,
    seed: int = 0,
    buffer: int | None = None,
    places: int = 1,
    options: TableOptions | None = None,
    memory_limit: int | None = None,
) -> ParquetBatches:
    """Train from a Parquet file in bounded memory, however large it is.

    The file is read once to learn its encoding, as `load` learns that of a table, its columns of
    strings twice, and then once an epoch. Rows without a target are left out.

    Parameters
    ----------
    path : str or path-like
        A file, or a folder of files with the same columns.
    target : str, optional
        The column to predict. Default: that of the encoding.
    batch_size : int
        The last batch of an epoch may be smaller.
    columns : sequence of str, optional
        The features: columns of numbers, of dates, or of booleans or strings with at most 1,000
        different values. Default: all columns but the target, and but those that name or number
        the rows.
    task : {"auto", "classification", "regression"}
        As for `load`; ignored if an encoding is given.
    encoding : Encoding or dict, optional
        That of data that were loaded before, such as ``train.encoding`` for a file to evaluate
        with. Default: it is learned from this file, all of it. Missing numbers then become the
        column's median; in a file of more than 4 million numbers, the median of some rows.
    shuffle : bool
        Whether each epoch has the rows in a new order, drawn from ``seed`` and the epoch's number:
        stretches of the file in random order, and their rows in random order.
    seed : int
    buffer : int, optional
        How many rows are in memory at once. Default: as many as have 4 million numbers. It is best
        larger than a row group of the file, which can only be read as a whole.
    places : int
        From how many places of the file the rows in memory come. A file whose rows are in some
        order, such as that of their classes, needs several to be shuffled well; reading it takes
        longer then, if row groups are large.
    options : TableOptions, optional
        What columns are, and which strings are missing values. Default: those of the encoding.
    memory_limit : int, optional
        The bytes that a row group may take. Default: those that are free.

    Returns
    -------
    ParquetBatches
        Iterable, with a length; has the ``encoding`` and ``notes``.

    Raises
    ------
    DataError
        If the file cannot be read or learned from, or has no such column; the message names file,
        column and row. Iterating over the batches raises the same.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import anyback_nn as nn
    >>> import polars as pl
    >>> frame = pl.DataFrame({"size": [2.0, 3.5, 9.0] * 9, "price": [4.5, 7.5, 18.5] * 9})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "homes.parquet")
    ...     frame.write_parquet(path)
    ...     batches = nn.datasets.parquet_batches(path, "price", batch_size=8)
    ...     model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError())
    ...     history = model.fit(batches, epochs=50, optimizer=nn.Adam(0.05))
    >>> len(batches), batches.encoding.task
    (4, 'regression')
    >>> history["train_loss"][-1] < 0.01
    True
    """
    require_task(task)
    batch_size = as_integer("batch_size", batch_size, least=1)
    places = as_integer("places", places, least=1)
    buffer = buffer if buffer is None else as_integer("buffer", buffer, least=1)
    file = open_parquet(Path(path), memory_limit)
    notes: tuple[str, ...] = ()
    n_labelled = None
    if isinstance(encoding, dict):
        encoding = encoding_from_json(encoding)
    if options is None:
        options = NO_OPTIONS if encoding is None else encoding.options
    with file.prefix_errors():
        if encoding is not None and target is None:
            target = encoding.target.name
        target = require_target(target, file.types)
        features = _choose_features(file, target, columns, encoding, options)
    if encoding is None:
        size = max(_BUFFER // (len(features) + 1), 1)
        if columns is not None:
            options = replace(options, features=features)
        encoding, notes, n_labelled = fit_file(
            file, features, target, task=task, size=size, options=options
        )
        features = _choose_features(file, target, None, encoding, options)
    width = max(len(features) + 1, encoding.n_features)
    stretch = max((buffer or max(_BUFFER // width, batch_size)) // places, 1)
    return ParquetBatches(
        file,
        encoding,
        features,
        target,
        batch_size,
        shuffle,
        seed,
        stretch,
        places,
        notes,
        options,
        n_labelled,
    )


def _choose_features(
    file: ParquetFile,
    target: str,
    columns: Sequence[str] | None,
    encoding: Encoding | None,
    options: TableOptions,
) -> tuple[str, ...]:
    """Return the columns of the features: those named, of the encoding, or all but the target."""
    if encoding is not None and isinstance(encoding.features, Columns):
        if columns is not None:
            raise DataError("columns and an encoding were given: expected one, which knows them")
        columns = encoding.features.names
        require_columns(columns, file.types)
    elif columns is None:
        columns = choose_features(list(file.types), (target,), options)
    for name in columns:
        require_column(name, file.types)
    if target in columns or not columns or len(set(columns)) < len(columns):
        raise DataError(
            f"the features are {quoted_list(columns) or '(none)'} and the target is {target!r}: "
            "expected at least one feature, each once, and the target not among them"
        )
    return tuple(columns)

"""Batches of a Parquet file that may be larger than the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.datasets.encoding import Encoding, encoding_from_json
from anyback_nn.datasets.features import Columns
from anyback_nn.datasets.scan import Scan, scan_parquet
from anyback_nn.datasets.series import (
    answers_in,
    numbers_in,
    require_column,
    require_columns,
    select,
)
from anyback_nn.datasets.streaming import fit_scan
from anyback_nn.datasets.targets import TASKS
from anyback_nn.datasets.wording import listing, naming
from anyback_nn.errors import DataError
from anyback_nn.random import generator
from anyback_nn.utils.arguments import as_integer

__all__ = ["ParquetBatches", "parquet_batches"]

_BUFFER = 2**22
"""How many numbers are held at once, unless the user says how many rows."""

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class ParquetBatches:
    """The batches of a Parquet file, as `Model.fit` takes them; make them with `parquet_batches`.

    Iterated over, they are those of epoch 0. `Model.fit` asks for each ``epoch(number)``, so that
    training which is resumed goes on as it would have.

    Attributes
    ----------
    encoding : Encoding
        How raw rows become ``x``, and outputs become answers.
    notes : tuple of str
        What a user should be told: filled gaps, columns left out.
    """

    scan: Scan
    encoding: Encoding
    columns: tuple[str, ...]
    target: str
    batch_size: int
    shuffle: bool
    seed: int
    stretch: int
    places: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        whole, rest = divmod(self.scan.n_rows, self.batch_size)
        return whole + (rest > 0)

    def __iter__(self) -> Iterator[Pair]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Pair]:
        """Give the batches of the epoch with this number.

        Yields
        ------
        x : ndarray of float32, shape (n_rows, n_features)
        y : ndarray, shape (n_rows,)
            Classification: class indices (int64). Regression: standardised values (float32).
        """
        return _cut(self._blocks(number), self.batch_size)

    def _blocks(self, number: int) -> Iterator[Pair]:
        """Give what is in memory at once: some stretches, their rows shuffled."""
        starts = np.arange(0, self.scan.n_rows, self.stretch)
        random = generator(self.seed, "order", number) if self.shuffle else None
        if random is not None:
            starts = random.permutation(starts)
        for first in range(0, len(starts), self.places):
            parts = [self._read(int(start)) for start in starts[first : first + self.places]]
            x, y = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts))
            if random is not None:
                order = random.permutation(len(y))
                x, y = x[order], y[order]
            yield x, y

    def _read(self, start: int) -> Pair:
        """Read and encode a stretch."""
        frame = self.scan.read([*self.columns, self.target], start, self.stretch)
        features, target = self.encoding.features, self.encoding.target
        with self.scan.located(start):
            if isinstance(features, Columns):
                x = features.encode(select(frame, features))
            else:
                x = features.encode(np.column_stack([numbers_in(frame[c]) for c in self.columns]))
            answers = frame[self.target]
            regression = self.encoding.task == "regression"
            return x, target.encode(numbers_in(answers) if regression else answers_in(answers))


def _cut(blocks: Iterable[Pair], size: int) -> Iterator[Pair]:
    """Cut batches of one size from blocks of any; only the last may be smaller."""
    rest: Pair | None = None
    for x, y in blocks:
        if rest is not None:
            x, y = np.concatenate((rest[0], x)), np.concatenate((rest[1], y))
        whole = len(y) - len(y) % size
        for start in range(0, whole, size):
            yield x[start : start + size], y[start : start + size]
        # A copy, because a view would hold the whole block while the next one is read.
        rest = (x[whole:].copy(), y[whole:].copy()) if whole < len(y) else None
    if rest is not None:
        yield rest


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
) -> ParquetBatches:
    """Train from a Parquet file in bounded memory, however large it is.

    The file is gone through once to learn its encoding, as `load` learns that of a table, and then
    once an epoch.

    Parameters
    ----------
    path : str or path-like
        A file, or a folder of files with the same columns.
    target : str, optional
        The column that is to be predicted; an encoding may know it.
    batch_size : int
        The last batch of an epoch may be smaller.
    columns : sequence of str, optional
        The features: columns of numbers, or of booleans or texts with at most 1,000 different
        values. Default: all columns but the target.
    task : {"auto", "classification", "regression"}
        As for `load`; an encoding that is given knows its own.
    encoding : Encoding or dict, optional
        That of data that were loaded before, such as ``train.encoding`` for a file to evaluate
        with. Default: it is learned from this file, all of it. Missing numbers then become the
        column's median; in a file of more than 4 million numbers, the median of some rows.
    shuffle : bool
        Whether each epoch goes through the rows in a new order, drawn from ``seed`` and the epoch's
        number: stretches of the file in random order, and their rows in random order.
    seed : int
    buffer : int, optional
        How many rows are in memory at once. Default: as many as have 4 million numbers. Best is
        more than a row group of the file, which can be read as a whole only.
    places : int
        From how many places of the file the rows in memory come. A file whose rows are in some
        order, such as that of their classes, needs several to be shuffled well; reading it takes
        longer then, if row groups are large.

    Returns
    -------
    ParquetBatches
        Iterable, with a length; has the ``encoding`` and ``notes``.

    Raises
    ------
    DataError
        If the file cannot be read or learned from, has no such column, or answers are missing; the
        message names file, column and row. Going through the batches, the same.

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
    if task not in TASKS:
        raise DataError(f"the task is {task!r}: expected one of {listing(TASKS)}")
    batch_size = as_integer("batch_size", batch_size, least=1)
    places = as_integer("places", places, least=1)
    buffer = buffer if buffer is None else as_integer("buffer", buffer, least=1)
    scan = scan_parquet(Path(path))
    notes: tuple[str, ...] = ()
    if isinstance(encoding, dict):
        encoding = encoding_from_json(encoding)
    with naming(scan.path):
        target = _target(scan, target, encoding)
        features = _columns(scan, target, columns, encoding)
    if encoding is None:
        size = max(_BUFFER // (len(features) + 1), 1)
        encoding, notes = fit_scan(scan, features, target, task=task, size=size)
        features = _columns(scan, target, None, encoding)
    width = max(len(features) + 1, encoding.n_features)
    stretch = max((buffer or max(_BUFFER // width, batch_size)) // places, 1)
    return ParquetBatches(
        scan, encoding, features, target, batch_size, shuffle, seed, stretch, places, notes
    )


def _target(scan: Scan, target: str | None, encoding: Encoding | None) -> str:
    """Find the column with the answers."""
    if target is None and encoding is not None:
        target = encoding.target.name
    if target is None:
        raise DataError(
            f"no target column was named: pass target=, one of {listing(scan.kinds, limit=30)}"
        )
    require_column(target, scan.kinds)
    return target


def _columns(
    scan: Scan, target: str, columns: Sequence[str] | None, encoding: Encoding | None
) -> tuple[str, ...]:
    """Find the columns of the features."""
    if encoding is not None and isinstance(encoding.features, Columns):
        if columns is not None:
            raise DataError("columns and an encoding were given: expected one, which knows them")
        columns = encoding.features.names
        require_columns(columns, scan.kinds)
    elif columns is None:
        columns = [name for name in scan.kinds if name != target]
    for name in columns:
        require_column(name, scan.kinds)
    if target in columns or not columns or len(set(columns)) < len(columns):
        raise DataError(
            f"the features are {listing(columns) or '(none)'} and the target is {target!r}: "
            "expected at least one feature, each once, and the target not among them"
        )
    return tuple(columns)

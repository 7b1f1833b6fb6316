"""The batches of an estimator: in scikit-learn's order, and from sparse inputs too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from anyback_nn.backends import Backend
from anyback_nn.inputs.batches import Source, batches_of, move, take
from anyback_nn.inputs.checks import Samples

__all__ = ["SampleSource", "build_source", "rows_at_once"]


LIMIT = 2**21
"""The most elements of a batch (but at least a row) whose size only memory limits."""


def rows_at_once(n_features: int) -> int:
    """Return the size of batches that only memory limits."""
    return max(1, LIMIT // n_features)


@dataclass(frozen=True)
class SampleSource(Source):
    """Batches of rows of arrays, or of a sparse matrix, each batch of which is made dense.

    Create one with `build_source`.

    Parameters
    ----------
    rows, batch_size, random
        See `build_source`.
    bring : callable
        Moves a batch to the device.
    order : numpy.ndarray
        The row numbers in their order; shuffled in place before each epoch.
    whole : bool
        Whether all rows are used in the arrays' order, so that a batch is a slice.
    resident : bool
        Whether the rows are on the device.
    """

    rows: Samples
    bring: Callable[[Samples], Samples]
    batch_size: int
    order: Any
    random: Any = None
    whole: bool = False
    resident: bool = False

    @property
    def n_samples(self) -> int:
        """The number of rows in use."""
        return int(self.order.shape[0])

    @property
    def rows_a_batch(self) -> int:
        return self.batch_size

    @property
    def n_batches(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def epoch(self, number: int) -> Iterator[Samples]:
        self._shuffle()

        def gather(start: int, stop: int) -> Samples:
            some = slice(start, stop) if self.whole else self.order[start:stop]
            return self.bring(Samples(*(_rows_of(array, some) for array in self.rows)))

        return batches_of(gather, self.n_samples, self.batch_size, int(self.rows.x.shape[1]))

    @property
    def all_rows(self) -> Samples | None:
        return self.rows if self.resident else None

    def rows_of_batches(self, number: int) -> Iterator[Any]:
        self._shuffle()
        starts = range(0, self.n_samples, self.batch_size)
        return (self.order[start : start + self.batch_size] for start in starts)

    def _shuffle(self) -> None:
        """Change the order as sklearn.utils.shuffle does, so that it is the same as there."""
        if self.random is not None:
            chosen = np.arange(self.n_samples)
            self.random.shuffle(chosen)
            self.order[:] = self.order[chosen]


def _rows_of(array: Any, rows: Any) -> Any:
    """Choose rows of an array, or of a sparse matrix as a dense array."""
    return array[rows].toarray() if hasattr(array, "toarray") else take(array, rows)


def build_source(
    rows: Samples,
    backend: Backend,
    dtype: str,
    batch_size: int,
    *,
    chosen: Any = None,
    random: Any = None,
    resident: bool = True,
) -> SampleSource:
    """Create the batches of checked arrays.

    Parameters
    ----------
    rows : Samples
        ``x`` may be sparse.
    backend : Backend
    dtype : str
    batch_size : int
    chosen : numpy.ndarray, optional
        The row numbers to use. Default: all of them.
    random : numpy.random.RandomState, optional
        Shuffles the rows before each epoch. Default: they keep their order.
    resident : bool
        Whether dense arrays are moved to the device as a whole, once, and not batch by batch.
    """
    whole = chosen is None and random is None
    order = np.arange(rows.x.shape[0]) if chosen is None else np.array(chosen)
    resident = resident and not hasattr(rows.x, "toarray")
    feed = backend.transfer() if not resident and len(order) > batch_size else None
    bring: Callable[[Samples], Samples] = partial(move, backend=backend, dtype=dtype, feed=feed)
    if resident:
        rows, bring = bring(rows), lambda batch: batch
    return SampleSource(rows, bring, batch_size, order, random, whole, resident)

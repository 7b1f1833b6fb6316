"""The batches of an estimator: in scikit-learn's order, and of sparse inputs too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.backend import Backend
from anyback_nn.training.data import Batch, Source, move, take

__all__ = ["Samples", "rows_at_once", "samples"]


BLOCK = 2**16
"""How many numbers are gathered at once, at least a batch."""

LIMIT = 2**21
"""How many numbers of inputs are made dense at once, at least a row, where any number would do."""


def rows_at_once(n_features: int) -> int:
    """Choose the size of batches that memory alone limits."""
    return max(1, LIMIT // n_features)


@dataclass(frozen=True)
class Samples(Source):
    """Batches of rows of arrays, or of a sparse matrix, of which each batch is made dense.

    Parameters
    ----------
    rows : Batch
    bring : callable
        What brings a batch to the device.
    batch_size : int
    order : numpy.ndarray
        The numbers of the rows, in their order; shuffled in place, again before each epoch.
    random : numpy.random.RandomState, optional
        What shuffles. Default: nothing does.
    whole : bool
        Whether all rows are used in the arrays' order, so that a batch is a slice.
    """

    rows: Batch
    bring: Callable[[Batch], Batch]
    batch_size: int
    order: Any
    random: Any = None
    whole: bool = False

    @property
    def n_samples(self) -> int:
        """The number of rows that are used."""
        return int(self.order.shape[0])

    @property
    def n_batches(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        if self.random is not None:
            # As sklearn.utils.shuffle does it, so that the order is the same as there.
            chosen = np.arange(self.n_samples)
            self.random.shuffle(chosen)
            self.order[:] = self.order[chosen]
        n_samples, size = self.n_samples, self.batch_size
        # Several small batches are gathered at once.
        block = size * max(1, BLOCK // (size * int(self.rows.x.shape[1])))
        for begin in range(0, n_samples, block):
            end = min(begin + block, n_samples)
            some = slice(begin, end) if self.whole else self.order[begin:end]
            rows = self.bring(Batch(*(_rows_of(array, some) for array in self.rows)))
            for start in range(0, end - begin, size):
                stop = min(start + size, end - begin)
                yield Batch(*[None if one is None else one[start:stop, ...] for one in rows])


def _rows_of(array: Any, rows: Any) -> Any:
    """Choose rows of an array, or of a sparse matrix as a dense array."""
    return array[rows].toarray() if hasattr(array, "toarray") else take(array, rows)


def samples(
    rows: Batch,
    backend: Backend,
    dtype: str,
    batch_size: int,
    *,
    chosen: Any = None,
    random: Any = None,
    resident: bool = True,
) -> Samples:
    """Make batches of checked arrays.

    Parameters
    ----------
    rows : Batch
        ``x`` may be sparse.
    backend : Backend
    dtype : str
    batch_size : int
    chosen : numpy.ndarray, optional
        The numbers of the rows to use. Default: all of them.
    random : numpy.random.RandomState, optional
        What shuffles the rows before each epoch. Default: nothing does.
    resident : bool
        Whether dense arrays are moved to the device as a whole, once, and not batch by batch.
    """

    def bring(batch: Batch) -> Batch:
        return move(batch, backend, dtype)

    whole = chosen is None and random is None
    order = np.arange(rows.x.shape[0]) if chosen is None else np.array(chosen)
    if resident and not hasattr(rows.x, "toarray"):
        rows, bring = bring(rows), lambda batch: batch
    return Samples(rows, bring, batch_size, order, random, whole)

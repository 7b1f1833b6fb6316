"""Where the batches come from: arrays in memory, a memory map, or an iterable of batches.

The one cast to the model's dtype and the move to the device happen here; in the training loop
everything is an array on the backend's device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.inputs.checks import Batch, check_batch, check_inputs, n_rows
from anyback_nn.inputs.memory_map import announce
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.random import generator

__all__ = [
    "ArraySource",
    "IterableSource",
    "Source",
    "array_source",
    "batches_of",
    "move",
    "peek",
    "split",
    "take",
]


class Source(ABC):
    """Gives the batches of an epoch."""

    @property
    @abstractmethod
    def n_batches(self) -> int | None:
        """The number of batches of an epoch; None if nothing tells it."""

    @property
    def rows_a_batch(self) -> int:
        """The number of rows in a batch (the last one, where they differ); 0 if nothing tells."""
        return 0

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Give the batches of the epoch with this number."""

    @property
    def all_rows(self) -> Batch | None:
        """All samples, if they are on the device and batches are some of their rows; else None."""
        return None

    def rows_of_batches(self, number: int) -> Iterator[Any]:
        """Give the numbers of the rows of each batch of an epoch, if there are `all_rows`."""
        return iter(())


@dataclass(frozen=True)
class ArraySource(Source):
    """Batches of rows of arrays; make one with `array_source`.

    Parameters
    ----------
    rows : Batch
        All samples: on the device, or on the host if they are to be moved batch by batch.
    bring : callable
        What brings a batch of them to the device.
    batch_size : int, optional
        Default: all samples in one batch.
    shuffle : bool
        Whether each epoch has an order of its own, drawn from ``seed`` and the epoch's number.
    seed : int
    chosen : numpy.ndarray, optional
        The numbers of the rows to use. Default: all of them.
    resident : bool
        Whether the rows are on the device.
    in_blocks : bool
        Whether small batches are cut from blocks of several that are gathered at once.
    """

    rows: Batch
    bring: Callable[[Batch], Batch]
    batch_size: int | None = None
    shuffle: bool = False
    seed: int = 0
    chosen: Any = None
    resident: bool = False
    in_blocks: bool = True

    @property
    def n_samples(self) -> int:
        """The number of rows that are used."""
        return n_rows(self.rows.x if self.chosen is None else self.chosen)

    @property
    def n_batches(self) -> int:
        return len(self._bounds())

    @property
    def rows_a_batch(self) -> int:
        return min(self.batch_size or self.n_samples, self.n_samples)

    def _bounds(self) -> list[tuple[int, int]]:
        """List where each batch starts and stops."""
        n, size = self.n_samples, self.rows_a_batch
        return [(start, min(start + size, n)) for start in range(0, n, size)]

    def epoch(self, number: int) -> Iterator[Batch]:
        order = self._order(number)
        if order is not None and self.resident:
            order = _index_of(self.rows.x, order)
        # Now and not earlier: rows to train with and to validate with can be of one map.
        mapped = isinstance(self.rows.x, np.memmap)
        soon = announce(self.rows.x, random=self.shuffle) if mapped else None

        def gather(start: int, stop: int) -> Batch:
            if soon is not None and order is not None:
                # The rows behind these are read while these are computed with.
                soon(order[stop if start else 0 : 2 * stop - start])
            some = slice(start, stop) if order is None else order[start:stop]
            return self.bring(Batch(*(take(array, some) for array in self.rows)))

        n, size = self.n_samples, self.rows_a_batch
        width = math.prod(self.rows.x.shape[1:]) if self.in_blocks else BLOCK
        return batches_of(gather, n, size, width)

    @property
    def all_rows(self) -> Batch | None:
        return self.rows if self.resident else None

    def rows_of_batches(self, number: int) -> Iterator[Any]:
        order = self._order(number)
        order = np.arange(self.n_samples) if order is None else order
        return (order[start:stop] for start, stop in self._bounds())

    def _order(self, number: int) -> Any:
        """List the rows of an epoch in their order, or None if it is that of the arrays."""
        order = self.chosen
        if self.shuffle:
            order = generator(self.seed, "order", number).permutation(self.n_samples)
            order = order if self.chosen is None else self.chosen[order]
        return order


BLOCK = 2**16
"""How many numbers are gathered at once, at least a batch: what fits in the processor's cache."""


def batches_of(
    gather: Callable[[int, int], Batch], n_samples: int, size: int, width: int
) -> Iterator[Batch]:
    """Cut batches from blocks of several that are gathered at once, which takes fewer calls.

    Parameters
    ----------
    gather : callable
        Gives the samples of an epoch from one number to another.
    n_samples, size : int
        Of the epoch, and of a batch.
    width : int
        How many numbers a sample has.
    """
    step = size * max(1, BLOCK // max(size * width, 1))
    for begin in range(0, n_samples, step):
        end = min(begin + step, n_samples)
        block = gather(begin, end)
        if end - begin <= size:
            yield block
            continue
        for start in range(0, end - begin, size):
            stop = min(start + size, end - begin)
            yield Batch(*[None if one is None else one[start:stop, ...] for one in block])


def array_source(
    rows: Batch, backend: Backend, dtype: str, *, resident: bool = True, **options: Any
) -> ArraySource:
    """Make batches of checked arrays of any library.

    Parameters
    ----------
    rows : Batch
    backend : Backend
    dtype : str
        The model's.
    resident : bool
        Whether the arrays are moved to the device as a whole, once. Otherwise, and always for a
        memory map, each batch is moved and cast by itself.
    **options
        Of `ArraySource`.
    """
    bring = partial(move, backend=backend, dtype=dtype)
    # What compiles does so for each place that a slice begins at.
    options["in_blocks"] = not backend.compiles
    mapped = isinstance(rows.x, np.memmap)
    if resident and not mapped:
        return ArraySource(bring(rows), lambda batch: batch, resident=True, **options)
    if mapped:
        # What belongs to a memory map is indexed together with it, on the host.
        rows = Batch(rows.x, *(None if array is None else to_numpy(array) for array in rows[1:]))
    source = ArraySource(rows, bring, **options)
    if source.n_batches == 1:  # there is none to bring meanwhile
        return source
    return replace(source, bring=partial(bring, feed=backend.transfer()))


@dataclass
class IterableSource(Source):
    """Batches that the user makes: an iterable of ``(x, y)`` or ``(x, y, weights)``.

    It is gone through once an epoch, in its own order; if it has a method ``epoch(number)``, that
    gives the batches of the epoch. Values are checked the first time only, because a check reads
    them back from the device.

    Parameters
    ----------
    backend : Backend
    dtype : str
    batches : iterable
    loss : Loss
    network : Network
    n_in : int
        The number of features that each batch must have.
    """

    backend: Backend
    dtype: str
    batches: Iterable[Any]
    loss: Loss
    network: Network
    n_in: int
    _checked: bool = field(default=False, init=False)
    _rows_a_batch: int = field(default=0, init=False)

    @property
    def n_batches(self) -> int | None:
        try:
            return len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # some have the method but cannot tell
            return None

    @property
    def rows_a_batch(self) -> int:
        return self._rows_a_batch

    def epoch(self, number: int) -> Iterator[Batch]:
        position, feed = -1, self.backend.transfer()
        # What has an order of its own for each epoch is told which one it is.
        of_epoch = getattr(self.batches, "epoch", None)
        batches = of_epoch(number) if callable(of_epoch) else self.batches
        for position, batch in enumerate(batches):
            try:
                rows = self._rows(batch)
            except (DataError, ShapeError) as error:
                raise type(error)(f"batch {position}: {error}") from None
            self._rows_a_batch = n_rows(rows.x)
            yield move(rows, self.backend, self.dtype, feed)
        if position < 0:
            used_up = iter(self.batches) is self.batches
            raise DataError(
                "the iterable of batches gave no batch"
                + (
                    ": it is a generator that can be gone through only once. Pass something that "
                    "starts anew for each epoch, such as a list or an object with __iter__"
                    if used_up
                    else " in this epoch"
                )
            )
        self._checked = True

    def _rows(self, batch: Any) -> Batch:
        """Check one batch and bring its targets to shape."""
        if not _is_batch(batch):
            raise DataError(f"expected (x, y) or (x, y, weights), got {type(batch).__name__}")
        x, y, weights = (*batch, None)[:3]
        look = not self._checked
        return check_batch(x, y, weights, self.loss, self.network, self.n_in, values=look)


def _is_batch(batch: Any) -> bool:
    """Tell whether this is ``(x, y)`` or ``(x, y, weights)``."""
    return isinstance(batch, tuple | list) and len(batch) in (2, 3)


def move(
    rows: Batch, backend: Backend, dtype: str, feed: Callable[[Any], list[Array]] | None = None
) -> Batch:
    """Bring samples to the backend in the model's dtype, but class indices as int32.

    Parameters
    ----------
    rows : Batch
    backend : Backend
    dtype : str
    feed : callable, optional
        What brings them if they are one batch of many, see `Backend.transfer`.
    """
    y = rows.y
    indices = y is not None and y.ndim == 1 and array_namespace(y).isdtype(y.dtype, "integral")
    dtypes = (dtype, "int32" if indices else dtype, dtype)
    wanted = [(array, name) for array, name in zip(rows, dtypes) if array is not None]
    brought = iter(feed(wanted) if feed else [backend.asarray(*one) for one in wanted])
    return Batch(*(None if array is None else next(brought) for array in rows))


def take(array: Any, rows: Any) -> Any:
    """Choose rows by a slice or by their numbers; None stays None.

    Row numbers are an array of the same library, or a NumPy array.
    """
    if array is None:
        return None
    if isinstance(rows, slice):
        return array[rows, ...]
    return array_namespace(array).take(array, _index_of(array, rows), axis=0)


def _index_of(array: Array, rows: Any) -> Array:
    """Bring row numbers to where an array is."""
    if isinstance(array, np.ndarray) or not isinstance(rows, np.ndarray):
        return rows
    return array_namespace(array).asarray(rows, device=device(array))


def peek(batches: Iterable[Any]) -> tuple[Iterable[Any], int]:
    """Look at the first batch for the number of features, without losing it."""
    iterator = iter(batches)
    first: Any = next(iterator, None)
    if not _is_batch(first):
        raise DataError(
            "expected an iterable that gives (x, y) or (x, y, weights) for each batch; the first "
            f"one is {'missing' if first is None else type(first).__name__}"
        )
    n_in = int(check_inputs(first[0]).shape[1])
    # An iterator cannot start anew, so what was taken from it is put back in front.
    return (chain([first], iterator) if iterator is batches else batches), n_in


def split(n_samples: int, fraction: float, seed: int) -> tuple[Any, Any]:
    """Draw which rows train and which validate.

    Parameters
    ----------
    n_samples : int
    fraction : float
        The share that validates, above 0 and below 1; at least one row on each side.
    seed : int

    Returns
    -------
    train, validation : numpy.ndarray
        Row numbers, in order.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"validation: expected a fraction above 0 and below 1, got {fraction}")
    n_validation = round(n_samples * fraction)
    if not 0 < n_validation < n_samples:
        raise DataError(
            f"validation={fraction} of {n_samples} samples leaves one side empty: pass more data, "
            "another fraction, or a pair (x, y)"
        )
    order = generator(seed, "split").permutation(n_samples)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])

"""Sources of batches: arrays in memory or in chunks, a memory map, or an iterable of batches.

The samples are cast to the model's dtype and moved to the device here, once. In the training loop
all arrays are on the backend's device.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any, ClassVar

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace, is_chunked, is_numpy, on_host, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.datasets.stretches import Rows, cut_batches, read_blocks
from anyback_nn.distributed import ALONE, Communicator
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.inputs.checks import (
    Samples,
    check_batch,
    check_finite,
    check_inputs,
    count_rows,
    is_sparse,
    warn_of_lost_variation,
)
from anyback_nn.inputs.memory_map import announce
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.random import generator

__all__ = [
    "ArraySource",
    "IndexedBatches",
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
    """A source of the batches of each epoch."""

    can_repeat: ClassVar[bool] = False
    """Whether an epoch has the same batches each time."""

    ranks: Communicator = ALONE
    """The processes that have a share of each batch."""

    @property
    @abstractmethod
    def n_batches(self) -> int | None:
        """The number of batches of an epoch; None if it is unknown."""

    @property
    def rows_a_batch(self) -> int:
        """The number of rows in a batch, or in the latest one if they differ; 0 if unknown."""
        return 0

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Samples]:
        """Iterate over the batches of the epoch with this number: over the rows of this rank."""

    def size_of(self, number: int) -> int:
        """Return the number of rows of all ranks in this batch, the latest one of an epoch."""
        return self.rows_a_batch

    @property
    def all_rows(self) -> Samples | None:
        """All samples, if they are on the device and batches are some of their rows; else None."""
        return None

    def rows_of_batches(self, number: int) -> Iterator[Any]:
        """Iterate over the row numbers of each batch of an epoch; empty without `all_rows`."""
        return iter(())

    def sample(self, n_rows: int, seed: int) -> Samples | None:
        """Return at most ``n_rows`` rows, drawn with a seed; None if they are not known before."""
        return None

    def fingerprint(self, dtype: str) -> str | None:
        """Return what distinguishes these data from others, or None if they are not known yet."""
        return None


@dataclass(frozen=True)
class ArraySource(Source):
    """Batches of rows of arrays; create it with `array_source`.

    Parameters
    ----------
    rows : Samples
        All samples: on the device, or on the host if they are moved batch by batch.
    move_batch : callable
        Moves a batch of them to the device.
    batch_size : int, optional
        The number of rows in a batch. Default: all samples in one batch.
    shuffle : bool
        Whether each epoch has a different order, drawn with ``seed`` and the epoch's number.
    seed : int
        Seed for the order.
    chosen : numpy.ndarray, optional
        Numbers of the rows to use. Default: all rows.
    resident : bool
        Whether the rows are on the device.
    in_blocks : bool
        Whether small batches are cut from larger blocks, each gathered in one call.
    check : callable, optional
        Checks the inputs of rows in their order, which were not checked before.
    """

    rows: Samples
    move_batch: Callable[[Samples], Samples]
    batch_size: int | None = None
    shuffle: bool = False
    seed: int = 0
    chosen: Any = None
    resident: bool = False
    in_blocks: bool = True
    check: Callable[..., None] | None = None
    ranks: Communicator = ALONE

    can_repeat = True

    @property
    def n_samples(self) -> int:
        """The number of rows in use."""
        return count_rows(self.rows.x if self.chosen is None else self.chosen)

    @property
    def n_batches(self) -> int:
        return len(self._bounds())

    @property
    def rows_a_batch(self) -> int:
        return min(self.batch_size or self.n_samples, self.n_samples)

    def size_of(self, number: int) -> int:
        return min(self.rows_a_batch, self.n_samples - number * self.rows_a_batch)

    def _bounds(self) -> list[tuple[int, int]]:
        """Return the start and stop of each batch."""
        n, size = self.n_samples, self.rows_a_batch
        return [(start, min(start + size, n)) for start in range(0, n, size)]

    def epoch(self, number: int) -> Iterator[Samples]:
        order, bounds = self._order(number), self._bounds()
        if self.ranks.size > 1:
            order, bounds = self._share(order, bounds)
        if order is not None and self.resident:
            order = _index_of(self.rows.x, order)
        # In each epoch, because training and validation rows can be of the same memory map.
        mapped = isinstance(self.rows.x, np.memmap)
        announce_rows = announce(self.rows.x, random=self.shuffle) if mapped else None

        def gather(start: int, stop: int) -> Samples:
            if announce_rows is not None and order is not None:
                # The next rows are read during the computation with these.
                announce_rows(order[stop if start else 0 : 2 * stop - start])
            rows = slice(start, stop) if order is None else order[start:stop]
            batch = Samples(*(take(array, rows) for array in self.rows))
            if self.check is not None and order is None and stop > start:
                self.check(batch.x, start=start)
            return self.move_batch(batch)

        # Rows of a rank in their order are no blocks.
        in_blocks = self.in_blocks and (order is not None or self.ranks.size == 1)
        width = math.prod(self.rows.x.shape[1:]) if in_blocks else BLOCK
        return batches_of(gather, bounds, width)

    def _share(self, order: Any, bounds: list[tuple[int, int]]) -> tuple[Any, Any]:
        """Return the row numbers of this rank in order, and the bounds of its batches in them."""
        own = [range(start, stop)[self.ranks.share(stop - start)] for start, stop in bounds]
        if order is None:
            return None, [(rows.start, rows.stop) for rows in own]
        ends = [0, *accumulate(map(len, own))]
        return np.concatenate([order[x.start : x.stop] for x in own]), [*pairwise(ends)]

    @property
    def all_rows(self) -> Samples | None:
        return self.rows if self.resident else None

    def rows_of_batches(self, number: int) -> Iterator[Any]:
        order = self._order(number)
        order = np.arange(self.n_samples) if order is None else order
        return (order[start:stop] for start, stop in self._bounds())

    def sample(self, n_rows: int, seed: int) -> Samples:
        """Return some of the rows, each at most once; they may still be on the host."""
        n = self.n_samples
        draws = generator(seed, "sample")
        places = np.sort(draws.choice(n, size=min(n, n_rows), replace=False))
        rows = places if self.chosen is None else self.chosen[places]
        return Samples(*(take(array, rows) for array in self.rows))

    def fingerprint(self, dtype: str) -> str:
        """Return the SHA-256 of shapes and values, the same wherever the rows are.

        Of large arrays some rows count, at equal distances.
        """
        checksum = hashlib.sha256()
        for array in self.rows:
            if array is None:
                continue
            n_rows, width = int(array.shape[0]), math.prod(array.shape[1:])
            n_some = min(n_rows, max(1, MOST_HASHED // max(width, 1)))
            places = np.unique(np.linspace(0, n_rows - 1, n_some).astype(np.int64))
            some = to_numpy(take(array, places))
            is_class = some.ndim == 1 and some.dtype.kind in "iu"
            some = np.ascontiguousarray(some, "int64" if is_class else dtype)
            checksum.update(f"{tuple(map(int, array.shape))}".encode() + some.tobytes())
        if self.chosen is not None:
            checksum.update(np.sort(self.chosen).astype(np.int64).tobytes())
        return checksum.hexdigest()

    def _order(self, number: int) -> Any:
        """Return the row numbers of an epoch in order, or None for all rows as they are."""
        order = self.chosen
        if self.shuffle:
            order = generator(self.seed, "order", number).permutation(self.n_samples)
            order = order if self.chosen is None else self.chosen[order]
        return order


MOST_HASHED = 2**22
"""The most elements of an array whose values count for its fingerprint."""

BLOCK = 2**16
"""The number of elements that one call gathers, or one batch if it is larger: fits in the cache."""


def batches_of(
    gather: Callable[[int, int], Samples], bounds: Sequence[tuple[int, int]], width: int
) -> Iterator[Samples]:
    """Cut batches from larger blocks, each gathered in one call.

    Parameters
    ----------
    gather : callable
        Returns the samples of an epoch from a start to a stop.
    bounds : sequence of (int, int)
        The start and stop of each batch, one after the other.
    width : int
        The number of elements of a sample.
    """
    size = bounds[0][1] - bounds[0][0]
    n_batches = max(1, BLOCK // max(size * width, width, 1))
    for first in range(0, len(bounds), n_batches):
        some = bounds[first : first + n_batches]
        begin = some[0][0]
        block = gather(begin, some[-1][1])
        if len(some) == 1:
            yield block
            continue
        for start, stop in some:
            rows = slice(start - begin, stop - begin)
            yield Samples(*[None if array is None else array[rows, ...] for array in block])


@dataclass(frozen=True)
class ChunkSource(ArraySource):
    """Batches of rows in chunks, each of which is computed once an epoch; see `array_source`.

    Shuffled, the chunks come in random order, and the rows within each.
    """

    def epoch(self, number: int) -> Iterator[Samples]:
        bounds = np.cumsum((0, *self.rows.x.chunks[0]))
        chunks = np.stack((bounds[:-1], bounds[1:]), axis=1)[np.diff(bounds) > 0]
        chosen = None if self.chosen is None else np.sort(self.chosen)

        def read(chunk: tuple[int, int]) -> Rows:
            start, stop = chunk
            block = [to_numpy(array[start:stop, ...]) for array in self.rows if array is not None]
            if self.check is not None:
                self.check(block[0], start=start)
            if chosen is not None:
                first, last = np.searchsorted(chosen, chunk)
                block = [array[chosen[first:last] - start] for array in block]
            return tuple(block)

        random = generator(self.seed, "order", number) if self.shuffle else None
        for batch in cut_batches(read_blocks(read, chunks, random), self.rows_a_batch):
            own = self.ranks.share(len(batch[0]))
            yield self.move_batch(Samples(*(array[own] for array in batch)))


def array_source(
    rows: Samples,
    backend: Backend,
    dtype: str,
    *,
    resident: bool = True,
    kind: Callable[..., ArraySource] = ArraySource,
    **options: Any,
) -> ArraySource:
    """Create a source of batches of checked arrays of any library.

    Parameters
    ----------
    rows : Samples
        ``x`` may be a memory map, chunks that are computed when they are read, or a sparse matrix
        of which each batch is made dense.
    backend : Backend
    dtype : str
        Dtype of the model.
    resident : bool
        Whether all rows are moved to the device once. Otherwise, and always for a memory map,
        chunks or a sparse matrix, each batch is moved and cast when it is needed. Rows that the
        backend defers are one batch, see `Backend.defers`.
    kind : callable
        Creates the source. An order of its own takes all chunks into memory.
    **options
        Options of `ArraySource`.
    """
    move_batch = partial(move, backend=backend, dtype=dtype)
    # A library that compiles does so for each start of a slice.
    options["in_blocks"] = not backend.compiles
    if backend.defers(rows.x):
        options["batch_size"] = None
    elif kind is ArraySource and is_chunked(rows.x):
        kind = ChunkSource
    mapped = isinstance(rows.x, np.memmap) or kind is ChunkSource
    if resident and not mapped and not is_sparse(rows.x):
        return kind(move_batch(rows), lambda batch: batch, resident=True, **options)
    if mapped:
        # Targets and weights are indexed on the host, like the memory map.
        rows = Samples(rows.x, *(None if array is None else to_numpy(array) for array in rows[1:]))
        options["check"] = partial(check_finite, dtype=dtype)
    source = kind(rows, move_batch, **options)
    if source.n_batches == 1:  # there is no other batch to move meanwhile
        return source
    return replace(source, move_batch=partial(move_batch, feed=backend.transfer()))


@dataclass
class IterableSource(Source):
    """Batches of an iterable of ``(x, y)`` or ``(x, y, weights)``.

    An epoch is one iteration over it; if it has a method ``epoch(number)``, over what that returns.
    Each batch must have ``n_in`` features and, if it is a data frame, these ``feature_names``.
    Values on a device are checked in the first epoch only, because a check reads them back.
    """

    backend: Backend
    dtype: str
    batches: Iterable[Any]
    loss: Loss
    network: Network
    n_in: int
    feature_names: tuple[str, ...] | None = None
    ranks: Communicator = ALONE
    _checked: bool = field(default=False, init=False)
    _rows_a_batch: int = field(default=0, init=False)

    @property
    def n_batches(self) -> int | None:
        try:
            return len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # some iterables define __len__ but do not know their length
            return None

    @property
    def rows_a_batch(self) -> int:
        return self._rows_a_batch

    def epoch(self, number: int) -> Iterator[Samples]:
        position, feed = -1, self.backend.transfer()
        iterate = getattr(self.batches, "epoch", None)
        batches = iterate(number) if callable(iterate) else self.batches
        for position, batch in enumerate(batches):
            try:
                rows = self._check(batch)
            except (DataError, ShapeError) as error:
                raise type(error)(f"batch {position}: {error}") from None
            self._rows_a_batch = count_rows(rows.x)
            if position == 0 and not self._checked:
                warn_of_lost_variation(rows, self.dtype)
            if self.ranks.size > 1:
                own = self.ranks.share(self._rows_a_batch)
                rows = Samples(*(take(array, own) for array in rows))
            yield move(rows, self.backend, self.dtype, feed)
        if position < 0:
            exhausted = iter(self.batches) is self.batches
            raise DataError(
                "the iterable of batches returned no batch"
                + (
                    ": it is an iterator, which can be iterated over only once. Pass an iterable "
                    "that starts again for each epoch, such as a list or an object with __iter__"
                    if exhausted
                    else " in this epoch"
                )
            )
        self._checked = True

    def _check(self, batch: Any) -> Samples:
        """Check one batch and reshape its targets."""
        if not _is_batch(batch):
            raise DataError(f"expected (x, y) or (x, y, weights), got {type(batch).__name__}")
        hosted = all(map(on_host, batch))
        parts = batch
        if hosted:
            # NumPy checks small arrays in a fraction of the time that other libraries need.
            parts = [array if is_numpy(array) else to_numpy(array) for array in batch]
            # A batch of a memory map is read now in any case, so it is checked.
            parts = [np.asarray(x) if isinstance(x, np.memmap) else x for x in parts]
        x, y, weights = (*parts, None)[:3]
        values = hosted or not self._checked
        rows = check_batch(
            *(x, y, weights, self.loss, self.network, self.n_in),
            values=values,
            feature_names=self.feature_names,
            dtype=self.dtype,
        )
        return rows if parts[0] is batch[0] else rows._replace(x=batch[0])


@dataclass(frozen=True)
class IndexedBatches:
    """An object with batches by their numbers and a length, as an iterable.

    Examples
    --------
    >>> list(IndexedBatches([("x", "y")]))
    [('x', 'y')]
    """

    batches: Any

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        # Python's own iteration would end with an `IndexError`, which it need not raise.
        return (self.batches[index] for index in range(len(self.batches)))


def _is_batch(batch: Any) -> bool:
    """Return whether this is ``(x, y)`` or ``(x, y, weights)``."""
    return isinstance(batch, tuple | list) and len(batch) in (2, 3)


def move(
    rows: Samples, backend: Backend, dtype: str, feed: Callable[[Any], list[Array]] | None = None
) -> Samples:
    """Move samples to the backend in the model's dtype, but class indices as int32.

    ``feed`` moves one of many batches, see `Backend.transfer`.
    """
    y = rows.y
    indices = y is not None and y.ndim == 1 and array_namespace(y).isdtype(y.dtype, "integral")
    dtypes = (dtype, "int32" if indices else dtype, dtype)
    sources = [(array, name) for array, name in zip(rows, dtypes) if array is not None]
    arrays = iter(feed(sources) if feed else [backend.asarray(*source) for source in sources])
    return Samples(*(None if array is None else next(arrays) for array in rows))


def take(array: Any, rows: Any) -> Any:
    """Return rows by a slice or by their numbers; None stays None, and sparse rows become dense.

    Row numbers are an array of the same library or of NumPy.
    """
    if array is None:
        return None
    if is_sparse(array):
        return array[rows].toarray()
    if isinstance(rows, slice):
        return array[rows, ...]
    return array_namespace(array).take(array, _index_of(array, rows), axis=0)


def _index_of(array: Array, rows: Any) -> Array:
    """Move row numbers to the device of an array."""
    if isinstance(array, np.ndarray) or not isinstance(rows, np.ndarray):
        return rows
    return array_namespace(array).asarray(rows, device=device(array))


def peek(batches: Iterable[Any]) -> tuple[Iterable[Any], int]:
    """Read the number of features from the first batch, without losing it."""
    iterator = iter(batches)
    first: Any = next(iterator, None)
    if not _is_batch(first):
        raise DataError(
            "expected an iterable of batches (x, y) or (x, y, weights); the first batch "
            f"is {'missing' if first is None else type(first).__name__}"
        )
    n_in = int(check_inputs(first[0]).shape[1])
    # An iterator cannot start again, so the first batch is put back.
    return (chain([first], iterator) if iterator is batches else batches), n_in


def split(n_samples: int, fraction: float, seed: int) -> tuple[Any, Any]:
    """Draw the numbers of the training rows and of the validation rows, in ascending order.

    ``fraction`` is the share of the validation rows; each part has at least one row.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"validation: expected a fraction above 0 and below 1, got {fraction}")
    n_validation = round(n_samples * fraction)
    if not 0 < n_validation < n_samples:
        raise DataError(
            f"validation={fraction} of {n_samples} samples leaves one part empty: expected more "
            "data or another fraction (--validation)"
        )
    order = generator(seed, "split").permutation(n_samples)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])

"""Where the batches come from: arrays in memory, a memory map, or an iterable of batches.

All checks of what a user passes in, and the one cast to the model's dtype, happen here, at the
boundary; inside the training loop everything is an array on the backend's device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

from anyback_nn.backend import Array, Backend, to_numpy
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.network.losses import Loss
from anyback_nn.random import generator

__all__ = [
    "ArraySource",
    "Batch",
    "IterableSource",
    "Source",
    "check_inputs",
    "check_weights",
    "class_weights",
    "split",
]


class Batch(NamedTuple):
    """Samples on the device: inputs, targets and, if there are any, weights."""

    x: Array
    y: Array
    weights: Array | None = None


class Source(ABC):
    """Gives the batches of an epoch."""

    @property
    @abstractmethod
    def n_batches(self) -> int | None:
        """The number of batches of an epoch; None if it is not known yet."""

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Give the batches of the epoch with this number."""


@dataclass(frozen=True)
class ArraySource(Source):
    """Batches of rows of arrays.

    Parameters
    ----------
    backend : Backend
    dtype : str
        What inputs, real targets and weights are cast to.
    x, y, weights : array
        Checked arrays of any library. They are moved to the device once, but for a memory map,
        of which each batch is read and moved by itself.
    batch_size : int, optional
        Default: all samples in one batch.
    shuffle : bool
        Whether each epoch has an order of its own, drawn from ``seed`` and the epoch's number.
    seed : int
    """

    backend: Backend
    dtype: str
    x: Any
    y: Any
    weights: Any = None
    batch_size: int | None = None
    shuffle: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"expected batch_size None or at least 1, got {self.batch_size}")
        # What belongs to a memory map stays on the host with it, to be indexed together.
        bring = _to_host if isinstance(self.x, np.memmap) else self._move
        for name in ("x", "y", "weights"):
            object.__setattr__(self, name, bring(getattr(self, name)))

    @property
    def n_samples(self) -> int:
        """The number of rows."""
        return int(self.x.shape[0])

    @property
    def n_batches(self) -> int:
        return -(-self.n_samples // self._size)

    @property
    def _size(self) -> int:
        return min(self.batch_size or self.n_samples, self.n_samples)

    def epoch(self, number: int) -> Iterator[Batch]:
        starts = range(0, self.n_samples, self._size)
        bounds = [(start, min(start + self._size, self.n_samples)) for start in starts]
        if not self.shuffle:
            for start, stop in bounds:
                yield self._batch(lambda rows, i=start, j=stop: rows[i:j, ...])
            return
        order = generator(self.seed, "order", number).permutation(self.n_samples)
        if not isinstance(self.x, np.memmap):
            order = self.backend.asarray(order)
        for start, stop in bounds:
            chosen = order[start:stop]
            yield self._batch(
                lambda rows, chosen=chosen: array_namespace(rows).take(rows, chosen, axis=0)
            )

    def _batch(self, choose: Any) -> Batch:
        rows = [None if a is None else choose(a) for a in (self.x, self.y, self.weights)]
        if isinstance(self.x, np.memmap):
            rows = [self._move(a) for a in rows]
        return Batch(*rows)

    def _move(self, array: Any) -> Any:
        return None if array is None else move(array, self.backend, self.dtype)


@dataclass
class IterableSource(Source):
    """Batches that the user makes: an iterable of ``(x, y)`` or ``(x, y, weights)``.

    It is gone through once an epoch, in its own order.

    Parameters
    ----------
    backend : Backend
    dtype : str
    batches : iterable
    loss : Loss
    n_in, n_out : int
        The numbers of features and outputs that each batch must have.
    """

    backend: Backend
    dtype: str
    batches: Iterable[Any]
    loss: Loss
    n_in: int
    n_out: int
    _count: int | None = field(default=None, init=False)

    @property
    def n_batches(self) -> int | None:
        if self._count is None and isinstance(self.batches, Sized):
            return len(self.batches)
        return self._count

    def epoch(self, number: int) -> Iterator[Batch]:
        count = 0
        for batch in self.batches:
            yield self._batch(batch, count)
            count += 1
        if count == 0:
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
        self._count = count

    def _batch(self, batch: Any, position: int) -> Batch:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise DataError(
                f"batch {position}: expected (x, y) or (x, y, weights), got {type(batch).__name__}"
            )
        x, y, *rest = batch
        try:
            x = check_inputs(x, self.n_in, finite=self._count is None)
            y = as_targets(y)
            if self._count is None:
                y = self.loss.check_targets(y, self.n_out)
            weights = check_weights(rest[0], len_(x)) if rest and rest[0] is not None else None
            check_same_length(x, y)
        except (DataError, ShapeError) as error:
            raise type(error)(f"batch {position}: {error}") from None
        return Batch(
            *(None if a is None else move(a, self.backend, self.dtype) for a in (x, y, weights))
        )


def _to_host(array: Any) -> Any:
    return None if array is None else to_numpy(array)


def move(array: Array, backend: Backend, dtype: str) -> Array:
    """Bring an array to the backend; all but integers (class indices) get the model's dtype."""
    integral = array_namespace(array).isdtype(array.dtype, "integral")
    return backend.asarray(array, None if integral else dtype)


def as_array(x: Any) -> Array:
    """Give arrays of any library as they are, and anything else as NumPy makes an array of it."""
    return x if is_array_api_obj(x) else to_numpy(x)


def as_targets(y: Any) -> Array:
    """Give targets as an array of numbers.

    Raises
    ------
    DataError
        They are text or objects.
    """
    y = as_array(y)
    if not _is_numeric(y):
        raise DataError(
            f"expected numeric targets, got dtype {y.dtype}. Number the labels first, for example "
            "with numpy.unique(labels, return_inverse=True)"
        )
    return y


def take(array: Any, rows: Any) -> Any:
    """Choose rows of an array of any library; None stays None."""
    if array is None:
        return None
    if isinstance(array, np.ndarray):
        return array[rows]
    xp = array_namespace(array)
    return xp.take(array, xp.asarray(rows, device=device(array)), axis=0)


def peek(batches: Iterable[Any]) -> tuple[Iterable[Any], int]:
    """Look at the first batch for the number of features, without losing it."""
    iterator = iter(batches)
    first = next(iterator, None)
    if not isinstance(first, tuple | list) or len(first) not in (2, 3):
        raise DataError(
            "expected an iterable that gives (x, y) or (x, y, weights) for each batch; the first "
            f"one is {'missing' if first is None else type(first).__name__}"
        )
    n_in = int(check_inputs(first[0]).shape[1])
    # An iterator cannot start anew, so what was taken from it is put back in front.
    return (chain([first], iterator) if iterator is batches else batches), n_in


def len_(x: Array) -> int:
    """Give the number of rows (some libraries' arrays have no ``len``)."""
    return int(x.shape[0])


def check_inputs(x: Any, n_in: int | None = None, *, finite: bool = True) -> Array:
    """Check the inputs that a user passed.

    Parameters
    ----------
    x : array or what NumPy can make one of
    n_in : int, optional
        The number of features that the model has.
    finite : bool
        Whether to look for NaN and infinite values (a pass over the data).

    Returns
    -------
    array, shape (n_samples, n_in)

    Raises
    ------
    ShapeError
        Not two axes, or another number of features.
    DataError
        No samples, no numbers, or values that are not finite.
    """
    x = as_array(x)
    xp = array_namespace(x)
    shape = tuple(x.shape)
    if len(shape) != 2:
        hint = {
            1: "use x[:, None] for one feature, or x[None, :] for one sample",
        }.get(len(shape), "flatten each sample: x.reshape(len(x), -1)")
        raise ShapeError(f"expected inputs of shape (n_samples, n_features), got {shape}: {hint}")
    if not _is_numeric(x):
        raise DataError(
            f"expected numeric inputs, got dtype {x.dtype}. Encode text and categories first"
        )
    if shape[0] == 0:
        raise DataError(f"expected at least one sample, got inputs of shape {shape}")
    if n_in is not None and shape[1] != n_in:
        raise ShapeError(f"the model takes {n_in} features, got inputs with {shape[1]}")
    if finite and not isinstance(x, np.memmap) and xp.isdtype(x.dtype, "real floating"):
        rows = xp.all(xp.isfinite(x), axis=1)
        if not bool(xp.all(rows)):
            bad = np.flatnonzero(~to_numpy(rows))
            raise DataError(
                f"the inputs hold NaN or infinite values in {bad.size} of {shape[0]} rows, first "
                f"in row {bad[0]} (counted from 0). Replace or remove them first"
            )
    return x


def _is_numeric(x: Array) -> bool:
    xp = array_namespace(x)
    try:
        return bool(xp.isdtype(x.dtype, ("bool", "integral", "real floating")))
    except TypeError:  # NumPy's text and object arrays have no dtype of the standard
        return False


def check_same_length(x: Array, y: Array) -> None:
    """Raise `ShapeError` unless there is one target a sample."""
    if len_(x) != len_(y):
        raise ShapeError(f"the inputs have {len_(x)} rows, but the targets have {len_(y)}")


def check_weights(weights: Any, n_samples: int) -> Array:
    """Check the weights of the samples: one each, finite, 0 or greater, not all 0."""
    weights = as_array(weights)
    xp = array_namespace(weights)
    if tuple(weights.shape) != (n_samples,):
        raise ShapeError(
            f"expected sample weights of shape ({n_samples},), got {tuple(weights.shape)}"
        )
    if not _is_numeric(weights):
        raise DataError(f"expected numeric sample weights, got dtype {weights.dtype}")
    if not bool(xp.all((weights >= 0) & (weights < float("inf")))):
        raise DataError("expected sample weights that are finite and 0 or greater")
    if not bool(xp.any(weights > 0)):
        raise DataError("all sample weights are 0, so there is nothing to learn from")
    if xp.isdtype(weights.dtype, ("bool", "integral")):
        weights = xp.astype(weights, xp.float32)
    return weights


def class_weights(y: Array, weights: str | Mapping[int, float]) -> Any:
    """Turn weights of classes into weights of samples.

    Parameters
    ----------
    y : array, shape (n_samples,) or (n_samples, 1)
        Class indices.
    weights : "balanced" or mapping
        From class index to weight; classes that are not named weigh 1. ``"balanced"`` gives every
        class the same total weight: ``n_samples / (n_classes * count)``.

    Returns
    -------
    numpy.ndarray, shape (n_samples,)

    Examples
    --------
    >>> class_weights(np.asarray([0, 0, 0, 1]), "balanced").tolist()
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    labels = to_numpy(y)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1:
        raise ShapeError(
            "class_weight: expected one class index a sample, got targets of shape "
            f"{labels.shape}. Use sample_weight instead"
        )
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f"class_weight: expected 'balanced' or a mapping, got {weights!r}")
        return (labels.size / (classes.size * counts))[inverse]
    unknown = sorted(set(weights) - {int(one) for one in classes})
    if unknown:
        raise DataError(f"class_weight names classes that no sample has: {unknown}")
    return np.asarray([weights.get(int(one), 1.0) for one in classes], dtype=np.float64)[inverse]


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

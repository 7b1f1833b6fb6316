"""Where the batches come from: arrays in memory, a memory map, or an iterable of batches.

All checks of what a user passes in, and the one cast to the model's dtype, happen here, at the
boundary; inside the training loop everything is an array on the backend's device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import index
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
    "array_source",
    "as_targets",
    "check_inputs",
    "check_same_length",
    "check_weights",
    "class_weights",
    "peek",
    "split",
    "take",
    "training_weights",
    "whole_number",
]


class Batch(NamedTuple):
    """Samples: inputs and, if there are any, targets and weights."""

    x: Array
    y: Array | None = None
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
    """

    rows: Batch
    bring: Callable[[Batch], Batch]
    batch_size: int | None = None
    shuffle: bool = False
    seed: int = 0
    chosen: Any = None

    @property
    def n_samples(self) -> int:
        """The number of rows that are used."""
        return n_rows(self.rows.x if self.chosen is None else self.chosen)

    @property
    def n_batches(self) -> int:
        return len(self._bounds())

    def _bounds(self) -> list[tuple[int, int]]:
        """List where each batch starts and stops."""
        n = self.n_samples
        size = min(self.batch_size or n, n)
        return [(start, min(start + size, n)) for start in range(0, n, size)]

    def epoch(self, number: int) -> Iterator[Batch]:
        order = self._order(number)
        for start, stop in self._bounds():
            some = slice(start, stop) if order is None else order[start:stop]
            yield self.bring(Batch(*(take(array, some) for array in self.rows)))

    def _order(self, number: int) -> Any:
        """List the rows of an epoch in their order, or None if it is that of the arrays."""
        order = self.chosen
        if self.shuffle:
            order = generator(self.seed, "order", number).permutation(self.n_samples)
            order = order if self.chosen is None else self.chosen[order]
        return None if order is None else _index_of(self.rows.x, order)


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
    if isinstance(rows.x, np.memmap):
        # What belongs to a memory map is indexed together with it, on the host.
        host = (None if array is None else to_numpy(array) for array in rows[1:])
        return ArraySource(Batch(rows.x, *host), bring, **options)
    if resident:
        return ArraySource(bring(rows), lambda batch: batch, **options)
    return ArraySource(rows, bring, **options)


@dataclass
class IterableSource(Source):
    """Batches that the user makes: an iterable of ``(x, y)`` or ``(x, y, weights)``.

    It is gone through once an epoch, in its own order. Values are checked the first time only,
    because a check reads them back from the device.

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
    _checked: bool = field(default=False, init=False)

    @property
    def n_batches(self) -> int | None:
        return len(self.batches) if isinstance(self.batches, Sized) else None

    def epoch(self, number: int) -> Iterator[Batch]:
        position = -1
        for position, batch in enumerate(self.batches):
            try:
                rows = self._rows(batch)
            except (DataError, ShapeError) as error:
                raise type(error)(f"batch {position}: {error}") from None
            yield move(rows, self.backend, self.dtype)
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
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise DataError(f"expected (x, y) or (x, y, weights), got {type(batch).__name__}")
        x, y, weights = (*batch, None)[:3]
        look = not self._checked
        x = check_inputs(x, self.n_in, finite=look)
        y = self.loss.check_targets(as_targets(y), self.n_out, values=look)
        check_same_length(x, y)
        if weights is not None:
            weights = check_weights(weights, n_rows(x), values=look)
        return Batch(x, y, weights)


def move(rows: Batch, backend: Backend, dtype: str) -> Batch:
    """Bring samples to the backend in the model's dtype, but class indices as int32."""
    x, y, weights = rows
    indices = y is not None and y.ndim == 1 and array_namespace(y).isdtype(y.dtype, "integral")
    return Batch(
        backend.asarray(x, dtype),
        None if y is None else backend.asarray(y, "int32" if indices else dtype),
        None if weights is None else backend.asarray(weights, dtype),
    )


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
    first = next(iterator, None)
    if not isinstance(first, tuple | list) or len(first) not in (2, 3):
        raise DataError(
            "expected an iterable that gives (x, y) or (x, y, weights) for each batch; the first "
            f"one is {'missing' if first is None else type(first).__name__}"
        )
    n_in = int(check_inputs(first[0]).shape[1])
    # An iterator cannot start anew, so what was taken from it is put back in front.
    return (chain([first], iterator) if iterator is batches else batches), n_in


def n_rows(x: Array) -> int:
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
    if hasattr(x, "toarray"):
        raise DataError("expected a dense array, got a sparse one: pass x.toarray()")
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
    if 0 in shape:
        raise DataError(
            f"expected at least one sample and one feature, got inputs of shape {shape}"
        )
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
    if n_rows(x) != n_rows(y):
        raise ShapeError(f"the inputs have {n_rows(x)} rows, but the targets have {n_rows(y)}")


def check_weights(weights: Any, n_samples: int, *, values: bool = True) -> Array:
    """Check the weights of the samples: one each, finite, 0 or greater, not all 0.

    Parameters
    ----------
    weights : array, shape (n_samples,)
    n_samples : int
    values : bool
        Whether to look at the values too, which reads them back from a device.
    """
    weights = as_array(weights)
    xp = array_namespace(weights)
    if tuple(weights.shape) != (n_samples,):
        raise ShapeError(
            f"expected sample weights of shape ({n_samples},), got {tuple(weights.shape)}"
        )
    if not _is_numeric(weights):
        raise DataError(f"expected numeric sample weights, got dtype {weights.dtype}")
    if xp.isdtype(weights.dtype, ("bool", "integral")):
        weights = xp.astype(weights, xp.float32)
    if values and not bool(xp.all((weights >= 0) & (weights < float("inf")))):
        raise DataError("expected sample weights that are finite and 0 or greater")
    if values and not bool(xp.any(weights > 0)):
        raise DataError("all sample weights are 0, so there is nothing to learn from")
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
    if labels.ndim != 1 or np.any(labels != np.floor(labels)):
        raise DataError(
            "class_weight: expected one class index a sample, got targets of shape "
            f"{labels.shape} and dtype {labels.dtype}. Use sample_weight instead"
        )
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(f"class_weight: expected 'balanced' or a mapping, got {weights!r}")
        return (labels.size / (classes.size * counts))[inverse]
    if not isinstance(weights, Mapping):
        raise TypeError(
            "class_weight: expected 'balanced' or a mapping from class to weight, got "
            f"{type(weights).__name__}. Weights of samples go to sample_weight"
        )
    unknown = sorted(set(weights) - {int(one) for one in classes})
    if unknown:
        raise DataError(f"class_weight names classes that no sample has: {unknown}")
    factors = [weights.get(int(one), 1.0) for one in classes]
    return np.asarray(factors, dtype=np.float64)[inverse]


def training_weights(
    rows: Batch, weights: str | Mapping[int, float] | None, loss: Loss, chosen: Any
) -> Any:
    """Multiply the weights of samples and classes, and scale them to the mean 1 over training.

    Parameters
    ----------
    rows : Batch
        All samples, with their own weights if there are any.
    weights : "balanced" or mapping, optional
        Of the classes, see `class_weights`.
    loss : Loss
    chosen : numpy.ndarray, optional
        The numbers of the training rows. Default: all of them.

    Returns
    -------
    numpy.ndarray, shape (n_samples,), or None
        Of rows that are not for training, 0.
    """
    if rows.weights is None and weights is None:
        return None
    factors = np.ones(n_rows(rows.x)) if rows.weights is None else to_numpy(rows.weights)
    training = slice(None) if chosen is None else chosen
    result = np.zeros(factors.shape)
    result[training] = factors[training]
    if weights is not None:
        if not loss.classifies:
            raise ValueError(f"class_weight: {type(loss).__name__} does not classify")
        result[training] *= class_weights(to_numpy(rows.y)[training], weights)
    check_weights(result, result.size)
    return result / result[training].mean()


def whole_number(name: str, value: Any, *, least: int) -> int:
    """Check that an argument is a whole number.

    Examples
    --------
    >>> whole_number("epochs", np.int64(3), least=1)
    3
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"expected {name} to be at least {least}, got {number}")
    return number


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

"""Checks of inputs, targets, weights and dtypes: once, before anything is computed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import (
    Array,
    array_namespace,
    is_chunked,
    is_masked,
    is_numpy,
    name_dtype,
    to_numpy,
)
from anyback_nn.backends import BACKENDS, Backend
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.inputs.frames import frame_to_numpy
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.utils.arguments import check_numeric
from anyback_nn.utils.frames import is_frame, is_series, to_numeric
from anyback_nn.utils.messages import plural

__all__ = [
    "COMPUTE_DTYPES",
    "DTYPES",
    "Samples",
    "as_array",
    "check_batch",
    "check_compute_dtype",
    "check_dtype",
    "check_finite",
    "check_inputs",
    "check_weights",
    "count_rows",
    "is_extended",
    "is_indexed",
    "is_sparse",
    "refuse_masked",
    "warn_of_lost_variation",
]


DTYPES = ("float32", "float64")
"""The dtypes that a model can compute in."""

COMPUTE_DTYPES = ("float16", "bfloat16")
"""The dtypes that training steps of a float32 model can compute in."""


def as_array(x: Any, name: str = "the inputs") -> Array:
    """Return arrays of any library unchanged, and convert anything else to NumPy.

    Of NumPy's subclasses, memory maps alone stay what they are. Dtypes that NumPy itself does not
    know, such as bfloat16, become float32.

    Raises
    ------
    DataError
        Elements of a masked array are masked. ``name`` is that of the data in the message.
    """
    if type(x) is not np.ndarray:
        if is_frame(x):
            return frame_to_numpy(x)
        if is_series(x) and (numbers := to_numeric(x)) is not None:
            return numbers
        refuse_masked(x, name)
        if isinstance(x, np.memmap) or not is_numpy(x):
            return x
        x = to_numpy(x)
    return x.astype(np.float32) if is_extended(x.dtype) else x


def refuse_masked(x: Any, name: str) -> None:
    """Raise `DataError` if elements of a masked array of NumPy, or of a list of them, are masked.

    Examples
    --------
    >>> refuse_masked(np.ma.masked_equal([1, 2], 2), "the targets")
    Traceback (most recent call last):
    ...
    anyback_nn.errors.DataError: expected the targets without masked elements, got ...
    """
    if is_masked(x) and not is_numpy(x):
        raise DataError(
            f"expected {name} without masked elements, got a masked array in chunks: replace them "
            "with dask.array.ma.filled(x, value)"
        )
    parts = x if isinstance(x, list | tuple) else (x,)
    masked = (part for part in parts if isinstance(part, np.ma.MaskedArray))
    if count := sum(int(np.sum(np.ma.getmaskarray(part))) for part in masked):
        raise DataError(
            f"expected {name} without masked elements, got {plural(count, 'masked element')}: "
            "leave such rows out, or replace the elements with x.filled(value)"
        )


def is_extended(dtype: Any) -> bool:
    """Return whether this is a dtype of numbers that NumPy itself does not know, as ml_dtypes'.

    Examples
    --------
    >>> is_extended(np.dtype("float32")), is_extended(np.dtype("V8"))
    (False, False)
    """
    return bool(dtype.kind == "V" and dtype.names is None and np.can_cast(dtype, np.float32))


def count_rows(x: Array) -> int:
    """Return the number of rows; arrays of some libraries have no ``len``.

    Raises
    ------
    ShapeError
        It is unknown, or that of the columns.
    """
    if any(size is None or math.isnan(size) for size in x.shape):  # the standard's way, and dask's
        raise ShapeError(
            f"expected a known shape, got an array of shape {tuple(x.shape)}: call "
            "x.compute_chunk_sizes() of a dask array first"
        )
    return int(x.shape[0])


def is_sparse(x: Any) -> bool:
    """Return whether ``x`` is a sparse matrix or array of SciPy."""
    return hasattr(x, "toarray")


def is_indexed(x: Any) -> bool:
    """Return whether ``x`` has elements by their numbers and a length, but cannot be iterated."""
    indexed = hasattr(x, "__getitem__") and hasattr(x, "__len__")
    return indexed and not isinstance(x, Iterable)


def _is_stream(x: Any) -> bool:
    """Return whether ``x`` is an iterable, such as of batches, that is not array-like."""
    array_like = hasattr(x, "shape") or hasattr(x, "__array__") or isinstance(x, Sequence)
    return (isinstance(x, Iterable) or is_indexed(x)) and not array_like


def check_inputs(
    x: Any,
    n_in: int | None = None,
    *,
    finite: bool = True,
    feature_names: Sequence[str] | None = None,
    dtype: str | None = None,
) -> Array:
    """Check the inputs that a user passed.

    Parameters
    ----------
    x : array_like or data frame
    n_in : int, optional
        The number of features that the model has.
    finite : bool
        Whether to check for NaN and infinite values, which takes a pass over the data.
    feature_names : sequence of str, optional
        The columns that a data frame must have.
    dtype : str, optional
        Dtype of the model, in which the values must be finite, too.

    Returns
    -------
    array, shape (n_samples, n_in)

    Raises
    ------
    ShapeError
        The inputs do not have two axes, or another number of features.
    DataError
        There are no samples, or values are not numeric or not finite.
    """
    if is_sparse(x):
        raise DataError("expected a dense array, got a sparse one: pass x.toarray()")
    if isinstance(x, str | PathLike) or _is_stream(x):
        raise DataError(
            "expected inputs as an array of shape (n_samples, n_features), got "
            f"{type(x).__name__}: read a file first, and pass batches one by one"
        )
    if hasattr(x, "collect_schema") and not is_frame(x):
        raise DataError("expected data, got a lazy data frame: pass x.collect()")
    x = frame_to_numpy(x, feature_names) if is_frame(x) else as_array(x)
    shape = tuple(x.shape)
    if len(shape) != 2:
        hint = {
            0: "a single number is not a sample",
            1: "use x[:, None] for one feature, or x[None, :] for one sample",
        }.get(len(shape), "flatten each sample: x.reshape(len(x), -1)")
        raise ShapeError(f"expected inputs of shape (n_samples, n_features), got {shape}: {hint}")
    if not (isinstance(x, np.memmap) and is_extended(x.dtype)):  # of which each batch is cast
        check_numeric(x, "inputs", ". Encode strings and categories first")
    if 0 in shape:
        raise DataError(
            f"expected at least one sample and one feature, got inputs of shape {shape}"
        )
    if n_in is not None and shape[1] != n_in:
        raise ShapeError(f"the model takes {n_in} features, got inputs with {shape[1]}")
    if finite and not isinstance(x, np.memmap):
        check_finite(x, dtype)
    return x


def check_finite(x: Array, dtype: str | None, start: int = 0) -> None:
    """Raise `DataError`, which names the first row, if inputs are NaN, infinite or too large.

    ``start`` is the row of all inputs that is the first one of ``x``.
    """
    xp = array_namespace(x)
    is_special = isinstance(x, np.ndarray) and is_extended(x.dtype)  # each batch of a map is cast
    if is_special or not xp.isdtype(x.dtype, "real floating"):
        return
    limit = float(xp.finfo(x.dtype).max)
    if dtype == "float32":
        # What is a little larger is rounded down.
        limit = min(limit, float(np.finfo(np.float32).max) * (1 + 2.0**-25))
    with np.errstate(over="ignore", invalid="ignore"):
        # Passes without memory of their own: both extremes are NaN if a number is, and the sum
        # of finite numbers is rarely infinite.
        if dtype == "float32" and name_dtype(x.dtype) == "float64":
            is_finite = max(-to_numpy(xp.min(x)), to_numpy(xp.max(x))) <= limit
        else:
            is_finite = math.isfinite(to_numpy(xp.sum(x)))
        if is_finite:
            return
    is_good = xp.all(xp.abs(x) <= limit, axis=1)
    bad = np.flatnonzero(~to_numpy(is_good))
    if bad.size:
        first = to_numpy(x[int(bad[0]), ...])
        what = f"values beyond {dtype} (about {limit:.1e})"
        remedy = "Standardise them first, or use dtype='float64'"
        if not np.isfinite(first).all():
            what, remedy = "NaN or infinite values", "Replace or remove them first"
        raise DataError(
            f"the inputs contain {what} in {bad.size} of {int(x.shape[0])} rows, first in row "
            f"{start + bad[0]} (counted from 0). {remedy}"
        )


class Samples(NamedTuple):
    """All samples or those of a batch: inputs, optional targets and optional weights."""

    x: Array
    y: Array | None = None
    weights: Array | None = None


def check_batch(
    x: Any,
    y: Any,
    weights: Any,
    loss: Loss,
    network: Network,
    n_in: int | None = None,
    *,
    values: bool = True,
    finite: bool = True,
    feature_names: Sequence[str] | None = None,
    dtype: str | None = None,
) -> Samples:
    """Check inputs, targets and weights that a user passed together.

    Parameters
    ----------
    x, y, weights : array_like
        The weights may be None.
    loss : Loss
        Checks the targets.
    network : Network
    n_in : int, optional
        The number of features that the model has. Default: the number of features of ``x``.
    values : bool
        Whether to check the values too, which reads them back from a device.
    finite : bool
        Whether to check the inputs for NaN and infinity; no effect without ``values``.
    feature_names : sequence of str, optional
        The columns that a data frame must have.
    dtype : str, optional
        Dtype of the model, in which the inputs must be finite, too.

    Raises
    ------
    ShapeError, DataError
        The data do not fit each other or the model, or have invalid values.
    """
    finite = finite and values
    x = check_inputs(x, n_in, finite=finite, feature_names=feature_names, dtype=dtype)
    n_samples = count_rows(x)
    n_out = network.output_size(int(x.shape[1]))
    y = as_array(y, "the targets")
    y = loss.check_targets(y, n_out, values=values)
    if n_samples != count_rows(y):
        raise ShapeError(f"the inputs have {n_samples} rows, but the targets have {count_rows(y)}")
    if weights is not None:
        weights = check_weights(weights, n_samples, values=values)
    return Samples(x, y, weights)


def check_weights(weights: Any, n_samples: int, *, values: bool = True) -> Array:
    """Check the weights of the samples: one per sample, finite, 0 or greater.

    With ``values=False``, what needs the values to be read back from a device is not checked.
    """
    weights = as_array(weights, "the sample weights")
    xp = array_namespace(weights)
    if tuple(weights.shape) != (n_samples,):
        raise ShapeError(
            f"expected sample weights of shape ({n_samples},), got {tuple(weights.shape)}"
        )
    check_numeric(weights, "sample weights")
    if xp.isdtype(weights.dtype, ("bool", "integral")):
        weights = xp.astype(weights, xp.float32)
    if values and not to_numpy(xp.all((weights >= 0) & (weights < float("inf")))):
        raise DataError("expected sample weights that are finite and 0 or greater")
    return weights


WIDE = ("float64", "int32", "int64", "uint32", "uint64")
"""The dtypes that have more digits than float32."""


def warn_of_lost_variation(rows: Samples, dtype: str, stacklevel: int = 2) -> None:
    """Warn if columns of inputs or targets lose variation in the model's dtype.

    They become constant, or in some rows at least half of their distinct values.

    Parameters
    ----------
    rows : Samples
        Checked inputs and targets. Memory maps, chunks and sparse matrices are not read.
    dtype : str
        Dtype of the model.
    stacklevel : int
        As for `warnings.warn`, from the caller of this function.
    """
    for name, x in (("inputs", rows.x), ("targets", rows.y)):
        # Class indices have one axis.
        if dtype == "float64" or x is None or isinstance(x, np.memmap) or x.ndim != 2:
            continue
        if is_sparse(x) or is_chunked(x) or name_dtype(x.dtype) not in WIDE:
            continue
        constant, coarse = _find_lost_in(x, dtype)
        for columns, what in (
            (constant, f"be constant in {dtype}"),
            (coarse, f"lose half of the distinct values or more in {dtype}"),
        ):
            if columns:
                column, low, high = columns[0]
                warnings.warn(
                    f"{plural(len(columns), 'column')} of the {name} will {what}, "
                    f"which has about 7 digits: the first is column {column}, from {low!r} to "
                    f"{high!r}. Subtract the mean of such a column first, or use dtype='float64'",
                    stacklevel=stacklevel + 1,
                )


def _find_lost_in(x: Array, dtype: str) -> tuple[list[Any], list[Any]]:
    """List the columns that a cast makes constant, and those that lose half of their values.

    Each is its number, minimum and maximum. The values are those of at most 1,024 rows.
    """
    some = to_numpy(x[:: -(-count_rows(x) // 1024), ...])
    low, high = some.min(axis=0), some.max(axis=0)
    lowest, highest = low.astype(np.float64), high.astype(np.float64)
    # Most columns have a wide range, in which few values are rounded to the same number.
    step = np.finfo(dtype).eps * np.maximum(np.abs(lowest), np.abs(highest))
    columns = np.flatnonzero(highest - lowest <= len(some) * step)
    before = _count_distinct(some[:, columns])
    after = _count_distinct(some[:, columns].astype(dtype))
    coarse = columns[2 * after <= before]
    constant = []
    if (columns := columns[after == 1]).size:
        xp = array_namespace(x)
        index = xp.asarray(columns, device=device(x))
        # PyTorch has no extremes of unsigned integers.
        values = to_numpy(x if len(columns) == x.shape[1] else xp.take(x, index, axis=1))
        extremes = values.min(axis=0), values.max(axis=0)
        # A cast keeps the order, so it maps two equal extremes and all between to one number.
        same = np.equal(*(limits.astype(dtype) for limits in extremes))
        limits = zip(columns[same], *(part[same].tolist() for part in extremes))
        constant = [row for row in limits if row[1] < row[2]]
    known = {column for column, *_ in constant}
    return constant, [(c, low[c].item(), high[c].item()) for c in coarse if c not in known]


def _count_distinct(values: np.ndarray) -> np.ndarray:
    """Count the distinct values of each column."""
    changes = np.diff(np.sort(values, axis=0), axis=0) != 0
    count: np.ndarray = 1 + changes.sum(axis=0)
    return count


def check_dtype(dtype: str, backend: Backend) -> str:
    """Raise `ValueError` unless a model can compute in this dtype on this backend."""
    if dtype not in DTYPES:
        raise ValueError(f"expected dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    if not backend.supports(dtype):
        raise ValueError(f"the device of {backend.spec!r} has no {dtype}: use float32")
    return dtype


def check_compute_dtype(compute_dtype: str | None, dtype: str, backend: Backend) -> str | None:
    """Raise `ValueError` unless steps can compute in this dtype, or in the model's (None)."""
    if compute_dtype is None:
        return None
    if compute_dtype not in COMPUTE_DTYPES:
        raise ValueError(
            f"expected compute_dtype to be None or one of {', '.join(COMPUTE_DTYPES)}, got "
            f"{compute_dtype!r}"
        )
    if dtype != "float32":
        raise ValueError(
            f"compute_dtype={compute_dtype!r} is for parameters in float32, got dtype={dtype!r}"
        )
    if not backend.supports(compute_dtype):
        supported = next((name for name in COMPUTE_DTYPES if backend.supports(name)), None)
        others = ", ".join(
            name for name, kind in BACKENDS.items() if compute_dtype in kind.half_dtypes
        )
        raise ValueError(
            f"backend {backend.spec!r} has no {compute_dtype}: use compute_dtype={supported!r}, or "
            f"a backend that has it ({others})"
        )
    return compute_dtype

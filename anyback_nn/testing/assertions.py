"""Compare an array of any library with the values that it should have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import array_api_compat
import numpy as np

from anyback_nn.array_api import (
    Array,
    array_namespace,
    has_values,
    is_numpy,
    name_dtype,
    to_numpy,
)
from anyback_nn.backends import Backend
from anyback_nn.inputs.checks import is_extended
from anyback_nn.testing.host_reads import ignore_reads
from anyback_nn.utils.messages import plural

__all__ = ["assert_close", "expect"]

UNDER_TEST: list[Backend | None] = [None]
"""The backend of the test that is running, and of those around it; in all threads."""

KINDS = ("bool", "integral", "real floating", "complex floating")
"""The kinds of dtypes, as `isdtype` of the standard knows them; each may hold the ones before."""


@contextlib.contextmanager
def expect(backend: Backend | None) -> Iterator[None]:
    """Let `assert_close` expect arrays of a backend inside the context."""
    UNDER_TEST.append(backend)
    try:
        yield
    finally:
        UNDER_TEST.pop()


def assert_close(
    actual: Array,
    desired: Any,
    *,
    rtol: float | None = None,
    atol: float = 0.0,
    equal_nan: bool = True,
    err_msg: str = "",
    check_dtype: bool = True,
    check_shape: bool = True,
    check_device: bool = True,
    xp: Any = None,
) -> None:
    """Raise unless an array has these values, up to ``atol + rtol * abs(desired)``.

    The array must be of the right library, on the right device, and of the right dtype and shape.

    Parameters
    ----------
    actual : array
        What was computed, of any library; a scalar of NumPy is an array without axes.
    desired : array or nested sequence of numbers
        What it should be. Numbers and arrays of NumPy may be compared with any library.
    rtol : float, optional
        Default: the square root of the epsilon of ``actual``'s dtype, half of its digits. That is
        1.5e-8 for float64, 3.5e-4 for float32, 3.1e-2 for float16; 0 for integers and booleans.
    atol : float
    equal_nan : bool
        Whether NaN is close to NaN.
    err_msg : str
        A first line of the message.
    check_dtype : bool
        Whether the dtype must be that of ``desired``. Python's numbers have none: integers may be
        compared with floats, but neither floats with integers nor booleans with numbers.
    check_shape : bool
        Whether the shape must be that of ``desired``, which is broadcast otherwise.
    check_device : bool
        Whether the device must be the right one.
    xp : namespace, optional
        The library that ``actual`` must be of. Default: that of the backend under test, where the
        pytest plugin runs the test on one, which also has the right device; elsewhere that of
        ``desired``.

    Raises
    ------
    AssertionError
        The message tells all that is wrong; of the values, how many, and the worst one.
    TypeError
        ``desired`` is neither an array of numbers nor numbers.

    Notes
    -----
    The values are compared on the host. Neither `no_host_reads` nor `count_host_reads` sees that
    read. On a device without values, PyTorch's ``meta``, all but the values is compared.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> x = select("array-api-strict:device1").asarray([[0.1, 0.2], [0.3, 0.5]])
    >>> assert_close(x, [[0.1, 0.2], [0.3, 0.5]])
    >>> assert_close(x, [[0.1, 0.2], [0.3, 0.4]])
    Traceback (most recent call last):
    ...
    AssertionError: 1 of 4 elements differs by more than 1.5e-08 * abs(desired). The worst is
    [1, 1]: 0.5, desired 0.4 (absolute difference 0.1, relative 0.25)
    """
    __tracebackhide__ = True
    wrong = _compare_types(actual, desired, xp, check_dtype, check_shape, check_device)
    if not wrong and has_values(actual) and has_values(desired):
        wrong = _compare_values(actual, desired, rtol, atol, equal_nan)
    if wrong:
        raise AssertionError("\n".join([err_msg] * bool(err_msg) + wrong))


def _compare_types(
    actual: Array, desired: Any, xp: Any, check_dtype: bool, check_shape: bool, check_device: bool
) -> list[str]:
    """Return what is wrong with all but the values."""
    if not array_api_compat.is_array_api_obj(actual):
        return [f"expected an array, got {type(actual).__name__} {actual!r}"]
    array = _as_array(desired)
    if not _is_numeric(actual):
        return [f"expected an array of numbers or booleans, got dtype {actual.dtype}"]
    backend = UNDER_TEST[-1] if xp is None else None
    library = _name_library(array_namespace(actual))
    # Arrays of NumPy are compared with those of any library.
    like = None if is_numpy(desired) else desired
    if like is not None:
        xp = array_namespace(like) if xp is None else xp
    xp = backend.xp if backend else xp
    if xp is not None and library != _name_library(xp):
        return [f"expected an array of {_name_library(xp)}, got one of {library}"]
    if like is not None and library != _name_library(array_namespace(like)):
        theirs = _name_library(array_namespace(like))
        return [f"expected desired to be of {library}, as actual is, or of NumPy, got {theirs}"]
    wrong = []
    device = array_api_compat.device(actual)
    expected = backend.device if backend else device
    if like is not None and not backend:
        expected = array_api_compat.device(like)
    if check_device and device != expected:
        wrong.append(f"expected device {expected}, got {device}")
    if check_dtype:
        wrong += _compare_dtypes(actual, array, is_typed=hasattr(desired, "dtype"))
    shape = tuple(array.shape)
    if check_shape and tuple(actual.shape) != shape:
        wrong.append(f"expected shape {shape}, got {tuple(actual.shape)}")
    return wrong


def _name_library(namespace: Any) -> str:
    """Return the name of a library, whether its namespace is wrapped or not."""
    return str(namespace.__name__).removeprefix("array_api_compat.")


def _as_array(desired: Any) -> Array:
    """Return an array as it is, and numbers as an array of NumPy; raise TypeError if it is none."""
    with ignore_reads():
        try:
            array = desired if array_api_compat.is_array_api_obj(desired) else np.asarray(desired)
        except Exception as error:  # of any library, which may refuse a list of its arrays
            raise TypeError(
                f"expected desired to be an array or numbers, got {desired!r}: {error}"
            ) from error
    if not _is_numeric(array):
        raise TypeError(f"expected desired to be an array or numbers, got {desired!r}")
    return array


def _is_numeric(x: Array) -> bool:
    """Return whether an array holds numbers or booleans, as those of all libraries but NumPy."""
    return not is_numpy(x) or x.dtype.kind in "biufc" or is_extended(x.dtype)


def _compare_dtypes(actual: Array, desired: Array, *, is_typed: bool) -> list[str]:
    """Return what is wrong with the dtype: its name, or for Python's numbers its kind."""
    dtype = name_dtype(actual.dtype)
    if is_typed:
        expected = name_dtype(desired.dtype)
        return [] if dtype == expected else [f"expected dtype {expected}, got {dtype}"]
    if not desired.size:
        return []
    isdtype = array_namespace(actual).isdtype
    kind = next(kind for kind in KINDS if isdtype(actual.dtype, kind))
    least = next(kind for kind in KINDS if np.isdtype(desired.dtype, kind))
    if (kind == "bool") == (least == "bool") and KINDS.index(kind) >= KINDS.index(least):
        return []
    return [f"expected a dtype that is {least}, as desired is, got {dtype}"]


def _compare_values(
    actual: Array, desired: Any, rtol: float | None, atol: float, equal_nan: bool
) -> list[str]:
    """Return what is wrong with the values."""
    if rtol is None:
        rtol = _choose_rtol(actual)
    with ignore_reads():
        x, y = map(_to_host, (actual, desired))
    try:
        x, y = np.broadcast_arrays(x, y)
    except ValueError:
        return [f"expected a shape that can be broadcast with {y.shape}, got {x.shape}"]
    with np.errstate(all="ignore"):  # of infinities, and of divisions by a desired zero
        close = x == y
        gap = np.abs(_widen(x) - _widen(y))
        size = np.abs(_widen(y))
        if rtol or atol:  # without them, large integers must not be rounded
            close |= np.isfinite(y) & (gap <= atol + rtol * size)
        if equal_nan:
            close |= np.isnan(x) & np.isnan(y)
        excess = np.where(close, -1.0, np.nan_to_num(gap - rtol * size, nan=np.inf))
        worst = np.unravel_index(np.argmax(excess), x.shape) if x.size else ()
        relative = gap[worst] / size[worst] if x.size else 0.0
        distance: Any = gap[worst] if x.size else 0.0
        if x.size and x.dtype.kind in "iu" and y.dtype.kind in "iu":
            distance = abs(int(x[worst]) - int(y[worst]))  # float64 has not all integers
    n = int(np.sum(~close))
    if not n:
        return []
    limits = [f"{atol:.2g}"] * bool(atol) + [f"{rtol:.2g} * abs(desired)"] * bool(rtol)
    allowed = f" by more than {' + '.join(limits)}" if limits else ""
    where = f"The worst is {list(map(int, worst))}: " if x.ndim else ""
    return [
        f"{n} of {plural(x.size, 'element')} {'differs' if n == 1 else 'differ'}{allowed}. {where}"
        f"{x[worst]}, desired {y[worst]} (absolute difference {distance:.3g}, relative "
        f"{relative:.3g})"
    ]


def _choose_rtol(x: Array) -> float:
    """Return the relative tolerance of a dtype: half of its digits."""
    xp = array_namespace(x)
    if xp.isdtype(x.dtype, ("bool", "integral")):
        return 0.0
    return math.sqrt(xp.finfo(x.dtype).eps)


def _to_host(x: Any) -> np.ndarray:
    """Copy to NumPy, also what NumPy has no dtype for."""
    array = np.asarray(to_numpy(x))
    return array.astype(np.float32) if is_extended(array.dtype) else array


def _widen(x: np.ndarray) -> np.ndarray:
    """Cast such that differences are not rounded to the dtype, nor wrap around."""
    return x.astype(np.result_type(x.dtype, np.float64))

"""Arrays of any library that follows the array API standard: their namespace and where they are.

Everything in the package computes with ``array_namespace(x)`` and the standard's functions alone.
This module imports no array library but NumPy, and nothing of this package.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

__all__ = [
    "Array",
    "array_namespace",
    "find_index_dtype",
    "has_values",
    "is_chunked",
    "is_masked",
    "is_numpy",
    "name_dtype",
    "on_host",
    "to_numpy",
    "to_writable_numpy",
]

Array = Any
"""An array of any library that follows the standard; they share no base class."""

_NAMESPACES: dict[type, Any] = {}


def array_namespace(x: Array) -> Any:
    """Return the library of an array as a namespace of the array API standard.

    This is `array_api_compat.array_namespace`, cached by the type of the array, because every
    layer calls it at every step.

    Parameters
    ----------
    x : array

    Returns
    -------
    module

    Raises
    ------
    TypeError
        ``x`` is not an array of a library that follows the standard.

    Examples
    --------
    >>> array_namespace(np.zeros(3)).__name__
    'array_api_compat.numpy'
    """
    kind = type(x)
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_api_compat.array_namespace(x)
    return _NAMESPACES[kind]


def find_index_dtype(xp: Any) -> Any:
    """Return the dtype of a library's indices, which some libraries insist on."""
    return xp.__array_namespace_info__().default_dtypes(device=None)["indexing"]


def is_numpy(x: object) -> bool:
    """Return whether ``x`` is a NumPy array, or no array of any library (such as a list)."""
    return array_api_compat.is_numpy_array(x) or not array_api_compat.is_array_api_obj(x)


def on_host(x: object) -> bool:
    """Return whether ``x``, an array of any library, is in the host's memory."""
    if is_numpy(x):
        return True
    device = array_api_compat.device(x)
    # JAX and array-api-strict name the host differently.
    return "cpu" in (str(device), getattr(device, "platform", None)) or "CPU_DEVICE" in str(device)


def is_masked(x: object) -> bool:
    """Return whether ``x`` is a masked array of NumPy, or one of dask with such chunks."""
    return isinstance(getattr(x, "_meta", x), np.ma.MaskedArray)


def is_chunked(x: object) -> bool:
    """Return whether ``x`` is in chunks, as dask's arrays are, each computed when it is read."""
    chunks = getattr(x, "chunks", None)  # those of other libraries are one size for all
    return isinstance(chunks, tuple) and any(isinstance(sizes, tuple) for sizes in chunks)


def has_values(x: object) -> bool:
    """Return whether ``x`` has values: on PyTorch's device ``meta``, arrays have a shape alone."""
    return not getattr(x, "is_meta", False)


def name_dtype(dtype: Any) -> str:
    """Return the name of a dtype of any library, as in the standard.

    Examples
    --------
    >>> name_dtype(np.zeros(3).dtype)
    'float64'
    """
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def to_numpy(x: Any) -> Any:
    """Copy an array of any library, from any device, to NumPy (without a copy where possible).

    Examples
    --------
    >>> to_numpy([[1, 2]]).shape
    (1, 2)
    """
    if array_api_compat.is_torch_array(x):
        x = x.detach().cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if array_api_compat.is_cupy_array(x):
        return x.get()
    if type(x).__module__.startswith("dpnp."):
        return x.asnumpy()
    if hasattr(x, "unwrap_numpy"):  # ndonnx
        return x.unwrap_numpy()
    if type(x).__module__.startswith("array_api_strict"):
        x = array_api_compat.to_device(x, array_namespace(x).Device("CPU_DEVICE"))
    return np.asarray(x)


def to_writable_numpy(x: Any) -> Any:
    """Copy as `to_numpy` does, but never to read-only memory, which some libraries return."""
    array = to_numpy(x)
    return array if array.flags.writeable else array.copy()

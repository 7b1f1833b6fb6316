"""Arguments that users pass, checked once, and libraries that only some of them need."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from operator import index
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.errors import DataError

__all__ = ["as_integer", "check_numeric", "check_range", "require_extra", "to_python_scalars"]

_RANGES: dict[str, Callable[[Any], bool]] = {
    "above 0": lambda value: value > 0,
    "None or above 0": lambda value: value is None or value > 0,
    "0 or greater": lambda value: value >= 0,
    "from 0 to 1": lambda value: 0 <= value <= 1,
    "from 0 to below 1": lambda value: 0 <= value < 1,
    "above 0 and below 1": lambda value: 0 < value < 1,
}


def as_integer(name: str, value: Any, *, least: int) -> int:
    """Return an argument as an integer.

    Raises
    ------
    TypeError, ValueError
        It is none, or is less than ``least``.

    Examples
    --------
    >>> import numpy as np
    >>> as_integer("epochs", np.int64(3), least=1)
    3
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"expected {name} to be at least {least}, got {number}")
    return number


def check_range(settings: Any, expected: str, *names: str) -> None:
    """Raise `ValueError` unless all these settings are in a range, one of `_RANGES`."""
    for name in names:
        value = getattr(settings, name)
        if not _RANGES[expected](value):
            raise ValueError(f"{type(settings).__name__}: expected {name} {expected}, got {value}")


def require_extra(module: str, extra: str, purpose: str, error: type[Exception]) -> Any:
    """Import a module of an optional dependency.

    Parameters
    ----------
    module : str
        Such as ``"polars"``.
    extra : str
        The extra of this package that installs it, such as ``"tabular"``.
    purpose : str
        What needs it, to begin the message with.
    error : type of Exception
        Raised if the module cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise error(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported ({reason}): "
            f"install it with  pip install 'anyback-nn[{extra}]'"
        ) from reason


def to_python_scalars(settings: Any) -> Any:
    """Return a dataclass of settings with Python numbers instead of an array library's scalars.

    A scalar such as NumPy's ``float64`` would promote arrays of float32 to its own dtype, and
    cannot be written to a model file.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.network.layers import Dropout
    >>> to_python_scalars(Dropout(np.float64(0.5)))
    Dropout(probability=0.5)
    """
    if getattr(settings, "ndim", None) == 0 and hasattr(settings, "item"):
        return settings.item()
    if type(settings) is tuple:
        new = tuple(map(to_python_scalars, settings))
        unchanged = all(a is b for a, b in zip(new, settings))
        return settings if unchanged else new
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    changed = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if (new := to_python_scalars(value)) is not value:
            changed[field.name] = new
    return replace(settings, **changed) if changed else settings


def check_numeric(x: Array, name: str, advice: str = "") -> None:
    """Raise `DataError` unless the dtype is boolean, integer or real floating."""
    # NumPy's dtypes of strings and objects are not in the standard.
    with contextlib.suppress(TypeError):
        if array_namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating")):
            return
    raise DataError(f"expected numeric {name}, got dtype {x.dtype}{advice}")

"""Arguments that users pass, checked once, and libraries that only some of them need."""

from __future__ import annotations

import importlib
from dataclasses import fields, is_dataclass, replace
from operator import index
from typing import Any

__all__ = ["as_integer", "require_extra", "to_python_scalars"]


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

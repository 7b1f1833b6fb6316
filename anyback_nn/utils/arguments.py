"""Arguments that users pass, checked once, and libraries that only some of them need."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from operator import index
from typing import Any, TypeVar

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import did_you_mean

__all__ = [
    "accepts",
    "as_integer",
    "check_methods",
    "check_numeric",
    "check_range",
    "look_up",
    "require_extra",
    "to_python_scalars",
    "write_settings",
]

T = TypeVar("T")

_RANGES: dict[str, Callable[[Any], bool]] = {
    "above 0": lambda value: 0 < value < math.inf,
    "None or above 0": lambda value: value is None or value > 0,
    "0 or greater": lambda value: 0 <= value < math.inf,
    "finite": lambda value: -math.inf < value < math.inf,
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
    """Raise an error unless all these settings are in a range, one of `_RANGES`.

    Raises
    ------
    TypeError, ValueError
        A setting is no number, or is out of its range.
    """
    for name in names:
        value, kind = getattr(settings, name), type(settings).__name__
        try:
            fits = _RANGES[expected](value)
        except TypeError:
            raise TypeError(
                f"{kind}: expected {name} to be a number {expected}, got {value!r}"
            ) from None
        if not fits:
            finite = " and finite" if value == math.inf else ""
            raise ValueError(f"{kind}: expected {name} {expected}{finite}, got {value}")


def accepts(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Return whether a function can be called like this; True if its signature is unknown.

    Examples
    --------
    >>> accepts(lambda y_true, y_pred: 1.0, "loss", "outputs", "targets")
    False
    """
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except ValueError:
        return True
    except TypeError:
        return False
    return True


def check_methods(cls: type, **arguments: str) -> None:
    """Raise `TypeError` if a method that a class defines cannot be called as the library does.

    Each method comes with its arguments, ``self`` first, such as ``forward="self, params, x"``.
    """
    for name, expected in arguments.items():
        method = vars(cls).get(name)
        if inspect.isfunction(method) and not accepts(method, *expected.split(", ")):
            raise TypeError(
                f"{cls.__name__}: expected  def {name}({expected}), got  def {name}"
                f"{inspect.signature(method)}"
            )


def look_up(name: str, known: Mapping[str, T], what: str) -> T:
    """Return the value of a name that a user passed.

    Raises
    ------
    ValueError
        The name is unknown; the message lists those that are known.
    """
    if name not in known:
        raise ValueError(
            f"unknown {what} {name!r}.{did_you_mean(name, known)} Expected one of "
            f"{', '.join(known)}"
        )
    return known[name]


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
        ) from None


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


def write_settings(settings: Any) -> str:
    """Return the expression of a dataclass, without the settings that have their default.

    Examples
    --------
    >>> from anyback_nn import Adam, CosineDecay, Dense
    >>> write_settings(Dense(3)), write_settings(Adam(CosineDecay(0.1, epochs=5)))
    ('Dense(n_out=3)', 'Adam(learning_rate=CosineDecay(learning_rate=0.1, epochs=5))')
    """
    if not is_dataclass(settings) or isinstance(settings, type):
        return repr(settings)
    values = (
        (field.name, getattr(settings, field.name), field.default) for field in fields(settings)
    )
    changed = (
        f"{name}={write_settings(value)}" for name, value, default in values if value != default
    )
    return f"{type(settings).__name__}({', '.join(changed)})"


def check_numeric(x: Array, name: str, advice: str = "") -> None:
    """Raise `DataError` unless the dtype is boolean, integer or real floating."""
    # NumPy's dtypes of strings and objects are not in the standard.
    with contextlib.suppress(TypeError):
        if array_namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating")):
            return
    raise DataError(f"expected numeric {name}, got dtype {x.dtype}{advice}")

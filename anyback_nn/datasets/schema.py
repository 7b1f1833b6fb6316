"""Check plain JSON data while it is read: nothing is believed before it was looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from anyback_nn.errors import DataError

__all__ = ["integer", "list_of", "optional", "read_fields", "real", "text"]

Reader = Callable[[Any, str], Any]


def read_fields(data: Any, what: str, **readers: Reader) -> dict[str, Any]:
    """Read an object that has exactly the fields expected, each by its own reader.

    Raises
    ------
    DataError
        If ``data`` is no object, lacks a field, or has one that is not known.

    Examples
    --------
    >>> read_fields({"scale": 255}, "features", scale=real)
    {'scale': 255.0}
    """
    if not isinstance(data, dict):
        raise DataError(f"{what} is {data!r}: expected an object with {', '.join(readers)}")
    if data.keys() != readers.keys():
        raise DataError(
            f"{what} has the fields {', '.join(map(str, data)) or '(none)'}: "
            f"expected {', '.join(readers)}; was it written by another version?"
        )
    return {name: read(data[name], f"{what}.{name}") for name, read in readers.items()}


def text(value: Any, what: str) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise DataError(f"{what} is {value!r}: expected a text")
    return value


def integer(value: Any, what: str) -> int:
    """Read a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{what} is {value!r}: expected a whole number")
    return value


def real(value: Any, what: str) -> float:
    """Read a finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= sys.float_info.max:
        raise DataError(f"{what} is {value!r}: expected a finite number")
    return float(value)


def optional(read: Reader) -> Reader:
    """Read null, or what ``read`` reads."""
    return lambda value, what: None if value is None else read(value, what)


def list_of(read: Reader) -> Reader:
    """Read a list, each item by ``read``, as a tuple."""

    def read_list(value: Any, what: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise DataError(f"{what} is {value!r}: expected a list")
        return tuple(read(item, f"{what}[{i}]") for i, item in enumerate(value))

    return read_list

"""What a user says about a table: how it is written, and what its columns are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from anyback_nn.errors import DataError
from anyback_nn.utils.messages import quoted_list

__all__ = ["NO_OPTIONS", "TableOptions"]


_SEPARATOR = re.compile(r"[\x01-\x09\x0b\x0c\x0e-!#-\x7f]")
_USES = ("features", "categorical", "numeric")
_CONTRADICTIONS = [
    ("categorical", "numeric"),
    *((unused, use) for unused in ("drop", "ids") for use in _USES),
]


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and what its columns are; what is not given is found out.

    Parameters
    ----------
    separator : str, optional
        What stands between the columns of a text file, one character. Default: a comma, semicolon,
        tab or vertical bar, whichever divides all lines.
    decimal : {".", ","}, optional
        What stands before the fraction of a number.
    encoding : str
        The text's encoding, such as ``utf-16`` or ``latin-1``. By default, byte order marks of
        UTF-16 and UTF-32 are recognised as well.
    na_values : tuple of str
        Strings that are missing values, besides the known ones. Numbers among them are missing
        however they are written: -999 as well as -999.0.
    drop : tuple of str
        Columns that are no features.
    features : tuple of str, optional
        The columns that are features. Default: all that can be.
    categorical, numeric : tuple of str
        Columns whose values are categories, or numbers, whatever they look like. In categorical
        ones, of all known markers of missing values only the empty string is one.
    ids : tuple of str
        Columns that name a row: no features, and written next to its prediction.

    Raises
    ------
    DataError
        A setting has another form, or two contradict each other.

    Examples
    --------
    >>> TableOptions(separator=";", drop="price").drop
    ('price',)
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("na_values", "drop", "ids", *_USES):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _as_strings(name, value))
        separator = self.separator
        if separator is not None and not _SEPARATOR.fullmatch(separator):
            raise DataError(
                f"the separator is {separator!r}: expected one character, such as ',', ';' or '\\t'"
            )
        if self.decimal not in (None, ".", ","):
            raise DataError(f"the decimal mark is {self.decimal!r}: expected '.' or ','")
        _require_encoding(self.encoding)
        for first, second in _CONTRADICTIONS:
            if both := {*(getattr(self, first) or ())} & {*(getattr(self, second) or ())}:
                raise DataError(
                    f"{quoted_list(sorted(both))}: both in {first} and in {second}: expected one "
                    "of the two"
                )


def _as_strings(name: str, value: Any) -> tuple[str, ...]:
    """Return one string, or several, as a tuple."""
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, Iterable) or not all(isinstance(s, str) for s in strings):
        raise DataError(f"{name} is {value!r}: expected strings")
    return _Names(dict.fromkeys(strings))


class _Names(tuple[str, ...]):
    """A tuple that is searched at once: a table may have 20,000 columns, each looked up in it."""

    def __contains__(self, name: object) -> bool:
        if not hasattr(self, "_known"):
            self._known = frozenset(self)
        return name in self._known

    def __reduce__(self) -> Any:
        return tuple, (tuple(self),)


def _require_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)  # codecs.lookup also knows those that are not of text
        codecs.lookup(encoding)
    except (LookupError, ValueError, TypeError) as error:
        raise DataError(
            f"the encoding {encoding!r} is unknown: expected one that Python knows, such as utf-8, "
            "utf-16, latin-1 or cp1252"
        ) from error


NO_OPTIONS = TableOptions()
"""All is found out."""

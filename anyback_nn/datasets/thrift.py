"""Structures in the compact protocol of Thrift, in which Parquet files describe themselves.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. The
content may be anything: a structure that is cut short, too deep or of unknown types is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyback_nn.errors import DataError

__all__ = ["StructReader"]

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_DEEPEST = 16
_LONGEST_VARINT = 10

Wanted = Mapping[int, Any]
"""The fields to keep by their numbers, each with those of the structures in it."""


class StructReader:
    """Reads structures, one after the other.

    Parameters
    ----------
    content : bytes

    Attributes
    ----------
    place : int
        The index of the next byte.

    Examples
    --------
    >>> StructReader(bytes([0x15, 0x0E, 0x18, 2, 72, 105, 0])).read({1: {}, 2: {}})
    {1: 7, 2: b'Hi'}
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def read(self, wanted: Wanted) -> dict[int, Any]:
        """Return the wanted fields of the next structure.

        Raises
        ------
        DataError
            If there is none.
        """
        try:
            return self._struct(wanted, 0)
        except IndexError as error:
            raise DataError("its description is cut short") from error

    def _struct(self, wanted: Wanted, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise DataError(f"its description is more than {_DEEPEST} structures deep")
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._integer()
            kind, inner = header & 15, wanted.get(number)
            value = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, inner, depth)
            if inner is not None:
                fields[number] = value
        return fields

    def _value(self, kind: int, wanted: Wanted | None, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._skip(self._varint())
        if kind == _STRUCT:
            return self._struct(wanted or {}, depth + 1)
        if kind in (_LIST, _SET):
            header = self._byte()
            size = header >> 4 if header >> 4 < 15 else self._varint()
            if size > len(self.content) - self.place:  # each item takes a byte or more
                raise IndexError
            # Booleans have a byte of their own in a list.
            item = _BYTE if header & 15 in (_TRUE, _FALSE) else header & 15
            values = (self._value(item, wanted, depth + 1) for _ in range(size))
            return list(values) if wanted is not None else sum(1 for _ in values)
        if kind in (_BYTE, _DOUBLE):
            return self._skip(1 if kind == _BYTE else 8)
        raise DataError(f"its description has a value of the unknown type {kind}")

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _skip(self, size: int) -> bytes:
        self.place += size
        if self.place > len(self.content):
            raise IndexError
        return self.content[self.place - size : self.place]

    def _varint(self) -> int:
        value = 0
        for i in range(_LONGEST_VARINT):
            byte = self._byte()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                return value
        raise DataError("its description has an integer of more than 64 bits")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

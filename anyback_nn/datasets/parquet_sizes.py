"""How much memory a Parquet file takes, read from its description before polars believes it.

polars takes memory for what a file claims, and where there is not so much the process ends. A file
of a megabyte may hold a thousand million equal values.

Format: https://parquet.apache.org/docs/file-format/metadata/, `parquet.thrift`.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from anyback_nn.datasets.thrift import StructReader
from anyback_nn.errors import DataError
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import prefix_errors

__all__ = ["ParquetSizes", "measure_folder", "measure_parquet"]

_MAGIC = b"PAR1"
_DAMAGED = "the file is damaged; write it again"

_BYTE_ARRAY, _FIXED_LENGTH = 6, 7
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, _BYTE_ARRAY: 16}
"""The bytes that a value of each type takes; a string's are those of a view of its letters."""

_DEEPEST = 64
"""How many structures of a column may be inside of each other."""

_BYTES_READ = 32
"""The bytes that one of the description takes when it is read, at most."""

# The numbers of the fields that are read.
_CHUNK: Any = {3: {5: {}, 7: {}, 9: {}, 11: {}}}
_FOOTER: Any = {2: {1: {}, 2: {}, 3: {}, 4: {}, 5: {}}, 3: {}, 4: {1: _CHUNK, 3: {}}}
_PAGE: Any = {2: {}, 3: {}, 5: {1: {}}, 7: {1: {}}, 8: {1: {}}}
_WINDOWS = (2**10, 2**24)
"""How many bytes of a page are read for its header, at first and if they are not enough."""


class ParquetSizes(NamedTuple):
    """The bytes that a file takes in memory, and those of each column in its largest row group."""

    total: int
    largest: Counter[str]


class _Leaf(NamedTuple):
    """Values of a plain type: a column of the table, or a part of one."""

    column: str
    width: int
    is_flat: bool


def measure_folder(path: Path) -> ParquetSizes:
    """Measure a file, or all of a folder together; see `measure_parquet`."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return measure_parquet(stream)
    total, largest = 0, Counter[str]()
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.stat().st_size:  # polars passes over empty ones
            with prefix_errors(file.relative_to(path)), file.open("rb") as stream:
                sizes = measure_parquet(stream)
            total, largest = total + sizes.total, largest | sizes.largest
    return ParquetSizes(total, largest)


def measure_parquet(file: BinaryIO) -> ParquetSizes:
    """Measure a Parquet file, and compare what its description and its pages say.

    Raises
    ------
    DataError
        If they do not fit together, or to the length of the file.
    """
    end, footer = _read_footer(file)
    leaves, groups = _read_schema(footer.get(2)), footer.get(4)
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise DataError(f"its description has no row groups: {_DAMAGED}")
    total, n_rows, largest = 0, 0, Counter[str]()
    for group in groups:
        rows, chunks = _count(group, 3, "rows"), group.get(1)
        if not isinstance(chunks, list) or len(chunks) != len(leaves):
            raise DataError(f"a row group has other columns than the table: {_DAMAGED}")
        sizes = Counter[str]()
        for leaf, chunk in zip(leaves, chunks, strict=True):
            n_values, n_bytes = _measure_chunk(file, chunk, end, leaf.width)
            if n_values < rows or (leaf.is_flat and n_values != rows):
                raise DataError(
                    f"the column {leaf.column!r} has {n_values:,} values in a row group of "
                    f"{rows:,} rows: {_DAMAGED}"
                )
            sizes[leaf.column] += n_bytes
        total, largest, n_rows = total + sizes.total(), largest | sizes, n_rows + rows
    if n_rows != _count(footer, 3, "rows"):
        raise DataError(f"it says to have {footer[3]:,} rows and has {n_rows:,}: {_DAMAGED}")
    return ParquetSizes(total, largest)


def _read_footer(file: BinaryIO) -> tuple[int, dict[int, Any]]:
    """Return where the data end, and the description after them."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    end = size - 8 - length
    if tail[4:] != _MAGIC or end < len(_MAGIC):
        raise DataError(
            "cannot be read (it does not end as such files do): expected Parquet; cut short?"
        )
    require_memory(_BYTES_READ * length, "its description takes", "write it with fewer row groups")
    file.seek(end)
    return end, StructReader(file.read(length)).read(_FOOTER)


def _read_schema(elements: Any) -> list[_Leaf]:
    """Return the leaves of the tree of columns, which is stored as a list, from the root down."""
    if not isinstance(elements, list) or not all(isinstance(node, dict) for node in elements):
        raise DataError(f"its description has no columns: {_DAMAGED}")
    leaves: list[_Leaf] = []
    open_nodes: list[int] = []  # how many children are to come in each of the nodes around this one
    column = ""
    for index, node in enumerate(elements):
        if index and not open_nodes:
            break
        if len(open_nodes) == 1:
            name = node.get(4)
            column = name.decode(errors="replace") if isinstance(name, bytes) else ""
        if open_nodes:
            open_nodes[-1] -= 1
        is_group = node.get(1) is None
        if is_group:
            open_nodes.append(_count(node, 5, "columns"))
        else:
            kind = _count(node, 1, "types")
            width = _count(node, 2, "bytes") if kind == _FIXED_LENGTH else _WIDTHS.get(kind)
            if width is None:
                raise DataError(f"the column {column!r} is of an unknown type: {_DAMAGED}")
            leaves.append(_Leaf(column, width, len(open_nodes) == 1 and node.get(3) != 2))
        if len(open_nodes) > _DEEPEST:
            raise DataError(f"the column {column!r} has more than {_DEEPEST} levels")
        while open_nodes and not open_nodes[-1]:
            open_nodes.pop()
    if open_nodes or len(leaves) < 1:
        raise DataError(f"its description lacks columns: {_DAMAGED}")
    return leaves


def _measure_chunk(file: BinaryIO, chunk: Any, end: int, width: int) -> tuple[int, int]:
    """Return how many values a column has in a row group, and the bytes of these and of its pages.

    The end is that of the data in the file, the width that of a value.
    """
    meta = chunk.get(3) if isinstance(chunk, dict) else None
    if not isinstance(meta, dict):
        raise DataError(f"the data of a column are not in the file: {_DAMAGED}")
    claimed, length = _count(meta, 5, "values"), _count(meta, 7, "bytes")
    starts = [_count(meta, 9, "bytes")]
    if meta.get(11):  # pages of a dictionary are first
        starts.append(_count(meta, 11, "bytes"))
    place, stop = min(starts), min(starts) + length
    if stop > end:
        raise DataError(f"a column ends after the end of the data: {_DAMAGED}")
    n_values, n_entries, n_bytes = 0, 0, 0
    while place < stop:
        page, header = _read_page(file, place, stop)
        n_bytes += _count(page, 2, "bytes")
        if 7 in page:
            n_entries += _count(page[7], 1, "values")
        for kind in (5, 8):
            if kind in page:
                n_values += _count(page[kind], 1, "values")
        place += header + _count(page, 3, "bytes")
    if n_values != claimed or place != stop:
        raise DataError(f"the pages of a column are not those of its description: {_DAMAGED}")
    return n_values, (n_values + n_entries) * width + n_bytes


def _read_page(file: BinaryIO, place: int, stop: int) -> tuple[dict[int, Any], int]:
    """Return the header of a page, and its length."""
    for window in _WINDOWS:
        file.seek(place)
        reader = StructReader(file.read(min(window, stop - place)))
        try:
            return reader.read(_PAGE), reader.place
        except DataError:
            if window == _WINDOWS[-1]:
                raise
    raise AssertionError


def _count(fields: dict[int, Any], number: int, what: str) -> int:
    """Return a field that must be an integer of 0 or more."""
    value = fields.get(number) if isinstance(fields, dict) else None
    if type(value) is not int or not 0 <= value < 2**63:
        raise DataError(f"it says to have {value} {what} somewhere: {_DAMAGED}")
    return value

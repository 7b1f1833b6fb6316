"""Damage: of bytes, of JSON, and of what is inside of containers, whose sums are made right again.

All is drawn from a `random.Random`, so that an input is known by its number.
"""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import struct
import zipfile
from random import Random
from typing import Any

BYTES = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\n",
    b'"',
    b",",
    b";",
    b"\r",
    b"0",
    b"-",
    b"e",
    b"\x1b",
]
HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, float("nan"), float("inf")),
    *(2**31, 2**63, -(2**63), 2**64, 10**400, "", "0", "1e9", "nan", "inf", "None", "true"),
    *("\x1b[31mred", "\x07", "\r", "\u202egnp.exe", "\ud800", "\U0010ffff", "a" * 10_000, "é"),
    *(
        "os.system",
        "fuzz_trap",
        "fuzz_trap.Trap",
        "Trap",
        "__class__",
        "../../etc/passwd",
        "%s",
        "{}",
    ),
    *([], {}, [[]], [None], {"": None}, {"kind": "Trap", "module": "fuzz_trap", "settings": {}}),
    *({"kind": "Dense", "settings": {"n_out": 10**9}}, {"kind": "Dropout", "settings": {}}),
    *("float16", "bfloat16", "float64", "<U4000000", "numpy", "torch", "relu", "Adam", "Dense"),
]


def damage_bytes(draw: Random, content: bytes) -> bytes:
    """Flip, set, drop, insert, repeat or move some bytes, or cut the end off; once or more."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        place = draw.randrange(len(data) + 1)
        length = draw.choice([1, 1, 2, 4, 8, 64])
        match draw.randrange(8):
            case 0 | 1 if place < len(data):
                data[place] ^= 1 << draw.randrange(8)
            case 2:
                data[place : place + length] = draw.choice(BYTES) * length
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = draw.randbytes(length)
            case 5:
                data[place:place] = data[place : place + length] * draw.choice([1, 2, 100])
            case 6:
                other = draw.randrange(len(data) + 1)
                data[place : place + length] = data[other : other + length]
            case 7 if not draw.randrange(4):
                del data[place:]
    return bytes(data)


def compress(draw: Random, content: bytes) -> bytes:
    """Return the content, plain or compressed, then perhaps damaged."""
    match draw.randrange(8):
        case 0:
            content = gzip.compress(content, mtime=0)
        case 1:
            content = bz2.compress(content)
        case 2:
            content = pack_zip(draw, {"a.csv": content})
        case _:
            return content
    return damage_bytes(draw, content) if draw.randrange(2) else content


def damage_json(draw: Random, value: Any) -> Any:
    """Return a copy of what JSON holds, in which some values are others, gone, or moved."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        places = list(_places(value, []))
        if not places:
            break
        parent, key = draw.choice(places)
        match draw.randrange(9):
            case 0 | 1 | 2:
                parent[key] = copy.deepcopy(draw.choice(HOSTILE))
            case 3:
                other, other_key = draw.choice(places)
                parent[key] = copy.deepcopy(other[other_key])
            case 4:
                del parent[key]
            case 5:
                parent[key] = draw.choice([[parent[key]], {"kind": parent[key]}, str(parent[key])])
            case 6 if isinstance(parent, dict):
                name = draw.choice([x for x in HOSTILE if isinstance(x, str)])
                parent[name] = parent.pop(key) if draw.randrange(2) else parent[key]
            case 7 if isinstance(parent[key], int | float):
                parent[key] = parent[key] * draw.choice([-1, 2, 0.5, 10**6, 1e300]) + draw.choice(
                    [0, 1, -1]
                )
            case 8:
                deep: Any = parent[key]
                for _ in range(draw.choice([3, 50, 400])):
                    deep = [deep] if draw.randrange(2) else {"settings": deep, "kind": "Dense"}
                parent[key] = deep
    return value


def _places(value: Any, found: list[Any]) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found.append((value, key))
        if isinstance(item, dict | list):
            _places(item, found)
    return found


# Zip files and NumPy's arrays --------------------------------------------------------------------


def pack_zip(draw: Random, members: dict[str, bytes]) -> bytes:
    """Return a zip file, in which flags, methods and sizes may be wrong."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            method = draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
            archive.writestr(zipfile.ZipInfo(name), content, method)
    data = bytearray(file.getvalue())
    if draw.randrange(3) == 0:
        # Of a local header, of the one in the directory: flags, method, sum, sizes.
        for magic, offset in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            place = data.find(magic)
            field = draw.choice([6, 8, 14, 18, 22, 26])
            value = draw.choice([0, 1, 8, 9, 12, 14, 0x800, 0xFFFF])
            if place >= 0 and draw.randrange(2):
                struct.pack_into("<H", data, place + offset + field, value)
    return bytes(data)


def make_npy(draw: Random, seed: bytes) -> bytes:
    """Return an array whose header says something else, or a seed with damaged bytes."""
    if draw.randrange(2):
        return damage_bytes(draw, seed)
    descr = draw.choice(
        [
            *(
                "<f8",
                "<f4",
                ">f8",
                "<f2",
                "<i8",
                "|u1",
                "|b1",
                "<u8",
                "<c16",
                "|O",
                "<M8[ns]",
                "<m8",
            ),
            *("<U1", "<U4", "<U400000000", "|S0", "|S5", "|V8", "<U0", "x", "", "<g", "<f16"),
            [("a", "<f8"), ("b", "|O")],
            [("a", "<f8", (3,))],
            [],
            ("<f8", (2, 2)),
            5,
        ]
    )
    size = draw.choice([0, 1, 3, 20, -1, 4 * 10**9, 2**62, 2**63, 2**64, 10**30])
    shape: Any = draw.choice(
        [(20, size), (size,), (size, size), (), (20,), (20, 3), [20, 3], 20, (20, 0)]
    )
    if draw.randrange(20) == 0:
        shape = (1,) * draw.choice([33, 65, 1000])
    header: Any = {
        "descr": descr,
        "fortran_order": draw.choice([False, False, True, 1]),
        "shape": shape,
    }
    text = repr(header)
    if draw.randrange(4) == 0:
        text = damage_bytes(draw, text.encode()).decode("latin-1")
    if draw.randrange(20) == 0:
        text = draw.choice(["__import__('fuzz_trap')", "(" * 300, "{" * 10**4, "1" * 10**4, "\0"])
    version = draw.choice([1, 1, 1, 2, 3, 4])
    encoded = text.encode("utf-8" if version == 3 else "latin-1", errors="replace") + b"\n"
    length = len(encoded) if draw.randrange(8) else draw.choice([0, 1, 65535])
    size_field = struct.pack("<H" if version == 1 else "<I", min(length, 65535))
    payload = draw.randbytes(draw.choice([0, 8, 80, 160, 480, 500]))
    if draw.randrange(2):
        payload = bytes(len(payload))
    if isinstance(descr, str) and descr.startswith("<U") and draw.randrange(2):
        payload = struct.pack("<I", 0x110000) * 20
    return b"\x93NUMPY" + bytes([version, 0]) + size_field + encoded + payload


# Thrift ------------------------------------------------------------------------------------------


class ThriftPlaces:
    """Finds where the integers of a structure in Thrift's compact protocol are."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self.data, self.place = data, start
        self.integers: list[tuple[tuple[int, ...], int, int]] = []

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.place]
            self.place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def value(self, kind: int, path: tuple[int, ...]) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind in (4, 5, 6):
            start = self.place
            value = self.varint()
            self.integers.append((path, start, self.place))
            return (value >> 1) ^ -(value & 1)
        if kind in (3, 7):
            self.place += 1 if kind == 3 else 8
            return None
        if kind == 8:
            length = self.varint()
            self.place += length
            return self.data[self.place - length : self.place]
        if kind in (9, 10):
            header = self.data[self.place]
            self.place += 1
            size = header >> 4 if header >> 4 < 15 else self.varint()
            kind = 3 if header & 15 in (1, 2) else header & 15
            return [self.value(kind, (*path, i)) for i in range(size)]
        return self.struct(path)

    def struct(self, path: tuple[int, ...] = ()) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while header := self.data[self.place]:
            self.place += 1
            number += header >> 4
            if not header >> 4:
                number = self.varint() >> 1
            fields[number] = self.value(header & 15, (*path, number))
        self.place += 1
        return fields


def varint(value: int) -> bytes:
    """Return an integer as Thrift stores it."""
    rest, data = ((value << 1) ^ (value >> 63)) & (2**64 - 1), bytearray()
    while rest > 127:
        data.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*data, rest])


INTEGERS = [0, 1, -1, -21, 2, 39, 41, 2**16, 2**31 - 1, -(2**31), 2**40, 2**61, 2**63 - 1, -(2**63)]


def damage_parquet(draw: Random, content: bytes) -> bytes:
    """Replace an integer of the description, or of the header of a page, or damage any bytes."""
    length = int.from_bytes(content[-8:-4], "little")
    end = len(content) - 8 - length
    footer = content[end:-8]
    match draw.randrange(5):
        case 0:
            return damage_bytes(draw, content)
        case 1:
            footer = damage_bytes(draw, footer)
        case 2 | 3:
            for _ in range(draw.choice([1, 1, 2, 3])):
                places = ThriftPlaces(footer)
                places.struct()
                _, start, stop = draw.choice(places.integers)
                footer = footer[:start] + varint(draw.choice(INTEGERS)) + footer[stop:]
        case 4:
            content, footer = _damage_page(draw, content[:end], footer)
            end = len(content)
    return content[:end] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def _damage_page(draw: Random, data: bytes, footer: bytes) -> tuple[bytes, bytes]:
    """Write a column's pages once more, one of whose headers has another integer."""
    described = ThriftPlaces(footer).struct()
    n_group = draw.randrange(len(described[4]))
    n_chunk = draw.randrange(len(described[4][n_group][1]))
    meta = described[4][n_group][1][n_chunk][3]
    start = meta.get(11) or meta[9]
    chunk, place, headers = data[start : start + meta[7]], 0, []
    while place < len(chunk):
        places = ThriftPlaces(chunk, place)
        page = places.struct()
        headers.append((places.integers, place))
        place = places.place + page[3]
    integers, place = draw.choice(headers)
    _, first, last = draw.choice(integers)
    new = varint(draw.choice(INTEGERS))
    moved = chunk[:first] + new + chunk[last:]
    later = len(moved) - len(chunk) if first < meta[9] - start else 0
    changes = {7: len(moved), 9: len(data) + meta[9] - start + later}
    if 11 in meta:
        changes[11] = len(data)
    for number, value in changes.items():
        places = ThriftPlaces(footer)
        places.struct()
        where = (4, n_group, 1, n_chunk, 3, number)
        for path, first, last in places.integers:
            if path == where:
                footer = footer[:first] + varint(value) + footer[last:]
    if not draw.randrange(3):
        moved = damage_bytes(draw, moved)[: len(moved)].ljust(len(moved), b"\0")
    return data + moved, footer

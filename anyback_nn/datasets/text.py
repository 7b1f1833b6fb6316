"""Text files as tables: their encoding, line ends, separator, decimal mark and column names.

A separator is found if it divides the lines at the beginning of the file into as many values as
the header has names. Where it is a semicolon, numbers may have decimal commas; that follows from
the values.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from anyback_nn.datasets.columns import require_room
from anyback_nn.datasets.options import TableOptions
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars, require_distinct_names
from anyback_nn.utils.messages import cut, plural, quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["check_names", "read_text", "refuse_unreadable"]

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAMPLE_LINES, _SAMPLE_LENGTH = 200, 2**18
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before that of UTF-16, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FIRST_ROW = re.compile(rb'(?:[^"\r\n]|"[^"]*")*')
_SEPARATOR_LINE = re.compile(rb'"?sep=([\t !#-~])"?\r?\n')
# Signs, currencies and units may stand around a number; three digits after a mark are unclear.
_NUMBER = r"^[^\d.,]{{0,4}}(?:{})[^\d.,]{{0,8}}$"
_DECIMAL_COMMA = _NUMBER.format(r"\d+,(?:\d{1,2}|\d{4,})|0,\d+|\d{1,3}(?:\.\d{3})+,\d+")
_DECIMAL_POINT = _NUMBER.format(r"\d+\.(?:\d{1,2}|\d{4,})|0\.\d+|\d{1,3}(?:,\d{3})+\.\d+")
_ANY_COMMA = _NUMBER.format(r"\d+,\d+")
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")


def read_text(
    content: bytes, options: TableOptions
) -> tuple[pl.DataFrame, TableOptions, tuple[str, ...]]:
    r"""Read a table from the content of a text file.

    Parameters
    ----------
    content : bytes
        A line of column names, then rows of data; blank lines do not count.
    options : TableOptions

    Returns
    -------
    frame : polars.DataFrame of String
        The values as they are written, null where there is nothing.
    options : TableOptions
        With the separator and the decimal mark that were found, if none were given.
    notes : tuple of str
        Messages for the user about what was found.

    Raises
    ------
    DataError
        The text cannot be decoded, a line has more or fewer values than the header, or names of
        columns are missing or repeated.

    Examples
    --------
    >>> frame, options, notes = read_text(b"price;town\n2,50;Rome\n", TableOptions())
    >>> frame.rows(), options.separator, options.decimal
    ([('2,50', 'Rome')], ';', ',')
    >>> notes
    ('read as a table with semicolons between the columns and decimal commas',)
    """
    content = _unify_line_ends(_encode_utf8(content, options.encoding))
    declared = _SEPARATOR_LINE.match(content)  # Excel writes it before the header
    whole, content = content, content[declared.end() if declared else 0 :].lstrip(b"\r\n")
    n_skipped = whole[: len(whole) - len(content)].count(b"\n")
    if not content.strip():
        raise DataError("is empty: expected a line of column names, then rows of data")
    separator, decimal = options.separator, options.decimal
    _require_room(content, separator or "".join(_SEPARATORS))
    if separator is None:
        separator = declared[1].decode("latin-1") if declared else _find_separator(content)
    frame = _parse(content, separator, n_skipped)
    if decimal is None and separator == ";":
        decimal = _find_decimal(frame)
    marks = []
    if options.separator is None and separator != ",":
        marks.append(f"{_SEPARATORS.get(separator, repr(separator))} between the columns")
    if options.decimal is None and decimal == ",":
        marks.append("decimal commas")
    notes: tuple[str, ...] = (f"read as a table with {' and '.join(marks)}",) if marks else ()
    if _are_numbers(frame.columns):
        notes += (
            f"the first line, {quoted_list(frame.columns, 3)}, was taken as the names of the "
            "columns: if it is a row of data, write a line of names before it",
        )
    return frame, replace(options, separator=separator, decimal=decimal), notes


def check_names(names: Sequence[str]) -> None:
    """Raise `DataError` unless each column has a name of its own; the first may be an index."""
    if "" in names[1:]:
        raise DataError(
            f"column {names.index('', 1) + 1} has no name: expected a name for each column; "
            "name or drop it (pandas: to_csv(index=False))"
        )
    require_distinct_names(names)


@contextmanager
def refuse_unreadable(expected: str) -> Iterator[None]:
    """Raise what polars cannot read as a `DataError`."""
    try:
        yield
    except (polars().exceptions.PolarsError, polars().exceptions.PanicException, OSError) as error:
        reason = cut(str(error).partition("\n")[0])
        raise DataError(f"cannot be read ({reason}): expected {expected}") from error


# Characters --------------------------------------------------------------------------------------


def _encode_utf8(content: bytes, encoding: str) -> bytes:
    """Return the text in UTF-8; a byte order mark says more than the default encoding."""
    encoding = codecs.lookup(encoding).name
    if encoding == "utf-8":
        marked = (name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark))
        encoding = next(marked, encoding)
    if encoding == "utf-8":
        _require_text(content)
        return content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise DataError(
            f"cannot be decoded as {encoding} ({error}): expected another encoding; pass the one "
            "that the file was saved in with encoding= (--encoding)"
        ) from error


def _require_text(content: bytes) -> None:
    """Raise `DataError` if UTF-8 has zero bytes, as other encodings and binary files have."""
    if b"\0" in content[:1000]:
        raise DataError(
            "has zero bytes, so it is not text in UTF-8: expected a text file; if it is text in "
            "UTF-16, pass encoding='utf-16' (--encoding utf-16)"
        )


def _require_room(content: bytes, separators: str) -> None:
    """Raise `DataError` if the table would not fit into memory; any of some may divide it."""
    marks, n_lines = separators.encode(), content.count(b"\n") + 1
    header = content[: content.find(b"\n") if n_lines > 1 else None]
    width = max(map(header.count, marks)) + 1
    # polars takes 16 bytes a value, even of one that is empty.
    require_room(width, len(content) + 16 * (max(map(content.count, marks)) + n_lines))


# Lines -------------------------------------------------------------------------------------------


def _unify_line_ends(content: bytes) -> bytes:
    """Replace carriage returns by line feeds, if those alone end the lines."""
    if b"\r" not in content[:_SAMPLE_LENGTH]:
        return content
    first = _FIRST_ROW.match(content.lstrip(b"\r\n"))
    end = first.string[first.end() : first.end() + 2] if first else b""
    return content.replace(b"\r", b"\n") if end[:1] == b"\r" and end != b"\r\n" else content


def _find_separator(content: bytes) -> str:
    """Return the separator that divides the first lines equally; commas come first."""
    end = content.find(b"\n", _SAMPLE_LENGTH)
    text = content[: end if end >= 0 else None].decode(errors="replace")
    best, most = ",", 1
    for separator in _SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            widths = [len(row) for row in islice(reader, _SAMPLE_LINES) if row]
        except csv.Error:  # a field is too long
            continue
        if end >= 0 and len(widths) > 1:
            widths.pop()  # what was cut may end inside of quotes
        if widths[0] > 1 and len(set(widths)) == 1:
            return separator
        if widths[0] > most:
            best, most = separator, widths[0]
    return best  # a line will be refused


def _parse(content: bytes, separator: str, n_skipped: int) -> pl.DataFrame:
    """Return the rows after the header, which some lines were before, without blank lines."""
    pl = polars()
    if content.endswith(separator.encode()):
        content += b"\n"  # without it polars does not see a value too many
    try:
        with refuse_unreadable(f"text with {separator!r} between the columns"):
            # The header is read as a row, since polars would rename columns of the same name.
            frame = pl.read_csv(content, has_header=False, infer_schema=False, separator=separator)
    except DataError:
        _find_blank_lines(content, separator, n_skipped)  # names the line, if one is too long
        raise
    if frame[:, -1].null_count():  # polars fills rows that are too short with nulls
        frame = frame.filter(~pl.Series(_find_blank_lines(content, separator, n_skipped)))
    names = [(name or "").strip() for name in frame.row(0)]
    frame = frame[1:]
    while len(names) > 1 and not names[-1] and frame[:, -1].null_count() == frame.height:
        names, frame = names[:-1], frame[:, :-1]  # each line ends with a separator
    if _are_numbers(names) and len(set(names)) < len(names):
        raise DataError(
            f"the first line has numbers, {quoted_list(names, 3)}, some of them twice: expected "
            "the names of the columns; write a line of names before it"
        )
    check_names(names)
    frame.columns = names
    return frame


def _are_numbers(names: Sequence[str]) -> bool:
    """Return whether names are numbers, as in a file without names; not if pandas counted them."""
    counted = [str(i) for i in range(len(names))]
    return all(map(_PLAIN_NUMBER.fullmatch, names)) and list(names) != counted


def _find_blank_lines(content: bytes, separator: str, n_skipped: int) -> list[bool]:
    """Return which lines are blank; refuse rows that are longer or shorter than the header."""
    try:
        text = content.decode().replace("\r\n", "\n")
        if '"' not in text and "\r" not in text:  # then counting separators is enough, and fast
            lines = text.removesuffix("\n").split("\n")
            n_marks = lines[0].count(separator)
            if all(not line or line.count(separator) == n_marks for line in lines):
                return [not line for line in lines]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        width, blank = len(next(reader)), [False]
        for row in reader:
            blank.append(not row)
            if row and len(row) != width:
                raise DataError(
                    f"row {blank.count(False) - 1} (line {n_skipped + reader.line_num}) has "
                    f"{plural(len(row), 'value')}: expected {width}, as many as the header has "
                    f"names; complete the row, quote values that contain {separator!r}, or pass "
                    "another separator= (--separator)"
                )
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + n_skipped + 1
        raise DataError(
            f"line {line} is not UTF-8 ({error.reason}): expected text in UTF-8, or the name of "
            "its encoding; for one of western Europe pass encoding='latin-1' (--encoding latin-1)"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"line {n_skipped + reader.line_num}: {error}: expected text with {separator!r} "
            "between the columns"
        ) from error
    return blank


# Numbers -----------------------------------------------------------------------------------------


def _find_decimal(frame: pl.DataFrame) -> str | None:
    """Return what stands before fractions where semicolons separate the columns, if it is clear."""
    distinct = [frame[name].str.strip_chars().unique() for name in frame.columns]
    commas, points, any_commas = (
        any(strings.str.contains(pattern).any() for strings in distinct)
        for pattern in (_DECIMAL_COMMA, _DECIMAL_POINT, _ANY_COMMA)
    )
    if commas and points:
        return None
    if points:
        return "."
    return "," if commas or any_commas else None

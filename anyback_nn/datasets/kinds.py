"""Decide what a column of a table is: numbers, dates or categories, and how they are written.

A column of strings is numbers if all of its values are, in one form. Where some are not, what most
values are decides: a column of words is categories, but one of values that begin with digits, in no
form that is known or in one that can be read in two ways, is refused. As categories it would train
without a word and learn little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from anyback_nn.datasets.columns import (
    MISSING_MARKERS,
    Column,
    Strings,
    encode_strings,
    fill_gaps,
    find_first,
    non_numeric,
    parse_plain,
    read_dates,
    read_numbers,
    read_strings,
    require_parsed,
)
from anyback_nn.datasets.formats import (
    CURRENCIES,
    DateFormat,
    Format,
    NumberFormat,
    find_closest,
    find_formats,
)
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.targets import Target, target_names, written_forms
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import polars
from anyback_nn.utils.messages import quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AmbiguousNumbersError",
    "Kind",
    "decide_kind",
    "declare_kind",
    "exclude_identifiers",
    "find_decimal",
    "identifies_rows",
    "is_identifier",
    "note_columns",
    "read_array",
    "read_column",
    "refuse_numeric_dates",
    "target_options",
]

_IDENTIFIER_ROWS = 50
_MANY_NUMBERS = 20
# As pandas names an index that has no name, in Parquet and in CSV.
_INDEX_NAME = re.compile(r"(__index_level_\d+__|Unnamed: \d+|)")
_IDENTIFIER_NAME = re.compile(
    r"(?i:(.*[_ .-])?(id|u?uid|guid|index|idx|key|no|nr|row|row ?names?))|.*[a-z]I[dD]"
)
# A sign or bracket, a currency, a sign, then a digit.
_DIGIT = (
    rf"[-+(\u2010-\u2015\u2212]?\s*(\p{{Sc}}|[A-Z]{{1,3}}\p{{Sc}}|[A-Z]{{3}}\s|{CURRENCIES})?"
    r"\s*[-+\u2212]?[.,]?\d"
)
_BEGINS_WITH_DIGIT = f"^{_DIGIT}"
# In many different values; a few may be classes, such as <=50K and >50K.
_IS_ABOUT_DIGIT = rf"^(([<>]=?|[\u2264\u2265~\u2248]|(?i:ca?\.|circa))\s*)?{_DIGIT}"
_INTEGER = re.compile(r"\s*[-+]?\d+\s*")
_LEADING_ZERO = r"^0\d"
_FIRST_ROWS = 1000
# Three digits may be thousands.
_FRACTION = r"\.(\d{1,2}|\d{4,})(\D|$)"
_REMEDIES = (
    "take the values as categories with --categorical (categorical=), or leave the column out with "
    "--drop (drop=)"
)
_LABELS = "use --task classification (task=) where the strings are labels"
_TEXTS = "name texts that are missing values with --na-values (na_values=), "


class AmbiguousNumbersError(DataError):
    """A column of numbers can be read in several ways: other columns may show which is right."""


@dataclass(frozen=True)
class Kind:
    """What the values of a column are, and how they are written.

    Parameters
    ----------
    values : {"numbers", "dates", "categories"}
    written : Format, optional
        The form of numbers that are not plain, or of dates, in a column of strings.
    missing : tuple of str
        Strings that are missing values in this column, in addition to the known markers.
    is_code : bool
        Whether the strings are digits that begin with zeros, such as postal codes.
    keeps_markers : bool
        Whether known markers such as ``None`` are values, because the user calls it categorical.
    """

    values: Literal["numbers", "dates", "categories"]
    written: Format | None = None
    missing: tuple[str, ...] = ()
    is_code: bool = False
    keeps_markers: bool = False


def read_column(
    series: pl.Series, options: TableOptions, *, is_target: bool = False
) -> tuple[Kind, Column]:
    """Decide what a column is, and return it.

    Raises
    ------
    DataError
        If most values look like numbers but not all can be read, or can be read in several ways.
    """
    kind = declare_kind(series.name, series.dtype, options)
    if kind is not None:
        if not is_target:
            refuse_numeric_dates(series.name, kind, options)
        return kind, read_as(series, kind)
    strings = read_strings(series, options.na_values)
    parsed = parse_plain(strings)
    # A short cut: `decide_kind` decides the same, but counts and sorts the distinct strings first
    # (0.8 s instead of 0.03 s for a million fractions).
    if parsed.null_count() == strings.null_count() and not _uses_commas(strings, options):
        if series.name in options.numeric or not _are_codes(strings):
            kind = Kind("numbers", _plain_form(options), options.na_values)
            return kind, fill_gaps(parsed, options.na_values)
        return Kind("categories", None, options.na_values, True), encode_strings(strings)
    counts = strings.drop_nulls().rename("value").value_counts(name="count")
    kind = decide_kind(series.name, counts, options, is_target=is_target, strings=strings)
    return kind, read_as(strings, kind)


def find_decimal(frame: pl.DataFrame, options: TableOptions) -> str | None:
    """Return what stands before fractions in all columns that show it; None if there is no such.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"size": ["1,018 m", "2,250 m"], "price": ["$1,250.00", "$99.50"]})
    >>> find_decimal(frame, TableOptions())
    '.'
    """
    marks = set()
    for series in frame:
        if declare_kind(series.name, series.dtype, options) is not None:
            continue
        values = read_strings(series, options.na_values).drop_nulls().unique()
        forms = _find_forms(values, options)
        if len(forms) == 1 and isinstance(form := forms[0], NumberFormat):
            is_comma = form.decimal == "," and values.str.contains(",", literal=True).any()
            if is_comma or form.thousands == ".":
                marks.add(",")
            elif form.thousands == "," or values.str.contains(_FRACTION).any():
                marks.add(".")
        elif forms == [None] and values.str.contains(_FRACTION).any():
            marks.add(".")
    return marks.pop() if len(marks) == 1 else None


def declare_kind(name: str, dtype: pl.DataType, options: TableOptions) -> Kind | None:
    """Return what a column is by its type and the options; None if its strings decide."""
    pl = polars()
    if name in options.categorical:
        return Kind("categories", None, options.na_values, keeps_markers=True)
    is_number = dtype.is_numeric() or dtype in (pl.Time, pl.Duration)
    if is_number or (dtype == pl.Boolean and name in options.numeric):
        return Kind("numbers", None, options.na_values)
    if dtype in (pl.Date, pl.Datetime):
        return Kind("dates", None, options.na_values)
    if dtype != pl.String and name not in options.numeric:
        return Kind("categories", None, options.na_values)
    return None


def target_options(name: str, task: str, options: TableOptions) -> TableOptions:
    """Return the options with which a target is read: for regression it is numeric."""
    if task != "regression":
        return options
    return replace(options, categorical=(), numeric=(name,))


def refuse_numeric_dates(name: str, kind: Kind, options: TableOptions) -> None:
    """Raise `DataError` if a column of dates was to be numbers."""
    if kind.values == "dates" and name in options.numeric:
        raise DataError(
            f"column {name!r} holds dates: expected numbers; leave it out of --numeric (numeric=), "
            "and year, month, elapsed days and others become features"
        )


def decide_kind(
    name: str,
    counts: pl.DataFrame,
    options: TableOptions,
    *,
    is_target: bool = False,
    strings: pl.Series | None = None,
) -> Kind:
    """Decide what a column of strings is.

    Parameters
    ----------
    name : str
    counts : polars.DataFrame
        The distinct strings, none of them missing (``value``), and in how many rows each is
        (``count``).
    options : TableOptions
    is_target : bool
        Whether it is a target, in which a text among numbers is never a missing value.
    strings : polars.Series of String, optional
        The column, for errors that name a row.
    """
    forced, markers = name in options.numeric, options.na_values
    counts = counts.sort(["count", "value"], descending=[True, False])
    values = counts["value"].alias(name)
    if not len(values):
        return Kind("numbers", None, markers)
    forms = _find_forms(values, options)
    texts = (~values.str.contains(r"\d") & (counts["count"] > 1)).arg_true()
    if not (forms or is_target) and len(texts) and len(values) > 2:
        # If only a text such as "unknown" is repeated among numbers, it is a missing value.
        others = values != values[texts[0]]
        if forms := _find_forms(values.filter(others), options):
            markers = (*markers, values[texts[0]])
            values = values.filter(others)
    if len(forms) != 1 and _names_rows(name, counts):
        return Kind("categories", None, markers)
    if len(forms) > 1:
        first, second = (repr(str(form)) for form in forms[:2])
        is_date = isinstance(forms[0], DateFormat)
        remedy = "write them like 2024-01-31" if is_date else "use --decimal , or . (decimal=)"
        remedies = f"{_LABELS}, or {remedy}" if is_target else f"{remedy}, {_REMEDIES}"
        raise (DataError if is_date else AmbiguousNumbersError)(
            f"column {name!r}: {_examples(values)} can be read as {first} or as {second}: "
            f"expected one reading; {remedies}"
        )
    if forms:
        (form,) = forms
        form = form or _plain_form(options)
        kind = Kind("dates" if isinstance(form, DateFormat) else "numbers", form, markers)
        if not is_target:
            refuse_numeric_dates(name, kind, options)
        if forms == [None] and not forced and _are_codes(values):
            return Kind("categories", None, markers, True)
        return kind
    _refuse_numbers(values, counts["count"], options, is_target=is_target, strings=strings)
    return Kind("categories", None, markers)


def _refuse_numbers(
    values: pl.Series,
    counts: pl.Series,
    options: TableOptions,
    *,
    is_target: bool,
    strings: pl.Series | None,
) -> None:
    """Raise `DataError` if many values are numbers, or most begin with digits."""
    n_rows = counts.sum()
    has_digit = values.str.contains(r"\d")
    if counts[0] > 1 and n_rows < 2 * counts[0] and not has_digit[0]:
        n_rows -= counts[0]  # a text such as "unknown" in most rows
    parsed = parse_plain(values)
    n_numbers = counts.filter(parsed.is_not_null()).sum()
    many = len(values) - parsed.null_count() > _MANY_NUMBERS and 10 * n_numbers >= n_rows
    if parsed.null_count() and (many or 2 * n_numbers > n_rows or values.name in options.numeric):
        hint = f". {_LABELS[0].upper()}{_LABELS[1:]}" if is_target else ""
        hint = hint or f". Where it is no number, {_REMEDIES}"
        if strings is not None:
            require_parsed(parse_plain(strings), strings, "numbers", hint)
        wrong = values.filter(parsed.is_null())[0]
        raise non_numeric(wrong, values.name, "", "numbers", hint)
    pattern = _IS_ABOUT_DIGIT if len(values) > _MANY_NUMBERS else _BEGINS_WITH_DIGIT
    numeric = values.str.contains(pattern)
    if 2 * counts.filter(numeric).sum() > n_rows:
        strings = values if strings is None else strings
        form, fits = find_closest(values, counts, decimal=options.decimal)
        if form is None:
            wrong = strings.is_in(values.filter(numeric).implode())
            what = f"{_examples(values.filter(numeric))} begin with digits but have no common form"
        else:
            wrong = strings.is_in(values.filter(~fits).implode())
            good = values.filter(fits)[0]
            what = f"{strings.filter(wrong)[0]!r} is not written as {good!r} is ({form})"
        row = f"row {wrong.fill_null(False).arg_max() + 1}, " if strings is not values else ""
        texts = "" if has_digit.all() else _TEXTS
        raise DataError(
            f"{row}column {values.name!r}: {what}: expected numbers such as 1234.5, all with one "
            f"unit, or dates in one format; "
            + (f"{_LABELS}, or write them alike" if is_target else f"{texts}{_REMEDIES}")
        )


def read_as(series: pl.Series, kind: Kind) -> Column:
    """Return a column whose kind is known."""
    if kind.values == "categories":
        keep = MISSING_MARKERS if kind.keeps_markers else ()
        strings = read_strings(series, kind.missing, keep=keep)
        return encode_strings(strings)
    return read_array(series, kind)


def read_array(series: pl.Series, kind: Kind) -> np.ndarray:
    """Return a column of numbers or dates."""
    read = read_numbers if kind.values == "numbers" else read_dates
    return read(series, kind.written, kind.missing)


def is_identifier(series: pl.Series, column: Column, options: TableOptions) -> bool:
    """Return whether a column names or numbers the rows, as `identifies_rows` decides."""
    name, n_rows = series.name, len(column)
    if isinstance(column, Strings):
        is_unique = len(column.values) == n_rows
        return identifies_rows(name, n_rows, options, is_unique=is_unique, counts_rows=is_unique)
    counts_rows = is_unique = False
    if column.dtype.kind != "M":
        counts_rows = column[0] in (0, 1) and bool((np.diff(column) == 1).all())
        is_named = _IDENTIFIER_NAME.fullmatch(name) is not None
        is_unique = counts_rows or (is_named and len(np.unique(column)) == n_rows)
        if is_unique and not _are_integers(series):
            counts_rows = is_unique = False
    return identifies_rows(name, n_rows, options, is_unique=is_unique, counts_rows=counts_rows)


def identifies_rows(
    name: str, n_rows: int, options: TableOptions, *, is_unique: bool, counts_rows: bool
) -> bool:
    """Return whether a column names or numbers the rows, and is no feature.

    It does if it is an index without a name, or if there are more than 50 rows, each with another
    string or integer. But integers may be anything that is measured, such as a price: they must
    count the rows from 0 or 1, in their order, or have the name of an identifier.

    Parameters
    ----------
    name : str
    n_rows : int
    options : TableOptions
        A column that is named as a feature, or as numeric or categorical, is no identifier.
    is_unique : bool
        Whether each row has another string or integer.
    counts_rows : bool
        Whether integers count the rows; for strings the same as ``is_unique``.
    """
    if any(
        name in names for names in (options.numeric, options.categorical, options.features or ())
    ):
        return False
    if _INDEX_NAME.fullmatch(name):
        return True
    is_named = _IDENTIFIER_NAME.fullmatch(name) is not None
    return n_rows > _IDENTIFIER_ROWS and (counts_rows or (is_unique and is_named))


def exclude_identifiers(
    names: Sequence[str], identifiers: Sequence[str], texts: Collection[str]
) -> list[str]:
    """Return the identifiers to leave out: not those of numbers if there is no other feature.

    Raises
    ------
    DataError
        If no feature is left.
    """
    if len(identifiers) < len(names):
        return list(identifiers)
    excluded = [name for name in identifiers if name in texts]
    if len(excluded) == len(names):
        raise DataError(
            f"the features are {quoted_list(excluded)}, which name the rows: expected columns "
            "whose values repeat, or numbers"
        )
    return excluded


def note_columns(
    target: Target,
    features: Sequence[str],
    kinds: Mapping[str, Kind],
    identifiers: Sequence[str],
    task: str,
    options: TableOptions,
) -> tuple[str, ...]:
    """Describe which columns name the rows, and which others are not what they look like.

    The identifiers are no features. The task is the one that the user chose.
    """
    is_open = target.labels is not None and task == "auto"
    is_code = is_open and _are_codes(polars().Series(target.labels))
    forms = {
        name: Kind("numbers", form, options.na_values, is_code and name not in options.categorical)
        for name, form in zip(target_names(target), written_forms(target), strict=True)
    }
    what = "left out, because they name or number the rows (--features or --numeric takes them)"
    notes = (f"{what}: {quoted_list(identifiers)}",) if identifiers else ()
    return (*notes, *_note_kinds(forms | {name: kinds[name] for name in features}, options))


def _note_kinds(kinds: Mapping[str, Kind], options: TableOptions) -> tuple[str, ...]:
    """Describe which columns are not what they look like, in a line for each kind."""
    notes: dict[str, list[str]] = {
        "read as numbers": [],
        "dates, of which year, month, day, weekday, hour and elapsed days are features, as far as "
        "they vary": [],
        "kept as text because of leading zeros": [],
        "taken as missing": [],
    }
    numbers, dates, codes, missing = notes.values()
    for name, kind in kinds.items():
        form = str(kind.written).removeprefix("numbers with ").removeprefix("dates such as ")
        text = f"{name!r} ({form})" if kind.written is not None else repr(name)
        if kind.values == "dates":
            dates.append(text)
        elif kind.written not in (None, _plain_form(options)):
            numbers.append(text)
        if kind.is_code:  # of numbers: a target that was to be either
            is_target = kind.values == "numbers"
            codes.append(f"{text} (for numbers, --task regression)" if is_target else text)
        if kind.missing != options.na_values:
            missing.append(f"{kind.missing[-1]!r} in {name!r}")
    return tuple(f"{what}: {quoted_list(x, 6, quote=str)}" for what, x in notes.items() if x)


def _names_rows(name: str, counts: pl.DataFrame) -> bool:
    """Return whether strings in any form have the name of an identifier and are all different."""
    is_named = _INDEX_NAME.fullmatch(name) or _IDENTIFIER_NAME.fullmatch(name)
    return bool(is_named) and counts.height > _IDENTIFIER_ROWS and counts["count"].max() == 1


def _find_forms(values: pl.Series, options: TableOptions) -> list[Format | None]:
    """Return the forms that read all values; None is that of plain numbers."""
    plain = parse_plain(values)
    if len(values) and not plain.null_count() and not _uses_commas(values, options):
        return [None]
    if not values.str.contains(r"\d").all():
        return []
    return [*find_formats(values, decimal=options.decimal)]


def _plain_form(options: TableOptions) -> Format | None:
    """Return the form of numbers without a mark, by the options; other rows may have fractions."""
    return NumberFormat(decimal=",") if options.decimal == "," else None


def _uses_commas(strings: pl.Series, options: TableOptions) -> bool:
    """Return whether a point in these numbers is no decimal point, by the options."""
    return options.decimal == "," and bool(strings.str.contains(".", literal=True).any())


def _are_codes(strings: pl.Series) -> bool:
    """Return whether numbers are digits and points only, some of which begin with a zero.

    A first number that is no integer rules that out, unless there are zeros in the first rows.
    """
    first = find_first(strings)
    if first is None:
        return False
    if not _INTEGER.fullmatch(first):  # which is fast
        strings = strings.head(_FIRST_ROWS)
    if not strings.str.contains(_LEADING_ZERO).any():
        return False
    return not bool(strings.str.contains(r"[^\d.\s]").any())


def _are_integers(series: pl.Series) -> bool:
    """Return whether all values of a column of numbers are integers without a point."""
    if series.dtype != polars().String:
        return bool(series.dtype.is_integer())
    return not bool(series.str.contains(r"[^\d\s+-]").any())


def _examples(values: pl.Series) -> str:
    return quoted_list(values.head(3).to_list())

"""How numbers, times and dates are written in a column of strings.

A format is found only if it reads every value, and if no other format reads them differently: the
strings ``1,234`` and ``5,678`` alone could be 1234 or 1.234, so they have none. A format is plain
data, stored with the encoding, so that other files are read as the one of training was.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyback_nn.utils.frames import polars

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "CURRENCIES",
    "ClockFormat",
    "DateFormat",
    "Format",
    "NumberFormat",
    "find_closest",
    "find_formats",
]

_MINUS = "[\u2010-\u2013\u2212\ufe63\uff0d]"
_SPACES = r"[\s\u00a0\u2007\u2009\u202f]"
_APOSTROPHES = "[\u2019\u02bc\u00b4`]"
_THOUSANDS = {"": "no mark", ",": "commas", ".": "points", " ": "spaces", "'": "apostrophes"}
CURRENCIES = (
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|"
    "RUB|SEK|SGD|THB|TRY|TWD|UAH|USD|ZAR"
)
"""Codes that are written without a space too, as in USD12; other letters may be those of a name."""
# The sign may stand on either side of a unit in front: -$12 and $-12. A unit has no digits but an
# exponent at its end, as m2 has.
_NUMBER = (
    r"^(?P<open>\()? ?(?P<sign>[-+])? ?"
    rf"(?P<before>\p{{Sc}}|[A-Z]{{1,3}}\p{{Sc}}|[A-Z]{{3}} |{CURRENCIES})? ?"
    r"(?P<inner>[-+])? ?(?P<digits>\d[\d.,' ]*|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?"
    r" ?(?P<after>[^\d\s.,'()+:/\-][^\d()]*[23]?)?(?P<close>\))?$"
)
_CLOCK = (
    r"^(?P<first>\d{1,3}):(?P<second>[0-5]\d)(?::(?P<third>[0-5]\d(?:\.\d+)?))?"
    r"(?: ?(?P<half>[AaPp]\.?[Mm]\.?))?$"
)
_DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d %b %y",
    "%d-%b-%y",
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
_FIELDS = {
    **{"%Y": r"\d{4}", "%y": r"\d{2}(?!\d)"},
    **{"%b": "[A-Za-z]{3}", "%B": "[A-Za-z]+", "%p": "[AaPp]", "%.f": r"\.\d"},
}
_FIRST = 20
"""In how many strings a format is looked for that reads most of them."""

_ZONE = (
    r"(:\d\d(?:\.\d+)?|^\d{4}-\d\d-\d\d)\s?(?:Z|(?P<sign>[+-])(?P<hour>\d\d):?(?P<minute>\d\d)?)$"
)


def _date_expression(pattern: str) -> re.Pattern[str]:
    """Return an expression that a date of this pattern has at its beginning."""
    parts = re.split(r"(%\.?[A-Za-z])", pattern.replace(" ", "[T ]", pattern.startswith("%Y")))
    return re.compile("^" + "".join(_FIELDS.get(x, r"\d+" if x[:1] == "%" else x) for x in parts))


_DATES = {day + time: _date_expression(day + time) for day in _DAYS for time in _TIMES}


@dataclass(frozen=True)
class NumberFormat:
    """Numbers with a unit, marks between thousands, a decimal comma, or in brackets if negative.

    Parameters
    ----------
    unit : str
        What stands before or after each number, such as ``kg``, ``$`` or ``%``; empty for none.
    thousands : {"", ",", ".", " ", "'"}
        What stands between groups of three digits; a space is any kind of space.
    decimal : {".", ","}
        What stands before the fraction.
    """

    unit: str = ""
    thousands: str = ""
    decimal: str = "."

    def parse(self, strings: pl.Series) -> pl.Series:
        """Return the numbers (Float64), null where a string is not of this format."""
        if self == NumberFormat(decimal=",") and not strings.str.contains(".", literal=True).any():
            plain = strings.str.replace(",", ".", literal=True).cast(polars().Float64, strict=False)
            if plain.null_count() == strings.null_count():  # as nearly always, and fast
                return plain
        return self.join(_split_numbers(strings))

    def join(self, parts: pl.DataFrame) -> pl.Series:
        """Return the numbers of strings that `_split_numbers` has divided."""
        pl = polars()
        has_unit = parts["unit"].str.to_lowercase() == self.unit.lower()
        is_bare = parts["unit"] == ""
        numbers = _parse_digits(parts, self.thousands, self.decimal)
        known = has_unit | (is_bare & (numbers == 0))
        return pl.select(pl.when(known).then(numbers).otherwise(None)).to_series()

    def __str__(self) -> str:
        marks = []
        if self.unit:
            marks.append(f"the unit {self.unit!r}")
        if self.thousands:
            marks.append(f"{_THOUSANDS[self.thousands]} between thousands")
        if self.decimal == ",":
            marks.append("decimal commas")
        return "numbers with " + " and ".join(marks) if marks else "numbers"


@dataclass(frozen=True)
class ClockFormat:
    """Times such as 12:30, read as minutes, or as seconds if they have three parts."""

    n_parts: int = 2

    def parse(self, strings: pl.Series) -> pl.Series:
        """Return the minutes or seconds (Float64), null where a string is not of this format."""
        pl = polars()
        parts = strings.str.extract_groups(_CLOCK).struct.unnest()
        first, second, third = (
            parts[name].cast(pl.Float64, strict=False) for name in ("first", "second", "third")
        )
        half = parts["half"].str.to_lowercase().str.slice(0, 1)
        first = pl.select(
            pl.when(half.is_not_null() & ((first > 12) | (first < 1)))
            .then(None)
            .when(half == "p")
            .then(first % 12 + 12)
            .when(half == "a")
            .then(first % 12)
            .otherwise(first)
        ).to_series()
        if self.n_parts == 2:
            return pl.select(pl.when(third.is_null()).then(first * 60 + second)).to_series()
        return first * 3600 + second * 60 + third

    def __str__(self) -> str:
        return f"times, in {'minutes' if self.n_parts == 2 else 'seconds'}"


@dataclass(frozen=True)
class DateFormat:
    """Dates, with or without a time of day, in a format of ``strftime``; with an offset, in UTC."""

    pattern: str = "%Y-%m-%d"

    def parse(self, strings: pl.Series) -> pl.Series:
        """Return the dates and times (Datetime), null where a string is not of this format."""
        pl = polars()
        years = strings.str.contains(r"\d{4}" if "%Y" in self.pattern else r"\d")
        plain = strings.set(~years, None).str.replace(r"^(\d{4}-\d\d-\d\d)T", "${1} ")
        offsets: Any = datetime.timedelta(0)
        if plain.str.contains(_ZONE).any():
            offsets, plain = _read_offsets(plain), plain.str.replace(_ZONE, "${1}")
        has_time = "%H" in self.pattern or "%I" in self.pattern
        if has_time and self.pattern.startswith("%Y-%m-%d "):
            # A date alone is its first moment.
            midnight = datetime.time().strftime(self.pattern[9:].replace("%.f", ".0"))
            plain = plain.str.replace(r"^(\d{4}-\d\d-\d\d)$", f"${{1}} {midnight}")
        try:
            if has_time:
                return plain.str.to_datetime(self.pattern, strict=False, time_unit="us") - offsets
            return plain.str.to_date(self.pattern, strict=False).cast(pl.Datetime("us"))
        except pl.exceptions.PolarsError:
            return pl.Series(strings.name, [None] * len(strings), pl.Datetime("us"))

    def __str__(self) -> str:
        return f"dates such as {self.pattern}"


Format = NumberFormat | ClockFormat | DateFormat


def find_formats(strings: pl.Series, *, decimal: str | None = None) -> list[Format]:
    """Return the formats that read all strings, of those that read them differently.

    Parameters
    ----------
    strings : polars.Series of String
        Without missing values.
    decimal : {".", ","}, optional
        The only mark that may stand before a fraction.

    Returns
    -------
    list of NumberFormat, ClockFormat and DateFormat
        None if the strings have another form; several if they can be read in several ways.

    Examples
    --------
    >>> import polars as pl
    >>> find_formats(pl.Series(["1.250,50 kg", "3 kg"]))
    [NumberFormat(unit='kg', thousands='.', decimal=',')]
    >>> [str(form) for form in find_formats(pl.Series(["1,234", "5,678"]))]
    ['numbers with decimal commas', 'numbers with commas between thousands']
    """
    formats: dict[Format, pl.Series] = {}
    for form, parsed in _parse_all(strings.unique(), decimal):
        if not parsed.null_count() and not any(map(parsed.equals, formats.values())):
            formats[form] = parsed
    return list(formats)


def find_closest(
    strings: pl.Series, counts: pl.Series, *, decimal: str | None = None
) -> tuple[Format | None, pl.Series]:
    """Return the format that reads most rows, and a mask of the strings that it reads.

    It is one that reads several strings, among them one of the first, and a tenth of the rows; None
    if there is none.

    Parameters
    ----------
    strings : polars.Series of String
        Distinct strings, without missing values.
    counts : polars.Series of int
        In how many rows each is.
    decimal : {".", ","}, optional
        The only mark that may stand before a fraction.

    Examples
    --------
    >>> import polars as pl
    >>> form, fits = find_closest(pl.Series(["3 lb", "1 kg", "2 kg"]), pl.Series([1, 1, 1]))
    >>> str(form), fits.to_list()
    ("numbers with the unit 'kg'", [False, True, True])
    """
    pl = polars()
    firsts = [find_formats(pl.Series([text]), decimal=decimal) for text in strings.head(_FIRST)]
    best: Format | None = None
    mask, most = strings.is_null(), counts.sum() / 10
    for form in dict.fromkeys(itertools.chain(*firsts)):
        fits = form.parse(strings).is_not_null()
        if fits.sum() > 1 and (n_rows := counts.filter(fits).sum()) > most:
            best, mask, most = form, fits, n_rows
    return best, mask


def _parse_all(strings: pl.Series, decimal: str | None) -> Iterator[tuple[Format, pl.Series]]:
    """Yield the strings as each format reads them, less most formats that read some as null."""
    if not len(strings):
        return
    parts = _split_numbers(strings)
    units = {unit.lower(): unit for unit in parts["unit"].unique().sort() if unit}
    if not parts["digits"].null_count() and len(units) <= 1:
        unit = next(iter(units.values()), "")
        marks = (".", ",") if decimal is None else decimal
        for thousands, mark in itertools.product(_THOUSANDS, marks):
            if mark != thousands:
                number = NumberFormat(unit, thousands, mark)
                yield number, number.join(parts)
    first = strings[0]
    if ":" in first:
        for n_parts in (2, 3):
            clock = ClockFormat(n_parts)
            yield clock, clock.parse(strings)
    # One string rules most of the many formats of dates out; not a date alone among times.
    first = strings[strings.str.len_chars().arg_max() or 0]
    for pattern, expression in _DATES.items():
        if expression.search(first):
            date = DateFormat(pattern)
            yield date, date.parse(strings)


def _read_offsets(strings: pl.Series) -> pl.Series:
    """Return how much later than UTC the zones of times are (Duration), such as +02:00."""
    pl = polars()
    sign, hours, minutes = (pl.col(name) for name in ("sign", "hour", "minute"))
    length = hours.cast(pl.Int64).fill_null(0) * 60 + minutes.cast(pl.Int64).fill_null(0)
    minutes = pl.when(sign == "-").then(-length).otherwise(length)
    parts = strings.str.extract_groups(_ZONE).struct.unnest()
    return parts.select(pl.duration(minutes=minutes, time_unit="us")).to_series()


def _split_numbers(strings: pl.Series) -> pl.DataFrame:
    """Divide strings into ``sign`` (1 or -1), ``digits`` with marks, ``exponent`` and ``unit``.

    All are null where a string is no number.
    """
    pl = polars()
    plain = strings.str.replace_all(_MINUS, "-").str.replace_all(f"{_SPACES}+", " ")
    plain = plain.str.replace_all(_APOSTROPHES, "'").str.strip_chars()
    frame = plain.alias("plain").str.extract_groups(_NUMBER).struct.unnest()
    whole = (
        pl.col("digits").is_not_null()
        & (pl.col("open").is_null() == pl.col("close").is_null())
        & (pl.col("sign").is_null() | pl.col("inner").is_null())
        & (pl.col("open").is_null() | (pl.col("sign").is_null() & pl.col("inner").is_null()))
    )
    negative = (
        pl.col("open").is_not_null()
        | (pl.col("sign") == "-").fill_null(False)
        | (pl.col("inner") == "-").fill_null(False)
    )
    unit = pl.concat_str(
        pl.col("before").fill_null("").str.strip_chars(),
        pl.col("after").fill_null("").str.strip_chars(),
    )
    return frame.select(
        pl.when(whole).then(pl.when(negative).then(-1.0).otherwise(1.0)).alias("sign"),
        pl.when(whole).then(pl.col("digits").str.strip_chars()).alias("digits"),
        pl.when(whole).then(pl.col("exponent").fill_null("")).alias("exponent"),
        pl.when(whole).then(unit).alias("unit"),
    )


def _parse_digits(parts: pl.DataFrame, thousands: str, decimal: str) -> pl.Series:
    """Return the numbers (Float64), null where the marks are other ones."""
    pl = polars()
    point, mark = (f"\\{decimal}", f"\\{thousands}")
    fraction = f"({point}\\d*)?$"
    if thousands:
        # Groups of two are those of India; digits without marks may stand among others.
        inner = f"({mark}\\d\\d)*" if thousands == "," else ""
        groups = f"^([1-9]\\d?{inner}{mark}\\d{{3}}|[1-9]\\d{{0,2}}({mark}\\d{{3}})+|\\d*)"
    else:
        groups = "^\\d*"
    digits = parts["digits"]
    plain = digits.str.replace_all(thousands, "", literal=True) if thousands else digits
    plain = plain.str.replace(decimal, ".", literal=True) + parts["exponent"]
    number = parts["sign"] * plain.cast(pl.Float64, strict=False)
    fits = digits.str.contains(groups + fraction)
    return pl.select(pl.when(fits).then(number)).to_series()

"""Forms in which people write numbers, times and dates: the oracles are Python's own types."""

import datetime

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets.formats import ClockFormat, DateFormat, NumberFormat, find_formats


def read(*strings, decimal=None):
    """Return what strings are in the only form that they have."""
    series = pl.Series(strings)
    (form,) = find_formats(series, decimal=decimal)
    return form, form.parse(series).to_list()


@pytest.mark.parametrize(
    ("strings", "numbers", "form"),
    [
        (["85,234.50", "1,000"], [85234.5, 1000], NumberFormat("", ",", ".")),
        (["1 234", "12"], [1234, 12], NumberFormat("", " ", ".")),
        (["1\u00a0234,5", "12"], [1234.5, 12], NumberFormat("", " ", ",")),
        (["1\u2009234", "1\u202f234"], [1234, 1234], NumberFormat("", " ", ".")),
        (["1'234.5", "1\u2019000"], [1234.5, 1000], NumberFormat("", "'", ".")),
        (["1.234.567", "12"], [1234567, 12], NumberFormat("", ".", ",")),
        (["12,34,567", "1,234"], [1234567, 1234], NumberFormat("", ",", ".")),
        (["0,43", "12,5"], [0.43, 12.5], NumberFormat("", "", ",")),
        (["12 kg", "3.5 kg", "0"], [12, 3.5, 0], NumberFormat("kg", "", ".")),
        (["12 KG", "3 kg"], [12, 3], NumberFormat("kg", "", ".")),
        (["$3,192.68", "-$12", "$-1"], [3192.68, -12, -1], NumberFormat("$", ",", ".")),
        (["3 €", "12 €"], [3, 12], NumberFormat("€", "", ".")),
        (["USD 12", "USD1.5"], [12, 1.5], NumberFormat("USD", "", ".")),
        (["12 %", "7.5%"], [12, 7.5], NumberFormat("%", "", ".")),
        (["(12)", "7"], [-12, 7], NumberFormat("", "", ".")),
        (["\u22125", "\u20137", "3"], [-5, -7, 3], NumberFormat("", "", ".")),
        (["12 m2", "3 m2"], [12, 3], NumberFormat("m2", "", ".")),
        (["1.5e3 km/h", "2 km/h"], [1500, 2], NumberFormat("km/h", "", ".")),
        (["12:30", "1:05"], [750, 65], ClockFormat(2)),
        (["12:30 pm", "12:05 a.m."], [750, 5], ClockFormat(2)),
        (["0:01:02", "10:00:00.5"], [62, 36000.5], ClockFormat(3)),
    ],
)
def test_forms_of_numbers_and_times(strings, numbers, form):
    assert read(*strings) == (form, numbers)


@pytest.mark.parametrize(
    ("strings", "n_forms"),
    [
        (["1,234", "5,678"], 2),  # 1234 or 1.234
        (["1,234", "5,678", "1,5"], 1),
        (["1,234", "12,345,678"], 1),
        (["12 kg", "30 lb"], 0),
        (["12 kg", "30"], 0),
        (["12", "a"], 0),
        (["SKU12", "SKU30"], 0),
        (["1-2", "3-4"], 0),
        (["1.2.3", "1.2.4"], 0),
        (["01/02/2024", "03/04/2024"], 2),
        (["01/02/2024", "13/04/2024"], 1),
        (["25:99", "10:10"], 0),
        (["13:00 pm", "1:00 pm"], 0),
        (["1,23,4", "1"], 0),
        (["", "1"], 0),
        (["+", "-"], 0),
        (["(-5)", "4"], 0),
    ],
)
def test_what_is_ambiguous_or_unknown(strings, n_forms):
    assert len(find_formats(pl.Series(strings))) == n_forms


@pytest.mark.parametrize(("decimal", "number"), [(".", 1234.0), (",", 1.234)])
def test_the_decimal_mark_can_be_given(decimal, number):
    assert read("1,234", "5,678", decimal=decimal)[1][0] == number


@pytest.mark.parametrize(
    "pattern",
    [
        *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d %b %Y", "%B %d, %Y"),
        *("%d-%m-%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y"),
    ],
)
@pytest.mark.parametrize("time", ["", " %H:%M", " %H:%M:%S", " %I:%M %p"])
def test_dates_are_those_of_python(pattern, time):
    rng = np.random.default_rng(0)
    start = datetime.datetime(1995, 1, 13, 13, 15)
    days = [start + datetime.timedelta(minutes=int(n)) for n in rng.integers(0, 10**7, 40)]
    strings = [day.strftime(pattern + time) for day in days]
    form, dates = read(*strings)
    assert form == DateFormat(pattern + time)
    assert dates == [datetime.datetime.strptime(text, pattern + time) for text in strings]


def test_iso_dates_may_have_a_t_and_a_zone():
    _, dates = read("2024-02-29T18:30:00Z", "2024-03-01T00:00:00+00:00")
    assert dates[0] == datetime.datetime(2024, 2, 29, 18, 30)


@pytest.mark.parametrize(
    ("strings", "date"),
    [
        (["2024-02-29T18:30:00+02:00", "2024-02-29 16:30:00Z"], (2024, 2, 29, 16, 30)),
        (["2024-01-01 01:00-0130", "2024-01-01 02:30+00"], (2024, 1, 1, 2, 30)),
        (["01.03.2024 00:30 +01:00", "29.02.2024 23:30"], (2024, 2, 29, 23, 30)),
        (["2024-02-29+02:00", "2024-02-29"], (2024, 2, 29)),
        (["29-02-2024", "29-02-2024"], (2024, 2, 29)),
    ],
)
def test_offsets_are_taken_from_times(strings, date):
    assert read(*strings)[1] == [datetime.datetime(*date)] * 2


def test_years_of_two_digits_are_those_of_one_form():
    assert find_formats(pl.Series(["1/2/2024", "13/2/24"])) == []
    assert find_formats(pl.Series(["21-07-14", "19-03-28"])) == []  # a day or a year is first

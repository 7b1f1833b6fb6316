"""Text files: the oracle is Python's own csv module, which writes them."""

import csv as csv_module
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyback_nn.datasets import TableOptions
from anyback_nn.datasets.text import read_text
from anyback_nn.errors import DataError

HEADER = ("name", "größe, m²", 'a "quote"')


def write(rows, *, separator=",", end="\n", encoding="utf-8"):
    file = io.StringIO(newline="")
    csv_module.writer(file, delimiter=separator, lineterminator=end).writerows(rows)
    return file.getvalue().encode(encoding)


def read(content, **options):
    return read_text(content, TableOptions(**options))


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\ufeff"), max_size=8)
rows_of_words = st.lists(st.tuples(words, words, st.just("z")), min_size=1, max_size=6)


@given(
    rows_of_words,
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_a_table_is_found_however_it_is_written(rows, separator, end, encoding):
    content = write([HEADER, *rows], separator=separator, end=end, encoding=encoding)
    frame, options, _ = read(content)
    assert frame.columns == list(HEADER)
    assert frame.fill_null("").rows() == rows
    assert options.separator == separator


@given(rows_of_words, st.sampled_from("~^: ;"))
def test_a_separator_that_is_given_is_taken(rows, separator):
    frame, _, notes = read(write([HEADER, *rows], separator=separator), separator=separator)
    assert frame.fill_null("").rows() == rows
    assert notes == ()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift_jis"])
def test_an_encoding_that_is_given_is_taken(encoding):
    word = "日本" if encoding == "shift_jis" else "Zoë"
    frame, _, _ = read(write([("a", "b"), (word, "1")], encoding=encoding), encoding=encoding)
    assert frame.rows() == [(word, "1")]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a,b\n1,\xe9\n", {}, r"line 2 is not UTF-8 .* pass encoding='latin-1' \(--encoding lat"),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, r"zero bytes.*--encoding utf-16"),
        (b"a,b\n1,\xe9\n", {"encoding": "ascii"}, "cannot be decoded as ascii.*--encoding"),
        (b"\xff\xfea", {}, "cannot be decoded as utf-16"),
        (b"a;b\n1;2\n1;2;3\n", {}, r"row 2 \(line 3\) has 3 values: expected 2.*--separator"),
        (b"a\tb\n1\t2\n1\n3\t4\n", {}, r"row 2 \(line 3\) has 1 value: expected 2"),
        (b"a;;b\n1;2;3\n", {}, "column 2 has no name"),
        (b"a;a\n1;2\n", {}, "several columns have the same name, 'a': .* once; rename them$"),
        (b"5.1,0,0,1\n1,2,3,4\n", {}, "first line has numbers, '5.1', '0', '0' and 1 more, some"),
    ],
)
def test_texts_that_are_refused(content, options, message):
    with pytest.raises(DataError, match=message):
        read(content, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": "::"}, "separator is '::': expected one character"),
        ({"separator": "\n"}, "separator is"),
        ({"separator": '"'}, "separator is"),
        ({"separator": "§"}, "separator is"),
        ({"decimal": ";"}, "decimal mark is ';': expected '.' or ','"),
        ({"encoding": "latin-eins"}, "'latin-eins' is unknown.*latin-1"),
        ({"encoding": "hex"}, "'hex' is unknown"),
        ({"drop": [1]}, "drop is .1.: expected strings"),
        ({"drop": ["a"], "features": ["b", "a"]}, "'a': both in drop and in features"),
        ({"ids": "a", "numeric": "a"}, "'a': both in ids and in numeric"),
        ({"categorical": "a", "numeric": "a"}, "'a': both in categorical and in numeric"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        TableOptions(**options)


@pytest.mark.parametrize(
    ("values", "decimal"),
    [
        (["0,43", "7"], ","),
        (["1.234,50", "2"], ","),
        (["12,5 kg", "-3,25 kg"], ","),
        (["1,234", "5,678"], ","),  # a semicolon speaks for it
        (["0.43", "7"], "."),  # as in the wines of UCI
        (["1,234.50", "5,678"], "."),
        (["7", "8"], None),
        (["1.234", "5.678"], None),
        (["0,43", "7.4"], None),
        (["Rome, Italy", "23.01.2024"], None),
    ],
)
def test_the_decimal_mark_follows_from_the_values_between_semicolons(values, decimal):
    rows = [("a", "b"), *((value, "x") for value in values)]
    frame, options, notes = read(write(rows, separator=";"))
    assert frame["a"].to_list() == values
    assert options.decimal == decimal
    commas = " and decimal commas" if decimal == "," else ""
    assert notes == (f"read as a table with semicolons between the columns{commas}",)
    assert read(write(rows, separator=";"), decimal=".")[1].decimal == "."
    assert read(write(rows))[1].decimal is None


def test_the_line_of_excel_that_names_the_separator():
    frame, options, _ = read(b"sep=;\r\na;b,c\r\n1;2,5\r\n")
    assert frame.rows() == [("1", "2,5")]
    assert (frame.columns, options.separator) == (["a", "b,c"], ";")


def test_lines_before_the_header_count_in_messages():
    for content in b"sep=;\na;b\n1;2\n3\n", b"\n\r\na;b\n1;2;3\n":
        with pytest.raises(DataError, match=r"\(line 4\)"):
            read(content)


def test_a_very_wide_table():
    names = [f"gene {i}" for i in range(50_000)]
    frame, options, _ = read(write([names, ["1,5"] * 50_000], separator="\t"))
    assert (frame.shape, options.separator) == ((1, 50_000), "\t")


def test_lines_that_end_with_a_separator_have_no_column_more():
    frame, _, _ = read(b"a;b;;\n1;2;;\n3;;;\n")
    assert frame.rows() == [("1", "2"), ("3", None)]


def test_values_with_line_ends_in_a_file_of_carriage_returns():
    frame, _, _ = read(b'a,b\r"1\n2",3\r4,5\r')
    assert frame.rows() == [("1\n2", "3"), ("4", "5")]


def test_commas_in_the_header_are_no_separators():
    frame, options, _ = read(b"a, b;c\n1;2\n3;4\n")
    assert (frame.columns, options.separator) == (["a, b", "c"], ";")


def test_commas_are_found_first_and_without_a_note():
    frame, options, notes = read(b'a,b\n"1;2","x|y"\n"3;4","z|z"\n')
    assert (options.separator, notes) == (",", ())
    assert frame["a"].to_list() == ["1;2", "3;4"]


def test_the_first_column_may_be_an_index_without_a_name():
    assert read(b",a\n0,1\n1,2\n")[0].columns == ["", "a"]


@pytest.mark.parametrize(
    ("header", "is_noted"),
    [
        ("5.1,-3,2.5e-3", True),
        ("2010,2011,2012", True),
        ("0,1,2", False),  # pandas counts columns that have no name
        ("5.1,3.5,kind", False),
        (",1,2", False),
    ],
)
def test_a_first_line_of_numbers_is_noted(header, is_noted):
    notes = read(f"{header}\n1,2,3\n4,5,6\n".encode())[2]
    assert len(notes) == is_noted
    assert not is_noted or "write a line of names before it" in notes[0]
    assert len(read(b'"1,5";2\n3;4\n')[2]) == 2


def test_one_column_needs_no_separator():
    assert read(b"a\n1\n2\n")[0].equals(pl.DataFrame({"a": ["1", "2"]}))


def test_a_long_file_is_looked_at_in_part():
    frame, options, _ = read(b"a;b\n" + b"1,5;2\n" * 100_000)
    assert (options.separator, options.decimal, frame.height) == (";", ",", 100_000)

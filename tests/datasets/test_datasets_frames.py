"""Where tables come from: compressed files, streams, standard input, data frames."""

import bz2
import gzip
import io
import sys
import zipfile

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets import TableOptions, encoding_from_json, load, read
from anyback_nn.datasets.frames import read_raw_table
from anyback_nn.errors import DataError

TEXT = "x,town,y\n" + "".join(f"{i}.5,{'ab'[i % 2]},{i % 2}\n" for i in range(30))


def zipped(content, *names, **settings):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, **settings) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def one_file(content):
    return zipped(content, "folder/", "__MACOSX/a.csv", "folder/a.csv")


@pytest.fixture
def plain(csv):
    return load(csv(TEXT, "plain.csv"), target="y")


def assert_same(data, expected):
    assert data.encoding == expected.encoding
    assert data.x_train.tobytes() == expected.x_train.tobytes()
    assert data.y_test.tobytes() == expected.y_test.tobytes()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.zip", one_file),
        ("a.zip", one_file),
        ("a.TXT", bytes),
        ("a.tsv", lambda content: content.replace(b",", b"\t")),
        ("a.tsv.gz", lambda content: gzip.compress(content.replace(b",", b"\t"))),
    ],
)
def test_files_plain_and_compressed(csv, plain, name, pack):
    path = csv(pack(TEXT.encode()), name)
    data = load(path, target="y")
    assert_same(data, plain)
    assert data.name == "a"
    assert len(read(path, data.encoding, with_target=True).x) == 30


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, one_file])
def test_compressed_parquet(csv, tmp_path, pack):
    frame = pl.read_csv(io.StringIO(TEXT))
    frame.write_parquet(tmp_path / "a.parquet")
    packed = csv(pack((tmp_path / "a.parquet").read_bytes()), "b.parquet.gz")
    assert_same(load(packed, target="y"), load(tmp_path / "a.parquet", target="y"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bz2.compress(TEXT.encode())[:-9], "damaged bzip2"),
        (zipped(TEXT, "a.csv")[:-30], "damaged zip"),
        (
            zipped(TEXT, "a.csv", "b.csv"),
            "zip file with 'a.csv', 'b.csv' in it: expected one file",
        ),
        (zipped(TEXT), "zip file with nothing in it: expected one file"),
        (b"PK\3\4junk", "damaged zip"),
    ],
)
def test_compressed_files_that_cannot_be_read(csv, content, message):
    with pytest.raises(DataError, match=rf"a\.csv\.zip: (is a )?{message}"):
        load(csv(content, "a.csv.zip"), target="y")


@pytest.mark.parametrize("name", ["*", "^.*$", "BZhours"])
def test_any_name_of_a_column(csv, name):
    """Two of them are patterns to polars, one begins like a compressed file."""
    text = f"{name},b,y\n" + "".join(f"{i % 7},{i % 5},{i / 4}\n" for i in range(40))
    data = load(csv(text), target="y", test_file=csv(text, "test.csv"))
    assert data.encoding.features.names == (name, "b")


def test_standard_input(plain, monkeypatch):
    def type_in(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    for content in TEXT.encode(), gzip.compress(TEXT.encode()):
        type_in(content)
        data = load("-", target="y")
        assert_same(data, plain)
        assert data.name == "stdin"
    type_in(TEXT.encode())
    assert len(read("-", data.encoding, with_target=False).x) == 30
    type_in(b"")
    with pytest.raises(DataError, match="standard input: is empty"):
        load("-", target="y")


def test_open_files(csv, plain):
    assert_same(load(io.BytesIO(TEXT.encode()), target="y"), plain)
    for encoding in "utf-8", "latin-1":  # of a file, not of what is decoded already
        data = load(io.StringIO(TEXT), target="y", encoding=encoding)
        assert data.x_train.tobytes() == plain.x_train.tobytes()
    with open(csv(TEXT), "rb") as file:
        data = load(file, target="y")
    assert data.name == "table"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_dates_of_any_unit(unit):
    pd = pytest.importorskip("pandas")
    days = np.arange("2024-01-01", "2024-02-10", dtype="datetime64[D]")
    dates = pd.Series(days.astype(f"datetime64[{unit}]"))
    lengths = pd.Series((days - days[0]).astype(f"timedelta64[{unit}]"))
    frame = pd.DataFrame({"when": dates, "length": lengths, "y": np.arange(40) / 4})
    columns = pl.DataFrame({"when": days, "y": np.arange(40) / 4})
    lengths = (pl.col("when") - pl.col("when").min()).alias("length")
    expected = load(columns.select("when", lengths, "y"), target="y")
    np.testing.assert_allclose(load(frame, target="y").x_train, expected.x_train, rtol=1e-6)


def typed(library):
    """Return a frame with nullable numbers, booleans, strings and categories."""
    n = 40
    columns = {
        "age": [None if i == 3 else i for i in range(n)],
        "paid": [bool(i % 3) for i in range(n)],
        "maybe": [None if i == 5 else bool(i % 2) for i in range(n)],
        "price": [i + 0.25 for i in range(n)],
        "town": [None if i == 7 else "ab"[i % 2] for i in range(n)],
        "code": [str(i % 3) for i in range(n)],
        "kind": [f"kind {i % 2}" for i in range(n)],
    }
    if library == "polars":
        return pl.DataFrame(columns, schema_overrides={"code": pl.Categorical})
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns, index=range(100, 100 + n))
    types = {"age": "Int64", "maybe": "boolean", "price": "float32", "code": "category"}
    return frame.astype(types)


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_data_frames(csv, library):
    frame = typed(library)
    data = load(frame, target="kind")
    assert data.name == "frame"
    features = data.encoding.features
    assert [c.name for c in features.numbers] == ["age", "paid", "maybe", "price"]
    assert [c.name for c in features.categories] == ["town", "code"]
    assert data.encoding.classes == ("kind 0", "kind 1")
    rows = read(frame, data.encoding, with_target=True)
    age, paid = features.numbers[:2]
    expected = np.array([age.median if i == 3 else i for i in range(40)])
    np.testing.assert_allclose(rows.x[:, 0] * age.scale + age.mean, expected, rtol=1e-5)
    raw = rows.x[:, 1] * paid.scale + paid.mean
    np.testing.assert_allclose(raw, [bool(i % 3) for i in range(40)], atol=1e-6)
    assert data.encoding.decode(rows.y).tolist() == [f"kind {i % 2}" for i in range(40)]
    text = read(csv(typed("polars").write_csv()), data.encoding, with_target=True)
    assert text.x.tobytes() == rows.x.tobytes()
    assert load(frame, target="paid").encoding.classes == ("false", "true")


def test_frames_of_both_libraries_are_the_same():
    pandas, polars = (load(typed(library), target="kind") for library in ("pandas", "polars"))
    assert_same(pandas, polars)


def test_large_integers_with_gaps_stay_exact():
    pandas = pytest.importorskip("pandas")
    labels = [2**53, 2**53 + 1] * 20
    column = pandas.array([*labels, None], dtype="Int64")
    table = read_raw_table(pandas.DataFrame({"a": column}), TableOptions())
    assert table.frame["a"].to_list() == [*labels, None]


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[ns, Europe/Oslo]"])
def test_dates_of_pandas_keep_their_type(dtype):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"when": pandas.Series(["2020-01-01 10:00", None]).astype(dtype)})
    series = read_raw_table(frame, TableOptions()).frame["when"]
    assert series.dtype.is_temporal()
    assert series[0].isoformat()[:10] == "2020-01-01"
    assert series[1] is None


def test_sources_that_are_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="is a ndarray: expected a name, a path, an open file"):
        load(np.ones((3, 2)), target="y")
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="the data frame: several columns .* 'a'"):
        load(twice, target="a")
    with pytest.raises(DataError, match="the data frame: has the columns 'a' but no row"):
        load(pl.DataFrame({"a": []}), target="a")


def test_options_are_kept_in_the_encoding(csv):
    text = TEXT.replace(",", "~").encode("utf-16-le")
    with pytest.raises(DataError):
        load(csv(text), target="y")
    data = load(csv(text), target="y", separator="~", encoding="utf-16-le", ids="town")
    assert data.encoding.options == TableOptions(separator="~", encoding="utf-16-le", ids=("town",))
    again = encoding_from_json(data.encoding.to_json())
    assert again == data.encoding
    rows = read(csv(text), again, with_target=False)
    assert rows.ids == {"town": ["a", "b"] * 15}
    # Another file may be written in another way.
    options = TableOptions(separator=",")
    other = read(csv(TEXT, "b.csv"), again, with_target=True, options=options)
    assert other.x.tobytes() == rows.x.tobytes()


def test_an_encoding_without_options_is_written_as_before(csv):
    assert "options" not in load("moons").encoding.to_json()["settings"]


def test_options_are_for_tables_only():
    with pytest.raises(DataError, match="moons: is no table, so .* with 'separator', 'drop'"):
        load("moons", separator=";", drop="x")
    with pytest.raises(DataError, match="moons: is no table, so .* with 'decimal'"):
        read("moons", load("moons").encoding, with_target=True, options=TableOptions(decimal=","))

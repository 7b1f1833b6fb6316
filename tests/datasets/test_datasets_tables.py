"""Tables: the oracle for the encoded values is scikit-learn's ColumnTransformer."""

import gzip

import numpy as np
import polars as pl
import pytest
import sklearn.datasets
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from anyback_nn.datasets import load, read
from anyback_nn.datasets.columns import require_columns
from anyback_nn.datasets.kinds import declare_kind, identifies_rows
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.tables import choose_features
from anyback_nn.errors import DataError


def passengers(n=120, seed=0):
    """Return a table with gaps: numbers, strings, booleans, and both kinds of target."""
    rng = np.random.default_rng(seed)
    wine = sklearn.datasets.load_wine()
    rows = rng.permutation(len(wine.data))[:n]
    gaps = rng.random((3, n)) < 0.15
    alcohol, ash = wine.data[rows, 0], wine.data[rows, 2]
    return pl.DataFrame(
        {
            "number": np.arange(n, dtype=float),  # integers would count the rows
            "alcohol": np.where(gaps[0], None, alcohol).tolist(),
            "town": np.where(gaps[1], None, rng.choice(["Oslo", "Rome", "Paris"], n)).tolist(),
            "ash": np.where(gaps[2], None, ash).tolist(),
            "sweet": rng.random(n) < 0.4,
            "sort": [f"sort {k}" for k in wine.target[rows]],
            "proline": wine.data[rows, 12] + 0.25,
        }
    )


def training_rows(data):
    """Return the rows drawn for training, by the column of their numbers."""
    number = data.encoding.features.numbers[0]
    assert number.name == "number"
    return (data.x_train[:, 0] * number.scale + number.mean).round().astype(int)


@pytest.fixture(params=["csv", "csv.gz", "parquet"])
def save(request, tmp_path):
    """Return a function that writes a frame in one of the formats and returns its path."""

    def write(frame, name="wine"):
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "parquet":
            frame.write_parquet(path)
        else:
            content = frame.write_csv(null_value="NA").encode()
            path.write_bytes(gzip.compress(content) if request.param == "csv.gz" else content)
        return path

    return write


def test_the_encoding_is_that_of_scikit_learn(save):
    frame = passengers()
    data = load(save(frame), target="sort", seed=3)
    assert data.name == "wine"
    assert (len(data.x_train), len(data.x_test)) == (96, 24)
    train = training_rows(data)

    raw = np.empty((120, 6), dtype=object)
    for i, name in enumerate(["number", "alcohol", "ash", "proline"]):
        raw[:, i] = frame[name].cast(pl.Float64).to_numpy()
    for i, name in enumerate(["town", "sweet"]):
        raw[:, 4 + i] = frame[name].cast(pl.String).to_list()
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    strings = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="(missing)"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    oracle = make_column_transformer((numbers, [0, 1, 2, 3]), (strings, [4, 5]))
    expected = oracle.fit(raw[train]).transform(raw).astype(np.float32)
    np.testing.assert_array_equal(data.x_train, expected[train])
    whole = read(save(frame), data.encoding, with_target=True)
    np.testing.assert_array_equal(whole.x, expected)
    assert data.encoding.decode(whole.y).tolist() == frame["sort"].to_list()
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64


def test_only_the_training_part_is_learned_from(save):
    frame = passengers()
    path = save(frame)
    data = load(path, target="proline")
    test = np.setdiff1d(np.arange(120), training_rows(data))
    is_test = pl.Series(np.isin(np.arange(120), test))
    changed = frame.with_columns(
        alcohol=pl.when(is_test).then(1000.0).otherwise("alcohol"),
        town=pl.when(is_test).then(pl.lit("Bern")).otherwise("town"),
        proline=pl.when(is_test).then(-5000.5).otherwise("proline"),
    )
    again = load(save(changed), target="proline")
    assert again.encoding == data.encoding
    assert again.x_train.tobytes() == data.x_train.tobytes()
    assert (
        "categories not seen in training, treated as none of the known ones: 24 rows in 'town' "
        "('Bern')"
    ) in again.notes


def test_gaps_are_noted(save):
    path = save(frame := passengers())
    notes = read(path, load(path, target="sort").encoding, with_target=False).notes
    alcohol, town, ash = (frame[name].null_count() for name in ("alcohol", "town", "ash"))
    assert f"training median: {alcohol} in 'alcohol' (1" in notes[0]
    assert f"), {ash} in 'ash' (2." in notes[0]
    assert notes[1] == (
        f"missing strings taken as a category of their own, '(missing)': {town} in 'town'"
    )


def test_constant_and_empty_columns(save):
    frame = passengers().with_columns(
        same=pl.lit(7.5), none=pl.lit(None, dtype=pl.Float64), nothing=pl.lit(None, pl.String)
    )
    path = save(frame)
    data = load(path, target="sort")
    assert (
        "left out, because constant in the training part, which teaches nothing: 'same'"
        in data.notes
    )
    assert (
        "left out, because no row of the training part has a value: 'none', 'nothing'" in data.notes
    )
    rows = read(path, data.encoding, with_target=False)
    assert "ignored columns that the model does not use: 'same', 'none', 'nothing'" in rows.notes
    without = read(save(passengers(), "without"), data.encoding, with_target=False)
    assert without.x.tobytes() == rows.x.tobytes()


def test_a_constant_column_is_better_than_none(csv):
    data = load(csv("a,y\n" + "1,0\n1,1\n" * 5), target="y")
    assert "constant in the training part, which teaches nothing: 'a'" in data.notes
    assert (data.x_train == 0).all()


def test_too_many_categories(csv):
    text = "a,name,y\n" + "".join(f"{i},n{i // 8},{i % 2}\n" for i in range(8800))
    with pytest.raises(DataError, match=r"'name' has 1,\d\d\d different strings: expected at most"):
        load(csv(text), target="y")


def test_unknown_categories_are_zero_and_noted(save):
    frame = passengers()
    data = load(save(frame), target="sort")
    odd = frame.with_columns(town=pl.Series(["Bern", "Ulm", "Bern", *frame["town"].to_list()[3:]]))
    rows = read(save(odd, "odd"), data.encoding, with_target=False)
    assert rows.y is None
    assert (rows.x[:3, 4:8] == 0).all()
    assert (
        "categories not seen in training, treated as none of the known ones: 3 rows in 'town' "
        "('Bern', 'Ulm')"
    ) in rows.notes
    note = read(save(odd[1:2], "odd"), data.encoding, with_target=False).notes[-1]
    assert note.endswith(": 1 row in 'town' ('Ulm')")


def test_columns_in_another_order_and_further_ones(save):
    frame = passengers()
    path = save(frame)
    data = load(path, target="sort")
    turned = frame.select(reversed(frame.columns)).with_columns(extra=pl.lit(1))
    rows = read(save(turned, "turned"), data.encoding, with_target=True)
    expected = read(path, data.encoding, with_target=True)
    assert rows.x.tobytes() == expected.x.tobytes()
    assert rows.y.tolist() == expected.y.tolist()
    assert rows.notes[0] == "ignored columns that the model does not use: 'extra'"


def test_the_target_is_ignored_unless_asked_for(save):
    frame = passengers()
    encoding = load(save(frame), target="sort").encoding
    without = save(frame.drop("sort"), "without")
    rows, expected = (read(path, encoding, with_target=False) for path in (without, save(frame)))
    assert rows.x.tobytes() == expected.x.tobytes()
    assert rows.notes == expected.notes
    with pytest.raises(DataError, match=r"without\..*: has no column 'sort'"):
        read(without, encoding, with_target=True)
    renamed = frame.rename({"sort": "kind"})
    rows = read(save(renamed, "renamed"), encoding, target="kind", with_target=True)
    assert encoding.decode(rows.y).tolist() == frame["sort"].to_list()


SORTS = passengers()["sort"].to_list()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sort": [*SORTS[:-1], "sort 9"]}, r"row 120: the label 'sort 9' is not .*ed 'sort 0'"),
        ({"ash": ["1.5", "much", *["2"] * 118]}, "non-numeric value 'much' in column 'ash', row 2"),
        (["town", "ash"], "lacks 2 columns, 'ash', 'town': expected 'number'"),
    ],
)
def test_reading_names_what_does_not_fit(save, change, message):
    frame = passengers()
    encoding = load(save(frame), target="sort").encoding
    if isinstance(change, dict):
        changed = frame.with_columns(**{name: pl.Series(column) for name, column in change.items()})
    else:
        changed = frame.drop(change)
    with pytest.raises(DataError, match=rf"changed\..*: .*{message}"):
        read(save(changed, "changed"), encoding, with_target=True)


def test_a_table_for_an_encoding_of_arrays(csv, tmp_path):
    moons = load("moons")
    path = csv("y,a,b\n1,0.5,0.25\n0,-1,2\n")
    rows = read(path, moons.encoding, target="y", with_target=True)
    assert rows.x.tolist() == [[0.5, 0.25], [-1, 2]]
    assert rows.y.tolist() == [1, 0]
    with pytest.raises(DataError, match="rows have 3 features each: expected 2"):
        read(path, moons.encoding, with_target=False)
    with pytest.raises(DataError, match="no target column was named, and the model was not"):
        read(path, moons.encoding, with_target=True)
    tables = load(csv("a,b,y\n" + "1,2,0\n3,1,1\n" * 5), target="y").encoding
    assert read("moons", tables, with_target=True).x.shape == (200, 2)
    strings = load(csv("a,b,y\n" + "x,2,0\nz,1,1\n" * 5), target="y").encoding
    with pytest.raises(DataError, match=r"moons: an array of numbers does not fit.*'b', 'a'"):
        read("moons", strings, with_target=True)


@pytest.mark.parametrize(
    ("column", "task", "classes"),
    [
        ("ab", "classification", ("a", "b")),
        (["true", "False"], "classification", ("False", "true")),
        (["true", "False", "TRUE"], "classification", ("False", "TRUE", "true")),
        (["10", "9"], "classification", ("9", "10")),
        (["1.0", "-1.0"], "classification", ("-1.0", "1.0")),
        (["1.5", "2"], "regression", None),
        (range(21), "regression", None),
        (range(20), "classification", tuple(map(str, range(20)))),
    ],
)
def test_the_task_follows_from_the_target(csv, column, task, classes):
    text = "".join(f"{i},{column[i % len(column)]}\n" for i in range(4 * len(column)))
    data = load(csv("x,y\n" + text), target="y")
    assert (data.task, data.encoding.classes) == (task, classes)
    other = "regression" if task == "classification" else "classification"
    if classes is None or classes[0] not in ("a", "false", "False"):
        assert load(csv("x,y\n" + text), target="y", task=other).task == other


def test_categorical_columns_are_strings_even_if_they_look_like_numbers(write_parquet):
    values = pl.Series([str(i % 30) for i in range(120)], dtype=pl.Categorical)
    data = load(write_parquet({"c": values, "y": values, "n": range(120)}), target="y")
    assert data.task == "classification"
    assert [c.name for c in data.encoding.features.categories] == ["c"]


def test_a_class_of_one_row_stays_in_the_training_part(csv):
    data = load(
        csv("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)) + "7,c\n"), target="y"
    )
    assert data.encoding.classes == ("a", "b", "c")
    assert 2 in data.y_train
    assert "test part: no row of the class 'c'" in data.notes


def test_blank_lines_quotes_spaces_and_marks_of_windows(csv):
    plain = "a b,t,y\n" + "".join(f'{i},"x,{i % 2}",{i % 2}\n' for i in range(10))
    odd = plain.replace("\n4,", "\n\n4,").replace("7,", " 7 ,").replace("\n", "\r\n") + "\r\n\r\n"
    a = load(csv(plain), target="y")
    b = load(csv(b"\xef\xbb\xbf" + odd.encode()), target="y")
    assert a.encoding == b.encoding
    assert a.x_train.tobytes() == b.x_train.tobytes()
    assert a.encoding.features.categories[0].values == ("x,0", "x,1")


ROWS = "".join(f"{i},{'ab'[i % 2]},{i % 2}\n" for i in range(20))
GOOD = "age,town,y\n" + ROWS


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty: expected a line of column names"),
        ("\n\r\n", {}, "is empty"),
        ("age,y\n", {}, "has the columns 'age', 'y' but no row"),
        ("age,y", {}, "has the columns 'age', 'y' but no row"),
        (GOOD, {"target": None}, r"pass target= \(--target COL\), one of 'age', 'town', 'y'"),
        (GOOD, {"target": "Town"}, "no column 'Town'. Did you mean 'town'. The columns are 'age'"),
        (GOOD + "\n3,b,1,4\n", {}, r"row 21 \(line 23\) has 4 values: expected 3"),
        (GOOD + "3,b,1,", {}, r"row 21 \(line 22\) has 4 values: expected 3"),
        (GOOD.replace(",", ";"), {"separator": ","}, "no column 'y'.*'age;town;y'"),
        (GOOD.replace("12,", "12x,"), {}, "value '12x' in column 'age', row 13, .*NA, NaN, null"),
        (GOOD + "inf,a,1\n", {}, "row 21, column 'age': the value inf is infinite"),
        (GOOD + "-1e39,a,1\n", {}, "row 21, column 'age': the value -1e\\+39"),
        ("a,y\n" + "1,\n2,NA\n" * 9, {}, "target 'y' is missing in every row"),
        (GOOD + "3,a,x\n", {}, "non-numeric value 'x' in column 'y', row 21"),
        (GOOD, {"target": "town", "task": "regression"}, "value 'a' in column 'town', row 1"),
        ("a,y\n" + "1,2\n" * 9, {}, "one class only, '2'"),
        ("a,y\n" + "1,2.5\n" * 9, {}, "standard deviation is 0.0 .*mean 2.5"),
        (
            "a,y\n1,0\n2,1\n",
            {},
            r"2 rows cannot be divided with test_fraction \(--test-share\) 0.2",
        ),
        (
            "a,y\n" + "".join(f"1,n{i}\n" for i in range(9)),
            {},
            r"9 rows .* 9 labels, nearly every row one of its own.*--task regression",
        ),
        ("y\n0\n1\n0\n1\n", {}, "no column but the target 'y'"),
        ("a,y\n,0\n,1\n,0\n,1\n", {}, r"the columns \(none\): expected at least one"),
        (GOOD, {"test_fraction": 1.5}, r"test_fraction \(--test-share\) is 1.5"),
        (GOOD + f'1,"{"a" * 140_000}",\n', {}, "line 22: field larger than field limit"),
        ('y\n"0\n', {}, r"cannot be read \(.*: expected text with ','"),
        (GOOD + '1,"a,1\n', {}, r"row 21 \(line 22\)|cannot be read"),
    ],
)
def test_tables_that_cannot_be_learned_from(csv, text, options, message):
    with pytest.raises(DataError, match=message) as error:
        load(csv(text), **{"target": "y", **options})
    assert "table.csv: " in str(error.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("value", ["x", '"x"'])
def test_blank_lines_are_no_rows_where_the_last_column_has_gaps(csv, end, value):
    rows = [f"{i % 2},{'' if i % 3 else value}{end * (1 + (i == 5))}" for i in range(12)]
    data = load(csv(f"y,a{end}{''.join(rows)}{end}"), target="y")
    assert len(data.x_train) + len(data.x_test) == 12
    assert data.encoding.features.categories[0].values == ("(missing)", "x")


def test_a_late_surprise_in_a_long_column_is_found(csv):
    text = "a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30_000)) + "oops,1\n"
    with pytest.raises(DataError, match="value 'oops' in column 'a', row 30001"):
        load(csv(text), target="y")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], [2]], r"'c' holds List\(Int64\) values: expected numbers, .* or booleans; spread"),
        ([{"a": 1}, {"a": 2}], "'c' holds Struct"),
        ([b"1", b"2"], "'c' holds Binary"),
    ],
)
def test_types_that_cannot_be_used(write_parquet, values, message):
    path = write_parquet({"c": values * 10, "y": [0, 1] * 10})
    with pytest.raises(DataError, match=f"a.parquet: column {message}"):
        load(path, target="y")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1junkPAR1", b"\x1f\x8bjunk"])
def test_what_is_no_parquet_file(csv, content):
    with pytest.raises(DataError, match=r"a.parquet: (cannot be read|is a damaged gzip)"):
        load(csv(content, "a.parquet"), target="y")


@pytest.mark.parametrize("value", ["0,43", "1.234,5", "12 %", "12%", "$0.35", "3 €", "23.01.2024"])
def test_numbers_and_dates_in_other_forms_are_no_categories(csv, value):
    path = csv("a,y\nx,1\n" + "".join(f'"{value}",{i % 2}\n' for i in range(20)))
    with pytest.raises(DataError, match=r"row 2, column 'a': .* expected numbers such as 1234.5"):
        load(path, target="y")


@pytest.mark.parametrize("decimal", [".", ","])
def test_a_file_with_the_other_decimal_mark_is_read_with_its_option(csv, decimal):
    draw = np.random.default_rng(0).uniform(1000, 9000, (40, 3)).round(2)
    header = "plain;size;yes;price\n"
    text = header + "".join(
        f"{a};{b:,.2f} kg;{'true' if i % 2 else 'false'};{c}\n" for i, (a, b, c) in enumerate(draw)
    )
    other = text.translate(str.maketrans(".,", ",."))
    if decimal == ",":
        text, other = other, text
    path, new = csv(text), csv(other, "new.csv")
    encoding = load(path, target="price").encoding
    rows = read(path, encoding, with_target=True)
    again = read(
        new, encoding, with_target=True, options=TableOptions(decimal=",."[decimal == ","])
    )
    np.testing.assert_array_equal(again.x, rows.x)
    np.testing.assert_array_equal(again.y, rows.y)
    same = read(path, encoding, with_target=True, options=TableOptions(decimal=decimal))
    np.testing.assert_array_equal(same.x, rows.x)
    with pytest.raises(DataError, match=f"non-numeric.*pass --decimal {',.'[decimal == ',']}"):
        read(new, encoding, with_target=True)
    with pytest.raises(DataError, match=r"'1.2.3' in column .* count as missing$"):
        read(csv(f"{header}1.2.3;1 kg;true;1\n"), encoding, with_target=False)

    arrays = load("moons").encoding
    two = TableOptions(features=("plain", "x"), decimal=",")
    raw = read(csv("plain;x\n1,5;2\n"), arrays, with_target=False, options=two).x
    np.testing.assert_array_equal(raw, arrays.features.encode(np.array([[1.5, 2.0]])))


class Counted(str):
    """A name that counts how often it is compared."""

    n_compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.n_compared += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("role", ["features", "categorical", "numeric", "drop", "ids"])
def test_names_of_columns_are_looked_up_and_not_compared_one_by_one(role):
    """A table of 20,000 columns took minutes."""
    n = 400
    options = TableOptions(**{role: [Counted(f"c{i}") for i in range(n)]})
    names = [Counted(f"c{i}") for i in range(n + 9)]
    Counted.n_compared = 0
    chosen = choose_features(names, ("y",), options)
    for name in names:
        declare_kind(name, pl.String(), options)
        identifies_rows(name, 100, options, is_unique=True, counts_rows=False)
    require_columns(names, list(names))
    assert len(chosen) == {"features": n, "drop": 9, "ids": 9}.get(role, n + 9)
    assert Counted.n_compared < 10 * n

"""What a column of a table is: numbers, dates, categories or no feature, in each kind of file."""

import datetime

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets import load, parquet_batches
from anyback_nn.datasets.encoding import encoding_from_json
from anyback_nn.datasets.formats import ClockFormat, NumberFormat
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.tables import load_table, read_table
from anyback_nn.errors import DataError

N = 60


def cycle(*values, n=N):
    return [values[i % len(values)] for i in range(n)]


class Loaded:
    """What was learned from a file as a whole, or in parts."""

    def __init__(self, encoding, notes, x, y):
        self.encoding, self.notes, self.x, self.y = encoding, notes, x, y
        features = encoding.features
        self.numbers = {column.name: column for column in features.numbers}
        self.dates = {column.name: column for column in features.dates}
        self.categories = {column.name: column.values for column in features.categories}

    def note(self, start):
        """Return the rest of the only note that starts like this."""
        (rest,) = [note.removeprefix(start) for note in self.notes if note.startswith(start)]
        return rest


@pytest.fixture(params=["csv", "parquet", "parts"])
def learn(request, tmp_path):
    """Return a function that learns from a frame that was written to a file."""

    def learn_from(columns, target="y", task="auto", **options):
        options, frame = TableOptions(**options), pl.DataFrame(columns)
        path = tmp_path / ("table.csv" if request.param == "csv" else "table.parquet")
        if request.param == "csv":
            frame.write_csv(path)
        else:
            frame.write_parquet(path)
        if request.param == "parts":
            batches = parquet_batches(
                path, target, task=task, options=options, shuffle=False, batch_size=7
            )
            x, y = map(np.concatenate, zip(*batches, strict=True))
            return Loaded(batches.encoding, batches.notes, x, y)
        data = load_table(
            path, target=target, task=task, test_fraction=0.2, seed=0, options=options
        )
        # Plain data and back, as in the file of a model.
        encoding = encoding_from_json(data.encoding.to_json())
        rows = read_table(path, encoding, target=None, with_target=True, options=options)
        return Loaded(encoding, data.notes, rows.x, rows.y)

    return learn_from


def encode_median(column):
    """Return what a missing number becomes."""
    return np.float32((column.median - column.mean) / column.scale)


Y = cycle(0, 1, 1, 0, 1)


# Numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strings", "numbers", "written", "words"),
    [
        (["$1,250.50", "$3", "$12"], [1250.5, 3, 12], NumberFormat("$", ","), "the unit '$' and c"),
        (["12 kg", "3.5 kg", "7 kg"], [12, 3.5, 7], NumberFormat("kg"), "the unit 'kg'"),
        (["1 234", "12", "5 000 000"], [1234, 12, 5e6], NumberFormat("", " "), "spaces between"),
        (["0,5", "1,25", "3"], [0.5, 1.25, 3], NumberFormat("", "", ","), "decimal commas"),
        (["12:30", "0:15", "1:00"], [750, 15, 60], ClockFormat(2), "times, in minutes"),
    ],
)
def test_numbers_as_people_write_them(learn, strings, numbers, written, words):
    data = learn({"a": cycle(*strings), "y": Y})
    column = data.numbers["a"]
    assert column.written == written
    expected = (np.array(cycle(*numbers)) - column.mean) / column.scale
    np.testing.assert_allclose(data.x[:, 0], expected, rtol=1e-6)
    assert words in data.note("read as numbers: ")


@pytest.mark.parametrize("task", ["auto", "regression"])
def test_a_target_as_people_write_it(learn, task):
    numbers = [1250.5 + i for i in range(N)]
    data = learn({"a": cycle(1, 5, 2), "y": [f"{n:,.2f} €" for n in numbers]}, task=task)
    assert data.encoding.target.written == NumberFormat("€", ",")
    np.testing.assert_allclose(data.encoding.decode(data.y), numbers)


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (["1,234", "5,678"], "can be read as .*commas.* or as .*--decimal"),
        (["01/02/2024", "03/04/2024"], r"as 'dates such as %d/%m/%Y' or as .*write them like"),
        (["12 kg", "30 lb"], "'12 kg', '30 lb' begin with digits .*--(categorical .*--drop|task)"),
        (["2 kg", "30 lb", "3 kg"], r"'30 lb' is not written as '2 kg' is \(.*the unit 'kg'\)"),
        (["2 kg", "30 lb", "3 kg", "x"], "'30 lb' is not .*--(na-values .*--drop|task)"),
        (["1/2/24", "1/2/24", "13/2/24", "2024-31-1"], "'2024-31-1' is not .* '1/2/24' is .dates"),
        (["10-20", "20-30", "n/k"], "'10-20', '20-30' begin with digits"),
        (["192.168.0.1", "10.0.0.1"], "begin with digits"),
        (["1a", "B-2", "3rd floor", "10-20"], "'10-20', '1a', '3rd floor' begin with digits but"),
        (["$5", "€7"], "begin with digits"),
        (["3", "4", "5", "4+"], "non-numeric value '4\\+' in column 'a'.*--(categorical|task)"),
    ],
)
@pytest.mark.parametrize("name", ["a", "y"])
def test_what_looks_like_numbers_is_no_category_and_no_class(learn, strings, message, name):
    columns = {"a": cycle(1, 2, 4), "y": Y} | {name: cycle(*strings)}
    with pytest.raises(DataError, match=message.replace("'a'", f"'{name}'")):
        learn(columns)
    options = {"task": "classification"} if name == "y" else {"categorical": ("a",)}
    data = learn(columns, **options)
    labels = data.categories["a"] if name == "a" else data.encoding.classes
    assert set(labels) == set(strings)


def test_different_numbers_in_each_row_are_no_identifier(learn):
    with pytest.raises(DataError, match="'a': .* begin with digits but have no common form"):
        learn({"a": [f"{i}-{i}" for i in range(N)], "b": cycle(1, 2, 4), "y": Y})


@pytest.mark.parametrize("decimal", [",", "."])
def test_the_decimal_mark_decides(learn, decimal):
    data = learn({"a": cycle("1,234", "5,678", "2,000"), "y": Y}, decimal=decimal)
    assert data.numbers["a"].median == (2000 if decimal == "." else 2)


def test_points_are_no_decimal_points_if_a_comma_is(learn):
    data = learn({"a": cycle("1.234", "5.678", "2.000"), "y": Y}, decimal=",")
    assert data.numbers["a"].median == 2000
    with pytest.raises(DataError, match="'1.5', '2.5' begin with digits"):
        learn({"a": cycle("1.5", "2.5"), "y": Y}, decimal=",")


@pytest.mark.parametrize(
    ("start", "values"), [(10**16, [-188, 102, -6, 40, 36]), (1234567890123450000, [0, 450, 899])]
)
def test_large_numbers_that_differ_little_are_standardised(learn, start, values):
    data = learn({"a": [start + value for value in cycle(*values)], "y": Y})
    column, spread = data.numbers["a"], np.std(values)
    assert column.scale == pytest.approx(spread, rel=0.3)
    assert abs(data.x[:, 0].mean()) < 0.3
    assert data.x[:, 0].std() == pytest.approx(1, rel=0.3)


def test_integers_that_differ_beyond_16_digits_are_not_called_constant(learn):
    large = {"a": [10**18 + i % 3 for i in range(N)], "b": [1e-9 * (i % 3) for i in range(N)]}
    data = learn({**large, "c": [10**18 + 3 * i for i in range(N)], "y": Y})
    assert data.note("left out, because equal in the first 16 digits").endswith("'a', 'c'")
    assert list(data.numbers) == ["b"]


# Missing values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marker",
    [
        *("N/A", "n/a", "<NA>", "None", "#N/A", "-", "?", "", "NULL", "-nan", "1.#IND", " ", " ? "),
        *("none", "-999"),  # by option
    ],
)
def test_markers_of_missing_values(learn, marker):
    columns = {"a": cycle("1.5", marker, "3"), "b": cycle("u", "v", marker, "w"), "y": Y}
    data = learn(columns, na_values=[text for text in ("none", "-999") if text == marker])
    assert data.numbers["a"].median > 0
    assert data.x[1, 0] == encode_median(data.numbers["a"])
    assert data.categories["b"] == ("(missing)", "u", "v", "w")


def test_a_minus_among_plus_is_a_value(learn):
    data = learn({"a": cycle("+", "-", "?"), "b": cycle(1, 2, 4), "y": cycle("+", "-", "-")})
    assert data.categories["a"] == ("(missing)", "+", "-")
    assert data.encoding.classes == ("+", "-")


@pytest.mark.parametrize(
    ("values", "sentinel"),
    [
        (cycle(1.5, -999, 3), "-999"),
        (cycle(-1, 5, 6, 7), "-1"),
        (cycle("1.50 m", "2.25 m", "99.00 m"), "99"),
        (cycle("1.5", "-999.0", "3", "2e0"), "-999"),
        (cycle(99, 60, 20, 98), None),
        (cycle(-1, 1, 0), None),
        (cycle(-1, 5), None),
        ([*cycle(1, 2, n=N - 1), 999], None),
        (cycle(-998, 1, 2), None),
    ],
)
def test_numbers_that_stand_for_missing_values_are_noted(learn, values, sentinel):
    columns = {"a": values, "b": cycle(1.25, 3.5, 2), "y": Y}
    data = learn(columns)
    notes = [note for note in data.notes if "far from all others" in note]
    assert len(notes) == (sentinel is not None)
    if notes:
        assert f"others: '{sentinel}' in 'a'; --na-values={sentinel} (na" in notes[0]
        data = learn(columns, na_values=(sentinel,))
        assert f" in 'a' ({data.numbers['a'].median:.6g})" in data.note("missing numbers filled")
        data = learn(columns, "a", "regression", na_values=(sentinel,))
        assert f"left out {N - len(data.y)} rows in which the target 'a'" in "".join(data.notes)


def test_a_repeated_text_among_numbers_is_missing_with_a_note(learn):
    data = learn({"a": cycle("unknown", "unknown", "1", "2", "4"), "y": Y})
    assert data.numbers["a"].median == 2
    assert data.note("taken as missing: ") == "'unknown' in 'a'"
    assert data.x[0, 0] == encode_median(data.numbers["a"])


@pytest.mark.parametrize(
    "wrong", [{7: "unknown"}, {7: "oops", 8: "what"}, {7: "oops", 8: "oops", 9: "what"}]
)
def test_typing_errors_among_numbers_are_refused(learn, wrong):
    strings = [wrong.get(i, str(i * i)) for i in range(N)]
    with pytest.raises(DataError, match=f"non-numeric value '({'|'.join(wrong.values())})'"):
        learn({"a": strings, "y": Y})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        ("<{}".format, "'<0', '<1', '<10' begin with digits"),
        ("≈ {}".format, "'≈ 0', '≈ 1', '≈ 10' begin with digits"),
        ("ca. {}".format, "'ca. 0', 'ca. 1', 'ca. 10' begin with digits"),
        (lambda i: i if i < 25 else f"see {i}", "'see 25' in column 'a'.*--na-values.*--cat"),
    ],
)
def test_many_numbers_among_texts_are_no_categories(learn, write, message):
    with pytest.raises(DataError, match=message):
        learn({"a": [str(write(i)) for i in range(N)], "y": Y})
    few = {write(i) for i in (1, 31, 33)}
    assert set(learn({"a": cycle(*map(str, few)), "y": Y}).categories["a"]) == set(map(str, few))


def test_a_few_bounds_are_labels(learn):
    """As in the census of 1994."""
    data = learn({"a": cycle(1, 2, 4), "y": cycle("<=50K", ">50K", ">50K")})
    assert data.encoding.classes == ("<=50K", ">50K")


def test_words_with_a_number_among_them_are_categories(learn):
    data = learn({"a": cycle("Oslo", "Rome", "12"), "b": cycle("yes", "1"), "y": Y})
    assert data.categories == {"a": ("12", "Oslo", "Rome"), "b": ("1", "yes")}


def test_a_category_that_is_called_as_missing_values_are(learn):
    columns = {"a": cycle("u", "None", ""), "b": cycle(1, 2, 4), "y": cycle("x", "NA", "-", "null")}
    data = learn(columns, categorical=("a", "y"), na_values=("null",))
    assert data.categories["a"] == ("(missing)", "None", "u")
    assert data.x[:3, 1:].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert data.encoding.classes == ("-", "NA", "x")
    assert data.note("left out 15 rows in which the target 'y' is missing") == ""
    keeps = "count as missing, which --categorical y .* keeps as a class"
    with pytest.raises(
        DataError, match=f"one class only, 'x'.*45 rows .*'-', 'NA', 'null' {keeps}"
    ):
        learn(columns)
    data = learn(columns | {"y": cycle("x", "z", "None")})
    assert "is missing: 'None' counts as missing" in data.note("left out 20 rows in which")


@pytest.mark.parametrize("labels", [(0, 1), ("a", "b"), (0.5, 1.5)])
def test_rows_without_a_target_are_left_out(learn, labels):
    targets = [None if i in (3, 31) else value for i, value in enumerate(cycle(*labels))]
    data = learn({"a": [i * i for i in range(N)], "y": targets})
    assert data.note("left out 2 rows in which the target 'y' is missing") == ""
    assert data.x.shape == (N - 2, 1)
    present = [value for value in targets if value is not None]
    decoded = data.encoding.decode(data.y)
    if data.encoding.classes:
        assert decoded.tolist() == list(map(str, present))
    else:
        np.testing.assert_allclose(decoded, present, rtol=1e-6)


def test_only_rows_with_a_target_are_learned_from_in_parts(write_parquet):
    columns = {"a": [1.0, 2.0, 600.0, 3.0], "b": ["u", "v", "z", "u"], "y": [0.5, 1.5, None, 2.5]}
    batches = parquet_batches(write_parquet(columns), "y", batch_size=2)
    (column,) = batches.encoding.features.numbers
    assert (column.median, column.mean) == (2.0, 2.0)
    assert batches.encoding.features.categories[0].values == ("u", "v")
    assert len(batches) == len(list(batches)) == 2
    again = parquet_batches(batches.file.path, encoding=batches.encoding, batch_size=1)
    assert len(again) == len(list(again)) == 3


# Columns that are no features --------------------------------------------------------------------


def shuffled(n=N):
    return np.random.default_rng(0).permutation(n).tolist()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("__index_level_0__", shuffled()),
        ("Unnamed: 0", shuffled()),
        ("Unnamed: 0", cycle(1, 2, 4)),
        ("anything", list(range(N))),
        ("anything", list(range(1, N + 1))),
        ("PassengerId", [7 * i for i in range(N)]),
        ("id", [f"2024-{i}" for i in range(N)]),
        ("uuid", [f"{i:032x}" for i in range(N, 3 * N, 2)]),
        ("name", [f"name {i}" for i in range(N)]),
    ],
)
def test_columns_that_name_or_number_the_rows_are_left_out(learn, name, values):
    data = learn({name: values, "b": cycle(1, 2, 4), "y": Y})
    assert list(data.numbers) == ["b"]
    assert f"rows (--features or --numeric takes them): {name!r}" in data.note("left out, because")
    if isinstance(values[0], int):
        data = learn({name: values, "b": cycle(1, 2, 4), "y": Y}, numeric=(name,))
        assert list(data.numbers) == [name, "b"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("population", [i * 37 % 1009 for i in range(N)]),
        ("rank", shuffled()),
        ("year", list(range(1900, 1900 + N))),
        ("price", [7 * i for i in range(N)]),
        ("time", [float(i) for i in range(N)]),
        ("id", cycle(1, 2, 4)),
    ],
)
def test_integers_that_measure_something_are_features(learn, name, values):
    data = learn({name: values, "b": cycle(1, 2, 4), "y": Y})
    assert list(data.numbers) == [name, "b"]


def test_row_numbers_are_better_than_no_feature(learn):
    assert list(learn({"t": list(range(N)), "y": Y}).numbers) == ["t"]
    with pytest.raises(DataError, match="the features are 'name', which name the rows"):
        learn({"name": [f"name {i}" for i in range(N)], "y": Y})
    assert learn({"name": [f"name {i}" for i in range(50)], "y": Y[:50]}).categories


def test_digits_with_leading_zeros_are_text(learn):
    data = learn({"zip": cycle("01234", "91234", "00501"), "b": cycle(1, 2, 4), "y": Y})
    assert data.categories == {"zip": ("00501", "01234", "91234")}
    assert data.note("kept as text because of leading zeros: ") == "'zip'"
    data = learn({"zip": cycle("01234", "91234", "00501"), "y": Y}, numeric=("zip",))
    assert data.numbers["zip"].median == 1234
    assert learn({"a": cycle("0", "0.5", "10"), "y": Y}).numbers["a"].median == 0.5
    columns = {"a": cycle(1, 2, 4), "y": cycle("01", "17", "2")}
    note = "kept as text because of leading zeros: "
    assert learn(columns).note(note) == "'y' (for numbers, --task regression)"
    assert not any(map(note.startswith, learn(columns, task="classification").notes))


def test_columns_that_the_user_chooses(learn):
    columns = {"a": cycle(1, 2), "b": cycle(1, 2, 4), "c": cycle("u", "v", "u"), "y": Y}
    assert list(learn(columns, drop=("a",)).numbers) == ["b"]
    assert list(learn(columns, ids=("b",)).numbers) == ["a"]
    data = learn(columns, features=("c", "b"))
    assert (list(data.numbers), list(data.categories)) == (["b"], ["c"])
    assert learn(columns, categorical=("b",)).categories["b"] == ("1", "2", "4")
    for option in ("drop", "ids", "features", "categorical", "numeric"):
        with pytest.raises(DataError, match="has no column 'd'"):
            learn(columns, **{option: ("d",)})
    with pytest.raises(DataError, match="non-numeric value 'u' in column 'c'"):
        learn(columns, numeric=("c",))


def test_a_column_that_alone_gives_the_answer_is_named(learn):
    rng = np.random.default_rng(0)
    sorts = rng.integers(0, 3, 100)
    columns = {
        "grade": [f"grade {sort}" for sort in sorts],
        "code": (sorts * 10 + rng.integers(0, 2, 100)).tolist(),
        "size": rng.normal(size=100).tolist(),
        "town": rng.choice(["Oslo", "Rome"], 100).tolist(),
        "y": [f"sort {sort}" for sort in sorts],
    }
    data = learn(columns)
    assert data.note("alone enough to know 'y': ").startswith("'code', 'grade'; if you will not")
    assert set(data.numbers) | set(data.categories) == {"grade", "code", "size", "town"}


def test_a_copy_of_the_target_is_named(learn):
    numbers = np.random.default_rng(0).normal(size=N).tolist()
    data = learn({"a": numbers, "b": numbers[::-1], "y": numbers})
    assert data.note("alone enough to know 'y': ").startswith("'a'; if")


@pytest.mark.parametrize("source", ["text", "parquet"])
def test_numbers_that_give_the_answer_are_named(source, csv, write_parquet):
    rng = np.random.default_rng(0)
    y, noise = rng.normal(size=(2, 100))
    sorts = np.where(y < -0.5, "c", np.where(y < 0.7, "a", "b"))
    columns = {
        "in euro": 0.92 * y + 3,
        "score": np.exp(y),
        "noise": noise,
        "nearly": y + 0.1 * noise,
        "reason": [None if sort == "c" else "xyz"[i % 3] for i, sort in enumerate(sorts)],
        "gaps": [None if i % 7 == 0 else x for i, x in enumerate(noise.tolist())],
    }

    def note(target, values, n=100):
        frame = pl.DataFrame({**columns, target: values}).head(n)
        path = csv(frame.write_csv()) if source == "text" else write_parquet(frame.to_dict())
        return [x.split(";")[0] for x in load(path, target=target).notes if "alone" in x]

    assert note("cost", y) == ["alone enough to know 'cost': 'in euro'"]
    expected = "alone enough to know 'sort': 'in euro', 'score', 'reason' (missing where it is 'c')"
    assert note("sort", sorts) == [expected]
    assert note("sort", sorts, n=49) == note("cost", y, n=49) == []
    assert note("rare", np.where(np.arange(100) == y.argmax(), "u", "v")) == []


# Dates ------------------------------------------------------------------------------------------


DAYS = [
    datetime.datetime(2019, 12, 30, 6, 15) + datetime.timedelta(days=11 * i, hours=5 * i)
    for i in range(N)
]


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%B %d, %Y %I:%M %p"])
def test_dates_become_features(learn, form):
    strings = [day.strftime(form) for day in DAYS]
    data = learn({"when": strings, "y": Y})
    column = data.dates["when"]
    assert [part.name for part in column.parts] == [
        *("year", "month", "day", "weekday", "hour", "elapsed")
    ]
    expected = [
        [d.year, d.month, d.day, d.weekday(), d.hour + d.minute / 60, d.timestamp() / 86400]
        for d in (day.replace(tzinfo=datetime.UTC) for day in DAYS)
    ]
    means, scales = np.array([[part.mean, part.scale] for part in column.parts]).T
    np.testing.assert_allclose(data.x, (expected - means) / scales, rtol=1e-5, atol=1e-6)
    note = " year, month, day, weekday, hour and elapsed days are features, as far as they vary: "
    assert data.note("dates, of which").startswith(note)
    with pytest.raises(DataError, match=r"'when' holds dates: .*leave it out of --numeric"):
        learn({"when": strings if "d" not in form else DAYS, "y": Y}, numeric=("when",))


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us", "Europe/Rome")])
def test_dates_by_type_are_those_that_are_written(learn, dtype, tmp_path):
    days = pl.Series([day.replace(hour=0, minute=0) for day in DAYS]).dt.cast_time_unit("us")
    typed = days.dt.replace_time_zone("Europe/Rome") if "Rome" in str(dtype) else days.cast(dtype)
    pl.DataFrame({"when": typed, "y": Y}).write_parquet(tmp_path / "typed.parquet")
    options = {"target": "y", "task": "auto", "test_fraction": 0.2, "seed": 0}
    data = load_table(tmp_path / "typed.parquet", **options)
    written = learn({"when": days.dt.strftime("%Y-%m-%d"), "y": Y})
    parts = data.encoding.features.dates[0].parts
    assert [part.name for part in parts] == ["year", "month", "day", "weekday", "elapsed"]
    if len(written.x) == len(data.x_train):
        assert parts == written.dates["when"].parts
    # Written down, they are the same dates.
    pl.DataFrame({"when": days.dt.strftime("%d.%m.%Y")}).write_csv(tmp_path / "written.csv")
    expected, given = (
        read_table(tmp_path / name, data.encoding, target=None, with_target=False).x
        for name in ("typed.parquet", "written.csv")
    )
    np.testing.assert_array_equal(given, expected)


def test_a_date_among_times_is_its_first_moment(learn):
    strings = [day.strftime("%Y-%m-%d %H:%M") for day in DAYS]
    moments = [day.replace(hour=0, minute=0) for day in DAYS[:2]] + DAYS[2:]
    data = learn({"when": [text[:10] for text in strings[:2]] + strings[2:], "y": Y})
    expected = learn({"when": [day.strftime("%Y-%m-%d %H:%M") for day in moments], "y": Y})
    np.testing.assert_array_equal(data.x, expected.x)


def test_a_missing_date_has_the_median_of_each_part(learn):
    strings = [None if i % 5 == 0 else day.strftime("%Y-%m-%d") for i, day in enumerate(DAYS)]
    data = learn({"when": strings, "y": Y})
    parts = data.dates["when"].parts
    assert data.x[0].tolist() == list(map(encode_median, parts))
    assert "12 in 'when'" in data.note("missing numbers filled with the training median: ")


def test_dates_are_no_target(learn):
    with pytest.raises(DataError, match="the target 'y' holds dates"):
        learn({"a": cycle(1, 2), "y": [day.strftime("%Y-%m-%d") for day in DAYS]})


def test_durations_are_seconds(write_parquet):
    columns = {"a": cycle(datetime.timedelta(minutes=1), datetime.timedelta(seconds=2)), "y": Y}
    columns["b"] = cycle(datetime.time(1, 0), datetime.time(0, 0, 3))
    batches = parquet_batches(write_parquet(columns), "y")
    means = [column.mean for column in batches.encoding.features.numbers]
    assert means == pytest.approx([31.0, 1801.5])


# Categories --------------------------------------------------------------------------------------


def test_rare_categories_share_one(learn):
    towns = [f"town {i % 60}" if i < 600 else f"village {i}" for i in range(640)]
    data = learn({"town": towns, "b": cycle(1, 2, 4, n=640), "y": cycle(0, 1, 1, n=640)})
    assert len(data.categories["town"]) == 61
    assert data.note("strings in fewer than 5 rows of the training part became '(rare)'") == (
        ": 'town'"
    )
    rare = 1 + data.categories["town"].index("(rare)")
    assert (data.x[600:, rare] == 1).all()
    assert (data.x[:600, rare] == 0).all()


def test_few_categories_remain_however_rare(learn):
    data = learn({"town": [f"town {i % 49}" for i in range(60)], "b": cycle(1, 2, 4), "y": Y})
    assert "(rare)" not in data.categories["town"]


def test_a_column_of_rare_strings_is_left_out(learn):
    names = [f"name {i // 2}" for i in range(400)]
    data = learn({"name": names, "b": cycle(1, 2, 4, n=400), "y": cycle(0, 1, 1, n=400)})
    assert data.note("left out, because no string is in 5 rows of the training part: ") == "'name'"


def test_notes_have_one_line_a_kind(learn):
    wide = {f"a{i}": cycle(f"{i} kg", None, "12 kg", "unknown", "unknown") for i in range(12)}
    empty = {f"e{i}": cycle(None, "?") for i in range(12)}
    dates = {f"d{i}": [day.strftime("%Y-%m-%d") for day in DAYS] for i in range(12)}
    same = {f"s{i}": cycle("x") for i in range(12)}
    data = learn({**wide, **empty, **dates, **same, "y": Y})
    assert len(data.notes) == 6
    assert max(map(len, data.notes)) < 300


# Columns that show how others are written ---------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "thousand"),
    [
        (["$1,250.50", "$9,999.50"], 1000),
        (["3.25", "4.5"], 1000),
        (["1.250,50", "2"], 1),
        (["0,5", "0,25"], 1),
        (["1.250.000", "2.250.000"], 1),
    ],
)
@pytest.mark.parametrize("target", ["a", "y"])
def test_another_column_shows_what_a_comma_is(csv, target, others, thousand):
    """The target shows it for a feature, and a feature for the target."""
    rows = [f'"{a}","{other}"' for a, other in zip(["1,018 m", "2,018 m"], others)] * 8
    data = load(csv("\n".join(["a,y", *rows])), target=target, task="regression")
    if target == "a":
        found = data.encoding.decode(data.y_test)
    else:
        found = data.x_test @ [data.encoding.features.numbers[0].scale]
        found += data.encoding.features.numbers[0].mean
    assert set(found.round(3)) == {round(1.018 * thousand, 3), round(2.018 * thousand, 3)}
    assert any("'a' (the unit 'm' and " in note for note in data.notes)


@pytest.mark.parametrize("others", [["12", "13"], ["1.250,50", "1,250.50"], ["3.125", "2.250"]])
def test_columns_that_do_not_show_it(csv, others):
    """Not where two contradict each other, or where a point may stand before thousands."""
    rows = "".join(f'"1,018 m","{others[0]}","{others[1]}"\n' for _ in range(8))
    with pytest.raises(DataError, match="column 'a': .* can be read as"):
        load(csv(f"a,b,y\n{rows}"), target="y", task="regression")


def test_all_columns_that_are_refused_are_named(csv):
    rows = "".join(f"{i},{i}x,{i}.5,{'PC' if i == 3 else i}\n" for i in range(9))
    with pytest.raises(DataError, match=r"'PC' in column 'd'.* Refused as well: 'e'"):
        load(csv("y,u,v,d,e\n" + rows.replace("\n", ",9-1-\n")), target="y")


# Markers that are values --------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("+", "-"), ("None", "x")])
def test_a_value_of_training_is_never_missing(learn, tmp_path, words):
    """Not in rows without the others either, nor in parts of a file that is sorted by it."""
    values = sorted(words * 30)
    options = {} if "+" in words else {"categorical": ("v", "y")}
    data = learn({"v": values, "w": cycle(1, 2), "y": values}, task="classification", **options)
    assert data.categories["v"] == data.encoding.classes == tuple(sorted(words))
    for word in words:
        pl.DataFrame({"v": [word], "w": [1], "y": [word]}).write_csv(tmp_path / "new.csv")
        rows = read_table(tmp_path / "new.csv", data.encoding, target=None, with_target=True)
        assert rows.x[0, 1:].tolist() == [float(word == value) for value in sorted(words)]
        assert data.encoding.decode(rows.y).tolist() == [word]
        assert not rows.notes
    position = 1 + sorted(words).index(values[0])
    first = [x[position] for x, y in zip(data.x, data.y) if data.encoding.decode(y) == values[0]]
    assert set(first) == {1.0}


def test_signs_that_are_rare_are_read_as_in_training(learn, tmp_path):
    words = [f"word {i % 60}" for i in range(600)] + ["+", "-"] * 3 + [None] * 20
    columns = {"v": words, "w": cycle(1, 2, n=626), "y": cycle(0.5, 1.5, 2.5, n=626)}
    data = learn(columns, task="regression")
    frame = pl.DataFrame(columns)
    frame.write_csv(tmp_path / "new.csv")
    rows = read_table(tmp_path / "new.csv", data.encoding, target=None, with_target=False)
    rare, missing = (1 + data.categories["v"].index(name) for name in ("(rare)", "(missing)"))
    for x in (data.x, rows.x):
        assert (x[:, rare].sum(), x[:, missing].sum()) == (6, 20)


def test_a_minus_without_a_plus_is_missing(learn, tmp_path):
    """Whatever is in other rows of a file that is predicted."""
    data = learn({"v": ["a", "b", "-"] * 20, "y": [0.5, 1.5, 2.5] * 20}, task="regression")
    assert data.categories["v"] == ("(missing)", "a", "b")
    for words in (["-"], ["-", "+"]):
        pl.DataFrame({"v": words}).write_csv(tmp_path / "new.csv")
        rows = read_table(tmp_path / "new.csv", data.encoding, target=None, with_target=False)
        assert rows.x[0].tolist() == [1.0, 0.0, 0.0]


def test_a_column_of_integers_has_the_decimal_mark_of_its_table(csv):
    """Other files may have fractions there, or marks between thousands, which are no fractions."""
    rows = "".join(f"{i * 37 % 50};{i},5;{i * i}\n" for i in range(60))
    data = load(csv(f"a;b;y\n{rows}"), target="y", task="regression")
    (column, _), notes = data.encoding.features.numbers, "\n".join(data.notes)
    assert notes.count("decimal commas") == 1  # of the table, not of each column
    table = read_table(csv("a;b\n2,5;1,5\n3;2,5\n"), data.encoding, target=None, with_target=False)
    assert table.x[:, 0] * column.scale + column.mean == pytest.approx([2.5, 3])
    with pytest.raises(DataError, match=r"'1\.234' in column 'a', row 1"):
        read_table(csv("a;b\n1.234;1,5\n"), data.encoding, target=None, with_target=False)


# What a second day of use found ------------------------------------------------------------------


def test_codes_with_points_and_leading_zeros_are_text(learn):
    codes = cycle("042", "250.01", "008.45", "401.9")
    data = learn({"icd": codes, "y": Y})
    assert data.categories["icd"] == tuple(sorted(set(codes)))
    assert data.note("kept as text because of leading zeros: ") == "'icd'"
    assert learn({"share": cycle("0.5", "0.25", "1.75"), "y": Y}).numbers.keys() == {"share"}


def test_a_number_that_is_there_or_missing_is_no_constant(learn):
    ticked = cycle("1", None)
    data = learn({"ticked": ticked, "w": cycle(1, 2, 4), "y": Y})
    assert data.note("left out, because constant where they are not missing ").endswith("'ticked'")
    data = learn({"ticked": ticked, "y": Y}, categorical=("ticked",))
    assert data.categories["ticked"] == ("(missing)", "1")


def test_sentinels_of_a_target_are_noted(csv):
    rows = "".join(f"{i % 9},{-999 if i % 20 == 0 else i / 8}\n" for i in range(100))
    notes = load(csv(f"a,y\n{rows}"), target="y").notes
    assert any("'-999' in 'y'" in note for note in notes)


@pytest.mark.parametrize("name", ["group", "time"])
def test_a_target_does_not_divide_the_rows(csv, name):
    path = csv("a,y\n" + "".join(f"{i % 9},{i / 8}\n" for i in range(40)))
    with pytest.raises(DataError, match=f"the {name} 'y' is the target: use another column"):
        load(path, target="y", **{name: "y"})


def test_texts_are_no_continuous_target_in_parts_either(write_parquet):
    path = write_parquet({"a": range(60), "y": [f"t{i}" for i in range(60)]})
    for read in load, parquet_batches:
        with pytest.raises(DataError, match="expected numbers|numbers are expected"):
            read(path, target="y", task="regression")


def test_a_long_value_is_cut_in_messages(csv):
    rows = "".join(f"{i},{'x' * 3000 if i == 3 else i}\n" for i in range(9))
    with pytest.raises(DataError) as caught:
        load(csv(f"y,a\n{rows}"), target="y")
    assert len(str(caught.value)) < 700

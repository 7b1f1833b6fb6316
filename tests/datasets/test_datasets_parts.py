"""The test part: a share, a file, whole groups, or the last times; and the targets."""

import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyback_nn.datasets import encoding_from_json, load, read
from anyback_nn.datasets.targets import ContinuousTarget, LogTarget
from anyback_nn.errors import DataError

N_ROWS = 60


VISITS = {
    "size": 2 * np.arange(N_ROWS),
    "patient": [f"p{i % 12}" for i in range(N_ROWS)],
    "year": 2000 + np.arange(N_ROWS) // 10,
    "cost": np.arange(N_ROWS) * 1.5,
    "hours": np.arange(N_ROWS) ** 2 / 4,
    "kind": np.where(np.arange(N_ROWS) % 3, "a", "b"),
}


@pytest.fixture
def visits(write_parquet):
    """Sixty visits of twelve patients; a feature is twice the row number."""
    return write_parquet(VISITS, "visits.parquet")


@pytest.fixture
def dated_visits(write_parquet):
    """The visits, on thirty days."""
    days = pl.Series(np.arange(N_ROWS) // 2).cast(pl.Date)
    return write_parquet({**VISITS, "day": days}, "dated.parquet")


def decode_rows(data, x):
    """Return the row numbers, of which a feature is twice as large."""
    column = next(column for column in data.encoding.features.numbers if column.name == "size")
    place = data.encoding.features.names.index("size")
    return np.rint((x[:, place] * column.scale + column.mean) / 2).astype(int)


def parts(data):
    train, test = decode_rows(data, data.x_train), decode_rows(data, data.x_test)
    assert sorted([*train, *test]) == list(range(N_ROWS))
    return train, test


@pytest.mark.parametrize("target", ["cost", "kind"])
def test_rows_of_a_group_are_in_one_part(visits, target):
    data = load(visits, target=target, group="patient", test_fraction=0.25)
    train, test = parts(data)
    assert not set(train % 12) & set(test % 12)
    assert len(test) == 15
    assert "patient" not in data.encoding.features.names
    assert any("'patient' is no feature: it divides the rows" in note for note in data.notes)
    again = load(visits, target=target, group="patient", test_fraction=0.25)
    np.testing.assert_array_equal(again.x_test, data.x_test)
    other = load(visits, target=target, group="patient", test_fraction=0.25, seed=1)
    assert set(parts(other)[1]) != set(test)


def test_the_last_times_are_the_test_part(visits, dated_visits):
    train, test = parts(load(dated_visits, target="cost", time="day"))
    assert train.max() < test.min() == 48
    data = load(visits, target="cost", time="year", test_fraction=0.3)
    train, test = parts(data)
    assert train.max() < test.min() == 40
    assert "year" in data.encoding.features.names


@pytest.mark.parametrize(
    ("days", "last"),
    [
        (["2024-02-01", "2024-01-05 10:00", "2023-12-31", "2024-01-05 09:30", "2023-01-01"], [0]),
        (["2023-02-01", "2024-01-05", "2023-12-31"], [1]),
        (["2024-01-05T09:30:10", "2024-01-05T09:30:20.5", "2024-01-05T08:30:59"], [1]),
        (["10", "9", "8.5", "1e1", "-3"], [0, 3]),
    ],
)
def test_times_in_a_csv_file_are_read(csv, days, last):
    path = csv("a,day,y\n" + "".join(f"{i},{day},{i}.5\n" for i, day in enumerate(days)))
    data = load(path, target="y", time="day", test_fraction=0.2)
    assert sorted(data.encoding.decode(data.y_test).round(3) - 0.5) == last


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "time",
            ["2024-01-31", "soon"],
            "column 'w': '2024-01-31', 'soon' have no form in which times can be read",
        ),
        ("time", ["1", ""], "the time 'w' is missing in 1 row, first in row 2"),
        ("group", ["1", "NA"], "the group 'w' is missing in 1 row, first in row 2"),
        ("group", ["1", "1"], "all rows have the same group"),
        ("time", ["1", "1"], "all rows have the same time"),
    ],
)
def test_columns_that_do_not_divide_the_rows(csv, column, values, message):
    path = csv("a,w,y\n" + "".join(f"{i},{w},{i}.5\n" for i, w in enumerate(values * 4)))
    message = message.replace("in 1 row", "in 4 rows")
    with pytest.raises(DataError, match=re.escape(message)):
        load(path, target="y", **{column: "w"})


def test_one_way_to_divide_the_rows(visits):
    with pytest.raises(DataError, match="both the group 'patient' and the time 'year'"):
        load(visits, target="cost", group="patient", time="year")
    with pytest.raises(DataError, match=r"leave group \(--group\) and time \(--time\) out"):
        load(visits, target="cost", group="patient", test_file=visits)
    with pytest.raises(DataError, match="both test_file .* and test_fraction .* were given"):
        load(visits, target="cost", test_fraction=0.2, test_file=visits)
    with pytest.raises(DataError, match="no column 'patent'. Did you mean 'patient'"):
        load(visits, target="cost", group="patent")
    with pytest.raises(DataError, match="has no columns to choose the group 'a' from"):
        load("moons", group="a")
    with pytest.raises(DataError, match=r"moons: the data come with a test part|--test-file"):
        load("moons", test_file=visits)


def test_data_with_a_test_part_say_that_a_share_has_no_effect():
    assert "has no effect" in load("digits", test_fraction=0.5).notes[0]
    assert load("digits").notes == ()


def test_a_file_is_the_test_part(csv):
    path = csv("a,b,y\n" + "1,u,0.5\n2,v,1.5\n3,u,2.5\n", "train.csv")
    test = csv("y,b,a\n" + "9.5,w,7\n8.5,v,\n", "test.csv")
    data = load(path, target="y", test_file=test)
    assert not any("are training rows" in note for note in data.notes)
    alone = load(path, target="y", test_file=path)
    assert "test part: 3 of its 3 rows are training rows as well" in alone.notes[-1]
    assert data.encoding == alone.encoding  # learned from the training file only
    assert len(data.x_train) == 3
    np.testing.assert_allclose(data.encoding.decode(data.y_test), [9.5, 8.5], rtol=1e-6)
    rows = read(test, data.encoding, with_target=True)
    np.testing.assert_array_equal(data.x_test, rows.x)
    np.testing.assert_array_equal(data.y_test, rows.y)


@given(st.sets(st.integers(0, 99), min_size=1), st.integers(0, 9), st.booleans())
def test_rows_of_the_test_file_that_are_in_the_training_file_are_counted(known, n_new, typed):
    numbers = [i % 7 if i % 5 else None for i in range(200)]
    columns = {"a": range(200), "b": numbers, "c": [i % 3 > 1 for i in range(200)]}
    frame = pl.DataFrame({**columns, "y": [i / 3 for i in range(200)]})
    frame = frame.with_columns(pl.col("b").cast(pl.String).cast(pl.Categorical))
    frame = frame if typed else pl.read_csv(frame.write_csv().encode(), infer_schema=False)
    test = frame[[*known, *range(100, 100 + n_new)]].select("y", "c", "b", "a")
    data = load(frame[:100], target="y", test_file=test)
    rows = f"{len(test)} row" + "s" * (len(test) > 1)
    assert any(f"{len(known)} of its {rows} are training rows" in note for note in data.notes)


def test_a_test_file_that_does_not_fit(csv, tmp_path):
    path = csv("a,y\n" + "1,u\n2,v\n3,u\n", "train.csv")
    for text, message in {
        "a,z\n1,u\n": "other.csv: has no column 'y'",
        "b,y\n1,u\n": "other.csv: lacks 1 column, 'a'",
        "a,y\n1,w\n": "train.csv: test part: row 1: the label 'w' is not one of the classes",
    }.items():
        with pytest.raises(DataError, match=re.escape(message)) as error:
            load(path, target="y", test_file=csv(text, "other.csv"))
        assert ("train.csv" in str(error.value)) == ("train.csv" in message)
    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), y=[0, 1, 0, 1])
    with pytest.raises(DataError, match="expected a file of the same kind"):
        load(path, target="y", test_file=tmp_path / "a.npz")


def test_a_test_file_of_arrays(tmp_path):
    x = np.arange(20.0).reshape(10, 2)
    np.savez(tmp_path / "train.npz", x=x, y=x[:, 0] / 3)
    np.savez(tmp_path / "test.npz", x=x[:3], y=x[:3, 0] / 3)
    data = load(tmp_path / "train.npz", test_file=tmp_path / "test.npz")
    assert (len(data.x_train), len(data.x_test)) == (10, 3)
    np.testing.assert_array_equal(data.x_test, data.x_train[:3])
    np.savez(tmp_path / "both.npz", x_train=x, y_train=x[:, 0] / 3, x_test=x, y_test=x[:, 0] / 3)
    with pytest.raises(DataError, match="come with a test part: leave test_file"):
        load(tmp_path / "both.npz", test_file=tmp_path / "test.npz")


@pytest.mark.parametrize("column", ["group", "time"])
def test_validation_keeps_groups_together_too(dated_visits, column):
    frame = pl.read_parquet(dated_visits)
    if column == "group":
        frame.drop("day").write_parquet(dated_visits)
    name = {"group": "patient", "time": "day"}[column]
    data = load(dated_visits, target="cost", **{column: name})
    (x, y), (x_validation, y_validation) = data.split_validation(0.25)
    train, validation = decode_rows(data, x), decode_rows(data, x_validation)
    assert sorted([*train, *validation]) == sorted(parts(data)[0])
    np.testing.assert_allclose(data.encoding.decode(y), train * 1.5, atol=1e-4)
    np.testing.assert_allclose(data.encoding.decode(y_validation), validation * 1.5, atol=1e-4)
    if column == "group":
        assert not set(train % 12) & set(validation % 12)
    else:
        assert train.max() < validation.min()


# Targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cost,hours", "cost, hours", ["cost", "hours"]])
def test_several_targets(visits, target):
    data = load(visits, target=target)
    assert (data.n_outputs, data.task) == (2, "regression")
    rows = decode_rows(data, data.x_train)
    expected = np.column_stack([rows * 1.5, rows**2 / 4])
    np.testing.assert_allclose(data.encoding.decode(data.y_train), expected, atol=1e-3)
    np.testing.assert_allclose(data.y_train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.y_train.std(axis=0), 1, atol=1e-6)
    assert not {"cost", "hours"} & set(data.encoding.features.names)
    again = encoding_from_json(json.loads(json.dumps(data.encoding.to_json())))
    assert again == data.encoding
    measured = read(visits, again, with_target=True)
    assert measured.y.shape == (N_ROWS, 2)
    assert not any("cost" in note for note in measured.notes)


def test_a_column_whose_name_has_a_comma_is_one_target(write_parquet):
    path = write_parquet({"x": np.arange(9.0), "a,b": np.arange(9.0) / 2, "a": np.arange(9.0)})
    data = load(path, target="a,b")
    assert (data.n_outputs, data.encoding.target.name) == (1, "a,b")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cost,kind", "'kind' has classes: train a model for each target"),
        ("cost,cost", "expected each once"),
        ("cost,hour", "no column 'hour'"),
    ],
)
def test_several_targets_that_cannot_be(visits, target, message):
    with pytest.raises(DataError, match=message):
        load(visits, target=target)


@given(values=st.lists(st.floats(-0.5, 1e9), min_size=2, max_size=20, unique=True))
def test_logarithms_round_trip(values):
    values = np.array(values)
    if np.ptp(np.log1p(values)) < 1e-3:
        return
    target = LogTarget.fit(values)
    encoded = target.encode(values)
    np.testing.assert_allclose(target.decode(encoded), values, rtol=1e-3, atol=1e-3)
    expected = ContinuousTarget.fit(np.log1p(values))
    assert (target.mean, target.scale) == (expected.mean, expected.scale)


def test_a_logarithmic_target(visits):
    data = load(visits, target="hours", log_target=True)
    assert isinstance(data.encoding.target, LogTarget)
    rows = decode_rows(data, data.x_train)
    np.testing.assert_allclose(data.encoding.decode(data.y_train), rows**2 / 4, rtol=1e-4)
    assert encoding_from_json(data.encoding.to_json()) == data.encoding
    both = load(visits, target="cost,hours", log_target=True)
    assert all(isinstance(target, LogTarget) for target in both.encoding.target.targets)
    assert encoding_from_json(both.encoding.to_json()) == both.encoding


def test_a_target_that_is_only_divided(visits):
    data = load(visits, target="cost", center_target=False)
    assert data.encoding.target.mean == 0
    assert data.y_train.min() >= 0
    assert data.y_train.mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "kind", "log_target": True}, r"one of several classes.*--log-target"),
        ({"target": "cost", "log_target": True, "center_target": False}, "expected one of them"),
    ],
)
def test_scales_that_cannot_be(visits, options, message):
    with pytest.raises(DataError, match=message):
        load(visits, **options)


def test_values_without_a_logarithm_or_count(csv):
    path = csv("a,y\n" + "".join(f"{i},{i - 3.5}\n" for i in range(20)))
    with pytest.raises(DataError, match="log1p has no value there: expected numbers above -1"):
        load(path, target="y", log_target=True)
    with pytest.raises(DataError, match="expected counts, which are 0 or greater"):
        load(path, target="y", center_target=False)

"""Encodings learned from parts of a Parquet file: the oracle is the same file read as a whole."""

import numpy as np
import polars as pl
import pytest
from parquet_file import FEATURES, batches_of, expect_error, numbers_of, rows

from anyback_nn.datasets import load, parquet, parquet_batches, streaming
from anyback_nn.datasets.columns import as_column, as_strings
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import fit_columns
from anyback_nn.datasets.streaming import Moments
from anyback_nn.datasets.targets import fit_target
from anyback_nn.errors import DataError


def whole(columns, target, task):
    """Return the encoding learned from all rows at once, and its notes."""
    frame = rows()
    town = [None if value in (None, "?") else value.strip() for value in frame["town"]]
    table = {
        "row": frame["row"].to_numpy().astype(float),
        "width": frame["width"].to_numpy(),
        "height": frame["height"].to_numpy().astype(float),
        "town": as_strings(np.array(town, dtype=object)),
        "old": as_column("old", frame["old"].to_numpy()),
        "kind": as_strings(np.array(frame["kind"].to_list())),
        "flat": frame["flat"].to_numpy(),
    }
    features, notes = fit_columns({name: table[name] for name in columns})
    values = as_column(target, np.array(frame[target].to_list()))
    return Encoding(features, fit_target(values, task, target)), notes


@pytest.mark.parametrize("size", [16, 30, 1000])
@pytest.mark.parametrize(
    ("target", "task"),
    [("sort", "classification"), ("grade", "classification"), ("price", "regression")],
)
def test_the_encoding_is_that_of_the_file_read_as_a_whole(path, monkeypatch, size, target, task):
    monkeypatch.setattr(parquet, "_BUFFER", size * (len(FEATURES) + 1))
    batches = batches_of(path, target)
    expected, notes = whole(FEATURES, target, task)
    features, learned = batches.encoding.features, batches.encoding.target
    assert features.names == expected.features.names
    assert features.categories == expected.features.categories
    # Sums in another order, of numbers about 1e6 with a deviation of 2.
    np.testing.assert_allclose(numbers_of(batches.encoding), numbers_of(expected), rtol=1e-11)
    if task == "classification":
        assert learned == expected.target
    else:
        assert learned.mean == pytest.approx(expected.target.mean, rel=1e-12)
        assert learned.scale == pytest.approx(expected.target.scale, rel=1e-12)
    assert set(notes) <= set(batches.notes)
    filled = f"missing numbers filled with the training median: {rows()['width'].null_count()} in"
    assert any(note.startswith(filled) for note in batches.notes)


def test_what_is_learned_is_the_same_in_bits_each_time(path, monkeypatch):
    monkeypatch.setattr(parquet, "_BUFFER", 100)
    assert batches_of(path).encoding == batches_of(path).encoding


@pytest.mark.parametrize("size", [3, 50])
def test_medians_of_many_numbers_are_those_of_rows_at_equal_distances(path, monkeypatch, size):
    monkeypatch.setattr(parquet, "_BUFFER", size * (len(FEATURES) + 1))
    monkeypatch.setattr(streaming, "_SAMPLE", 4 * 20)  # of 103 rows of 4 columns: every sixth
    medians = numbers_of(batches_of(path).encoding)[:, 0]
    some = rows()[::6].select("row", "width", pl.col("height").fill_nan(None))
    assert medians.tolist() == [float(v) for v in some.median().row(0)]


def test_without_a_value_among_those_rows_the_mean_is_the_median(write_parquet, monkeypatch):
    monkeypatch.setattr(streaming, "_SAMPLE", 3)
    path = write_parquet({"a": [None, 1.0, None, 3.0], "y": [0, 1, 0, 1]})
    (column,) = parquet_batches(path, "y").encoding.features.numbers
    assert (column.median, column.mean, column.scale) == (2.0, 2.0, np.sqrt(0.5))


@pytest.mark.parametrize("parts", [[3, 4], [7], [0, 1, 0, 6, 0]])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_moments_add_up(parts, offset):
    values = np.random.default_rng(0).normal(size=7) + offset
    total = sum(map(Moments.of, np.split(values, np.cumsum(parts)[:-1])), Moments())
    assert total.count == 7
    assert total.mean == pytest.approx(values.mean(), rel=1e-15)
    assert total.deviation == pytest.approx(values.std(), rel=1e-7)


def test_a_constant_deviates_by_nothing_whatever_was_rounded():
    moments = sum((Moments.of(np.full(n, 0.1)) for n in (3, 7, 11, 30)), Moments())
    assert moments.deviation == 0.0


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([1.0, 2.0, np.inf, 4.0]), "from row 3: row 1, column 'a': the value inf"),
        (pl.Series([[1], [2], [3], [4]]), "column 'a' holds List.*leave it out with columns="),
        (pl.Series(["1", "2", "3", "x"]), "among its different strings: non-numeric value 'x'"),
        (pl.Series([None] * 4, dtype=pl.Float64), r"the features are the columns \(none\)"),
    ],
)
def test_columns_that_can_be_no_features(write_parquet, monkeypatch, column, message):
    monkeypatch.setattr(parquet, "_BUFFER", 4)
    expect_error(write_parquet({"a": column, "y": [0, 1, 0, 1]}), f"a.parquet.*{message}")


def test_a_column_without_values_is_left_out(write_parquet):
    columns = {"a": [None] * 4, "b": [None, "?", "", None], "c": range(4), "y": [0, 1] * 2}
    frame = pl.DataFrame(columns).with_columns(d=pl.lit(None, pl.Float64), e=pl.lit("same"))
    batches = parquet_batches(write_parquet(frame), "y")
    assert batches.columns == ("c",)
    assert batches.notes == (
        "left out, because no row of the training part has a value: 'a', 'b', 'd'",
        "left out, because constant in the training part, which teaches nothing: 'e'",
    )
    assert [x.shape for x, _ in batches] == [(4, 1)]


def test_too_many_strings_are_no_categories(write_parquet, monkeypatch):
    monkeypatch.setattr(streaming, "_MOST_STRINGS", 3)
    path = write_parquet({"id": ["a", "b", "c", "d"], "x": range(4), "y": [0, 1] * 2})
    expect_error(path, "a.parquet: column 'id' has more than 3 different strings")
    assert parquet_batches(path, "y", columns=["x"]).columns == ("x",)


@pytest.mark.parametrize("target", [[None] * 4, ["n/a", "", "?", "-"]])
def test_targets_that_cannot_be_learned(write_parquet, monkeypatch, target):
    monkeypatch.setattr(parquet, "_BUFFER", 4)
    path = write_parquet({"a": range(4), "y": target})
    expect_error(path, "a.parquet.*the target 'y' is missing in every row")


def test_targets_with_many_values_are_continuous_or_refused(write_parquet, monkeypatch):
    monkeypatch.setattr(streaming, "_MOST_CLASSES", 21)
    path = write_parquet({"a": range(25), "y": range(25)})
    for size in (25, 24):  # as a whole, and with a part after there were too many
        monkeypatch.setattr(parquet, "_BUFFER", 2 * size)
        target = parquet_batches(path, "y").encoding.target
        assert (target.mean, target.scale) == (12.0, pytest.approx(np.sqrt(52.0)))
    expect_error(path, "more than 21 different labels", task="classification")
    path = write_parquet({"a": range(25), "y": [f"label {i}" for i in range(25)]})
    expect_error(path, "more than 21 different labels")


# What is seen in parts only -----------------------------------------------------------------------

SHUFFLED = np.random.default_rng(0).permutation(200)
HALF = [None if i % 2 else i / 4 for i in range(200)]
KEYS = [f"k{i:03d}" for i in range(100)]
WIDTH = (np.arange(200) % 7).tolist()


@pytest.mark.parametrize(
    ("columns", "identifies"),
    [
        ({"id": SHUFFLED, "y": np.arange(200) / 4}, True),
        ({"id": SHUFFLED % 199, "y": np.arange(200) / 4}, False),
        ({"size": SHUFFLED, "y": np.arange(200) / 4}, False),
        # The rows without a target repeat the strings of those with one.
        ({"code": np.repeat(KEYS, 2), "y": HALF}, False),
        ({"code": [*KEYS, *KEYS], "y": np.arange(200) / 4}, False),
        ({"code": [*KEYS, *(f"l{i}" for i in range(100))], "y": np.arange(200) / 4}, True),
    ],
    ids=["another order", "repeated", "measured", "unlabelled", "later", "all different"],
)
@pytest.mark.parametrize("most", [90, 1000])
def test_identifiers_are_those_of_the_whole_table(
    write_parquet, monkeypatch, columns, identifies, most
):
    path = write_parquet(columns | {"width": WIDTH})
    monkeypatch.setattr(parquet, "_BUFFER", 40)
    monkeypatch.setattr(streaming, "_MOST_STRINGS", most)
    options = {"target": "y", "task": "regression"}
    for read in (load, parquet_batches) if most == 1000 or identifies else (load,):
        data = read(path, **options)
        assert any("name or number the rows" in note for note in data.notes) == identifies
    if most < 1000 and "code" in columns and not identifies:
        with pytest.raises(DataError, match="column 'code' has more than 90 different strings"):
            parquet_batches(path, **options)


def test_numbers_in_a_categorical_target_are_read_as_in_the_whole_table(write_parquet):
    values = pl.Series([f"{i % 30}.5" for i in range(120)])
    for dtype in pl.Categorical, pl.Enum(values.unique()):
        path = write_parquet({"a": np.arange(120) % 9, "y": values.cast(dtype)})
        batches = parquet_batches(path, target="y", task="regression")
        expected = load(path, target="y", task="regression", test_fraction=0.01)
        assert batches.encoding.target.mean == pytest.approx(15, abs=0.1)
        assert expected.encoding.target.mean == pytest.approx(15, abs=0.1)

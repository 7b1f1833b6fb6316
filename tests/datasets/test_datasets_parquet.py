"""Batches of Parquet files in bounded memory: the oracle is the same file read as a whole."""

import numpy as np
import polars as pl
import pytest
from parquet_file import N, batches_of, expect_error, flat, rows, rows_seen

import anyback_nn as nn
from anyback_nn.datasets import parquet, parquet_batches, read
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling
from anyback_nn.datasets.targets import ClassLabels
from anyback_nn.errors import DataError


def assert_rows(batches, expected, order):
    """Assert that batches of 8 have the bits of these rows of the whole file."""
    x, y = zip(*batches, strict=True)
    assert list(map(len, y)) == [8] * 12 + [7]
    assert np.concatenate(x).tobytes() == expected.x[order].tobytes()
    assert np.concatenate(y).tobytes() == expected.y[order].tobytes()


@pytest.mark.parametrize("target", ["sort", "grade", "price"])
@pytest.mark.parametrize("buffer", [12, 16, 1000])
def test_batches_in_order_are_the_rows_of_the_whole_file(path, target, buffer):
    batches = batches_of(path, target, shuffle=False, buffer=buffer)
    expected = read(path, batches.encoding, with_target=True)
    found = list(batches)
    assert len(batches) == 13
    assert (expected.x.dtype, expected.y.dtype) == (found[0][0].dtype, found[0][1].dtype)
    assert_rows(found, expected, slice(None))


@pytest.mark.parametrize("options", [{"buffer": 20}, {"buffer": 60, "places": 3}, {}])
def test_shuffled_batches_are_the_same_rows_whose_parts_stay_together(path, options):
    batches = batches_of(path, **options)
    expected = read(path, batches.encoding, with_target=True)
    for number in range(2):
        order = flat(rows_seen(batches, number))
        assert sorted(order) == list(range(N))
        assert order != sorted(order)
        assert_rows(batches.epoch(number), expected, order)


def test_the_order_is_new_in_each_epoch_and_fixed_by_the_seed(path):
    first, again, other = (
        batches_of(path, seed=seed, buffer=20, columns=["row"]) for seed in (1, 1, 2)
    )
    assert rows_seen(first, 0) == rows_seen(again, 0) == rows_seen(first, 0)
    assert rows_seen(first, 0) != rows_seen(first, 1)
    assert rows_seen(first, 0) != rows_seen(other, 0)


@pytest.mark.parametrize(("places", "most"), [(1, 20), (5, 4)])
def test_only_so_many_rows_are_read_at_once_from_so_many_places(path, places, most):
    batches = batches_of(path, batch_size=20, buffer=20, places=places, columns=["row"])
    (first, *_) = rows_seen(batches, 0)
    stretches = {row // most for row in first}
    assert len(stretches) == places
    read_at_once = []
    original = type(batches.file).read

    def watched(self, columns, start, n_rows):
        frame = original(self, columns, start, n_rows)
        read_at_once.append(frame.height)
        return frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(batches.file), "read", watched)
        assert len(list(batches)) == 6
    assert max(read_at_once) == most
    assert sum(read_at_once) == N


def test_what_is_not_needed_is_not_even_read(tmp_path):
    path, towns = tmp_path / "long.parquet", ["Oslo"] * 32 + ["Rome"] * 32
    frame = pl.DataFrame({"row": range(64), "street": ["Via"] * 64, "town": towns})
    frame.write_parquet(path, row_group_size=16, compression="uncompressed")
    content = path.read_bytes()
    for text in (b"\3\0\0\0Via", b"\4\0\0\0Rome"):  # with its length in front
        assert text in content
        content = content.replace(text, b"\xff" + text[1:])
    path.write_bytes(content)
    encoding = Encoding(Scaling(1), ClassLabels(("Oslo", "Rome")))
    options = {"columns": ["row"], "batch_size": 16, "buffer": 16, "shuffle": False}
    batches = iter(parquet_batches(path, "town", encoding=encoding, **options))
    assert flat(next(batches)[0][:, 0].tolist() for _ in range(2)) == list(range(32))
    with pytest.raises(DataError, match="long.parquet: cannot be read"):
        next(batches)


def test_stretches_come_in_random_order(path):
    batches = batches_of(path, batch_size=10, buffer=10, columns=["row"])
    starts = [first // 10 for first, *_ in rows_seen(batches, 0)]
    assert starts != sorted(starts)


def test_by_default_the_buffer_is_bounded_by_the_width_of_encoded_rows(write_parquet, monkeypatch):
    monkeypatch.setattr(parquet, "_BUFFER", 1000)
    path = write_parquet({"town": [f"town {i % 50}" for i in range(200)], "y": [0, 1] * 100})
    batches = parquet_batches(path, "y")
    assert batches.encoding.n_features == 50
    assert batches.stretch == 32  # a batch at the least, though 20 rows have 1,000 numbers
    assert parquet_batches(path, "y", batch_size=4).stretch == 20


def test_a_folder_of_files_is_one_table(tmp_path):
    frame, folder = rows(), tmp_path / "parts"
    folder.mkdir()
    for i, start in enumerate(range(0, N, 40)):
        frame[start : start + 40].write_parquet(folder / f"part-{i}.parquet")
    frame.write_parquet(tmp_path / "one[1].parquet")
    parts, whole = (batches_of(tmp_path / name, seed=3) for name in ("parts", "one[1].parquet"))
    assert parts.encoding == whole.encoding
    assert rows_seen(parts, 1) == rows_seen(whole, 1)


def test_an_encoding_that_is_given_is_taken_as_it_is(path, write_parquet):
    encoding = batches_of(path).encoding
    other = write_parquet(rows(60, seed=1).with_columns(town=pl.lit("Bern"), extra=pl.lit("x")))
    batches = parquet_batches(other, encoding=encoding, shuffle=False)
    expected = read(other, encoding, with_target=True)
    assert batches.encoding is encoding
    assert batches.notes == ()
    assert np.concatenate([x for x, _ in batches]).tobytes() == expected.x.tobytes()
    assert np.concatenate([y for _, y in batches]).tolist() == expected.y.tolist()
    # As a model that was saved has it.
    assert parquet_batches(path, encoding=encoding.to_json()).encoding == encoding


def test_numbers_can_be_taken_without_standardising_them(path):
    encoding = Encoding(Scaling(2), ClassLabels(("a", "b", "c")))
    batches = parquet_batches(
        path, "sort", encoding=encoding, columns=["flat", "row"], shuffle=False, batch_size=50
    )
    x, y = next(iter(batches))
    assert x.tolist() == [[3.0, float(i)] for i in range(50)]
    assert encoding.decode(y).tolist() == rows()["sort"][:50].to_list()


def test_labels_of_numbers_as_text_are_found_whatever_else_is_near_them(write_parquet):
    path = write_parquet({"a": range(6), "y": ["01", "02", "01", "02", "x", "x"]})
    options = {"task": "classification", "buffer": 2, "shuffle": False, "batch_size": 2}
    batches = parquet_batches(path, "y", **options)
    assert batches.encoding.classes == ("01", "02", "x")
    assert [y.tolist() for _, y in batches] == [[0, 1], [0, 1], [2, 2]]


# Training ----------------------------------------------------------------------------------------


def network():
    return nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(3), loss=nn.SoftmaxCrossEntropy())


def test_a_model_trains_as_from_memory(path):
    batches = batches_of(path, shuffle=False, buffer=30)
    data = read(path, batches.encoding, with_target=True)
    model, reference = network(), network()
    model.fit(batches, epochs=3)
    reference.fit(data.x, data.y, epochs=3, batch_size=8, shuffle=False)
    assert model.history["train_loss"] == reference.history["train_loss"]
    expected = reference.evaluate(data.x, data.y)["loss"]
    assert model.evaluate(batches)["loss"] == pytest.approx(expected)


def test_training_that_is_resumed_goes_on_in_the_order_it_would_have(path):
    batches, model, resumed = batches_of(path, buffer=30), network(), network()
    optimizer = nn.Adam(nn.CosineDecay(0.01, epochs=4))  # whose steps depend on the length
    model.fit(batches, epochs=3, optimizer=optimizer)
    for _ in range(3):
        resumed.fit(batches_of(path, buffer=30), epochs=1, optimizer=optimizer)
    assert model.history["train_loss"] == resumed.history["train_loss"]


# What is refused ---------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path, csv, write_parquet):
    (tmp_path / "empty").mkdir()
    text = csv("a,y\n1,2\n" * 9, "text.parquet")
    expect_error(tmp_path / "nothing", "nothing: no such file: expected a Parquet file")
    expect_error(text, r"text.parquet: cannot be read \(.*\): expected Parquet")
    expect_error(tmp_path / "empty", r"empty: cannot be read \(.*\): expected Parquet")
    expect_error(write_parquet({"a": [], "y": []}), "a.parquet: has the columns 'a', 'y' but no ro")


def test_a_file_that_is_gone_while_it_is_read(path):
    batches = batches_of(path)
    path.unlink()
    with pytest.raises(DataError, match="big.parquet: cannot be read"):
        next(iter(batches))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (None, {}, "no target column was named: pass target=, one of 'row', 'width'"),
        ("sorts", {}, "has no column 'sorts'. Did you mean 'sort'?"),
        ("sort", {"columns": ["wide"]}, "has no column 'wide'"),
        ("sort", {"columns": ["sort", "row"]}, "and the target not among them"),
        ("sort", {"columns": []}, r"features are \(none\).*at least one"),
        ("sort", {"columns": ["row", "row"]}, "expected at least one feature, each once"),
        ("sort", {"task": "ranking"}, "the task is 'ranking': expected one of 'auto'"),
        ("sort", {"task": "regression"}, "non-numeric value 'a' in column 'sort'"),
        ("flat", {"columns": ["row"]}, "one class only, '3'"),
        ("flat", {"columns": ["row"], "task": "regression"}, "deviation is 0.0"),
    ],
)
def test_what_does_not_fit_the_file(path, target, options, message):
    expect_error(path, message, target, **options)


@pytest.mark.parametrize("name", ["batch_size", "buffer", "places"])
def test_numbers_of_rows_and_places(path, name):
    with pytest.raises(ValueError, match=f"expected {name} to be at least 1, got 0"):
        parquet_batches(path, "sort", **{name: 0})
    with pytest.raises(TypeError, match=f"expected {name} to be an integer, got 2.5"):
        parquet_batches(path, "sort", **{name: 2.5})


def test_an_encoding_that_does_not_fit(path, write_parquet):
    options = {"encoding": batches_of(path).encoding}
    expect_error(path, "columns and an encoding were given", "sort", columns=["row"], **options)
    expect_error(path, "the target not among them", "row", **options)
    less = write_parquet(rows().drop("width"))
    expect_error(less, "lacks 1 column, 'width'", None, **options)
    new = write_parquet(rows().with_columns(sort=pl.lit("z")), "new.parquet")
    batches = parquet_batches(new, shuffle=False, **options)
    with pytest.raises(DataError, match="new.parquet: row 1: the label 'z' is not one of"):
        next(iter(batches))

"""Sources: names, paths, and the libraries that may be absent."""

import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from anyback_nn.datasets import BUILT_IN, load, parquet_batches, read
from anyback_nn.errors import DataError

ROWS = "a,y\n" + "1,0\n2,1\n" * 5
BUILT_IN_CLASSES = {"digits": 10, "xor": 2, "circles": 2, "moons": 2, "spirals": 3, "blobs": 3}


@pytest.mark.parametrize(("name", "n_outputs"), BUILT_IN_CLASSES.items())
def test_built_in_names(name, n_outputs):
    data = load(name)
    assert (data.name, data.n_outputs, data.x_train.dtype) == (name, n_outputs, np.float32)
    rows = read(name, data.encoding, with_target=True)
    np.testing.assert_array_equal(rows.x, data.x_test)
    np.testing.assert_array_equal(rows.y, data.y_test)
    assert read(name, data.encoding, with_target=False).y is None
    assert tuple(BUILT_IN_CLASSES) == BUILT_IN
    if name != "digits":
        assert (len(data.x_train), len(data.x_test)) == (800, 200)
        assert not np.array_equal(data.x_train, load(name, seed=1).x_train)


@pytest.mark.parametrize("source", ["mons", Path("mons")])
def test_a_source_that_does_not_exist(source):
    with pytest.raises(DataError, match=r"mons: no such file.* mean 'moons'. Expected .*'digits'"):
        load(source)
    with pytest.raises(DataError, match="mons: no such file"):
        read(source, load("moons").encoding, with_target=True)


def test_a_path_is_not_taken_for_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="digits: no such file"):
        load(Path("digits"))
    Path("digits").mkdir()
    with pytest.raises(DataError, match="digits: has no train-images-idx3-ubyte"):
        load("./digits")
    assert load("digits").n_features == 64


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv.xz", "a"])
def test_other_suffixes(csv, name):
    with pytest.raises(DataError, match=r"cannot be read: expected a \.csv, \.tsv, .* compressed"):
        load(csv("a,b", name), target="b")


@pytest.mark.parametrize(("file", "name"), [("A.CSV", "A"), ("a.b.csv", "a.b")])
def test_the_name_is_the_stem(csv, file, name):
    assert load(csv(ROWS, file), target="y").name == name


def test_a_target_without_columns_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), y=[0, 1, 0, 1])
    for source in ("moons", tmp_path, tmp_path / "a.npz"):
        with pytest.raises(DataError, match="has no columns to choose the target 'y' from"):
            load(source, target="y")
        with pytest.raises(DataError, match="has no columns to choose the target 'y' from"):
            read(source, load("moons").encoding, target="y", with_target=True)


def test_an_unknown_task():
    with pytest.raises(DataError, match="'sorting': expected one of 'auto', 'classification'"):
        load("moons", task="sorting")


def test_tables_need_no_scikit_learn(csv, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert load(csv("a,b,y\n" + "1,u,0\n2,v,1\n" * 5), target="y").x_train.shape == (8, 3)


@pytest.mark.parametrize("source", [load, parquet_batches])
def test_without_polars_there_is_one_message(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    path = tmp_path / "x.parquet"
    path.touch()
    with pytest.raises(
        DataError, match=r"needs polars.*pip install 'anyback-nn\[tabular\]'$"
    ) as caught:
        source(path, target="y")
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    assert shown.count("needs polars") == 1

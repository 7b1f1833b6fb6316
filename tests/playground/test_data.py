"""A table of the reader's, of which the page needs two columns and two classes."""

from __future__ import annotations

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.playground import load_plane
from anyback_nn.playground.data import MAX_ROWS


def write_table(path, n_rows=60):
    random = np.random.default_rng(0)
    numbers = random.normal((0, 5), (1, 9), (n_rows, 2))
    rows = [
        f"{a:.4f},{b:.2f},{'red' if i % 3 else 'blue'},{i % 4},u{i % 2}"
        for i, (a, b) in enumerate(numbers)
    ]
    path.write_text("\n".join(["a,b,colour,four,text", *rows]), encoding="utf-8")
    return path


def test_a_table_becomes_points(tmp_path):
    path = write_table(tmp_path / "table.csv")
    data = load_plane(path, target="colour", features=["a", "b"])
    assert (data.name, data.columns, data.classes) == ("table", ("a", "b"), ("blue", "red"))
    assert data.n_train == 42
    raw = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1))
    # Standardised by the training part, whose rows are some of the file.
    np.testing.assert_allclose(data.x[:42].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.x[:42].std(axis=0), 1, rtol=1e-5)
    order = np.argsort(data.x[:, 0])
    np.testing.assert_allclose(
        np.corrcoef(data.x[order, 0], np.sort(raw[:, 0]))[0, 1], 1.0, rtol=1e-6
    )
    assert np.bincount(data.y).tolist() == [20, 40]


def test_of_many_rows_there_are_as_many_as_can_be_drawn(tmp_path):
    data = load_plane(write_table(tmp_path / "t.csv", 3000), target="colour", features=["a", "b"])
    assert (len(data.x), data.n_train) == (MAX_ROWS + MAX_ROWS // 2, MAX_ROWS)
    assert "the page has 1,500 of the rows" in data.notes[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "colour", "features": "a"},
            r"t\.csv has the column 'a' alone: expected a table with two columns of numbers$",
        ),
        ({"target": "colour"}, "choose them with features"),
        ({"target": "colour", "features": ["a", "text"]}, "numbers, of which neither is a date or"),
        ({"target": "four", "features": ["a", "b"]}, "has 4 classes: expected a target of two"),
        ({"target": "a", "features": ["b", "four"]}, "has a continuous target: expected"),
    ],
    ids=["one", "all", "strings", "four", "continuous"],
)
def test_other_tables_are_refused(tmp_path, options, message):
    with pytest.raises(nn.errors.DataError, match=message):
        load_plane(write_table(tmp_path / "t.csv"), **options)


def test_why_a_column_is_missing_is_said(tmp_path):
    rows = "".join(f"3,{i % 7},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,kind\n{rows}", encoding="utf-8")
    with pytest.raises(nn.errors.DataError, match="'b' alone.*; left out, because constant.*'a'"):
        load_plane(tmp_path / "t.csv", target="kind")


def test_other_built_in_data_are_refused():
    with pytest.raises(nn.errors.DataError, match="digits has 64 features"):
        load_plane("digits")

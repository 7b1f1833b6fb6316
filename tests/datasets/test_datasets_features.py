"""Encodings of tables: the oracles are scikit-learn's own transformers, to the last bit."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from anyback_nn.datasets.columns import as_strings
from anyback_nn.datasets.features import MISSING, Columns, NumericColumn, fit_columns
from anyback_nn.errors import DataError


def numbers(rng, n_rows):
    """A column of numbers: large or small, constant or nearly so, with or without gaps."""
    kinds = [
        rng.normal(rng.choice([0.0, 1e6, -3e30]), rng.choice([1e-30, 1.0, 1e37]), n_rows),
        np.full(n_rows, rng.choice([0.1, -3e38, 7.0])),
        0.3 * (1 + 2**-52 * (np.arange(n_rows) == 1)),
        rng.integers(-3, 4, n_rows).astype(float),
    ]
    column = kinds[rng.choice(4, p=[0.6, 0.1, 0.1, 0.2])]
    column[rng.random(n_rows) < rng.choice([0.0, 0.1, 0.9])] = np.nan
    column[-1] = 1.5  # or it would have no value
    return column


@pytest.mark.parametrize("seed", range(40))
def test_numbers_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns = rng.choice([2, 9, 200, 3000]), rng.choice([1, 2, 5, 9])
    table = {f"x{i}": numbers(rng, n_rows) for i in range(n_columns)}
    columns, _ = fit_columns(table, keep_all=True)
    raw = np.column_stack(list(table.values()))
    oracle = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(raw)
    assert [c.median for c in columns.numbers] == oracle[0].statistics_.tolist()
    assert [c.mean for c in columns.numbers] == oracle[1].mean_.tolist()
    assert [c.scale for c in columns.numbers] == oracle[1].scale_.tolist()
    expected = oracle.transform(raw).astype(np.float32)
    np.testing.assert_array_equal(columns.encode(table).view("u4"), expected.view("u4"))


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("new_gaps", [0.0, 0.2])
def test_categories_are_those_of_scikit_learn(gaps, new_gaps):
    rng = np.random.default_rng(0)

    def draw(towns, share):
        column = rng.choice(np.array(towns, dtype=object), 60)
        column[rng.random(60) < share] = None
        return column

    train, new = draw(["Ulm", "Bern", "Zürich", "日本"], gaps), draw(["Ulm", "Rome"], new_gaps)
    oracle = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value=MISSING),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    ).fit(train[:, None])
    columns, _ = fit_columns({"town": as_strings(train)})
    assert list(columns.categories[0].values) == oracle[1].categories_[0].tolist()
    for column in (train, new):
        expected = oracle.transform(column[:, None])
        np.testing.assert_array_equal(columns.encode({"town": column}), expected)


def test_rows_that_were_taken_have_the_categories_that_are_in_them():
    towns = as_strings(np.array(["Ulm", "Bern", None, "Ulm"], dtype=object))
    columns, notes = fit_columns({"town": towns[np.array([0, 3])]})
    assert columns.categories[0].values == ("Ulm",)
    assert notes == ("constant in the training part, which teaches nothing: 'town'",)


def test_gaps_that_training_had_not_are_unknown_categories():
    columns, _ = fit_columns({"town": as_strings(np.array(["Ulm", "Bern"]))})
    table = {"town": as_strings(np.array(["Ulm", None, "Oslo"], dtype=object))}
    assert columns.encode(table).tolist() == [[0, 1], [0, 0], [0, 0]]
    assert columns.notes(table) == (
        "categories not seen in training, treated as none of the known ones: 2 rows in 'town' "
        "('(missing)', 'Oslo')",
    )


def test_a_number_that_is_beyond_float32_when_standardised_is_named():
    columns = Columns((NumericColumn("a", 0.0, 0.0, 1.0), NumericColumn("b", 0.0, 2.0, 1e-9)), ())
    table = {"a": np.array([1.0, 2.0]), "b": np.array([2.0, 1e38])}
    with pytest.raises(DataError, match=r"row 2, column 'b': the value 1e\+38 is too far from .*2"):
        columns.encode(table)

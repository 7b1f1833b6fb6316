"""NPZ files: bytes, other numbers, both layouts, and what cannot be used."""

import numpy as np
import pytest
import sklearn.datasets
from sklearn.preprocessing import StandardScaler

from anyback_nn.datasets import encoding_from_json, load, load_digits, read
from anyback_nn.errors import DataError

X = np.random.default_rng(0).normal([1, 20, -300], [1, 5, 100], (40, 3))
Y = np.arange(40) % 4


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


def test_the_layout_of_mnist(save):
    images = np.random.default_rng(1).integers(0, 256, (9, 2, 3), dtype=np.uint8)
    y = np.array([5, 0, 4, 5, 0, 4, 5], dtype=np.uint8)
    path = save(x_train=images[:7], y_train=y, x_test=images[7:], y_test=y[:2])
    data = load(path)
    assert data.encoding.classes == ("0", "4", "5")
    np.testing.assert_array_equal(
        data.x_train, images[:7].reshape(7, 6).astype(np.float32) / np.float32(255)
    )
    assert data.y_train.tolist() == [2, 0, 1, 2, 0, 1, 2]
    rows = read(path, data.encoding, with_target=True)
    np.testing.assert_array_equal(rows.x, data.x_test)
    assert rows.y.tolist() == [2, 0]


@pytest.mark.parametrize("name", ["x", "X"])
def test_other_numbers_are_standardised_by_the_training_part(save, name):
    path = save(**{name: X, "y": Y})
    data = load(path, seed=2)
    assert (len(data.x_train), len(data.x_test)) == (32, 8)
    assert np.bincount(data.y_test).tolist() == [2, 2, 2, 2]
    whole = read(path, data.encoding, with_target=True)
    # The oracle: scikit-learn on the rows that were drawn for training, found by their values.
    train = [int(np.flatnonzero((whole.x == row).all(axis=1))[0]) for row in data.x_train]
    expected = StandardScaler().fit(X[train]).transform(X).astype(np.float32)
    np.testing.assert_array_equal(whole.x, expected)
    np.testing.assert_array_equal(whole.y, Y)
    np.testing.assert_array_equal(whole.y[train], data.y_train)


def test_regression_target(save):
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    path = save(x=x, y=y[:, None] + 0.5)
    data = load(path)
    assert data.task == "regression"
    assert data.y_train.dtype == np.float32
    assert data.y_train.mean() == pytest.approx(0, abs=1e-6)
    assert data.y_train.std() == pytest.approx(1, rel=1e-6)
    rows = read(path, data.encoding, with_target=True)
    np.testing.assert_allclose(data.encoding.decode(rows.y), y + 0.5, rtol=1e-5)


def test_bytes_can_have_a_continuous_target(save):
    data = load(save(x=X.astype(np.uint8), y=X[:, 0]))
    assert data.encoding.features.scale == 255
    assert data.task == "regression"
    assert encoding_from_json(data.encoding.to_json()) == data.encoding


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["no", "yes"])[Y % 2], ("no", "yes")),
        (Y % 2 == 1, ("false", "true")),
        (Y * 10 - 10.0, ("-10", "0", "10", "20")),
    ],
)
def test_targets_that_are_classes(save, y, classes):
    assert load(save(x=X, y=y)).encoding.classes == classes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": X, "labels": Y}, "arrays 'data', 'labels': expected x_train, y_train"),
        ({"x": X}, "no array 'y', but 'x'"),
        ({"y": Y}, "no array 'x', but 'y'"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "no array 'y_test'"),
        ({"x": X, "y": Y[:-1]}, "'x' has 40 rows and 'y' has 39"),
        ({"x": X[:, 0], "y": Y}, r"float64 values of the shape \(40,\): expected numbers of the"),
        ({"x": X.astype(str), "y": Y}, "holds <U.*expected numbers"),
        ({"x": X, "y": X}, r"'y' has the shape \(40, 3\): expected one value a row"),
        ({"x": X, "y": Y.astype("M8[D]")}, "'y' holds datetime64"),
        ({"x": X, "y": np.where(Y == 3, np.nan, Y)}, "missing in 10 rows, first in row 4"),
        ({"x": np.where(X > 25, np.inf, X), "y": Y}, "row .*column 'x1': the value inf"),
        ({"x": np.where([1, 1, np.nan], X, np.nan) * [1, 1, np.nan], "y": Y}, "1 column, 'x2'"),
        ({"x": X, "y": Y * 0}, "one class only, '0'"),
        ({"x": X, "y": Y * 0 + 0.5}, "standard deviation is 0.0"),
        (
            {"x": X, "y": np.arange(40).astype(str)},
            "40 rows cannot be divided: they have 40 labels",
        ),
        ({"x": np.array([{}, {}]), "y": Y}, "cannot be read as an .npz file"),
    ],
)
def test_arrays_that_cannot_be_used(save, arrays, message):
    with pytest.raises(DataError, match=f"data.npz: .*{message}"):
        load(save(**arrays))


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", "an array"])
def test_what_is_no_npz_file(tmp_path, content):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, X) if content == "an array" else file.write(content)
    with pytest.raises(DataError, match=r"a.npz: cannot be read as an .npz file"):
        load(tmp_path / "a.npz")


def test_strings_are_no_continuous_target(save):
    regression = load(save(x=X, y=X[:, 0])).encoding
    path = save(x=X, y=np.array(["no", "yes"])[Y % 2])
    message = "row 1: the target is the string 'no': expected numbers"
    with pytest.raises(DataError, match=message):
        load(path, task="regression")
    with pytest.raises(DataError, match=message):
        read(path, regression, with_target=True)


def test_reading_checks_the_features(save):
    encoding = load(save(x=X, y=Y)).encoding
    with pytest.raises(DataError, match="rows have 2 features each: expected 3"):
        read(save(x=X[:, :2]), encoding, with_target=False)
    with pytest.raises(DataError, match="no array 'y'"):
        read(save(x=X), encoding, with_target=True)
    with pytest.raises(DataError, match=r"row 3: the label '9' .* expected '0', '1', '2', '3'"):
        read(save(x=X, y=np.where(np.arange(40) == 2, 9, Y)), encoding, with_target=True)
    far = np.where(np.arange(40)[:, None] == 4, 1e38, X)
    tiny = load(save(x=X * 1e-9, y=Y)).encoding
    with pytest.raises(DataError, match="row 5, column 'x0': the value 1e\\+38 is too far"):
        read(save(x=far), tiny, with_target=False)


def test_bytes_are_not_scaled_twice(save):
    digits = load_digits()
    raw = sklearn.datasets.load_digits(return_X_y=True)[0]  # integers, as float64
    rows = read(save(x=raw), digits.encoding, with_target=False)
    np.testing.assert_array_equal(rows.x, (raw / 16).astype(np.float32))
    with pytest.raises(DataError, match="expected integers from 0 to 16"):
        read(save(x=raw / 16), digits.encoding, with_target=False)
    raw[2, 5] = np.nan
    with pytest.raises(DataError, match="row 3, feature 6: the value is nan"):
        read(save(x=raw), digits.encoding, with_target=False)


def test_constant_features_are_noted(save):
    data = load(save(x=np.column_stack([X, np.full(40, 7.0)]), y=Y))
    assert (data.x_train[:, 3] == 0).all()
    assert any("constant in the training part" in note and "'x3'" in note for note in data.notes)

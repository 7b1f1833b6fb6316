"""The embedded digits are those of scikit-learn, and need no scikit-learn."""

import subprocess
import sys

import numpy as np
import sklearn.datasets

from anyback_nn.datasets import load, load_digits


def rows(x, y):
    return sorted(np.column_stack([x, y]).astype(int).tolist())


def test_content_is_that_of_the_origin():
    data = load_digits()
    x = np.concatenate([data.x_train, data.x_test]) * 16
    y = np.concatenate([data.y_train, data.y_test])
    assert (x == x.round()).all()
    assert rows(x, y) == rows(*sklearn.datasets.load_digits(return_X_y=True))


def test_parts():
    data = load("digits", seed=5, test_fraction=0.5)  # the split is fixed
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64
    assert data.encoding.classes == tuple("0123456789")
    assert data.encoding.features.scale == 16
    assert set(np.bincount(data.y_test).tolist()) <= {35, 36, 37}
    assert data.y_test[:10].tolist() == load_digits().y_test[:10].tolist()


def test_the_digit_can_be_a_quantity():
    data = load("digits", task="regression")
    assert data.task == "regression"
    assert data.encoding.classes is None
    np.testing.assert_allclose(data.encoding.decode(data.y_test), load_digits().y_test, atol=1e-6)


def test_import_and_digits_need_numpy_only():
    code = (
        "import sys\n"
        "from anyback_nn.datasets import load\n"
        "load('digits'); load('moons')\n"
        "print([m for m in ('polars', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"

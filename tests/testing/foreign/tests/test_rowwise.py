"""The library on every backend that pytest is told of."""

import pytest
import rowwise
from numpy.testing import assert_allclose

from anyback_nn.array_api import to_numpy

X = [[1.0, 2.0, 6.0], [4.0, 4.0, 4.0], [0.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def x(xp, device):
    return xp.asarray(X, dtype=xp.float32, device=device)


def test_standardise(x, backend, no_host_reads):
    y = backend.jit(rowwise.standardise)(x)
    assert no_host_reads.count == 0
    expected = [[-2 / 14**0.5, -1 / 14**0.5, 3 / 14**0.5], [0, 0, 0], [0, 0, 0]]
    assert_allclose(to_numpy(y), [[3**0.5 * one for one in row] for row in expected], rtol=1e-6)


@pytest.mark.xfail_backends("numpy:readonly", "jax", reason="arrays cannot be written to")
def test_standardise_in_place(backend):
    x = backend.asarray(X, "float32")
    assert rowwise.standardise(x, out=x) is x


class TestSquaredDistances:
    @pytest.mark.parametrize("n", [0, 1, 3])
    def test_of_rows_to_themselves(self, xp, x, n, no_host_reads):
        distances = rowwise.squared_distances(x[:n, :], x)
        assert distances.shape == (n, 3)
        zeros = xp.zeros_like(distances)
        assert to_numpy(xp.all(distances >= zeros))

    @pytest.mark.xfail_backends("array-api-strict:no_float64", reason="it has no float64")
    def test_of_close_rows(self, backend):
        with backend.scope("float64"):
            x = backend.asarray([[1e4]], "float64")
            close = rowwise.squared_distances(x, x + 1e-4)
            assert_allclose(to_numpy(close), [[1e-8]], rtol=1e-6)


@pytest.mark.skip_backends("array-api-strict:strictest", reason="boolean indexing is optional")
def test_without_empty(x, xp):
    assert to_numpy(rowwise.without_empty(x)).tolist() == X[:2]
    assert rowwise.without_empty(xp.zeros_like(x)).shape == (0, 3)


def test_the_library_needs_no_backend():
    assert rowwise.__doc__

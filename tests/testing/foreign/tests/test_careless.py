"""Tests that pass with NumPy, of code that nobody can use on a GPU."""

from rowwise import careless

from anyback_nn.array_api import to_numpy


def test_medians(backend, no_host_reads):
    x = backend.asarray([[1.0, 2.0, 6.0], [5.0, 3.0, 4.0]], "float32")
    assert to_numpy(backend.jit(careless.medians)(x)).tolist() == [2.0, 4.0]


def test_within_unit(backend, no_host_reads):
    x = backend.asarray([[-4.0, 2.0]], "float32")
    assert to_numpy(backend.jit(careless.within_unit)(x)).tolist() == [[-2.0, 1.0]]

"""Shapes: the oracles are scikit-learn's own and the formulas of the docstrings."""

import numpy as np
import pytest
import sklearn.datasets

from anyback_nn.datasets import (
    make_blobs,
    make_circles,
    make_moons,
    make_spirals,
    make_xor,
)
from anyback_nn.errors import DataError

MAKERS = [make_xor, make_circles, make_moons, make_spirals, make_blobs]


def same_points(found, expected):
    """Compare two sets of labelled points, whatever their order."""
    found, expected = np.column_stack(found), np.column_stack(expected)
    distance = np.abs(found[:, None] - expected).max(axis=2)
    return (
        sorted(distance.argmin(axis=1)) == list(range(len(found))) and distance.min(1).max() < 1e-6
    )


@pytest.mark.parametrize("make", MAKERS)
def test_seed_and_types(make):
    x, y = make(101, seed=3)
    assert x.shape == (101, 2)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    again = make(101, seed=3)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(y, again[1])
    assert not np.array_equal(x, make(101, seed=4)[0])


@pytest.mark.parametrize("make", MAKERS)
def test_noise_is_the_standard_deviation(make):
    clean, y = make(4000, noise=0.0)
    noisy, same = make(4000, noise=0.3)
    np.testing.assert_array_equal(y, same)
    assert (noisy - clean).std() == pytest.approx(0.3, rel=0.03)


def test_moons_and_circles_are_those_of_scikit_learn():
    assert same_points(make_moons(200, noise=0.0), sklearn.datasets.make_moons(200))
    assert same_points(make_circles(200, noise=0.0), sklearn.datasets.make_circles(200, factor=0.5))


def test_xor_is_the_exclusive_or_of_the_signs():
    x, y = make_xor(500, noise=0.0)
    assert ((x[:, 0] * x[:, 1] < 0) == y).all()
    assert 200 < y.sum() < 300


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_arms_of_spirals_are_turned_copies(n_classes):
    x, y = make_spirals(100 * n_classes, n_classes=n_classes, noise=0.0)
    first = x[y == 0]
    angle = 2 * np.pi / n_classes
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert same_points((first @ turn, np.ones(100)), (x[y == 1], np.ones(100)))
    assert np.hypot(*first.T).min() == pytest.approx(0.1)
    assert np.hypot(*first.T).max() == pytest.approx(1.0)


def test_blobs_stand_around_their_centres():
    x, y = make_blobs(8000, n_classes=4, noise=0.5)
    centres = np.array([x[y == k].mean(axis=0) for k in range(4)])
    np.testing.assert_allclose(centres, [[2, 0], [0, 2], [-2, 0], [0, -2]], atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_xor(1), "n_samples is 1: expected at least one of each 2"),
        (lambda: make_moons(noise=-0.1), "noise is -0.1"),
        (lambda: make_moons(noise=float("nan")), "noise is nan"),
        (lambda: make_blobs(n_classes=1), "n_classes is 1: expected at least 2"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(DataError, match=message):
        call()

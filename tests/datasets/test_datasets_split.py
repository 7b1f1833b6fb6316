"""The split into a training and a test part."""

import numpy as np
import pytest

from anyback_nn.datasets.split import split_rows
from anyback_nn.errors import DataError


def test_split_keeps_every_class_in_both_parts():
    groups = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    train, test = split_rows(63, test_fraction=0.2, seed=0, groups=groups)
    assert np.bincount(groups[test], minlength=4).tolist() == [10, 2, 1, 0]
    assert sorted([*train, *test]) == list(range(63))
    assert train.tolist() != sorted(train)
    again = split_rows(63, test_fraction=0.2, seed=0, groups=groups)
    np.testing.assert_array_equal(train, again[0])
    other = split_rows(63, test_fraction=0.2, seed=1, groups=groups)
    assert set(test) != set(other[1])


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_too_few_rows_to_split(n_rows):
    with pytest.raises(DataError, match=f"{n_rows} rows? cannot be divided"):
        split_rows(n_rows, test_fraction=0.5, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(DataError, match=r"test_fraction is .*: expected a number between 0 and 1"):
        split_rows(10, test_fraction=fraction, seed=0)

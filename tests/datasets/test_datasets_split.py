"""The split into a training and a test part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyback_nn.datasets.split import Blocks, split_rows
from anyback_nn.errors import DataError


def test_split_keeps_every_class_in_both_parts():
    classes = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    train, test = split_rows(63, test_fraction=0.2, seed=0, classes=classes)
    assert np.bincount(classes[test], minlength=4).tolist() == [10, 2, 1, 0]
    assert sorted([*train, *test]) == list(range(63))
    assert train.tolist() != sorted(train)
    again = split_rows(63, test_fraction=0.2, seed=0, classes=classes)
    np.testing.assert_array_equal(train, again[0])
    other = split_rows(63, test_fraction=0.2, seed=1, classes=classes)
    assert set(test) != set(other[1])


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_too_few_rows_to_split(n_rows):
    with pytest.raises(DataError, match=f"{n_rows} rows? cannot be divided"):
        split_rows(n_rows, test_fraction=0.5, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(
        DataError, match=r"test_fraction \(.*\) is .*: expected a number between 0 and 1"
    ):
        split_rows(10, test_fraction=fraction, seed=0)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=40),
    n_classes=st.integers(1, 3),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 5),
)
def test_rows_of_a_group_stay_together(sizes, n_classes, fraction, seed):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.default_rng(seed)
    codes = random.permutation(codes)
    # Every group has every class, so that any group may be tested.
    codes = np.tile(codes, n_classes)
    classes = np.repeat(np.arange(n_classes), sum(sizes))
    train, test = split_rows(
        len(codes), test_fraction=fraction, seed=seed, classes=classes, blocks=Blocks(codes)
    )
    assert not set(codes[train]) & set(codes[test])
    assert sorted([*train, *test]) == list(range(len(codes)))
    assert set(classes[train]) == set(classes)
    assert abs(len(test) - fraction * len(codes)) <= max(sizes) * n_classes


def test_a_class_of_one_group_stays_in_training():
    groups, classes = np.arange(40) // 4, np.zeros(40, dtype=int)
    classes[:4] = 1
    for seed in range(10):
        train, test = split_rows(
            40, test_fraction=0.4, seed=seed, classes=classes, blocks=Blocks(groups)
        )
        assert len(test) == 16
        assert set(range(4)) <= set(train)


def test_groups_that_cannot_be_divided():
    classes = np.repeat([0, 1], 5)
    with pytest.raises(DataError, match="each group has all rows of some class"):
        split_rows(10, test_fraction=0.5, seed=0, classes=classes, blocks=Blocks(classes))
    for in_order, word in (False, "group"), (True, "time"):
        blocks = Blocks(np.zeros(10, dtype=int), in_order)
        with pytest.raises(
            DataError, match=f"all rows have the same {word}: expected at least two"
        ):
            split_rows(10, test_fraction=0.5, seed=0, blocks=blocks)


@given(
    times=st.lists(st.integers(0, 30), min_size=6, max_size=60).filter(lambda t: len(set(t)) > 2),
    fraction=st.floats(0.05, 0.6),
)
def test_the_last_times_are_tested(times, fraction):
    codes = np.unique(times, return_inverse=True)[1]
    largest = int(np.bincount(codes).max())
    train, test = split_rows(
        len(codes), test_fraction=fraction, seed=0, blocks=Blocks(codes, in_order=True)
    )
    assert codes[train].max() < codes[test].min()
    assert sorted([*train, *test]) == list(range(len(codes)))
    assert abs(len(test) - fraction * len(codes)) <= largest


def test_one_large_group_is_trained_with():
    groups = np.repeat([0, 1], [90, 10])
    for seed in range(5):
        _, test = split_rows(100, test_fraction=0.2, seed=seed, blocks=Blocks(groups))
        assert set(groups[test]) == {1}


def test_blocks_of_some_rows_are_numbered_again():
    blocks = Blocks(np.array([0, 3, 1, 3]), in_order=True)[np.array([1, 2, 3])]
    assert (blocks.codes.tolist(), blocks.in_order) == ([1, 0, 1], True)

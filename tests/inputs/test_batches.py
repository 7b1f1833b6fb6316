"""Batches: every row once an epoch, rows kept together, and checks of what users pass."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.inputs import batches, checks
from anyback_nn.inputs.batches import ArraySource, array_source, split
from anyback_nn.inputs.checks import Samples
from anyback_nn.inputs.sample_weights import (
    compute_class_weights,
    compute_training_weights,
    scale_to_mean_one,
)

N = 23


def rows(n=N):
    """Return rows whose values are their numbers, so that any mix-up shows."""
    x = np.arange(n, dtype=np.float64)[:, None] * np.asarray([1.0, 10.0])
    return x, np.arange(n), np.arange(n) + 0.5


def source(backend, arrays, **options):
    return array_source(Samples(*arrays), backend, "float32", **options)


def numbers(source, epoch):
    """Return the row numbers of each batch; assert that x, y and weights belong together."""
    batches = []
    for batch in source.epoch(epoch):
        x, y, weights = (to_numpy(a) for a in batch)
        np.testing.assert_array_equal(x[:, 0], y)
        np.testing.assert_array_equal(x[:, 1], 10 * x[:, 0])
        np.testing.assert_array_equal(weights, y + 0.5)
        batches.append(y.tolist())
    return batches


def rows_of(batches):
    return [row for batch in batches for row in batch]


def test_an_epoch_has_every_row_once_and_uses_the_last_partial_batch(backend):
    batches = numbers(source(backend, rows(), batch_size=5, shuffle=True), 0)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(rows_of(batches)) == list(range(N))


def test_the_order_is_new_in_each_epoch_and_fixed_by_the_seed(backend):
    first, again, other = (
        source(backend, rows(), batch_size=5, shuffle=True, seed=seed) for seed in (1, 1, 2)
    )
    assert numbers(first, 0) == numbers(again, 0)
    assert numbers(first, 0) != numbers(first, 1)
    assert numbers(first, 0) != numbers(other, 0)
    assert rows_of(numbers(first, 0)) != list(range(N))


def test_the_order_is_that_of_numpy_on_every_backend(backend):
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    reference = source(nn.select("numpy"), rows(), **options)
    assert numbers(source(backend, rows(), **options), 2) == numbers(reference, 2)


def test_without_shuffling_rows_come_in_order(backend):
    assert rows_of(numbers(source(backend, rows(), batch_size=4), 5)) == list(range(N))


@pytest.mark.parametrize("size", [None, N, 10 * N])
def test_one_batch_of_everything(backend, size):
    whole = source(backend, rows(), batch_size=size)
    assert (whole.n_batches, len(numbers(whole, 0))) == (1, 1)


def test_a_memory_map_gives_the_same_batches_and_stays_on_disk(backend, tmp_path):
    x, y, weights = rows()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    on_disk = source(backend, (mapped, y, weights), **options)
    assert isinstance(on_disk.rows.x, np.memmap)
    assert numbers(on_disk, 1) == numbers(source(backend, (x, y, weights), **options), 1)


def test_inputs_and_real_targets_get_the_dtype_and_class_indices_stay_integers(backend):
    x, y, weights = rows()
    batch = next(iter(source(backend, (x.astype(np.int16), y, weights)).epoch(0)))
    assert to_numpy(batch.x).dtype == np.float32
    assert to_numpy(batch.weights).dtype == np.float32
    assert to_numpy(batch.y).dtype.kind == "i"


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.ones(3), nn.ShapeError, r"got \(3,\): use x\[:, None\]"),
        (np.ones((2, 3, 3)), nn.ShapeError, r"reshape\(len\(x\), -1\)"),
        (np.ones((0, 3)), nn.DataError, "at least one sample"),
        (np.ones((3, 0)), nn.DataError, "and one feature"),
        (scipy.sparse.eye(3).tocsr(), nn.DataError, r"sparse one: pass x.toarray\(\)"),
        (np.ones((2, 4)), nn.ShapeError, "takes 3 features, got inputs with 4"),
        (np.asarray([["a", "b", "c"]]), nn.DataError, "numeric inputs, got dtype <U1"),
        (np.asarray([[1, None, 2]]), nn.DataError, "numeric inputs, got dtype object"),
        ([[1, 2, 3], [1, np.nan, 3]], nn.DataError, "in 1 of 2 rows, first in row 1"),
        ([[1, 2, 3], [1, 2, np.inf]], nn.DataError, "NaN or infinite"),
    ],
)
def test_inputs_are_checked(x, error, text):
    with pytest.raises(error, match=text):
        checks.check_inputs(x, 3)


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        (np.ones(3), nn.ShapeError, r"shape \(4,\), got \(3,\)"),
        (np.ones((4, 1)), nn.ShapeError, r"got \(4, 1\)"),
        (-np.ones(4), nn.DataError, "0 or greater"),
        ([1, 1, 1, np.nan], nn.DataError, "finite"),
        (list("abcd"), nn.DataError, "numeric"),
    ],
)
def test_sample_weights_are_checked(weights, error, text):
    with pytest.raises(error, match=text):
        checks.check_weights(weights, 4)


def test_rows_that_are_held_out_have_no_part_in_the_weights():
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.asarray([0, 0, 1, 0, 1, 1, 1])
    train = np.asarray([0, 1, 3, 4])
    batch = Samples(np.zeros((7, 1)), y)
    ours = compute_training_weights(batch, "balanced", nn.SoftmaxCrossEntropy(), train)
    expected = np.zeros(7)
    expected[train] = compute_sample_weight("balanced", y[train])  # whose mean is 1
    np.testing.assert_allclose(ours, expected)


def test_class_weights_by_class_default_to_one():
    assert compute_class_weights(np.asarray([0, 1, 2]), {1: 5.0}).tolist() == [1, 5, 1]
    with pytest.raises(nn.DataError, match=r"no sample has: \[7\]"):
        compute_class_weights(np.asarray([0, 1]), {7: 2.0})
    with pytest.raises(ValueError, match="'balanced' or a mapping, got 'even'"):
        compute_class_weights(np.asarray([0, 1]), "even")


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_only_the_proportions_of_weights_count(size):
    np.testing.assert_allclose(
        scale_to_mean_one(size * np.asarray([1.0, 3.0, 0.0, 4.0])), [0.5, 1.5, 0, 2]
    )


def test_a_split_is_a_partition_drawn_by_the_seed():
    train, validation = split(100, 0.25, seed=0)
    assert len(validation) == 25
    assert sorted([*train, *validation]) == list(range(100))
    assert validation.tolist() == split(100, 0.25, seed=0)[1].tolist()
    assert validation.tolist() != split(100, 0.25, seed=1)[1].tolist()
    for fraction in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            split(10, fraction, 0)
    with pytest.raises(nn.DataError, match="leaves one part empty"):
        split(2, 0.1, 0)


# Blocks of batches -------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 12, 30, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_that_are_cut_from_blocks_are_the_same(backend, most, shuffle, monkeypatch):
    x, y = np.arange(22.0).reshape(11, 2), np.arange(11)
    rows = Samples(backend.asarray(x, "float32"), backend.asarray(y, "int32"))
    options = {"batch_size": 3, "shuffle": shuffle, "seed": 5}
    blocks = []

    def move_block(block):
        blocks.append(block)
        return block

    monkeypatch.setattr(batches, "BLOCK", most)
    source = ArraySource(rows, move_block, **options)
    cut = [tuple(map(to_numpy, batch[:2])) for batch in source.epoch(0)]
    # A batch has 6 numbers, so that 12 hold two batches, and 30 all of them.
    assert len(blocks) == {1: 4, 12: 2, 30: 1, 1000: 1}[most]
    assert [len(x_cut) for x_cut, _ in cut] == [3, 3, 3, 2]
    whole = ArraySource(rows, lambda batch: batch, in_blocks=False, **options)
    for (x_cut, y_cut), batch in zip(cut, whole.epoch(0), strict=True):
        np.testing.assert_array_equal(x_cut, to_numpy(batch.x))
        np.testing.assert_array_equal(y_cut, to_numpy(batch.y))
    order = [number for _, y_cut in cut for number in y_cut]
    assert sorted(order) == list(range(11))
    assert (order == list(range(11))) == (not shuffle)

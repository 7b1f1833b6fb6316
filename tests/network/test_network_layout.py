"""Parameters as a tree and packed: there and back, and what each name stands for."""

import numpy as np
import pytest

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.network.activations import ReLU
from anyback_nn.network.layers import BatchNorm, Dense, Dropout
from anyback_nn.network.layout import Layout
from anyback_nn.network.network import Network, Residual
from anyback_nn.random import Random, generator
from anyback_nn.tree import tree_leaves, tree_map, tree_named_leaves

NETWORK = Network(Dense(3), BatchNorm(), ReLU(), Residual(Dense(4), Dense(3)), Dense(2, bias=False))
NAMES = [
    "0.weight",
    "0.bias",
    "1.scale",
    "1.shift",
    "3.0.weight",
    "3.0.bias",
    "3.1.weight",
    "3.1.bias",
    "4.weight",
]
SIZES = [4 * 3, 3, 3, 3, 3 * 4, 4, 4 * 3, 3, 3 * 2]
both = pytest.mark.parametrize("packed", [True, False])


def parameters(backend, dtype="float32"):
    params = NETWORK.init(4, Random(generator(0, "weights"), backend, dtype))
    rng = np.random.default_rng(0)
    return tree_map(lambda x: backend.asarray(rng.normal(size=tuple(x.shape)), dtype), params)


@both
def test_there_and_back(packed, backend, dtype):
    params = parameters(backend, dtype)
    layout = Layout.of(params, packed)
    storage = layout.pack(params)
    assert [array.ndim for array in storage] == ([1] if packed else [2, 1, 1, 1, 2, 1, 2, 1, 2])
    assert sum(to_numpy(array).size for array in storage) == layout.size == sum(SIZES)
    restored = layout.unpack(storage)
    assert list(tree_named_leaves(restored)) == NAMES
    for name, array in tree_named_leaves(params).items():
        np.testing.assert_array_equal(to_numpy(tree_named_leaves(restored)[name]), to_numpy(array))
        assert tree_named_leaves(restored)[name].dtype == array.dtype


@both
def test_leaves_say_where_everything_is(packed, backend):
    params = parameters(backend)
    layout = Layout.of(params, packed)
    assert [leaf.name for leaf in layout.leaves] == NAMES == list(tree_named_leaves(params))
    assert [leaf.index for leaf in layout.leaves] == list(range(9))
    assert [leaf.stop - leaf.start for leaf in layout.leaves] == SIZES
    storage = layout.pack(params)
    for leaf, array in zip(layout.leaves, tree_leaves(params), strict=True):
        part = storage[0][leaf.start : leaf.stop] if packed else storage[leaf.index]
        np.testing.assert_array_equal(to_numpy(part).reshape(leaf.shape), to_numpy(array))


@both
def test_the_order_of_the_names_does_not_matter(packed, backend):
    """A layer may list its gradients as it likes, and compiled functions sort names."""
    params = parameters(backend)
    layout = Layout.of(params, packed)

    def reverse(tree):
        if isinstance(tree, dict):
            return dict(reversed(tree.items()))
        return tuple(reverse(branch) for branch in tree)

    for array, expected in zip(layout.pack(reverse(params)), layout.pack(params), strict=True):
        np.testing.assert_array_equal(to_numpy(array), to_numpy(expected))


@both
def test_mask_marks_the_weights(packed, backend, dtype):
    params = parameters(backend, dtype)
    layout = Layout.of(params, packed)
    storage = layout.pack(params)
    marks = layout.penalty_mask(storage)
    expected = [1.0 if name.endswith("weight") else 0.0 for name in NAMES]
    if packed:
        assert marks[0].dtype == storage[0].dtype
        np.testing.assert_array_equal(to_numpy(marks[0]), np.repeat(expected, SIZES))
    else:
        assert list(marks) == expected
    everything = layout.penalty_mask(storage, everything=True)
    assert all(np.all(to_numpy(mark) == 1.0) for mark in everything)
    assert len(everything) == len(storage)


@both
def test_networks_without_parameters(packed):
    params = Network(ReLU(), Dropout(0.5)).init(3, None)
    layout = Layout.of(params, packed)
    assert params == layout.unpack(()) == ({}, {})
    assert layout.pack(params) == layout.penalty_mask(()) == layout.leaves == ()
    assert layout.size == 0


def test_packed_arrays_are_views_of_the_vector():
    params = parameters(select("numpy"))
    layout = Layout.of(params, packed=True)
    storage = layout.pack(params)
    restored = tree_named_leaves(layout.unpack(storage))
    storage[0][...] = np.arange(layout.size)
    for leaf in layout.leaves:
        expected = np.arange(leaf.start, leaf.stop).reshape(leaf.shape)
        np.testing.assert_array_equal(restored[leaf.name], expected)
    assert not any(np.shares_memory(array, storage[0]) for array in tree_leaves(params))


def test_packing_copies_a_single_array_too():
    params = Network(Dense(2, bias=False)).init(
        3, Random(generator(0, "weights"), select("numpy"), "float32")
    )
    (vector,) = Layout.of(params, packed=True).pack(params)
    assert not np.shares_memory(vector, params[0]["weight"])


def test_penalized_parameters():
    names = {"weight": True, "weights": False, "fastweight": False, "my.weight": True}
    params = (dict.fromkeys(names, np.ones(1)),)
    assert [leaf.penalized for leaf in Layout.of(params, packed=True).leaves] == [*names.values()]

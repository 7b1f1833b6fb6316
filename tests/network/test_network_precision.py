"""Networks that compute in a narrow dtype: close to the wide one, and narrow where they should be.

No array of 16 bits is in the standard, so what keeps to it is shown with float32 inside float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from network_cases import EPSILON, LAYERS, arrays, assert_close, each_layer, relative_error

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.inputs.checks import COMPUTE_DTYPES
from anyback_nn.network.precision import InDtype, cast, mix_precision

each_narrow = pytest.mark.parametrize("compute_dtype", COMPUTE_DTYPES)
each_kind = pytest.mark.parametrize(
    "case",
    [case for case in LAYERS if case.name in ("Network", "Dropout", "LayerNorm", "softmax")],
    ids=lambda case: case.name,
)
"""Layers that are cast in ways of their own: in blocks, with noise, and within wider layers."""


def outcome(network, problem, backend):
    """Go forward, and backward to the gradients of the parameters and of the input."""

    def run(params, x, state, noise, dy):
        context = nn.Context(problem.context.training, (state,), (noise,))
        y, cache = network.forward((params,), x, context)
        dx, _ = network.backward((params,), cache, dy)
        result = {"y": y, "dx": dx, "grads": network.gradients((params,), cache, dy)}
        if context.training:
            result["state"] = network.next_state(context.state, cache)
        return result

    return backend.jit(run)(*problem.arguments)


def assert_near_wide(case, backend, narrow, wide):
    problem = case.draw(3).to(backend, wide)
    network = nn.Network(problem.layer)
    result = outcome(mix_precision(network, narrow, wide), problem, backend)
    for part in ("y", "grads", "state"):
        for name, array in arrays(result.get(part, ())).items():
            assert array.dtype == getattr(backend.xp, wide), (part, name)
    expected = outcome(network, problem, backend)
    # Some rounding is in every operation, of which the longest row has some dozens.
    assert_close(cast(result, wide), expected, 8 * EPSILON[narrow])


@each_layer
@pytest.mark.parametrize("compute_dtype", ["float16"])
def test_float16_in_float32(case, backend, compute_dtype):
    with backend.scope("float32"):
        assert_near_wide(case, backend, compute_dtype, "float32")


@each_kind
@pytest.mark.parametrize("compute_dtype", ["bfloat16"])
def test_bfloat16_in_float32(case, backend, compute_dtype):
    assert_near_wide(case, backend, compute_dtype, "float32")


@each_kind
def test_float32_in_float64(case, backend, float64):
    assert_near_wide(case, backend, "float32", "float64")


@each_narrow
def test_what_is_kept_for_the_way_back_is_narrow(backend, compute_dtype):
    """Most of the memory of a step."""
    case = next(case for case in LAYERS if case.name == "Residual")
    problem = case.draw(3).to(backend, "float32")
    network = mix_precision(nn.Network(problem.layer), compute_dtype, "float32")
    y, cache = backend.jit(network.forward)((problem.params,), problem.x)
    cached = arrays(cache)
    assert len(cached) >= 6
    assert {str(array.dtype) for array in cached.values()} == {
        str(narrow_dtype(backend, compute_dtype))
    }
    assert y.dtype == backend.xp.float32


def narrow_dtype(backend, name):
    xp = backend.xp
    return xp.astype(backend.asarray([1.0], "float32"), getattr(xp, name)).dtype


# What float16 cannot hold ------------------------------------------------------------------------


@each_narrow
@pytest.mark.parametrize("layer", [nn.BatchNorm(), nn.LayerNorm()], ids=["batch", "layer"])
def test_squares_beyond_float16_are_normalized(layer, backend, compute_dtype):
    rng = np.random.default_rng(0)
    # Steps of 8 are exact in all three; their squares end at 9e6, and float16 at 65504.
    x = backend.asarray(8.0 * rng.integers(-375, 376, (64, 48)), "float32")
    draws = nn.random.Random(nn.random.generator(0, "weights"), backend, "float32")
    network = nn.Network(layer)
    params, state = network.init(48, draws), network.init_state(48, draws)
    context = nn.Context(True, state)
    y, cache = mix_precision(network, compute_dtype, "float32").forward(params, x, context)
    expected, expected_cache = network.forward(params, x, context)
    assert relative_error(y, to_numpy(expected)) < 1e-6
    new = mix_precision(network, compute_dtype, "float32").next_state(state, cache)
    assert_close(new, network.next_state(state, expected_cache), 1e-6)


@each_narrow
def test_softmax_over_many_classes(backend, compute_dtype):
    """With the probabilities near the smallest of float16, or the sum near its largest whole."""
    z = backend.asarray(np.zeros((2, 40_000)), "float32")
    y, _ = mix_precision(nn.Network(nn.Softmax()), compute_dtype, "float32").forward(({},), z)
    assert relative_error(y, np.full((2, 40_000), 1 / 40_000)) < 1e-5


@pytest.mark.parametrize("activation", nn.ACTIVATIONS.values(), ids=nn.ACTIVATIONS)
@pytest.mark.parametrize("compute_dtype", ["float16"])
def test_activations_are_finite(activation, backend, compute_dtype):
    sizes = np.asarray([0.0, 6e-8, 1e-4, 1.0, 12.0, 20.0, 50.0, 100.0, 1e3, 3e4, 6e4])
    x = backend.asarray(np.concatenate([sizes, -sizes])[:, None] * [1.0, -1.0, 0.5], "float32")
    dy = backend.asarray(np.ones((22, 3)), "float32")
    network = mix_precision(nn.Network(activation()), compute_dtype, "float32")
    with backend.scope("float32"):
        y, cache = network.forward(({},), x)
        dx, _ = network.backward(({},), cache, dy)
    assert np.all(np.isfinite(to_numpy(y)))
    assert np.all(np.isfinite(to_numpy(cast(dx, "float32"))))


# Layers of a user's own --------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen(nn.Layer):
    """Its cache shows in which dtype it computes."""

    def forward(self, params, x, context=nn.PREDICTION):
        return x, x

    def backward(self, params, cache, dy):
        return dy, {}


@dataclass(frozen=True)
class SeenInFull(Seen):
    full_precision = True


@dataclass(frozen=True)
class SeenWithState(Seen):
    def init_state(self, n_in, draws):
        return {"mean": draws.full((n_in,), 0.0)}


@dataclass(frozen=True)
class Noisy(Seen):
    """Adds noise, in the model's dtype."""

    def noise(self, shape, draws):
        return draws.normal(shape)

    def forward(self, params, x, context=nn.PREDICTION):
        y = x + context.noise
        return y, y


@pytest.mark.parametrize(
    ("layer", "full"),
    [(Seen(), False), (Noisy(), False), (SeenInFull(), True), (SeenWithState(), True)],
    ids=lambda layer: type(layer).__name__,
)
@each_narrow
def test_own_layers(layer, full, backend, compute_dtype):
    network = mix_precision(nn.Network(nn.Network(layer)), compute_dtype, "float32")
    x = backend.asarray([[1.0, 2.0]], "float32")
    _, cache = network.forward((({},),), x, nn.Context(True, (({},),), ((x,),)))
    ((_, array),) = cache[0]
    assert array.dtype == narrow_dtype(backend, "float32" if full else compute_dtype)


@dataclass(frozen=True, init=False)
class Damped(nn.Network):
    """A block of a user's own, with a setting."""

    factor: float

    def __init__(self, *layers, factor=0.5):
        super().__init__(*layers)
        object.__setattr__(self, "factor", factor)


def test_own_blocks_keep_their_settings():
    network = mix_precision(nn.Network(Damped(nn.Dense(2), factor=0.25)), "float16", "float32")
    (block,) = network.layers
    assert (type(block), block.factor) == (Damped, 0.25)
    assert block.layers == (InDtype(nn.Dense(2, initializer=nn.GlorotUniform()), "float16"),)


def test_sizes_are_those_of_the_layers():
    network = nn.Network(
        nn.Dense(3), nn.BatchNorm(), nn.Residual(nn.Dense(5), nn.Dense(3)), nn.Dense(2)
    )
    mixed = mix_precision(network, "float16", "float32")
    assert mixed.sizes(4) == network.sizes(4) == (4, 3, 3, 3, 2)
    assert mixed.output_size(4) == 2


# Casting -----------------------------------------------------------------------------------------


def test_cast_leaves_what_is_no_real_number(backend):
    tree = ({"a": backend.asarray([1], "int32")}, None, backend.asarray([True]))
    assert cast(tree, "float32")[0]["a"] is tree[0]["a"]
    assert cast(tree, "float32")[1:] == (None, tree[2])


def test_cast_to_the_same_does_nothing(backend):
    x = backend.asarray([1.0], "float32")
    assert cast((x,), "float32")[0] is x

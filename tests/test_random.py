"""Random numbers: keyed, reproducible, and the same bits on every backend."""

import math

import numpy as np
import pytest
from array_api_compat import device

from anyback_nn.backend import select, to_numpy
from anyback_nn.random import PURPOSES, Draws, generator

DRAWS = {
    "normal": lambda draws: draws.normal((50, 40), std=0.3),
    "uniform": lambda draws: draws.uniform((50, 40), limit=2.5),
    "orthogonal": lambda draws: draws.orthogonal((50, 40), gain=1.7),
    "orthogonal wide": lambda draws: draws.orthogonal((40, 50)),
    "full": lambda draws: draws.full((50, 40), 0.1),
    "bernoulli": lambda draws: draws.bernoulli((50, 40), 0.3),
}
each_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def draws(backend="numpy", dtype="float64", seed=0):
    return Draws(generator(seed, "weights"), select(backend), dtype)


def numbers(seed, purpose, *counters):
    return generator(seed, purpose, *counters).integers(2**32, size=8).tolist()


def test_same_key_same_numbers():
    assert numbers(3, "order", 1, 2) == numbers(3, "order", 1, 2)


def test_every_key_has_its_own_numbers():
    keys = [
        (seed, purpose, *counters)
        for seed in (0, 1, 2**40)
        for purpose in PURPOSES
        for counters in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(numbers(*key)) for key in keys}) == len(keys)


def test_the_numbers_of_a_key_never_change():
    """A model is reproducible only as long as the key, its order and the generator stay."""
    assert PURPOSES[:4] == ("weights", "order", "noise", "split")
    key = np.random.SeedSequence(7, spawn_key=(1, 5))
    expected = np.random.Philox(key).random_raw(4)
    np.testing.assert_array_equal(generator(7, "order", 5).bit_generator.random_raw(4), expected)


@pytest.mark.parametrize(("seed", "purpose"), [(-1, "weights"), (0, "lottery")])
def test_wrong_keys(seed, purpose):
    with pytest.raises(ValueError, match="."):
        generator(seed, purpose)


@each_draw
def test_the_same_bits_everywhere(draw, backend):
    drawn = draw(draws(backend, "float32"))
    assert backend.owns(drawn)
    assert device(drawn) == backend.device
    expected = draw(draws(dtype="float32"))
    np.testing.assert_array_equal(to_numpy(drawn), expected)
    assert to_numpy(drawn).dtype == expected.dtype


@each_draw
def test_float32_is_float64_rounded(draw):
    exact, rounded = draw(draws()), draw(draws(dtype="float32"))
    kind = bool if exact.dtype == bool else "float32"
    assert rounded.dtype == kind
    np.testing.assert_array_equal(rounded, exact.astype(kind))


@each_draw
def test_draws_go_on(draw):
    """A second draw gives new numbers, and the same ones again from the same start."""
    one, other = draws(), draws()
    first, second = draw(one), draw(one)
    np.testing.assert_array_equal(draw(other), first)
    np.testing.assert_array_equal(draw(other), second)
    assert (draw is DRAWS["full"]) == np.array_equal(first, second)


def test_normal():
    x = draws().normal((400, 500), std=0.3)
    assert abs(x.mean()) < 5 * 0.3 / math.sqrt(x.size)
    assert abs(x.std() - 0.3) < 5 * 0.3 / math.sqrt(2 * x.size)
    # The share within one standard deviation.
    share = math.erf(1 / math.sqrt(2))
    inside = np.mean(abs(x) < 0.3)
    assert abs(inside - share) < 5 * math.sqrt(share * (1 - share) / x.size)


def test_uniform():
    x = draws().uniform((400, 500), limit=2.5)
    assert -2.5 <= x.min() < -2.499
    assert 2.499 < x.max() <= 2.5
    share = np.mean(x < 1.25)
    assert abs(share - 0.75) < 5 * math.sqrt(0.75 * 0.25 / x.size)


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.9, 1.0])
def test_bernoulli(probability):
    x = draws().bernoulli((400, 500), probability)
    assert x.dtype == bool
    deviation = math.sqrt(probability * (1 - probability) / x.size)
    assert abs(x.mean() - probability) <= 5 * deviation


def test_replicas_draw_their_own():
    first, second = draws().bernoulli((2, 30, 20), 0.5)
    assert not np.array_equal(first, second)

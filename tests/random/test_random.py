"""Random numbers: keyed, reproducible, and the same bits on every backend."""

import math
from dataclasses import replace

import numpy as np
import pytest
from array_api_compat import device

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.random import PURPOSES, Random, generator
from anyback_nn.random import draws as draws_module
from anyback_nn.random.philox import words

DRAWS = {
    "normal": lambda draws: draws.normal((50, 40), std=0.3),
    "uniform": lambda draws: draws.uniform((50, 40), limit=2.5),
    "orthogonal": lambda draws: draws.orthogonal((50, 40), gain=1.7),
    "orthogonal wide": lambda draws: draws.orthogonal((40, 50)),
    "full": lambda draws: draws.full((50, 40), 0.1),
    "bernoulli": lambda draws: draws.bernoulli((50, 40), 0.3),
}
each_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
each_path = pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])


def draws(backend="numpy", dtype="float64", seed=0, on_device=False):
    backend = select(backend, masks_on_device=on_device)
    return Random(generator(seed, "weights"), backend, dtype)


def numbers(seed, purpose, *counters):
    return generator(seed, purpose, *counters).integers(2**32, size=8).tolist()


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
    assert generator(7, "order", 5).bit_generator.random_raw(4).tolist() == [
        *(0x99171AB797F49FB5, 0x43AD12514E0DAE8C),
        *(0xE8404FED46EF0C11, 0x604944640258172E),
    ]


@pytest.mark.parametrize(("seed", "purpose"), [(-1, "weights"), (0, "lottery")])
def test_wrong_keys(seed, purpose):
    expected = "expected a seed of 0 or greater and a purpose out of weights, order, noise, split, "
    with pytest.raises(ValueError, match=f"{expected}sample, got {seed} and '{purpose}'"):
        generator(seed, purpose)


@each_draw
def test_the_same_bits_everywhere(draw, backend):
    """Those of float32 are those of float64, rounded."""
    drawn, exact = draw(draws(backend, "float32")), draw(draws())
    assert backend.owns(drawn)
    assert device(drawn) == backend.device
    kind = bool if exact.dtype == bool else "float32"
    np.testing.assert_array_equal(to_numpy(drawn), exact.astype(kind), strict=True)


@each_draw
def test_draws_go_on(draw):
    """A second draw gives new numbers, and the same ones again from the same start."""
    source, again = draws(), draws()
    first, second = draw(source), draw(source)
    np.testing.assert_array_equal(draw(again), first)
    np.testing.assert_array_equal(draw(again), second)
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


# Masks, from the host and from the device --------------------------------------------------------

SHAPES = [(), (5, 0), (7,), (8,), (3, 5, 7), (2, 30, 20)]
"""Nothing, parts of a block of eight words, whole blocks, and replicas."""


@each_path
def test_masks_are_the_same_on_every_backend_and_path(backend, on_device):
    """Also after other draws, which leave a block of the generator half used."""
    here, there = draws(), draws(backend, "float32", on_device=on_device)
    assert there.backend.masks_on_device == on_device
    for shape in SHAPES:
        for probability in (0.0, 0.3, 0.5, 1.0):
            mask, expected = (source.bernoulli(shape, probability) for source in (there, here))
            assert backend.owns(mask)
            assert device(mask) == backend.device
            assert mask.dtype == backend.xp.bool
            assert mask.shape == shape
            np.testing.assert_array_equal(to_numpy(mask), expected)
        for source in (here, there):
            source.generator.integers(10, dtype="int32")
            source.generator.random()
    assert there.generator.random() == here.generator.random()


@each_path
@pytest.mark.parametrize("shape", [(1, 1), (2, 8), (3, 5), (8, 3), (9, 7), (17, 13), (2, 5, 3)])
def test_the_rows_of_a_rank_are_those_of_the_whole_draw(shape, backend, on_device):
    """Of every draw, and those after it; blocks of eight words are cut anywhere."""
    n_rows = shape[-2]
    for start in range(0, n_rows + 1, 3):
        for stop in {start, min(start + 1, n_rows), min(start + 5, n_rows)}:
            rows, whole = slice(start, stop), draws(dtype="float32")
            source = draws(backend, "float32", on_device=on_device)
            part = replace(source, rows=rows, n_rows=n_rows)
            for draw in ("bernoulli", "normal", "bernoulli", "uniform", "bernoulli"):
                ours, expected = (getattr(source, draw)(shape, 0.4) for source in (part, whole))
                np.testing.assert_array_equal(to_numpy(ours), expected[..., rows, :])
            assert part.generator.random() == whole.generator.random()


@each_path
def test_draws_that_are_not_of_the_batch_are_whole_on_every_rank(backend, on_device):
    source, whole = draws(backend, "float32", on_device=on_device), draws(dtype="float32")
    part = replace(source, rows=slice(2, 4), n_rows=7)
    for draw, shape in (("bernoulli", (1, 9)), ("bernoulli", (7,)), ("normal", (3, 7))):
        ours, expected = (getattr(source, draw)(shape, 0.4) for source in (part, whole))
        np.testing.assert_array_equal(to_numpy(ours), expected)


@each_path
def test_masks_never_change(backend, on_device):
    """The words of 32 bits of whole blocks, each in its turn."""
    there = draws(backend, seed=7, on_device=on_device)
    first, second = there.bernoulli((3, 5), 0.25), there.bernoulli((8,), 0.5)
    assert to_numpy(first).tolist() == [[1, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0]]
    # The last word of the second block is left out.
    assert to_numpy(second).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


@each_path
@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_is_exact(seed, backend, on_device):
    word = int(generator(seed, "weights").bit_generator.random_raw()) % 2**32
    for threshold, drawn in ((word, False), (word + 1, True)):
        mask = draws(backend, seed=seed, on_device=on_device).bernoulli((1,), threshold / 2**32)
        assert to_numpy(mask).tolist() == [drawn]


def test_masks_are_made_where_it_was_asked_for(backend, monkeypatch):
    """One function for each shape, which JAX compiles once for all keys and probabilities."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return words(*arguments)

    draws_module._compile_mask.cache_clear()
    monkeypatch.setattr(draws_module, "words", counted)
    for seed, probability in enumerate((0.1, 0.2, 0.3)):
        draws(backend, seed=seed).bernoulli((3, 41), probability)
        assert not calls
    for seed, probability in enumerate((0.1, 0.2, 0.3)):
        draws(backend, seed=seed, on_device=True).bernoulli((3, 41), probability)
    with backend.scope("float64"):
        n_calls = (1 if backend.spec == "jax" else 3) if backend.supports("int64") else 0
    assert len(calls) == n_calls

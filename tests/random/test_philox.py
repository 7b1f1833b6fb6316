"""Philox4x64-10: published answers, and NumPy's generator word for word."""

import numpy as np
import pytest

from anyback_nn.array_api import to_numpy
from anyback_nn.random.philox import block, words

ONES = 2**64 - 1
# From the file kat_vectors of Random123, the implementation by the generator's authors: counter,
# key, block. The last counter and key are the digits of pi.
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def integer(unsigned):
    """Read words, the lowest first, as one integer."""
    return sum(int(word) << 64 * place for place, word in enumerate(unsigned))


def split(number, n_words):
    """Invert `integer`; of a larger number, take the lowest words."""
    return [number >> 64 * place & ONES for place in range(n_words)]


@pytest.fixture
def move(backend):
    """Move words of 64 bits to the backend, within its scope: to a device without int64, none."""
    with backend.scope("float64"):
        if not backend.supports("int64"):
            pytest.skip("the device has no int64, so masks are made on the host")
        yield lambda unsigned: backend.asarray(np.asarray(unsigned, "uint64").view("int64"))


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN, ids=["zeros", "ones", "pi"])
def test_published_answers(counter, key, answer, move):
    result = block(tuple(move([k]) for k in key), tuple(move([c]) for c in counter))
    assert [int(to_numpy(word).view("uint64")[0]) for word in result] == list(answer)


def starts():
    """Keys and counters: drawn, and such that the blocks after them carry."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        yield (
            rng.integers(2**64, size=2, dtype="uint64"),
            integer(rng.integers(2**64, size=4, dtype="uint64")),
        )
    for power in (31, 32, 33, 63, 64, 65, 128, 192, 255, 256):
        for below in (1, 2, 6):
            yield rng.integers(2**64, size=2, dtype="uint64"), 2**power - below


@pytest.mark.parametrize(("n_blocks", "n_starts"), [(0, 1), (1, 40), (5, 40), (1000, 4)])
def test_words_are_those_of_numpy(n_blocks, n_starts, backend, move):
    step = backend.jit(lambda key, counter: words(key, counter, n_blocks))
    for key, counter in [*starts()][:: 40 // n_starts]:
        generator = np.random.Philox(key=key, counter=counter)
        expected = generator.random_raw(4 * n_blocks).astype("<u8").view("<u4")
        drawn = step(move(key), move(split(counter, 4)))
        assert drawn.dtype == backend.xp.int64
        np.testing.assert_array_equal(to_numpy(drawn), expected)

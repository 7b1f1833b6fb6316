"""Philox4x64-10 on any array library: the random bits of ``numpy.random.Philox`` on the device.

A counter-based generator has no state: block ``n`` of the stream is a bijection of the counter
``n``, scrambled under a key, so all blocks are computed at once. A block is four words of 64 bits.
In each of ten rounds two of them are multiplied by constants into products of 128 bits, whose
halves are swapped and combined, by exclusive or, with the other two words and the key.

A word of 64 bits is stored in an int64, the widest integer that every library has. Sums and
products of int64 wrap around as those of unsigned words do. A right shift copies the sign into the
upper bits, so those are cleared after it.

Reference: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace

__all__ = ["WORDS_PER_BLOCK", "block", "words"]

WORDS_PER_BLOCK = 8
"""The number of 32-bit words in a block."""

# The constants of the reference, minus 2**64: the same bits in an int64.
_MULTIPLIERS = (0xD2E7470EE14C6C93 - 2**64, 0xCA5A826395121157 - 2**64)
_INCREMENTS = (0x9E3779B97F4A7C15 - 2**64, 0xBB67AE8584CAA73B - 2**64)
_ROUNDS = 10

_LOW = 2**32 - 1
_SIGN = -(2**63)


def words(key: Array, counter: Array, n_blocks: int) -> Array:
    """Compute the next words of NumPy's generator.

    Parameters
    ----------
    key : array of int64, shape (2,)
    counter : array of int64, shape (4,)
        The generator's counter, the lowest word first. The next block is that of the counter plus
        one.
    n_blocks : int

    Returns
    -------
    array of int64, shape (8 * n_blocks,)
        Words of 32 random bits, from 0 to ``2**32 - 1``; of each 64 bits, the lower 32 come first.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.Philox(key=[3, 4], counter=[5, 0, 0, 0])
    >>> bits = words(np.asarray([3, 4]), np.asarray([5, 0, 0, 0]), n_blocks=2)
    >>> bool(np.all(bits == generator.random_raw(8).astype("<u8").view("<u4")))
    True
    """
    xp = array_namespace(key)
    carry = xp.arange(1, n_blocks + 1, dtype=xp.int64, device=device(key))
    counters = []
    for i in range(4):
        word = counter[i : i + 1]
        total = word + carry
        counters.append(total)
        # A sum below its summand has wrapped around. With the sign flipped, int64 compare as
        # unsigned.
        carry = xp.astype((total ^ _SIGN) < (word ^ _SIGN), xp.int64)
    blocks = xp.stack(block((key[:1], key[1:]), tuple(counters)), axis=1)
    halves = xp.stack((blocks & _LOW, _high(blocks)), axis=2)
    return xp.reshape(halves, (n_blocks * WORDS_PER_BLOCK,))


def block(key: tuple[Array, ...], counter: tuple[Array, ...]) -> tuple[Array, ...]:
    """Compute the block of each counter, four int64 arrays, from two for the key and four."""
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(x0, _MULTIPLIERS[0])
        high2, low2 = _multiply(x2, _MULTIPLIERS[1])
        x0, x1, x2, x3 = high2 ^ x1 ^ k0, low2, high0 ^ x3 ^ k1, low0
        k0, k1 = k0 + _INCREMENTS[0], k1 + _INCREMENTS[1]
    return x0, x1, x2, x3


def _multiply(x: Array, factor: int) -> tuple[Array, Array]:
    """Return the upper and the lower 64 bits of a product of unsigned words.

    On paper, with the digits ``x = a 2^32 + b`` and ``factor = c 2^32 + d``, the product is
    ``ac 2^64 + (ad + bc) 2^32 + bd``. No intermediate sum exceeds 64 bits.
    """
    a, b = _high(x), x & _LOW
    c, d = _high(factor), factor & _LOW
    middle = a * d + _high(b * d)
    carry = b * c + (middle & _LOW)
    return a * c + _high(middle) + _high(carry), x * factor


def _high(x: Array) -> Array:
    """Return the upper 32 of 64 bits."""
    return (x >> 32) & _LOW

"""Split rows into a training and a test part."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.utils.messages import plural

__all__ = ["DEFAULT_FRACTION", "Blocks", "note_parts", "split_rows"]

DEFAULT_FRACTION = 0.2
# Keeps the order of a split apart from the numbers that a generator draws with the same seed.
_SPLIT_STREAM = 1


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows that must stay in one part: those of a group, or of one time.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Index of each row's block.
    in_order : bool
        Whether the last blocks are the test part; if not, they are drawn.
    """

    codes: np.ndarray
    in_order: bool = False

    def __getitem__(self, rows: np.ndarray) -> Blocks:
        """Return the blocks of some of the rows."""
        return Blocks(np.unique(self.codes[rows], return_inverse=True)[1], self.in_order)


def split_rows(
    n_rows: int,
    *,
    test_fraction: float,
    seed: int,
    classes: np.ndarray | None = None,
    blocks: Blocks | None = None,
    name: str = "test_fraction (--test-share)",
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the training and the test rows.

    Parameters
    ----------
    n_rows : int
    test_fraction : float
        Share of the rows for the test part, between 0 and 1, both excluded.
    seed : int
        The same seed gives the same parts.
    classes : ndarray of int, shape (n_rows,), optional
        Class index of each row, 0 to the number of classes less one. Each class is then split
        separately and has a row in both parts; a class of a single row stays in the training part.
    blocks : Blocks, optional
        Rows that stay together. The share of the test part is then the closest that whole blocks
        give. If they are drawn, each class keeps a row in the training part.
    name : str
        What messages call the fraction.

    Returns
    -------
    train, test : ndarray of int
        Row indices, in random order.

    Raises
    ------
    DataError
        If the fraction is out of range, or if there would be fewer than two training rows or no
        test row.

    Examples
    --------
    >>> train, test = split_rows(10, test_fraction=0.2, seed=0)
    >>> len(train), len(test)
    (8, 2)
    >>> days = Blocks(np.array([2, 0, 0, 1]), in_order=True)
    >>> split_rows(4, test_fraction=0.2, seed=0, blocks=days)[1]
    array([0])
    """
    if not 0 < test_fraction < 1:
        raise DataError(
            f"{name} is {test_fraction}: expected a number between 0 and 1, such as 0.2"
        )
    random = np.random.default_rng((seed, _SPLIT_STREAM))
    order = random.permutation(n_rows)
    if classes is None:
        classes = np.zeros(n_rows, dtype=np.int64)
    if blocks is None:
        in_test = _draw_rows(order, classes, test_fraction)
    elif blocks.in_order:
        in_test = _take_last_blocks(blocks.codes, test_fraction)
    else:
        in_test = _draw_blocks(blocks.codes, classes, test_fraction, random)

    n_test = int(in_test.sum())
    n_classes = len(np.unique(classes))
    if n_test < 1 and 3 < n_rows < 2 * n_classes:
        raise DataError(
            f"{n_rows:,} rows cannot be divided: they have {n_classes:,} labels, nearly every row "
            "one of its own: expected classes of several rows; use another target, or for numbers "
            "the task 'regression' (--task regression)"
        )
    if n_test < 1 or n_rows - n_test < 2:
        raise DataError(
            f"{plural(n_rows, 'row')} cannot be divided with {name} {test_fraction}: "
            "expected at least two rows for training and one, of a class with several rows, for "
            "testing; give more rows or another fraction"
        )
    return order[~in_test[order]], order[in_test[order]]


def _draw_rows(order: np.ndarray, classes: np.ndarray, test_fraction: float) -> np.ndarray:
    """Return which rows are tested, class by class."""
    in_test = np.zeros(len(order), dtype=bool)
    by_class = order[np.argsort(classes[order], kind="stable")]
    ends = np.cumsum(np.bincount(classes, minlength=1))
    # Rounding the ends, not the sizes, keeps the sum of all classes at the fraction asked for.
    shares = np.diff(np.rint(ends * test_fraction).astype(np.int64), prepend=0)
    for members, share in zip(np.split(by_class, ends[:-1]), shares, strict=True):
        in_test[members[: min(max(share, 1), len(members) - 1)]] = True
    return in_test


def _take_last_blocks(codes: np.ndarray, test_fraction: float) -> np.ndarray:
    """Return which rows are tested: those of the last blocks."""
    ends = np.cumsum(np.bincount(codes))
    _require_blocks(len(ends), "time")
    last = int(np.abs(ends[:-1] - len(codes) * (1 - test_fraction)).argmin())
    in_test: np.ndarray = codes > last
    return in_test


def _draw_blocks(
    codes: np.ndarray, classes: np.ndarray, test_fraction: float, random: np.random.Generator
) -> np.ndarray:
    """Return which rows are tested: those of blocks in random order, while they fit."""
    sizes, left = np.bincount(codes), np.bincount(classes)
    _require_blocks(len(sizes), "group")
    # The classes of each block, and in how many of its rows they are.
    pairs, counts = np.unique(codes * len(left) + classes, return_counts=True)
    ends = np.searchsorted(pairs, np.arange(1, len(sizes)) * len(left))
    members = np.split(pairs % len(left), ends)
    counts_of = np.split(counts, ends)
    room = len(codes) * test_fraction
    least, chosen = sizes.min(), np.zeros(len(sizes), dtype=bool)

    def leaves_each_class(block: int) -> bool:
        return bool((left[members[block]] > counts_of[block]).all())

    for block in random.permutation(len(sizes)).tolist():
        if 2 * room < least:
            break
        # Half of a block may be too much: then the share is closer than without it.
        if 2 * room >= sizes[block] and leaves_each_class(block):
            chosen[block] = True
            room -= sizes[block]
            left[members[block]] -= counts_of[block]
    if not chosen.any():  # every block is larger than the test part should be
        smallest_first = np.argsort(sizes, kind="stable").tolist()
        smallest = next(filter(leaves_each_class, smallest_first), None)
        if smallest is None:
            raise DataError(
                "each group has all rows of some class, which would be missing in training: "
                "expected every class in several groups; use another group"
            )
        chosen[smallest] = True
    in_test: np.ndarray = chosen[codes]
    return in_test


def _require_blocks(count: int, word: str) -> None:
    if count < 2:
        raise DataError(
            f"all rows have the same {word}: expected at least two, one to train with and one to "
            "test; use another column"
        )


def note_parts(
    test_file: str | PathLike[str] | None, test_fraction: float | None
) -> tuple[str, ...]:
    """Return the notes on data that are divided already, which are not divided in another way.

    Raises
    ------
    DataError
        If they are to be tested with a file.
    """
    if test_file is not None:
        raise DataError("the data come with a test part: leave test_file (--test-file) out")
    if test_fraction is None:
        return ()
    return ("the data come with a test part: test_fraction (--test-share) has no effect",)

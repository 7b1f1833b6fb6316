"""Split rows into a training and a test part."""

from __future__ import annotations

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.utils.messages import plural

__all__ = ["split_rows"]

# Keeps the order of a split apart from the numbers that a generator draws with the same seed.
_SPLIT_STREAM = 1


def split_rows(
    n_rows: int, *, test_fraction: float, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the training and the test rows.

    Parameters
    ----------
    n_rows : int
    test_fraction : float
        Share of the rows for the test part, between 0 and 1, both excluded.
    seed : int
        The same seed gives the same parts.
    groups : ndarray of int, shape (n_rows,), optional
        Class index of each row, 0 to the number of classes less one. Each class is then split
        separately and has a row in both parts; a class of a single row stays in the training part.

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
    """
    if not 0 < test_fraction < 1:
        raise DataError(
            f"test_fraction is {test_fraction}: expected a number between 0 and 1, such as 0.2"
        )
    order = np.random.default_rng((seed, _SPLIT_STREAM)).permutation(n_rows)
    if groups is None:
        groups = np.zeros(n_rows, dtype=np.int64)
    in_test = np.zeros(n_rows, dtype=bool)
    by_group = order[np.argsort(groups[order], kind="stable")]
    ends = np.cumsum(np.bincount(groups, minlength=1))
    # Rounding the ends, not the sizes, keeps the sum of all classes at the fraction asked for.
    shares = np.diff(np.rint(ends * test_fraction).astype(np.int64), prepend=0)
    for members, share in zip(np.split(by_group, ends[:-1]), shares, strict=True):
        in_test[members[: min(max(share, 1), len(members) - 1)]] = True

    n_test = int(in_test.sum())
    if n_test < 1 or n_rows - n_test < 2:
        raise DataError(
            f"{plural(n_rows, 'row')} cannot be divided with test_fraction={test_fraction}: "
            "expected at least two rows for training and one, of a class with several rows, for "
            "testing; give more rows or another fraction"
        )
    return order[~in_test[order]], order[in_test[order]]

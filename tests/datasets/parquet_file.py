"""A Parquet file with all kinds of columns, and its batches."""

import numpy as np
import polars as pl
import pytest

from anyback_nn.datasets import parquet_batches
from anyback_nn.errors import DataError

N = 103


def rows(n=N, seed=0):
    """Return a table of all kinds of columns, with gaps; the first is the number of the row."""
    rng = np.random.default_rng(seed)
    gap = rng.random((4, n)) < 0.1
    return pl.DataFrame(
        {
            "row": np.arange(n),
            "width": pl.Series(rng.normal(1e6, 2.0, n)).set(pl.Series(gap[0]), None),
            "height": pl.Series(rng.normal(size=n).astype(np.float32)).set(
                pl.Series(gap[1]), float("nan")
            ),
            "town": pl.Series(rng.choice(["Oslo", " Rome", "?", "12"], n)).set(
                pl.Series(gap[2]), None
            ),
            "old": rng.random(n) < 0.4,
            "kind": pl.Series(rng.choice(["1", "2"], n), dtype=pl.Categorical),
            "flat": np.full(n, 3.0),
            "sort": rng.choice(["b", "a", "c"], n),
            "grade": rng.integers(0, 5, n),
            "price": rng.normal(300.0, 50.0, n),
        }
    )


FEATURES = ["row", "width", "height", "town", "old", "kind", "flat"]


def numbers_of(encoding):
    return np.array([[n.median, n.mean, n.scale] for n in encoding.features.numbers])


def batches_of(path, target="sort", **options):
    return parquet_batches(path, target, **{"batch_size": 8, "columns": FEATURES} | options)


def expect_error(path, message, target="y", **options):
    """Assert that a file is refused, with this message."""
    with pytest.raises(DataError, match=message):
        parquet_batches(path, target, **options)


def rows_seen(batches, number):
    """Return the row numbers of each batch of an epoch."""
    column = batches.encoding.features.numbers[0]
    assert column.name == "row"
    return [
        (x[:, 0] * column.scale + column.mean).round().astype(int).tolist()
        for x, _ in batches.epoch(number)
    ]


def flat(lists):
    return [item for items in lists for item in items]

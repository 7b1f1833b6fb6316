"""Rows that are read a stretch at a time: shuffled within what is in memory, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["Rows", "cut_batches", "read_blocks"]

Rows = tuple[np.ndarray, ...]
"""Inputs of some rows, and their targets and weights, if there are any."""


def read_blocks(
    read: Callable[[Any], Rows], stretches: Any, random: np.random.Generator | None, places: int = 1
) -> Iterator[Rows]:
    """Yield what is in memory at once: the rows of as many stretches as there are ``places``.

    With ``random``, the stretches come in random order, and so do the rows in memory.
    """
    if random is not None:
        stretches = random.permutation(stretches)
    for first in range(0, len(stretches), places):
        some = stretches[first : first + places].tolist()
        block = _concatenate([read(stretch) for stretch in some])
        if random is not None:
            order = random.permutation(len(block[0]))
            block = tuple(array[order] for array in block)
        yield block


def cut_batches(blocks: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Cut batches of one size from blocks of any; only the last may be smaller."""
    parts: list[Rows] = []
    n_rows = 0
    for block in blocks:
        parts.append(block)
        n_rows += len(block[0])
        if n_rows < size:
            continue
        block = _concatenate(parts)
        for start in range(0, n_rows - size + 1, size):
            yield tuple(array[start : start + size] for array in block)
        n_rows %= size
        # A copy, because a view would hold the whole block while the next one is read.
        rest = tuple(array[len(array) - n_rows :].copy() for array in block)
        parts = [rest] if n_rows else []
    if n_rows:
        yield _concatenate(parts)


def _concatenate(parts: Sequence[Rows]) -> Rows:
    return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts)))

"""Advice to the kernel: which rows of a memory-mapped file will be read."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from anyback_nn.utils.memory import host_memory

__all__ = ["announce"]

SMALL = 1 / 4
"""The share of the memory below which a file is expected to stay in the page cache."""


def announce(array: Any, *, random: bool) -> Callable[[Any], None]:
    """Announce whether the rows of a memory map will be read in random order.

    By default a kernel reads ahead: Linux reads up to megabytes around each requested row. That
    pays off if the next rows follow, or if the whole file fits in memory. Of a larger file with
    shuffled rows, nearly all of it would be dropped before it is used. So read-ahead is turned off
    for it, and instead the rows of a batch are announced, which are then read concurrently.

    On systems without such advice (Windows) nothing happens.

    Parameters
    ----------
    array : numpy.memmap
        A memory map or a view of one. Read-ahead is set for the whole map.
    random : bool
        Whether the rows are read in random order.

    Returns
    -------
    callable
        Announces rows that will be read soon; takes an array of row numbers.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "x.npy")
    ...     np.save(path, np.eye(3))
    ...     x = np.load(path, mmap_mode="r")
    ...     announce_rows = announce(x, random=True)
    ...     announce_rows(np.array([2, 0]))
    ...     print(x[[2, 0]])
    ...     del x, announce_rows  # else Windows would not remove the file
    [[0. 0. 1.]
     [1. 0. 0.]]
    """
    owner = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_RANDOM"):
        return lambda rows: None
    if not random or array.nbytes <= SMALL * (host_memory() or 0):
        _advise(owner, mmap.MADV_NORMAL)
        return lambda rows: None
    _advise(owner, mmap.MADV_RANDOM)
    low, high = byte_bounds(array[:1])
    first = low - np.frombuffer(owner, np.uint8).ctypes.data

    def announce_rows(rows: Any) -> None:
        starts = first + rows * array.strides[0]
        offsets = starts % mmap.PAGESIZE
        for start, length in zip((starts - offsets).tolist(), (offsets + high - low).tolist()):
            _advise(owner, mmap.MADV_WILLNEED, start, length)

    return announce_rows


def _advise(owner: mmap.mmap, *advice: int) -> None:
    with contextlib.suppress(OSError):  # some kernels refuse it, and nothing depends on it
        owner.madvise(*advice)

"""Tell the kernel which rows of a memory-mapped file are going to be read."""

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
"""The share of the memory up to which a file is taken to stay in it."""


def announce(array: Any, *, random: bool) -> Callable[[Any], None]:
    """Announce whether the rows of a memory map will be read in random order.

    A kernel that is not told reads ahead: Linux takes in up to megabytes around each row that is
    asked for. That pays off where the next rows follow, or where all of the file will find room in
    memory anyway. In a larger file, whose rows are shuffled, nearly all of it would be dropped
    before it is used. So read-ahead is turned off there, and instead the rows of a batch are
    announced, which are then read side by side instead of one after another.

    Where the system takes no advice (Windows), nothing happens.

    Parameters
    ----------
    array : numpy.memmap
        Or a view of one. Whether to read ahead is set for all of the map.
    random : bool

    Returns
    -------
    callable
        Takes the numbers of rows that will be read soon, an array.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "x.npy")
    ...     np.save(path, np.eye(3))
    ...     x = np.load(path, mmap_mode="r")
    ...     soon = announce(x, random=True)
    ...     soon(np.array([2, 0]))
    ...     print(x[[2, 0]])
    ...     del x, soon  # or Windows would not remove the file
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
    pages = mmap.PAGESIZE

    def soon(rows: Any) -> None:
        starts = first + rows * array.strides[0]
        into_page = starts % pages
        for start, length in zip((starts - into_page).tolist(), (into_page + high - low).tolist()):
            _advise(owner, mmap.MADV_WILLNEED, start, length)

    return soon


def _advise(owner: mmap.mmap, *advice: int) -> None:
    with contextlib.suppress(OSError):  # some kernels take none, and nothing depends on it
        owner.madvise(*advice)

"""A dask array that counts the chunks that are loaded, and how many of them are in memory."""

from __future__ import annotations

import threading
import weakref
from itertools import accumulate, pairwise

import dask
import dask.array as da


class Chunks:
    """Rows of ``data`` in chunks of some sizes, which are loaded when they are needed."""

    def __init__(self, data, sizes, dtype="float32"):
        self.data, self.dtype, self.loads, self.most = data, dtype, 0, 0
        self._alive, self._lock = set(), threading.Lock()
        load = dask.delayed(self._load, pure=False)
        self.x = da.concatenate(
            [
                da.from_delayed(load(start, stop), (stop - start, data.shape[1]), dtype)
                for start, stop in pairwise(accumulate(sizes, initial=0))
            ]
        )

    def _load(self, start, stop):
        chunk = self.data[start:stop].astype(self.dtype)
        with self._lock:
            self.loads += 1
            self._alive.add(key := self.loads)
            self.most = max(self.most, len(self._alive))
        weakref.finalize(chunk, self._alive.discard, key)
        return chunk

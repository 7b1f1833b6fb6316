"""dask: arrays of any size in chunks of rows, which are computed only when they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dask.array  # noqa: F401 - `load` reports it if that fails

from anyback_nn.array_api import Array
from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS

__all__ = ["DaskBackend"]


class DaskBackend(Backend):
    """dask, whose scheduler computes; the chunks are NumPy's arrays."""

    library = BACKENDS["dask"]
    namespace = "array_api_compat.dask.array"
    packed = False  # slices of one vector would be more tasks
    lazy = True

    def to_device(self, x: Array) -> Array:
        # The maximum of a chunk without rows is an error.
        chunks = tuple(tuple(n for n in sizes if n) or (0,) for sizes in x.chunks)
        return x.rechunk(chunks) if any(0 in sizes for sizes in x.chunks) and x.size else x

    def check_process(self) -> None:
        if self.was_forked:  # its pool of threads is in the other process
            raise self.explain_fork()

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.use()
        yield

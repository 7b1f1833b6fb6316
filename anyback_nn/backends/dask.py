"""dask: arrays of any size in chunks of rows, which are computed only when they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import dask.array  # noqa: F401 - of an older dask, it may lack something

from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS

__all__ = ["DaskBackend"]


class DaskBackend(Backend):
    """dask, which computes by the scheduler that is set there, with arrays of NumPy as chunks."""

    library = BACKENDS["dask"]
    namespace = "array_api_compat.dask.array"
    packed = False
    lazy = True

    def check_process(self) -> None:
        if self.was_forked:
            raise self.explain_fork()

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.use()
        yield

"""Ranks that are threads of one process: the arithmetic of ranks without a launcher."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add
from threading import Barrier
from typing import Any

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.distributed.communicator import Communicator, as_like

PATIENCE = 60.0
"""The seconds that a rank waits for the others."""


class RankThread(Communicator):
    """One of several threads, which meet to add their arrays in the order of their ranks."""

    def __init__(self, rank: int, barrier: Barrier, parts: list[Any]) -> None:
        self.rank, self.size, self.barrier, self.parts = rank, len(parts), barrier, parts

    def add(self, x: Array) -> Array:
        self.parts[self.rank] = to_numpy(x)
        self.barrier.wait(PATIENCE)
        total = reduce(add, self.parts)
        self.barrier.wait(PATIENCE)  # before the next sum
        return as_like(x, total)


def compute_together(size: int, function: Callable[[Communicator], Any]) -> list[Any]:
    """Call a function on each rank; return what each has computed."""
    barrier, parts = Barrier(size), [None] * size

    def compute(rank: int) -> Any:
        try:
            return function(RankThread(rank, barrier, parts))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(compute, rank) for rank in range(size)]
    return [future.result() for future in futures]

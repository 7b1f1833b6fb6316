"""Ranks of MPI, by mpi4py."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Any

import numpy as np
from mpi4py import MPI

from anyback_nn.array_api import Array, array_namespace, on_host, to_numpy
from anyback_nn.distributed.communicator import ALONE, Communicator, as_like

__all__ = ["MPIRanks", "join"]

_let_others_compute = getattr(os, "sched_yield", lambda: time.sleep(0))  # not on Windows


class MPIRanks(Communicator):
    """A rank of MPI's world.

    Arrays on a GPU are added there if the MPI says that it can, else by way of the host.
    """

    def __init__(self, world: Any) -> None:
        self.world, self.rank, self.size = world, world.rank, world.size
        self.local_rank = world.Split_type(MPI.COMM_TYPE_SHARED).rank
        kinds = world.Get_info().Get("mpi_memory_alloc_kinds") or ""
        self.adds_on_device = "cuda" in kinds

    def add(self, x: Array) -> Array:
        on_device = self.adds_on_device and not on_host(x)
        total = (
            array_namespace(x).asarray(x, copy=True)
            if on_device
            else np.require(to_numpy(x), None, ["C", "W"])
        )
        if on_device:
            to_numpy(total[:1])  # MPI does not wait until it is computed
        if self.meet():
            # Not an exception, which a search, say, would take for a fit that has failed.
            print(
                f"error: rank {self.rank} waits for another rank, which has ended: expected that "
                "all call fit, evaluate and predict alike",
                file=sys.__stderr__,
            )
            self.abort(1)
        self.world.Allreduce(MPI.IN_PLACE, total)
        return total if on_device else as_like(x, total)

    def meet(self, ends: bool = False) -> bool:
        """Wait for all ranks, and return whether one of them ends instead of adding."""
        # Python answers signals while it waits for others here, which it does not within MPI.
        flag = np.asarray([ends], np.int32)
        waiting = self.world.Iallreduce(MPI.IN_PLACE, flag, MPI.MAX)
        while not waiting.Test():
            _let_others_compute()
        return bool(flag[0])

    def abort(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.5)  # the launcher may drop what it has not yet read
        self.world.Abort(status)


def join() -> Communicator:
    """Join MPI's world."""
    world = MPI.COMM_WORLD
    if world.size == 1:
        return ALONE
    ranks = MPIRanks(world)
    atexit.register(ranks.meet, ends=True)
    return ranks

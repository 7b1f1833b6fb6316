"""Ranks of `torch.distributed`: gloo between CPUs, NCCL between NVIDIA GPUs."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from anyback_nn.array_api import Array, array_namespace, on_host, to_numpy
from anyback_nn.distributed.communicator import ALONE, Communicator, as_like
from anyback_nn.errors import AnybackError

__all__ = ["TorchRanks", "join"]

WAIT = timedelta(days=1)
"""For others; one that ends is noticed at once."""


class TorchRanks(Communicator):
    """A rank of the default process group."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        # Whatever the default group can add: one for each kind of memory.
        self.host: Any = dist.new_group(backend="gloo", timeout=WAIT)
        self.device: Any = None
        if torch.cuda.is_available() and dist.is_nccl_available():
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
            self.device = dist.new_group(backend="nccl", timeout=WAIT)

    def add(self, x: Array) -> Array:
        on_device = self.device is not None and not on_host(x)
        total = (
            torch.from_dlpack(x).clone()
            if on_device
            else torch.from_numpy(np.require(to_numpy(x), None, ["C", "W"]))
        )
        try:
            dist.all_reduce(total, group=self.device if on_device else self.host)
        except RuntimeError as error:
            raise AnybackError(
                f"rank {self.rank} has lost another rank, which has failed (see its message), or "
                f"has ended without calling what this one calls ({error})"
            ) from error
        return array_namespace(x).from_dlpack(total) if on_device else as_like(x, total.numpy())

    def abort(self, status: int) -> None:
        atexit.unregister(_leave)  # NCCL may wait for the others there; the launcher ends them


def join() -> Communicator:
    """Join the default process group, which is set up by the environment if it is not yet."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=WAIT)
        atexit.register(_leave)
    return ALONE if dist.get_world_size() == 1 else TorchRanks()


def _leave() -> None:
    """Shut the process group down: left to the end of Python, its threads may abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()

"""Commands that several processes run together, as in ``mpiexec -n 4 anyback-nn train DATA``."""

from __future__ import annotations

import os
import sys
import time

from anyback_nn import distributed
from anyback_nn.backends import Backend, select
from anyback_nn.cli.printing import print_message
from anyback_nn.datasets.frames import STANDARD_INPUT
from anyback_nn.distributed import ALONE, Communicator
from anyback_nn.errors import AnybackError

__all__ = ["choose_device", "end", "join", "joined", "speak_up"]

PATIENCE = 3.0
"""The seconds that rank 0 has to say what is wrong, before another one does."""

joined: Communicator = ALONE
"""The ranks that run this command."""


def join(kind: str, data: str | None) -> None:
    """Join the processes of a launcher; from now on, rank 0 alone prints."""
    global joined  # noqa: PLW0603 - a process joins others once
    joined = distributed.init(kind)
    if joined.rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if joined.size > 1 and data == STANDARD_INPUT:
        raise AnybackError(
            "several processes cannot read standard input: expected a file that each of them reads"
        )


def choose_device(backend: Backend) -> Backend:
    """Return the backend on this rank's own GPU, if it has several and none was named."""
    named = f"{backend.spec}:"
    specs = [x for x in backend.devices() if joined.size > 1 and x.removeprefix(named).isdigit()]
    return select(specs[joined.local_rank % len(specs)]) if specs else backend


def speak_up() -> None:
    """Print again before an error: of all ranks, if rank 0 has not ended them with its own."""
    if joined.rank:
        time.sleep(PATIENCE)
        sys.stderr = sys.__stderr__
        print_message("note", f"rank {joined.rank} of {joined.size} ends all, because of:")


def end(status: int) -> None:
    """End all ranks after a failure: the others would wait for this one."""
    if status:
        joined.abort(status)

"""Processes that train one model together, over MPI or `torch.distributed`.

Each has a rank, a part of every batch, and all of the model. One function adds arrays over all
ranks (`Communicator.add`); it is all that training asks of a library of communication.
"""

from __future__ import annotations

from anyback_nn.distributed.communicator import ALONE, Communicator
from anyback_nn.distributed.launcher import KINDS, init

__all__ = ["ALONE", "KINDS", "Communicator", "init"]

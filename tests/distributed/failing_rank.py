"""Three ranks of which one fails: ``mpiexec -n 3 python tests/distributed/failing_rank.py HOW``.

In a "script", in one that a rank "leaves", in one in which the process "group" of PyTorch has been
set up before, as by other programs, or in the "program", where another rank than 0 has no data.
"""

import os
import sys

import numpy as np

import anyback_nn as nn
from anyback_nn.cli import main

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "RANK")


class Fail(nn.Callback):
    def on_epoch_end(self, fit):
        if fit.ranks.rank == 1 and fit.epoch == 2:
            raise RuntimeError("this rank has failed")


def train_for_ever():
    """Train on ranks until one fails."""
    ranks = nn.distributed.init()
    assert ranks.size == 3
    print("has joined", flush=True)
    model = nn.Model(nn.Dense(2), loss="softmax_cross_entropy")
    x, y = np.eye(6), np.arange(6) % 2
    model.fit(x, y, epochs=10**9, callbacks=[Fail()], distributed=ranks)


if __name__ == "__main__":
    if sys.argv[1] == "program":
        rank = next(os.environ[name] for name in RANKS if name in os.environ)
        sys.exit(main(["train", "missing.csv" if rank == "1" else "digits", "--epochs", "100000"]))
    if sys.argv[1] == "group":
        import torch.distributed

        torch.distributed.init_process_group("gloo")
    if sys.argv[1] == "leaves" and nn.distributed.init().rank == 1:
        sys.exit()
    train_for_ever()

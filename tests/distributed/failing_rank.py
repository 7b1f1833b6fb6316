"""Trains on ranks of which one fails: ``mpiexec -n 3 python tests/distributed/failing_rank.py``.

With an argument, the process group of PyTorch is set up here, as other programs do.
"""

import sys

import numpy as np

import anyback_nn as nn


class Fail(nn.Callback):
    def on_epoch_end(self, fit):
        if fit.ranks.rank == 1 and fit.epoch == 2:
            raise RuntimeError("this rank has failed")


if sys.argv[1:] == ["gloo"]:
    import torch.distributed

    torch.distributed.init_process_group("gloo")
ranks = nn.distributed.init()
assert ranks.size == 3
print("has joined", flush=True)
model = nn.Model(nn.Dense(2), loss="softmax_cross_entropy")
x, y = np.eye(6), np.arange(6) % 2
model.fit(x, y, epochs=10**9, callbacks=[Fail()], distributed=ranks)

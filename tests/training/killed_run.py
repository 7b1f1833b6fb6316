"""A training run in a process of its own, which is killed: ``python killed_run.py FOLDER EVERY``.

It resumes from the checkpoints in the folder, and writes the parameters to ``end.safetensors``.
"""

import sys
from pathlib import Path

import numpy as np

import anyback_nn as nn


class SayBegun(nn.Callback):
    def on_train_begin(self, fit):
        print(flush=True)


def main(folder, every=None):
    x, y = nn.datasets.make_spirals(300, noise=0.1, seed=0)
    layers = nn.Dense(64), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(64), nn.ReLU()
    loss = nn.SoftmaxCrossEntropy()
    n_classes = int(np.max(np.asarray(y))) + 1
    model = nn.Model(*layers, nn.Dense(n_classes), loss=loss, seed=1)
    callbacks = [nn.EarlyStopping(8), SayBegun()]
    if every is not None:
        callbacks.append(nn.Checkpoint(folder / "checkpoints", every=every))
    model.fit(
        *(x, y),
        optimizer=nn.Adam(0.01, l2=1e-4),
        schedule="cosine",
        epochs=8,
        batch_size=16,
        validation=0.2,
        callbacks=callbacks,
        resume=every is not None,
    )
    model.save(folder / "end.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

"""Training steps to be timed.

They are whole epochs of the loop of `anyback_nn.model.Model.fit`: rows are gathered, dropout masks
are drawn, and the losses are read at the end. Reading them waits for the device, so that no clock
is stopped too early.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from anyback_nn.distributed import ALONE
from anyback_nn.inputs.batches import array_source
from anyback_nn.model import Model
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.fit import FitContext, check_arrays
from anyback_nn.training.loop import train

__all__ = ["Steps"]


class Steps:
    """Training steps as `Model.fit` takes them; a call takes a number of them and returns seconds.

    Parameters
    ----------
    model : Model
        Built; it is trained.
    x, y : array
        The samples. They are repeated if the steps need more of them.
    optimizer : Optimizer
    batch_size : int

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend="numpy").build(2)
    >>> steps = Steps(model, x, y, nn.Adam(), batch_size=64)
    >>> steps(3) > 0, model.training.step
    (True, 3)
    """

    def __init__(self, model: Model, x: Any, y: Any, optimizer: Optimizer, batch_size: int) -> None:
        model.backend.check_computes("steps")
        self.batch_size = batch_size
        self.fit = FitContext(model, epochs=0)
        rows = check_arrays(model, x, y, None)
        options: dict[str, Any] = {"batch_size": batch_size, "shuffle": True, "seed": model.seed}
        with model.backend.scope(model.dtype):
            self.source = array_source(rows, model.backend, model.dtype, **options)
            model.set_optimizer(optimizer)
        self.steps = model.compile_training_steps(optimizer, ALONE)

    def __call__(self, n_steps: int) -> float:
        model = self.fit.model
        chosen = np.arange(n_steps * self.batch_size) % self.source.rows.x.shape[0]
        self.fit.epochs += 1
        with model.backend.scope(model.dtype):
            source = replace(self.source, chosen=chosen)
            train(self.fit, source, None, self.steps, ())
        return float(model.history["seconds"][-1])

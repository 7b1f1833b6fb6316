"""`ReduceOnPlateau` against PyTorch's, at each of 30 epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import anyback_nn as nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.needs("torch")
RATE, EPOCHS = 0.3, 30


RNG = np.random.default_rng(0)
HISTORIES = {
    "falling": np.linspace(2.0, 0.5, EPOCHS),
    "rising": np.linspace(0.5, 2.0, EPOCHS),
    "constant": np.full(EPOCHS, 0.7),
    "falling, then rising": np.abs(np.arange(EPOCHS) - 11.0),
    "in stairs": np.arange(EPOCHS) // 5 * -0.25,
    "wandering": np.cumsum(RNG.normal(size=EPOCHS)),
    "levelling off with noise": np.exp(-np.arange(EPOCHS) / 5) + 0.05 * RNG.normal(size=EPOCHS),
    "with gaps": np.where(np.arange(EPOCHS) % 4 == 0, math.nan, np.linspace(2.0, 0.5, EPOCHS)),
}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("patience", "min_delta", "minimum"), [(0, 0.0, 0.01), (1, 0.25, 0.0), (4, 0.0, 0.0)]
)
@pytest.mark.parametrize("name", HISTORIES)
def test_reduce_on_plateau_is_pytorchs(name, mode, patience, min_delta, minimum):
    values = [float(value) for value in HISTORIES[name]]
    ours = nn.ReduceOnPlateau(
        RATE, 0.5, patience, "score", min_delta=min_delta, minimum=minimum, mode=mode
    )
    rows = [{"score": value} for value in values]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode,
        factor=0.5,
        patience=patience,
        threshold=min_delta,
        threshold_mode="abs",
        min_lr=minimum,
        eps=0.0,
    )
    for epoch, value in enumerate(values):
        assert ours(float(epoch), rows[:epoch]) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        theirs.step(value)

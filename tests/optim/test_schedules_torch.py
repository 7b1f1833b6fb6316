"""Schedules against PyTorch's, at each of 30 epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import anyback_nn as nn

torch = pytest.importorskip("torch")
lr_scheduler = torch.optim.lr_scheduler
# They depend on no backend; this lets them run wherever PyTorch is.
pytestmark = pytest.mark.usefixtures("backend")
RATE, EPOCHS = 0.3, 30


def torch_rates(make, *histories):
    """Return PyTorch's learning rate of each epoch; its `step` takes the metric of the epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for row in zip(*histories) if histories else [()] * EPOCHS:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*row)
    return rates


def warm_up_then_cosine(optimizer, warmup, epochs, final):
    # PyTorch refuses to begin at 0.
    parts = [
        lr_scheduler.LinearLR(optimizer, start_factor=1e-14, total_iters=warmup),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs - warmup, eta_min=final),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.StepDecay(RATE, every=1), lambda o: lr_scheduler.StepLR(o, 1)),
        (nn.StepDecay(RATE, every=7, factor=0.5), lambda o: lr_scheduler.StepLR(o, 7, 0.5)),
        (nn.ExponentialDecay(RATE, factor=0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
        (nn.CosineDecay(RATE, epochs=29), lambda o: lr_scheduler.CosineAnnealingLR(o, 29)),
        (
            nn.CosineDecay(RATE, epochs=40, final=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, 40, eta_min=0.1),
        ),
        (
            nn.CosineDecay(RATE, epochs=29, warmup=5),
            lambda o: warm_up_then_cosine(o, 5, 29, 0.0),
        ),
        (
            nn.CosineDecay(RATE, epochs=40, warmup=12, final=0.02),
            lambda o: warm_up_then_cosine(o, 12, 40, 0.02),
        ),
    ],
)
def test_rates_are_pytorchs(ours, theirs):
    rates = [ours(float(epoch)) for epoch in range(EPOCHS)]
    np.testing.assert_allclose(rates, torch_rates(theirs), rtol=1e-12, atol=1e-14)


def test_fractions_of_an_epoch_are_pytorchs_steps():
    ours = nn.CosineDecay(RATE, epochs=7.5, warmup=2.5, final=0.02)
    rates = [ours(step / 4) for step in range(EPOCHS)]
    expected = torch_rates(lambda o: warm_up_then_cosine(o, 10, 30, 0.02))
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-14)


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
    rates = [ours(float(epoch), rows[:epoch]) for epoch in range(EPOCHS)]

    def theirs(optimizer):
        return lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode,
            factor=0.5,
            patience=patience,
            threshold=min_delta,
            threshold_mode="abs",
            min_lr=minimum,
            eps=0.0,
        )

    assert rates == torch_rates(theirs, values)

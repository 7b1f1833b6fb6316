"""Worked updates, one after the other, go the way of PyTorch's optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import anyback_nn as nn
from anyback_nn.explain.updates import compute_update

PAIRS = {
    "sgd": (nn.GradientDescent(0.1, l2=0.2), torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.2}),
    "momentum": (nn.Momentum(0.1), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": (
        nn.Nesterov(0.1),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ),
    "adagrad": (nn.Adagrad(0.1), torch.optim.Adagrad, {"lr": 0.1}),
    "rmsprop": (nn.RMSProp(0.1), torch.optim.RMSprop, {"lr": 0.1}),
    "adam": (nn.Adam(0.1), torch.optim.Adam, {"lr": 0.1}),
    "adamw": (nn.AdamW(0.1, weight_decay=0.3), torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.3}),
}


def next_slots(optimizer, values):
    """Return what the optimiser stores after a step, by the symbols of a worked update."""
    if isinstance(optimizer, nn.Adam):
        return {
            "mean": values["m_t"] / (1 - optimizer.beta1),
            "square": values["v_t"] / (1 - optimizer.beta2),
        }
    return {slot: values[{"velocity": "v", "square": "s"}[slot]] for slot in optimizer.slots}


@pytest.mark.parametrize("name", PAIRS)
def test_updates_are_those_of_torch(name):
    optimizer, kind, options = PAIRS[name]
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 2))
    theirs = torch.tensor(weight, requires_grad=True)
    rule = kind([theirs], **options)
    slots = {slot: np.zeros_like(weight) for slot in optimizer.slots}
    for step in range(1, 6):
        gradient = rng.normal(size=weight.shape)
        theirs.grad = torch.tensor(gradient)
        rule.step()
        values = compute_update(optimizer, weight, gradient, slots, step, 0.1)
        weight, slots = values["w_new"], next_slots(optimizer, values)
        np.testing.assert_allclose(weight, theirs.detach().numpy(), rtol=1e-10)

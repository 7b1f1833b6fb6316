"""Optimisers against PyTorch's, at each of 200 steps."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
from optimizer_runs import TOLERANCE, problem, run

import anyback_nn as nn
from anyback_nn.optim.optimizers import OPTIMIZERS

torch = pytest.importorskip("torch")
optim, utils = torch.optim, torch.nn.utils
STEPS = 200

RULES = {
    "sgd": (partial(nn.GradientDescent, 0.03), partial(optim.SGD, lr=0.03)),
    "momentum": (partial(nn.Momentum, 0.03, 0.8), partial(optim.SGD, lr=0.03, momentum=0.8)),
    "nesterov": (
        partial(nn.Nesterov, 0.03, 0.8),
        partial(optim.SGD, lr=0.03, momentum=0.8, nesterov=True),
    ),
    "adagrad": (partial(nn.Adagrad, 0.05), partial(optim.Adagrad, lr=0.05)),
    "adagrad-epsilon": (partial(nn.Adagrad, 0.05, 0.3), partial(optim.Adagrad, lr=0.05, eps=0.3)),
    "rmsprop": (partial(nn.RMSProp, 0.01), partial(optim.RMSprop, lr=0.01)),
    "rmsprop-settings": (
        partial(nn.RMSProp, 0.01, 0.95, 0.3),
        partial(optim.RMSprop, lr=0.01, alpha=0.95, eps=0.3),
    ),
    "adam": (partial(nn.Adam, 0.01), partial(optim.Adam, lr=0.01)),
    "adam-settings": (
        partial(nn.Adam, 0.01, 0.5, 0.9, 0.3),
        partial(optim.Adam, lr=0.01, betas=(0.5, 0.9), eps=0.3),
    ),
    "adamw": (partial(nn.AdamW, 0.01), partial(optim.AdamW, lr=0.01)),
}


@cache
def torch_path(make, decays, dtype, size=3.0, clips=()):
    """Take PyTorch's steps; give the parameters after each, as `run` does."""
    params, grads = problem(STEPS, size)
    tensors = [torch.nn.Parameter(torch.tensor(p.astype(dtype))) for p in params.values()]
    groups = zip(tensors, decays, strict=True)
    rule = make([{"params": [tensor], "weight_decay": decay} for tensor, decay in groups])
    path = []
    for grad in grads:
        for tensor, g in zip(tensors, grad.values(), strict=True):
            tensor.grad = torch.tensor(g.astype(dtype))
        for clip in clips:
            clip(tensors)
        rule.step()
        path.append(np.concatenate([t.detach().numpy().ravel() for t in tensors]))
    return np.stack(path)


def assert_same_path(actual, expected, dtype):
    assert actual.dtype == expected.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", RULES)
def test_every_rule_takes_pytorchs_steps(name, backend, dtype):
    """The weight decays, the bias does not. PyTorch's decay is our L2, but for AdamW."""
    ours, theirs = RULES[name]
    rule = ours(**{"weight_decay" if name == "adamw" else "l2": 0.2})
    path = run(rule, backend, *problem(STEPS), backend.packed, dtype)
    assert_same_path(path, torch_path(theirs, (0.2, 0.0), dtype), dtype)


CLIPS = {
    "value": ({"clip_value": 4e7}, (partial(utils.clip_grad_value_, clip_value=4e7),)),
    "norm": ({"clip_norm": 1e8}, (partial(utils.clip_grad_norm_, max_norm=1e8),)),
    "value, then norm": (
        {"clip_value": 4e7, "clip_norm": 1e8},
        (
            partial(utils.clip_grad_value_, clip_value=4e7),
            partial(utils.clip_grad_norm_, max_norm=1e8),
        ),
    ),
}


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
@pytest.mark.parametrize("name", CLIPS)
def test_clipping_is_pytorchs(name, packed, backend, dtype):
    """Of such gradients, the 1e-6 that PyTorch adds to the norm is nothing; L2 is not clipped."""
    settings, clips = CLIPS[name]
    rule = nn.Momentum(1e-9, 0.8, l2=1e7, penalize_all=True, **settings)
    make = partial(optim.SGD, lr=1e-9, momentum=0.8)
    path = run(rule, backend, *problem(STEPS, size=3e7), packed, dtype)
    assert_same_path(path, torch_path(make, (1e7, 1e7), dtype, 3e7, clips), dtype)


@pytest.mark.usefixtures("backend")
def test_every_rule_is_compared():
    assert {name.partition("-")[0] for name in RULES} == OPTIMIZERS.keys()

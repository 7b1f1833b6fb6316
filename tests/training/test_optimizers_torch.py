"""Optimisers against PyTorch's, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_runs import problem, run

import anyback_nn as nn

torch = pytest.importorskip("torch")


def torch_path(make, params, grads, clip=None):
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params.values()]
    rule = make(torch.optim, tensors)
    path = []
    for grad in grads:
        for tensor, g in zip(tensors, grad.values(), strict=True):
            tensor.grad = torch.tensor(g)
        if clip is not None:
            clip(torch.nn.utils, tensors)
        rule.step()
        path.append(np.concatenate([t.detach().numpy().ravel() for t in tensors]))
    return np.stack(path)


PEERS = {
    "sgd": (nn.GradientDescent(0.03), lambda o, p: o.SGD(p, lr=0.03)),
    "momentum": (nn.Momentum(0.03, 0.8), lambda o, p: o.SGD(p, lr=0.03, momentum=0.8)),
    "nesterov": (
        nn.Nesterov(0.03, 0.8),
        lambda o, p: o.SGD(p, lr=0.03, momentum=0.8, nesterov=True),
    ),
    "adagrad": (nn.Adagrad(0.05), lambda o, p: o.Adagrad(p, lr=0.05)),
    "rmsprop": (nn.RMSProp(0.01, 0.95), lambda o, p: o.RMSprop(p, lr=0.01, alpha=0.95)),
    "adam": (nn.Adam(0.01), lambda o, p: o.Adam(p, lr=0.01)),
    "adam-betas": (
        nn.Adam(0.01, 0.5, 0.9, 1e-3),
        lambda o, p: o.Adam(p, lr=0.01, betas=(0.5, 0.9), eps=1e-3),
    ),
    "adam-l2": (
        nn.Adam(0.01, l2=0.1, penalize_all=True),
        lambda o, p: o.Adam(p, lr=0.01, weight_decay=0.1),
    ),
    "sgd-l2": (
        nn.GradientDescent(0.03, l2=0.1),
        lambda o, p: o.SGD([{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:]}], lr=0.03),
    ),
    "adamw": (
        nn.AdamW(0.01, weight_decay=0.2),
        lambda o, p: o.AdamW(
            [{"params": p[:1], "weight_decay": 0.2}, {"params": p[1:], "weight_decay": 0.0}],
            lr=0.01,
        ),
    ),
}


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
@pytest.mark.parametrize("name", PEERS)
def test_every_rule_takes_pytorchs_steps(name, packed, backend):
    ours, theirs = PEERS[name]
    np.testing.assert_allclose(
        run(ours, backend, *problem(), packed),
        torch_path(theirs, *problem()),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("ours", "clip"),
    [
        (nn.Adam(0.01, clip_norm=1.5), lambda u, p: u.clip_grad_norm_(p, 1.5)),
        (nn.Momentum(0.01, clip_value=0.7), lambda u, p: u.clip_grad_value_(p, 0.7)),
    ],
    ids=["norm", "value"],
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "separate"])
def test_clipping_is_pytorchs(ours, clip, packed, backend):
    make = {
        nn.Adam: lambda o, p: o.Adam(p, lr=0.01),
        nn.Momentum: lambda o, p: o.SGD(p, lr=0.01, momentum=0.9),
    }[type(ours)]
    # PyTorch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(
        run(ours, backend, *problem(), packed),
        torch_path(make, *problem(), clip),
        rtol=1e-5,
        atol=1e-6,
    )

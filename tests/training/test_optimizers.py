"""Optimisers against PyTorch's and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.backend import to_numpy
from anyback_nn.network.parameters import Layout
from anyback_nn.training.schedules import StepDecay

STEPS = 60


def run(optimizer, backend, params, grads, packed=True):
    """Take one step for each gradient; give the parameters after each, as one flat array.

    What an optimiser is given is used up, hence the copies.
    """
    with backend.scope("float64"):
        tree = ({name: backend.asarray(p.copy(), "float64") for name, p in params.items()},)
        layout = Layout.of(tree, packed)
        storage = layout.store(tree)
        slots = optimizer.init(storage)
        mask = layout.mask(storage, everything=optimizer.penalize_all)
        path = []
        for step, grad in enumerate(grads, 1):
            grad = ({name: backend.asarray(g.copy(), "float64") for name, g in grad.items()},)
            coefficients = optimizer.coefficients(step, optimizer.schedule(step - 1.0))
            storage, slots = optimizer.update(
                storage, layout.store(grad), slots, mask, coefficients
            )
            arrays = layout.restore(storage)[0].values()
            path.append(np.concatenate([to_numpy(a).ravel() for a in arrays]))
        return np.stack(path)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    params = {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(3)}
    grads = [
        {name: rng.standard_normal(p.shape) * 3 for name, p in params.items()} for _ in range(STEPS)
    ]
    return params, grads


def torch_path(make, params, grads, clip=None):
    torch = pytest.importorskip("torch")
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
def test_every_rule_takes_pytorchs_steps(name, packed, backend, problem):
    ours, theirs = PEERS[name]
    np.testing.assert_allclose(
        run(ours, backend, *problem, packed), torch_path(theirs, *problem), rtol=1e-9, atol=1e-12
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
def test_clipping_is_pytorchs(ours, clip, packed, backend, problem):
    make = {
        nn.Adam: lambda o, p: o.Adam(p, lr=0.01),
        nn.Momentum: lambda o, p: o.SGD(p, lr=0.01, momentum=0.9),
    }[type(ours)]
    # PyTorch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(
        run(ours, backend, *problem, packed), torch_path(make, *problem, clip), rtol=1e-5, atol=1e-6
    )


def test_a_gradient_that_is_short_enough_is_not_scaled(backend, problem):
    np.testing.assert_allclose(
        run(nn.GradientDescent(0.1, clip_norm=1e6), backend, *problem),
        run(nn.GradientDescent(0.1), backend, *problem),
        rtol=1e-14,
    )


def test_clipping_a_zero_gradient_gives_zero(backend, problem):
    params, grads = problem
    zeros = [{name: 0 * g for name, g in grads[0].items()}]
    path = run(nn.GradientDescent(0.1, clip_norm=1.0), backend, params, zeros)
    np.testing.assert_array_equal(path[0], np.concatenate([p.ravel() for p in params.values()]))


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(backend, problem):
    # Kingma and Ba, section 2.1: m_hat / sqrt(v_hat) is the sign of the first gradient.
    params, grads = problem
    start = np.concatenate([p.ravel() for p in params.values()])
    signs = np.sign(np.concatenate([g.ravel() for g in grads[0].values()]))
    path = run(nn.Adam(0.01), backend, params, grads[:1])
    np.testing.assert_allclose(path[0] - start, -0.01 * signs, rtol=1e-6)


def test_penalties_act_on_weights_alone_by_default(backend, problem):
    params, _ = problem
    zeros = [{name: 0 * p for name, p in params.items()}]
    w, b = params["weight"].ravel(), params["bias"]
    path = run(nn.GradientDescent(0.1, l1=0.2, l2=0.3), backend, params, zeros)
    np.testing.assert_allclose(path[0][:12], w - 0.1 * (0.2 * np.sign(w) + 0.3 * w), rtol=1e-14)
    np.testing.assert_array_equal(path[0][12:], b)
    path = run(nn.GradientDescent(0.1, l2=0.3, penalize_all=True), backend, params, zeros)
    np.testing.assert_allclose(path[0][12:], b - 0.1 * 0.3 * b, rtol=1e-14)


def test_a_schedule_sets_the_rate_of_each_step(backend, problem):
    params, grads = problem
    path = run(nn.GradientDescent(StepDecay(0.4, every=1, factor=0.5)), backend, params, grads[:3])
    p = np.concatenate([p.ravel() for p in params.values()])
    for step, rate in enumerate([0.4, 0.2, 0.1]):
        p = p - rate * np.concatenate([g.ravel() for g in grads[step].values()])
        np.testing.assert_allclose(path[step], p, rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Adam(0.0), "Adam: expected learning_rate above 0, got 0.0"),
        (lambda: nn.Adam(beta1=1.0), "beta1 from 0 to below 1"),
        (lambda: nn.Momentum(momentum=-0.1), "momentum from 0 to below 1"),
        (lambda: nn.RMSProp(smoothing=2.0), "smoothing from 0 to below 1"),
        (lambda: nn.AdamW(weight_decay=-1.0), "weight_decay 0 or greater"),
        (lambda: nn.GradientDescent(l2=-1.0), "l2 0 or greater"),
        (lambda: nn.GradientDescent(clip_norm=0.0), "clip_norm None or above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()

"""Optimisers against Optax's, at each of 200 steps, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_runs import TOLERANCE, problem, run

import anyback_nn as nn
from anyback_nn.optim.optimizers import OPTIMIZERS

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
STEPS = 200
WEIGHTS = {"weight": True, "bias": False}


def l2(share, mask=None):
    return optax.add_decayed_weights(share, mask)


PEERS = {
    "sgd, L2": (nn.GradientDescent(0.03, l2=0.2), optax.chain(l2(0.2, WEIGHTS), optax.sgd(0.03))),
    "momentum": (nn.Momentum(0.03, 0.8), optax.sgd(0.03, momentum=0.8)),
    "momentum, clipped by value": (
        nn.Momentum(0.03, 0.8, clip_value=4.0),
        optax.chain(optax.clip(4.0), optax.sgd(0.03, momentum=0.8)),
    ),
    "nesterov": (nn.Nesterov(0.03, 0.8), optax.sgd(0.03, momentum=0.8, nesterov=True)),
    "nesterov, clipped by norm": (
        nn.Nesterov(0.03, 0.8, clip_norm=10.0),
        optax.chain(optax.clip_by_global_norm(10.0), optax.sgd(0.03, momentum=0.8, nesterov=True)),
    ),
    # Optax has the epsilon of Adagrad within the root.
    "adagrad": (
        nn.Adagrad(0.05, epsilon=1e-30),
        optax.adagrad(0.05, initial_accumulator_value=0.0, eps=0.0),
    ),
    "rmsprop, L2 of everything": (
        nn.RMSProp(0.01, 0.95, 0.3, l2=0.2, penalize_all=True),
        optax.chain(l2(0.2), optax.rmsprop(0.01, decay=0.95, eps=0.3, eps_in_sqrt=False)),
    ),
    "adam": (nn.Adam(0.01, 0.5, 0.9, 0.3), optax.adam(0.01, b1=0.5, b2=0.9, eps=0.3)),
    "adam, clipped by value, then by norm, then L2": (
        nn.Adam(0.01, clip_value=4.0, clip_norm=10.0, l2=0.2),
        optax.chain(
            optax.clip(4.0), optax.clip_by_global_norm(10.0), l2(0.2, WEIGHTS), optax.adam(0.01)
        ),
    ),
    "adamw": (
        nn.AdamW(0.01, weight_decay=0.2),
        optax.adamw(0.01, weight_decay=0.2, mask=WEIGHTS),
    ),
    "adamw of everything": (
        nn.AdamW(0.01, weight_decay=0.2, penalize_all=True),
        optax.adamw(0.01, weight_decay=0.2),
    ),
}


def optax_path(rule, params, grads):
    """Take Optax's steps; give the parameters after each, as `run` does."""

    def step(carry, grad):
        now, state = carry
        updates, state = rule.update(grad, state, now)
        now = optax.apply_updates(now, updates)
        return (now, state), jax.numpy.concat([now[name].ravel() for name in params])

    with jax.enable_x64(True):
        stacked = {name: np.stack([grad[name] for grad in grads]) for name in params}
        start, grads = jax.tree.map(jax.numpy.asarray, (params, stacked))
        return np.asarray(jax.lax.scan(step, (start, rule.init(start)), grads)[1])


@pytest.mark.parametrize("name", PEERS)
def test_every_rule_takes_optaxs_steps(name, backend, float64):
    ours, theirs = PEERS[name]
    path = run(ours, backend, *problem(STEPS), backend.packed, float64)
    expected = optax_path(theirs, *problem(STEPS))
    np.testing.assert_allclose(path, expected, rtol=TOLERANCE[float64], atol=TOLERANCE[float64])


@pytest.mark.usefixtures("backend")
def test_every_rule_is_compared():
    assert {type(ours) for ours, _ in PEERS.values()} == set(OPTIMIZERS.values())

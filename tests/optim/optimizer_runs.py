"""Steps of optimisers: a problem, its path under a rule, and the formulas of the papers."""

from __future__ import annotations

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import to_numpy
from anyback_nn.network.layout import Layout
from anyback_nn.tree import tree_leaves, tree_map

STEPS = 60
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""Of paths of parameters of about the size 1 by two ways to compute the same."""


def run(optimizer, backend, params, grads, packed=True, dtype="float64"):
    """Take a step for each gradient; return the parameters after each, as one flat array.

    The parameters and the state of the optimiser keep their dtype and their device.
    """

    def own(x):
        return backend.xp.asarray(x, copy=True)  # arguments are donated

    def step(storage, state, mask, grad, coefficients):
        return optimizer.update(
            storage, layout.pack(tree_map(own, grad)), state, mask, coefficients
        )

    with backend.scope(dtype):
        trees = ({name: backend.asarray(x, dtype) for name, x in grad.items()} for grad in grads)
        tree = ({name: own(backend.asarray(p, dtype)) for name, p in params.items()},)
        layout = Layout.of(tree, packed)
        storage = layout.pack(tree)
        state = optimizer.init(storage)
        mask = layout.penalty_mask(storage, everything=optimizer.penalize_all)
        step = backend.jit(step, donate=(0, 1))
        path = []
        for number, grad in enumerate(trees, 1):
            coefficients = optimizer.coefficients(number, optimizer.schedule(number - 1.0))
            storage, state = step(storage, state, mask, (grad,), coefficients)
            arrays = layout.unpack(storage)[0].values()
            path.append(np.concatenate([to_numpy(a).ravel() for a in arrays]))
        for array in tree_leaves((storage, state)):
            assert array.dtype == getattr(backend.xp, dtype)
            assert device(array) == backend.device
        return np.stack(path)


def problem(steps=STEPS, size=3.0):
    """Parameters, and a gradient for each step."""
    rng = np.random.default_rng(0)
    params = {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(3)}
    grads = [
        {name: rng.standard_normal(p.shape) * size for name, p in params.items()}
        for _ in range(steps)
    ]
    return params, grads


def adam_formula(step, p, g, state, rate, *, decay=0.0):
    """Algorithm 1 of Kingma and Ba, and with ``decay`` algorithm 2 of Loshchilov and Hutter."""
    m = 0.9 * state.get("m", 0.0) + 0.1 * g
    v = 0.999 * state.get("v", 0.0) + 0.001 * g**2
    state.update(m=m, v=v)
    change = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return p - rate * (change + decay * p)


def momentum_formula(step, p, g, state, rate):
    state["v"] = 0.9 * state.get("v", 0.0) + g
    return p - rate * state["v"]


def nesterov_formula(step, p, g, state, rate):
    """Sutskever's equations 3 and 4, for the point where the gradient is taken."""
    old = state.get("v", 0.0)
    state["v"] = 0.9 * old - rate * g
    return p - 0.9 * old + 1.9 * state["v"]


def adagrad_formula(step, p, g, state, rate):
    state["s"] = state.get("s", 0.0) + g**2
    return p - rate * g / (np.sqrt(state["s"]) + 0.3)


def rmsprop_formula(step, p, g, state, rate):
    state["s"] = 0.99 * state.get("s", 0.0) + 0.01 * g**2
    return p - rate * g / (np.sqrt(state["s"]) + 1e-8)


def formula_path(formula, params, grads, rate):
    """Follow a formula, one array at a time."""
    columns = []
    for name, p in params.items():
        state, path = {}, []
        for step, grad in enumerate(grads, 1):
            p = formula(step, p, grad[name], state, rate)
            path.append(p.ravel())
        columns.append(np.stack(path))
    return np.concatenate(columns, axis=1)

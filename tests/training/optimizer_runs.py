"""How the tests of optimisers take steps: a made-up problem, and its path under a rule."""

from __future__ import annotations

import numpy as np

from anyback_nn.backend import to_numpy
from anyback_nn.network.parameters import Layout

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


def problem():
    """Parameters, and a gradient for each step."""
    rng = np.random.default_rng(0)
    params = {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(3)}
    grads = [
        {name: rng.standard_normal(p.shape) * 3 for name, p in params.items()} for _ in range(STEPS)
    ]
    return params, grads

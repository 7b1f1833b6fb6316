"""Every gradient of a walk is that of PyTorch's automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explained import NETWORKS, draw

from anyback_nn.explain.walk import compute_walk


def test_each_gradient_is_that_of_autograd():
    layers, loss = NETWORKS["tanh, sigmoid"]
    network, params, state, x, y = draw(layers, loss)
    walk = compute_walk(network, loss, params, state, x, y)
    values = {
        "W1": params[0]["weight"],
        "b1": params[0]["bias"],
        "W2": params[2]["weight"],
        "b2": params[2]["bias"],
    }
    values = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    values["Z1"] = torch.tensor(x) @ values["W1"] + values["b1"]
    values["A1"] = torch.tanh(values["Z1"])
    values["Z2"] = values["A1"] @ values["W2"] + values["b2"]
    for name in ("Z1", "A1", "Z2"):
        values[name].retain_grad()
    cost = torch.nn.functional.binary_cross_entropy_with_logits(values["Z2"], torch.tensor(y))
    cost.backward()
    assert float(walk["L"]) == pytest.approx(cost.item(), rel=1e-12)
    compared = {f"d{name}" for name in values}
    assert compared == {name for name in walk if name.startswith("d")}
    for name, value in values.items():
        np.testing.assert_allclose(walk[f"d{name}"], value.grad.numpy(), rtol=1e-12, atol=1e-15)

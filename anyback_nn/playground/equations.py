"""What the page says about a network: the equations of `anyback_nn.explain`, without numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anyback_nn.explain.names import name_values
from anyback_nn.explain.page import describe_walk
from anyback_nn.explain.steps import list_steps
from anyback_nn.explain.walked import find_dense
from anyback_nn.model import Model
from anyback_nn.playground.settings import N_INPUTS, OPTIMIZERS, build_model, list_kinds

__all__ = ["describe_equations"]


def describe_equations() -> dict[str, Any]:
    """Describe the walk through each kind of network, and the update by each optimiser.

    They do not depend on the widths.

    Returns
    -------
    dict
        JSON, see `describe_walk`: ``walks`` by depth and activation, such as ``"2/Tanh"``, and
        ``updates`` by optimiser, each without and with L2.
    """
    return {
        "walks": {
            kind: _describe_walk(build_model((2,) * depth, activation))
            for kind, (depth, activation) in list_kinds().items()
        },
        "updates": {
            name: [_describe_update(replace(rule, l2=l2)) for l2 in (0.0, 1.0)]
            for name, rule in OPTIMIZERS.items()
        },
    }


def _describe_walk(model: Model) -> dict[str, Any]:
    names = name_values(model.network, model.loss, model.params)
    steps = list_steps(model.network, model.loss, model.params, n_in=N_INPUTS)
    return describe_walk(steps, names, find_dense(model, names), None)


def _describe_update(optimizer: Any) -> dict[str, Any]:
    model = build_model((), "Tanh")
    names = name_values(model.network, model.loss, model.params)
    described = describe_walk((), names, {}, optimizer)
    return {"symbols": described["symbols"], **described["update"]}

"""What two libraries' functions compute the same way, for the tests that compare layers with them.

A reference is a function of the inputs, the parameters and the context of a row of `LAYERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reference = Callable[[Any, Any, Any], Any]


def elementwise(function: Callable[[Any], Any]) -> Reference:
    """Return a reference that needs the inputs alone."""
    return lambda x, params, context: function(x)


def compositions(tanh: Callable[[Any], Any], where: Callable[..., Any]) -> dict[str, Reference]:
    """Return the references that consist of operators, ``tanh`` and ``where``."""

    def dense(x: Any, params: Any, context: Any) -> Any:
        return x @ params["weight"] + params.get("bias", 0.0)

    def dropout(x: Any, params: Any, context: Any) -> Any:
        return where(context.noise, x / (1 - 0.4), 0.0 * x) if context.training else x

    return {
        "Dense": dense,
        "Dense without bias": dense,
        "Dropout": dropout,
        "Dropout in prediction": dropout,
        "Residual": lambda x, p, c: x + dense(tanh(dense(x, p[0], c)), p[2], c),
        "Residual of nothing": elementwise(lambda x: x + x),
        "Residual that ends in an activation": lambda x, p, c: x + tanh(dense(x, p[0], c)),
    }

"""The rules of optimisers in the words of textbooks, as functions of named values.

A rule reads and sets attributes of ``v``: with arrays it computes; with a `Recorder` it writes its
own equations, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.explain.expressions import (
    Expression,
    Recorder,
    maximum,
    minimum,
    sign,
    sqrt,
)
from anyback_nn.optim.like_sklearn import SklearnAdam, SklearnSGD
from anyback_nn.optim.optimizers import (
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Nesterov,
    Optimizer,
    RMSProp,
)

__all__ = ["name_slot", "write_rule"]


def name_slot(optimizer: Optimizer, slot: str) -> tuple[str, float | None]:
    """Return the symbol of an array of the state, and ``b`` if it is stored over 1 - b."""
    if isinstance(optimizer, Adam):
        return ("m_old", optimizer.beta1) if slot == "mean" else ("v_old", optimizer.beta2)
    return {"velocity": "v_old", "square": "s_old"}.get(slot, f"{slot}_old"), None


def write_rule(optimizer: Optimizer, v: Any, penalized: bool) -> None:
    """Clip, add the penalties and apply the rule, as `Optimizer.update` does."""
    g, w = v.dw, v.w
    if optimizer.clip_value is not None:
        v.dw_clipped = minimum(maximum(g, -v.clip), v.clip)
        g = v.dw_clipped
    if optimizer.clip_norm is not None:
        v.shrink = v.limit / maximum(v.norm, v.limit)
        v.dw_short = v.shrink * g
        g = v.dw_short
    if penalized and isinstance(optimizer, AdamW) and optimizer.weight_decay:
        v.w_decayed = w - v.rate * v.decay * w
        w = v.w_decayed
    if penalized and optimizer.l1:
        g = g + v.lambda1 * sign(w)
    if penalized and optimizer.l2:
        g = g + v.lambda2 * w
    v.g = g
    rule = _RULES.get(type(optimizer))
    if rule is not None:
        rule(optimizer, v, w)
    elif isinstance(v, Recorder):
        v.w_new = Expression(f"{type(optimizer).__name__}.rule({{w}}, {{g}})")
    else:
        v.w_new = _apply_own_rule(optimizer, v, w)


def _apply_own_rule(optimizer: Optimizer, v: Any, w: Array) -> Array:
    """Apply the rule of a user's optimiser, which overwrites its arguments."""
    xp = array_namespace(w)
    slots = (getattr(v, name_slot(optimizer, slot)[0]) for slot in optimizer.slots)
    w, g, *own = (xp.asarray(array, copy=True) for array in (w, v.g, *slots))
    return optimizer.rule(w, g, tuple(own), *optimizer.coefficients(v.t, v.rate))[0]


def _change(v: Any, w: Any, change: Any) -> None:
    """Add the change to a weight."""
    v.change = change
    v.w_new = w + v.change


def _descend(optimizer: Any, v: Any, w: Any) -> None:
    _change(v, w, -v.rate * v.g)


def _momentum(optimizer: Any, v: Any, w: Any) -> None:
    v.v = v.momentum * v.v_old + v.g
    _change(v, w, -v.rate * v.v)


def _nesterov(optimizer: Any, v: Any, w: Any) -> None:
    v.v = v.momentum * v.v_old + v.g
    _change(v, w, -v.rate * (v.g + v.momentum * v.v))


def _sklearn_sgd(optimizer: Any, v: Any, w: Any) -> None:
    v.v = v.momentum * v.v_old - v.rate * v.g
    _change(v, w, v.momentum * v.v - v.rate * v.g if optimizer.nesterov else v.v)


def _adagrad(optimizer: Any, v: Any, w: Any) -> None:
    v.s = v.s_old + v.g**2
    _change(v, w, -v.rate * v.g / (sqrt(v.s) + v.epsilon))


def _rmsprop(optimizer: Any, v: Any, w: Any) -> None:
    v.s = v.smoothing * v.s_old + (1 - v.smoothing) * v.g**2
    _change(v, w, -v.rate * v.g / (sqrt(v.s) + v.epsilon))


def _average(v: Any) -> None:
    """Update Adam's running means, which are not the number ``m`` of samples."""
    v.m_t = v.beta1 * v.m_old + (1 - v.beta1) * v.g
    v.v_t = v.beta2 * v.v_old + (1 - v.beta2) * v.g**2


def _adam(optimizer: Any, v: Any, w: Any) -> None:
    _average(v)
    v.m_hat = v.m_t / (1 - v.beta1**v.t)
    v.v_hat = v.v_t / (1 - v.beta2**v.t)
    _change(v, w, -v.rate * v.m_hat / (sqrt(v.v_hat) + v.epsilon))


def _sklearn_adam(optimizer: Any, v: Any, w: Any) -> None:
    _average(v)
    v.length = v.rate * sqrt(1 - v.beta2**v.t) / (1 - v.beta1**v.t)
    _change(v, w, -v.length * v.m_t / (sqrt(v.v_t) + v.epsilon))


_RULES: dict[type[Optimizer], Callable[[Any, Any, Any], None]] = {
    GradientDescent: _descend,
    Momentum: _momentum,
    Nesterov: _nesterov,
    Adagrad: _adagrad,
    RMSProp: _rmsprop,
    Adam: _adam,
    AdamW: _adam,
    SklearnSGD: _sklearn_sgd,
    SklearnAdam: _sklearn_adam,
}

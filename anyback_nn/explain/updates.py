"""The update of a weight, in the words of textbooks: every optimiser as a few short equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from types import SimpleNamespace

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.explain.expressions import Recorder, maximum, minimum
from anyback_nn.explain.notation import Step, list_symbols
from anyback_nn.explain.rules import name_slot, write_rule
from anyback_nn.optim.optimizers import Optimizer

__all__ = ["CONSTANTS", "compute_update", "list_constants", "list_update", "measure_norm"]

_SETTINGS = {
    "momentum": "momentum",
    "smoothing": "smoothing",
    "beta1": "beta1",
    "beta2": "beta2",
    "epsilon": "epsilon",
    "weight_decay": "decay",
    "l1": "lambda1",
    "l2": "lambda2",
    "clip_value": "clip",
    "clip_norm": "limit",
}
"""The symbols of an optimiser's attributes."""

CONSTANTS = {
    "rate": "learning rate",
    "t": "number of this step",
    "momentum": "share of the velocity that a step keeps",
    "smoothing": "share of the mean of squares that a step keeps",
    "beta1": "share of the running mean that a step keeps",
    "beta2": "share of the mean of squares that a step keeps",
    "epsilon": "number that keeps the divisor above 0",
    "decay": "strength of weight decay",
    "lambda1": "strength of the L1 penalty",
    "lambda2": "strength of the L2 penalty",
    "clip": "largest size of a gradient's number",
    "limit": "largest length of the whole gradient",
    "norm": "length of the whole gradient",
}
"""What the numbers are that are the same for all weights, by their symbols."""


def compute_update(
    optimizer: Optimizer,
    weight: Array,
    gradient: Array,
    slots: Mapping[str, Array],
    step: int | Array,
    rate: float | Array,
    *,
    norm: float | Array | None = None,
    penalized: bool = True,
    settings: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Compute the update of an array of parameters, with all that is computed on the way.

    Parameters
    ----------
    optimizer : Optimizer
    weight, gradient : array
        Of the same shape; unchanged.
    slots : dict of str to array
        The optimiser's state of this array, by the names of `Optimizer.slots`.
    step : int or array
        Number of the step, from 1. An array, of no axes, if the function is traced.
    rate : float or array
        Learning rate of this step.
    norm : float or array, optional
        Length of the whole gradient, see `measure_norm`; needed with ``clip_norm``.
    penalized : bool
        Whether penalties and weight decay act on the array.
    settings : dict of str to array, optional
        Settings in place of the optimiser's, by their symbols, such as ``"lambda2"``. With arrays
        they are inputs of a function that is traced.

    Returns
    -------
    dict of str to array
        The values by the symbols of `list_update`, the last one ``"w_new"``.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.optim.optimizers import GradientDescent
    >>> w, dw = np.asarray([1.0]), np.asarray([2.0])
    >>> values = compute_update(GradientDescent(0.1), w, dw, {}, 1, 0.1)
    >>> {name: value.tolist() for name, value in values.items()}
    {'g': [2.0], 'change': [-0.2], 'w_new': [0.8]}
    """
    if optimizer.clip_norm is not None and norm is None:
        raise ValueError(
            "expected norm, the length of the whole gradient, because the optimiser has clip_norm: "
            "see measure_norm"
        )
    values = SimpleNamespace(
        **(_read_settings(optimizer) | dict(settings or {})),
        rate=rate,
        t=step,
        norm=norm,
        w=weight,
        dw=gradient,
    )
    known = {*vars(values)}
    for slot, array in slots.items():
        symbol, factor = name_slot(optimizer, slot)
        setattr(values, symbol, array if factor is None else array * (1 - factor))
    write_rule(optimizer, values, penalized)
    return {name: value for name, value in vars(values).items() if name not in known}


def list_update(optimizer: Optimizer, *, penalized: bool = True) -> tuple[Step, ...]:
    """List the steps of an update.

    In their equations ``{w}`` is the weight before, ``{dw}`` its gradient, ``{rate}`` the learning
    rate, ``{t}`` the number of the step; others are those of `list_constants`. What the optimiser
    has stored, such as ``{m_old}``, comes first, with its symbol alone as the equation.

    Examples
    --------
    >>> from anyback_nn.optim.optimizers import Momentum
    >>> for step in list_update(Momentum(0.1)):
    ...     print(step.rows)
    {v_old}
    {g} = {dw}
    {v} = {momentum} · {v_old} + {g}
    {change} = −{rate} · {v}
    {w_new} = {w} + {change}
    """
    recorder = Recorder()
    write_rule(optimizer, recorder, penalized)
    stored = {name_slot(optimizer, slot)[0]: "" for slot in optimizer.slots}
    return tuple(
        Step(
            *(symbol, "update", None, f"Update: {{{symbol}}}"),
            *(f"{{{symbol}}} = {text}" if text else f"{{{symbol}}}",) * 2,
            _explain(symbol, text),
        )
        for symbol, text in (stored | recorder.equations).items()
    )


def list_constants(optimizer: Optimizer) -> dict[str, float]:
    """List the settings that appear in the equations, by their symbols.

    >>> from anyback_nn.optim.optimizers import Adam
    >>> list_constants(Adam())
    {'beta1': 0.9, 'beta2': 0.999, 'epsilon': 1e-08}
    """
    used = {name for step in list_update(optimizer) for name in list_symbols(step.rows)}
    return {name: value for name, value in _read_settings(optimizer).items() if name in used}


def _read_settings(optimizer: Optimizer) -> dict[str, float]:
    """Return the settings by their symbols."""
    return {symbol: getattr(optimizer, name, 0.0) for name, symbol in _SETTINGS.items()}


def measure_norm(optimizer: Optimizer, gradients: Sequence[Array]) -> Array | None:
    """Measure the length of the whole gradient, as ``clip_norm`` does; None if it is not needed.

    >>> import numpy as np
    >>> from anyback_nn.optim.optimizers import Adagrad
    >>> float(measure_norm(Adagrad(clip_norm=1.0), [np.asarray([3.0]), np.asarray([4.0])]))
    5.0
    """
    if optimizer.clip_norm is None:
        return None
    xp, limit = array_namespace(gradients[0]), optimizer.clip_value
    if limit is not None:
        gradients = [minimum(maximum(g, -limit), limit) for g in gradients]
    # The squares of tiny or huge numbers would vanish or overflow.
    smallest = float(xp.finfo(gradients[0].dtype).smallest_normal)
    largest = xp.maximum(reduce(xp.maximum, (xp.max(xp.abs(g)) for g in gradients)), smallest)
    return largest * xp.sqrt(sum(xp.sum((g / largest) ** 2) for g in gradients))


def _explain(symbol: str, text: str) -> str:
    """Explain a step in a sentence."""
    if symbol == "change" and "{m_hat}" in text:
        return (
            _ABOUT[symbol] + " Plain gradient descent would move by −{rate} · {g}. Adam divides by "
            "the size that the gradient usually has, so that in the first steps every weight moves "
            "by about {rate}."
        )
    if symbol != "g":
        return _ABOUT.get(symbol, "What the last step has stored; 0 before the first.")
    if text == "{dw}":
        return "The gradient as it is: there is no penalty and no clipping."
    penalties = [
        f"{penalty}, whose slope is {slope}"
        for name, penalty, slope in (
            ("{lambda1}", "{lambda1} |{w}|", "{lambda1} sign({w})"),
            ("{lambda2}", "({lambda2}/2) {w}^2", "{lambda2} {w}"),
        )
        if name in text
    ]
    if not penalties:
        return "The gradient that the rule goes by: the one after clipping."
    return (
        "Training lowers L plus a penalty for large weights, which is not in L above: for each "
        f"weight {' and '.join(penalties)}. That slope is added to the gradient of L."
    )


_ABOUT = {
    "m_old": "The running mean of the gradient after the last step; 0 before the first. Adam's m "
    "is not the m that counts samples.",
    "s_old": "The squares of the gradient up to the last step; 0 before the first.",
    "dw_clipped": "Clipping: the gradient is limited to at most the bound, in both directions.",
    "shrink": "norm is the length of the gradient of all parameters. If it is above the limit, the "
    "gradient is scaled down to it.",
    "dw_short": "All gradients are scaled by that factor, so that the direction stays.",
    "w_decayed": "Weight decay draws the weight towards 0 before the step.",
    "v": "The velocity: a sum of all gradients so far, of which the older ones count less. It "
    "keeps a share of what it was, and the new gradient is added.",
    "s": "The squares of the gradient, with the new one in them.",
    "m_t": "The running mean of the gradient: an average of all gradients so far, of which the "
    "older ones count less. It moves a little towards the new one.",
    "v_t": "The running mean of the squared gradient moves a little towards the new square.",
    "m_hat": "The mean began at 0, which is too small at first: this corrects it.",
    "v_hat": "The mean of the squares is corrected in the same way.",
    "length": "The learning rate, corrected for running means that began at 0.",
    "change": "The step of the weight: against its gradient, the way in which the loss falls.",
    "w_new": "The new weight.",
}

"""The formulas of activations and losses, as equations.

In these, ``{z}`` is the input of an activation and ``{a}`` its output, ``{p}`` the prediction,
``{y}`` the targets. What is not in the tables, such as a layer of a user's, is written by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from anyback_nn.network.activations import (
    ELU,
    GELU,
    SELU,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from anyback_nn.network.losses import (
    BinaryCrossEntropy,
    Huber,
    KnownTargets,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    ProbabilityCrossEntropy,
    Quantile,
    SoftmaxCrossEntropy,
)

__all__ = ["LossFormula", "write_activation", "write_loss"]

_Formula = Callable[[Any], str]

_ACTIVATIONS: dict[type[Activation], tuple[str, _Formula, _Formula]] = {
    Identity: ("the identity", lambda g: "{z}", lambda g: "1"),
    Sigmoid: ("sigmoid", lambda g: "sigmoid({z})", lambda g: "{a} ⊙ (1 − {a})"),
    Tanh: ("tanh", lambda g: "tanh({z})", lambda g: "(1 − {a}^2)"),
    ReLU: ("ReLU", lambda g: "max({z}, 0)", lambda g: "[{z} > 0]"),
    LeakyReLU: (
        "leaky ReLU",
        lambda g: f"({{z}} where {{z}} > 0, else {g.slope:g} {{z}})",
        lambda g: f"(1 where {{z}} > 0, else {g.slope:g})",
    ),
    ELU: (
        "ELU",
        lambda g: f"({{z}} where {{z}} > 0, else {g.alpha:g} (exp({{z}}) − 1))",
        lambda g: f"(1 where {{z}} > 0, else {{a}} + {g.alpha:g})",
    ),
    SELU: (
        "SELU",
        lambda g: "1.0507 ({z} where {z} > 0, else 1.6733 (exp({z}) − 1))",
        lambda g: "(1.0507 where {z} > 0, else {a} + 1.7581)",
    ),
    GELU: (
        "GELU",
        lambda g: "{z} ⊙ s, s = sigmoid(1.595769 ({z} + 0.044715 {z}^3))",
        lambda g: (
            "(s + {z} ⊙ s ⊙ (1 − s) ⊙ (1.595769 + 0.214064 {z}^2)), "
            "s = sigmoid(1.595769 ({z} + 0.044715 {z}^3))"
        ),
    ),
    SiLU: (
        "SiLU",
        lambda g: "{z} ⊙ s, s = sigmoid({z})",
        lambda g: "(s + {z} ⊙ s ⊙ (1 − s)), s = sigmoid({z})",
    ),
    Softplus: ("softplus", lambda g: "log(1 + exp({z}))", lambda g: "sigmoid({z})"),
}


def write_activation(layer: Any) -> tuple[str, str, str] | None:
    """Return the name, ``g(z)`` and the elementwise ``g'(z)`` of an activation, if it is known.

    >>> write_activation(Tanh())
    ('tanh', 'tanh({z})', '(1 − {a}^2)')
    """
    if type(layer) is Softmax:
        return "softmax", "softmax({z})", ""
    if type(layer) not in _ACTIVATIONS:
        return None
    name, function, derivative = _ACTIVATIONS[type(layer)]
    return name, function(layer), derivative(layer)


@dataclass(frozen=True)
class LossFormula:
    """The formulas of a loss.

    Attributes
    ----------
    link : str
        The prediction as a function of the outputs ``{z}``; empty if they are the prediction.
    value : str
        What is summed over the outputs of a sample.
    gradient : str
        The derivative of ``value`` with respect to an output.
    mean : bool
        Whether the sum is divided by the number of outputs.
    note : str
        What else there is to know.
    """

    link: str
    value: str
    gradient: str
    mean: bool = True
    note: str = ""


_ENTROPY = "−({y} ⊙ log({p}) + (1 − {y}) ⊙ log(1 − {p}))"
_KNOWN: dict[type[Loss], Callable[[Any], LossFormula]] = {
    MeanSquaredError: lambda loss: LossFormula("", "({p} − {y})^2", "2 ({p} − {y})"),
    MeanAbsoluteError: lambda loss: LossFormula("", "|{p} − {y}|", "sign({p} − {y})"),
    Quantile: lambda loss: LossFormula(
        "",
        f"max({1 - loss.quantile:g} ({{p}} − {{y}}), −{loss.quantile:g} ({{p}} − {{y}}))",
        f"({1 - loss.quantile:g} where {{p}} > {{y}}, else −{loss.quantile:g})",
    ),
    Huber: lambda loss: LossFormula(
        "",
        f"(({{p}} − {{y}})^2 / 2 where |{{p}} − {{y}}| < {loss.delta:g}, "
        f"else {loss.delta:g} (|{{p}} − {{y}}| − {loss.delta / 2:g}))",
        f"limit({{p}} − {{y}}, −{loss.delta:g}, {loss.delta:g})",
    ),
    Poisson: lambda loss: LossFormula(
        "exp({z})", "({p} − {y} + {y} ⊙ log(max({y}, 1e−30) / {p}))", "({p} − {y})"
    ),
    BinaryCrossEntropy: lambda loss: LossFormula("sigmoid({z})", _ENTROPY, "({p} − {y})"),
    ProbabilityCrossEntropy: lambda loss: LossFormula(
        "", _ENTROPY, "({p} − {y}) / ({p} ⊙ (1 − {p}))"
    ),
    SoftmaxCrossEntropy: lambda loss: LossFormula(
        "softmax({z})", "−{y} ⊙ log({p})", "({p} − {y})", mean=False
    ),
}


def write_loss(loss: Loss, n_out: int) -> LossFormula:
    """Return the formulas of a loss.

    >>> write_loss(MeanSquaredError(), 1).gradient
    '2 ({p} − {y})'
    """
    if type(loss) is KnownTargets:
        formula = write_loss(loss.loss, n_out)
        note = (
            "Targets that are not known are left out: their gradient is 0, and a sample's mean is "
            "over the known ones."
        )
        return replace(formula, mean=False, note=note)
    if type(loss) not in _KNOWN:
        name = type(loss).__name__
        link = "" if type(loss).link is Loss.link else f"{name}.link({{z}})"
        return LossFormula(link, f"{name}({{p}}, {{y}})", f"{name}′({{p}}, {{y}})", mean=False)
    formula = _KNOWN[type(loss)](loss)
    share = getattr(loss, "label_smoothing", 0.0)
    if share:
        n_classes = 2 if type(loss) is BinaryCrossEntropy else n_out
        target = f"({1 - share:g} {{y}} + {share / n_classes:g})"
        value, gradient = (
            text.replace("{y}", target) for text in (formula.value, formula.gradient)
        )
        note = f"Label smoothing moves {share:g} of each target to the middle."
        formula = replace(formula, value=value, gradient=gradient, note=note)
    return formula

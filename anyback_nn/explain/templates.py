"""Templates of worked lines: an equation for one element of an array, for any weight of a layer.

A template names elements of arrays by indices that are letters, ``{dW1[i,j]}``: ``i`` is an input
of the weight's layer, ``j`` a unit of it, ``k`` a sample and ``u`` a unit of the next layer. The
page fills the same templates for each weight that is clicked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anyback_nn.explain.code import is_computable
from anyback_nn.explain.names import Names
from anyback_nn.explain.notation import Step, list_symbols

__all__ = ["Template", "list_templates", "list_update_templates", "write_loss_template"]

_LOSS = re.compile(r"(\(1/.*?\)+) sum\((.*)\)$")
_PRODUCT = re.compile(r"\{d\w+\} = (\{\w+\}) (\{\w+\})(\^T)?$")
_NOT_ELEMENTWISE = re.compile(r"sum\(|total\(|mean\(|block|backward")


@dataclass(frozen=True)
class Template:
    """A line of a worked update, for any weight of a layer.

    Attributes
    ----------
    name : str
        The element that it computes, such as ``"{dW1[i,j]}"``.
    formula : str
        What it is; empty for a value that is stored.
    over : str
        The indices that ``formula`` is summed over; empty if it is not.
    units : str
        The weights whose units the index ``u`` goes over. If the formula is not summed over them,
        there is a line for each, unless they are more than `MOST_LINES`.
    factor : str
        A factor before the sum.
    about : str
    """

    name: str
    formula: str
    over: str = ""
    units: str = ""
    factor: str = ""
    about: str = ""


@dataclass(frozen=True)
class _Elements:
    """Writes elements of arrays, and equations for them, in a notation."""

    of_samples: frozenset[str]
    scalars: frozenset[str]
    swap: bool

    @classmethod
    def of(cls, names: Names, notation: str) -> _Elements:
        return cls(names.of_samples, frozenset({"L", "m"}), notation == "columns")

    def name(self, symbol: str, sample: str, feature: str) -> str:
        """Name an element by its indices."""
        if symbol in self.scalars:
            return f"{{{symbol}}}"
        if symbol.removeprefix("d") in self.of_samples:
            place = f"{feature},{sample}" if self.swap else f"{sample},{feature}"
        else:
            place = f"{feature},0" if self.swap else feature
        return f"{{{symbol}[{place}]}}"

    def write(self, equation: str, feature: str) -> str:
        """Write an elementwise equation for an element; return nothing if it is another."""
        right = equation.partition(" = ")[2]
        if _NOT_ELEMENTWISE.search(right) or _PRODUCT.match(equation):
            return ""
        return _point(
            re.sub(r"\{([\w.]+)\}", lambda match: self.name(match[1], "k", feature), right)
        )


def _point(text: str) -> str:
    """Write every product of numbers with a point."""
    return re.sub(r"(?<=\d) (?=[{(])", " · ", text.replace("⊙", "·"))


def write_loss_template(
    steps: Sequence[Step], names: Names, notation: str = "rows"
) -> Template | None:
    """Write the template of the loss: a sum over samples and outputs; None for a user's loss.

    >>> names = Names(("Z1",), "Z1", ({},), ({},))
    >>> step = Step("L", "loss", None, "", *["{L} = (1/{m}) sum(({Z1} − {Y})^2)"] * 2, "")
    >>> write_loss_template([step], names).formula
    '({Z1[k,u]} − {Y[k,u]})^2'
    """
    equation = next((step.rows for step in steps if step.symbol == "L"), "")
    match = _LOSS.search(equation)
    if match is None or not is_computable(equation):
        return None
    formula = _Elements.of(names, notation).write(f"L = {match[2]}", "u")
    return Template("{L}", formula, "ku", factor=_point(match[1])) if formula else None


def list_templates(
    steps: Sequence[Step], names: Names, index: int, notation: str = "rows"
) -> tuple[Template, ...]:
    """List the templates of the gradient of a `Dense` layer's weights.

    Parameters
    ----------
    steps : sequence of Step
    names : Names
    index : int
        The position of the layer.
    notation : str
        ``"rows"`` or ``"columns"``.

    Returns
    -------
    tuple of Template
        The way from the next product of matrices, or from the loss, back to the layer; last the
        gradient of the weight.
    """
    equations = {step.symbol: getattr(step, notation) for step in steps}
    abouts = {step.symbol: step.explain(notation) for step in steps}
    elements = _Elements.of(names, notation)
    order = -1 if elements.swap else 1  # of the factors of a product
    x, z, last = names.inputs[index], names.outputs[index], f"d{names.outputs[-1]}"
    chain: list[Template] = []
    symbol: str | None = f"d{z}"
    while symbol is not None:
        equation, about = equations[symbol], abouts[symbol]
        name, own = elements.name(symbol, "k", "j"), elements.write(equation, "j")
        if factors := _PRODUCT.match(equation):
            gradient, weight = (part.strip("{}") for part in factors.groups()[:2][::order])
            terms = [elements.name(gradient, "k", "u"), f"{{{weight}[j,u]}}"][::order]
            chain.append(Template(name, " · ".join(terms), "u", weight, about=about))
            if gradient == last and (own := elements.write(equations[last], "u")):
                name = elements.name(last, "k", "u")
                chain.append(Template(name, own, units=weight, about=abouts[last]))
            break
        if not own:
            break
        chain.append(Template(name, own, about=about))
        symbol = next(
            (s for s in list_symbols(equation)[1:] if s in equations and s[0] == "d"), None
        )
    parameter = names.parameters[index]["weight"]
    gradient = Template(
        f"{{d{parameter}[i,j]}}",
        f"{elements.name(x, 'k', 'i')} · {elements.name(f'd{z}', 'k', 'j')}",
        "k",
        factor="(1/{m})" if elements.swap else "",
        about=abouts[f"d{parameter}"],
    )
    return (*reversed(chain), gradient)


def list_update_templates(steps: Sequence[Step]) -> tuple[Template, ...]:
    """List the templates of an update's steps, see `list_update`.

    >>> list_update_templates([Step("g", "update", None, "", "{g} = {dw}", "", "why")])
    (Template(name='{g}', formula='{dw}', over='', units='', factor='', about='why'),)
    """
    return tuple(
        Template(f"{{{step.symbol}}}", step.rows.partition(" = ")[2], about=step.about)
        for step in steps
    )

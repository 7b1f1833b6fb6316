"""One weight's update, worked out: templates of lines, and the lines with their numbers.

A template names elements of arrays by indices that are letters, ``{dW1[i,j]}``: ``i`` is an input
of the weight's layer, ``j`` a unit of it, ``k`` a sample and ``u`` a unit of the next layer. The
page fills the same templates for each weight that is clicked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyback_nn.explain.names import Names
from anyback_nn.explain.notation import Step, list_symbols, write_raised, write_symbol

__all__ = ["Line", "Template", "fill", "format_number", "list_templates", "list_update_templates"]

MOST_TERMS = 8
"""Of a sum that is written out."""

MOST_LINES = 4
"""Of the units that have a line each, and of the samples that have the way back."""

_ELEMENT = re.compile(r"\{([\w.]+)(?:\[([\w,]+)\])?\}")
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
        The index that ``formula`` is summed over; empty if it is not.
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
class Line:
    """A line of a worked update.

    Attributes
    ----------
    name, formula, numbers, value : str
        Equal, each to the next: ``dW1[0,2] = X[0,0] · dZ1[0,2] = 0.5 · (−2) = −1``. The formula and
        the numbers may be empty.
    about : str
    """

    name: str
    formula: str
    numbers: str
    value: str
    about: str

    def __str__(self) -> str:
        """Return the line, in which nothing is there twice."""
        parts = dict.fromkeys(part for part in (self.name, self.formula, self.numbers) if part)
        return " = ".join([*parts, *([] if self.value == self.numbers else [self.value])])


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
    abouts = {step.symbol: step.about for step in steps}
    of_samples = {"Y", "X", *names.outputs, names.prediction}
    swap = notation == "columns"

    def element(symbol: str, sample: str, feature: str) -> str:
        if symbol in of_samples or symbol[1:] in of_samples:
            place = f"{feature},{sample}" if swap else f"{sample},{feature}"
        elif equations.keys() & {symbol} or symbol == "m":  # a scalar
            return f"{{{symbol}}}"
        else:
            place = f"{feature},0" if swap else feature
        return f"{{{symbol}[{place}]}}"

    def write_elements(equation: str, feature: str) -> str:
        """Write an elementwise equation for one element; return nothing if it is another."""
        right = equation.partition(" = ")[2]
        if _NOT_ELEMENTWISE.search(right) or _PRODUCT.match(equation):
            return ""
        return re.sub(
            r"\{([\w.]+)\}", lambda match: element(match[1], "k", feature), right
        ).replace("⊙", "·")

    x, z, last = names.inputs[index], names.outputs[index], f"d{names.outputs[-1]}"
    chain: list[Template] = []
    symbol: str | None = f"d{z}"
    while symbol is not None:
        equation, about = equations[symbol], abouts[symbol]
        name, right = element(symbol, "k", "j"), equation.partition(" = ")[2]
        next_symbol = None
        if product := _PRODUCT.match(equation):
            gradient, weight = (
                part.strip("{}") for part in (product[2], product[1])[:: 1 if swap else -1]
            )
            terms = [element(gradient, "k", "u"), f"{{{weight}[j,u]}}"]
            chain.append(
                Template(name, " · ".join(terms[:: -1 if swap else 1]), "u", weight, about=about)
            )
            if gradient == last:
                own = write_elements(equations[last], "u")
                name = element(last, "k", "u")
                chain += [Template(name, own, units=weight, about=abouts[last])] if own else []
        elif formula := write_elements(equation, "j"):
            chain.append(Template(name, formula, about=about))
            next_symbol = next(
                (s for s in list_symbols(right) if s in equations and s[0] == "d"), None
            )
        symbol = next_symbol
    parameter = names.parameters[index]["weight"]
    factors = f"{element(x, 'k', 'i')} · {element(f'd{z}', 'k', 'j')}"
    gradient = Template(
        *(f"{{d{parameter}[i,j]}}", factors, "k"),
        factor="(1/{m})" if swap else "",
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


def fill(
    template: Template,
    places: Mapping[str, int],
    look_up: Callable[[str, tuple[int, ...]], float],
    n_terms: int = 1,
) -> Line:
    """Write a line with the numbers of one weight.

    Parameters
    ----------
    template : Template
    places : dict of str to int
        The value of each index.
    look_up : callable
        Returns the value of a symbol at some indices.
    n_terms : int
        The number of values of the index that the formula is summed over.

    Examples
    --------
    >>> template = Template("{dW1[i,j]}", "{X[k,i]} · {dZ1[k,j]}", "k")
    >>> values = {"X": [[0.5]], "dZ1": [[-2.0]], "dW1": [[-1.0]]}
    >>> line = fill(template, {"i": 0, "j": 0}, lambda symbol, place: values[symbol][0][0])
    >>> print(line)
    dW₁[0,0] = X[0,0] · dZ₁[0,0] = 0.5 · (−2) = −1
    """

    def write(text: str, own: Mapping[str, int], *, as_numbers: bool) -> str:
        def replace(match: re.Match[str]) -> str:
            symbol, letters = match[1], match[2]
            place = tuple(
                own[letter] if letter in own else int(letter)
                for letter in (letters.split(",") if letters else ())
            )
            if not as_numbers:
                return write_symbol(symbol) + (f"[{','.join(map(str, place))}]" if place else "")
            number = format_number(look_up(symbol, place), exact=not place and symbol in EXACT)
            return f"({number})" if number.startswith("−") else number

        return _ELEMENT.sub(replace, write_raised(text))

    def write_sum(*, as_numbers: bool) -> str:
        if not template.over:
            return write(template.formula, places, as_numbers=as_numbers)
        shown = range(n_terms) if n_terms <= MOST_TERMS else (0, 1, 2, n_terms - 1)
        terms = [
            write(template.formula, {**places, template.over: k}, as_numbers=as_numbers)
            for k in shown
        ]
        if n_terms > MOST_TERMS:
            terms.insert(3, f"… ({n_terms} terms)")
        text = " + ".join(terms)
        if not template.factor:
            return text
        factor = write(template.factor, places, as_numbers=as_numbers)
        return f"{factor} · ({text})" if n_terms > 1 else f"{factor} · {text}"

    match = _ELEMENT.match(template.name)
    assert match is not None
    place = tuple(
        places[x] if x in places else int(x) for x in (match[2].split(",") if match[2] else ())
    )
    is_single = not template.formula or _ELEMENT.fullmatch(template.formula) is not None
    return Line(
        write(template.name, places, as_numbers=False),
        write_sum(as_numbers=False) if template.formula else "",
        "" if is_single else write_sum(as_numbers=True),
        format_number(look_up(match[1], place)),
        template.about,
    )


EXACT = {"rate", "t", "beta1", "beta2", "epsilon", "momentum", "smoothing", "decay"}
EXACT |= {"lambda1", "lambda2", "clip", "limit"}
"""The symbols of settings, which are written with all digits."""


def format_number(value: Any, *, exact: bool = False) -> str:
    """Write a number with six digits, or ``exact``.

    >>> format_number(-1 / 3), format_number(0.9999999, exact=True)
    ('−0.333333', '0.9999999')
    """
    return f"{float(value):.{15 if exact else 6}g}".replace("-", "−")

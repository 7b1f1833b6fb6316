"""Worked lines: templates filled with the numbers of one weight."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from anyback_nn.explain.notation import write_raised, write_symbol
from anyback_nn.explain.templates import Template
from anyback_nn.explain.updates import CONSTANTS

__all__ = [
    "Line",
    "count_decimals",
    "fill",
    "format_number",
]

MOST_TERMS = 8
"""Of a sum that is written out."""

MOST_LINES = 4
"""Of the units that have a line each, and of the samples that have the way back."""

_ELEMENT = re.compile(r"\{([\w.]+)(?:\[([\w,]+)\])?\}")


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


def count_decimals(weight: float, change: float) -> int:
    """Count the decimals in which a weight has six digits, and a change of it two.

    >>> count_decimals(0.25, 0.0012), count_decimals(0.25, 0.00000012)
    (6, 8)
    """
    digits = (
        n - 1 - math.floor(math.log10(abs(number)))
        for number, n in ((weight, 6), (change, 2))
        if 0 < abs(number) < math.inf
    )
    return min(max(0, *digits, 0), 15)


def fill(
    template: Template,
    places: Mapping[str, int],
    look_up: Callable[[str, tuple[int, ...]], float],
    sizes: Mapping[str, int],
    decimals: int | None = None,
) -> Line:
    """Write a line with the numbers of one weight.

    Parameters
    ----------
    template : Template
    places : dict of str to int
        The value of each index.
    look_up : callable
        Returns the value of a symbol at some indices.
    sizes : dict of str to int
        The number of values of each index that the formula is summed over.
    decimals : int, optional
        Of the weight before and after. Default: six digits, as in all other numbers.

    Examples
    --------
    >>> template = Template("{dW1[i,j]}", "{X[k,i]} · {dZ1[k,j]}", "k")
    >>> values = {"X": [[0.5]], "dZ1": [[-2.0]], "dW1": [[-1.0]]}
    >>> line = fill(template, {"i": 0, "j": 0}, lambda x, place: values[x][0][0], {"k": 1})
    >>> print(line)
    dW₁[0,0] = X[0,0] · dZ₁[0,0] = 0.5 · (−2) = −1
    """

    def resolve(letters: str | None, own: Mapping[str, int]) -> tuple[int, ...]:
        parts = letters.split(",") if letters else ()
        return tuple(own[part] if part in own else int(part) for part in parts)

    def format_value(symbol: str, place: tuple[int, ...]) -> str:
        value = look_up(symbol, place)
        if decimals is not None and symbol in ("w", "w_new"):
            return f"{value:.{decimals}f}".replace("-", "−")
        return format_number(value, exact=not place and symbol in EXACT)

    def write(text: str, own: Mapping[str, int], *, as_numbers: bool) -> str:
        def replace(match: re.Match[str]) -> str:
            symbol, place = match[1], resolve(match[2], own)
            if not as_numbers:
                return write_symbol(symbol) + (f"[{','.join(map(str, place))}]" if place else "")
            number = format_value(symbol, place)
            return f"({number})" if number.startswith("−") else number

        return _ELEMENT.sub(replace, write_raised(text))

    def write_sum(*, as_numbers: bool) -> str:
        if not template.over:
            return write(template.formula, places, as_numbers=as_numbers)
        indices = [*product(*(range(sizes[letter]) for letter in template.over))]
        n_terms = len(indices)
        terms = [
            write(
                template.formula,
                {**places, **dict(zip(template.over, index))},
                as_numbers=as_numbers,
            )
            for index in (indices if n_terms <= MOST_TERMS else [*indices[:3], indices[-1]])
        ]
        if n_terms > MOST_TERMS:
            terms.insert(3, f"… ({n_terms} terms)")
        text = " + ".join(terms).replace(" + −", " − ")
        if not template.factor:
            return text
        factor = write(template.factor, places, as_numbers=as_numbers)
        is_sum = n_terms > 1 or text.startswith("−")
        return f"{factor} · ({text})" if is_sum else f"{factor} · {text}"

    match = _ELEMENT.match(template.name)
    assert match is not None
    is_single = not template.formula or _ELEMENT.fullmatch(template.formula) is not None
    return Line(
        write(template.name, places, as_numbers=False),
        write_sum(as_numbers=False) if template.formula else "",
        "" if is_single else write_sum(as_numbers=True),
        format_value(match[1], resolve(match[2], places)),
        template.about,
    )


EXACT = CONSTANTS.keys() - {"rate", "norm"}
"""The symbols of settings, which are written with all digits."""


def format_number(value: Any, *, exact: bool = False) -> str:
    """Write a number with six digits, or ``exact``.

    >>> format_number(-1 / 3), format_number(0.9999999, exact=True)
    ('−0.333333', '0.9999999')
    """
    # There is no negative 0.
    return f"{float(value) + 0.0:.{15 if exact else 6}g}".replace("-", "−")

"""An explanation as text: every step with its equation and its values, then one update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from anyback_nn.explain.notation import Step, list_symbols, write_symbol
from anyback_nn.explain.notation import to_text as write_equation
from anyback_nn.explain.updates import CONSTANTS
from anyback_nn.explain.worked import EXACT, Line, format_number
from anyback_nn.utils.messages import cut, escape

if TYPE_CHECKING:
    from anyback_nn.explain.explanation import Explanation

__all__ = [
    "DERIVATIVES",
    "INPUTS",
    "NOTATIONS",
    "PHASES",
    "SIGNS",
    "Part",
    "describe_samples",
    "format_matrix",
    "iterate_parts",
    "list_operands",
    "to_text",
]

MOST_SHOWN = 8
"""Of the rows and of the columns of a matrix."""

PHASES = {
    "forward": "Forward: from the inputs to the prediction",
    "loss": "The loss",
    "backward": "Backward: from the loss to every weight",
}
"""The heading of each part of the walk."""

DERIVATIVES = {
    "rows": "dZ₁ is short for the derivative of the loss L with respect to Z₁. It has one number "
    "for each number of Z₁: were that one larger by 0.001, the loss would change by about 0.001 "
    "times its number in dZ₁. All other names with d are read in the same way.",
    "columns": "dW₁ is short for the derivative of the loss L with respect to W₁. It has one "
    "number for each number of W₁: were that one larger by 0.001, the loss would change by about "
    "0.001 times its number in dW₁. db₁ is read in the same way. But dZ₁, and every other dZ and "
    "dA, is of the loss of each sample by itself, before the mean over the m samples.",
}
"""The introduction of the way back, by notation."""

NOTATIONS = {
    "rows": "Samples are rows: Z₁[0,2] is that of sample 0 and unit 2, and b₁ is one row, which is "
    "added to each. The factor 1/m of the mean is in every dZ and dA. In textbooks samples are "
    "columns, and the factor comes in with dW and db alone.",
    "columns": "Samples are columns, as in textbooks: Z₁[2,0] is that of unit 2 and sample 0, and "
    "b₁ is one column, which is added to each. The factor 1/m of the mean comes in with dW and db "
    "alone, so dZ and dA are m times those of the library, whose samples are rows. Textbooks whose "
    "W has a row for each unit write dW as (1/m) dZ Aᵀ, its transpose.",
}
"""What is where, and how the notations differ."""

INPUTS = {
    "X": "One number for each input of the network.",
    "Y": "What the prediction should be. Classes with an output each: 1 for the right one, 0 for "
    "the others. Two classes with one output: 0 for class 0, 1 for class 1.",
}

SIGNS = (
    "m is the number of samples. Samples, inputs and units are counted from 0.",
    "Two names side by side are a product of matrices; ⊙ multiplies number by number.",
    "ᵀ swaps rows and columns; sum adds the samples.",
    "W₁[0,2] leads from input 0 of layer 1 to its unit 2, in both notations.",
)
"""How equations are read."""


class Part(NamedTuple):
    """A part of the text, in the style ``kind``: heading, title, equation, values or about."""

    kind: str
    text: str


def to_text(explanation: Explanation, notation: str = "rows") -> str:
    """Write an explanation for a terminal."""
    return "\n".join(part.text for part in iterate_parts(explanation, notation))


def iterate_parts(
    explanation: Explanation, notation: str = "rows", width: float = math.inf
) -> Iterator[Part]:
    """Iterate over the parts of the text.

    Parameters
    ----------
    explanation : Explanation
    notation : str
        ``"rows"`` or ``"columns"``.
    width : float
        The letters that fit in a line: a matrix that is wider is shown without its middle.
    """
    explained: set[str] = set()
    for part in _write_parts(explanation, notation, width):
        # What has been explained once is not explained again.
        if part.kind != "about" or part.text.strip() not in explained:
            yield part
        explained.add(part.text.strip())


def _write_parts(explanation: Explanation, notation: str, width: float) -> Iterator[Part]:
    values = explanation.values if notation == "rows" else explanation.columns
    axis = 1 if notation == "rows" else 0
    yield Part("heading", describe_samples(explanation))
    if explanation.description:
        yield Part("about", explanation.description)
    for text in (NOTATIONS[notation], *SIGNS):
        yield Part("about", f"- {text}")
    for note in explanation.notes:
        yield Part("about", f"- {note}")
    for symbol in ("X", "Y"):
        if symbol in values:
            yield Part("equation", f"\n{symbol} {_describe_shape(values[symbol])}")
            labels = _list_labels(explanation, symbol)
            yield Part("values", format_matrix(values[symbol], width, labels, axis=axis))
            yield Part("about", INPUTS[symbol])
    begun: set[str] = set()
    for step in explanation.steps:
        if step.phase in PHASES and step.phase not in begun:
            begun.add(step.phase)
            yield Part("heading", f"\n{PHASES[step.phase]}")
            if step.phase == "backward":
                yield Part("about", DERIVATIVES[notation])
        labels = _list_labels(explanation, step.symbol)
        yield from _write_step(step, values, notation, width, labels)
        if step.phase == "loss" and (line := explanation.work_loss(notation)):
            yield Part("equation", f"  {line}")
        yield Part("about", write_equation(step.explain(notation)))
        if step.phase == "forward":
            yield from _write_operands(step, explanation.steps, values, width)
    if explanation.weight is not None:
        yield from _write_update(explanation, notation)


def describe_samples(explanation: Explanation) -> str:
    """Return a heading.

    >>> from types import SimpleNamespace
    >>> describe_samples(SimpleNamespace(n_samples=1))
    'One sample (m = 1) through the network'
    """
    n = explanation.n_samples
    return f"{'One sample' if n == 1 else f'{n:,} samples'} (m = {n:,}) through the network"


def _list_labels(explanation: Explanation, symbol: str) -> tuple[str, ...]:
    """List the names of the features of the inputs, and of the outputs."""
    if symbol == "X":
        return explanation.features
    return explanation.classes if symbol in ("Y", explanation.names.prediction) else ()


def _write_step(
    step: Step, values: dict[str, Any], notation: str, width: float, labels: Sequence[str]
) -> Iterator[Part]:
    """Write a step with its values."""
    value = values[step.symbol]
    yield Part("title", f"\n{write_equation(step.title)}")
    equation = write_equation(step.rows if notation == "rows" else step.columns)
    if value.ndim:
        yield Part("equation", f"{equation}    {_describe_shape(value)}")
        axis = 1 if notation == "rows" else 0
        yield Part("values", format_matrix(value, width, labels, axis=axis))
    else:
        yield Part("equation", f"{equation} = {format_number(value)}")


def _write_operands(
    step: Step, steps: Sequence[Step], values: dict[str, Any], width: float
) -> Iterator[Part]:
    """Write the parameters in an equation of the forward part."""
    for symbol in list_operands(step, steps):
        yield Part("equation", f"with {write_symbol(symbol)}    {_describe_shape(values[symbol])}")
        yield Part("values", format_matrix(values[symbol], width))


def list_operands(step: Step, steps: Sequence[Step]) -> list[str]:
    """List what an equation needs in addition to the samples and to the steps before."""
    known = {"X", "Y", "m", *(other.symbol for other in steps)}
    return [symbol for symbol in list_symbols(step.rows) if symbol not in known]


def _write_update(explanation: Explanation, notation: str) -> Iterator[Part]:
    """Write the worked update of the chosen weight."""
    assert explanation.weight is not None
    weight, i, j = explanation.weight
    name = f"{write_symbol(weight)}[{i},{j}]"
    yield Part("heading", f"\nThe next update of one weight, {name}, to check by hand")
    yield Part(
        "about",
        f"{name} leads from input {i} of layer {weight[1:]} to its unit {j}. Its gradient:",
    )
    yield from _write_lines(explanation.work_gradient(notation))
    update = explanation.update
    if update is None:
        return
    yield Part("title", f"\nThe update by {type(update.optimizer).__name__}")
    for symbol, value in update.constants.items():
        number = format_number(value, exact=symbol in EXACT)
        yield Part("equation", f"  {write_symbol(symbol)} = {number}, the {CONSTANTS[symbol]}")
    yield from _write_lines(explanation.work_update())


def _write_lines(lines: list[Line]) -> Iterator[Part]:
    for line in lines:
        yield Part("equation", f"  {line}")
        if line.about:
            yield Part("about", f"    {write_equation(line.about)}")


def _describe_shape(value: Any) -> str:
    return f"({' × '.join(map(str, value.shape))})"


def format_matrix(
    value: Any, width: float = math.inf, labels: Sequence[str] = (), *, axis: int = 1
) -> str:
    """Write a matrix or a vector in columns; of a large one the corners, with dots between.

    Parameters
    ----------
    value : ndarray
    width : float
        The letters that fit in a line, as far as three columns fit.
    labels : sequence of str
        Names of the columns, or with ``axis=0`` of the rows; may be empty.
    axis : int

    Examples
    --------
    >>> import numpy as np
    >>> print(format_matrix(np.asarray([[1.0, -0.5], [0.25, 100.0]]), labels=["a", "b"]))
        a:    b:
         1  −0.5
      0.25   100
    """
    table = value[None, :] if value.ndim == 1 else value
    rows = _choose(table.shape[0], MOST_SHOWN)
    for most in range(MOST_SHOWN, 2, -1):
        columns = _choose(table.shape[1], most)
        cells = [
            ["…" if None in (i, j) else _format_cell(table[i, j]) for j in columns] for i in rows
        ]
        if labels:
            # Labels may be numbers, too.
            shown = [
                "…" if i is None else f"{cut(escape(labels[i]), 12)}:"
                for i in (rows, columns)[axis]
            ]
            cells = [shown, *cells] if axis else [[x, *row] for x, row in zip(shown, cells)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        if sum(widths) + 2 * len(widths) <= width:
            break
    return "\n".join(
        "  " + "  ".join(cell.rjust(n) for cell, n in zip(row, widths)) for row in cells
    )


def _format_cell(number: Any) -> str:
    return f"{number + 0.0:.4g}".replace("-", "−")


def _choose(n: int, most: int) -> list[Any]:
    """Return the positions that are shown, with None where some are left out."""
    if n <= most:
        return [*range(n)]
    return [*range(most // 2), None, *range(n - (most - most // 2 - 1), n)]

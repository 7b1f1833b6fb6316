"""Equations as plain strings, which the terminal and a page write in their own ways.

An equation is text in which ``{symbol}`` is a value, by its name among those of a walk, ``^T`` the
transpose and ``^2`` the square: ``"{dA1} = {dZ2} {W2}^T"``. What an equation does not name in
braces is written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Step", "list_symbols", "split_symbol", "to_text", "write_raised", "write_symbol"]

_PLACE = re.compile(r"\{([\w.]+)\}")
_GREEK = {"beta": "β", "rate": "α", "epsilon": "ε", "lambda": "λ"}
_RAISED = {"T": "ᵀ", "2": "²", "3": "³", "t": "ᵗ"}
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Step:
    """One computation.

    Attributes
    ----------
    symbol : str
        Name of its result, such as ``"dZ1"``.
    phase : str
        ``"forward"``, ``"loss"``, ``"backward"`` (with respect to the layers' outputs),
        ``"gradient"`` (with respect to the parameters) or ``"update"``.
    layer : int, optional
        Position in the network, from 0; None for the loss and its link.
    title : str
        A few words, in which a symbol may be in braces.
    rows : str
        Equation in the library's notation, in which samples are rows.
    columns : str
        Equation in the notation of textbooks, in which samples are columns.
    about : str
        Why, in plain words.
    about_columns : str
        The same in the notation of textbooks; empty if it does not differ.
    """

    symbol: str
    phase: str
    layer: int | None
    title: str
    rows: str
    columns: str
    about: str
    about_columns: str = ""

    def explain(self, notation: str) -> str:
        """Return why, in a notation."""
        return (notation == "columns" and self.about_columns) or self.about


def list_symbols(equation: str) -> list[str]:
    """List the values in an equation, in their order.

    >>> list_symbols("{dA1} = {dZ2} {W2}^T")
    ['dA1', 'dZ2', 'W2']
    """
    return _PLACE.findall(equation)


def split_symbol(symbol: str) -> tuple[str, str]:
    """Split a symbol into letters and what is written below the line.

    >>> split_symbol("dZ1"), split_symbol("m_old"), split_symbol("beta2"), split_symbol("m_hat")
    (('dZ', '1'), ('m', 'old'), ('β', '2'), ('m̂', ''))
    """
    letters, index = re.fullmatch(r"([A-Za-z]+)_?(.*)", symbol).groups()  # type: ignore[union-attr]
    if index == "hat":
        letters, index = f"{letters}\u0302", ""
    return _GREEK.get(letters, letters), index


def write_symbol(symbol: str) -> str:
    """Write a symbol in Unicode; what has no small form is written after a line."""
    letters, index = split_symbol(symbol)
    if not index or index.isdecimal():
        return letters + index.translate(_LOWERED)
    head, dot, rest = index.partition(".")
    return f"{letters}{head.translate(_LOWERED)}{dot}{rest}" if dot else f"{letters}_{index}"


def to_text(equation: str, write: Callable[[str], str] = write_symbol) -> str:
    """Write an equation for a terminal.

    Parameters
    ----------
    equation : str
    write : callable, optional
        Writes a symbol; default: its letters, with the index below the line.

    Examples
    --------
    >>> to_text("{dZ1} = {dA1} ⊙ (1 − {A1}^2)")
    'dZ₁ = dA₁ ⊙ (1 − A₁²)'
    >>> to_text("{rate} {g}^2", write={"rate": "0.1", "g": "0.5"}.__getitem__)
    '0.1 0.5²'
    """
    return _PLACE.sub(lambda match: write(match[1]), write_raised(equation))


def write_raised(equation: str) -> str:
    """Write what is raised, such as the 2 of a square, in Unicode."""
    return re.sub(r"\^(\w)", lambda match: _RAISED[match[1]], equation)

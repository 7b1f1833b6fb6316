"""Expressions that write themselves: what a rule computes with numbers, as an equation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from anyback_nn.array_api import array_namespace

__all__ = ["Expression", "Recorder", "maximum", "minimum", "sign", "sqrt"]

_SUM, _PRODUCT, _POWER, _ATOM = range(4)


@dataclass(frozen=True)
class Expression:
    """An equation's right side, which grows by arithmetic.

    Attributes
    ----------
    text : str
        In the form of `anyback_nn.explain.notation`.
    rank : int
        How strongly its outermost operation binds.

    Examples
    --------
    >>> rate, g = Expression("{rate}"), Expression("{g}")
    >>> (1 - rate * (g + 2) ** 2).text
    '1 − {rate} · ({g} + 2)^2'
    """

    text: str
    rank: int = _ATOM

    def _join(self, operator: str, other: Any, rank: int, *, swap: bool = False) -> Expression:
        """Write an operation; the second operand of − and / needs parentheses sooner."""
        first, second = map(_lift, (other, self) if swap else (self, other))
        stricter = rank + (operator in ("−", "/"))
        space = "" if operator == "^" else " "
        left = first.within(rank + (operator == "^"))
        return Expression(f"{left}{space}{operator}{space}{second.within(stricter)}", rank)

    def within(self, rank: int) -> str:
        """Write it as an operand of an operation of some rank."""
        return self.text if self.rank >= rank else f"({self.text})"

    def __add__(self, other: Any) -> Expression:
        return self._join("+", other, _SUM)

    def __sub__(self, other: Any) -> Expression:
        return self._join("−", other, _SUM)

    def __rsub__(self, other: Any) -> Expression:
        return self._join("−", other, _SUM, swap=True)

    def __mul__(self, other: Any) -> Expression:
        return self._join("·", other, _PRODUCT)

    def __truediv__(self, other: Any) -> Expression:
        return self._join("/", other, _PRODUCT)

    def __pow__(self, other: Any) -> Expression:
        return self._join("^", other, _POWER)

    def __neg__(self) -> Expression:
        return Expression(f"−{self.within(_POWER)}", _POWER)


def _lift(value: Any) -> Expression:
    return value if isinstance(value, Expression) else Expression(f"{value}")


class Recorder:
    """Values by name, of which each that is set is recorded as an equation.

    Examples
    --------
    >>> v = Recorder()
    >>> v.m = v.beta1 * v.m_old
    >>> v.w_new = v.w - v.m
    >>> v.equations
    {'m': '{beta1} · {m_old}', 'w_new': '{w} − {m}'}
    """

    equations: dict[str, str]

    def __init__(self) -> None:
        object.__setattr__(self, "equations", {})

    def __getattr__(self, name: str) -> Any:
        return Expression(f"{{{name}}}")

    def __setattr__(self, name: str, value: Expression) -> None:
        self.equations[name] = value.text


def sqrt(x: Any) -> Any:
    """Take the root of an array, a number or an expression."""
    if isinstance(x, Expression):
        return Expression(f"√({x.text})")
    return math.sqrt(x) if isinstance(x, int | float) else array_namespace(x).sqrt(x)


def maximum(x: Any, limit: Any) -> Any:
    """Return ``limit`` where ``x`` is below."""
    if isinstance(x, Expression):
        return Expression(f"max({x.text}, {_lift(limit).text})")
    return max(x, limit) if isinstance(x, int | float) else array_namespace(x).maximum(x, limit)


def minimum(x: Any, limit: Any) -> Any:
    """Return ``limit`` where ``x`` is above."""
    return (
        -maximum(-x, -limit)
        if not isinstance(x, Expression)
        else Expression(f"min({x.text}, {_lift(limit).text})")
    )


def sign(x: Any) -> Any:
    """Return 1, 0 or −1."""
    return (
        Expression(f"sign({x.text})") if isinstance(x, Expression) else array_namespace(x).sign(x)
    )

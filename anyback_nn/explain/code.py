"""Equations as Python: what is written for people, as lines that NumPy computes."""

from __future__ import annotations

import re

__all__ = ["HELPERS", "is_computable", "to_code"]

HELPERS = {
    "sigmoid": "def sigmoid(z): return 1 / (1 + np.exp(-z))",
    "softmax": "def softmax(z): return (p := np.exp(z - z.max(axis=1, keepdims=True))) / "
    "p.sum(axis=1, keepdims=True)",
    "total": "def total(z): return z.sum(axis=1, keepdims=True)",
    "mean": "def mean(z): return z.mean(axis=1, keepdims=True)",
    "variance": "def variance(z): return z.var(axis=1, keepdims=True)",
}
"""The functions in equations that NumPy does not have, in which samples are rows."""

_GROUP = r"((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)"
"""What may be in parentheses."""

_REWRITES = (
    (rf"\({_GROUP} where {_GROUP}, else {_GROUP}\)", r"np.where(\2, \1, \3)"),
    (r"\|(.*?)\|", r"abs(\1)"),
    (r"\[(.*?)\]", r"(\1)"),
    # Side by side: a product of matrices, or of a number and something else.
    (r"(\{\w+\}(?:\^T)?) (?=\{)", r"\1 @ "),
    (r"(?<=\d) (?=[({]|exp|np)|(?<=\)) (?=\{|sum)", " * "),
    (r"\^T", ".T"),
    (r"\^", "**"),
    (r"\b(exp|log|tanh|sign)\(", r"np.\1("),
    (r"√\(", "np.sqrt("),
    (r"\bmax\(", "np.maximum("),
    (r"\bmin\(", "np.minimum("),
    (r"\blimit\(", "np.clip("),
    (r"⊙|·", "*"),
    ("−", "-"),
    ("x̂", "x_hat"),
    (r"[{}]", ""),
)
_IN_WORDS = re.compile(r"block|[A-Za-z]\w*\.\w|[A-Z]\w*\(|weights|′")


def is_computable(equation: str) -> bool:
    """Return whether an equation says all; not if a layer of a user's or a block is called."""
    return not _IN_WORDS.search(equation.partition(" = ")[2])


def to_code(equation: str, axis: int = 0) -> list[str]:
    """Write an equation as assignments, helpers first.

    Parameters
    ----------
    equation : str
    axis : int
        The axis of the samples.

    Examples
    --------
    >>> to_code("{A1} = {Z1} ⊙ s, s = sigmoid({Z1})")
    ['s = sigmoid(Z1)', 'A1 = Z1 * s']
    >>> to_code("{db1} = sum({dZ1})")
    ['db1 = np.sum(dZ1, axis=0)']
    """
    equation = equation.removeprefix("Ŷ = ")
    main, *others = re.split(r", (?=(?:\w|x̂) = )", equation)
    return [_translate(part, axis) for part in (*reversed(others), main)]


def _translate(equation: str, axis: int) -> str:
    """Translate one assignment."""
    text = equation
    for pattern, replacement in _REWRITES:
        text = re.sub(pattern, replacement, text)
    # The loss adds everything, and a gradient adds the samples.
    options = "" if text.startswith("L = ") else f"axis={axis}{', keepdims=True' if axis else ''}"
    return re.sub(r"\bsum\((.*)\)$", rf"np.sum(\1{options and ', '}{options})", text)

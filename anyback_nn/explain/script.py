"""The walk and the update as a NumPy script, from the numbers alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from anyback_nn.explain.code import HELPERS, is_computable, to_code
from anyback_nn.explain.walked import Walked

__all__ = ["write_script"]

MOST_NUMBERS = 2_000
"""Of parameters that are written into the script; more are read from the model's file."""


def write_script(explanation: Walked) -> str:
    """Write the script. What a layer of a user's or a block computes is in it as numbers."""
    lines = [*_write_walk(explanation), *_write_update(explanation)]
    body = "\n".join(lines)
    helpers = [text for name, text in HELPERS.items() if re.search(rf"\b{name}\(", body)]
    head = ["import numpy as np"]
    if "load_file(" in body:
        head.append("from safetensors.numpy import load_file")
    space = "\n" if helpers else ""
    return "\n\n\n".join(["\n".join(head), *map(_write_helper, helpers)]) + f"\n{space}\n{body}\n"


def _write_helper(text: str) -> str:
    """Write a function in the usual two lines."""
    return text.replace(": return", ":\n    return", 1)


def _write_walk(explanation: Walked) -> Iterator[str]:
    """Write the samples, the parameters and the equations."""
    values, names = explanation.values, explanation.names
    yield from (_write_array(symbol, values[symbol]) for symbol in ("X", "Y") if symbol in values)
    yield "m = len(X)"
    used = {
        name
        for step in explanation.steps
        if is_computable(step.rows)
        for name in re.findall(r"\{(\w+)\}", step.rows)
    }
    named = {
        symbol: f"{part}.{index}.{path}"
        for part, trees in (("parameters", names.parameters), ("state", names.state))
        for index, own in enumerate(trees)
        for path, symbol in own.items()
        if symbol in used
    }
    if sum(values[symbol].size for symbol in named) > MOST_NUMBERS:
        yield f'arrays = load_file("{explanation.model_file or "model.safetensors"}")'
        for symbol, name in named.items():
            yield f'{symbol} = arrays["{name}"].astype("float64")'
    else:
        for symbol in named:
            yield _write_array(symbol, values[symbol])
    for step in explanation.steps:
        if is_computable(step.rows):
            yield from to_code(step.rows)
        elif re.fullmatch(r"\w+", step.symbol):
            what = step.rows.partition(" = ")[2].translate(str.maketrans("", "", "{}"))
            yield f"{_write_array(step.symbol, values[step.symbol])}  # {what}"


def _write_update(explanation: Walked) -> Iterator[str]:
    """Write the update of the chosen weight."""
    update = explanation.update
    if explanation.weight is None or update is None:
        return
    weight, i, j = explanation.weight
    values = update.values[weight]
    yield f"\n# The next update of {weight}[{i}, {j}] by {type(update.optimizer).__name__}"
    yield "; ".join(f"{name} = {value!r}" for name, value in update.constants.items())
    yield f"w, dw = {weight}[{i}, {j}], d{weight}[{i}, {j}]"
    for step in update.steps:
        stored = float(np.broadcast_to(values[step.symbol], values["w"].shape)[i, j])
        if not is_computable(step.rows) or " = " not in step.rows:
            yield f"{step.symbol} = {stored!r}"
        else:
            yield from to_code(step.rows)
    yield 'print(f"{w} becomes {w_new}")'


def _write_array(name: str, value: Any) -> str:
    """Write an array as the shortest numbers that give it again."""
    single = value.astype(np.float32)
    is_single = np.array_equal(single.astype(np.float64), value, equal_nan=True)
    start = f"{name} = np.array("
    numbers = np.array2string(
        single if is_single else value,
        **{"separator": ", ", "threshold": value.size + 1, "max_line_width": 100},
        prefix=start,
        floatmode="unique",
    )
    return f"{start}{numbers})".replace("nan", "np.nan")

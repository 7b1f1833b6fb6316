"""An explanation as JSON, which ``pages/explanation.js`` shows, and as one HTML file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.errors import DataError
from anyback_nn.explain.names import Names
from anyback_nn.explain.notation import Step, list_symbols, split_symbol
from anyback_nn.explain.script import write_script
from anyback_nn.explain.templates import (
    list_templates,
    list_update_templates,
    write_loss_template,
)
from anyback_nn.explain.text import (
    DERIVATIVES,
    INPUTS,
    NOTATIONS,
    PHASES,
    SIGNS,
    describe_samples,
    list_operands,
)
from anyback_nn.explain.updates import CONSTANTS, list_constants, list_update
from anyback_nn.explain.walked import Walked
from anyback_nn.explain.worked import EXACT, MOST_LINES, MOST_TERMS
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.pages import build_page, read_asset, write_page

__all__ = ["describe_walk", "read_scripts", "to_json", "write_explanation"]

MOST_WHOLE = 5_000
"""Elements of an array that is in the page as a whole, and weights whose updates are."""


def describe_walk(
    steps: Sequence[Step], names: Names, layers: Mapping[str, int], optimizer: Optimizer | None
) -> dict[str, Any]:
    """Describe a walk and an update without their values, as JSON.

    A page adds ``m``, ``values``, ``weight`` and the ``constants`` and ``values`` of ``update``.

    Parameters
    ----------
    steps : sequence of Step
    names : Names
    layers : dict of str to int
        The position of each `Dense` layer by the name of its weights.
    optimizer : Optimizer, optional
        None if there is no update.
    """
    has_gradients = any(step.phase == "gradient" for step in steps)
    updates = () if optimizer is None else list_update(optimizer)
    symbols = {"X", "Y", "m", "w", "dw", "rate", "t", "norm"}
    for step in (*steps, *updates):
        symbols |= {step.symbol, *list_symbols(step.rows), *list_symbols(step.columns)}
    for own in names.parameters:
        symbols |= {*own.values()}
    return {
        "symbols": {symbol: split_symbol(symbol) for symbol in sorted(symbols)},
        "samples": sorted(names.of_samples),
        "gradients": sorted(f"d{symbol}" for symbol in names.of_samples),
        "phases": PHASES,
        "derivatives": DERIVATIVES,
        "notations": NOTATIONS,
        "inputs": INPUTS,
        "signs": SIGNS,
        "steps": [
            asdict(step)
            | {"operands": list_operands(step, steps) if step.phase == "forward" else []}
            for step in steps
        ],
        "prediction": names.prediction,
        "limits": {"terms": MOST_TERMS, "lines": MOST_LINES},
        "loss": {
            notation: asdict(template)
            for notation in NOTATIONS
            if (template := write_loss_template(steps, names, notation))
        },
        "weights": {
            weight: {
                notation: [asdict(x) for x in list_templates(steps, names, index, notation)]
                for notation in NOTATIONS
            }
            for weight, index in (layers.items() if has_gradients else ())
        },
        "update": None
        if optimizer is None
        else {
            "optimizer": type(optimizer).__name__,
            "constants": list_constants(optimizer),
            "abouts": CONSTANTS,
            "exact": sorted(EXACT),
            "templates": [asdict(x) for x in list_update_templates(updates)],
        },
    }


def read_scripts() -> str:
    """Read the functions that show an explanation, the last one ``renderExplanation``."""
    return "\n".join(map(read_asset, ("equations.js", "explanation.js")))


def to_json(explanation: Walked) -> dict[str, Any]:
    """Return an explanation as JSON.

    Large arrays are in it by their corners, and by the rows and columns of the chosen weight.
    """
    update, weight = explanation.update, explanation.weight
    own = describe_walk(
        *(explanation.steps, explanation.names, explanation.layers),
        None if update is None else update.optimizer,
    )
    chosen: tuple[int, ...] = weight[1:] if weight else ()
    values = {name: _reduce(value, chosen) for name, value in explanation.values.items()}
    own |= {
        "title": describe_samples(explanation),
        "description": explanation.description,
        "m": explanation.n_samples,
        "values": values,
        "weight": weight,
        "notes": explanation.notes,
        "features": explanation.features,
        "classes": explanation.classes,
        "script": write_script(explanation),
    }
    if update is not None and weight is not None:
        n_weights = sum(explanation.values[name].size for name in explanation.layers)
        own["update"] |= {
            "constants": update.constants,
            "values": {
                name: {symbol: _reduce(value, chosen) for symbol, value in arrays.items()}
                for name, arrays in update.values.items()
                if n_weights <= MOST_WHOLE or name == weight[0]
            },
        }
    return own


def _reduce(value: Any, chosen: Iterable[int]) -> Any:
    """Return an array as lists of numbers with eight digits; of a large one, a part of it."""
    value = np.asarray(value)
    if value.size <= MOST_WHOLE:
        return _to_lists(value)
    table = value if value.ndim == 2 else value[None, :]
    rows, columns = (
        sorted({*range(min(n, 4)), *range(max(n - 4, 0), n), *(i for i in chosen if i < n)})
        for n in table.shape
    )
    return {
        "shape": value.shape,
        "rows": rows,
        "columns": columns,
        "values": _to_lists(table[np.ix_(rows, columns)]),
    }


def _to_lists(value: Any) -> Any:
    if value.ndim:
        return [_to_lists(part) for part in value]
    number = float(f"{float(value):.8g}")
    return number if math.isfinite(number) else None


def write_explanation(explanation: Walked, path: Path) -> None:
    """Write an explanation as one HTML file, completely or not at all."""
    page = build_page(
        describe_samples(explanation),
        '<main id="explanation"></main>',
        data=to_json(explanation),
        styles=[read_asset("explanation.css")],
        scripts=[
            f"{read_scripts()}\n"
            'const data = JSON.parse(document.getElementById("data").textContent);\n'
            'renderExplanation(document.getElementById("explanation"), data, { title: true });'
        ],
    )
    if path.is_dir():
        raise DataError(f"cannot write {path}: it is a folder; expected the path of an HTML file")
    write_page(page, path)

"""What happens to samples in a model: all steps with their values, and the next update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.explain.names import Names
from anyback_nn.explain.notation import Step
from anyback_nn.explain.page import write_page
from anyback_nn.explain.script import write_script
from anyback_nn.explain.templates import (
    Template,
    list_templates,
    list_update_templates,
    write_loss_template,
)
from anyback_nn.explain.text import to_text
from anyback_nn.explain.walk import to_columns
from anyback_nn.explain.worked import MOST_LINES, MOST_TERMS, Line, count_decimals, fill
from anyback_nn.network.layers import Dense
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.engine import Engine

__all__ = ["Explanation", "Update", "Weight", "find_dense"]

Weight = tuple[str, int, int]
"""The name of a layer's weights, and the position of one: its input and its unit."""


@dataclass(frozen=True, eq=False)
class Update:
    """The next step of training, for the weights of the `Dense` layers.

    Attributes
    ----------
    optimizer : Optimizer
    steps : tuple of Step
        See `list_update`.
    constants : dict of str to float
        Settings, learning rate ``rate``, number ``t`` of the step, and if needed ``norm``.
    values : dict of str to dict of str to array
        For the weights of each layer, such as ``"W1"``: the values by the symbols of the steps.
    """

    optimizer: Optimizer
    steps: tuple[Step, ...]
    constants: dict[str, float]
    values: dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Samples walked through a model; printed, it is the walk as text.

    Attributes
    ----------
    steps : tuple of Step
    values : dict of str to ndarray
        The samples ``"X"``, the targets ``"Y"``, parameters and all values of the steps by their
        symbols, in float64, with samples as rows.
    names : Names
    update : Update, optional
        None without targets.
    weight : tuple of (str, int, int), optional
        The weight whose update is worked out.
    notes : tuple of str
        What differs from a step of training.
    layers : dict of str to int
        The position of each `Dense` layer by the name of its weights.
    description : str
        The network, and what is known of the samples.
    features, classes : tuple of str
        Names of the inputs and outputs, if they are known.
    model_file : Path, optional
        Where the model is saved.
    """

    steps: tuple[Step, ...]
    values: dict[str, Any]
    names: Names
    update: Update | None
    weight: Weight | None
    notes: tuple[str, ...] = ()
    layers: dict[str, int] = field(default_factory=dict)
    description: str = ""
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    model_file: Path | None = None

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return len(self.values["X"])

    @property
    def columns(self) -> dict[str, Any]:
        """The values in the notation of textbooks, with samples as columns."""
        return to_columns(self.names, self.values, self.n_samples)

    def work_loss(self, notation: str = "rows") -> Line | None:
        """Work out the loss; None if it is a sum of many numbers, or of a user's loss."""
        template = write_loss_template(self.steps, self.names, notation)
        if template is None:
            return None
        targets = self.values["Y"]
        if targets.size > MOST_TERMS or np.isnan(targets).any():
            return None
        return fill(template, {}, self._look_up(notation), dict(zip("ku", targets.shape)))

    def _look_up(self, notation: str) -> Callable[[str, tuple[int, ...]], float]:
        """Return a function that returns a value at some indices, in a notation."""
        values = (self.values if notation == "rows" else self.columns) | {
            "m": np.asarray(self.n_samples)
        }
        return lambda symbol, place: float(values[symbol][place])

    def work_gradient(self, notation: str = "rows") -> list[Line]:
        """Work out the gradient of the chosen weight, from the loss's side.

        Of many samples, the way back is worked out for the first one alone.
        """
        if self.weight is None:
            return []
        weight, i, j = self.weight
        look_up = self._look_up(notation)
        *chain, gradient = list_templates(self.steps, self.names, self.layers[weight], notation)
        lines = []
        for k in range(self.n_samples if self.n_samples <= MOST_LINES else 1):
            for template in chain:
                n_units = self.values[template.units].shape[1] if template.units else 1
                n_lines = 1 if template.over else n_units
                lines += [
                    fill(template, {"i": i, "j": j, "k": k, "u": u}, look_up, {"u": n_units})
                    for u in range(n_lines if n_lines <= MOST_LINES else 0)
                ]
        places = {"i": i, "j": j}
        return [*lines, fill(gradient, places, look_up, {"k": self.n_samples})]

    def work_update(self) -> list[Line]:
        """Work out what the optimiser makes of the gradient of the chosen weight."""
        if self.weight is None or self.update is None:
            return []
        weight, i, j = self.weight
        values, constants = self.update.values[weight], self.update.constants

        def look_up(symbol: str, place: tuple[int, ...]) -> float:
            value: Any = constants[symbol] if symbol in constants else values[symbol]
            return float(value if np.ndim(value) == 0 else value[i, j])

        templates = (
            Template("{w}", f"{{{weight}[i,j]}}"),
            Template("{dw}", f"{{d{weight}[i,j]}}"),
            *list_update_templates(self.update.steps),
        )
        before, after = look_up("w", ()), look_up("w_new", ())
        decimals = count_decimals(before, after - before)
        return [fill(x, {"i": i, "j": j}, look_up, {}, decimals) for x in templates]

    def __str__(self) -> str:
        return to_text(self)

    __repr__ = __str__

    def to_html(self, path: str | Path) -> None:
        """Write the walk as one HTML file, which opens without a network.

        A file at ``path`` is replaced, and folders that are missing are created.

        Raises
        ------
        DataError
            ``path`` is a folder.
        """
        write_page(self, Path(path))

    def to_python(self) -> str:
        """Return a NumPy script that computes the walk and the update again."""
        return write_script(self)

    def _repr_html_(self) -> str:
        text: str = escape(str(self))
        return f"<pre>{text}</pre>"


def find_dense(engine: Engine, names: Names) -> dict[str, int]:
    """Return the position of each `Dense` layer by the name of its weights."""
    return {
        names.parameters[index]["weight"]: index
        for index, layer in enumerate(engine.network.layers)
        if type(layer) is Dense
    }

"""The names of a network's values, as textbooks have them: Z1, A1, W1, b1, dZ1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anyback_nn.network.activations import Activation
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import BatchNorm, Dense, Dropout, LayerNorm
from anyback_nn.network.losses import KnownTargets, Loss
from anyback_nn.network.network import Network, Residual
from anyback_nn.tree import tree_named_leaves

__all__ = ["Names", "name_values"]

_LETTERS: tuple[tuple[type[Layer], str], ...] = (
    (Dense, "Z"),
    (Activation, "A"),
    (BatchNorm, "N"),
    (LayerNorm, "N"),
    (Dropout, "D"),
    (Residual, "R"),
)
_OTHER = "H"
_PARAMETERS: dict[type[Layer], dict[str, str]] = {
    Dense: {"weight": "W", "bias": "b"},
    BatchNorm: {"scale": "scale", "shift": "shift"},
    LayerNorm: {"scale": "scale", "shift": "shift"},
}


@dataclass(frozen=True)
class Names:
    """The names of a network's values.

    Attributes
    ----------
    outputs : tuple of str
        The output of each layer.
    prediction : str
        The output of the loss's link: the last of the outputs if it has none.
    parameters : tuple of dict
        For each layer: the path of each of its parameters, and its name.
    state : tuple of dict
        For each layer: the path of each array of its state, and its name.
    """

    outputs: tuple[str, ...]
    prediction: str
    parameters: tuple[dict[str, str], ...]
    state: tuple[dict[str, str], ...]

    @property
    def of_samples(self) -> frozenset[str]:
        """The values with a row for each sample, without gradients: samples, targets, outputs."""
        return frozenset({"X", "Y", *self.outputs, self.prediction})

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input of each layer."""
        return ("X", *self.outputs[:-1])


def name_values(network: Network, loss: Loss, params: Any, state: Any = ()) -> Names:
    """Name the values of a network.

    The number is that of the `Dense` layer, from 1; an activation has the number of the layer
    before. A name that is taken gets the next number.

    Examples
    --------
    >>> from anyback_nn.network.activations import Tanh
    >>> from anyback_nn.network.losses import BinaryCrossEntropy
    >>> dense = {"weight": 0, "bias": 0}
    >>> network = Network(Dense(2), Tanh(), Dense(1))
    >>> names = name_values(network, BinaryCrossEntropy(), (dense, {}, dense))
    >>> names.outputs, names.prediction, names.parameters[0]
    (('Z1', 'A1', 'Z2'), 'A2', {'weight': 'W1', 'bias': 'b1'})
    """
    kinds = [
        next((c for kind, c in _LETTERS if isinstance(x, kind)), _OTHER) for x in network.layers
    ]
    has_link = type(loss.loss if isinstance(loss, KnownTargets) else loss).link is not Loss.link
    *outputs, prediction = _number([*kinds, "A"])
    own_state: Any = state or ({},) * len(network.layers)
    return Names(
        tuple(outputs),
        prediction if has_link else outputs[-1],
        tuple(map(_name_parameters, network.layers, outputs, params)),
        tuple(
            {path: _join(layer, output, path) for path in tree_named_leaves(own)}
            for layer, output, own in zip(network.layers, outputs, own_state)
        ),
    )


def _number(letters: list[str]) -> Iterator[str]:
    """Add numbers to letters; Z, or a letter that is taken, begins the next number."""
    taken: set[str] = set()
    number = 0
    for letter in letters:
        if letter == "Z" or f"{letter}{number}" in taken:
            number += 1
        taken.add(name := f"{letter}{number}")
        yield name


def _name_parameters(layer: Layer, output: str, params: Any) -> dict[str, str]:
    """Name the parameters of a layer by its output's number."""
    known = _PARAMETERS.get(type(layer), {})
    return {
        path: f"{known[path]}{output[1:]}" if path in known else f"{output}.{path}"
        for path in tree_named_leaves(params)
    }


def _join(layer: Layer, output: str, path: str) -> str:
    """Name an array of a layer's state."""
    return f"{path}{output[1:]}" if type(layer) is BatchNorm else f"{output}.{path}"

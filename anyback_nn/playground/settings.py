"""The choices that the page offers, for which there are graphs."""

from __future__ import annotations

from anyback_nn.model import Model
from anyback_nn.network.activations import Activation, Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from anyback_nn.network.initializers import GlorotUniform
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import Dense
from anyback_nn.network.losses import BinaryCrossEntropy
from anyback_nn.optim.optimizers import Adam, GradientDescent, Momentum, Optimizer, RMSProp

__all__ = [
    "ACTIVATIONS",
    "BATCH_SIZE",
    "MAX_DEPTH",
    "MAX_WIDTH",
    "N_INPUTS",
    "N_SEEDS",
    "OPTIMIZERS",
    "build_model",
    "list_kinds",
]

N_INPUTS = 2
MAX_DEPTH = 4
"""The largest number of hidden layers."""
MAX_WIDTH = 8
"""The largest number of units of a hidden layer."""
BATCH_SIZE = 64
"""The largest number of samples in a batch; smaller ones are padded."""
N_SEEDS = 50
"""The number of seeds, from 0."""

ACTIVATIONS: dict[str, type[Activation]] = {
    kind.__name__: kind for kind in (Tanh, ReLU, Sigmoid, LeakyReLU, Identity)
}
OPTIMIZERS: dict[str, Optimizer] = {
    type(rule).__name__: rule for rule in (GradientDescent(), Momentum(), RMSProp(), Adam())
}
"""With their default settings; the learning rate is an input of the graphs."""


def list_kinds() -> dict[str, tuple[int, str]]:
    """List the kinds of networks: the number of hidden layers and the activation, by a name.

    Examples
    --------
    >>> [*list_kinds().items()][:2]
    [('0/Tanh', (0, 'Tanh')), ('1/Tanh', (1, 'Tanh'))]
    """
    return {
        f"{depth}/{activation}": (depth, activation)
        for depth in range(MAX_DEPTH + 1)
        # Without hidden layers, all activations are one.
        for activation in ([*ACTIVATIONS] if depth else [*ACTIVATIONS][:1])
    }


def build_model(widths: tuple[int, ...], activation: str, seed: int = 0) -> Model:
    """Build the network of the page: two inputs, hidden layers of these widths, and one logit.

    All layers draw their weights in one way, so that the numbers drawn do not depend on the
    activation.

    Examples
    --------
    >>> model = build_model((8, 4), "Tanh")
    >>> [type(layer).__name__ for layer in model.network.layers]
    ['Dense', 'Tanh', 'Dense', 'Tanh', 'Dense']
    """
    layers: list[Layer] = []
    for width in widths:
        layers += [Dense(width, initializer=GlorotUniform()), ACTIVATIONS[activation]()]
    layers.append(Dense(1))
    model = Model(*layers, loss=BinaryCrossEntropy(), backend="numpy", seed=seed)
    return model.build(N_INPUTS)

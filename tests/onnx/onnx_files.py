"""Run ONNX files by onnxruntime, and draw networks to export."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import anyback_nn as nn
from anyback_nn.array_api import array_namespace
from anyback_nn.tree import tree_map

ROWS = (1, 2, 7, 33, 1000)
"""The numbers of rows that a file of predictions is run with."""


def run(file: Any, **inputs: Any) -> dict[str, Any]:
    """Return the outputs of a file by their names."""
    import onnxruntime  # where it is missing, this module is imported for its doctests

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return run_session(session, inputs)


def run_session(session: Any, inputs: Any) -> dict[str, Any]:
    """Return the outputs of an open file, for those of the inputs that it has."""
    used = {argument.name for argument in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    feeds = {name: value for name, value in inputs.items() if name in used}
    return dict(zip(names, session.run(names, feeds)))


@dataclass(frozen=True)
class Swap(nn.Layer):
    """A layer of a user's: with parameters, a comparison, a choice and another width."""

    n_out: int

    def output_size(self, n_in: int) -> int:
        return self.n_out

    def init(self, n_in: int, draws: Any) -> Any:
        return {"weight": draws.normal((n_in, self.n_out)), "edge": draws.uniform((self.n_out,))}

    def forward(self, params: Any, x: Any, context: nn.Context = nn.PREDICTION) -> Any:
        xp = array_namespace(x)
        y = xp.where(xp.isfinite(x), x, xp.zeros_like(x)) @ params["weight"]
        return xp.where(y > params["edge"], xp.log1p(xp.abs(y)), xp.sin(y)), None

    def backward(self, params: Any, cache: Any, dy: Any) -> Any:
        raise NotImplementedError


def randomize(model: nn.Model, n_in: int) -> nn.Model:
    """Give a model parameters and a state that are not those of the beginning."""
    model.build(n_in)
    random = np.random.default_rng(1)
    model.params = tree_map(lambda x: x + 0.2 * random.standard_normal(x.shape), model.params)
    state = tree_map(lambda x: x + random.uniform(0.1, 1.0, x.shape), model.training.state)
    model.training.state = tree_map(lambda x: x.astype(model.dtype), state)
    return model


def draw_network(seed: int) -> tuple[nn.Layer, ...]:
    """Draw the layers of a network, some of which are blocks."""
    random = np.random.default_rng(seed)

    def draw(depth: int, width: int) -> list[nn.Layer]:
        layers: list[nn.Layer] = []
        for _ in range(random.integers(1, 4)):
            kind = random.integers(6 if depth < 2 else 4)
            if kind == 0:
                width = int(random.integers(1, 9))
                layers.append(nn.Dense(width, bias=bool(random.integers(2))))
            elif kind == 1:
                names = sorted(nn.ACTIVATIONS)
                layers.append(nn.ACTIVATIONS[names[random.integers(len(names))]]())
            elif kind == 2:
                layers.append([nn.BatchNorm(), nn.LayerNorm(), nn.Dropout(0.3)][random.integers(3)])
            elif kind == 3:
                width = int(random.integers(1, 6))
                layers.append(Swap(width))
            elif kind == 4:
                layers.append(nn.Residual(*draw(depth + 1, width), nn.Dense(width)))
            else:
                inner = draw(depth + 1, width)
                layers.append(nn.Network(*inner))
                width = nn.Network(*inner).output_size(width)
        return layers

    return tuple(draw(0, 5))

"""Initial weights: small and random, because equal weights would stay equal.

An initialiser is called with the shape ``(n_in, n_out)`` of a weight matrix and draws it. The
scaled ones keep the variance of the signals the same from layer to layer: a layer with independent
weights of variance ``v`` multiplies it by ``n_in v`` forward, and by ``n_out v`` backward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyback_nn.utils.arguments import check_range

if TYPE_CHECKING:
    from anyback_nn.array_api import Array
    from anyback_nn.random import Random

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Orthogonal",
    "Zeros",
]


class Initializer(ABC):
    """A distribution of initial weights.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> from anyback_nn.random import Random, generator
    >>> draws = Random(generator(0, "weights"), select("numpy"), "float64")
    >>> weight = HeNormal()((200, 300), draws)
    >>> round(float(weight.std()), 3), (2 / 200) ** 0.5
    (0.1, 0.1)
    """

    @abstractmethod
    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        """Draw weights of ``shape`` (n_in, n_out)."""


# A uniform distribution from -limit to limit has the variance limit^2 / 3: hence the factors of 3.


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with variance ``2 / n_in``: a ReLU lets half the variance through.

    K. He et al., "Delving deep into rectifiers", ICCV 2015.
    """

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.normal(shape, std=math.sqrt(2.0 / shape[0]))


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform with variance ``2 / n_in``; see `HeNormal`."""

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.uniform(shape, limit=math.sqrt(6.0 / shape[0]))


@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal with variance ``2 / (n_in + n_out)``: a compromise of forward and backward.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.
    """

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.normal(shape, std=math.sqrt(2.0 / (shape[0] + shape[1])))


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform with variance ``2 / (n_in + n_out)``; see `GlorotNormal`."""

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.uniform(shape, limit=math.sqrt(6.0 / (shape[0] + shape[1])))


@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """Normal with variance ``1 / n_in`` (Y. LeCun et al., "Efficient BackProp", 1998)."""

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.normal(shape, std=math.sqrt(1.0 / shape[0]))


@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """Uniform with variance ``1 / n_in``; see `LeCunNormal`."""

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.uniform(shape, limit=math.sqrt(3.0 / shape[0]))


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns, times ``gain``: it preserves lengths.

    A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", ICLR 2014.

    Parameters
    ----------
    gain : float
        Factor of all lengths.
    """

    gain: float = 1.0

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.orthogonal(shape, self.gain)


@dataclass(frozen=True)
class Constant(Initializer):
    """All weights equal: the units of a layer then stay copies of each other.

    Parameters
    ----------
    value : float
        The weight.
    """

    value: float

    def __post_init__(self) -> None:
        check_range(self, "finite", "value")

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.full(shape, self.value)


@dataclass(frozen=True)
class Zeros(Initializer):
    """All weights zero: suitable for biases and for a network without hidden layers."""

    def __call__(self, shape: tuple[int, int], draws: Random) -> Array:
        return draws.full(shape, 0.0)

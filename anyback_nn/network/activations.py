"""Activation functions, each with its derivative, and each as a layer.

An activation ``a = g(z)`` is elementwise (but for softmax). Its derivative is a function of the
input ``z`` or of the output ``a``, whichever gives the shorter formula; the name of the argument
tells which. In a layer, ``backward`` is the chain rule ``dx = dy * g'(z)``.

All are finite for every finite input: ``exp`` is only taken of numbers that are not positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.network.initializers import GlorotUniform, HeNormal, Initializer, LeCunNormal
from anyback_nn.network.layer import PREDICTION, Context, Layer
from anyback_nn.utils.arguments import check_range

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "elu",
    "elu_derivative",
    "gelu",
    "gelu_derivative",
    "leaky_relu",
    "leaky_relu_derivative",
    "log_sum_exp",
    "relu",
    "relu_derivative",
    "selu",
    "selu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "silu",
    "silu_derivative",
    "softmax",
    "softplus",
    "softplus_derivative",
    "tanh",
    "tanh_derivative",
]


# The functions -----------------------------------------------------------------------------------


def sigmoid(z: Array) -> Array:
    """Map ``z`` to between 0 and 1: ``1 / (1 + exp(-z))``.

    For negative ``z`` the equal form ``exp(z) / (1 + exp(z))`` is used, so that ``exp`` never
    overflows and the lower tail keeps its digits.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.asarray([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    xp = array_namespace(z)
    small = xp.exp(-xp.abs(z))
    return xp.where(z >= 0, xp.ones_like(z), small) / (1.0 + small)


def sigmoid_derivative(a: Array) -> Array:
    r"""Derive the sigmoid: ``a (1 - a)``.

    With ``a = 1/(1 + e)`` and ``e = exp(-z)``: ``da/dz = e/(1 + e)^2 = 1/(1 + e) * e/(1 + e)``,
    and the second factor is ``1 - a``. At most 1/4, and near zero for large ``|z|``.
    """
    return a * (1.0 - a)


def tanh(z: Array) -> Array:
    """Map ``z`` to between -1 and 1: ``(exp(z) - exp(-z)) / (exp(z) + exp(-z))``."""
    return array_namespace(z).tanh(z)


def tanh_derivative(a: Array) -> Array:
    """Derive the hyperbolic tangent: ``1 - a^2``.

    The quotient rule on sinh/cosh gives ``(cosh^2 - sinh^2) / cosh^2 = 1 - tanh^2``.
    """
    return 1.0 - a * a


def relu(z: Array) -> Array:
    """Cut off below zero: ``max(z, 0)`` (V. Nair, G. Hinton, ICML 2010)."""
    return array_namespace(z).maximum(z, 0.0)


def relu_derivative(a: Array) -> Array:
    """Derive the ReLU: 1 where the output is positive, else 0 (at the kink, 0 is chosen)."""
    return array_namespace(a).astype(a > 0, a.dtype)


def leaky_relu(z: Array, slope: float = 0.01) -> Array:
    """Keep ``z`` above zero and ``slope * z`` below (A. Maas, A. Hannun, A. Ng, ICML 2013)."""
    return array_namespace(z).where(z > 0, z, slope * z)


def leaky_relu_derivative(z: Array, slope: float = 0.01) -> Array:
    """Derive the leaky ReLU: 1 above zero, ``slope`` below and at the kink."""
    xp = array_namespace(z)
    return xp.where(z > 0, xp.ones_like(z), slope)


def elu(z: Array, alpha: float = 1.0) -> Array:
    """Keep ``z`` above zero, ``alpha (exp(z) - 1)`` below (D.-A. Clevert et al., ICLR 2016)."""
    xp = array_namespace(z)
    return xp.where(z > 0, z, alpha * xp.expm1(xp.minimum(z, 0.0)))


def elu_derivative(a: Array, alpha: float = 1.0) -> Array:
    """Derive the ELU: 1 above zero; below, ``alpha exp(z) = a + alpha``."""
    xp = array_namespace(a)
    return xp.where(a > 0, xp.ones_like(a), a + alpha)


_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


def selu(z: Array) -> Array:
    """Scale an ELU so that mean 0 and variance 1 are kept (G. Klambauer et al., NeurIPS 2017)."""
    return _SELU_SCALE * elu(z, _SELU_ALPHA)


def selu_derivative(a: Array) -> Array:
    """Derive the SELU: ``scale`` above zero; below, ``scale alpha exp(z) = a + scale alpha``."""
    xp = array_namespace(a)
    return xp.where(a > 0, xp.full_like(a, _SELU_SCALE), a + _SELU_SCALE * _SELU_ALPHA)


_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu_gate(z: Array) -> tuple[Array, Array]:
    """Compute ``sigmoid(2 c (z + 0.044715 z^3))``, and ``z`` limited to where that varies."""
    xp = array_namespace(z)
    # Beyond 60 it is 0 or 1 to the last bit. The limit keeps the powers of z from overflowing.
    near = xp.minimum(xp.maximum(z, -60.0), 60.0)
    return sigmoid((2.0 * _GELU_SCALE) * (near + _GELU_CUBIC * near * near * near)), near


def gelu(z: Array) -> Array:
    """Weight ``z`` by the normal distribution, in the tanh form (D. Hendrycks, K. Gimpel, 2016).

    ``z/2 (1 + tanh(u))`` with ``u = c (z + 0.044715 z^3)`` and ``c = sqrt(2/pi)``, computed as ``z
    sigmoid(2 u)``: equal, but without a difference of nearly equal numbers for negative z.
    """
    return z * _gelu_gate(z)[0]


def gelu_derivative(z: Array) -> Array:
    """Derive the GELU: with ``s`` the sigmoid, ``s + z s (1 - s) 2 c (1 + 3*0.044715 z^2)``.

    The product rule; the second term is the derivative of the sigmoid by the chain rule.
    """
    s, near = _gelu_gate(z)
    slope = (2.0 * _GELU_SCALE) * (1.0 + 3.0 * _GELU_CUBIC * near * near)
    return s * (1.0 + near * (1.0 - s) * slope)


def silu(z: Array) -> Array:
    """Weight ``z`` by its sigmoid: ``z sigmoid(z)`` (S. Elfwing et al., 2018; also "swish")."""
    return z * sigmoid(z)


def silu_derivative(z: Array) -> Array:
    """Derive the SiLU: with ``s = sigmoid(z)``, the product rule gives ``s + z s (1 - s)``."""
    s = sigmoid(z)
    return s * (1.0 + z * (1.0 - s))


def softplus(z: Array) -> Array:
    """Smooth the ReLU: ``log(1 + exp(z))``, as ``max(z, 0) + log(1 + exp(-|z|))``.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.asarray([-1000.0, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    xp = array_namespace(z)
    return xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z)))


def softplus_derivative(z: Array) -> Array:
    """Derive the softplus: ``exp(z)/(1 + exp(z)) = sigmoid(z)``."""
    return sigmoid(z)


def softmax(z: Array) -> Array:
    """Turn the features of each sample into probabilities: ``exp(z_i) / sum_j exp(z_j)``.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    xp = array_namespace(z)
    # Subtracting the largest does not change the result, but keeps exp from overflowing.
    powers = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


def log_sum_exp(z: Array) -> Array:
    """Compute ``log(sum_j exp(z_j))`` over the features; the feature axis is kept, with size 1."""
    xp = array_namespace(z)
    largest = xp.max(z, axis=-1, keepdims=True)
    return largest + xp.log(xp.sum(xp.exp(z - largest), axis=-1, keepdims=True))


# The layers --------------------------------------------------------------------------------------


class Activation(Layer):
    """A layer that applies one function and has no parameters."""

    initializer: ClassVar[Initializer] = GlorotUniform()
    """The default initialiser of a `Dense` layer before this one."""


@dataclass(frozen=True)
class Identity(Activation):
    """The identity: the activation of a linear layer."""

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        return x, ()

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        return dy, {}


class _Elementwise(Activation):
    """The common part of the activations that are one of the functions above."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    """With respect to the input; a function of the output, or of the input."""
    caches_output: ClassVar[bool] = False
    """Whether ``derivative`` is a function of the output."""

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y = self.function(x)
        return y, y if self.caches_output else x

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive by the chain rule: ``dx = dy * g'``."""
        return dy * self.derivative(cache), {}


@dataclass(frozen=True)
class Sigmoid(_Elementwise):
    """The logistic sigmoid, see `sigmoid`."""

    function, derivative = staticmethod(sigmoid), staticmethod(sigmoid_derivative)
    caches_output = True


@dataclass(frozen=True)
class Tanh(_Elementwise):
    """The hyperbolic tangent, see `tanh`."""

    function, derivative = staticmethod(tanh), staticmethod(tanh_derivative)
    caches_output = True


@dataclass(frozen=True)
class ReLU(_Elementwise):
    """The rectified linear unit, see `relu`: the usual choice for hidden layers."""

    function, derivative = staticmethod(relu), staticmethod(relu_derivative)
    caches_output = True
    initializer = HeNormal()


@dataclass(frozen=True)
class LeakyReLU(_Elementwise):
    """The leaky ReLU, see `leaky_relu`.

    Parameters
    ----------
    slope : float
        The slope below zero.
    """

    slope: float = 0.01
    initializer = HeNormal()

    def __post_init__(self) -> None:
        check_range(self, "finite", "slope")

    def function(self, z: Array) -> Array:
        return leaky_relu(z, self.slope)

    def derivative(self, z: Array) -> Array:
        return leaky_relu_derivative(z, self.slope)


@dataclass(frozen=True)
class ELU(_Elementwise):
    """The exponential linear unit, see `elu`.

    Parameters
    ----------
    alpha : float
        The output for large negative input is ``-alpha``; greater than 0.
    """

    alpha: float = 1.0
    caches_output = True
    initializer = HeNormal()

    def __post_init__(self) -> None:
        # The derivative depends on the sign of the output.
        check_range(self, "above 0", "alpha")

    def function(self, z: Array) -> Array:
        return elu(z, self.alpha)

    def derivative(self, a: Array) -> Array:
        return elu_derivative(a, self.alpha)


@dataclass(frozen=True)
class SELU(_Elementwise):
    """The self-normalising exponential linear unit, see `selu`."""

    function, derivative = staticmethod(selu), staticmethod(selu_derivative)
    caches_output = True
    initializer = LeCunNormal()


@dataclass(frozen=True)
class GELU(_Elementwise):
    """The Gaussian error linear unit in its tanh form, see `gelu`."""

    function, derivative = staticmethod(gelu), staticmethod(gelu_derivative)
    initializer = HeNormal()


@dataclass(frozen=True)
class SiLU(_Elementwise):
    """The sigmoid-weighted linear unit, see `silu`."""

    function, derivative = staticmethod(silu), staticmethod(silu_derivative)
    initializer = HeNormal()


@dataclass(frozen=True)
class Softplus(_Elementwise):
    """The softplus, see `softplus`."""

    function, derivative = staticmethod(softplus), staticmethod(softplus_derivative)
    initializer = HeNormal()


@dataclass(frozen=True)
class Softmax(Activation):
    """The softmax, see `softmax`: the only activation that is not elementwise.

    Do not use it before `SoftmaxCrossEntropy`, which takes logits.
    """

    full_precision = True

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y = softmax(x)
        return y, y

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive the softmax: ``dx_i = y_i (dy_i - sum_j dy_j y_j)``.

        ``dy_j/dx_i = y_j ([i = j] - y_i)``; summed over ``j`` with the weights ``dy_j``.
        """
        y = cache
        weighted = dy * y
        return weighted - y * array_namespace(y).sum(weighted, axis=-1, keepdims=True), {}


ACTIVATIONS: dict[str, type[Activation]] = {
    "identity": Identity,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
    "softmax": Softmax,
}
"""The activation layers by their names in settings and on the command line."""

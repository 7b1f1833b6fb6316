"""Networks that compute in 16 bits, with inputs, outputs and parameters in float32.

Mixed precision (P. Micikevicius et al., ICLR 2018) does not change the mathematics of a layer, only
the dtype of its inputs. So it is one more layer, `InDtype`, around each of them.

The parameters stay in float32: each layer rounds its own in ``forward`` and returns their
gradients. Sums over many numbers in 16 bits lose too many digits, and squares leave the range of
float16 at 256. So layers with `Layer.full_precision` (the normalisations, softmax), or that carry
statistics from step to step, compute in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.network.layer import PREDICTION, Context, Layer, as_pair
from anyback_nn.network.network import Network
from anyback_nn.tree import tree_map

__all__ = ["InDtype", "MixedNetwork", "cast", "mix_precision"]


def cast(tree: Any, dtype: str) -> Any:
    """Cast all floating-point arrays; an array that has the dtype is not copied.

    Parameters
    ----------
    tree : nested tuples and dicts of array
        Booleans, integers and None are not cast.
    dtype : str
        Name of the dtype, such as ``"float16"``.

    Examples
    --------
    >>> import numpy as np
    >>> narrow = cast({"scale": np.asarray([1.0]), "mask": np.asarray([True])}, "float16")
    >>> {name: array.dtype.name for name, array in narrow.items()}
    {'scale': 'float16', 'mask': 'bool'}
    """

    def cast_array(array: Any) -> Any:
        if array is None:
            return None
        xp = array_namespace(array)
        # Not "real floating", because the standard does not know the dtypes of 16 bits.
        if xp.isdtype(array.dtype, ("bool", "integral")):
            return array
        return xp.astype(array, getattr(xp, dtype), copy=False)

    return tree_map(cast_array, tree)


@dataclass(frozen=True)
class InDtype(Layer):
    """A layer that computes in one dtype, whatever the dtypes of its parameters and input.

    The output and the gradients have that dtype too; the state is not cast.

    Parameters
    ----------
    layer : Layer
    dtype : str

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.network.layers import Dense
    >>> params = {"weight": np.asarray([[1.0]]), "bias": np.asarray([2.0**-12])}
    >>> y, _ = InDtype(Dense(1), "float16").forward(params, np.asarray([[3.0]]))
    >>> y.dtype.name, y.tolist()
    ('float16', [[3.0]])
    """

    layer: Layer
    dtype: str

    def output_size(self, n_in: int) -> int:
        return self.layer.output_size(n_in)

    def next_state(self, state: Any, cache: Any) -> Any:
        return self.layer.next_state(state, cache[1])

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        params = cast(params, self.dtype)
        context = context._replace(noise=cast(context.noise, self.dtype))
        result = self.layer.forward(params, cast(x, self.dtype), context)
        y, cache = as_pair(result, self.layer, "y, cache")
        return y, (params, cache)

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive the layer at the rounded parameters, as if rounding were the identity.

        The derivative of rounding is 0 almost everywhere, so nothing would be learned.
        """
        params, cache = cache
        return self.layer.backward(params, cache, cast(dy, self.dtype))

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        params, cache = cache
        return self.layer.gradients(params, cache, cast(dy, self.dtype))


@dataclass(frozen=True, init=False)
class MixedNetwork(Network):
    """A network of `InDtype` layers; create it with `mix_precision`.

    Outputs have the dtype of the inputs, and gradients that of the gradient of the outputs.
    """

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y, caches = super().forward(params, x, context)
        return array_namespace(y).astype(y, x.dtype, copy=False), caches

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        grads = super().gradients(params, cache, dy)
        return tree_map(lambda g: array_namespace(g).astype(g, dy.dtype, copy=False), grads)


def mix_precision(network: Network, narrow: str, wide: str) -> MixedNetwork:
    """Create a network that computes in a narrow dtype, but for the layers that need a wide one.

    Parameters
    ----------
    network : Network
    narrow, wide : str
        Names of dtypes, such as ``"float16"`` and ``"float32"``. Parameters, state, inputs and
        outputs have the wide one.

    Examples
    --------
    >>> from anyback_nn.network.layers import Dense, LayerNorm
    >>> network = mix_precision(Network(Dense(4), LayerNorm()), "float16", "float32")
    >>> for layer in network.layers:
    ...     print(type(layer.layer).__name__, layer.dtype)
    Dense float16
    LayerNorm float32
    """
    return MixedNetwork(*_wrap_layers(network, narrow, wide))


def _wrap_layers(network: Network, narrow: str, wide: str) -> list[Layer]:
    """Wrap each layer of a network, and of its blocks, in `InDtype`."""
    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Network):
            settings = {f.name: getattr(layer, f.name) for f in fields(layer) if f.init}
            del settings["layers"]
            layers.append(type(layer)(*_wrap_layers(layer, narrow, wide), **settings))
        else:
            has_state = type(layer).init_state is not Layer.init_state
            layers.append(InDtype(layer, wide if layer.full_precision or has_state else narrow))
    return layers

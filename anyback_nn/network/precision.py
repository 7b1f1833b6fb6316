"""A network that computes in 16 bits inside, between inputs and outputs of more.

Mixed precision (P. Micikevicius et al., ICLR 2018) changes nothing in the mathematics of a layer,
only the dtype that it gets: so it is one more layer, `InDtype`, around each of them.

The parameters stay what they are, float32: each layer rounds its own on the way forward and hands
the gradients back. Sums over many numbers in 16 bits lose too much, and squares leave float16's
range at 256, so layers that say so (`Layer.full_precision`: the normalisations, softmax), or that
carry statistics from step to step, get float32.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from anyback_nn.array_api import array_namespace
from anyback_nn.network.layer import PREDICTION, Context, Layer
from anyback_nn.network.network import Network
from anyback_nn.tree import tree_map

if TYPE_CHECKING:
    from anyback_nn.array_api import Array

__all__ = ["InDtype", "MixedNetwork", "cast", "mixed"]


def cast(tree: Any, dtype: str) -> Any:
    """Cast every array of real numbers; one that has the dtype is not copied.

    Parameters
    ----------
    tree : nested tuples and dicts of array
        Truth values, whole numbers and None stay what they are.
    dtype : str
        The name of the dtype, such as ``"float16"``.

    Examples
    --------
    >>> import numpy as np
    >>> narrow = cast({"scale": np.asarray([1.0]), "kept": np.asarray([True])}, "float16")
    >>> {name: array.dtype.name for name, array in narrow.items()}
    {'scale': 'float16', 'kept': 'bool'}
    """

    def one(array: Any) -> Any:
        if array is None:
            return None
        xp = array_namespace(array)
        # Asked this way round, because the standard does not know the dtypes of 16 bits.
        if xp.isdtype(array.dtype, ("bool", "integral")):
            return array
        return xp.astype(array, getattr(xp, dtype), copy=False)

    return tree_map(one, tree)


@dataclass(frozen=True)
class InDtype(Layer):
    """A layer that computes in one dtype, whichever dtypes its parameters and input are of.

    The output and the gradients are of that dtype too; the state stays as it is.

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

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        params = cast(params, self.dtype)
        context = context._replace(noise=cast(context.noise, self.dtype))
        y, cache = self.layer.forward(params, cast(x, self.dtype), context)
        return y, (params, cache)

    def next_state(self, state: Any, cache: Any) -> Any:
        return self.layer.next_state(state, cache[1])

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive the layer at the parameters that were rounded, as if rounding were the identity.

        Its derivative is 0 almost everywhere, which would teach nothing.
        """
        params, cache = cache
        return self.layer.backward(params, cache, cast(dy, self.dtype))

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        params, cache = cache
        return self.layer.gradients(params, cache, cast(dy, self.dtype))


@dataclass(frozen=True, init=False)
class MixedNetwork(Network):
    """A network of layers `InDtype`; `mixed` makes one.

    Outputs have the dtype of the inputs, and gradients that of what comes back.
    """

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y, caches = super().forward(params, x, context)
        return array_namespace(y).astype(y, x.dtype, copy=False), caches

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        grads = super().gradients(params, cache, dy)
        return tree_map(lambda g: array_namespace(g).astype(g, dy.dtype, copy=False), grads)


def mixed(network: Network, narrow: str, wide: str) -> MixedNetwork:
    """Let a network compute in a narrow dtype, but for the layers that need a wide one.

    Parameters
    ----------
    network : Network
    narrow, wide : str
        Names of dtypes, such as ``"float16"`` and ``"float32"``. Parameters, state, inputs and
        outputs are in the wide one.

    Examples
    --------
    >>> from anyback_nn.network.layers import Dense, LayerNorm
    >>> for one in mixed(Network(Dense(4), LayerNorm()), "float16", "float32").layers:
    ...     print(type(one.layer).__name__, one.dtype)
    Dense float16
    LayerNorm float32
    """
    return MixedNetwork(*_each_in(network, narrow, wide))


def _each_in(network: Network, narrow: str, wide: str) -> list[Layer]:
    """Put each layer of a network, and of the blocks in it, into its dtype."""
    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Network):
            settings = {one.name: getattr(layer, one.name) for one in fields(layer) if one.init}
            del settings["layers"]
            layers.append(type(layer)(*_each_in(layer, narrow, wide), **settings))
        else:
            layers.append(InDtype(layer, wide if _needs_precision(layer) else narrow))
    return layers


def _needs_precision(layer: Layer) -> bool:
    """Tell whether a layer asks for the wide dtype, or carries statistics, which are in it."""
    return layer.full_precision or type(layer).init_state is not Layer.init_state

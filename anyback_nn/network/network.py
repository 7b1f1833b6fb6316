"""Networks: layers in sequence, which are one layer again; and blocks with a shortcut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyback_nn.array_api import Array
from anyback_nn.errors import ShapeError
from anyback_nn.network.activations import Activation
from anyback_nn.network.initializers import GlorotUniform, Initializer
from anyback_nn.network.layer import PREDICTION, Context, Layer, as_pair
from anyback_nn.network.layers import Dense
from anyback_nn.utils.arguments import to_python_scalars
from anyback_nn.utils.messages import suggest_call

if TYPE_CHECKING:
    from anyback_nn.random import Random

__all__ = ["Network", "Residual"]


@dataclass(frozen=True, init=False)
class Network(Layer):
    """Layers in sequence: the output of each is the input of the next.

    A network holds no array. Parameters, state and noise are tuples with one element per layer, so
    a network is itself a layer and can be part of another.

    Parameters
    ----------
    *layers : Layer
        The layers in the order of the computation, without the input (which is not a layer).

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> from anyback_nn.random import Random, generator
    >>> network = Network(Dense(3), Dense(2))
    >>> params = network.init(4, Random(generator(0, "weights"), select("numpy"), "float32"))
    >>> y, caches = network.forward(params, select("numpy").asarray([[1, 2, 3, 4]], "float32"))
    >>> y.shape
    (1, 2)
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = suggest_call(layer, "...")
                raise TypeError(
                    f"layer {position}: expected a Layer (an instance of a subclass of it), got "
                    f"{layer!r}{hint}"
                )
        if not layers:
            raise ShapeError("a network needs at least one layer")
        layers = tuple(map(to_python_scalars, _choose_initializers(layers)))
        object.__setattr__(self, "layers", layers)

    @classmethod
    def _from_settings(cls, layers: tuple[Layer, ...], **settings: Any) -> Network:
        """Create a network from the fields in a model file."""
        return cls(*layers, **settings)

    def sizes(self, n_in: int) -> tuple[int, ...]:
        """Return the number of input features, and of the output features of each layer.

        Raises
        ------
        ShapeError
            A layer cannot take its input; the message names it.
        """
        if n_in not in self._sizes:
            sizes = [n_in]
            for position, layer in enumerate(self.layers):
                try:
                    sizes.append(layer.output_size(sizes[-1]))
                except ShapeError as error:
                    name = type(layer).__name__
                    raise ShapeError(f"layer {position} ({name}): {error}") from None
            self._sizes[n_in] = tuple(sizes)
        return self._sizes[n_in]

    @cached_property
    def _sizes(self) -> dict[int, tuple[int, ...]]:
        """The sizes by the number of input features: `noise` needs them at each step."""
        return {}

    def output_size(self, n_in: int) -> int:
        return self.sizes(n_in)[-1]

    def init(self, n_in: int, draws: Random) -> Any:
        """Create the parameters: one dict of arrays per layer."""
        return tuple(layer.init(n, draws) for layer, n in zip(self.layers, self.sizes(n_in)))

    def init_state(self, n_in: int, draws: Random) -> Any:
        """Create the state: one dict of arrays per layer."""
        return tuple(layer.init_state(n, draws) for layer, n in zip(self.layers, self.sizes(n_in)))

    def next_state(self, state: Any, cache: Any) -> Any:
        """Return the state of every layer after a training step."""
        return tuple(
            layer.next_state(own_state, own_cache)
            for layer, own_state, own_cache in zip(self.layers, state, cache)
        )

    def check_state(self, state: Any) -> Any:
        """Return for each array of the state whether its layer can have it."""
        return tuple(layer.check_state(own) for layer, own in zip(self.layers, state))

    @cached_property
    def is_noisy(self) -> bool:
        """Whether a layer draws random numbers in training."""
        return any(
            layer.is_noisy if isinstance(layer, Network) else type(layer).noise is not Layer.noise
            for layer in self.layers
        )

    def noise(self, shape: tuple[int, ...], draws: Random) -> Any:
        """Draw the random numbers of every layer for a training step on input of ``shape``."""
        *leading, n_in = shape
        return tuple(
            layer.noise((*leading, n), draws) for layer, n in zip(self.layers, self.sizes(n_in))
        )

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        """Compute the output and the cache of every layer."""
        caches = []
        for y, cache in self._iterate_forward(params, x, context):  # noqa: B007 - the last is returned
            caches.append(cache)
        return y, tuple(caches)

    def predict(self, params: Any, x: Array, state: Any = ()) -> Array:
        """Compute the output alone; the cache of each layer is freed at once."""
        sizes = iter(self.sizes(x.shape[-1])[1:])
        for layer, own, own_state, _ in self._iterate(params, Context(state=state)):
            x, _ = _forward(layer, own, x, Context(state=own_state), next(sizes))
        return x

    def walk(
        self, params: Any, x: Array, context: Context = PREDICTION
    ) -> tuple[tuple[Array, ...], Any]:
        """Compute the output of every layer, where `forward` returns the last one alone.

        Returns
        -------
        outputs : tuple of array
            One for each layer.
        cache : tuple
            As that of `forward`, for `walk_back`.
        """
        outputs, caches = zip(*self._iterate_forward(params, x, context))
        return outputs, caches

    def walk_back(self, params: Any, cache: Any, dy: Array) -> tuple[tuple[Array, ...], Any]:
        """Compute the gradient with respect to the output of every layer, and the parameters'.

        Returns
        -------
        d_outputs : tuple of array
            One for each layer; the last one is ``dy``.
        grads : tuple of dict of array
            As those of `backward`.
        """
        pairs = [*self._iterate_back(params, cache, dy)]
        d_outputs = (*(dx for dx, _ in reversed(pairs)), dy)
        first = self.layers[0].gradients(params[0], cache[0], d_outputs[0])
        return d_outputs, (first, *(grads for _, grads in reversed(pairs)))

    def _iterate_forward(
        self, params: Any, x: Array, context: Context
    ) -> Iterable[tuple[Array, Any]]:
        """Iterate over the output and the cache of the layers."""
        sizes = iter(self.sizes(x.shape[-1])[1:])
        for layer, own, state, noise in self._iterate(params, context):
            own_context = context._replace(state=state, noise=noise)
            x, cache = _forward(layer, own, x, own_context, next(sizes))
            yield x, cache

    def _iterate(self, params: Any, context: Context) -> Iterable[tuple[Layer, Any, Any, Any]]:
        """Iterate over the layers with their own parameters, state and noise."""
        empty: tuple[Any, ...] = ({},) * len(self.layers)
        return zip(self.layers, params, context.state or empty, context.noise or empty)

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive by the chain rule: the ``dx`` of each layer is the ``dy`` of the previous one."""
        dy, grads = self._backward_after_first(params, cache, dy)
        dx, first = self.layers[0].backward(params[0], cache[0], dy)
        return dx, (first, *grads)

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        """Compute the gradients of the parameters; the first layer's ``dx`` is never computed."""
        dy, grads = self._backward_after_first(params, cache, dy)
        return (self.layers[0].gradients(params[0], cache[0], dy), *grads)

    def _backward_after_first(self, params: Any, cache: Any, dy: Array) -> tuple[Array, list[Any]]:
        """Derive all layers but the first."""
        dx, grads = dy, []
        for dx, own in self._iterate_back(params, cache, dy):  # noqa: B007 - the last is returned
            grads.append(own)
        return dx, grads[::-1]

    def _iterate_back(self, params: Any, cache: Any, dy: Array) -> Iterable[tuple[Array, Any]]:
        """Iterate over ``dx`` and ``grads`` of the layers, from the last one to the second."""
        for layer, own, own_cache in zip(self.layers[:0:-1], params[:0:-1], cache[:0:-1]):
            dy, grads = as_pair(layer.backward(own, own_cache, dy), layer, "dx, grads")
            yield dy, grads


@dataclass(frozen=True, init=False)
class Residual(Network):
    """A block of layers plus its input: ``y = block(x) + x`` (K. He et al., CVPR 2016).

    Parameters
    ----------
    *layers : Layer
        The layers of the block, with as many output features as input features.

    Examples
    --------
    >>> block = Residual(Dense(8), Dense(3))
    >>> block.output_size(3)
    3
    """

    def output_size(self, n_in: int) -> int:
        n_out = super().output_size(n_in)
        if n_out != n_in:
            raise ShapeError(
                f"the block takes {n_in} features and returns {n_out}, so they cannot be added: "
                f"end it with Dense({n_in})"
            )
        return n_out

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y, caches = super().forward(params, x, context)
        return y + x, caches

    def predict(self, params: Any, x: Array, state: Any = ()) -> Array:
        return super().predict(params, x, state) + x

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive the sum: ``dx`` is the block's ``dx`` plus ``dy``."""
        dx, grads = super().backward(params, cache, dy)
        return dx + dy, grads


def _forward(
    layer: Layer, params: Any, x: Array, context: Context, n_out: int
) -> tuple[Array, Any]:
    """Compute a layer's output and cache, and check what a layer of the user's returns."""
    y, cache = as_pair(layer.forward(params, x, context), layer, "y, cache")
    # Replicas of the parameters add leading axes. A graph may not know a length: it is None.
    if y.shape[-1:] not in ((n_out,), (None,)) or y.shape[-2:-1] != x.shape[-2:-1]:
        name, n_in = type(layer).__name__, x.shape[-1]
        advice = ""
        if type(layer).output_size is Layer.output_size and y.shape[-1:] != (n_out,):
            advice = ". A layer that changes it defines output_size(self, n_in)"
        raise ShapeError(
            f"{name}.forward: expected an output of shape {(*x.shape[:-1], n_out)} for an input of "
            f"shape {tuple(x.shape)}, because output_size({n_in}) is {n_out}; got shape "
            f"{tuple(y.shape)}{advice}"
        )
    return y, cache


def _choose_initializers(layers: tuple[Layer, ...]) -> Iterable[Layer]:
    """Set the initialiser of each dense layer that has none: that of the next activation."""
    complete: list[Layer] = []
    initializer: Initializer = GlorotUniform()
    for layer in reversed(layers):
        if isinstance(layer, Activation):
            initializer = layer.initializer
        elif isinstance(layer, Dense | Network):
            if isinstance(layer, Dense) and layer.initializer is None:
                layer = replace(layer, initializer=initializer)
            # An activation is that of the last dense layer before it, or of the block.
            initializer = GlorotUniform()
        complete.append(layer)
    return reversed(complete)

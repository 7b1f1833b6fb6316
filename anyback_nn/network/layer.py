"""The base class of layers: two methods, ``forward`` and ``backward``, next to each other.

Shapes. The batch is axis -2 and the features are axis -1: ``x`` is ``(n_samples, n_in)``. Leading
axes are replicas, networks trained in parallel: ``(n_replicas, n_samples, n_in)``.

A custom layer is a subclass of `Layer` with those two methods (and ``init``, if it has
parameters). Nothing has to be registered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.tree import tree_map
from anyback_nn.utils.arguments import check_methods

if TYPE_CHECKING:
    from anyback_nn.random import Random

__all__ = ["PREDICTION", "Batch", "Context", "Layer", "as_pair", "batch_mean"]


def as_pair(result: Any, owner: object, returned: str) -> tuple[Any, Any]:
    """Return the pair that a method of a layer or loss returned.

    Raises
    ------
    TypeError
        It returned something else, which might be unpacked nevertheless: an array of two rows.
    """
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return result  # type: ignore[return-value]
    shape = getattr(result, "shape", None)
    got = f"{type(result).__name__}{'' if shape is None else f' of shape {tuple(shape)}'}"
    method = "backward" if "grads" in returned else "forward"
    raise TypeError(
        f"{type(owner).__name__}.{method}: expected to return a pair, ({returned}), got {got}"
    )


class Batch(NamedTuple):
    """A batch of training that several processes share.

    Attributes
    ----------
    n_samples : float
        The number of samples of all processes.
    add : callable
        Adds an array over all processes.
    """

    n_samples: float
    add: Callable[[Array], Array]


def batch_mean(x: Array, batch: Batch | None = None) -> Array:
    """Average over the samples of a batch.

    Parameters
    ----------
    x : array, shape (..., n_samples, n)
    batch : Batch, optional
        The whole batch, if ``x`` has a share of it: `Context.batch`.

    Returns
    -------
    array, shape (..., 1, n)
    """
    xp = array_namespace(x)
    if batch is None:
        return xp.mean(x, axis=-2, keepdims=True)
    return batch.add(xp.sum(x, axis=-2, keepdims=True)) / batch.n_samples


class Context(NamedTuple):
    """Arguments of ``forward`` in addition to the parameters and the input.

    Attributes
    ----------
    training : bool
        Whether this is a training step; otherwise it is a prediction.
    state : dict of array
        Arrays that the layer carries from step to step and does not learn by gradients.
    noise : array, optional
        The random numbers that the layer drew for this training step.
    batch : Batch, optional
        The whole batch, if this process has a share of it; see `batch_mean`.
    """

    training: bool = False
    state: Any = {}  # noqa: RUF012 - a default that is only ever read
    noise: Any = None
    batch: Batch | None = None


PREDICTION = Context()
"""The context of a prediction by a layer without state."""


class Layer(ABC):
    """A function with parameters, and its derivative.

    A layer holds settings and no array: parameters, state and random numbers are passed in, and new
    ones are returned. ``forward`` and ``backward`` never write into their arguments.

    Examples
    --------
    A layer without parameters, complete:

    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Square(Layer):
    ...     def forward(self, params, x, context=PREDICTION):
    ...         return x * x, x
    ...
    ...     def backward(self, params, cache, dy):
    ...         return dy * 2 * cache, {}
    >>> y, cache = Square().forward({}, np.asarray([[3.0]]))
    >>> dx, _ = Square().backward({}, cache, np.ones_like(y))
    >>> float(y[0, 0]), float(dx[0, 0])
    (9.0, 6.0)
    """

    full_precision: ClassVar[bool] = False
    """Whether it computes in the model's dtype where other layers compute in 16 bits, because it
    sums many squares or exponentials. A layer with a state always does."""

    mixes_samples: ClassVar[bool] = False
    """Whether an output depends on other samples of the batch, through `batch_mean` alone: then
    processes can share the batch."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the signatures of a new layer."""
        super().__init_subclass__(**options)
        check_methods(
            cls,
            forward="self, params, x, context",
            backward="self, params, cache, dy",
            output_size="self, n_in",
            init="self, n_in, draws",
        )

    @abstractmethod
    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        """Compute the output.

        Parameters
        ----------
        params : dict of array
            As ``init`` created them, or after training.
        x : array, shape (..., n_samples, n_in)
        context : Context

        Returns
        -------
        y : array, shape (..., n_samples, n_out)
        cache : array or tuple of arrays
            Values of this computation that ``backward`` needs.
        """

    @abstractmethod
    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Compute the gradients of the loss from the one with respect to the output.

        Parameters
        ----------
        params : dict of array
            As passed to ``forward``.
        cache : array or tuple of arrays
            As ``forward`` returned it.
        dy : array, shape (..., n_samples, n_out)
            The gradient of the loss with respect to ``y``.

        Returns
        -------
        dx : array, shape (..., n_samples, n_in)
            The gradient with respect to ``x``.
        grads : dict of array
            The gradients with respect to the parameters, under the same names and shapes.
        """

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        """Compute ``grads`` of `backward` alone: the first layer of a network needs no ``dx``."""
        return as_pair(self.backward(params, cache, dy), self, "dx, grads")[1]

    def output_size(self, n_in: int) -> int:
        """Return the number of output features for ``n_in`` input features; default: the same.

        Raises
        ------
        ShapeError
            The layer cannot take ``n_in`` features.
        """
        return n_in

    def init(self, n_in: int, draws: Random) -> Any:
        """Create the parameters for ``n_in`` input features; default: there are none.

        L1, L2 and weight decay act on parameters named ``weight``.
        """
        return {}

    def init_state(self, n_in: int, draws: Random) -> Any:
        """Create the state for ``n_in`` input features; default: there is none."""
        return {}

    def next_state(self, state: Any, cache: Any) -> Any:
        """Return the state after a training step with this ``cache``; default: unchanged."""
        return state

    def check_state(self, state: Any) -> Any:
        """Return for each array of a state whether the layer can have it; default: any.

        The state of a model file, for one, may come from anywhere.
        """
        return tree_map(lambda x: True, state)

    def noise(self, shape: tuple[int, ...], draws: Random) -> Any:
        """Draw the random numbers of a training step on input of ``shape``; default: none."""
        return None

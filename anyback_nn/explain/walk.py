"""All values of a network for some samples: outputs, loss and gradients, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyback_nn.array_api import Array
from anyback_nn.explain.names import Names, name_values
from anyback_nn.network.layer import Context
from anyback_nn.network.losses import Loss, mean_loss
from anyback_nn.network.network import Network
from anyback_nn.tree import tree_named_leaves

__all__ = ["collect_parameters", "compute_walk", "to_columns"]


def compute_walk(
    network: Network,
    loss: Loss,
    params: Any,
    state: Any,
    x: Array,
    y: Array | None = None,
    weights: Array | None = None,
) -> dict[str, Array]:
    """Compute every value of a network for some samples, as in a prediction.

    Parameters
    ----------
    network : Network
    loss : Loss
    params, state : tree of array
        As the network's; the state may be empty.
    x : array, shape (n_samples, n_in)
    y : array, optional
        Targets, as `Loss.check_targets` returns them. Default: none, and only the forward part.
    weights : array, shape (n_samples,), optional

    Returns
    -------
    dict of str to array
        The values by the symbols of `list_steps`, in the order of the computation.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.network.layers import Dense
    >>> from anyback_nn.network.losses import MeanSquaredError
    >>> params = ({"weight": np.asarray([[2.0]]), "bias": np.asarray([1.0])},)
    >>> x, y = np.asarray([[3.0]]), np.asarray([[5.0]])
    >>> walk = compute_walk(Network(Dense(1)), MeanSquaredError(), params, (), x, y)
    >>> {name: value.tolist() for name, value in walk.items()}
    {'Z1': [[7.0]], 'L': 4.0, 'dZ1': [[4.0]], 'dW1': [[12.0]], 'db1': [4.0]}
    """
    names = name_values(network, loss, params, state)
    outputs, cache = network.walk(params, x, Context(state=state))
    values = dict(zip(names.outputs, outputs))
    if names.prediction != names.outputs[-1]:
        values[names.prediction] = loss.link(outputs[-1])
    if y is None:
        return values
    values["L"], d_last = mean_loss(loss, outputs[-1], y, weights)
    d_outputs, grads = network.walk_back(params, cache, d_last)
    for index in reversed(range(len(outputs))):
        values[f"d{names.outputs[index]}"] = d_outputs[index]
        for path, gradient in tree_named_leaves(grads[index]).items():
            values[f"d{names.parameters[index][path]}"] = gradient
    return values


def collect_parameters(names: Names, params: Any, state: Any = ()) -> dict[str, Array]:
    """Collect the arrays of a network by their symbols.

    Examples
    --------
    >>> names = Names(("Z1",), "Z1", ({"weight": "W1", "bias": "b1"},), ({},))
    >>> collect_parameters(names, ({"weight": 1, "bias": 2},))
    {'W1': 1, 'b1': 2}
    """
    pairs = [*zip(names.parameters, params), *zip(names.state, state)]
    return {
        own[path]: array for own, tree in pairs for path, array in tree_named_leaves(tree).items()
    }


def to_columns(names: Names, values: Mapping[str, Any], n_samples: int) -> dict[str, Any]:
    """Return NumPy arrays in the notation of textbooks, in which samples are columns.

    What has a row for each sample is transposed, and vectors become columns. A weight and its
    gradient are the same in both notations. The gradients of outputs are times ``n_samples``,
    because textbooks have the factor 1/m of the mean in ``dW`` and ``db`` alone.
    """
    of_samples = names.of_samples
    columns = {}
    for symbol, value in values.items():
        if symbol in of_samples:
            value = value.T
        elif symbol.removeprefix("d") in of_samples:
            value = n_samples * value.T
        elif value.ndim == 1:
            value = value[:, None]
        columns[symbol] = value
    return columns

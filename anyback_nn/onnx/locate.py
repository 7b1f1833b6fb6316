"""Find which layer cannot be exported, after an export has failed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends import Backend, select
from anyback_nn.errors import ExportError, ShapeError
from anyback_nn.network.layer import Context, Layer, as_pair
from anyback_nn.network.network import Network
from anyback_nn.onnx.graphs import Values, compare, explain, load, trace, trace_rows
from anyback_nn.tree import tree_map, tree_named_leaves

__all__ = ["name_layer"]


@contextlib.contextmanager
def name_layer(
    network: Network,
    arrays: tuple[Any, Any, Any],
    shape: tuple[int, ...],
    dtype: str,
    fallback: str,
) -> Iterator[None]:
    """Name what an export failed at: a layer or, if each alone can be exported, something else.

    Parameters
    ----------
    network : Network
    arrays : tuple
        Parameters, state and noise of its layers as NumPy arrays; the noise of a prediction is
        empty.
    shape : tuple of int
        The shape of the input: (n_in,) for predictions of any number of rows, or of a batch.
    dtype : str
    fallback : str
        The cause to name if each layer can be exported alone.
    """
    try:
        yield
    except ExportError as error:
        _check_layers(network, arrays, shape, dtype, "")
        raise ExportError(f"{fallback}, or layers together: {error}") from error


def _check_layers(
    network: Network,
    arrays: tuple[Any, Any, Any],
    shape: tuple[int, ...],
    dtype: str,
    prefix: str,
) -> None:
    """Raise `ExportError` for the first layer that alone cannot be exported."""
    params, state, noise = arrays
    sizes = network.sizes(shape[-1])
    empty: tuple[Any, ...] = ({},) * len(network.layers)
    rows = zip(network.layers, params, state or empty, noise or empty, sizes)
    for position, (layer, *own, n_in) in enumerate(rows):
        name = f"{prefix}layer {position} ({type(layer).__name__})"
        try:
            _check_layer(layer, tuple(own), (*shape[:-1], n_in), dtype)
        except ExportError as error:
            if isinstance(layer, Network):
                _check_layers(layer, tuple(own), (*shape[:-1], n_in), dtype, f"{name}, ")
            raise ExportError(f"{name}: {error}") from error


def _check_layer(
    layer: Layer, arrays: tuple[Any, Any, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Export a layer alone: its prediction for rows, or forward and backward for a batch."""
    numpy, ndonnx, random = select("numpy"), select("ndonnx"), np.random.default_rng(0)
    is_batch = len(shape) > 1

    def draw(*shape: int) -> Any:
        return random.standard_normal(shape).astype(dtype)

    def compute(backend: Backend) -> Callable[..., dict[str, Array]]:
        params, state, noise = tree_map(lambda x: None if x is None else backend.asarray(x), arrays)

        def run(x: Array, dy: Array | None = None) -> dict[str, Array]:
            context = Context(is_batch, state, noise)
            y, cache = as_pair(layer.forward(params, x, context), layer, "y, cache")
            if dy is None:
                return {"y": y}
            dx, grads = as_pair(layer.backward(params, cache, dy), layer, "dx, grads")
            _check_shapes(tree_named_leaves({"x": x, "params": params}), {"x": dx, "params": grads})
            next_state = layer.next_state(state, cache)
            return tree_named_leaves({"y": y, "dx": dx, "grads": grads, "state": next_state})

        return run

    def check(part: str, values: Values) -> None:
        with explain(part):
            expected = compute(numpy)(**values)
        try:
            graph = trace(compute(ndonnx), {name: (x.shape, dtype) for name, x in values.items()})
            compare(load(graph)(values), expected, f"for a batch of {shape[0]:,}")
        except ExportError as error:
            raise ExportError(f"{part}: {error}") from error

    with numpy.scope(dtype):
        if is_batch:
            x, dy = draw(*shape), draw(*shape[:-1], layer.output_size(shape[-1]))
            check("forward", {"x": x})
            check("backward", {"x": x, "dy": dy})
        else:
            trace_rows(
                compute(ndonnx),
                {"x": (shape, dtype)},
                lambda values: compute(numpy)(**values),
                lambda n_rows: {"x": draw(n_rows, *shape)},
            )


def _check_shapes(arrays: dict[str, Array], grads: dict[str, Any]) -> None:
    """Raise `ShapeError` unless there is a gradient of the right shape for each array."""
    expected = {name: tuple(array.shape) for name, array in arrays.items()}
    got = {name: tuple(np.shape(grad)) for name, grad in tree_named_leaves(grads).items()}
    if got != expected:
        raise ShapeError(f"expected gradients of shapes {expected}, got {got}")

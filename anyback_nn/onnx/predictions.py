"""A trained network as an ONNX graph: inputs to predictions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import select
from anyback_nn.datasets import Encoding, read
from anyback_nn.datasets.features import Columns
from anyback_nn.errors import ExportError
from anyback_nn.network.layer import Context
from anyback_nn.onnx.columns import (
    check_encoding,
    decode,
    draw_columns,
    encode,
    list_inputs,
    standardize,
)
from anyback_nn.onnx.graphs import Values, trace_rows
from anyback_nn.training.engine import Engine
from anyback_nn.tree import tree_leaves, tree_map
from anyback_nn.utils.frames import polars

if TYPE_CHECKING:
    import onnx

_MOST_BYTES = 2**31 - 2**20
"""The largest size of a protobuf message, less some room for the graph."""

__all__ = ["copy_arrays", "export_predictions", "export_raw_predictions"]


def export_predictions(
    engine: Engine,
    interpret: Callable[[Array], Mapping[str, Array]],
    predict: Callable[[Any], Values],
) -> onnx.ModelProto:
    """Trace the predictions of a network for its input ``x``, shape (n_samples, n_features).

    Parameters
    ----------
    engine : Engine
    interpret : callable
        Turns raw outputs into what the graph returns, by name.
    predict : callable
        Computes the same for a NumPy array in the usual way.

    Raises
    ------
    ExportError
        The network or the loss cannot be traced, or the graph computes something else; the message
        names the layer, if it is one.
    """
    compute = _build_outputs(engine)
    with _name_part(engine, "the loss"):
        return _trace_arrays(
            lambda x: interpret(compute(x)), predict, engine.n_inputs, engine.dtype
        )


@contextlib.contextmanager
def _name_part(engine: Engine, other: str) -> Iterator[None]:
    """Name what cannot be exported: a layer, or if each alone can be, something else."""
    try:
        yield
    except ExportError as error:
        _check_layers(engine)
        raise ExportError(f"{other}, or layers together: {error}") from error


def _check_layers(engine: Engine) -> None:
    """Raise `ExportError` for the first layer that alone cannot be exported."""
    numpy, ndonnx = select("numpy"), select("ndonnx")
    layers = engine.network.layers
    own = zip(layers, *copy_arrays(engine), engine.network.sizes(engine.n_inputs))
    for position, (layer, params, state, n_in) in enumerate(own):

        def compute(
            x: Array, backend: Any, layer: Any = layer, arrays: Any = (params, state)
        ) -> Any:
            params, state = tree_map(backend.asarray, arrays)
            return {"y": layer.forward(params, x, Context(state=state))[0]}

        try:
            with numpy.scope(engine.dtype):
                _trace_arrays(
                    lambda x: compute(x, ndonnx),
                    lambda x: compute(x, numpy),
                    n_in,
                    engine.dtype,
                )
        except ExportError as error:
            raise ExportError(f"layer {position} ({type(layer).__name__}): {error}") from error


def _trace_arrays(
    function: Callable[[Array], Mapping[str, Array]],
    predict: Callable[[Any], Values],
    n_in: int,
    dtype: str,
) -> onnx.ModelProto:
    """Trace a function of the input ``x``, and compare it for random numbers."""
    random = np.random.default_rng(0)
    return trace_rows(
        function,
        {"x": ((n_in,), dtype)},
        lambda values: predict(values["x"]),
        lambda n_rows: {"x": random.standard_normal((n_rows, n_in)).astype(dtype)},
    )


def export_raw_predictions(model: Any, encoding: Encoding) -> onnx.ModelProto:
    """Trace the predictions of a `Model` for raw data, see `list_inputs` and `decode`.

    Raises
    ------
    ExportError
        As for `export_predictions`, or the encoding has a part that no graph has.
    """
    classifies, loss = model.loss.classifies, model.loss
    check_encoding(encoding, model.n_inputs, model.n_out, classifies=classifies)
    inputs, random = list_inputs(encoding), np.random.default_rng(0)
    compute_outputs = _build_outputs(model)

    def compute(**columns: Array) -> dict[str, Array]:
        outputs = compute_outputs(encode(encoding, columns))
        return decode(encoding, loss.link(outputs), loss.decide(outputs) if classifies else None)

    def predict(values: Values) -> Values:
        if isinstance(encoding.features, Columns):
            frame = polars().DataFrame({name: column.tolist() for name, column in values.items()})
            x = read(frame, encoding, with_target=False).x
        else:
            x = encoding.features.encode(values["x"])
        predictions = model.predict(x)
        if classifies:
            labels = encoding.decode(model.predict_classes(x))
            return {"prediction": labels, "probabilities": predictions}
        return dict(zip(encoding.prediction_names, encoding.decode(predictions).T, strict=True))

    with _name_part(model, "the loss, or the encoding of the data"):
        return trace_rows(
            compute,
            inputs,
            predict,
            lambda n_rows: draw_columns(encoding, n_rows, random),
            lambda outputs: standardize(encoding, outputs),
        )


def copy_arrays(engine: Engine) -> tuple[Any, Any]:
    """Return the trees of parameters and state as NumPy arrays that nothing else changes."""
    with engine.lock, engine.backend.scope(engine.dtype):
        trees = (engine.layout.unpack(engine.training.params), engine.training.state)
        params, state = tree_map(lambda array: np.array(to_numpy(array)), trees)
    if (n_bytes := sum(array.nbytes for array in tree_leaves((params, state)))) > _MOST_BYTES:
        raise ExportError(
            f"the parameters take {n_bytes / 1e9:.1f} GB: expected at most 2 GB, which is all that "
            "an ONNX file can hold; make the layers smaller"
        )
    return params, state


def _build_outputs(engine: Engine) -> Callable[[Array], Array]:
    """Return the function that computes raw outputs with the parameters as constants."""
    params, state = tree_map(select("ndonnx").asarray, copy_arrays(engine))
    return lambda x: engine.network.predict(params, x, state)

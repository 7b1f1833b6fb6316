"""A trained network as an ONNX graph: inputs to predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import select
from anyback_nn.datasets import Encoding, read
from anyback_nn.datasets.features import Columns
from anyback_nn.errors import ExportError
from anyback_nn.onnx.columns import (
    check_encoding,
    decode,
    describe_inputs,
    describe_outputs,
    draw_columns,
    encode,
    list_inputs,
    standardize,
)
from anyback_nn.onnx.graphs import Values, trace_rows
from anyback_nn.onnx.locate import name_layer
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
    n_in, dtype = engine.n_inputs, engine.dtype
    arrays, random = copy_arrays(engine), np.random.default_rng(0)
    compute = _build_outputs(engine, arrays)
    loss = f"the loss ({type(engine.loss).__name__})"
    with name_layer(engine.network, (*arrays, ()), (n_in,), dtype, loss):
        return trace_rows(
            lambda x: interpret(compute(x)),
            {"x": ((n_in,), dtype)},
            lambda values: predict(values["x"]),
            lambda n_rows: {"x": random.standard_normal((n_rows, n_in)).astype(dtype)},
        )


def export_raw_predictions(model: Any, encoding: Encoding | dict[str, Any]) -> onnx.ModelProto:
    """Trace the predictions of a `Model` for raw data, see `list_inputs` and `decode`.

    Raises
    ------
    ExportError
        As for `export_predictions`, or the encoding has a part that no graph has.
    """
    classifies, loss = model.loss.classifies, model.loss
    encoding = check_encoding(encoding, model.n_inputs, model.n_out, classifies=classifies)
    inputs, random = list_inputs(encoding), np.random.default_rng(0)
    arrays = copy_arrays(model)
    compute_outputs = _build_outputs(model, arrays)

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
            labels = encoding.decode_columns(model.predict_classes(x))
            return {**labels, "probabilities": predictions}
        return encoding.decode_columns(predictions)

    fallback = f"the loss ({type(loss).__name__}), the encoding of the data"
    with name_layer(model.network, (*arrays, ()), (model.n_inputs,), model.dtype, fallback):
        graph = trace_rows(
            compute,
            inputs,
            predict,
            lambda n_rows: draw_columns(encoding, n_rows, random),
            lambda outputs: standardize(encoding, outputs),
        )
    descriptions = describe_inputs(encoding) | describe_outputs(encoding)
    for value in (*graph.graph.input, *graph.graph.output):
        value.doc_string = descriptions[value.name]
    return graph


def copy_arrays(engine: Engine) -> tuple[Any, Any]:
    """Return the trees of parameters and state as NumPy arrays that nothing else changes."""
    with engine.lock, engine.backend.scope(engine.dtype):
        trees = (engine.layout.unpack(engine.training.params), engine.training.state)
        params, state = tree_map(lambda array: np.array(to_numpy(array)), trees)
    return params, state


def _build_outputs(engine: Engine, arrays: tuple[Any, Any]) -> Callable[[Array], Array]:
    """Return the function that computes raw outputs with the parameters as constants."""
    if (n_bytes := sum(array.nbytes for array in tree_leaves(arrays))) > _MOST_BYTES:
        raise ExportError(
            f"the parameters take {n_bytes / 1e9:.1f} GB: expected at most 2 GB, which is all that "
            "an ONNX file can hold; make the layers smaller"
        )
    params, state = tree_map(select("ndonnx").asarray, arrays)
    return lambda x: engine.network.predict(params, x, state)

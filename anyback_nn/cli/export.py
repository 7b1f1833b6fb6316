"""``anyback-nn export``: a trained model as an ONNX file."""

from __future__ import annotations

from typing import Any

from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer, create_label, create_table
from anyback_nn.model import Model

__all__ = ["export"]

_MOST_LETTERS = 1000
"""Of the names of classes."""


def export(
    run: options.Run,
    output: options.OnnxFile,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the model of RUN to FILE as ONNX, for programs without this library.

    The graph takes raw data, the columns of a table by their names, and returns what predict
    prints. It is compared with the model in onnxruntime before it is written.
    """
    run_folder.check_file(output, force=force)
    model = Model.load(run_folder.find_model(run), "numpy")
    graph = model.to_onnx(output, encoding=model.encoding).graph

    printer = Printer(quiet=quiet, as_json=json)
    parts = {"input": describe_values(graph.input), "output": describe_values(graph.output)}
    table = create_table("", "name", "type", "shape", "values")
    for part, values in parts.items():
        for value in values:
            shape = ", ".join(map(str, value["shape"]))
            about = create_label(value["values"], n_letters=_MOST_LETTERS)
            table.add_row(part, create_label(value["name"]), value["type"], shape, about)
    printer.show(table)
    printer.show(f"written to {output}")
    printer.end({"file": output, "inputs": parts["input"], "outputs": parts["output"]})


def describe_values(values: Any) -> list[dict[str, Any]]:
    """Return the name, the type, the shape and the values of each input or output."""
    from onnx.helper import tensor_dtype_to_np_dtype

    described = []
    for value in values:
        tensor = value.type.tensor_type
        dtype = tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        kind = "string" if dtype.kind in "OU" else dtype.name
        row = {"name": value.name, "type": kind, "shape": shape, "values": value.doc_string}
        described.append(row)
    return described

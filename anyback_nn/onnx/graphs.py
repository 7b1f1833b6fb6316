"""Trace a function into an ONNX graph, compare the graph with the function, and write it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import anyback_nn
from anyback_nn.array_api import Array
from anyback_nn.backends import select
from anyback_nn.errors import AnybackError, ExportError
from anyback_nn.utils.files import atomic_write
from anyback_nn.utils.messages import plural

if TYPE_CHECKING:
    import onnx

__all__ = ["Inputs", "Values", "compare", "explain", "load", "trace", "trace_rows", "write"]

Inputs = Mapping[str, tuple[tuple[int | str, ...], str]]
"""The shape and the dtype of each input; strings are ``"utf8"``."""

Values = Mapping[str, Any]
"""NumPy arrays by the names of inputs or outputs."""

_BATCH = "n_samples"
"""The name of the dimension that may have any length."""

_TOLERANCE = 1e-5
"""The largest difference, relative to the largest value of an output if that is above 1."""

_COMPARED_ROWS = (1, 7, 1000)
_ADVICE = (
    "A layer or loss may depend on the number of samples, or compute with what is known only while "
    "the graph is built"
)


def trace(function: Callable[..., Mapping[str, Array]], inputs: Inputs) -> onnx.ModelProto:
    """Trace a function into a graph.

    Parameters
    ----------
    function : callable
        Takes the inputs by name, and returns the outputs by name.
    inputs : dict of str to (shape, dtype)

    Raises
    ------
    ExportError
        The function needs values that are not known before the graph is computed.
    BackendUnavailableError
        What the export needs is not installed.
    """
    select("ndonnx")
    from anyback_nn.backends import ndonnx

    advice = (
        ". A graph is built before there are values: expected layers and a loss that compute with "
        "functions of the array API standard alone, such as xp.zeros_like(x) instead of "
        "xp.zeros(x.shape), and neither read nor branch on values, nor compute with the number of "
        "samples, which is None"
    )
    with explain("cannot export to ONNX", advice):
        graph = ndonnx.build_graph(function, inputs)
    _sort_inputs(graph, inputs)
    graph.producer_name, graph.producer_version = "anyback_nn", anyback_nn.__version__
    graph.graph.name = "anyback_nn"
    graph.ClearField("metadata_props")  # for programs that use ndonnx
    return graph


def _sort_inputs(graph: onnx.ModelProto, inputs: Inputs) -> None:
    """Put the inputs that a graph has into a given order."""
    used = {value.name: value for value in graph.graph.input}
    values = [used[name] for name in inputs if name in used]
    graph.graph.ClearField("input")
    graph.graph.input.extend(values)


def trace_rows(
    function: Callable[..., Mapping[str, Array]],
    inputs: Inputs,
    predict: Callable[[Values], Values],
    draw: Callable[[int], Values],
    standardize: Callable[[Values], Values] = dict,
) -> onnx.ModelProto:
    """Trace a function of the rows of its inputs into a graph that takes any number of rows.

    Parameters
    ----------
    function : callable
        As for `trace`.
    inputs : dict of str to (shape, dtype)
        The shape is that of a row.
    predict : callable
        Computes the outputs in the usual way, to compare with.
    draw : callable
        Returns inputs of ``n_rows`` rows.
    standardize : callable, optional
        Turns outputs, and what is predicted, into numbers that are comparable with 1. Default:
        they are such numbers.

    Raises
    ------
    ExportError
        The graph computes something else, such as that of a layer which depends on the number of
        rows of the batch that it was traced with.
    """
    # What fails without a graph, too, is told without advice on graphs.
    with explain("the model cannot compute"):
        values = {n_rows: draw(n_rows) for n_rows in _COMPARED_ROWS}
        expected = {n_rows: predict(rows) for n_rows, rows in values.items()}
    rows = {name: ((_BATCH, *shape), dtype) for name, (shape, dtype) in inputs.items()}
    graph = trace(function, rows)
    for output in graph.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = _BATCH
    compute = load(graph)
    for n_rows in _COMPARED_ROWS:
        where = f"for {plural(n_rows, 'row')}"
        compare(standardize(compute(values[n_rows])), standardize(expected[n_rows]), where)
    return graph


def load(graph: onnx.ModelProto) -> Callable[[Values], Values]:
    """Let onnx check a graph and onnxruntime load it; return the function that computes it.

    Raises
    ------
    ExportError
        The graph is not valid.
    """
    import onnx

    from anyback_nn.backends.ndonnx import load_graph

    with explain("onnxruntime cannot load the graph", f". {_ADVICE}"):
        onnx.checker.check_model(graph, full_check=True)
        run = load_graph(graph)

    def compute(values: Values) -> Values:
        with explain("onnxruntime cannot compute the graph", f". {_ADVICE}"):
            return run(values)

    return compute


@contextlib.contextmanager
def explain(what: str, advice: str = "") -> Iterator[None]:
    """Raise any error, such as one of onnxruntime or of a user's layer, as `ExportError`."""
    try:
        yield
    except (ExportError, MemoryError):
        raise
    except Exception as error:
        reason = (
            str(error) if isinstance(error, AnybackError) else f"{type(error).__name__}: {error}"
        )
        raise ExportError(f"{what}: {reason}{advice}") from error


def compare(outputs: Values, expected: Values, where: str) -> None:
    """Raise `ExportError` if what onnxruntime has computed differs by more than rounding."""
    probabilities = expected.get("probabilities")
    ties = None if probabilities is None else _find_ties(probabilities)
    for name, value in expected.items():
        actual, desired = np.asarray(outputs[name]), np.asarray(value)
        difference: str | None
        if actual.shape != desired.shape:
            difference = f"has the shape {actual.shape}, expected {desired.shape}"
        elif ties is None or name == "probabilities":
            difference = _compare_numbers(actual, desired)
        else:
            difference = _compare_labels(actual, desired, ties)
        if difference:
            raise ExportError(
                f"the output {name!r} of the ONNX graph {difference} {where}: expected the model's "
                f"own to {_TOLERANCE:g}. {_ADVICE}"
            )


def _compare_numbers(actual: Any, desired: Any) -> str | None:
    """Describe how far numbers differ; None if that is rounding."""
    is_finite = np.isfinite(desired)
    wrong = np.isfinite(actual) != is_finite
    if wrong.any():
        return f"is not finite where the model is, or the reverse, in {int(wrong.sum()):,} elements"
    finite = np.abs(desired[is_finite])
    atol = _TOLERANCE * max(1.0, finite.max(initial=0.0))
    if np.allclose(actual, desired, rtol=0.0, atol=atol, equal_nan=True):
        return None
    size = np.abs(actual[is_finite] - desired[is_finite]).max(initial=0.0)
    return f"differs by {size:.1e} (if it is rounding, dtype='float64' helps)"


def _compare_labels(actual: Any, desired: Any, ties: Any) -> str | None:
    """Describe how many labels differ; None if there are none that rounding has not decided."""
    differs = actual != desired
    wrong = (differs.any(axis=-1) if differs.ndim > 1 else differs) & ~ties
    return f"differs in {int(wrong.sum()):,} of {len(wrong):,} rows" if wrong.any() else None


def _find_ties(probabilities: Any) -> Any:
    """Return in which rows rounding can decide the class: two are nearly equal, or one is 1/2."""
    largest = np.sort(probabilities, axis=-1)[:, -2:]
    equal = largest[:, -1] - largest[:, 0] < 2 * _TOLERANCE
    return (equal & (largest.shape[1] > 1)) | (np.abs(probabilities - 0.5) < _TOLERANCE).any(
        axis=-1
    )


def write(graph: onnx.ModelProto, path: str | Path) -> None:
    """Write a graph as a file, completely or not at all."""
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        what = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ExportError(f"cannot write {path}: {what}; expected the path of a file")
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(graph.SerializeToString())
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error

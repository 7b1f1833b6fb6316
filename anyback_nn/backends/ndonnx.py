"""ndonnx: arrays that build an ONNX graph, which onnxruntime computes.

An array is either known, and computed with at once, or an input of a graph. A function of inputs is
traced into the graph of its operations: that is how a network becomes an ONNX model without a line
for any of its layers.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from threading import RLock
from typing import Any

import ndonnx
import ndonnx._typed_array.onnx as ndonnx_arrays
import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common as passes
import onnxruntime
import onnxscript.optimizer

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.tree import tree_flatten, tree_map

__all__ = ["NdonnxBackend", "build_graph", "load_graph", "look_up"]

_PATCHING = RLock()
_RESULT = object()
"""The place of an array in the tree of a function's results."""


class NdonnxBackend(Backend):
    """ndonnx: compiled functions are ONNX graphs, which onnxruntime computes on the CPU."""

    library = BACKENDS["ndonnx"]
    namespace = "ndonnx"
    # An operation on a slice of a vector is two.
    packed = False
    compiles = True

    @property
    def device(self) -> Any:
        return ndonnx.__array_namespace_info__().default_device()

    @property
    def device_label(self) -> str:
        return "cpu"

    def to_device(self, x: Array) -> Array:
        return x  # there is one device, to which nothing moves

    def supports(self, dtype: str) -> bool:
        return dtype in ndonnx.__array_namespace_info__().dtypes(device=self.device, kind=None)

    def jit(
        self, function: Callable[..., Any], donate: tuple[int, ...] = (), *, replay: bool = False
    ) -> Callable[..., Any]:
        return Compiled(function)


class Compiled:
    """A function that is traced once for each combination of shapes and dtypes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graphs: dict[Any, tuple[Callable[..., dict[str, Any]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        leaves, structure = tree_flatten(arguments)
        # Floats are inputs of the dtype of the arrays that they are combined with.
        floating = [leaf.dtype for leaf in leaves if hasattr(leaf, "shape")]
        dtype = next((str(d) for d in floating if str(d).startswith("float")), "float32")
        inputs = {
            str(i): np.asarray(leaf, dtype) if isinstance(leaf, float) else to_numpy(leaf)
            for i, leaf in enumerate(leaves)
            if isinstance(leaf, float) or hasattr(leaf, "shape")
        }
        others = (leaf for i, leaf in enumerate(leaves) if str(i) not in inputs)
        fixed = tuple((type(leaf), leaf) for leaf in others)  # True is equal to 1
        shapes = tuple((name, x.shape, str(x.dtype)) for name, x in inputs.items())
        key = (structure, fixed, shapes)
        if key not in self.graphs:
            self.graphs[key] = self._trace(arguments, inputs)
        compute, tree = self.graphs[key]
        results = iter(compute(inputs).values())
        return tree_map(lambda x: ndonnx.asarray(next(results)) if x is _RESULT else x, tree)

    def _trace(self, arguments: Any, inputs: Mapping[str, Any]) -> Any:
        """Return the graph for some arguments, and the tree of its results."""
        tree: Any = None

        def compute(**arrays: Array) -> dict[str, Array]:
            nonlocal tree
            positions = itertools.count()
            result = self.function(
                *tree_map(lambda leaf: arrays.get(str(next(positions)), leaf), arguments)
            )
            tree = tree_map(lambda x: _RESULT if isinstance(x, ndonnx.Array) else x, result)
            leaves = tree_flatten(result)[0]
            return {f"y{i}": x for i, x in enumerate(leaves) if isinstance(x, ndonnx.Array)}

        specs = {name: (x.shape, str(x.dtype)) for name, x in inputs.items()}
        return load_graph(build_graph(compute, specs)), tree


def build_graph(
    function: Callable[..., Mapping[str, Array]],
    inputs: Mapping[str, tuple[tuple[int | str, ...], str]],
) -> onnx.ModelProto:
    """Trace a function into a graph, and simplify it.

    Parameters
    ----------
    function : callable
        Takes the inputs by name, and returns arrays by name.
    inputs : dict of str to (shape, dtype)
        The shape and the name of the dtype of each input, such as ``((5, 2), "float32")``. A string
        in a shape names a dimension of any length above 0, which the function sees as None; strings
        are ``"utf8"``.

    Returns
    -------
    onnx.ModelProto
        Inputs that the function does not use are left out.
    """
    arguments = {
        name: ndonnx.argument(shape=shape, dtype=getattr(ndonnx, dtype))
        for name, (shape, dtype) in inputs.items()
    }
    with _simplify_products():
        graph = ndonnx.build(arguments, dict(function(**arguments)), drop_unused=True)
    _decide_emptiness(graph)
    return _simplify(graph)


def _simplify(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what is known, and remove what is not needed or there twice.

    `onnxscript.optimizer.optimize` would replace operations by others too, and makes invalid graphs
    of some, such as GELU's.
    """
    model = onnx_ir.from_proto(graph)
    onnxscript.optimizer.fold_constants(model, output_size_limit=2**20)
    result = onnx_ir.passes.Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
    )(model)
    return onnx_ir.to_proto(result.model)


@contextlib.contextmanager
def _simplify_products() -> Iterator[None]:
    """Let products be one operation, inside the context and in all threads.

    ndonnx wraps each in a branch for matrices without elements: it takes 0.2 seconds to build, and
    the shape of its result is unknown for one column. If a version of ndonnx does that elsewhere,
    the branch stays.
    """
    module, name = ndonnx_arrays, "_matmul_mitigate_zero_sized"
    with _PATCHING:
        original = getattr(module, name, None)
        if original is not None:
            setattr(module, name, lambda a, b: type(a)(module.op.matmul(a._var, b._var)))
        try:
            yield
        finally:
            if original is not None:
                setattr(module, name, original)


def _decide_emptiness(graph: onnx.ModelProto) -> None:
    """Decide the branches of ndonnx for arrays without elements: if a size is equal to 0."""
    nodes = {name: node for node in graph.graph.node for name in node.output}
    is_empty = onnx.helper.make_tensor("anyback_nn.is_empty", onnx.TensorProto.BOOL, (), [False])

    def is_size(name: str) -> bool:
        node = nodes.get(name)
        if node is None or node.op_type == "Size":
            return node is not None
        return node.op_type == "Mul" and all(map(is_size, node.input))

    def is_zero(name: str) -> bool:
        node = nodes.get(name)
        if node is None or node.op_type != "Constant":
            return False
        return not onnx.numpy_helper.to_array(node.attribute[0].t).any()

    def compares(name: str) -> bool:
        node = nodes.get(name)
        if node is None or node.op_type != "Equal":
            return False
        first, second = node.input
        return (is_size(first) and is_zero(second)) or (is_zero(first) and is_size(second))

    for node in graph.graph.node:
        if node.op_type == "If" and compares(node.input[0]):
            node.input[0] = is_empty.name
    graph.graph.initializer.append(is_empty)


def load_graph(graph: onnx.ModelProto) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Let onnxruntime load a graph, on the CPU.

    Returns
    -------
    callable
        Takes NumPy arrays by the names of inputs, and more, and returns the outputs by name.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    used = {argument.name for argument in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]

    def compute(values: Mapping[str, Any]) -> dict[str, Any]:
        feeds = {name: value for name, value in values.items() if name in used}
        return dict(zip(names, session.run(names, feeds)))

    return compute


def look_up(strings: Array, indices: Mapping[str, int], default: int) -> Array:
    """Return the index of each string; the standard has none."""
    return ndonnx.extensions.static_map(strings, indices, default)

"""The graphs of the page: the library's own code as ONNX, for each choice of the settings.

They are stored in `STORED`, so that building a page needs no extra. ``nox -s playground`` traces
them again; a test finds those that are out of date.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.explain.updates import compute_update
from anyback_nn.explain.walk import compute_walk
from anyback_nn.model import Model
from anyback_nn.network.layout import Layout
from anyback_nn.network.losses import forward_loss
from anyback_nn.onnx.graphs import trace
from anyback_nn.onnx.steps import export_step
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.playground.settings import (
    BATCH_SIZE,
    MAX_WIDTH,
    N_INPUTS,
    OPTIMIZERS,
    build_model,
    list_kinds,
)
from anyback_nn.training.step import Step, StepArguments, value_and_grad
from anyback_nn.tree import tree_map, tree_named_leaves

if TYPE_CHECKING:
    import onnx

__all__ = ["STORED", "list_graphs", "pack_graphs", "read_graphs"]

STORED = "graphs.gz"
"""The file of this folder that has all graphs, see `pack_graphs`."""

_L2 = 0.1
"""The penalty of the step that is compared with NumPy."""


def list_graphs() -> dict[str, Callable[[], onnx.ModelProto]]:
    """List the graphs of the page by their names, each with the function that traces it.

    - ``step/2/Tanh/Adam``: a step of training of two hidden layers, see `trace_step`;
    - ``rows/2/Tanh``: the forward part for any number of samples, see `trace_rows`;
    - ``walk/2/Tanh``: the gradients of a batch too, see `trace_walk`;
    - ``update/Adam``: the update of a layer's weights, see `trace_update`.
    """
    graphs: dict[str, Callable[[], onnx.ModelProto]] = {}
    for kind, (depth, activation) in list_kinds().items():
        model = build_model((MAX_WIDTH,) * depth, activation)
        graphs[f"rows/{kind}"] = partial(trace_rows, model)
        graphs[f"walk/{kind}"] = partial(trace_walk, model)
        for name, optimizer in OPTIMIZERS.items():
            graphs[f"step/{kind}/{name}"] = partial(trace_step, model, optimizer)
    for name, optimizer in OPTIMIZERS.items():
        graphs[f"update/{name}"] = partial(trace_update, optimizer)
    return graphs


def trace_step(model: Model, optimizer: Optimizer) -> onnx.ModelProto:
    """Trace a step as ``model.to_onnx(training=True)`` does, for hidden layers of any width.

    The last of its coefficients is the strength of L2, which can so be chosen in the page.
    """
    derive = value_and_grad(model.network, model.loss)

    def build(layout: Layout) -> Step:
        def step(*arguments: Any) -> Any:
            args = StepArguments(*arguments)
            *coefficients, l2 = args.coefficients
            tree, _, report = derive(args._replace(params=layout.unpack(args.params)))
            grads = tuple(
                g + (l2 * mask) * p
                for g, p, mask in zip(layout.pack(tree), args.params, args.penalty_mask)
            )
            params, slots = optimizer.update(
                args.params, grads, args.optimizer_state, (), tuple(coefficients)
            )
            return params, slots, args.state, report

        return step

    shapes = {
        f"{group}.{name}": shape
        for group in ("parameters", *(f"optimizer.{slot}" for slot in optimizer.slots))
        for name, shape in _name_widths(model).items()
    }
    return export_step(model, optimizer, BATCH_SIZE, build, optimizer.init, (_L2,), shapes)


def trace_rows(model: Model) -> onnx.ModelProto:
    """Trace the forward part for any number of samples: all outputs, and each sample's loss."""

    def compute(x: Array, y: Array, tree: Any) -> dict[str, Array]:
        values = compute_walk(model.network, model.loss, tree, (), x)
        # Before the prediction are the logits.
        *_, logits, _ = values.values()
        losses, _ = forward_loss(model.loss, logits, y)
        return {**values, "losses": losses}

    return _trace_values(model, compute, {"x": ("n_samples", N_INPUTS), "y": ("n_samples", 1)})


def trace_walk(model: Model) -> onnx.ModelProto:
    """Trace all that `compute_walk` returns for a batch of weighted samples."""

    def compute(x: Array, y: Array, sample_weight: Array, tree: Any) -> dict[str, Array]:
        return compute_walk(model.network, model.loss, tree, (), x, y, sample_weight)

    shapes = {"x": (BATCH_SIZE, N_INPUTS), "y": (BATCH_SIZE, 1), "sample_weight": (BATCH_SIZE,)}
    return _trace_values(model, compute, shapes)


def _trace_values(
    model: Model,
    compute: Callable[..., dict[str, Array]],
    shapes: Mapping[str, tuple[int | str, ...]],
) -> onnx.ModelProto:
    """Trace a function of samples and of the tree of parameters."""
    names = {f"parameters.{name}": shape for name, shape in _name_widths(model).items()}

    def compute_tree(**arrays: Array) -> dict[str, Array]:
        params = iter([arrays.pop(name) for name in names])
        return compute(**arrays, tree=tree_map(lambda _: next(params), model.params))

    return trace(
        compute_tree, {name: (shape, "float32") for name, shape in {**names, **shapes}.items()}
    )


def trace_update(optimizer: Optimizer) -> onnx.ModelProto:
    """Trace `compute_update` of a layer's weights, with L2; in float64, for the powers of t."""

    def compute(w: Array, dw: Array, t: Array, rate: Array, lambda2: Array, **slots: Array) -> Any:
        return compute_update(
            replace(optimizer, l2=_L2), w, dw, slots, t, rate, settings={"lambda2": lambda2}
        )

    arrays, scalars = ("w", "dw", *optimizer.slots), ("t", "rate", "lambda2")
    inputs: dict[str, tuple[tuple[str, ...], str]] = {
        **dict.fromkeys(arrays, (("n_in", "n_out"), "float64")),
        **dict.fromkeys(scalars, ((), "float64")),
    }
    return trace(compute, inputs)


def _name_widths(model: Model) -> dict[str, tuple[int | str, ...]]:
    """Return the shape of each parameter, in which the width of a hidden layer is a name."""
    last = len(model.network.layers) - 1
    shapes: dict[str, tuple[int | str, ...]] = {}
    for name, array in tree_named_leaves(model.params).items():
        position = int(name.partition(".")[0])
        before: int | str = f"width.{position - 2}" if position else N_INPUTS
        after: int | str = f"width.{position}" if position < last else 1
        shapes[name] = (before, after) if np.ndim(array) == 2 else (after,)
    return shapes


def pack_graphs(graphs: Mapping[str, bytes]) -> bytes:
    """Pack graphs into one compressed file: a line of JSON with their sizes, and their bytes."""
    header = json.dumps({name: len(graph) for name, graph in graphs.items()})
    return gzip.compress(b"\n".join([header.encode(), b"".join(graphs.values())]), 9, mtime=0)


def read_graphs() -> dict[str, bytes]:
    """Read the stored graphs."""
    packed = (files(__package__) / STORED).read_bytes()
    header, _, content = gzip.decompress(packed).partition(b"\n")
    graphs, start = {}, 0
    for name, size in json.loads(header).items():
        graphs[name], start = content[start : start + size], start + size
    return graphs

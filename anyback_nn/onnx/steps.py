"""One step of training as an ONNX graph: forward, loss, backward and the optimiser's update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends import select
from anyback_nn.errors import AnybackError, ExportError
from anyback_nn.network.layout import Layout
from anyback_nn.network.losses import Loss
from anyback_nn.onnx.graphs import compare, explain, load, trace
from anyback_nn.onnx.locate import name_layer
from anyback_nn.onnx.predictions import copy_arrays
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.random import Random, generator
from anyback_nn.training.engine import Engine
from anyback_nn.training.step import Step, StepArguments
from anyback_nn.tree import tree_map, tree_named_leaves

if TYPE_CHECKING:
    import onnx

__all__ = ["export_step"]

_RATE = 0.1
"""The learning rate of the step that is compared, so large that a wrong gradient shows."""

_NEXT = "next."
"""The name of an output is this and the name of the input that it replaces in the next step."""


def export_step(
    engine: Engine,
    optimizer: Optimizer,
    batch_size: int,
    build: Callable[[Layout], Step],
    init: Callable[[Any], dict[str, Any]],
    penalties: tuple[float, ...] = (),
    shapes: Mapping[str, tuple[int | str, ...]] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Trace a step of training on batches of one size.

    Parameters
    ----------
    engine : Engine
    optimizer : Optimizer
    batch_size : int
    build : callable
        Builds the step for a layout.
    init : callable
        Creates the optimiser's state for packed parameters.
    penalties : tuple of float
        The coefficients of the step after those of the optimiser.
    shapes : dict of str to tuple
        Shapes of inputs other than those of the engine's arrays: a string in one names a dimension
        that may have any length, such as the number of units.

    Returns
    -------
    onnx.ModelProto
        Inputs have the names of the arrays in a model file: ``parameters.0.weight``,
        ``optimizer.m.0.weight``, ``state.1.mean``. Each of these is also an output, ``next.`` and
        its name. Other inputs are ``x``, ``y``, ``sample_weight``, the ``coefficients.0`` and so on
        of the step, and the ``noise.2`` of layer 2, such as a dropout mask. Another output is the
        ``loss``, before the update.

    Raises
    ------
    ExportError
        The graph cannot be built, or computes something else than the step on NumPy.
    """
    if engine.compute_dtype is not None:
        raise ExportError(
            f"the model trains in {engine.compute_dtype}, and a step in ONNX does not: expected a "
            "model without compute_dtype"
        )
    params, state = copy_arrays(engine)
    layout = Layout.of(params, packed=False)
    step, packed = build(layout), layout.pack(params)
    mask = layout.penalty_mask(packed, everything=optimizer.penalize_all)
    random = np.random.default_rng(0)
    # Where a gradient is rounding alone, as of a bias before a BatchNorm, a first step of Adam from
    # zeros would divide it by its own size.
    optimizer_state = {
        slot: layout.unpack(tuple(_draw_positive(random, array) for array in arrays))
        for slot, arrays in init(packed).items()
    }
    x = random.standard_normal((batch_size, engine.n_inputs)).astype(engine.dtype)
    draws = Random(generator(engine.seed, "noise"), select("numpy"), engine.dtype)
    arguments = {
        "parameters": params,
        "optimizer": optimizer_state,
        "state": state,
        "coefficients": tuple(
            np.asarray(number, engine.dtype)
            for number in (*optimizer.coefficients(1, _RATE), *penalties)
        ),
        "x": x,
        "y": _draw_targets(engine.loss, engine.n_out, batch_size, engine.dtype, random),
        "sample_weight": _draw_positive(random, x[:, 0]),
        "noise": engine.network.noise(x.shape, draws) if engine.network.is_noisy else (),
    }
    # Layers without noise have None.
    named = tree_named_leaves(arguments)
    values = {name: array for name, array in named.items() if array is not None}

    def compute(**arrays: Array) -> dict[str, Array]:
        names = iter(named)
        tree = tree_map(lambda leaf: arrays.get(next(names), leaf), arguments)
        args = StepArguments(
            params=layout.pack(tree["parameters"]),
            optimizer_state={slot: layout.pack(own) for slot, own in tree["optimizer"].items()},
            state=tree["state"],
            penalty_mask=mask,
            coefficients=tree["coefficients"],
            x=tree["x"],
            y=tree["y"],
            weights=tree["sample_weight"],
            noise=tree["noise"] or None,
        )
        updated, slots, state, (loss,) = step(*args)
        results = {
            "parameters": layout.unpack(updated),
            "optimizer": {slot: layout.unpack(own) for slot, own in slots.items()},
            "state": state,
        }
        outputs = {f"{_NEXT}{name}": x for name, x in tree_named_leaves(results).items()}
        return {"loss": loss, **outputs}

    inputs = {
        name: (shapes.get(name, array.shape), str(array.dtype)) for name, array in values.items()
    }
    arrays = (params, state, arguments["noise"])
    fallback = (
        f"the loss ({type(engine.loss).__name__}), the optimizer ({type(optimizer).__name__})"
    )
    with name_layer(engine.network, arrays, x.shape, engine.dtype, fallback):
        with explain("the step cannot be computed"), select("numpy").scope(engine.dtype):
            # The step overwrites its arguments.
            expected = compute(**{name: array.copy() for name, array in values.items()})
        graph = trace(compute, inputs)
        compare(load(graph)(values), expected, f"for a batch of {batch_size:,}")
    return graph


def _draw_positive(random: Any, array: Any) -> Any:
    """Return numbers near 1 of the shape and dtype of an array."""
    return random.uniform(0.5, 1.5, array.shape).astype(array.dtype)


def _draw_targets(loss: Loss, n_out: int, n_samples: int, dtype: str, random: Any) -> Any:
    """Return targets that the loss takes: class indices, or else zeros and ones."""
    classes = [random.integers(0, max(n_out, 2), n_samples), np.zeros(n_samples, int)]
    values = [random.integers(0, 2, (n_samples, n_out)).astype(dtype)]
    for targets in classes + values if loss.classifies else values + classes:
        try:
            checked = loss.check_targets(targets, n_out)
        except AnybackError:
            continue
        # Targets of one axis are class indices.
        return checked.astype("int64" if checked.ndim == 1 else dtype)
    raise ExportError(
        f"{type(loss).__name__}.check_targets takes neither class indices nor zeros and ones, with "
        "which the graph would be compared: expected a loss that takes one of them"
    )

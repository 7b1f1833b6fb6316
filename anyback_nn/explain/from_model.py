"""Explain samples: collect a model's arrays, walk the samples through, compute the next update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.explain.explanation import Explanation
from anyback_nn.explain.formulas import write_activation
from anyback_nn.explain.names import Names, name_values
from anyback_nn.explain.steps import list_steps
from anyback_nn.explain.updates import (
    compute_update,
    list_constants,
    list_update,
    measure_norm,
)
from anyback_nn.explain.walk import collect_parameters, compute_walk
from anyback_nn.explain.walked import Update, Weight, find_dense
from anyback_nn.network.layers import BatchNorm, Dense, Dropout
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.training.engine import Engine
from anyback_nn.tree import tree_map
from anyback_nn.utils.messages import plural

__all__ = ["explain", "find_rate"]


def explain(
    engine: Engine,
    optimizer: Optimizer,
    x: Any,
    y: Any = None,
    weight: tuple[int, int, int] | None = None,
    **labels: Any,
) -> Explanation:
    """Walk samples through a model, as `Model.explain` describes.

    Parameters
    ----------
    engine : Engine
    optimizer : Optimizer
        That of the update. If it is the model's, its stored state is used.
    x : array, shape (n_samples, n_in)
    y : array, optional
        As `Loss.check_targets` returns them.
    weight : tuple of (int, int, int), optional
    **labels
        Further attributes of the explanation.

    Raises
    ------
    ValueError
        There is no such weight, or no targets for its update.
    """
    network, loss, training = engine.network, engine.loss, engine.training
    layout = engine.layout

    def copy(tree: Any) -> Any:
        return tree_map(lambda array: to_numpy(array).astype(np.float64), tree)

    with engine.lock, engine.backend.scope(engine.dtype):
        params, state = copy(layout.unpack(training.params)), copy(training.state)
        slots = {}
        if optimizer == training.optimizer:
            slots = {
                slot: copy(layout.unpack(training.optimizer_state[slot]))
                for slot in optimizer.slots
            }
    x = to_numpy(x).astype(np.float64)
    names = name_values(network, loss, params, state)
    values = {"X": x}
    if y is not None:
        y = to_numpy(y)
        values["Y"] = np.eye(engine.n_out)[y] if y.ndim == 1 else y.astype(np.float64)
        y = y if y.ndim == 1 else values["Y"]
    values |= collect_parameters(names, params, state)
    values |= {
        symbol: np.asarray(value)
        for symbol, value in compute_walk(network, loss, params, state, x, y).items()
    }
    layers = find_dense(engine, names)
    chosen = _check_weight(weight, layers, values, has_targets=y is not None)
    update = None
    if y is not None:
        update = _compute_updates(engine, optimizer, names, layers, values, slots)
    if y is not None and chosen is None and layers:
        chosen = _find_steepest(layers, values)
    return Explanation(
        list_steps(network, loss, params, state, n_in=engine.n_inputs, with_targets=y is not None),
        values,
        names,
        update,
        chosen,
        (*_list_notes(engine, optimizer if update else None, len(x)),),
        layers,
        _describe_network(engine),
        **labels,
    )


def _check_weight(
    weight: Any, layers: dict[str, int], values: dict[str, Any], *, has_targets: bool
) -> Weight | None:
    """Return the name and the position of a weight, or say what is wrong with them."""
    if weight is None:
        return None
    if not has_targets:
        raise ValueError(
            "the update of a weight needs the gradient of the loss: pass the target y, too"
        )
    known = ", ".join(
        f"({name[1:]}, i, j) with i below {values[name].shape[0]} and j below "
        f"{values[name].shape[1]}"
        for name in layers
    )
    try:
        number, i, j = map(int, weight)
        n_in, n_out = values[f"W{number}"].shape
        if f"W{number}" in layers and 0 <= i < n_in and 0 <= j < n_out:
            return f"W{number}", i, j
    except (TypeError, ValueError, KeyError):
        pass
    raise ValueError(
        f"weight: expected (layer, input, unit) of a Dense layer, one of {known or 'none'}; got "
        f"{weight!r}. Layers count from 1, inputs and units from 0"
    )


def _find_steepest(layers: dict[str, int], values: dict[str, Any]) -> Weight:
    """Return the weight with the largest gradient of the layer that is farthest from the loss."""
    weight = next(iter(layers))
    gradient = np.abs(values[f"d{weight}"])
    i, j = np.unravel_index(int(gradient.argmax()), gradient.shape)
    return weight, int(i), int(j)


def _compute_updates(
    engine: Engine,
    optimizer: Optimizer,
    names: Names,
    layers: dict[str, int],
    values: dict[str, Any],
    slots: dict[str, Any],
) -> Update:
    """Compute the next update of the weights of every `Dense` layer."""
    training = engine.training
    is_own = optimizer == training.optimizer
    begin = training.first_epoch if is_own else training.epoch
    rate = find_rate(optimizer.schedule, training.epoch - begin, training.history.rows[begin:])
    step = training.step + 1 if is_own else 1
    gradients = [values[f"d{symbol}"] for own in names.parameters for symbol in own.values()]
    norm = measure_norm(optimizer, gradients) if gradients else None
    computed = {}
    for name, index in layers.items():
        own = {
            slot: slots[slot][index]["weight"] if slots else np.zeros_like(values[name])
            for slot in optimizer.slots
        }
        computed[name] = {"w": values[name], "dw": values[f"d{name}"]} | compute_update(
            *(optimizer, values[name], values[f"d{name}"], own, step, rate), norm=norm
        )
    constants = {"rate": rate, **list_constants(optimizer), "t": step}
    if norm is not None:
        constants["norm"] = float(f"{float(norm):.9g}")
    return Update(optimizer, list_update(optimizer), constants, computed)


def _describe_network(engine: Engine) -> str:
    """Describe a network in a line: what the numbers of a sample go through."""
    parts = [plural(engine.n_inputs, "input")]
    for layer, size in zip(engine.network.layers, engine.network.sizes(engine.n_inputs)[1:]):
        known = write_activation(layer)
        kind = type(layer).__name__ if known is None else known[0]
        parts.append(plural(size, "unit") if type(layer) is Dense else kind)
    return f"{' → '.join(parts)}; {type(engine.loss).__name__}"


def find_rate(schedule: Schedule, epochs: int, rows: Sequence[Any]) -> float:
    """Return the learning rate of the next step; if it has fallen to 0, that of an epoch before.

    >>> from anyback_nn.optim.schedules import CosineDecay
    >>> round(find_rate(CosineDecay(0.1, epochs=2), 2, []), 6)
    0.05
    """
    rates = (float(schedule(done, rows[:done])) for done in (epochs, max(epochs - 1, 0), 0))
    return next((rate for rate in rates if rate), 0.0)


def _list_notes(engine: Engine, optimizer: Optimizer | None, n_samples: int) -> list[str]:
    """List what a step of training does otherwise."""
    notes, training = [], engine.training
    if optimizer is not None:
        these = "this sample" if n_samples == 1 else "these samples"
        notes.append(
            f"The update is that of a step on {these} alone, which is worked out and not taken. A "
            "step of training takes the mean over a batch of the training samples."
        )
    if optimizer is not None and optimizer == training.optimizer:
        rows = training.history.rows[training.first_epoch :]
        if not optimizer.schedule(training.epoch - training.first_epoch, rows):
            notes.append(
                "Training has ended with a learning rate of 0, with which a step changes nothing. "
                f"The update is that of one more step, t = {training.step + 1}, with the learning "
                "rate at the beginning of the last epoch (of the last pass over the samples)."
            )
    layers = engine.network.layers
    if any(isinstance(layer, Dropout) for layer in layers):
        notes.append(
            "Dropout does nothing here: the walk is that of a prediction. A step of training would "
            "set some numbers to 0, so its gradients would differ."
        )
    if any(isinstance(layer, BatchNorm) for layer in layers):
        notes.append(
            "BatchNorm uses its running averages, as in a prediction. A step of training would use "
            "the averages of its batch."
        )
    if engine.dtype != "float64":
        notes.append(
            "The numbers are computed with about 16 digits (float64), so that they can be checked. "
            f"The model computes in {engine.compute_dtype or engine.dtype}, which rounds more."
        )
    return notes

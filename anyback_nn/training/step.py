"""What is computed in training, prediction and evaluation: pure functions, to be compiled.

Nothing in them reads a value back to the host; what they report are arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.inputs.batches import take
from anyback_nn.network.layer import Context
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss, mean_loss, weighted_mean
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.metrics import Metric, r2

__all__ = [
    "Report",
    "differentiation",
    "evaluation",
    "prediction_step",
    "step_on_rows",
    "summary",
    "training_step",
]

Report = tuple[Array, ...]
"""The mean loss of a batch, and the mean of each metric."""


def training_step(
    network: Network, loss: Loss, layout: Layout, optimizer: Optimizer, metrics: Sequence[Metric]
) -> Callable[..., tuple[Packed, dict[str, Packed], Any, Report]]:
    """Build the function that takes one step of training.

    Returns
    -------
    callable
        ``step(params, slots, state, mask, coefficients, x, y, weights, noise)`` gives ``params,
        slots, state, report``. The first three arguments are used up: go on with what it returns.
    """
    derive = differentiation(network, loss, metrics)

    def step(
        params: Packed,
        slots: dict[str, Packed],
        state: Any,
        mask: Packed,
        coefficients: tuple[float, ...],
        x: Array,
        y: Array,
        weights: Array | None,
        noise: Any,
    ) -> tuple[Packed, dict[str, Packed], Any, Report]:
        tree = layout.unpack(params)
        grads, cache, report = derive(tree, state, x, y, weights, noise)
        state = network.next_state(state, cache)
        params, slots = optimizer.update(params, layout.pack(grads), slots, mask, coefficients)
        return params, slots, state, report

    return step


def step_on_rows(step: Callable[..., Any]) -> Callable[..., Any]:
    """Build the function that takes a step on some rows of all samples.

    Parameters
    ----------
    step : callable
        As `training_step` builds it.

    Returns
    -------
    callable
        ``step(params, slots, state, mask, x, y, weights, coefficients, rows, noise)``: what is
        carried on, what is the same for all steps, and what is not.
    """

    def on_rows(
        params: Packed,
        slots: dict[str, Packed],
        state: Any,
        mask: Packed,
        x: Array,
        y: Array,
        weights: Array | None,
        coefficients: tuple[float, ...],
        rows: Array,
        noise: Any,
    ) -> tuple[Packed, dict[str, Packed], Any, Report]:
        batch = (take(array, rows) for array in (x, y, weights))
        taken: tuple[Packed, dict[str, Packed], Any, Report]
        taken = step(params, slots, state, mask, coefficients, *batch, noise)
        return taken

    return on_rows


def differentiation(
    network: Network, loss: Loss, metrics: Sequence[Metric] = ()
) -> Callable[..., tuple[Any, Any, Report]]:
    """Build the function that differentiates the mean loss of a batch.

    Returns
    -------
    callable
        ``derive(params, state, x, y, weights, noise, scale=None)`` gives ``grads, cache, report``,
        with parameters and gradients as trees. A ``scale`` is a factor of the gradients alone.
    """

    def derive(
        params: Any,
        state: Any,
        x: Array,
        y: Array,
        weights: Array | None,
        noise: Any,
        scale: Array | None = None,
    ) -> tuple[Any, Any, Report]:
        outputs, cache = network.forward(params, x, Context(True, state, noise))
        value, d_outputs = mean_loss(loss, outputs, y, weights)
        means = [weighted_mean(metric(loss, outputs, y), weights) for metric in metrics]
        if scale is not None:
            d_outputs = scale * d_outputs
        return network.gradients(params, cache, d_outputs), cache, (value, *means)

    return derive


def prediction_step(
    network: Network, layout: Layout, read: Callable[[Array], Array] | None = None
) -> Callable[[Packed, Any, Array], Array]:
    """Build the function that computes outputs: ``(params, state, x) -> outputs``.

    They are the raw ones, or what ``read`` makes of them.
    """

    def step(params: Packed, state: Any, x: Array) -> Array:
        outputs = network.predict(layout.unpack(params), x, state)
        return outputs if read is None else read(outputs)

    return step


def evaluation(loss: Loss, metrics: Sequence[Metric]) -> Callable[..., Array]:
    """Build the function that evaluates all outputs at once: ``(outputs, y, weights) -> report``.

    The report is one array: the mean loss, the mean of each metric and, for a loss that does not
    classify, R2. Only the proportions of the weights count.
    """

    def evaluate(outputs: Array, y: Array, weights: Array | None) -> Array:
        if weights is not None:
            weights = weights / array_namespace(weights).mean(weights)
        values = [loss.forward(outputs, y)[0], *(metric(loss, outputs, y) for metric in metrics)]
        report = [weighted_mean(one, weights) for one in values]
        if not loss.classifies:
            report.append(r2(loss, outputs, y, weights))
        return array_namespace(outputs).stack(report)

    return evaluate


def summary(reports: Sequence[Report], groups: Sequence[Packed]) -> Array:
    """Put into one vector what is read at the end of an epoch.

    Parameters
    ----------
    reports : sequence of tuple of array, shape (n_steps,)
        What some steps reported, one tuple after another.
    groups : sequence of tuple of array
        Storages.

    Returns
    -------
    array
        The reports, step by step; then, for each array of the storages, 1 if all of its entries
        are finite and 0 if not.
    """
    xp = array_namespace(reports[0][0])
    tables = [xp.reshape(xp.stack(report, axis=1), (-1,)) for report in reports]
    arrays = [array for group in groups for array in group]
    flags = [xp.astype(xp.all(xp.isfinite(one)), tables[0].dtype) for one in arrays]
    return xp.concat([*tables, xp.stack(flags)] if flags else tables)

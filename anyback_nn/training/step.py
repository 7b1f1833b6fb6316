"""What is computed in training, prediction and evaluation: pure functions, to be compiled.

Nothing in them reads a value back to the host; what they report are arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyback_nn.backend import Array, array_namespace
from anyback_nn.network.layer import Context
from anyback_nn.network.losses import Loss, mean_loss, weighted_mean
from anyback_nn.network.network import Network
from anyback_nn.network.parameters import Layout, Storage
from anyback_nn.training.data import take
from anyback_nn.training.metrics import Metric, r2
from anyback_nn.training.optimizers import Optimizer

__all__ = [
    "Report",
    "chained_steps",
    "differentiation",
    "evaluation",
    "prediction_step",
    "training_step",
]

Report = tuple[Array, ...]
"""The mean loss of a batch, and the mean of each metric."""


def training_step(
    network: Network, loss: Loss, layout: Layout, optimizer: Optimizer, metrics: Sequence[Metric]
) -> Callable[..., tuple[Storage, dict[str, Storage], Any, Report]]:
    """Build the function that takes one step of training.

    Returns
    -------
    callable
        ``step(params, slots, state, mask, coefficients, x, y, weights, noise)`` gives ``params,
        slots, state, report``. The first three arguments are used up: go on with what it returns.
    """
    derive = differentiation(network, loss, metrics)

    def step(
        params: Storage,
        slots: dict[str, Storage],
        state: Any,
        mask: Storage,
        coefficients: tuple[float, ...],
        x: Array,
        y: Array,
        weights: Array | None,
        noise: Any,
    ) -> tuple[Storage, dict[str, Storage], Any, Report]:
        tree = layout.restore(params)
        grads, cache, report = derive(tree, state, x, y, weights, noise)
        state = network.next_state(state, cache)
        params, slots = optimizer.update(params, layout.store(grads), slots, mask, coefficients)
        return params, slots, state, report

    return step


def chained_steps(step: Callable[..., Any], scan: Callable[..., Any]) -> Callable[..., Any]:
    """Build the function that takes many steps on rows of the same arrays, in one call.

    Parameters
    ----------
    step : callable
        As `training_step` builds it.
    scan : callable
        See `anyback_nn.backend.Backend.scan`.

    Returns
    -------
    callable
        ``steps(params, slots, state, mask, coefficients, x, y, weights, rows, noise)`` gives
        ``params, slots, state, reports``. There is an entry for every step in each coefficient, in
        ``rows``, the numbers of its samples, in each array of noise and in each report.
    """

    def steps(
        params: Storage,
        slots: dict[str, Storage],
        state: Any,
        mask: Storage,
        coefficients: tuple[Array, ...],
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array,
        noise: Any,
    ) -> tuple[Storage, dict[str, Storage], Any, Report]:
        def one(carried: Any, now: Any) -> tuple[Any, Report]:
            numbers, chosen, drawn = now
            batch = (take(array, chosen) for array in (x, y, weights))
            *carried, report = step(*carried, mask, numbers, *batch, drawn)
            return tuple(carried), report

        carried, reports = scan(one, (params, slots, state), (coefficients, rows, noise))
        return *carried, reports

    return steps


def differentiation(
    network: Network, loss: Loss, metrics: Sequence[Metric] = ()
) -> Callable[..., tuple[Any, Any, Report]]:
    """Build the function that differentiates the mean loss of a batch.

    Returns
    -------
    callable
        ``derive(params, state, x, y, weights, noise)`` gives ``grads, cache, report``, with
        parameters and gradients as trees.
    """

    def derive(
        params: Any, state: Any, x: Array, y: Array, weights: Array | None, noise: Any
    ) -> tuple[Any, Any, Report]:
        outputs, cache = network.forward(params, x, Context(True, state, noise))
        value, d_outputs = mean_loss(loss, outputs, y, weights)
        means = [weighted_mean(metric(loss, outputs, y), weights) for metric in metrics]
        return network.gradients(params, cache, d_outputs), cache, (value, *means)

    return derive


def prediction_step(network: Network, layout: Layout) -> Callable[[Storage, Any, Array], Array]:
    """Build the function that computes raw outputs: ``(params, state, x) -> outputs``."""

    def step(params: Storage, state: Any, x: Array) -> Array:
        return network.predict(layout.restore(params), x, state)

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

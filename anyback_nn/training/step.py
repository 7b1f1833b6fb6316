"""The computations of training, prediction and evaluation: pure functions, to be compiled.

They read no value back to the host; their reports are arrays.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.inputs.batches import take
from anyback_nn.network.layer import Batch, Context
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss, forward_loss, mean_loss, weighted_mean
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.metrics import Metric, measure, r2
from anyback_nn.training.mixed_precision import LOSS_SCALE, LossScaling
from anyback_nn.tree import tree_copy, tree_leaves

__all__ = [
    "DividedStep",
    "Halves",
    "Step",
    "StepArguments",
    "StepReport",
    "StepResult",
    "build_evaluate",
    "build_halves",
    "build_predict",
    "build_step_on_rows",
    "build_summary",
    "value_and_grad",
]

StepReport = tuple[Array, ...]
"""The mean loss of a batch, and the mean of each metric."""

StepResult = tuple[Packed, dict[str, Packed], Any, StepReport]
"""The next parameters, optimiser state and state of the layers, and the report."""

Step = Callable[..., StepResult]
"""A step of training: ``step(*StepArguments)`` returns ``params, optimizer_state, state, report``.

The parameters and the optimiser's state are donated: only use the returned ones.
"""


class StepArguments(NamedTuple):
    """The arguments of a step of training.

    Attributes
    ----------
    params : tuple of array
        Packed parameters, see `Layout`.
    optimizer_state : dict of tuple of array
        The state of the optimiser, see `Optimizer.init`.
    state : nested tuples and dicts of array
        The state of the layers, such as running means.
    penalty_mask : tuple of array or float
        The mask of the penalties, see `Layout.penalty_mask`; empty if there is no penalty.
    coefficients : tuple of float
        The scalars of this step, see `Optimizer.coefficients` and `FitContext`.
    x, y : array
        The inputs and targets of a batch.
    weights : array, optional
        The weights of its samples.
    noise : tree of array, optional
        The random numbers of the layers.
    batch : Batch, optional
        The whole batch, if this rank has a share of it.
    """

    params: Packed
    optimizer_state: dict[str, Packed]
    state: Any
    penalty_mask: Packed
    coefficients: tuple[float, ...]
    x: Array
    y: Array
    weights: Array | None
    noise: Any
    batch: Batch | None = None

    @property
    def share(self) -> float:
        """The share of the whole batch that this rank has."""
        return 1.0 if self.batch is None else self.x.shape[0] / self.batch.n_samples


@dataclass(frozen=True)
class Halves:
    """The two halves of a step of training, between which ranks add what they have derived.

    Attributes
    ----------
    derive : callable
        ``derive(arguments)`` returns the packed gradients and the report, of which each rank has
        its share, and the next state of the layers.
    update : callable
        ``update(arguments, grads, report, state)`` returns what a `Step` does.
    """

    derive: Callable[[StepArguments], tuple[Packed, StepReport, Any]]
    update: Callable[..., StepResult]

    def __call__(self, *arguments: Any) -> StepResult:
        """Take the step of a process that is alone."""
        args = StepArguments(*arguments)
        return self.update(args, *self.derive(args))

    def divide(
        self, add: Callable[[Array], Array], jit: Callable[..., Any], adds: bool
    ) -> DividedStep:
        """Return the step of one of several ranks: one sum over all ranks between two functions.

        The last argument is the number of samples of all ranks. The first function is not compiled
        if it ``adds`` over ranks itself.
        """

        def derive(*arguments: Any) -> tuple[Array, Any]:
            args = StepArguments._make([*arguments[:-1], Batch(arguments[-1], add)])
            grads, report, state = self.derive(args)
            xp = array_namespace(report[0])
            return xp.concat([xp.reshape(x, (-1,)) for x in (*grads, *report)]), state

        def update(total: Array, next_state: Any, *arguments: Any) -> StepResult:
            whole = Batch(arguments[-1], add)
            args = StepArguments._make([*arguments[:-1], None, None, None, None, whole])
            bounds = [0, *accumulate(math.prod(p.shape) for p in args.params)]
            grads = tuple(
                # In new memory: optimisers overwrite gradients, and a traced step no input.
                1.0 * array_namespace(p).reshape(total[start:stop], p.shape)
                for p, (start, stop) in zip(args.params, pairwise(bounds))
            )
            # A view would keep all gradients, until the end of the epoch.
            report = tuple(1.0 * total[i] for i in range(bounds[-1], total.shape[0]))
            return self.update(args, grads, report, next_state)

        return DividedStep(derive if adds else jit(derive), jit(update, (2, 3)), add)


@dataclass(frozen=True)
class DividedStep:
    """The step of one of several ranks; create it with `Halves.divide`."""

    derive: Callable[..., tuple[Array, Any]]
    update: Step
    add: Callable[[Array], Array]

    def __call__(self, *arguments: Any) -> StepResult:
        total, state = self.derive(*arguments)
        return self.update(self.add(total), state, *arguments[:5], arguments[-1])


def build_halves(
    network: Network,
    loss: Loss,
    layout: Layout,
    optimizer: Optimizer,
    metrics: Sequence[Metric],
    scaling: LossScaling | None = None,
) -> Halves:
    """Build the halves of a step of training.

    ``scaling`` scales the loss, for gradients that would vanish in float16. The scale is in the
    optimiser's state.
    """
    value_and_grads = value_and_grad(network, loss, metrics)

    def derive(args: StepArguments) -> tuple[Packed, StepReport, Any]:
        scale = None if scaling is None else scaling.scale(args.optimizer_state)
        tree = args._replace(params=layout.unpack(args.params))
        grads, cache, report = value_and_grads(tree, scale)
        return layout.pack(grads), report, network.next_state(args.state, cache)

    def update(args: StepArguments, grads: Packed, report: StepReport, state: Any) -> StepResult:
        if scaling is not None:
            return *_update_scaled(scaling, optimizer, args, grads, state), report
        params, optimizer_state = optimizer.update(
            args.params, grads, args.optimizer_state, args.penalty_mask, args.coefficients
        )
        return params, optimizer_state, state, report

    return Halves(derive, update)


def _update_scaled(
    scaling: LossScaling, optimizer: Optimizer, args: StepArguments, grads: Packed, state: Any
) -> tuple[Packed, dict[str, Packed], Any]:
    """Update with packed gradients of the scaled loss, unless they overflowed.

    Returns
    -------
    params, optimizer_state, state
        If a gradient is not finite, they are exactly as before, but for the scale. Nothing is read
        from the device, so the loop counts the step nevertheless: for the learning rate, and for
        Adam's correction of its means.
    """
    own = dict(args.optimizer_state)
    scale, scale_state = scaling.scale(own), own.pop(LOSS_SCALE)
    xp = array_namespace(scale)
    grads = tuple(g / scale for g in grads)
    finite = reduce(operator.and_, (xp.all(xp.isfinite(g)) for g in grads), xp.isfinite(scale))
    # The optimiser overwrites its arguments, and these are needed again after an overflow.
    new = optimizer.update(
        tree_copy(args.params), grads, tree_copy(own), args.penalty_mask, args.coefficients
    )
    taken = finite | (scale <= scaling.least)
    params, own, state = _where(taken, (*new, state), (args.params, own, args.state))
    return params, {**own, LOSS_SCALE: scaling.next(scale_state, finite)}, state


def _where(condition: Array, tree: Any, other: Any) -> Any:
    """Select one of two trees of arrays, without reading the condition."""
    if isinstance(tree, dict):
        return {name: _where(condition, branch, other[name]) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_where(condition, a, b) for a, b in zip(tree, other))
    return array_namespace(tree).where(condition, tree, other)


def build_step_on_rows(step: Step) -> Step:
    """Build the function that takes a step on a subset of the rows of all samples.

    Returns
    -------
    callable
        ``step(params, optimizer_state, state, penalty_mask, x, y, weights, coefficients, rows,
        noise)``.
        The order is that of `Backend.scan`: arrays carried from step to step, constants of all
        steps, and the inputs of each step.
    """

    def step_on_rows(*arguments: Any) -> StepResult:
        *carried, mask, x, y, weights, coefficients, rows, noise = arguments
        batch = (take(array, rows) for array in (x, y, weights))
        return step(*carried, mask, coefficients, *batch, noise)

    return step_on_rows


def value_and_grad(
    network: Network, loss: Loss, metrics: Sequence[Metric] = ()
) -> Callable[..., tuple[Any, Any, StepReport]]:
    """Build the function that computes the mean loss of a batch and its gradients.

    Returns
    -------
    callable
        ``derive(arguments, scale=None)`` returns ``grads, cache, report``. In the `StepArguments`
        the parameters are a tree, as are the gradients. A ``scale`` is a factor of the gradients
        alone.
    """

    def derive(args: StepArguments, scale: Array | None = None) -> tuple[Any, Any, StepReport]:
        context = Context(True, args.state, args.noise, args.batch)
        outputs, cache = network.forward(args.params, args.x, context)
        value, d_outputs = mean_loss(loss, outputs, args.y, args.weights)
        values = [measure(metric, loss, outputs, args.y) for metric in metrics]
        report = (value, *(weighted_mean(x, args.weights) for x in values))
        if args.batch is not None:
            d_outputs, report = args.share * d_outputs, tuple(args.share * x for x in report)
        if scale is not None:
            d_outputs = scale * d_outputs
        return network.gradients(args.params, cache, d_outputs), cache, report

    return derive


def build_predict(
    network: Network, layout: Layout, read: Callable[[Array], Array] | None = None
) -> Callable[[Packed, Any, Array], Array]:
    """Build the function that computes outputs: ``(params, state, x) -> outputs``.

    They are the raw outputs, or the result of ``read`` for them.
    """

    def predict(params: Packed, state: Any, x: Array) -> Array:
        outputs = network.predict(layout.unpack(params), x, state)
        return outputs if read is None else read(outputs)

    return predict


def build_evaluate(loss: Loss, metrics: Sequence[Metric]) -> Callable[..., Array]:
    """Build the function that evaluates all outputs at once: ``(outputs, y, weights) -> report``.

    The report is one array: the mean loss, the mean of each metric and, for a loss that does not
    classify, R2. Only the proportions of the weights matter.
    """

    def evaluate(outputs: Array, y: Array, weights: Array | None) -> Array:
        if weights is not None:
            weights = weights / array_namespace(weights).mean(weights)
        values = [forward_loss(loss, outputs, y)[0]]
        values += [measure(metric, loss, outputs, y) for metric in metrics]
        report = [weighted_mean(value, weights) for value in values]
        if not loss.classifies:
            report.append(r2(loss, outputs, y, weights))
        return array_namespace(outputs).stack(report)

    return evaluate


def build_summary(layout: Layout) -> Callable[..., Array]:
    """Build the function that concatenates all values that are read at the end of an epoch.

    Returns
    -------
    callable
        ``summarize(reports, groups, before, after)``. The ``reports`` are those of consecutive
        steps, of arrays of shape (n_steps,); the ``groups`` packed parameters and optimiser state;
        then the packed parameters from the start and the end of the epoch. It returns the reports,
        step by step; 1 for each array of the groups that is finite, else 0; and 1 for each
        parameter of the layout that has changed, else 0.
    """

    def summarize(
        reports: Sequence[StepReport], groups: Sequence[Packed], before: Packed, after: Packed
    ) -> Array:
        arrays = [array for group in groups for array in group]
        first = reports[0][0] if reports else arrays[0]
        xp = array_namespace(first)
        tables = [xp.reshape(xp.stack(report, axis=1), (-1,)) for report in reports]
        flags = [xp.all(xp.isfinite(array)) for array in arrays]
        pairs = zip(tree_leaves(layout.unpack(before)), tree_leaves(layout.unpack(after)))
        flags += [xp.any(old != new) for old, new in pairs]
        return xp.concat([*tables, xp.astype(xp.stack(flags), first.dtype)] if flags else tables)

    return summarize

"""Mixed precision: steps that compute in 16 bits and train parameters of 32.

P. Micikevicius et al., "Mixed precision training", ICLR 2018. Three things keep the accuracy:

- Parameters, what the optimiser keeps and the loss stay in float32. A step rounds the parameters
  and the inputs, goes forward and backward in 16 bits, and updates with gradients of 32, so that
  updates too small for 16 bits still add up. `anyback_nn.network.precision` does that.
- Layers that sum many numbers compute in float32, see `Layer.full_precision`.
- In float16, gradients below 6e-8 would vanish. So the loss, and with it every gradient, is
  multiplied by a scale, and the gradients of the parameters are divided by it: `scaled_step`. What
  is largest without overflow is found on the way, see `LossScaling`.

bfloat16 has float32's range, and with it needs no scale, but fewer digits than float16. Predictions
and evaluations are computed in the dtype of the parameters.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.backends import Backend
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.network.precision import mixed
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.metrics import Metric
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import Report, differentiation, training_step
from anyback_nn.tree import tree_copy

__all__ = ["LOSS_SCALE", "LossScaling", "mixed_step", "needs_scale", "scaled_step", "with_scale"]

LOSS_SCALE = "loss_scale"
"""The slot of the scale, which is kept beside those of the optimiser."""


@dataclass(frozen=True)
class LossScaling:
    """How the scale of the loss finds its size.

    It is halved where gradients are not finite, and doubled when they were finite for many steps:
    then it is about as large as it can be. It is a power of two, so that multiplying by it rounds
    nothing.

    Parameters
    ----------
    start : float
        The derivative of the mean loss with respect to a logit is at most 1, and 2^15 times that is
        within float16's range, which ends at 65504.
    interval : int
        After so many steps with finite gradients, one after another, it is doubled.
    least, most : float
        Its bounds. What is not finite at the smallest scale is no fault of the scale: such a step
        is not left out, so that divergence is found.

    Examples
    --------
    >>> import numpy as np
    >>> scaling, one = LossScaling(interval=2), np.asarray([1.0])
    >>> scale, n_finite = scaling.next((8 * one, 0 * one), np.asarray(False))
    >>> scale.tolist()
    [4.0]
    >>> for _ in range(2):
    ...     scale, n_finite = scaling.next((scale, n_finite), np.asarray(True))
    >>> scale.tolist(), n_finite.tolist()
    ([8.0], [0.0])
    """

    start: float = 2.0**15
    interval: int = 2000
    least: float = 2.0**-24
    most: float = 2.0**24

    def init(self, backend: Backend, dtype: str) -> Packed:
        """Make the scale, and the number of steps since it was changed, each of shape (1,)."""
        return backend.asarray([self.start], dtype), backend.asarray([0.0], dtype)

    def next(self, kept: Packed, finite: Array) -> Packed:
        """Give both after a step.

        Parameters
        ----------
        kept : tuple of array
            As `init` made it or the last step returned it.
        finite : array of bool, shape ()
            Whether the gradients of this step were finite.
        """
        scale, n_finite = kept
        xp = array_namespace(scale)
        n_finite = n_finite + 1.0
        grows = n_finite >= self.interval
        larger = xp.where(grows, xp.minimum(2.0 * scale, self.most), scale)
        smaller = xp.maximum(0.5 * scale, self.least)
        n_finite = xp.where(finite & ~grows, n_finite, xp.zeros_like(n_finite))
        return xp.where(finite, larger, smaller), n_finite


def needs_scale(compute_dtype: str | None) -> bool:
    """Tell whether gradients in this dtype may vanish."""
    return compute_dtype == "float16"


def with_scale(training: TrainingState, backend: Backend, dtype: str) -> TrainingState:
    """Give what training changes a scale, unless it has one."""
    scale = {LOSS_SCALE: LossScaling().init(backend, dtype)}
    return replace(training, slots=scale | training.slots)


def mixed_step(
    network: Network,
    loss: Loss,
    layout: Layout,
    optimizer: Optimizer,
    metrics: Sequence[Metric],
    compute_dtype: str,
    dtype: str,
) -> Callable[..., tuple[Packed, dict[str, Packed], Any, Report]]:
    """Build the function that takes one step of training in mixed precision.

    Parameters
    ----------
    network, loss, layout, optimizer, metrics
        As for `training_step`, which describes the function; arrays in and out are as there.
    compute_dtype : str
        What it computes in: ``"float16"`` or ``"bfloat16"``.
    dtype : str
        That of the parameters.
    """
    build = scaled_step if needs_scale(compute_dtype) else training_step
    return build(mixed(network, compute_dtype, dtype), loss, layout, optimizer, metrics)


def scaled_step(
    network: Network,
    loss: Loss,
    layout: Layout,
    optimizer: Optimizer,
    metrics: Sequence[Metric],
    scaling: LossScaling | None = None,
) -> Callable[..., tuple[Packed, dict[str, Packed], Any, Report]]:
    """Build the function that takes one step with a scaled loss, or none where that overflows.

    Parameters
    ----------
    network, loss, layout, optimizer, metrics
        As for `training_step`, which describes the function. Among the slots that go in and out is
        that of the scale, `LOSS_SCALE`.
    scaling : LossScaling, optional

    Notes
    -----
    Where a gradient is not finite, parameters, slots and state stay exactly as they were. The loop
    does not know it, because nothing is read from the device, so the step counts as one: for the
    learning rate, and for Adam's correction of its means.
    """
    derive = differentiation(network, loss, metrics)
    scaling = scaling or LossScaling()

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
        kept = slots[LOSS_SCALE]
        own = {name: slot for name, slot in slots.items() if name != LOSS_SCALE}
        xp = array_namespace(kept[0])
        scale = xp.reshape(kept[0], ())
        tree = layout.unpack(params)
        grads, cache, report = derive(tree, state, x, y, weights, noise, scale)
        grads = tuple(g / scale for g in layout.pack(grads))
        all_finite = (xp.all(xp.isfinite(g)) for g in grads)
        finite = reduce(operator.and_, all_finite, xp.isfinite(scale))
        # The optimiser writes into what it is given, and this may be needed again.
        new = optimizer.update(tree_copy(params), grads, tree_copy(own), mask, coefficients)
        taken = finite | (scale <= scaling.least)
        params, own, state = _either(
            taken, (*new, network.next_state(state, cache)), (params, own, state)
        )
        return params, {**own, LOSS_SCALE: scaling.next(kept, finite)}, state, report

    return step


def _either(condition: Array, tree: Any, other: Any) -> Any:
    """Choose one of two trees of arrays without reading which."""
    if isinstance(tree, dict):
        return {name: _either(condition, one, other[name]) for name, one in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_either(condition, one, another) for one, another in zip(tree, other))
    return array_namespace(tree).where(condition, tree, other)

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
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.backends import Backend
from anyback_nn.network.layout import Packed
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.tree import tree_copy

if TYPE_CHECKING:
    from anyback_nn.training.step import StepArguments

__all__ = ["LOSS_SCALE", "LossScaling"]

LOSS_SCALE = "loss_scale"
"""The name of the scale in the optimiser's state."""


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
        """Return the scale, and the number of steps since it was changed, each of shape (1,)."""
        return backend.asarray([self.start], dtype), backend.asarray([0.0], dtype)

    def scale(self, optimizer_state: dict[str, Packed]) -> Array:
        """Return the current scale, of shape ()."""
        value, _ = optimizer_state[LOSS_SCALE]
        return array_namespace(value).reshape(value, ())

    def next(self, kept: Packed, finite: Array) -> Packed:
        """Return both after a step.

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

    def update(
        self, optimizer: Optimizer, args: StepArguments, grads: Packed, state: Any
    ) -> tuple[Packed, dict[str, Packed], Any]:
        """Take one step with gradients of the scaled loss, or none if they overflowed.

        Parameters
        ----------
        optimizer : Optimizer
        args : StepArguments
        grads : tuple of array
            Packed gradients, times the scale.
        state : nested tuples and dicts of array
            That of the layers after the step.

        Returns
        -------
        params, optimizer_state, state
            If a gradient is not finite, they are exactly as before, but for the scale. The loop
            does not know it, because nothing is read from the device, so the step counts as one:
            for the learning rate, and for Adam's correction of its means.
        """
        scale, kept = self.scale(args.optimizer_state), args.optimizer_state[LOSS_SCALE]
        own = {name: slot for name, slot in args.optimizer_state.items() if name != LOSS_SCALE}
        xp = array_namespace(scale)
        grads = tuple(g / scale for g in grads)
        finite = reduce(operator.and_, (xp.all(xp.isfinite(g)) for g in grads), xp.isfinite(scale))
        # The optimiser writes into what it is given, and this may be needed again.
        new = optimizer.update(
            tree_copy(args.params), grads, tree_copy(own), args.penalty_mask, args.scalars
        )
        taken = finite | (scale <= self.least)
        params, own, state = _where(taken, (*new, state), (args.params, own, args.state))
        return params, {**own, LOSS_SCALE: self.next(kept, finite)}, state


def _where(condition: Array, tree: Any, other: Any) -> Any:
    """Choose one of two trees of arrays without reading which."""
    if isinstance(tree, dict):
        return {name: _where(condition, branch, other[name]) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_where(condition, a, b) for a, b in zip(tree, other))
    return array_namespace(tree).where(condition, tree, other)

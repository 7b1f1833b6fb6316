"""Mixed precision: steps that compute in 16 bits and train parameters in float32.

P. Micikevicius et al., "Mixed precision training", ICLR 2018. Three measures keep the accuracy:

- Parameters, the optimiser's state and the loss stay in float32. A step rounds the parameters and
  the inputs, computes forward and backward in 16 bits, and updates in float32, so that updates too
  small for 16 bits still accumulate (`anyback_nn.network.precision`).
- Layers that sum many numbers compute in float32, see `Layer.full_precision`.
- In float16, gradients below 6e-8 would vanish. So the loss, and with it every gradient, is
  multiplied by a scale, and the gradients of the parameters are divided by it. `LossScaling` adapts
  the scale during training to be as large as possible without overflow.

bfloat16 has the range of float32 and needs no scale, but it has fewer digits than float16.
Predictions and evaluations are computed in the dtype of the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.backends import Backend
from anyback_nn.network.layout import Packed

__all__ = ["LOSS_SCALE", "LossScaling"]

LOSS_SCALE = "loss_scale"
"""The name of the scale in the optimiser's state."""


@dataclass(frozen=True)
class LossScaling:
    """The scale of the loss, and how it adapts.

    It is halved after a step whose gradients are not finite, and doubled after many steps with
    finite ones, so it stays close to the largest possible scale. It is a power of two, so
    multiplication by it is exact.

    Parameters
    ----------
    start : float
        The initial scale. The derivative of the mean loss with respect to a logit is at most 1, and
        2^15 times that is within the range of float16, which ends at 65504.
    interval : int
        The number of consecutive steps with finite gradients after which it is doubled.
    least, most : float
        Bounds of the scale. Gradients that are not finite at the smallest scale have another cause:
        such a step is not skipped, so that divergence is detected.

    Examples
    --------
    >>> import numpy as np
    >>> scaling = LossScaling(interval=2)
    >>> scale, n_finite = scaling.next((np.full(1, 8.0), np.zeros(1)), np.asarray(False))
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
        """Return the scale and the number of finite steps since its last change, of shape (1,)."""
        return backend.asarray([self.start], dtype), backend.asarray([0.0], dtype)

    def scale(self, optimizer_state: dict[str, Packed]) -> Array:
        """Return the current scale, of shape ()."""
        value, _ = optimizer_state[LOSS_SCALE]
        return array_namespace(value).reshape(value, ())

    def next(self, state: Packed, finite: Array) -> Packed:
        """Return the scale and the number of finite steps after a step.

        Parameters
        ----------
        state : tuple of array
            As `init` or the last step returned it.
        finite : array of bool, shape ()
            Whether the gradients of this step were finite.
        """
        scale, n_finite = state
        xp = array_namespace(scale)
        n_finite = n_finite + 1.0
        grows = n_finite >= self.interval
        larger = xp.where(grows, xp.minimum(2.0 * scale, self.most), scale)
        smaller = xp.maximum(0.5 * scale, self.least)
        n_finite = xp.where(finite & ~grows, n_finite, xp.zeros_like(n_finite))
        return xp.where(finite, larger, smaller), n_finite

"""scikit-learn's rules of training, where they differ from those of `anyback_nn.training`.

With these, and scikit-learn's way of drawing random numbers, training takes the same course as
there, step by step, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anyback_nn.backend import Array, array_namespace
from anyback_nn.training.optimizers import Adam, Optimizer
from anyback_nn.training.schedules import Schedule

__all__ = ["Recorded", "SklearnAdam", "SklearnSGD"]


@dataclass(frozen=True)
class Recorded(Schedule):
    """The rate that the epoch before has recorded for this one.

    Parameters
    ----------
    learning_rate : float
        The rate of the first epoch.
    mode : {"invscaling", "adaptive"}
    power_t : float
        The exponent of ``"invscaling"``.
    """

    learning_rate: float
    mode: str
    power_t: float
    per_epoch = True

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        # Iterations of L-BFGS have no rate.
        row = next((row for row in reversed(history) if "learning_rate" in row), None)
        if row is None:
            return self.learning_rate
        return row.get("next_learning_rate", row["learning_rate"])

    def after(self, rate: float, n_seen: int) -> float:
        """Compute the rate that follows on one, after so many samples, if training goes well."""
        if self.mode == "invscaling":
            return float(self.learning_rate / (n_seen + 1) ** self.power_t)
        return rate


@dataclass(frozen=True)
class SklearnSGD(Optimizer):
    """``v = momentum v - rate g``, then ``p += v``, or with Nesterov ``p += momentum v - rate g``.

    In `anyback_nn.training.optimizers.Momentum` the rate stands outside of the velocity: the same
    as long as it does not change.
    """

    learning_rate: float | Schedule = 0.001
    momentum: float = 0.9
    nesterov: bool = True
    slots = ("velocity",)

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,), (velocity,) = coefficients, kept
        g *= rate
        velocity *= self.momentum
        velocity -= g
        if self.nesterov:
            p -= g
            p += self.momentum * velocity
        else:
            p += velocity
        return p, (velocity,)


@dataclass(frozen=True)
class SklearnAdam(Adam):
    """Adam with ``epsilon`` beside the root of the uncorrected mean square.

    ``p -= a m / (sqrt(v) + epsilon)`` with ``a = rate sqrt(1 - beta2^step) / (1 - beta1^step)``:
    the form at the end of section 2 of the paper, where ``epsilon`` weighs more in the first steps.
    """

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        scale = math.sqrt(1.0 - self.beta2)
        corrected = rate * math.sqrt(1.0 - self.beta2**step) / (1.0 - self.beta1**step)
        return corrected * (1.0 - self.beta1) / scale, self.epsilon / scale


def average(total: Any, storage: Any, decay: float) -> Any:
    """Move an exponential moving average on: ``a = decay a + (1 - decay) p``, starting at zero."""
    moved = []
    for a, p in zip(total, storage):
        a *= decay
        a += (1.0 - decay) * p
        moved.append(a)
    return tuple(moved)


def unbiased(total: Any, decay: float, step: int) -> Any:
    """Divide a moving average by the weights that it holds, ``1 - decay^step``."""
    return tuple(array_namespace(a).asarray(a / (1.0 - decay**step), copy=True) for a in total)

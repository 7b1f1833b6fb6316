"""scikit-learn's update rules, where they differ from those of `anyback_nn.optim.optimizers`.

With these, and scikit-learn's random numbers, training is the same as in scikit-learn, step by
step, up to rounding. This module does not import scikit-learn: an estimator's file can be read as a
model where it is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anyback_nn.array_api import Array
from anyback_nn.optim.optimizers import Adam, Optimizer, Slots
from anyback_nn.optim.schedules import Schedule

__all__ = ["EpochSchedule", "SklearnAdam", "SklearnSGD"]


@dataclass(frozen=True)
class EpochSchedule(Schedule):
    """The learning rate that the last epoch wrote into the history for the next one.

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
        # Iterations of L-BFGS have no learning rate.
        row = next((row for row in reversed(history) if "learning_rate" in row), None)
        if row is None:
            return self.learning_rate
        return row.get("next_learning_rate", row["learning_rate"])

    def next_rate(self, rate: float, n_seen: int) -> float:
        """Compute the rate after ``n_seen`` samples from the last one, if training improves."""
        if self.mode == "invscaling":
            return float(self.learning_rate / (n_seen + 1) ** self.power_t)
        return rate


class Recorded(EpochSchedule):
    """`EpochSchedule` as files of release 0.1 name it."""

    _from_settings = EpochSchedule


@dataclass(frozen=True)
class SklearnSGD(Optimizer):
    """``v = momentum v - rate g``, then ``p += v``, or with Nesterov ``p += momentum v - rate g``.

    In `anyback_nn.optim.optimizers.Momentum` the rate is not part of the velocity, which is
    equivalent as long as the rate is constant.
    """

    learning_rate: float | Schedule = 0.001
    momentum: float = 0.9
    nesterov: bool = True
    slots = ("velocity",)

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,), (velocity,) = coefficients, state
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
    """Adam with ``epsilon`` added to the root of the uncorrected mean square.

    ``p -= a m / (sqrt(v) + epsilon)`` with ``a = rate sqrt(1 - beta2^step) / (1 - beta1^step)``:
    the form at the end of section 2 of the paper. There ``epsilon`` has more weight in the first
    steps.
    """

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        scale = math.sqrt(1.0 - self.beta2)
        length = rate * math.sqrt(1.0 - self.beta2**step) / (1.0 - self.beta1**step)
        return length * (1.0 - self.beta1) / scale, self.epsilon / scale

"""How the learning rate changes: pure functions of the epoch.

A schedule is called before every step with the number of epochs trained so far, fractions included
(for an iterable without a length: the middle of the epoch), and with the history of the finished
epochs. Its unit is the epoch, not the step, so that it means the same for every batch size. It
keeps nothing between calls: a resumed run continues its schedule, because the epoch and the history
are saved with the model.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "Fixed",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "as_schedule",
    "direction",
    "monitored",
]


class Schedule(ABC):
    """The learning rate as a function of the epoch.

    Examples
    --------
    >>> [StepDecay(0.1, every=2, factor=0.5)(epoch) for epoch in (0, 1, 2, 4)]
    [0.1, 0.1, 0.05, 0.025]
    """

    per_epoch: ClassVar[bool] = False
    """Whether the rate stays the same within an epoch, so that it is asked for once."""

    @abstractmethod
    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        """Give the learning rate.

        Parameters
        ----------
        epoch : float
            The epochs that the optimiser has trained, with the finished part of this one.
        history : sequence of dict
            One row of recorded quantities for each of its finished epochs.
        """


def as_schedule(learning_rate: float | Schedule) -> Schedule:
    """Make a plain number a schedule."""
    return learning_rate if isinstance(learning_rate, Schedule) else Fixed(learning_rate)


@dataclass(frozen=True)
class Fixed(Schedule):
    """The same learning rate throughout."""

    learning_rate: float

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply by ``factor`` after each ``every`` epochs.

    Parameters
    ----------
    learning_rate : float
        The rate at the start.
    every : int
        The number of epochs between two changes.
    factor : float
    """

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _expect_positive(self, "learning_rate", "every", "factor")

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return float(self.learning_rate * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiply by ``factor`` in the course of each epoch: ``learning_rate * factor ** epoch``."""

    learning_rate: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        _expect_positive(self, "learning_rate", "factor")

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return float(self.learning_rate * self.factor**epoch)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Rise evenly during the warm-up, then fall along half a cosine.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Parameters
    ----------
    learning_rate : float
        The highest rate, reached when the warm-up ends.
    epochs : float
        When the lowest rate is reached, warm-up included; it stays from then on.
    warmup : float
        The epochs of the warm-up, which begins at 0.
    final : float
        The lowest rate.
    """

    learning_rate: float
    epochs: float
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _expect_positive(self, "learning_rate")
        if not 0 <= self.warmup < self.epochs:
            raise ValueError(
                f"CosineDecay: expected 0 <= warmup < epochs, got warmup={self.warmup} and "
                f"epochs={self.epochs}"
            )

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        if epoch < self.warmup:
            return self.learning_rate * epoch / self.warmup
        share = min((epoch - self.warmup) / (self.epochs - self.warmup), 1.0)
        return self.final + (self.learning_rate - self.final) * 0.5 * (
            1.0 + math.cos(math.pi * share)
        )


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply by ``factor`` when a recorded quantity has not improved for ``patience`` epochs.

    The waiting begins anew after each reduction. The whole course follows from the history, so
    nothing has to be kept.

    Parameters
    ----------
    learning_rate : float
        The rate at the start.
    factor : float
        Above 0 and below 1.
    patience : int
        The number of epochs without improvement that are still accepted.
    monitor : str
        The name of the quantity in the history.
    min_delta : float
        How much better than the best so far counts as better.
    minimum : float
        The rate does not fall below this.
    mode : "min" or "max", optional
        Whether less or more of the quantity is better. Default: told by its name, see `direction`.
    """

    learning_rate: float
    factor: float = 0.1
    patience: int = 10
    monitor: str = "validation_loss"
    min_delta: float = 0.0
    minimum: float = 0.0
    mode: str | None = None
    per_epoch = True

    def __post_init__(self) -> None:
        _expect_positive(self, "learning_rate", "factor")
        if self.factor >= 1:
            raise ValueError(f"ReduceOnPlateau: expected factor below 1, got {self.factor!r}")
        direction(self.monitor, self.mode)

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        rate, best, waited = self.learning_rate, math.inf, 0
        for row in history:
            value = monitored(self, row)
            if value < best - self.min_delta:
                best, waited = value, 0
                continue
            waited += 1
            if waited > self.patience:
                rate, waited = min(rate, max(rate * self.factor, self.minimum)), 0
        return rate


def direction(quantity: str, mode: str | None = None) -> float:
    """Tell whether less of a recorded quantity is better: 1.0, or more: -1.0.

    Parameters
    ----------
    quantity : str
        Names that end in ``loss`` or ``error`` should fall; in ``accuracy``, ``r2`` or ``score``,
        rise.
    mode : "min" or "max", optional
        Needed for other names.

    Examples
    --------
    >>> direction("validation_loss"), direction("validation_accuracy"), direction("f1", "max")
    (1.0, -1.0, -1.0)
    """
    if mode is None and quantity.endswith(("loss", "error")):
        return 1.0
    if mode is None and quantity.endswith(("accuracy", "r2", "score")):
        return -1.0
    if mode not in ("min", "max"):
        raise ValueError(
            f"is less or more of {quantity!r} better? Pass mode='min' or mode='max'; got {mode!r}"
        )
    return 1.0 if mode == "min" else -1.0


def monitored(by: Any, row: dict[str, float]) -> float:
    """Give the quantity that ``by`` monitors, turned so that less of it is better.

    Parameters
    ----------
    by : ReduceOnPlateau or EarlyStopping
        Has a ``monitor`` and a ``mode``.
    row : dict
        What was recorded of one epoch.
    """
    if by.monitor not in row:
        raise ValueError(
            f"{type(by).__name__}: {by.monitor!r} is not recorded; the history has "
            f"{', '.join(row)}. Pass validation data, or monitor another one"
        )
    return direction(by.monitor, by.mode) * row[by.monitor]


def _expect_positive(schedule: Schedule, *names: str) -> None:
    """Raise `ValueError` for settings that are not above 0."""
    for name in names:
        if not getattr(schedule, name) > 0:
            raise ValueError(
                f"{type(schedule).__name__}: expected {name} above 0, got "
                f"{getattr(schedule, name)!r}"
            )

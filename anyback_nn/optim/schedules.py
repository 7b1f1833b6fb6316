"""Learning-rate schedules: pure functions of the epoch.

A schedule is called before every step with the number of epochs trained so far, fractions included
(for an iterable without a length: the middle of the epoch), and with the history of the finished
epochs. Its unit is the epoch, not the step, so it does not depend on the batch size. It has no
state: a resumed run continues its schedule, because the epoch and the history are saved with the
model.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from anyback_nn.utils.arguments import check_methods, check_range

__all__ = [
    "SCHEDULES",
    "CosineDecay",
    "ExponentialDecay",
    "Fixed",
    "ReduceOnPlateau",
    "ScaledSchedule",
    "Schedule",
    "StepDecay",
    "direction",
    "read_monitored",
]

SCHEDULES = ("cosine", "constant")
"""The names of schedules, see `anyback_nn.optim.optimizers.set_schedule`."""


class Schedule(ABC):
    """The learning rate as a function of the epoch.

    Examples
    --------
    >>> [StepDecay(0.1, every=2, factor=0.5)(epoch) for epoch in (0, 1, 2, 4)]
    [0.1, 0.1, 0.05, 0.025]
    """

    per_epoch: ClassVar[bool] = False
    """Whether the rate is constant within an epoch, so that it is computed once."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the signature of a new schedule."""
        super().__init_subclass__(**options)
        check_methods(cls, __call__="self, epoch, history")

    @abstractmethod
    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        """Return the learning rate.

        Parameters
        ----------
        epoch : float
            The number of epochs that the optimiser has trained, with the finished part of this one.
        history : sequence of dict
            One row of recorded values for each of its finished epochs.
        """

    def has_ended(self, epoch: float) -> bool:
        """Return whether training was planned to end by this epoch; default: there is no plan."""
        return False


@dataclass(frozen=True)
class Fixed(Schedule):
    """A constant learning rate."""

    learning_rate: float

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply by ``factor`` every ``every`` epochs.

    Parameters
    ----------
    learning_rate : float
        The rate at the start.
    every : int
        The number of epochs between two changes.
    factor : float
        Factor of the rate at each change, above 0.
    """

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, "above 0", "learning_rate", "every", "factor")

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return float(self.learning_rate * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiply by ``factor`` in the course of each epoch: ``learning_rate * factor ** epoch``.

    Parameters
    ----------
    learning_rate : float
        The rate at the start.
    factor : float
        Factor of the rate in an epoch, above 0.
    """

    learning_rate: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        check_range(self, "above 0", "learning_rate", "factor")

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return float(self.learning_rate * self.factor**epoch)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Rise linearly during the warm-up, then fall along half a cosine.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Parameters
    ----------
    learning_rate : float
        The highest rate, reached when the warm-up ends.
    epochs : float
        The epoch at which the final rate is reached, warm-up included. It is constant after that.
    warmup : float
        The number of epochs of the warm-up, which begins at rate 0.
    final : float
        The final rate.
    """

    learning_rate: float
    epochs: float
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "above 0", "learning_rate")
        check_range(self, "finite", "final")
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

    def has_ended(self, epoch: float) -> bool:
        return epoch >= self.epochs


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply by ``factor`` when a recorded value has not improved for ``patience`` epochs.

    The epochs are counted again after each reduction. All is computed from the history, so there is
    no state.

    Parameters
    ----------
    learning_rate : float
        The rate at the start.
    factor : float
        Factor of the rate, above 0 and below 1.
    patience : int
        The number of epochs without improvement before the rate is reduced.
    monitor : str
        Name of the value in the history.
    min_delta : float
        The smallest change that counts as an improvement on the best epoch.
    minimum : float
        The lower bound of the rate.
    mode : "min" or "max", optional
        Whether lower or higher values are better. Default: from the name, see `direction`.
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
        check_range(self, "above 0", "learning_rate")
        check_range(self, "above 0 and below 1", "factor")
        check_range(self, "finite", "patience", "min_delta", "minimum")
        direction(self.monitor, self.mode)

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        if not history:
            return self.learning_rate
        key = (self, id(history[0]))
        # Read on from where the last call ended, so that an epoch costs the same in a long run.
        length, _, last, progress = _PROGRESS.pop(key, (0, None, None, None))
        if length > len(history) or (length and history[length - 1] is not last):
            length, progress = 0, None  # epochs were taken back
        rate, best, waited = progress or (self.learning_rate, math.inf, 0)
        for index in range(length, len(history)):
            value = read_monitored(self, history[index])
            if value < best - self.min_delta:
                best, waited = value, 0
                continue
            waited += 1
            if waited > self.patience:
                rate, waited = min(rate, max(rate * self.factor, self.minimum)), 0
        # With the rows, so that their ids stay theirs.
        _PROGRESS[key] = len(history), history[0], history[-1], (rate, best, waited)
        while len(_PROGRESS) > MOST_PROGRESS:
            _PROGRESS.popitem(last=False)
        return rate


@dataclass(frozen=True)
class ScaledSchedule(Schedule):
    """Another schedule, times a factor.

    Parameters
    ----------
    schedule : Schedule
    factor : float
        Above 0.

    Examples
    --------
    >>> ScaledSchedule(StepDecay(0.1, every=2), 0.5)(0)
    0.05
    """

    schedule: Schedule
    factor: float

    def __post_init__(self) -> None:
        check_range(self, "above 0", "factor")

    def __call__(self, epoch: float, history: Sequence[dict[str, float]] = ()) -> float:
        return self.factor * self.schedule(epoch, history)

    @property
    def per_epoch(self) -> bool:  # type: ignore[override]
        return self.schedule.per_epoch

    def has_ended(self, epoch: float) -> bool:
        return self.schedule.has_ended(epoch)


MOST_PROGRESS = 16
"""The number of histories that are remembered."""

_PROGRESS: OrderedDict[Any, tuple[int, Any, Any, Any]] = OrderedDict()
"""Where `ReduceOnPlateau` was after a history, by the schedule and the first row.

Rows are appended to a history and taken back from its end, and not changed: one that begins with
the same row, and has the same row at the same place, is the same up to there.
"""


def direction(name: str, mode: str | None = None) -> float:
    """Return the sign with which lower values are better: 1.0, or -1.0 if higher ones are.

    Parameters
    ----------
    name : str
        Name of the recorded value. Lower is better if it ends in ``loss`` or ``error``; higher, if
        it ends in ``accuracy``, ``r2`` or ``score``.
    mode : "min" or "max", optional
        Required for other names.

    Examples
    --------
    >>> direction("validation_loss"), direction("validation_accuracy"), direction("f1", "max")
    (1.0, -1.0, -1.0)
    """
    if mode is None and name.endswith(("loss", "error")):
        return 1.0
    if mode is None and name.endswith(("accuracy", "r2", "score")):
        return -1.0
    if mode not in ("min", "max"):
        raise ValueError(
            f"are lower or higher values of {name!r} better? Pass mode='min' or mode='max'; got "
            f"{mode!r}"
        )
    return 1.0 if mode == "min" else -1.0


def read_monitored(monitor: Any, row: dict[str, float]) -> float:
    """Return the value of an epoch that is monitored, signed such that lower is better.

    ``monitor`` is a `ReduceOnPlateau` or another object with the attributes ``monitor`` and
    ``mode``, such as `EarlyStopping`.
    """
    name = monitor.monitor
    if name not in row:
        raise ValueError(
            f"{type(monitor).__name__}: {name!r} is not recorded; the history has "
            f"{', '.join(row)}. Pass validation data, or monitor one of these"
        )
    return direction(name, monitor.mode) * row[name]

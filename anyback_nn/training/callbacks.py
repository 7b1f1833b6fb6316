"""What is called while a model trains: your own code, early stopping, the progress bar."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from anyback_nn.optim.schedules import direction, monitored
from anyback_nn.tree import tree_copy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyback_nn.training.fit import FitContext

__all__ = ["Callback", "EarlyStopping", "ProgressBar", "check_callbacks"]


class Callback:
    """Called at the start and end of training, of each epoch and of each batch.

    Override what you need. ``fit.history`` holds the finished epochs, ``fit.model`` the model
    (its parameters are up to date whenever a callback is called), and ``fit.stop(reason)`` ends
    training after the current batch or epoch.

    Examples
    --------
    >>> class StopWhenGoodEnough(Callback):
    ...     def on_epoch_end(self, fit):
    ...         if fit.history.last["train_loss"] < 0.1:
    ...             fit.stop("the training loss is below 0.1")
    """

    every_batch: ClassVar[bool] = True
    """Whether ``on_batch_begin`` and ``on_batch_end`` must be called for every single batch.

    Where they are False or not overridden, a backend that compiles takes many steps in one call.
    """

    def on_train_begin(self, fit: FitContext) -> None:
        """Before the first epoch."""

    def on_train_end(self, fit: FitContext) -> None:
        """After the last epoch; not if training ended with an error."""

    def on_epoch_begin(self, fit: FitContext) -> None:
        """Before an epoch."""

    def on_epoch_end(self, fit: FitContext) -> None:
        """After an epoch has been recorded."""

    def on_batch_begin(self, fit: FitContext) -> None:
        """Before a step."""

    def on_batch_end(self, fit: FitContext) -> None:
        """After a step. Reading an array here makes the device wait."""


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Raise `TypeError` unless these are callbacks."""
    for one in callbacks:
        if not isinstance(one, Callback):
            hint = f". Write {one.__name__}()" if isinstance(one, type) else ""
            raise TypeError(f"expected callbacks to be Callback objects, got {one!r}{hint}")


@dataclass
class EarlyStopping(Callback):
    """Stop when a recorded quantity no longer improves, and put the best parameters back.

    Parameters
    ----------
    patience : int
        The number of epochs without improvement after which training stops.
    monitor : str
        The name of the quantity in the history.
    min_delta : float
        How much better than the best so far counts as better.
    restore_best : bool
        Whether the model gets back the parameters of its best epoch.
    mode : "min" or "max", optional
        Whether less or more of the quantity is better. Default: told by its name, such as
        ``validation_loss`` or ``validation_accuracy``.
    """

    patience: int = 10
    monitor: str = "validation_loss"
    min_delta: float = 0.0
    restore_best: bool = True
    mode: str | None = None
    best_epoch: int = field(default=0, init=False)
    _best: float = field(default=math.inf, init=False, repr=False)
    _best_state: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        direction(self.monitor, self.mode)

    def on_train_begin(self, fit: FitContext) -> None:
        self.best_epoch, self._best, self._best_state = fit.epoch, math.inf, None

    def on_epoch_end(self, fit: FitContext) -> None:
        value = monitored(self, fit.history.last)
        if value < self._best - self.min_delta:
            self.best_epoch, self._best = fit.epoch, value
            if self.restore_best:
                training = fit.model.training
                self._best_state = (tree_copy(training.params), tree_copy(training.state))
        elif fit.epoch - self.best_epoch >= self.patience:
            fit.stop(
                f"{self.monitor} has not improved for {self.patience} epochs; "
                f"the best was epoch {self.best_epoch}"
            )

    def on_train_end(self, fit: FitContext) -> None:
        if self._best_state is not None and self.best_epoch < fit.epoch:
            fit.model.training.params, fit.model.training.state = self._best_state
        self._best_state = None


@dataclass
class ProgressBar(Callback):
    """Show the epoch, its batches and the last losses in the terminal."""

    every_batch = False
    _bar: Any = field(default=None, init=False, repr=False)
    _epochs: Any = field(default=None, init=False, repr=False)

    def on_train_begin(self, fit: FitContext) -> None:
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[last]}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
        )
        last = fit.epoch + fit.epochs
        self._epochs = self._bar.add_task(
            "", total=float(fit.epochs), epoch=fit.epoch, last=last, losses=""
        )
        self._bar.start()

    def on_batch_end(self, fit: FitContext) -> None:
        if fit.n_batches:
            done = fit.epochs_done + fit.batches_done / fit.n_batches
            self._bar.update(self._epochs, completed=done)

    def on_epoch_end(self, fit: FitContext) -> None:
        # Two numbers, so that the line fits into 80 columns.
        shown = {"loss": "train_loss", "validation": "validation_loss"}
        row = fit.history.last
        losses = "  ".join(f"{word} {row[key]:.4f}" for word, key in shown.items() if key in row)
        self._bar.update(
            self._epochs, completed=float(fit.epochs_done), epoch=fit.epoch, losses=losses
        )

    def on_train_end(self, fit: FitContext) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back; also called when training ends with an error."""
        if self._bar is not None:
            self._bar.stop()

"""Callbacks: custom code, early stopping, and what shows progress."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from anyback_nn.optim.schedules import direction, read_monitored
from anyback_nn.training import checkpoint
from anyback_nn.utils.arguments import as_integer
from anyback_nn.utils.messages import suggest_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyback_nn.training.fit import FitContext

__all__ = [
    "Callback",
    "EarlyStopping",
    "EpochLog",
    "ProgressBar",
    "check_callbacks",
    "show_progress",
]


class Callback:
    """Methods that are called at the start and end of training, of each epoch and of each batch.

    Override those you need. ``fit.history`` holds the finished epochs, ``fit.model`` the model
    (its parameters are up to date in every call), and ``fit.stop(reason)`` ends training after the
    current batch or epoch.

    Examples
    --------
    >>> class StopWhenGoodEnough(Callback):
    ...     def on_epoch_end(self, fit):
    ...         if fit.history.last["train_loss"] < 0.1:
    ...             fit.stop("the training loss is below 0.1")
    """

    every_batch: ClassVar[bool] = True
    """Whether ``on_batch_begin`` and ``on_batch_end`` must be called for every single batch.

    If this is False or neither is overridden, a backend can take many steps in one call.
    """

    comes_last: ClassVar[bool] = False
    """Whether it is called after the others, so that it sees what they have changed."""

    writes: ClassVar[bool] = False
    """Whether it writes or shows something: of processes that train together, rank 0 alone calls
    it. All must call one that changes the training."""

    def on_train_begin(self, fit: FitContext) -> None:
        """Act before the first epoch."""

    def on_train_end(self, fit: FitContext) -> None:
        """Act after the last epoch; not called if training ended with an error."""

    def on_train_error(self, fit: FitContext) -> None:
        """Act after an epoch that an error or an interrupt has ended, and that was undone."""

    def on_epoch_begin(self, fit: FitContext) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, fit: FitContext) -> None:
        """Act after an epoch has been recorded."""

    def on_batch_begin(self, fit: FitContext) -> None:
        """Act before a step."""

    def on_batch_end(self, fit: FitContext) -> None:
        """Act after a step. Reading an array here makes the host wait for the device."""

    def get_state(self, fit: FitContext) -> dict[str, Any]:
        """Return what a checkpoint must hold for this callback: arrays, and values for JSON."""
        return {}

    def set_state(self, fit: FitContext, state: dict[str, Any]) -> None:
        """Take what `get_state` returned, after ``on_train_begin``; arrays are NumPy's."""


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Raise `TypeError` unless all are callbacks."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(
            f"expected callbacks to be a list of Callback objects, got {callbacks!r}. Write "
            "callbacks=[...]"
        )
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = suggest_call(callback)
            raise TypeError(f"expected callbacks to be Callback objects, got {callback!r}{hint}")


@dataclass
class EarlyStopping(Callback):
    """Stop when a recorded value no longer improves, and restore the best parameters.

    Parameters
    ----------
    patience : int
        The number of epochs without improvement after which training stops.
    monitor : str
        Name of the value in the history.
    min_delta : float
        The smallest change that counts as an improvement on the best epoch.
    restore_best : bool
        Whether the parameters of the best epoch are restored after the last one. If the model has
        been trained before, those that it begins with count as an epoch: their value is measured on
        the validation data, or for a value of training it is that of their epoch.
    mode : "min" or "max", optional
        Whether lower or higher values are better. Default: from the name, such as
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
    _restored: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        direction(self.monitor, self.mode)
        as_integer("patience", self.patience, least=1)

    def on_train_begin(self, fit: FitContext) -> None:
        self.best_epoch, self._best, self._best_state = fit.epoch, math.inf, None
        row = self._row_of_beginning(fit)
        if self.monitor in row:
            self._best = read_monitored(self, row)
            self._keep(fit)

    def _row_of_beginning(self, fit: FitContext) -> dict[str, float]:
        """Return the values of the parameters that a later call of `Model.fit` begins with."""
        if not fit.history.rows:
            return {}
        measured = fit.measure() if self.monitor.startswith("validation_") else {}
        if self.monitor in measured:
            return measured
        last, restored = fit.history.last, self._restored
        # Their epoch is the last one, unless this object has restored those of another.
        return restored[1] if restored is not None and restored[0] is last else last

    def on_epoch_end(self, fit: FitContext) -> None:
        value = read_monitored(self, fit.history.last)
        if value < self._best - self.min_delta:
            self.best_epoch, self._best = fit.epoch, value
            self._keep(fit)
        else:
            self._stop_if_stagnant(fit)

    def _stop_if_stagnant(self, fit: FitContext) -> None:
        if fit.epoch - self.best_epoch >= self.patience:
            fit.stop(
                f"{self.monitor} has not improved for {self.patience} epochs; "
                f"the best was epoch {self.best_epoch}"
            )

    def _keep(self, fit: FitContext) -> None:
        """Keep the parameters as the best so far."""
        if self.restore_best:
            training = fit.model.training
            self._best_state = fit.model.copy_tree((training.params, training.state))

    def on_train_end(self, fit: FitContext) -> None:
        if self._best_state is not None and self.best_epoch < fit.epoch:
            fit.model.training.params, fit.model.training.state = self._best_state
            rows = fit.history.rows
            self._restored = (rows[-1], rows[self.best_epoch - 1])
        self._best_state = None

    def get_state(self, fit: FitContext) -> dict[str, Any]:
        best = self._best_state
        arrays = {} if best is None else checkpoint.collect_parameters(fit.model, *best)
        return {"best_epoch": self.best_epoch, "best": self._best, **arrays}

    def set_state(self, fit: FitContext, state: dict[str, Any]) -> None:
        self.best_epoch, self._best = int(state["best_epoch"]), float(state["best"])
        arrays = {name: x for name, x in state.items() if name not in ("best_epoch", "best")}
        self._best_state = checkpoint.read_parameters(fit.model, arrays) if arrays else None
        self._stop_if_stagnant(fit)  # if it was so then, unless the patience is larger now


def describe_losses(row: Mapping[str, float]) -> str:
    """Return the losses of an epoch; two values, so that the line fits into 80 columns."""
    labels = {"train_loss": "loss", "validation_loss": "validation"}
    return "  ".join(f"{label} {row[key]:.4f}" for key, label in labels.items() if key in row)


@dataclass
class EpochLog(Callback):
    """Write a line after each epoch, for log files and notebooks.

    Parameters
    ----------
    file : text file, optional
        Default: standard error.

    Examples
    --------
    >>> import sys
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> history = model.fit(x, y, epochs=2, callbacks=[nn.EpochLog(sys.stdout)])
    epoch 1/2  loss ...
    epoch 2/2  loss ...
    """

    every_batch = False
    writes = True
    file: Any = field(default=None, repr=False)
    _last: int = field(default=0, init=False, repr=False)

    def on_train_begin(self, fit: FitContext) -> None:
        self._last = fit.last_epoch

    def on_epoch_end(self, fit: FitContext) -> None:
        row = fit.history.last
        line = f"epoch {fit.epoch}/{self._last}  {describe_losses(row)}"
        if "seconds" in row:  # iterations of L-BFGS are not timed
            line += f"  {row['seconds']:.2f} s"
        self._write(line)

    def on_train_end(self, fit: FitContext) -> None:
        if fit.stop_reason is not None:
            self._write(f"stopped: {fit.stop_reason}")

    def _write(self, line: str) -> None:
        # Nobody may be reading it any more, which is no reason to lose a run.
        with suppress(OSError):
            # Flushed, because someone follows the file meanwhile.
            print(line, file=self.file or sys.stderr, flush=True)


@contextmanager
def show_progress(progress: bool | None) -> Iterator[list[Callback]]:
    """Yield the callback that shows progress, if anyone can see it, and close it at the end.

    A bar needs a terminal. Without one, lines are written if progress is wanted, or to a notebook.
    """
    if progress is not False and sys.stderr.isatty():
        with closing(ProgressBar()) as bar:
            yield [bar]
    else:
        in_notebook = "ipykernel" in sys.modules
        yield [EpochLog()] if progress or (progress is None and in_notebook) else []


@dataclass
class ProgressBar(Callback):
    """Show the epoch, its batches and the last losses in the terminal."""

    every_batch = False
    writes = True
    _bar: Any = field(default=None, init=False, repr=False)
    _epochs: Any = field(default=None, init=False, repr=False)

    def on_train_begin(self, fit: FitContext) -> None:
        # Importing rich takes a sixth of the time that importing the model takes.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[last]}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
        )
        last = fit.last_epoch
        self._epochs = self._bar.add_task(
            "", total=float(fit.epochs), epoch=fit.epoch, last=last, losses=""
        )
        self._bar.start()

    def on_batch_end(self, fit: FitContext) -> None:
        if fit.n_batches:
            done = fit.epochs_done + fit.batches_done / fit.n_batches
            with suppress(OSError):  # the terminal may be closed
                self._bar.update(self._epochs, completed=done)

    def on_epoch_end(self, fit: FitContext) -> None:
        losses = describe_losses(fit.history.last)
        with suppress(OSError):
            self._bar.update(
                self._epochs, completed=float(fit.epochs_done), epoch=fit.epoch, losses=losses
            )

    def on_train_end(self, fit: FitContext) -> None:
        self.close()

    def close(self) -> None:
        """Restore the terminal; also called when training ends with an error."""
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()

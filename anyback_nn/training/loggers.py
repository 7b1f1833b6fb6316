"""Callbacks that log every epoch: to a function of yours, a CSV file, TensorBoard or MLflow."""

from __future__ import annotations

import csv
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyback_nn.errors import AnybackError
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.history import History
from anyback_nn.utils.arguments import accepts, require_extra
from anyback_nn.utils.files import atomic_write
from anyback_nn.utils.messages import describe_error, plural

if TYPE_CHECKING:
    from anyback_nn.training.fit import FitContext

__all__ = ["CSVLog", "LogTo", "MLflowLog", "TensorBoardLog"]


class _Log(Callback):
    """Calls ``write(values, epoch)`` for every epoch of the history, once."""

    # It does not come last: a checkpoint comes after it, so no log lacks an epoch that is saved.
    writes = True

    write: Callable[[dict[str, float], int], object]
    _epoch: int = -1  # of the model, when it was last seen
    _logged: int = -1
    _failed: bool = False

    def begin(self, fit: FitContext) -> None:
        """Begin a log, or continue one after ``fit.epoch``: later epochs in it are replaced."""

    def on_train_begin(self, fit: FitContext) -> None:
        if not fit.epoch or fit.resumed_from is not None or fit.epoch != self._epoch:
            self.begin(fit)
            self._epoch = self._logged = fit.epoch
        self._failed = False

    def on_epoch_end(self, fit: FitContext) -> None:
        self._epoch = fit.epoch
        for row in fit.history.rows[self._logged :]:  # several, if writing has failed before
            values = dict(row)
            epoch = int(values.pop("epoch"))
            self._logged = epoch  # also if an error of the function ends training
            try:
                self.write(values, epoch)
            except OSError as error:  # a full disk or a lost server is no reason to lose a run
                self._logged = epoch - 1
                if not self._failed:
                    fit.report(f"epoch {epoch} was not logged: {describe_error(error)}")
                self._failed = True
                return

    def on_train_end(self, fit: FitContext) -> None:
        if (n_missing := fit.epoch - self._logged) > 0:
            fit.report(f"the last {plural(n_missing, 'epoch')} could not be logged")


@dataclass
class LogTo(_Log):
    """Call a function with the numbers of each epoch.

    Parameters
    ----------
    write : callable
        Called as ``write(values, epoch)``, such as ``mlflow.log_metrics``, with a dict of the
        values in the history and the number of the epoch. Epoch numbers continue in later calls of
        `fit`; a run that is resumed writes the epochs after its checkpoint again. An `OSError` is a
        warning, and the epoch is written with the next one, also in a later call; any other error
        ends training. The model then has the parameters of the epoch.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> history = model.fit(x, y, epochs=2, callbacks=[nn.LogTo(print)])
    {'learning_rate': 0.001, 'train_loss': ..., 'train_accuracy': ..., 'seconds': ...} 1
    {'learning_rate': 0.001, 'train_loss': ..., 'train_accuracy': ..., 'seconds': ...} 2
    """

    write: Callable[[dict[str, float], int], object]

    def __post_init__(self) -> None:
        if not callable(self.write) or not accepts(self.write, {}, 1):
            raise TypeError(f"LogTo: expected a function write(values, epoch), got {self.write!r}")

    def __deepcopy__(self, memo: dict[int, Any]) -> LogTo:
        """Copy, for estimators that are cloned: the copy writes to the same place."""
        return LogTo(self.write)


@dataclass
class CSVLog(_Log):
    """Write a line of a CSV file after each epoch.

    The lines are those of `History.to_csv`, for all epochs of the model. The file can be read at
    any time, also after the process was killed. A run that is resumed replaces the lines of the
    epochs that it takes again; a new model replaces all.

    Parameters
    ----------
    path : str or Path
        The file; one for each model.

    Raises
    ------
    ValueError
        When training begins: the file has other contents than a log, or is not a regular one.
    OSError
        When training begins: the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "log.csv")
    ...     history = model.fit(x, y, epochs=2, callbacks=[nn.CSVLog(path)])
    ...     print(path.read_text())
    epoch,learning_rate,train_loss,train_accuracy,seconds
    1,0.001,...
    2,0.001,...
    """

    path: str | Path
    _names: list[str] = field(default_factory=list, init=False, repr=False)
    _rows: list[dict[str, float]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"CSVLog: expected the path of a file, got {self.path!r}")

    def begin(self, fit: FitContext) -> None:
        path = Path(self.path)
        if path.exists() and not path.is_file():
            raise ValueError(f"CSVLog: {path} is not a regular file: expected the path of one")
        self._names = []
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", newline="", encoding="utf-8", errors="replace") as file:
            file.seek(0)  # what fails now would fail after each epoch
            line = file.readline()
        if line and not {"epoch", "train_loss"} <= set(line.strip().split(",")):
            raise ValueError(
                f"CSVLog: {path} begins with {line[:40]!r}: expected a new file, or one that "
                "CSVLog wrote"
            )

    def on_epoch_end(self, fit: FitContext) -> None:
        self._rows = fit.history.rows
        super().on_epoch_end(fit)

    def write(self, values: dict[str, float], epoch: int) -> None:
        row, names, path = {"epoch": epoch, **values}, self._names, Path(self.path)
        self._names = []  # if this fails in the middle of a line, the next one rewrites the file
        # The file may have been moved away, or a new one be in its place.
        if row.keys() <= set(names) and path.exists() and path.stat().st_size:
            with open(path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, names).writerow(row)
        else:
            # Estimators count epochs in floats.
            rows = [{**row, "epoch": int(row["epoch"])} for row in self._rows]
            history = History([row for row in rows if row["epoch"] <= epoch])
            with atomic_write(path) as temporary:
                history.to_csv(temporary)
            names = history.names
        self._names = names


def _describe_run(fit: FitContext) -> dict[str, Any]:
    """Return the settings of a run that tools compare: numbers and strings."""
    model, optimizer = fit.model, fit.model.training.optimizer
    settings: dict[str, Any] = {
        "layers": ", ".join(map(repr, model.network.layers)),
        "loss": repr(model.loss),
        "seed": model.seed,
        "backend": model.backend.spec,
        "dtype": model.dtype,
    }
    if optimizer is not None:  # not of L-BFGS
        rate = optimizer.learning_rate
        settings |= {
            "optimizer": repr(optimizer),
            "learning_rate": rate if isinstance(rate, int | float) else repr(rate),
        }
    if fit.batch_size is not None:
        settings["batch_size"] = fit.batch_size
    return settings


@dataclass
class TensorBoardLog(_Log):
    """Write scalars for TensorBoard, and the settings of the run for its page of hyperparameters.

    TensorBoard must be installed (``pip install 'anyback-nn[tensorboard]'``), not TensorFlow.

    Parameters
    ----------
    folder : str or Path
        The folder of the run, such as ``"runs/first"`` for ``tensorboard --logdir runs``. Each
        model needs one: a new model hides the epochs of an earlier one in the same folder.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> nn.TensorBoardLog("runs/first")
    TensorBoardLog(folder='runs/first')
    """

    folder: str | Path
    _file: Path = field(default=Path(), init=False, repr=False)

    def begin(self, fit: FitContext) -> None:
        require_extra("tensorboard", "tensorboard", "TensorBoardLog", AnybackError)
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        # TensorBoard reads the files of a folder in the order of their names.
        place = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = Path(self.folder) / f"events.out.tfevents.{place}"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._append(
            Event(file_version="brain.Event:2"),
            # Hides these and later epochs of other files.
            Event(step=fit.epoch + 1, session_log=SessionLog(status=SessionLog.START)),
            Event(step=fit.epoch, summary=hparams_pb(_describe_run(fit))),
        )

    def write(self, values: dict[str, float], epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=name, simple_value=values[name]) for name in values]
        self._append(Event(step=epoch, summary=Summary(value=scalars)))

    def _append(self, *events: Any) -> None:
        # As TensorBoard's EventFileWriter does, but with no thread and no file that stays open.
        from tensorboard.summary.writer.record_writer import RecordWriter

        n_bytes = self._file.stat().st_size if self._file.exists() else 0
        try:
            with open(self._file, "ab") as file:
                writer = RecordWriter(file)
                for event in events:
                    event.wall_time = time.time()
                    writer.write(event.SerializeToString())
        except OSError:
            with suppress(OSError):
                os.truncate(self._file, n_bytes)  # nothing after a part of a record can be read
            raise


@dataclass
class MLflowLog(_Log):
    """Log the values of each epoch as metrics of an MLflow run, and its settings as parameters.

    It is the active run, or else a new one, which ends with training and is continued by a run that
    is resumed. The new one does not learn of an error in another callback, such as a trial that is
    pruned: call `fit` within ``with mlflow.start_run():`` then. MLflow must be installed
    (``pip install 'anyback-nn[mlflow]'``).

    Examples
    --------
    >>> import anyback_nn as nn
    >>> nn.MLflowLog()
    MLflowLog()
    """

    _own: str | None = field(default=None, init=False, repr=False)
    _run: str | None = field(default=None, init=False, repr=False)

    def begin(self, fit: FitContext) -> None:
        self._own = None

    def on_train_begin(self, fit: FitContext) -> None:
        require_extra("mlflow", "mlflow", "MLflowLog", AnybackError)
        super().on_train_begin(fit)
        self._run = None

    def on_epoch_begin(self, fit: FitContext) -> None:
        # Not earlier: a checkpoint may have the run.
        if self._run is None:
            self._open(fit)

    def _open(self, fit: FitContext) -> None:
        import mlflow

        run = mlflow.active_run()
        if run is None and self._own is None:
            self._own = mlflow.start_run().info.run_id
            mlflow.end_run("RUNNING")  # no longer active: another model may begin one
        self._run = self._own if run is None else run.info.run_id
        client = mlflow.MlflowClient()
        if self._run == self._own:
            client.update_run(self._run, "RUNNING")  # again, if it had ended
        known = client.get_run(self._run).data.params  # which cannot be changed
        settings = {name: x for name, x in _describe_run(fit).items() if name not in known}
        mlflow.log_params(settings, run_id=self._run)
        if fit.resumed_from is not None:  # the run may have epochs after the checkpoint
            steps = [metric.step for metric in client.get_metric_history(self._run, "train_loss")]
            self._logged = max([self._logged, *steps])

    def write(self, values: dict[str, float], epoch: int) -> None:
        import mlflow

        try:
            mlflow.log_metrics(values, step=epoch, run_id=self._run)
        except mlflow.MlflowException as error:
            raise OSError(str(error)) from error

    def on_train_end(self, fit: FitContext) -> None:
        import mlflow

        super().on_train_end(fit)
        try:
            self._end("FINISHED")
        except mlflow.MlflowException as error:
            fit.report(f"the run in MLflow was not ended: {error}")

    def on_train_error(self, fit: FitContext) -> None:
        self._end("FAILED")

    def _end(self, status: str) -> None:
        import mlflow

        if self._run is not None and self._run == self._own:
            mlflow.MlflowClient().set_terminated(self._run, status)

    def get_state(self, fit: FitContext) -> dict[str, Any]:
        return {} if self._own is None or self._run != self._own else {"run": self._own}

    def set_state(self, fit: FitContext, state: dict[str, Any]) -> None:
        self._own = str(state["run"])

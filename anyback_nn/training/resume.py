"""Checkpoints: written during training, and what training resumes from.

A checkpoint is a model file with the progress of a call of `Model.fit` added: how many epochs and
steps it has taken, their reports, the state of its callbacks, and its arguments. Orders, noise and
schedules are functions of the seed, the epoch and the step, so nothing else is needed to take the
same steps as without a break.
"""

from __future__ import annotations

import math
import re
import signal
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from anyback_nn.array_api import to_numpy
from anyback_nn.distributed import ALONE, Communicator
from anyback_nn.errors import CheckpointError
from anyback_nn.inputs.batches import Source
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.optim.schedules import direction
from anyback_nn.training import checkpoint
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.engine import Engine
from anyback_nn.training.fit import FitContext
from anyback_nn.training.progress import EpochProgress
from anyback_nn.utils.arguments import as_integer
from anyback_nn.utils.messages import cut, describe_error, plural
from anyback_nn.utils.signals import catch_signals

__all__ = [
    "Checkpoint",
    "describe_arguments",
    "find_source",
    "find_writer",
    "list_files",
    "parse_interval",
    "read_latest",
    "resume_fit",
]

UNITS = ("epochs", "steps", "seconds")

PAUSE = 30.0
"""The least number of seconds between two checkpoints, unless an interval is given."""

LOCK = ".anyback_nn.lock"

_NAME = re.compile(r"epoch-(\d{5,})(?:-batch-(\d{7,}))?\.safetensors")

_EPOCH_ARRAYS = ("fit.sizes", "fit.rates", "fit.reports")


def parse_interval(every: int | str | None) -> tuple[float, str | None]:
    """Return the number and the unit of an interval between checkpoints.

    >>> parse_interval("100 steps"), parse_interval("1epoch"), parse_interval(5)
    ((100.0, 'steps'), (1.0, 'epochs'), (5.0, 'epochs'))
    """
    if every is None:
        return PAUSE, None
    units = "|".join(unit.removesuffix("s") for unit in UNITS)
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*(?:({units})s?)?", str(every).strip())
    number, unit = (float(found[1]), f"{found[2] or 'epoch'}s") if found else (0.0, "")
    if not number or (unit != "seconds" and number % 1):
        raise ValueError(
            f"every: expected a number above 0 of epochs, steps or seconds, such as '5 epochs', "
            f"'1000 steps' or '600 seconds', got {every!r}"
        )
    return number, unit


@dataclass
class Checkpoint(Callback):
    """Write checkpoints to a folder, from which `Model.fit` can resume: ``fit(resume=folder)``.

    A checkpoint is written whole or not at all, and the previous one is kept until then. Each is
    also a model file, see `Model.load`. If one cannot be written, a warning says why, and training
    goes on. While it trains, Ctrl-C, SIGTERM and SIGHUP let the current step finish (or call of
    many steps), write a checkpoint, and then end training with `KeyboardInterrupt` or exit status
    143 or 129; a second one acts at once.

    Parameters
    ----------
    folder : str or Path
        Created if it does not exist. It may hold the checkpoints of one run only, and one process
        at a time may write to it.
    every : int or str, optional
        The interval: ``"5 epochs"`` (or 5), ``"1000 steps"`` or ``"600 seconds"``. Backends that
        take many steps in one call take single ones if the unit is steps. Default: at the end of
        each epoch that comes 30 seconds or more after the last checkpoint. One is written after
        the last epoch, too.
    keep : int
        The number of latest checkpoints that are kept, in addition to the best.
    monitor : str, optional
        Name of the value in the history by which the best one is chosen, among those at the end of
        an epoch. Default: ``"validation_loss"`` if it is recorded, else ``"train_loss"``.
    mode : "min" or "max", optional
        Whether lower or higher values are better. Default: from the name, see `EarlyStopping`.
    report : callable
        Takes messages about checkpoints that cannot be written or read. Default: a warning.

    Examples
    --------
    >>> import tempfile
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> def train(epochs, folder):
    ...     model = nn.Model(nn.Dense(8), nn.Tanh(), nn.Dense(2), loss="softmax_cross_entropy")
    ...     checkpoints = nn.Checkpoint(folder, every="1 epoch")
    ...     return model.fit(x, y, epochs=epochs, callbacks=[checkpoints], resume=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, whole = len(train(3, folder)), len(train(5, folder))  # as after a power cut
    >>> first, whole
    (3, 5)
    """

    comes_last = writes = True
    folder: str | Path
    every: int | str | None = None
    keep: int = 2
    monitor: str | None = None
    mode: str | None = None
    report: Callable[[str], None] = field(default=warnings.warn, repr=False)
    signals: list[int] = field(default_factory=list, init=False, repr=False)
    _interval: tuple[float, str | None] = field(init=False, repr=False)
    _model: weakref.ref[Engine] | None = field(default=None, init=False, repr=False)
    _values: dict[Path, float] = field(default_factory=dict, init=False, repr=False)
    _last: tuple[int, int, float] = field(default=(0, 0, 0.0), init=False, repr=False)
    _place: tuple[int, int] | None = field(default=None, init=False, repr=False)
    _rollbacks: int = field(default=0, init=False, repr=False)
    _failed: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self._interval = parse_interval(self.every)
        self.every_batch = self._interval[1] == "steps"  # type: ignore[misc]
        as_integer("keep", self.keep, least=1)
        if self.monitor is not None:
            direction(self.monitor, self.mode)

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the settings: a copy writes the checkpoints of another model."""
        return {**vars(self), "_model": None, "_values": {}, "_place": None, "signals": []}

    # When ------------------------------------------------------------------------------------

    @contextmanager
    def hold(self, ranks: Communicator = ALONE) -> Iterator[None]:
        """Lock the folder, and let Ctrl-C and SIGTERM wait for the next checkpoint.

        Other ranks than 0 let them wait for the end of rank 0, which is theirs.
        """
        if ranks.rank:
            with catch_signals() as signals:
                yield
                signals.clear()
            return
        folder = Path(self.folder)
        lock, is_new = FileLock(folder / LOCK), not folder.exists()
        with suppress(OSError):  # of a folder that cannot be written to: see `save`
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=0)
            except Timeout:
                raise CheckpointError(
                    f"another process or thread writes checkpoints to {folder}: expected a folder "
                    "for each run"
                ) from None
        try:
            with catch_signals() as self.signals:
                yield
        finally:
            # Where the system lets it: before another process can hold the same file.
            with suppress(OSError):
                if lock.is_locked:
                    (folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                lock.release()
            with suppress(OSError):  # it has checkpoints
                if is_new:
                    folder.rmdir()

    def on_train_begin(self, fit: FitContext) -> None:
        fit.report = self.report
        if Path(self.folder).exists() and not Path(self.folder).is_dir():
            raise CheckpointError(f"{self.folder} is no folder: choose another one for checkpoints")
        checkpoint.describe(fit.model)  # what cannot be saved is an error now, and not in an hour
        files, resumed = list_files(self.folder), fit.resumed_from
        is_own = self._model is not None and self._model() is fit.model
        if resumed is not None and resumed in files:
            known = files[files.index(resumed) :]
            self._values = {file: self._read_value(file) for file in reversed(known)}
        elif files and not (is_own and set(files) <= set(self._values)):
            raise CheckpointError(
                f"{self.folder} holds the checkpoints of another run: resume it (with resume=True; "
                "estimators with warm_start=True), or choose another folder"
            )
        self._model = weakref.ref(fit.model)
        self._place = None if resumed is None else (fit.epoch, len(fit.progress.sizes))
        self._rollbacks = 0
        self._note_time(fit)

    def on_epoch_begin(self, fit: FitContext) -> None:
        if fit.stop_reason is not None and self._place != (fit.epoch, 0):
            self.save(fit)
        if fit.rollbacks > self._rollbacks:
            self._rollbacks = fit.rollbacks
            self._undo(fit)

    def _undo(self, fit: FitContext) -> None:
        """Write where the epoch began, and remove the checkpoints of the attempt that diverged."""
        place = (fit.epoch, len(fit.progress.sizes))
        if undone := [file for file in self._values if _parse_name(file) > place]:
            self.save(fit)
            for file in undone:
                self._remove(file)
            self._note_time(fit)

    def on_batch_end(self, fit: FitContext) -> None:
        # The end of an epoch comes at once, and has its own checkpoint.
        if fit.batches_done == fit.n_batches:
            return
        if self.signals or self._is_due(fit, "steps", "seconds"):
            self._write(fit)

    def on_epoch_end(self, fit: FitContext) -> None:
        is_last = fit.epochs_done >= fit.epochs or fit.stop_reason is not None
        if self.signals or is_last or self._is_due(fit, *UNITS, None):
            self._write(fit)

    def on_train_error(self, fit: FitContext) -> None:
        if fit.divergence is not None:
            self._undo(fit)
        # The finished epochs, unless a checkpoint has them.
        is_saved = self._place is not None and self._place[0] == fit.epoch
        if fit.epochs_done > fit.resumed_epochs and not is_saved:
            self.save(fit)

    def _is_due(self, fit: FitContext, *units: str | None) -> bool:
        number, unit = self._interval
        epochs, steps, then = self._last
        passed = {
            "epochs": fit.epochs_done - epochs,
            "steps": fit.model.training.step - steps,
            "seconds": time.monotonic() - then,
            None: time.monotonic() - then,
        }
        return unit in units and passed[unit] >= number

    def _note_time(self, fit: FitContext) -> None:
        # Not the time of day, which may jump.
        self._last = (fit.epochs_done, fit.model.training.step, time.monotonic())

    def _write(self, fit: FitContext) -> None:
        """Write a checkpoint; end training if a signal asks for it."""
        path = self.save(fit)
        self._note_time(fit)
        if self.signals:
            number = self.signals.pop()
            # Which no one learns of who trains with it: see `distributed.init`.
            if number != signal.SIGINT and fit.ranks.size == 1:
                raise SystemExit(128 + number)
            raise KeyboardInterrupt(
                "no checkpoint could be written"
                if path is None
                else f"a checkpoint was written: resume with fit(..., resume={str(self.folder)!r})"
            )

    # What ------------------------------------------------------------------------------------

    def save(self, fit: FitContext) -> Path | None:
        """Write a checkpoint now.

        Returns
        -------
        Path or None
            None if it cannot be written, which is reported, or if parameters are not finite, in
            an epoch that diverges: nobody could resume from it.
        """
        epoch, n_steps = place = (fit.epoch, len(fit.progress.sizes))
        name = f"epoch-{epoch:05}{f'-batch-{n_steps:07}' if n_steps else ''}.safetensors"
        path = Path(self.folder) / name
        try:
            arrays, settings = checkpoint.collect_contents(fit.model)
            if not all(
                np.all(np.isfinite(array))
                for part, array in arrays.items()
                if part.startswith(("parameters.", "optimizer."))
            ):
                return None
            more_arrays, progress = _collect_progress(fit)
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write(path, {**arrays, **more_arrays}, {**settings, "fit": progress})
        except (OSError, CheckpointError) as error:
            if not self._failed:
                self.report(
                    f"no checkpoint was written: {describe_error(error)}. Training goes on without "
                    "one"
                )
            self._failed = True
            return None
        self._failed, self._place = False, place
        self._values.pop(path, None)
        rows = () if n_steps else fit.history.rows[-1:]
        self._values[path] = self._choose_value(rows)
        self._remove_old()
        return path

    def _remove_old(self) -> None:
        """Remove all checkpoints of this run but the latest, and the best."""
        kept = {*[*self._values][-self.keep :]}
        best = min(self._values, key=lambda file: self._values[file])
        if math.isfinite(self._values[best]):
            kept.add(best)
        for file in [*self._values]:
            if file not in kept:
                self._remove(file)

    def _remove(self, file: Path) -> None:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        self._values.pop(file, None)

    def _choose_value(self, rows: Iterable[Mapping[str, float]]) -> float:
        """Return the monitored value of an epoch, lower is better; infinity if there is none."""
        for row in rows:
            for name in (self.monitor,) if self.monitor else ("validation_loss", "train_loss"):
                if name in row:
                    return direction(name, self.mode) * row[name]
        return math.inf

    def _read_value(self, file: Path) -> float:
        """Return the monitored value of a checkpoint."""
        try:
            settings = checkpoint.read_settings(file)
            is_between = settings["fit"]["batches"] > 0
            return self._choose_value(() if is_between else settings["history"][-1:])
        except (CheckpointError, KeyError, TypeError, AttributeError):
            return math.inf


def find_writer(callbacks: Iterable[Callback]) -> Checkpoint | None:
    """Return the callback that writes checkpoints, if there is one."""
    found = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if len(found) > 1:
        raise ValueError("callbacks: expected one Checkpoint at most, got several")
    return found[0] if found else None


def list_files(folder: str | Path) -> list[Path]:
    """List the checkpoints of a folder, the latest first."""
    paths = [path for path in Path(folder).glob("*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted(paths, key=_parse_name, reverse=True)


def _parse_name(path: Path) -> tuple[int, int]:
    """Return the number of finished epochs, and of steps of the next one."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def describe_arguments(
    fit: FitContext,
    source: Source,
    batch_size: int | None,
    shuffle: bool,
    validation: Any,
    optimizer: Optimizer | None,
) -> dict[str, Any]:
    """Return what must be the same in a call of `Model.fit` that resumes another, for JSON.

    ``validation`` is the share of the samples, or the source of other data.
    """
    if isinstance(validation, Source):
        validation = validation.fingerprint(fit.model.dtype)
    return {
        "data": source.fingerprint(fit.model.dtype),
        "n_batches": source.n_batches,
        "batch_size": batch_size,
        "shuffle": bool(shuffle),
        "validation": validation,
        "metrics": fit.model.metric_names,
        "optimizer": checkpoint.SETTINGS.to_json(optimizer),
    }


def _collect_progress(fit: FitContext) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a checkpoint holds in addition to the model: arrays, and values for JSON."""
    progress = fit.progress
    arrays: dict[str, Any] = {}
    if progress.sizes:
        values = (np.asarray(progress.sizes), np.asarray(progress.rates), progress.read())
        arrays |= dict(zip(_EPOCH_ARRAYS, values))
    states: list[dict[str, Any]] = []
    for callback in fit.callbacks:
        state = callback.get_state(fit)
        if not state:
            continue
        if not isinstance(state, dict):
            raise TypeError(f"{type(callback).__name__}.get_state: expected a dict, got {state!r}")
        prefix, plain = f"fit.callbacks.{len(states)}.", {}
        for name, value in state.items():
            if hasattr(value, "dtype") and hasattr(value, "shape"):
                arrays[prefix + name] = np.array(to_numpy(value))
            else:
                plain[name] = value
        states.append({"kind": type(callback).__name__, "state": plain})
    return arrays, {
        "epochs_before": fit.epoch - fit.epochs_done,
        "epochs_done": fit.epochs_done,
        "batches": len(progress.sizes),
        "seconds": progress.seconds,
        "stop_reason": fit.stop_reason,
        "arguments": fit.arguments,
        "callbacks": states,
    }


# Resuming ------------------------------------------------------------------------------------


def find_source(resume: bool | str | Path | None, own: Checkpoint | None) -> Path | None:
    """Return the file or folder to resume from, or None to begin.

    With True it is the folder of the run's ``own`` checkpoints, if there are any.
    """
    if resume is True:
        if own is None:
            raise ValueError(
                "resume=True needs a folder: pass callbacks=[Checkpoint(folder)], or resume=folder"
            )
        return Path(own.folder) if list_files(own.folder) else None
    if resume is None or resume is False:
        return None
    if not isinstance(resume, str | Path):
        raise TypeError(f"resume: expected True, or a path, got {resume!r}")
    if own is not None and Path(resume).resolve() == Path(own.folder).resolve():
        return Path(own.folder)  # as the callback writes it
    return Path(resume)


def read_latest(
    path: Path, report: Callable[[str], None]
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """Read a checkpoint, or the latest one of a folder that is whole, and report damaged ones.

    Returns
    -------
    path : Path
        The file.
    arrays, settings : dict
        See `checkpoint.read`.
    """
    files = [path] if path.is_file() else list_files(path)
    if not files:
        raise CheckpointError(
            f"there is no checkpoint {path}: expected a file or folder that nn.Checkpoint wrote"
        )
    errors = []
    for file in files:
        try:
            arrays, settings = checkpoint.read(file)
        except checkpoint.DamagedFileError as error:
            errors.append(str(error))
            continue
        if errors:
            report(f"{'. '.join(errors)}. The checkpoint before, {file.name}, is taken")
        return file, arrays, settings
    raise CheckpointError(". ".join(errors))


def resume_fit(
    fit: FitContext,
    path: Path,
    writer: Checkpoint | None = None,
    more_slots: Sequence[str] = (),
) -> None:
    """Set a model and the context of its fit to what a checkpoint holds.

    The context has the arguments of this call, which must be those of the checkpoint's. The state
    of the optimiser may have ``more_slots`` than its own.

    Raises
    ------
    CheckpointError
        There is no checkpoint that is whole, or it is of another network, or of other data or
        arguments: the message names the difference.
    """
    report = warnings.warn if writer is None else writer.report
    file, arrays, settings = read_latest(path, report)
    model, epochs_before = fit.model, 0 if fit.model._training is None else fit.epoch
    with checkpoint.name_file(file):
        if "fit" not in settings:
            raise CheckpointError(
                "it is a model, not a checkpoint: read it with Model.load, and fit that"
            )
        saved = _check_progress(settings["fit"], arrays, len(model.metric_names))
        if writer is not None and saved["epochs_before"] != epochs_before:
            _require_same_run(fit, settings, saved)
        least = saved["epochs_done"] + (saved["batches"] > 0)
        if fit.epochs < least:
            raise CheckpointError(
                f"it has begun epoch {least}: expected epochs (--epochs) of at least {least}, got "
                f"{fit.epochs}"
            )
        ours = checkpoint.describe(model)
        if fit.arguments["optimizer"] is None:  # left out
            fit.arguments["optimizer"] = saved["arguments"]["optimizer"]
        _require_same(
            {**{name: settings[name] for name in ours}, "arguments": saved["arguments"]},
            {**ours, "arguments": fit.arguments},
        )
        checkpoint.restore(model, arrays, settings, more_slots)
    fit.resumed_from = file
    fit.epochs_done = fit.resumed_epochs = saved["epochs_done"]
    rows_of_call = fit.history.rows[-fit.epochs_done :] if fit.epochs_done else []
    fit.first_loss = rows_of_call[0].get("train_loss") if rows_of_call else None
    if saved["batches"]:
        sizes, rates, table = (arrays[name] for name in _EPOCH_ARRAYS)
        fit.progress = EpochProgress(
            sizes.tolist(), rates.tolist(), table, len(sizes), float(saved["seconds"])
        )
    for index, callback in enumerate(saved["callbacks"]):
        prefix = f"fit.callbacks.{index}."
        parts = {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        fit.callback_states.append((callback["kind"], {**callback["state"], **parts}))


def _require_same_run(
    fit: FitContext, settings: Mapping[str, Any], saved: Mapping[str, Any]
) -> None:
    """Raise `CheckpointError` unless a model has taken the first epochs of a run that goes on."""
    ours, theirs = (
        [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        for rows in (fit.history.rows if fit.model._training else [], settings["history"])
    )
    is_same = len(ours) > saved["epochs_before"] and ours == theirs[: len(ours)]
    if not is_same or saved["epochs_done"] >= fit.epochs:
        raise CheckpointError(
            f"it is of a call of fit for a model that had been trained for "
            f"{saved['epochs_before']} epochs, and this one has been trained for {len(ours)}: "
            "expected a folder of checkpoints for each call of fit, and a new model to resume with"
        )


def _check_progress(
    saved: Mapping[str, Any], arrays: Mapping[str, Any], n_values: int
) -> Mapping[str, Any]:
    """Raise `CheckpointError` unless the progress is what `_collect_progress` writes."""
    for name in ("epochs_before", "epochs_done", "batches"):
        if type(saved[name]) is not int or saved[name] < 0:
            raise CheckpointError(f"fit.{name} is {saved[name]!r}: expected an integer")
    is_whole = (
        isinstance(saved["seconds"], int | float)
        and isinstance(saved["stop_reason"], str | None)
        and isinstance(saved["arguments"], dict)
        and all(
            isinstance(state["kind"], str) and isinstance(state["state"], dict)
            for state in saved["callbacks"]
        )
    )
    n = saved["batches"]
    shapes = dict(zip(_EPOCH_ARRAYS, ((n,), (n,), (n, n_values)))) if n else {}
    for name, shape in shapes.items():
        is_whole = is_whole and name in arrays and arrays[name].shape == shape
    if not is_whole:
        raise CheckpointError("the progress of its fit does not fit together: is it damaged?")
    return saved


def _require_same(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` that names the first difference of a checkpoint to this call."""
    found = _find_difference(saved, ours)
    if found is None:
        return
    name, theirs, here = found
    if name == "arguments.data":
        raise CheckpointError(
            "the data are not those of the checkpoint: expected the same rows in the same order, "
            "divided and weighted in the same way"
        )
    raise CheckpointError(
        f"{name.removeprefix('arguments.')} is {_show(theirs)} in the checkpoint, and "
        f"{_show(here)} here: pass the same as then"
    )


def _find_difference(saved: Any, ours: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return the place, and both values, where two values of JSON differ first."""
    if isinstance(saved, list | tuple) and isinstance(ours, list | tuple):
        if len(saved) != len(ours):
            count = "layer" if path.endswith("layers") else "value"
            return path, plural(len(saved), count), plural(len(ours), count)
        pairs = [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(saved, ours))]
    elif isinstance(saved, Mapping) and isinstance(ours, Mapping):
        names = [*dict.fromkeys([*saved, *ours])]
        pairs = [
            # As users know them: settings are arguments of their class.
            (path if name == "settings" else f"{path}.{name}", saved.get(name), ours.get(name))
            for name in names
        ]
    else:
        return None if saved == ours else (path.lstrip("."), saved, ours)
    differences = (_find_difference(a, b, where) for where, a, b in pairs)
    return next((found for found in differences if found is not None), None)


def _show(value: Any) -> str:
    return cut(value if isinstance(value, str) else repr(value))

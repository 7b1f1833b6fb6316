"""The folder of a run: the trained model, its history, the options and the results.

While a run is trained, its folder has the options and checkpoints, and a lock. It is finished when
it has the model, which is written last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from filelock import FileLock, Timeout

from anyback_nn.backends import Backend
from anyback_nn.cli import ranks
from anyback_nn.cli.printing import to_json
from anyback_nn.datasets import BUILT_IN, Encoding, encoding_from_json
from anyback_nn.datasets.frames import STANDARD_INPUT, is_table, table_label
from anyback_nn.errors import AnybackError, CheckpointError, DataError
from anyback_nn.model import Model
from anyback_nn.training.activity import ActivityLog
from anyback_nn.training.resume import LOCK, list_files
from anyback_nn.utils.files import (
    atomic_write,
    decompress,
    existing_folder,
    read_what_fits,
)
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import describe_error, prefix_errors

__all__ = [
    "RunFolder",
    "TrainingData",
    "check_file",
    "compute_fingerprints",
    "describe",
    "find_latest",
    "find_model",
    "load",
    "open_new",
    "read_encoding",
    "read_settings",
    "reopen",
]

MODEL, HISTORY, SETTINGS = "model.safetensors", "history.csv", "settings.json"
ACTIVITY, REPORT = "activity.csv", "report.html"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainingData:
    """The data that a run was trained and tested with.

    Parameters
    ----------
    fingerprint : str, optional
        The first one of `compute_fingerprints`; None if there is none, as of a folder.
    options : dict of str
        The arguments of `anyback_nn.datasets.load` that divide the rows again.
    train_rows : int
        The number of rows that training has seen, those for validation included.
    """

    fingerprint: str | None
    options: dict[str, Any]
    train_rows: int

    def __post_init__(self) -> None:
        known = (self.fingerprint, self.options, self.train_rows)
        is_typed = all(map(isinstance, known, (str | None, dict, int)))
        if not is_typed or "target" not in self.options:
            raise TypeError("not as it was written")

    @classmethod
    def read(cls, run: Path) -> TrainingData | None:
        """Read what was written with the model; None if it did not, or if a model file is alone."""
        try:
            return cls(**read_settings(run)["data"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


def compute_fingerprints(data: str) -> list[str]:
    """Return what tells data from others: the name of built-in ones, or SHA-256 of the contents.

    Those of a table are the decompressed ones, then the compressed ones, as runs of before had
    them. A folder has none. What was read from standard input can be read again.
    """
    if data in BUILT_IN:
        return [data]
    is_input = data == STANDARD_INPUT
    try:
        if not is_table(data):
            with open(data, "rb") as file:
                return [hashlib.file_digest(file, "sha256").hexdigest()]
        with prefix_errors(table_label(data)):
            if is_input:
                content = read_what_fits(sys.stdin.buffer, "it takes more than")
            else:
                require_memory(os.path.getsize(data), "it takes", "take a part of it")
                content = Path(data).read_bytes()
    except OSError:  # a folder
        return []
    if is_input:
        sys.stdin = io.TextIOWrapper(io.BytesIO(content))
    contents = [content]
    with suppress(DataError):  # damaged: who reads the table says so
        plain = decompress(content)
        if plain is not content:
            contents.insert(0, plain)
    return [hashlib.sha256(part).hexdigest() for part in contents]


@dataclass
class RunFolder:
    """The folder of a run in training, which no other process uses meanwhile; a context.

    If there is neither a model nor a checkpoint at the end, what it has written is removed.

    Parameters
    ----------
    path : Path
    name : str
        The name of the data, for another folder if this one fails.
    lock : FileLock
        The operating system releases it if the process dies.
    created : tuple of Path
        The folders that did not exist before.
    is_new : bool
        Whether the run begins here.
    """

    path: Path
    name: str
    lock: FileLock
    created: tuple[Path, ...] = ()
    is_new: bool = False

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.lock.is_locked:  # it has been left before
            return
        is_empty = not (self.path / MODEL).exists() and not list_files(self.checkpoints)
        if is_empty and self.is_new:
            _remove(self.path / SETTINGS)
        _remove(self.path / LOCK)
        self.lock.release()
        if is_empty:
            _remove_empty(self.checkpoints, *self.created)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the settings of a run that is not finished."""
        if ranks.joined.rank:
            return
        process = {"pid": os.getpid(), "host": platform.node()}
        _write_settings(self.path, {**settings, "process": process})

    def finish(
        self,
        model: Model,
        settings: Mapping[str, Any],
        activity: ActivityLog | None = None,
        *,
        keep_checkpoints: bool,
    ) -> tuple[Path, str | None]:
        """Write the result, elsewhere if it cannot be written to the folder.

        Returns
        -------
        path : Path
            Where it has been written to.
        reason : str, optional
            Why not to the folder.
        """
        reason = None
        for folder in chain((self.path,), self._iterate_fallbacks()):
            try:
                _write_result(folder, model, settings, activity)
            except (OSError, AnybackError) as error:
                reason = reason or describe_error(error)
                continue
            if folder == self.path and not keep_checkpoints:
                for file in list_files(self.checkpoints):
                    _remove(file)
                _remove_empty(self.checkpoints)
            return folder, reason
        raise AnybackError(f"the run could not be written anywhere: {reason}")

    def _iterate_fallbacks(self) -> Iterator[Path]:
        """Create folders in other places, one after the other."""
        places: list[Callable[[], Path]] = [
            lambda: Path.cwd() / "runs",
            Path.home,
            lambda: Path(tempfile.gettempdir()),
        ]
        for find_place in places:
            try:
                folder, created = _create_numbered(find_place(), self.name)
            except (OSError, RuntimeError):  # there may be no such place
                continue
            yield folder
            # The next one is asked for if this one failed.
            _remove(folder / SETTINGS)
            _remove_empty(*created)


def _write_result(
    folder: Path, model: Model, settings: Mapping[str, Any], activity: ActivityLog | None
) -> None:
    """Write history, activity, settings and model, or none of them."""
    if (folder / MODEL).exists():
        raise AnybackError(f"{folder} holds a model by now")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(folder / HISTORY) as temporary:
            model.history.to_csv(temporary)
        if activity is not None:
            with atomic_write(folder / ACTIVITY) as temporary:
                activity.to_csv(temporary)
        _write_settings(folder, settings)
        model.save(folder / MODEL)
    except BaseException:
        _remove(folder / HISTORY)
        _remove(folder / ACTIVITY)
        raise


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    """Remove folders that are empty: what is in others is not ours."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def open_new(path: Path | None, name: str) -> RunFolder:
    """Create the folder of a new run, and lock it.

    Without a ``path`` it is ``runs/<name>-<n>`` with the first n that is free.

    Raises
    ------
    AnybackError
        The folder is taken, or nothing can be written there.
    """
    if ranks.joined.rank:  # rank 0 creates it
        path = path or Path(os.devnull)
        return RunFolder(path, path.name, _lock(path))
    try:
        if path is None:
            path, created = _create_numbered(Path("runs"), name)
            return RunFolder(path, name, _lock(path), created, is_new=True)
        _require_free(path)
        created = _create(path)
        folder = RunFolder(path, name, _lock(path), created, is_new=True)
        try:
            _require_free(path)  # still, now that no other process can take it
        except BaseException:
            folder.__exit__()
            raise
        return folder
    except OSError as error:
        raise AnybackError(f"cannot write {path or 'runs'}: {error.strerror}") from error


def reopen(path: Path) -> tuple[RunFolder, dict[str, Any]]:
    """Lock the folder of a run that is resumed, and read its settings.

    Raises
    ------
    AnybackError
        There is no such run, it is finished, another process trains in it, or nothing can be
        written there.
    """
    if not path.is_dir():
        raise AnybackError(
            f"there is no folder {path}: expected the folder of a run that anyback-nn train has "
            "begun, such as runs/digits-1"
        )
    try:
        folder = RunFolder(path, path.name, _lock(path))
    except OSError as error:
        raise AnybackError(f"cannot write {path}: {error.strerror}") from error
    try:
        return folder, _read_begun(path)
    except BaseException:
        folder.__exit__()
        raise


def _read_begun(path: Path) -> dict[str, Any]:
    """Return the settings of a run that is not finished."""
    if (path / MODEL).is_file():
        raise AnybackError(
            f"{path} is finished, so there is nothing to resume: train a new run, or resume its "
            "model in Python (Model.load, then fit)"
        )
    try:
        settings: dict[str, Any] = read_settings(path)
        if isinstance(settings["asked"], dict) and isinstance(settings["data"], dict):
            return settings
        reason = "it lacks options or data"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
    if not list_files(path / CHECKPOINTS) and not (path / SETTINGS).exists():
        raise CheckpointError(
            f"{path} is not the folder of a run: expected one that anyback-nn train has begun, "
            f"with {SETTINGS} and {CHECKPOINTS}"
        )
    raise CheckpointError(
        f"{path / SETTINGS} cannot be read ({reason}), so the options of the run are unknown. "
        f"Resume from {path / CHECKPOINTS} in Python (fit with resume=), or train a new run"
    )


def _require_free(path: Path) -> None:
    """Raise `AnybackError` unless a new run can have this folder."""
    if (path / MODEL).exists():
        raise AnybackError(f"{path} holds a model already: choose another folder for --output")
    if list_files(path / CHECKPOINTS):
        raise AnybackError(
            f"{path} holds a run that is not finished: resume it with --resume {path}, or choose "
            "another folder for --output"
        )
    # What a process that died before its first checkpoint has left counts as nothing.
    if os.path.lexists(path) and not (path.is_dir() and {*path.iterdir()} <= _list_remains(path)):
        raise AnybackError(
            f"{path} exists and is not an empty folder: choose another folder for --output"
        )


def _list_remains(path: Path) -> set[Path]:
    """Return what can be in the folder of a run that has no checkpoint yet."""
    remains = {path / LOCK}
    with suppress(OSError, ValueError, TypeError, RecursionError):
        if {"asked", "data", "process"} <= {*read_settings(path)}:
            remains.add(path / SETTINGS)
    folder = path / CHECKPOINTS
    if folder.is_dir() and all(file.name.startswith(".") for file in folder.iterdir()):
        remains.add(folder)
    return remains


def _create_numbered(place: Path, name: str) -> tuple[Path, tuple[Path, ...]]:
    """Create the first folder that is free in a place; see `_create`."""
    created = () if place.exists() else _create(place)
    for number in count(1):
        with suppress(FileExistsError):
            folder = place / f"{name}-{number}"
            folder.mkdir()
            return folder, (folder, *created)
    raise AssertionError


def _create(path: Path) -> tuple[Path, ...]:
    """Create a folder, and those above it; return those that did not exist, the inner one first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return tuple(missing)


def _lock(path: Path) -> FileLock:
    """Lock a folder until the process ends; of several ranks, rank 0 does so."""
    lock = FileLock(path / LOCK)
    if ranks.joined.rank:
        return lock
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = ""
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = read_settings(path)["process"]
            process = f" ({int(known['pid'])} on {known['host']})"
        raise AnybackError(
            f"another process{process} trains in {path}: wait for its end, or choose another folder"
        ) from None
    return lock


def _write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    with atomic_write(path / SETTINGS) as temporary:
        temporary.write_text(to_json(settings, indent=2) + "\n", encoding="utf-8")


def describe(run: Path) -> dict[str, Any]:
    """Describe what was noted beside the model; nothing for a model file alone."""
    if not run.is_dir() and run.name != MODEL:
        return {}
    try:
        noted = read_settings(run)
        asked = {
            name: value for name, value in noted["asked"].items() if value not in (None, False)
        }
        scores = (
            f"{name.removeprefix('test_')} {value:.4g}"
            for name, value in noted.get("result", {}).items()
            if name.startswith("test_") and isinstance(value, float)
        )
        return {
            "asked": ", ".join(f"{name}={value}" for name, value in asked.items()),
            "fingerprint": noted["data"]["fingerprint"],
            "test part": ", ".join(scores) or "not measured: the run is not finished",
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def find_model(run: Path) -> Path:
    """Return the model file of a run's folder, or the path of a model file itself.

    Raises
    ------
    CheckpointError
        The folder has none.
    """
    if not run.is_dir() or (run / MODEL).exists():
        return run / MODEL if run.is_dir() else run
    files = list_files(run / CHECKPOINTS)
    if files or run / SETTINGS in _list_remains(run):
        alternative = f", or pass its latest checkpoint, {files[0]}" if files else ""
        raise CheckpointError(
            f"the run {run} is not finished: resume it with anyback-nn train --resume {run}"
            f"{alternative}"
        )
    raise CheckpointError(
        f"the folder {run} holds no {MODEL}: expected a folder that anyback-nn train wrote, "
        "or the path of a model file"
    )


def find_latest(run: Path) -> Path:
    """Return the model file of a run, or the latest checkpoint if it is not finished."""
    if run.is_dir() and not (run / MODEL).exists():
        for file in (*list_files(run / CHECKPOINTS), *list_files(run)):
            return file
    return find_model(run)


def load(run: Path, backend: Backend) -> tuple[Model, Encoding]:
    """Read a model and the encoding of its data from a run's folder or a model file.

    Raises
    ------
    CheckpointError
        There is none, it cannot be read, or it does not know how its data were encoded.
    """
    path = find_model(run)
    model = Model.load(path, backend)
    return model, read_encoding(path, model)


def read_encoding(path: Path, model: Model) -> Encoding:
    """Return the encoding of the data of a model, which was read from ``path``.

    Raises
    ------
    CheckpointError
        It has none, or one that does not fit it.
    """
    if model.encoding is None:
        raise CheckpointError(
            f"{path} does not say how its data were encoded, because it was saved from Python. "
            "Set model.encoding = dataset.encoding.to_json() before model.save, or use "
            "model.evaluate, model.predict and model.explain in Python"
        )
    try:
        encoding = encoding_from_json(model.encoding)
    except AnybackError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not encoding.fits(model.n_in, model.n_out, classifies=model.loss.classifies):
        raise CheckpointError(
            f"{path}: the network ({model.n_in} features, {model.n_out} outputs, "
            f"{type(model.loss).__name__}) does not fit its encoding ({encoding.n_features} "
            f"features, {encoding.n_outputs} outputs, {encoding.task}). Save it with the encoding "
            "of its own data"
        )
    return encoding


def check_file(path: Path, *, force: bool) -> None:
    """Raise `AnybackError` unless a file may be written to ``path``."""
    if path.exists() and not path.is_file():
        raise AnybackError(f"cannot write {path}: it exists and is not a regular file")
    if path.exists() and not force:
        raise AnybackError(f"{path} exists: choose another file, or replace it with --force")
    _check_writable(path)


def read_settings(run: Path) -> Any:
    """Return what is next to a model, given its folder or its file; it may be anything."""
    folder = run if run.is_dir() else run.parent
    return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))


def _check_writable(path: Path) -> None:
    """Raise `AnybackError` if nothing can be written next to ``path``, which is found by trying."""
    try:
        with TemporaryDirectory(dir=existing_folder(path), prefix="."):
            pass
    except OSError as error:
        raise AnybackError(f"cannot write {path}: {error.strerror}") from error

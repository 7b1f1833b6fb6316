"""The folder of a run: the trained model, its history, the options and the results."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyback_nn.backends import Backend
from anyback_nn.cli.printing import to_json
from anyback_nn.datasets import BUILT_IN, Encoding, encoding_from_json
from anyback_nn.datasets.frames import STANDARD_INPUT, is_table, table_label
from anyback_nn.errors import AnybackError, CheckpointError, DataError
from anyback_nn.model import Model
from anyback_nn.utils.files import (
    atomic_write,
    decompress,
    existing_folder,
    read_what_fits,
)
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import prefix_errors

__all__ = [
    "TrainingData",
    "check_file",
    "compute_fingerprints",
    "describe",
    "find_free",
    "load",
    "write",
]

MODEL, HISTORY, SETTINGS = "model.safetensors", "history.csv", "settings.json"


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
        """Read what `write` has written; None if it did not, or if a model file is alone."""
        try:
            return cls(**_read_settings(run)["data"])
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


def find_free(path: Path | None, name: str) -> Path:
    """Choose the folder of a new run, which is not created yet.

    Without a ``path`` it is ``runs/<name>-<n>`` with the first n that is free.

    Raises
    ------
    AnybackError
        The folder is taken, or nothing can be written there.
    """
    if path is None:
        numbered = (Path("runs", f"{name}-{n}") for n in count(1))
        path = next(folder for folder in numbered if not os.path.lexists(folder))
    elif (path / MODEL).exists():
        raise AnybackError(f"{path} holds a model already: choose another folder for --output")
    elif os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise AnybackError(
            f"{path} exists and is not an empty folder: choose another folder for --output"
        )
    _check_writable(path)
    return path


def write(model: Model, settings: Mapping[str, Any], path: Path | None, name: str) -> Path:
    """Write a run, whole or not at all, to the folder that `find_free` chooses."""
    while True:
        folder = find_free(path, name)
        try:
            with atomic_write(folder) as temporary:
                temporary.mkdir()
                model.save(temporary / MODEL)
                model.history.to_csv(temporary / HISTORY)
                (temporary / SETTINGS).write_text(to_json(settings, indent=2) + "\n")
            return folder
        except OSError as error:
            # Another run may have taken the number meanwhile: then this one takes the next.
            if path is not None or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def describe(run: Path) -> dict[str, Any]:
    """Describe what `write` noted beside the model; nothing for a model file alone."""
    if not run.is_dir() and run.name != MODEL:
        return {}
    try:
        noted = _read_settings(run)
        asked = {
            name: value for name, value in noted["asked"].items() if value not in (None, False)
        }
        scores = {name: x for name, x in noted["result"].items() if name.startswith("test_")}
        return {
            "written by": f"anyback_nn {noted['anyback_nn']}",
            "asked": ", ".join(f"{name}={value}" for name, value in asked.items()),
            "fingerprint": noted["data"]["fingerprint"],
            "test part": ", ".join(
                f"{name.removeprefix('test_')} {value:.4g}"
                for name, value in scores.items()
                if isinstance(value, float)
            ),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def load(run: Path, backend: Backend) -> tuple[Model, Encoding]:
    """Read a model and the encoding of its data from a run's folder or a model file.

    Raises
    ------
    CheckpointError
        There is none, it cannot be read, or it does not know how its data were encoded.
    """
    path = run / MODEL if run.is_dir() else run
    if run.is_dir() and not path.exists():
        raise CheckpointError(
            f"the folder {run} holds no {MODEL}: expected a folder that anyback-nn train wrote, "
            "or the path of a model file"
        )
    model = Model.load(path, backend)
    if model.encoding is None:
        raise CheckpointError(
            f"{path} does not say how its data were encoded, because it was saved from Python. "
            "Set model.encoding = dataset.encoding.to_json() before model.save, or use "
            "model.evaluate and model.predict in Python"
        )
    try:
        encoding = encoding_from_json(model.encoding)
    except AnybackError as error:
        raise CheckpointError(f"{path}: {error}") from error
    sizes, expected = (model.n_in, model.n_out), (encoding.n_features, encoding.n_outputs)
    classifies = encoding.classes is not None
    if sizes != expected or model.loss.classifies != classifies:
        raise CheckpointError(
            f"{path}: the network ({sizes[0]} features, {sizes[1]} outputs, "
            f"{type(model.loss).__name__}) does not fit its encoding ({expected[0]} features, "
            f"{expected[1]} outputs, {encoding.task}). Save it with the encoding of its own data"
        )
    return model, encoding


def check_file(path: Path, *, force: bool) -> None:
    """Raise `AnybackError` unless a file may be written to ``path``."""
    if path.exists() and not path.is_file():
        raise AnybackError(f"cannot write {path}: it exists and is not a regular file")
    if path.exists() and not force:
        raise AnybackError(f"{path} exists: choose another file, or replace it with --force")
    _check_writable(path)


def _read_settings(run: Path) -> Any:
    """Return what lies beside a model, given its folder or its file; it may be anything."""
    folder = run if run.is_dir() else run.parent
    return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))


def _check_writable(path: Path) -> None:
    """Raise `AnybackError` if nothing can be written next to ``path``, which is found by trying."""
    try:
        with TemporaryDirectory(dir=existing_folder(path), prefix="."):
            pass
    except OSError as error:
        raise AnybackError(f"cannot write {path}: {error.strerror}") from error

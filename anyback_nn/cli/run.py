"""The folder of a run: the trained model, its history, and what was asked and came out."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyback_nn.cli.files import check_writable
from anyback_nn.cli.report import to_json
from anyback_nn.errors import AnybackError, CheckpointError
from anyback_nn.utils.files import atomic_write

if TYPE_CHECKING:
    from anyback_nn.backends import Backend
    from anyback_nn.datasets import Encoding
    from anyback_nn.model import Model

__all__ = ["free_folder", "load", "write"]

MODEL, HISTORY, SETTINGS = "model.safetensors", "history.csv", "settings.json"


def free_folder(asked: Path | None, name: str) -> Path:
    """Choose the folder of a new run; it is not made yet.

    Parameters
    ----------
    asked : Path, optional
        Default: ``runs/<name>-<n>`` with the first n that is free.
    name : str

    Raises
    ------
    AnybackError
        It is taken, or nothing can be written there.
    """
    if asked is None:
        numbered = (Path("runs", f"{name}-{n}") for n in count(1))
        asked = next(path for path in numbered if not os.path.lexists(path))
    elif (asked / MODEL).exists():
        raise AnybackError(f"{asked} holds a model already: choose another folder for --output")
    elif os.path.lexists(asked) and not (asked.is_dir() and not any(asked.iterdir())):
        raise AnybackError(
            f"{asked} exists and is not an empty folder: choose another folder for --output"
        )
    check_writable(asked)
    return asked


def write(model: Model, settings: Mapping[str, Any], asked: Path | None, name: str) -> Path:
    """Write a run, whole or not at all, to the folder that `free_folder` chooses."""
    while True:
        folder = free_folder(asked, name)
        try:
            with atomic_write(folder) as temporary:
                temporary.mkdir()
                model.save(temporary / MODEL)
                model.history.to_csv(temporary / HISTORY)
                (temporary / SETTINGS).write_text(to_json(settings, indent=2) + "\n")
            return folder
        except OSError as error:
            # Another run may have taken the number meanwhile: then this one takes the next.
            if asked is not None or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def load(run: Path, backend: Backend) -> tuple[Model, Encoding]:
    """Read a model and the encoding of its data from a run's folder or a model file.

    Raises
    ------
    CheckpointError
        There is none, it cannot be read, or it does not know how its data were encoded.
    """
    from anyback_nn.datasets import encoding_from_json
    from anyback_nn.model import Model

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

"""Model files: one safetensors file with every array, and everything else as JSON beside them.

Layers, losses, optimisers, schedules and initialisers are dataclasses, so their settings are their
description: ``{"kind": "Dense", "settings": {"n_out": 10, ...}}``. Reading looks the kind up among
the classes that the running program has defined and calls it with these settings; nothing in a file
is ever imported or executed, so a class of your own must be defined before its model is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from anyback_nn.errors import CheckpointError
from anyback_nn.network.initializers import Initializer
from anyback_nn.network.layer import Layer
from anyback_nn.network.losses import Loss
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.utils.files import atomic_write
from anyback_nn.utils.serialization import Serializer

__all__ = ["FORMAT_VERSION", "SETTINGS", "read", "write"]

FORMAT = "anyback_nn"
FORMAT_VERSION = 2
"""Format 1 held the encoding of data in a flatter form, which is read as well."""

_DESCRIBED = (Layer, Loss, Optimizer, Schedule, Initializer)


def find(kind: str) -> type | None:
    """Find a class by name: the library's own first, then the one that was defined last."""
    found = [one for base in _DESCRIBED for one in _subclasses(base) if one.__name__ == kind]
    own = [one for one in found if one.__module__.startswith("anyback_nn.")]
    return own[0] if own else (found[-1] if found else None)


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for one in base.__subclasses__():
        yield one
        yield from _subclasses(one)


SETTINGS = Serializer(find, CheckpointError)
"""Layers, losses, optimisers, schedules and initialisers as JSON, and back.

Examples
--------
>>> from anyback_nn.network.layers import Dropout
>>> SETTINGS.to_json(Dropout(0.5))
{'kind': 'Dropout', 'settings': {'probability': 0.5}}
>>> SETTINGS.from_json(SETTINGS.to_json(Dropout(0.5)), Layer)
Dropout(probability=0.5)
"""


def write(path: str | Path, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a model file: whole, or not at all.

    Parameters
    ----------
    path : str or Path
    arrays : mapping of str to numpy.ndarray
    settings : mapping
        What JSON can hold.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise CheckpointError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        text = json.dumps({"version": FORMAT_VERSION, **settings})
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"cannot write {path}: the history or the encoding holds what JSON cannot ({error})"
        ) from error
    # safetensors writes arrays that are not contiguous as if they were.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # One entry of metadata only: safetensors writes several in no fixed order, and equal models
    # should give equal files.
    content = save(contiguous, {FORMAT: text})
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a model file.

    Returns
    -------
    arrays : dict of str to numpy.ndarray
    settings : dict

    Raises
    ------
    CheckpointError
        There is no such file, or it is truncated, foreign or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        inside = path / "model.safetensors"
        hint = f". It is a folder: do you mean {inside}?" if inside.is_file() else ""
        raise CheckpointError(f"there is no model file {path}{hint}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a model file, or it is damaged or cut short ({error})"
        ) from error
    if FORMAT not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but was not written by anyback_nn")
    try:
        settings = json.loads(metadata[FORMAT])
        version = settings.pop("version")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} holds no readable settings ({error!r})") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r}; this anyback_nn reads up to {FORMAT_VERSION}. "
            "Update it with: pip install --upgrade anyback-nn"
        )
    return arrays, settings

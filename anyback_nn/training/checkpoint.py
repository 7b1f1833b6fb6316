"""Model files: one safetensors file with all arrays, and the settings as JSON in its metadata.

Layers, losses, optimisers, schedules and initialisers are dataclasses, described by their settings:
``{"kind": "Dense", "settings": {"n_out": 10, ...}}``. The reader looks up the kind among the
classes of the running program and calls it with these settings. Nothing in a file is ever imported
or executed, so a custom class must be defined before its model is loaded. A checksum over arrays
and settings finds what was damaged on the way; it does not prove who wrote the file.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import anyback_nn
from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.errors import CheckpointError
from anyback_nn.network.initializers import Initializer
from anyback_nn.network.layer import Layer
from anyback_nn.network.layout import Packed
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.random import ShapeOnly, ZerosOnly, generator
from anyback_nn.training.history import History
from anyback_nn.training.mixed_precision import LOSS_SCALE, LossScaling
from anyback_nn.tree import tree_map, tree_named_leaves
from anyback_nn.utils.files import atomic_write
from anyback_nn.utils.serialization import Serializer

__all__ = [
    "FORMAT_VERSION",
    "SETTINGS",
    "DamagedFileError",
    "collect_contents",
    "collect_parameters",
    "describe",
    "name_file",
    "read",
    "read_network",
    "read_packed",
    "read_parameters",
    "read_settings",
    "restore",
    "write",
]

FORMAT = "anyback_nn"
FORMAT_VERSION = 2
"""The version that is written. Format 1, with a flatter encoding of data and without a checksum,
can be read too."""

_REFUSED = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError),
    *(SafetensorError, OSError, MemoryError),
)
"""What the contents of a file that nobody has written like that may raise."""


class DamagedFileError(CheckpointError):
    """The contents are not those that were written, so that an older file may be better."""


_DESCRIBED = (Layer, Loss, Optimizer, Schedule, Initializer)


def find(kind: str, module: str | None = None) -> type | None:
    """Find a class by name: the library's own if there is one, else that of the module.

    If there is only one of that name, it may have moved to another module. Of several, those of a
    file that names no module, or of a script or notebook, are the one that was defined last.
    """
    subclasses = (cls for base in _DESCRIBED for cls in _iterate_subclasses(base))
    classes = [cls for cls in subclasses if cls.__name__ == kind]
    own = [cls for cls in classes if cls.__module__.startswith("anyback_nn.")]
    if own or not classes:
        return own[0] if own else None
    if same := [cls for cls in classes if cls.__module__ == module]:
        return same[-1]
    is_one = len({cls.__module__ for cls in classes}) == 1
    return classes[-1] if is_one or module in (None, "__main__") else None


def _iterate_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _iterate_subclasses(cls)


SETTINGS = Serializer(find, CheckpointError, roles=_DESCRIBED, strict=False, by_module=True)
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
    """Write NumPy arrays and settings for JSON as a model file, completely or not at all.

    Raises
    ------
    CheckpointError
        The file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise CheckpointError(f"cannot write {path}: there is no folder {path.parent}")
    # safetensors ignores the strides of arrays that are not contiguous.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        # As they will be read: JSON has no keys but strings.
        settings = json.loads(json.dumps(settings))
        checksum = compute_checksum(contiguous, settings)
        text = json.dumps({"version": FORMAT_VERSION, "checksum": checksum, **settings})
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"cannot write {path}: the encoding, or the state of a callback, is not valid JSON "
            f"({error})"
        ) from error
    # Only one item of metadata: safetensors writes several in random order, and equal models should
    # have equal files.
    content = save(contiguous, {FORMAT: text})
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error


def compute_checksum(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings and arrays: of their names, dtypes, shapes and bytes.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Contiguous arrays; their order does not count.
    settings : mapping
        What JSON supports.
    """
    checksum = hashlib.sha256(json.dumps(settings).encode())
    for name in sorted(arrays):
        array = arrays[name]
        checksum.update(f"\n{name} {array.dtype.str} {list(array.shape)}\n".encode())
        checksum.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return checksum.hexdigest()


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arrays and the settings of a model file.

    Raises
    ------
    CheckpointError
        The file does not exist, is damaged, of another program or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        inside = path / "model.safetensors"
        hint = f". It is a folder: do you mean {inside}?" if inside.is_file() else ""
        raise CheckpointError(f"there is no model file {path}{hint}")
    try:
        with safe_open(path, framework="numpy") as file:
            # Whether it is ours at all is known before any array is read.
            settings, checksum = _parse_settings(path, file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        is_whole = checksum in (None, compute_checksum(arrays, settings))
    except CheckpointError:
        raise
    except (OSError, MemoryError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    except _REFUSED as error:
        raise DamagedFileError(
            f"{path} is not a model file, or it is damaged or truncated ({error})"
        ) from error
    if not is_whole:
        raise DamagedFileError(
            f"{path} is damaged: its checksum is that of other contents. Copy the file again, or "
            "load an older one"
        )
    return arrays, settings


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings of a model file alone, without its arrays and their checksum."""
    with name_file(path), safe_open(path, framework="numpy") as file:
        return _parse_settings(Path(path), file.metadata() or {})[0]


def _parse_settings(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """Return the settings, and the checksum, which files of format 1 do not have."""
    if FORMAT not in metadata:
        raise DamagedFileError(f"{path} is a safetensors file, but was not written by anyback_nn")
    try:
        settings = json.loads(metadata[FORMAT])
        version = settings.pop("version")
    except _REFUSED as error:
        raise DamagedFileError(f"{path} has no readable settings ({error!r})") from error
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r}; this anyback_nn reads up to {FORMAT_VERSION}. "
            "Update it with: pip install --upgrade anyback-nn"
        )
    checksum = settings.pop("checksum", None)
    if checksum is None and version > 1:
        raise DamagedFileError(f"{path} has no checksum: is it damaged?")
    return settings, checksum


@contextmanager
def name_file(path: str | Path) -> Iterator[None]:
    """Let an error in the contents of a model file name the file.

    Raises
    ------
    CheckpointError
        The contents were refused, or do not fit together.
    """
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except _REFUSED as error:
        raise CheckpointError(
            f"{path}: the contents do not fit together ({type(error).__name__}: {error})"
        ) from error


def collect_contents(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all arrays of a model as NumPy arrays, and its settings as values for JSON."""
    training = model.training
    _check_history(training.history.rows)
    with model.lock, model.backend.scope(model.dtype):
        optimizer_state = dict(training.optimizer_state)
        trees = {"parameters": model.layout.unpack(training.params), "state": training.state}
        trees[LOSS_SCALE] = optimizer_state.pop(LOSS_SCALE, ())
        for slot, packed in optimizer_state.items():
            trees[f"optimizer.{slot}"] = model.layout.unpack(packed)
        # Copies: what is read later must not change with the next step.
        arrays = {
            f"{part}.{name}": np.array(to_numpy(array))
            for part, tree in trees.items()
            for name, array in tree_named_leaves(tree).items()
        }
    settings = {
        **describe(model),
        "optimizer": SETTINGS.to_json(training.optimizer),
        "step": training.step,
        "epoch": training.epoch,
        "first_epoch": training.first_epoch,
        "history": training.history.rows,
        "encoding": model.encoding,
        "written_by": {"anyback_nn": anyback_nn.__version__, "numpy": np.__version__},
    }
    if model.feature_names is not None:
        settings["feature_names"] = list(model.feature_names)
    return arrays, settings


def describe(model: Any) -> dict[str, Any]:
    """Return what a model was made with, as values for JSON."""
    return {
        "network": SETTINGS.to_json(model.network),
        "loss": SETTINGS.to_json(model.loss),
        "n_in": model.n_in,
        "dtype": model.dtype,
        "compute_dtype": model.compute_dtype,
        "seed": model.seed,
    }


def collect_parameters(model: Any, params: Packed, state: Any) -> dict[str, Any]:
    """Return parameters and the state of the layers as arrays by name; see `read_parameters`."""
    return tree_named_leaves({"parameters": model.layout.unpack(params), "state": state})


def read_network(settings: Mapping[str, Any]) -> tuple[Network, Loss]:
    """Return the network and the loss of a model file."""
    return (
        SETTINGS.from_json(settings["network"], Network, "network"),
        SETTINGS.from_json(settings["loss"], Loss, "loss"),
    )


def restore(
    model: Any,
    arrays: Mapping[str, Any],
    settings: Mapping[str, Any],
    more_slots: Sequence[str] = (),
) -> None:
    """Fill a new model with arrays and settings as `collect_contents` returns them.

    ``more_slots`` are those of the optimiser's state that are not its own.
    """
    backend = model.backend
    _check_counts(settings)
    _compare_shapes(model, arrays, settings["n_in"])
    model.init(settings["n_in"], ZerosOnly(generator(model.seed, "weights"), backend, model.dtype))
    model.encoding = copy.deepcopy(settings["encoding"])
    if (names := settings.get("feature_names")) is not None:
        if len(names) != model.n_in or not all(isinstance(name, str) for name in names):
            raise CheckpointError(f"feature_names is {names!r}: expected {model.n_in} strings")
        model.feature_names = tuple(names)
    training = model.training
    training.params, training.state = read_parameters(model, arrays)
    optimizer = SETTINGS.from_json(settings["optimizer"], Optimizer | None, "optimizer")
    if optimizer is not None:
        with backend.scope(model.dtype):
            training.optimizer = optimizer
            training.optimizer_state = {
                slot: read_packed(model, f"optimizer.{slot}", arrays)
                for slot in (*optimizer.slots, *more_slots)
            }
            if model.compute_dtype == "float16" and f"{LOSS_SCALE}.0" in arrays:
                scale = LossScaling().init(backend, model.dtype)
                training.optimizer_state[LOSS_SCALE] = _fill(
                    LOSS_SCALE, scale, arrays, backend, model.dtype
                )
    training.step = settings["step"]
    training.epoch = settings["epoch"]
    training.first_epoch = settings["first_epoch"]
    training.history = History(settings["history"]).copy()


def read_parameters(model: Any, arrays: Mapping[str, Any]) -> tuple[Packed, Any]:
    """Read packed parameters and the state of the layers; the model has those of its network.

    ``arrays`` have the names of `collect_contents`.
    """
    with model.backend.scope(model.dtype):
        params = read_packed(model, "parameters", arrays, is_finite=True)
        state = _fill("state", model.training.state, arrays, model.backend, None)
    names = iter(tree_named_leaves(model.training.state))
    values = tree_map(lambda leaf: arrays[f"state.{next(names)}"], model.training.state)
    for name, is_valid in tree_named_leaves(model.network.check_state(values)).items():
        if not is_valid:
            raise CheckpointError(
                f"the array 'state.{name}' contains NaN or infinite values, or negative ones "
                "where there can be none: is the file damaged?"
            )
    return params, state


def read_packed(
    model: Any, part: str, arrays: Mapping[str, Any], *, is_finite: bool = False
) -> Packed:
    """Read arrays that have the shapes of the parameters, and pack them."""
    tree = _fill(part, model.layout.tree, arrays, model.backend, model.dtype, is_finite=is_finite)
    packed: Packed = model.layout.pack(tree)
    return packed


def _fill(
    part: str,
    tree: Any,
    arrays: Mapping[str, Any],
    backend: Backend,
    dtype: str | None,
    *,
    is_finite: bool = False,
) -> Any:
    """Replace the leaves of a tree by the file's arrays, after a check of their shapes."""
    names = iter(tree_named_leaves(tree))

    def read_leaf(leaf: Any) -> Array:
        name = f"{part}.{next(names)}"
        _require_shape(name, arrays, leaf.shape)
        if is_finite and not np.all(np.isfinite(arrays[name])):
            raise CheckpointError(
                f"the array {name!r} contains NaN or infinite values: is the file damaged?"
            )
        # A copy: the optimiser writes into it, and some libraries return read-only arrays.
        return backend.asarray(np.array(arrays[name]), dtype)

    return tree_map(read_leaf, tree)


def _check_counts(settings: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless the counts and the history are what training needs."""
    for name, least in {"n_in": 1, "step": 0, "epoch": 0, "first_epoch": 0}.items():
        if type(settings[name]) is not int or settings[name] < least:
            raise CheckpointError(
                f"{name} is {settings[name]!r}: expected an integer of at least {least}"
            )
    _check_history(settings["history"])


def _check_history(rows: Any) -> None:
    """Raise `CheckpointError` unless a history is one of numbers."""
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(isinstance(x, int | float) for x in row.values())
        for row in rows
    ):
        raise CheckpointError("the history is no list of rows of numbers")


def _compare_shapes(model: Any, arrays: Mapping[str, Any], n_in: int) -> None:
    """Raise `CheckpointError` if arrays have other shapes than the network, before it takes memory.

    The arrays themselves are no larger than the file, but the network of its settings may be.
    """
    expected: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # a custom layer may compute with its parameters
        params = model.network.init(n_in, ShapeOnly(None, model.backend, model.dtype))
        expected = tree_named_leaves(params)
    for name, leaf in expected.items():
        _require_shape(f"parameters.{name}", arrays, leaf.shape)


def _require_shape(name: str, arrays: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    if name not in arrays:
        raise CheckpointError(f"the array {name!r} is missing")
    if tuple(arrays[name].shape) != tuple(shape):
        raise CheckpointError(
            f"the array {name!r} has shape {arrays[name].shape}, expected {tuple(shape)}"
        )

"""Estimators as files: a model file, with the estimator's parameters and attributes beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.backend import Backend, select
from anyback_nn.errors import BackendUnavailableError, CheckpointError
from anyback_nn.model import Model
from anyback_nn.training import checkpoint

__all__ = ["read", "write"]

_ATTRIBUTES = (
    "n_features_in_",
    "n_iter_",
    "t_",
    "loss_",
    "best_loss_",
    "best_validation_score_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "converged_",
    "_no_improvement_count",
    "_multilabel",
    "_sparse_labels",
)
"""What is a number, a truth value or text."""

_ARRAYS = ("classes_", "feature_names_in_")
"""What is a NumPy array of numbers or text."""


def write(estimator: Any, path: str | Path) -> None:
    """Write a fitted estimator; see `BaseMLP.save`."""
    params = {}
    for name, value in estimator.get_params(deep=False).items():
        try:
            params[name] = checkpoint.describe(_plain(value))
        except CheckpointError:
            if name in ("layers", "loss", "optimizer", "schedule", "activation"):
                raise
    if isinstance(estimator.backend, Backend):
        params["backend"] = estimator.backend.spec
    for left_out in ("validation_data", "callbacks"):
        params.pop(left_out, None)
    attributes = {
        name: _plain(getattr(estimator, name)) for name in _ATTRIBUTES if hasattr(estimator, name)
    }
    for name in _ARRAYS:
        if hasattr(estimator, name):
            attributes[name] = _described(getattr(estimator, name))
    arrays, settings = estimator.model_._contents()
    settings["estimator"] = {
        "kind": type(estimator).__name__,
        "params": params,
        "attributes": attributes,
    }
    checkpoint.write(path, arrays, settings)


def read(cls: type[Any], path: str | Path, backend: str | Backend | None) -> Any:
    """Read an estimator; see `BaseMLP.load`."""
    _, settings = checkpoint.read(path)
    described = settings.get("estimator")
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{path} holds a model and no estimator: read it with anyback_nn.Model.load"
        )
    if described["kind"] != cls.__name__:
        raise CheckpointError(
            f"{path} holds a {described['kind']}: read it with {described['kind']}.load"
        )
    params = {name: checkpoint.rebuild(one) for name, one in described["params"].items()}
    wanted = params.get("backend", "auto") if backend is None else backend
    try:
        selected = select(None if wanted == "auto" else wanted)
    except (BackendUnavailableError, ValueError):
        if backend is not None:
            raise
        selected = select("numpy")
    if backend is not None:
        params["backend"] = backend
    estimator = cls(**params)
    estimator.model_ = Model.load(path, backend=selected, metrics=())
    for name, value in described["attributes"].items():
        filled = np.asarray(value["values"], dtype=value["dtype"]) if name in _ARRAYS else value
        setattr(estimator, name, filled)
    estimator._best = estimator._raw = None
    estimator._fitted_on = "numpy"
    return estimator


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers, and arrays of them, into Python's."""
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _described(array: Any) -> dict[str, Any]:
    """Describe an array of numbers or text."""
    values = array.tolist()
    if array.dtype.kind == "O" and not all(isinstance(one, str) for one in values):
        raise CheckpointError(
            "cannot save classes that are neither numbers nor text; pickle the estimator with "
            "joblib instead"
        )
    return {"dtype": array.dtype.str, "values": values}

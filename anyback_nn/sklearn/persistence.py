"""Estimators as files: a model file with the estimator's parameters and attributes added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.backends import Backend, select
from anyback_nn.errors import BackendUnavailableError, CheckpointError
from anyback_nn.model import build_from
from anyback_nn.sklearn.inputs import dtype_name
from anyback_nn.training import checkpoint
from anyback_nn.training.checkpoint import SETTINGS
from anyback_nn.utils.arguments import to_python_scalars
from anyback_nn.utils.messages import plural, quoted_list

__all__ = ["SHARED", "read", "write"]

SHARED = (
    "n_features_in_",
    "n_iter_",
    "t_",
    "loss_",
    "best_loss_",
    "best_validation_score_",
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "_no_improvement_count",
)
"""Numbers and strings that mean the same in scikit-learn's own estimators."""

_ATTRIBUTES = (*SHARED, "converged_", "_multilabel", "_sparse_labels")
"""Numbers, booleans and strings."""

_ARRAYS = ("classes_", "feature_names_in_")
"""NumPy arrays of numbers or strings."""


def write(estimator: Any, path: str | Path) -> None:
    """Write a fitted estimator; see `BaseMLP.save`."""
    params = {
        name: _describe_parameter(name, value)
        for name, value in estimator.get_params(deep=False).items()
        if not _is_left_out(name, value)
    }
    attributes = {
        name: _plain(getattr(estimator, name)) for name in _ATTRIBUTES if hasattr(estimator, name)
    }
    for name in _ARRAYS:
        if hasattr(estimator, name):
            attributes[name] = _describe_array(getattr(estimator, name))
    arrays, settings = checkpoint.collect_contents(estimator.model_)
    settings["estimator"] = {
        "kind": type(estimator).__name__,
        "params": params,
        "attributes": attributes,
    }
    checkpoint.write(path, arrays, settings)


def read(cls: type[Any], path: str | Path, backend: str | Backend | None) -> Any:
    """Read an estimator; see `BaseMLP.load`."""
    if backend is not None:
        select(backend)  # what is wrong with it is not the file's fault
    arrays, settings = checkpoint.read(path)
    described = settings.get("estimator")
    if not isinstance(described, dict):
        raise CheckpointError(
            f"{path} holds a model and no estimator: read it with anyback_nn.Model.load"
        )
    kind = described.get("kind")
    if kind != cls.__name__:
        where = "anyback_nn.sklearn." if kind in ("MLPClassifier", "MLPRegressor") else ""
        raise CheckpointError(f"{path} holds a {kind}: read it with {where}{kind}.load")
    with checkpoint.name_file(path):
        params = {
            name: SETTINGS.from_json(value, where=name)
            for name, value in described["params"].items()
        }
        if isinstance(params.get("class_weight"), tuple):
            params["class_weight"] = _class_weight(params["class_weight"])
        spec = params.get("backend", "auto") if backend is None else backend
        try:
            selected = select(None if spec == "auto" else spec)
        except (BackendUnavailableError, ValueError):
            # The estimator's own is not available here; the argument has been checked above.
            selected = select("numpy")
        if backend is not None:
            params["backend"] = backend
        estimator = cls(**params)
        estimator.model_ = build_from(arrays, settings, selected, metrics=())
        estimator._reset("numpy")
        for name, value in _read_attributes(described["attributes"], estimator).items():
            setattr(estimator, name, value)
        needed = getattr(estimator, "_needed_outputs", lambda: estimator.n_outputs_)()
        if not needed == estimator.n_outputs_ == estimator.model_.n_out:
            raise CheckpointError(
                f"the network has {estimator.model_.n_out} outputs: expected {needed}, as its "
                "classes or outputs need"
            )
        with estimator.model_.backend.scope(estimator.model_.dtype):
            estimator._keep_loaded_as_best()
    return estimator


def _read_attributes(described: Mapping[str, Any], estimator: Any) -> dict[str, Any]:
    """Return the attributes of a file, which fit the network that was read with them."""
    network = estimator.model_
    allowed = {*_ATTRIBUTES, *_ARRAYS}
    needed = {"n_features_in_", "n_iter_", "t_", "n_outputs_", "n_layers_", "out_activation_"}
    if not needed <= {*described} <= allowed:
        raise CheckpointError(
            f"the attributes are {quoted_list(described)}: expected {quoted_list(sorted(needed))}, "
            f"and none but {quoted_list(sorted(allowed - needed), 20)}"
        )
    attributes: dict[str, Any] = {}
    for name, value in described.items():
        if name in _ARRAYS:
            value = _read_array(name, value["values"], np.dtype(value["dtype"]))
        elif not isinstance(value, bool | int | float | str | None):
            raise CheckpointError(f"{name} is {value!r}: expected a number or a string")
        attributes[name] = value
    names = attributes.get("feature_names_in_", range(network.n_in))
    if attributes["n_features_in_"] != network.n_in or len(names) != network.n_in:
        raise CheckpointError(
            f"the estimator has {attributes['n_features_in_']!r} features, {len(names)} of them "
            f"named: expected the {network.n_in} of its network"
        )
    return attributes


def _read_array(name: str, values: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of numbers or strings, which takes no more memory than its values need."""
    is_text = dtype.kind in "US"
    # The claimed length of strings may be anything.
    array = np.asarray(values, dtype=dtype.kind if is_text else dtype)
    is_long = is_text and dtype.itemsize > 8 * array.itemsize + 64
    if dtype.kind not in "biufOUS" or array.ndim != 1 or not array.size or is_long:
        raise CheckpointError(
            f"{name} has {plural(array.size, 'value')} of the dtype {dtype}: expected numbers or "
            "strings, in a row"
        )
    return array.astype(dtype)


def _is_left_out(name: str, value: Any) -> bool:
    """Return whether a file cannot hold this parameter: see `BaseMLP.save`."""
    return (
        name in ("callbacks", "validation_data", "distributed")
        or (name == "early_stopping_metric" and callable(value))
        or (name == "random_state" and isinstance(value, np.random.RandomState))
    )


def _describe_parameter(name: str, value: Any) -> Any:
    """Describe a parameter of the estimator."""
    if isinstance(value, Backend):
        return value.spec
    if name == "dtype":
        return dtype_name(value)
    if name == "class_weight" and isinstance(value, dict | list):
        return [
            _describe_parameter(name, one)
            if isinstance(one, dict)
            else [_plain(one), _plain(value[one])]
            for one in value
        ]
    return SETTINGS.to_json(_plain(value))


def _class_weight(pairs: Any) -> Any:
    """Return ``class_weight`` from its pairs of label and weight: a dict, or a list of them.

    Examples
    --------
    >>> _class_weight((("a", 1.0), ("b", 2.0)))
    {'a': 1.0, 'b': 2.0}
    >>> _class_weight((((0, 1.0), (1, 2.0)), ()))
    [{0: 1.0, 1: 2.0}, {}]
    """
    if pairs and all(isinstance(one, tuple) for pair in pairs for one in pair):
        return [dict(one) for one in pairs]
    return dict(pairs)


def _plain(value: Any) -> Any:
    """Convert NumPy's numbers, and arrays of them, to Python's."""
    if isinstance(value, np.ndarray | list | tuple):
        return tuple(map(_plain, value.tolist() if isinstance(value, np.ndarray) else value))
    return to_python_scalars(value)


def _describe_array(array: Any) -> dict[str, Any]:
    """Describe an array of numbers or strings."""
    values = array.tolist()
    if array.dtype.kind == "O" and not all(isinstance(one, str) for one in values):
        raise CheckpointError(
            "cannot save classes that are neither numbers nor strings; pickle the estimator with "
            "joblib instead"
        )
    return {"dtype": array.dtype.str, "values": values}

"""What users pass in and get back: NumPy, tables and sparse matrices, or arrays of any library.

Everything on the host is checked by scikit-learn's own validation. Arrays of other libraries are
checked where they are, and results computed from them are returned there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import _safe_indexing, check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from anyback_nn.array_api import Array, is_numpy, name_dtype, to_numpy, to_writable_numpy
from anyback_nn.backends import Backend, select, select_for
from anyback_nn.errors import DataError
from anyback_nn.inputs.batches import take
from anyback_nn.inputs.checks import (
    DTYPES,
    check_inputs,
    check_weights,
    count_rows,
    is_extended,
    is_sparse,
    refuse_masked,
)

__all__ = [
    "check_data",
    "check_namespace",
    "check_sample_weight",
    "choose_backend",
    "choose_dtype",
    "dtype_name",
    "like_input",
    "namespace_name",
    "read_only",
    "take_rows",
    "to_host",
]


NOT_NUMERIC = {"U": "strings", "S": "strings", "M": "dates", "m": "durations"}
"""Dtypes that cannot be computed with, by NumPy's letter for them."""


def to_host(x: Any) -> Any:
    """Bring arrays of other libraries to NumPy; anything else stays what it is."""
    return x if is_numpy(x) else to_numpy(x)


def plain(x: Any, name: str) -> Any:
    """Refuse masked elements, and bring dtypes that scikit-learn does not know to float32."""
    refuse_masked(x, name)
    extended = isinstance(x, np.ndarray) and is_extended(x.dtype)
    return x.astype(np.float32) if extended else x


def check_data(
    estimator: Any, X: Any, y: Any = None, *, reset: bool, needs_y: bool, y_numeric: bool = False
) -> tuple[Any, Any]:
    """Check inputs and targets, and set or check the estimator's number and names of features.

    Returns
    -------
    X : array or sparse matrix
        Of another library than NumPy if it was that.
    y : numpy.ndarray, sparse matrix or None
    """
    if needs_y and y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )
    X, y = plain(X, "X"), plain(to_host(y), "y")
    if is_numpy(X):
        dtype = getattr(X, "dtype", None)
        checks = {
            "accept_sparse": ["csr", "csc"],
            "dtype": (np.float64, np.float32),
            "reset": reset,
        }
        if needs_y:
            checks |= {"multi_output": True, "y_numeric": y_numeric}
            X, y = validate_data(estimator, X, y, **checks)
        else:
            X = validate_data(estimator, X, **checks)
        if (kind := getattr(dtype, "kind", None)) in NOT_NUMERIC:
            # Strings that look like numbers have been converted silently.
            raise ValueError(f"X: expected numbers, got {NOT_NUMERIC[kind]} ({dtype})")
        # Only this sparse format can be indexed by rows.
        return (X.tocsr() if is_sparse(X) else X), y
    if "sparse" in str(getattr(X, "layout", "")):
        raise DataError("expected a dense array, got a sparse one: pass X.to_dense()")
    backend = choose_backend(estimator.backend, X) if reset else estimator.model_.backend
    X = check_inputs(X, finite=not backend.defers(X))
    n_features = int(X.shape[1])
    if reset:
        estimator.n_features_in_ = n_features
        vars(estimator).pop("feature_names_in_", None)
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    if needs_y:
        y = check_array(
            y,
            accept_sparse="csr",
            ensure_2d=False,
            dtype="numeric" if y_numeric else None,
            input_name="y",
            estimator=estimator,
        )
        check_consistent_length(np.empty(count_rows(X)), y)
    return X, y


def check_sample_weight(sample_weight: Any, n_samples: int) -> Any:
    """Check the weights of samples: a number for all, or one each; finite, 0 or greater."""
    if sample_weight is None:
        return None
    weights = np.asarray(plain(to_host(sample_weight), "sample_weight"))
    if weights.dtype.kind == "O":
        # Columns of pandas that had missing values.
        weights = weights.astype(np.float64)
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    weights = to_numpy(check_weights(weights, n_samples))
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def choose_backend(spec: Any, X: Any) -> Backend:
    """Choose what computes: ``"auto"`` follows the input, and for NumPy's the environment."""
    if isinstance(spec, str) and spec == "auto":
        return select() if is_numpy(X) else select_for(X)
    return select(spec)


def dtype_name(dtype: Any) -> str | None:
    """Return the name of a dtype, which may be given in NumPy's ways; None stays None."""
    if dtype is None:
        return None
    try:
        name = str(np.dtype(dtype).name)
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    return name


def choose_dtype(dtype: str | None, X: Any, backend: Backend, *, lbfgs: bool = False) -> str:
    """Choose the dtype of the computation: that of the input, if the device supports it.

    For input on the host, L-BFGS computes in float64, as in scikit-learn: in float32, rounding
    ends its search for lower values long before the minimum.
    """
    if dtype is not None:
        return dtype
    name = name_dtype(X.dtype)
    if is_numpy(X) and (lbfgs or name not in DTYPES):
        name = "float64"
    elif name not in DTYPES:
        name = "float32"
    return name if backend.supports(name) else "float32"


def like_input(result: Any, X: Any) -> Any:
    """Bring a result to the library and device of the input: NumPy for everything on the host."""
    if not is_numpy(X):
        return select_for(X).asarray(result)
    return to_writable_numpy(result)


def read_only(array: Array) -> Any:
    """Return a NumPy array; a read-only one if writing into it would not change ``array``."""
    if is_numpy(array):
        return array
    result = to_numpy(array).view()
    result.flags.writeable = False
    return result


def take_rows(X: Any, rows: Any) -> Any:
    """Choose rows of an array of any library, a table or a sparse matrix; None stays None."""
    if X is None:
        return None
    return _safe_indexing(X, rows) if is_numpy(X) else take(X, rows)


def check_namespace(estimator: Any, X: Array, method: str) -> None:
    """Refuse, where scikit-learn dispatches on arrays, those of another library than in fit."""
    if not get_config()["array_api_dispatch"]:
        return
    given = namespace_name(X)
    if given != estimator._fitted_on:
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace "
            f"and the same device as those passed to fit(). They are of {given!r}, those of fit "
            f"were of {estimator._fitted_on!r}. Move them, or switch array_api_dispatch off"
        )


def namespace_name(X: Any) -> str:
    """Name the library and device of the input: ``"numpy"`` for everything on the host."""
    return "numpy" if is_numpy(X) else select_for(X).spec

"""Conversion from scikit-learn's own fitted perceptrons, and to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import Backend
from anyback_nn.network.activations import Identity, ReLU, Sigmoid, Tanh
from anyback_nn.network.layers import Dense, Dropout
from anyback_nn.network.losses import (
    BinaryCrossEntropy,
    MeanSquaredError,
    Poisson,
    SoftmaxCrossEntropy,
)
from anyback_nn.sklearn.persistence import SHARED

__all__ = ["COUNTERPARTS", "from_sklearn", "to_sklearn"]

COUNTERPARTS: dict[type[Any], type[Any]] = {}
"""Our class for each of scikit-learn's; ours enter themselves."""

_ACTIVATIONS = {Identity: "identity", ReLU: "relu", Sigmoid: "logistic", Tanh: "tanh"}
"""scikit-learn's names of activation layers."""

_COPIED = (*SHARED, "feature_names_in_")
"""The attributes that mean the same on both sides."""


def from_sklearn(mlp: Any, *, backend: str | Backend = "auto", dtype: str | None = None) -> Any:
    """Create an estimator that predicts as a fitted one of scikit-learn's, on any backend.

    Parameters
    ----------
    mlp : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted. `partial_fit` and ``warm_start`` resume from its weights, with a new optimiser.
    backend, dtype
        As for `MLPClassifier`.

    Returns
    -------
    MLPClassifier or MLPRegressor

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(solver="lbfgs", max_iter=2000, random_state=0).fit(x, y)
    >>> ours = from_sklearn(theirs)
    >>> bool((ours.predict(x) == theirs.predict(x)).all())
    True
    """
    kind = next((ours for theirs, ours in COUNTERPARTS.items() if isinstance(mlp, theirs)), None)
    if kind is None:
        raise TypeError(
            "expected a fitted MLPClassifier or MLPRegressor of scikit-learn, got "
            f"{type(mlp).__name__}"
        )
    check_is_fitted(mlp)
    known = kind._get_param_names()
    params = {name: value for name, value in mlp.get_params().items() if name in known}
    ours = kind(**params, backend=backend, dtype=dtype)
    if isinstance(mlp, SklearnClassifier):
        ours.classes_ = np.asarray(mlp.classes_)
        ours._multilabel = mlp._label_binarizer.y_type_.startswith("multilabel")
        ours._sparse_labels = bool(mlp._label_binarizer.sparse_input_)
    ours.n_outputs_ = mlp.n_outputs_
    # Of the input, only width and dtype count.
    ours._begin(np.empty((0, mlp.n_features_in_), mlp.coefs_[0].dtype), check_random_state(0))
    ours.coefs_, ours.intercepts_ = mlp.coefs_, mlp.intercepts_
    for name in _COPIED:
        if hasattr(mlp, name):
            setattr(ours, name, getattr(mlp, name))
    ours._keep_loaded_as_best()
    losses, scores = getattr(mlp, "loss_curve_", []), getattr(mlp, "validation_scores_", None)
    rows = [{"epoch": n, "train_loss": float(loss)} for n, loss in enumerate(losses, 1)]
    for row, score in zip(rows, scores or []):
        row["validation_score"] = float(score)
    ours.model_.history.rows.extend(rows)
    ours.model_.training.epoch = len(rows)
    return ours


def to_sklearn(estimator: Any) -> Any:
    """Create scikit-learn's own estimator; see `BaseMLP.to_sklearn`."""
    check_is_fitted(estimator, "model_")
    network, loss = estimator.model_.network, estimator.model_.loss
    # Dropout is the identity in prediction.
    layers = [layer for layer in network.layers if not isinstance(layer, Dropout)]
    dense, functions = layers[::2], {type(layer) for layer in layers[1::2]}
    if (
        len(layers) % 2 == 0
        or not all(type(layer) is Dense and layer.bias for layer in dense)
        or not functions <= set(_ACTIVATIONS)
        or len(functions) > 1
    ):
        raise ValueError(
            "scikit-learn has dense layers with a bias and between them one and the same "
            f"activation of {', '.join(sorted(_ACTIVATIONS.values()))}; this network is {network!r}"
        )
    classifies = hasattr(estimator, "classes_")
    names: dict[type[Any], str] = {MeanSquaredError: "squared_error", Poisson: "poisson"}
    if classifies:
        names = {BinaryCrossEntropy: "log_loss", SoftmaxCrossEntropy: "log_loss"}
        if not estimator._multilabel and len(estimator.classes_) <= 2:
            del names[SoftmaxCrossEntropy]
    if type(loss) not in names:
        raise ValueError(f"scikit-learn has no loss like {loss!r} for targets of this kind")
    mlp = (SklearnClassifier if classifies else SklearnRegressor)()
    params = estimator.get_params(deep=False)
    params["hidden_layer_sizes"] = tuple(layer.n_out for layer in dense[:-1])
    params["activation"] = _ACTIVATIONS[next(iter(functions), ReLU)]
    params["loss"] = names[type(loss)]
    mlp.set_params(**{name: params[name] for name in mlp.get_params() if name in params})
    for name in _COPIED:
        if hasattr(estimator, name):
            setattr(mlp, name, getattr(estimator, name))
    mlp.coefs_ = [np.array(to_numpy(array)) for array in estimator.coefs_]
    mlp.intercepts_ = [np.array(to_numpy(array)) for array in estimator.intercepts_]
    mlp._best_coefs = [array.copy() for array in mlp.coefs_]
    mlp._best_intercepts = [array.copy() for array in mlp.intercepts_]
    mlp._random_state = check_random_state(estimator.random_state)
    if estimator.solver != "lbfgs":
        mlp.loss_curve_ = list(estimator.loss_curve_)
        mlp.validation_scores_ = estimator.validation_scores_
    if classifies:
        mlp.classes_ = labels = estimator.classes_
        if estimator._multilabel:
            labels = np.eye(len(labels), dtype=int)
        mlp._label_binarizer = LabelBinarizer().fit(labels)
    return mlp

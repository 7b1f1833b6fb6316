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
    ours._adopt()
    scores = getattr(mlp, "validation_scores_", None) or []
    for position, loss in enumerate(getattr(mlp, "loss_curve_", [])):
        row = {"epoch": position + 1, "train_loss": float(loss)}
        if position < len(scores):
            row["validation_score"] = float(scores[position])
        ours.model_.history.rows.append(row)
    ours.model_.training.epoch = len(ours.model_.history)
    return ours


def to_sklearn(estimator: Any) -> Any:
    """Create scikit-learn's own estimator; see `BaseMLP.to_sklearn`."""
    check_is_fitted(estimator, "model_")
    # Dropout is the identity in prediction.
    layers = [one for one in estimator.model_.network.layers if not isinstance(one, Dropout)]
    dense, functions = layers[::2], {type(one) for one in layers[1::2]}
    if (
        len(layers) % 2 == 0
        or not all(type(one) is Dense and one.bias for one in dense)
        or not functions <= set(_ACTIVATIONS)
        or len(functions) > 1
    ):
        raise ValueError(
            "scikit-learn has dense layers with a bias and between them one and the same "
            f"activation of {', '.join(sorted(_ACTIVATIONS.values()))}; this network is "
            f"{estimator.model_.network!r}"
        )
    classifies = hasattr(estimator, "classes_")
    loss = type(estimator.model_.loss)
    names = {MeanSquaredError: "squared_error", Poisson: "poisson"}
    if classifies:
        one_of_two = not estimator._multilabel and len(estimator.classes_) <= 2
        known = loss is BinaryCrossEntropy or (loss is SoftmaxCrossEntropy and not one_of_two)
    else:
        known = loss in names
    if not known:
        raise ValueError(
            f"scikit-learn has no loss like {estimator.model_.loss!r} for targets of this kind"
        )
    kind = SklearnClassifier if classifies else SklearnRegressor
    known = kind().get_params()
    params = {
        name: value for name, value in estimator.get_params(deep=False).items() if name in known
    }
    params["hidden_layer_sizes"] = tuple(layer.n_out for layer in dense[:-1])
    params["activation"] = _ACTIVATIONS[next(iter(functions), ReLU)]
    if not classifies:
        params["loss"] = names[loss]
    mlp = kind(**params)
    for name in _COPIED:
        if hasattr(estimator, name):
            setattr(mlp, name, getattr(estimator, name))
    mlp.coefs_ = [np.array(to_numpy(one)) for one in estimator.coefs_]
    mlp.intercepts_ = [np.array(to_numpy(one)) for one in estimator.intercepts_]
    mlp._best_coefs = [one.copy() for one in mlp.coefs_]
    mlp._best_intercepts = [one.copy() for one in mlp.intercepts_]
    mlp._random_state = check_random_state(estimator.random_state)
    if estimator.solver != "lbfgs":
        mlp.loss_curve_ = list(estimator.loss_curve_)
        mlp.validation_scores_ = estimator.validation_scores_
    if classifies:
        mlp.classes_ = estimator.classes_
        if estimator._multilabel:
            labels: Any = np.eye(len(estimator.classes_), dtype=int)
            mlp._label_binarizer = LabelBinarizer().fit(labels)
        else:
            mlp._label_binarizer = LabelBinarizer().fit(estimator.classes_)
    return mlp

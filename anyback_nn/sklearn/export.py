"""Estimators as ONNX graphs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.errors import ExportError
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.onnx.graphs import Values
from anyback_nn.onnx.predictions import export_predictions
from anyback_nn.onnx.steps import export_step
from anyback_nn.sklearn.stochastic import build_optimizer
from anyback_nn.training.step import Step

if TYPE_CHECKING:
    import onnx

__all__ = ["export_estimator", "export_estimator_step"]


def export_estimator(estimator: Any) -> onnx.ModelProto:
    """Trace what ``predict`` returns and, for a classifier, ``predict_proba`` too."""
    classifies = hasattr(estimator, "classes_")
    if classifies and estimator.classes_.dtype.kind not in "biufUO":
        raise ExportError(
            f"the classes are of dtype {estimator.classes_.dtype}: expected numbers or strings"
        )

    def interpret(outputs: Array) -> dict[str, Array]:
        if not classifies:
            return {"prediction": estimator._values(outputs)}
        return {
            "prediction": _read_classes(estimator, outputs),
            "probabilities": estimator._probabilities(outputs),
        }

    def predict(x: Any) -> Values:
        with warnings.catch_warnings():
            # It was fitted on a table, and these have no names.
            warnings.simplefilter("ignore")
            predictions = estimator.predict(x)
            if not classifies:
                return {"prediction": predictions}
            if hasattr(predictions, "toarray"):  # labels that were sparse
                predictions = predictions.toarray()
            return {"prediction": predictions, "probabilities": estimator.predict_proba(x)}

    return export_predictions(estimator.model_, interpret, predict)


def _read_classes(estimator: Any, outputs: Array) -> Array:
    """Return the class of each sample, or 0 and 1 for each of several labels."""
    xp, decided = array_namespace(outputs), estimator._decide(outputs)
    if estimator._multilabel:
        return xp.astype(decided[:, None] if decided.ndim == 1 else decided, xp.int64)
    classes = estimator.classes_
    if classes.dtype.kind == "O":
        classes = classes.astype(str)
    return estimator._look_up(decided, xp.asarray(classes))


def export_estimator_step(estimator: Any) -> onnx.ModelProto:
    """Trace one step of the stochastic solvers, penalty and averaged weights included."""
    if not estimator._in_epochs:
        raise ExportError(
            "L-BFGS does not train in steps: expected solver='adam' or 'sgd' for training=True"
        )
    model, objective = estimator.model_, estimator._build_objective()
    optimizer = model.training.optimizer or build_optimizer(estimator)
    settings = (estimator._gradient_factor, estimator.average_weights)

    def build(layout: Layout) -> Step:
        step: Step = replace(objective, layout=layout).build_halves(optimizer, *settings)
        return step

    def init(params: Packed) -> dict[str, Packed]:
        state: dict[str, Packed] = optimizer.init(params)
        if estimator.average_weights is not None:
            state["average"] = tuple(map(np.zeros_like, params))
        return state

    batch_size = 200 if estimator.batch_size == "auto" else int(estimator.batch_size)
    return export_step(model, optimizer, batch_size, build, init, objective.coefficients)

"""Held-out rows: which they are, and what an estimator reaches on them while it is trained."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.model_selection import train_test_split

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.inputs.batches import ArraySource
from anyback_nn.inputs.checks import Samples
from anyback_nn.network.losses import mean_loss
from anyback_nn.sklearn import inputs
from anyback_nn.sklearn.batches import rows_at_once
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.training.evaluation import compute_outputs
from anyback_nn.training.fit import batch_arrays

__all__ = ["Validation", "check_validation_data", "split"]

Scorer = Callable[..., Any]
"""As `sklearn.metrics.check_scoring` returns it: called with the estimator, X and y."""


@dataclass
class Validation:
    """Measures an estimator on held-out rows, as it is at that time.

    Create one with `build`.
    """

    mlp: Estimator
    source: ArraySource
    weights: Any
    score: Callable[[], float] | None

    @classmethod
    def build(cls, mlp: Estimator, rows: Samples, scorer: Scorer | None, given: Any) -> Validation:
        """Create one from checked rows.

        The scorer gets ``given``: X and y of the same rows, as the user passed them. Without a
        scorer, the estimator's own score is measured.
        """
        score = None
        if scorer is not None:
            # On the host, every metric can read the predictions.
            X, y = map(inputs.to_host, given)
            score = _build_score(scorer, mlp, X, y, rows.weights)
        size = rows_at_once(int(rows.x.shape[1]))
        part = rows._replace(weights=None)
        source = batch_arrays(mlp.model_, part, size, ranks=mlp.distributed)
        return cls(mlp, source, rows.weights, score)

    def measure(self) -> tuple[float, float]:
        """Compute the mean loss without penalty, and the score; NaN if training has diverged."""
        mlp, model = self.mlp, self.mlp.model_
        training = model.training
        raw, training.params = training.params, mlp._predicting_params()
        try:
            outputs, y, _ = compute_outputs(model, self.source)
            loss, xp = self._loss(outputs, y), array_namespace(outputs)
            if not to_numpy(xp.all(xp.isfinite(outputs))):
                return loss, math.nan
            score = (
                self.score() if self.score else mlp._score_of(outputs, to_numpy(y), self.weights)
            )
            return loss, score
        finally:
            training.params = raw

    def _loss(self, outputs: Array, y: Array) -> float:
        loss, factor = self.mlp._choose_loss()
        if getattr(loss, "label_smoothing", 0.0):
            loss = replace(loss, label_smoothing=0.0)  # type: ignore[type-var]
        model, weights = self.mlp.model_, self.weights
        if weights is not None:
            weights = model.backend.asarray(weights / weights.mean(), model.dtype)
        value, _ = mean_loss(loss, outputs, y, weights)
        return factor * float(to_numpy(value))


def check_validation_data(mlp: Estimator, scorer: Scorer | None) -> Validation:
    """Check ``validation_data``, and create what measures them."""
    if len(mlp.validation_data) not in (2, 3):
        raise ValueError(
            "validation_data: expected (X, y) or (X, y, sample_weight), got "
            f"{len(mlp.validation_data)} entries"
        )
    X, y, weights = (*mlp.validation_data, None)[:3]
    rows, y, _ = mlp._check_rows(X, y, weights, first=False, incremental=True)
    if weights is not None and scorer is not None and not _takes_weights(scorer):
        raise ValueError(
            "validation_data: early_stopping_metric does not take the weights that are given "
            "here. Let it have a parameter sample_weight, or leave them out"
        )
    return Validation.build(mlp, rows, scorer, (X, y))


def split(mlp: Estimator, labels: Any, random: Any, *, incremental: bool) -> tuple[Any, Any]:
    """Draw which rows train and which are held out."""
    n_samples = len(labels)
    stratifies = mlp._stratifies
    if incremental:
        # A batch need not have what a stratified split needs, nor all classes.
        n_held = math.ceil(mlp.validation_fraction * n_samples)
        if n_held < 2:
            raise ValueError(
                f"validation_fraction={mlp.validation_fraction} of the {n_samples} samples of "
                f"this call is {n_held}, too small to be scored. Pass larger batches, or set "
                "validation_data"
            )
        counts = np.unique(labels, return_counts=True)[1]
        enough = counts.min() >= 2 and min(n_held, n_samples - n_held) >= len(counts)
        stratifies = stratifies and enough
    train, held = train_test_split(
        np.arange(n_samples),
        random_state=random,
        test_size=mlp.validation_fraction,
        # A column of booleans for two classes, as scikit-learn's: an error names them.
        stratify=labels.astype(bool)[:, None] if stratifies else None,
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    return train, held


def _takes_weights(scorer: Scorer) -> bool:
    """Return whether a scorer takes ``sample_weight``."""
    # scikit-learn's scorers all do; their metric need not.
    function = getattr(scorer, "_score_func", scorer)
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in parameters)


def _build_score(
    scorer: Scorer, mlp: Estimator, X: Any, y: Any, weights: Any
) -> Callable[[], float]:
    """Build the function that scores an estimator as it is when that is called."""
    options = {"sample_weight": weights} if weights is not None and _takes_weights(scorer) else {}

    def score() -> float:
        with warnings.catch_warnings(), config_context(array_api_dispatch=False):
            # Checking the data may have warned once; that is not repeated each epoch.
            warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
            try:
                return float(scorer(mlp, X, y, **options))
            except Exception as error:
                raise ValueError(
                    f"early_stopping_metric could not score the validation data "
                    f"({type(error).__name__}: {error}). It must suit the targets (for several "
                    "classes 'roc_auc_ovr', not 'roc_auc'); a function is called as "
                    "function(estimator, X, y)"
                ) from error

    return score

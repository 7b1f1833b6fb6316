"""Scoring by a metric of the user's, while training goes on."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from sklearn import config_context

__all__ = ["scoring", "takes_weights"]


def takes_weights(scorer: Callable[..., Any]) -> bool:
    """Tell whether a scorer takes ``sample_weight``."""
    # scikit-learn's scorers all do; their metric need not.
    function = getattr(scorer, "_score_func", scorer)
    parameters = inspect.signature(function).parameters.values()
    return any(one.name == "sample_weight" or one.kind is one.VAR_KEYWORD for one in parameters)


def scoring(
    scorer: Callable[..., Any], estimator: Any, X: Any, y: Any, weights: Any
) -> Callable[[], float]:
    """Build the function that scores an estimator as it is when that is called.

    Parameters
    ----------
    scorer : callable
        As `sklearn.metrics.check_scoring` gives it.
    estimator : BaseMLP
    X, y : array, table or sparse matrix
        On the host: there, every metric can read the predictions.
    weights : numpy.ndarray, optional
        Of the samples; for a scorer that takes them.
    """
    options = {"sample_weight": weights} if weights is not None and takes_weights(scorer) else {}

    def score() -> float:
        with warnings.catch_warnings(), config_context(array_api_dispatch=False):
            # What may have been said once, when the data were checked, is not said every epoch.
            warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
            try:
                return float(scorer(estimator, X, y, **options))
            except Exception as error:
                raise ValueError(
                    f"early_stopping_metric could not score the validation data "
                    f"({type(error).__name__}: {error}). It must suit the targets (for several "
                    "classes 'roc_auc_ovr', not 'roc_auc'); a function is called as "
                    "function(estimator, X, y)"
                ) from error

    return score

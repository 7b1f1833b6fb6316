"""scikit-learn's regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from anyback_nn.backend import Array, to_numpy
from anyback_nn.network.losses import LOSSES, Loss, MeanSquaredError, Poisson
from anyback_nn.sklearn import arrays
from anyback_nn.sklearn.base import BaseMLP, is_stochastic

__all__ = ["MLPRegressor"]

_LIBRARY_LOSSES = {name: loss for name, loss in LOSSES.items() if not loss.classifies}


class MLPRegressor(RegressorMixin, BaseMLP):
    """DOC."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", *_LIBRARY_LOSSES}), Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        backend: Any = "auto",
        dtype: str | None = None,
        layers: Any = None,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        optimizer: Any = None,
        schedule: Any = None,
        clip_norm: float | None = None,
        l2_per_sample: float = 0.0,
        average_weights: float | None = None,
        validation_data: Any = None,
        early_stopping_metric: Any = None,
        callbacks: Any = None,
        progress: bool = False,
    ) -> None:
        arguments = locals()
        for name in self._get_param_names():
            setattr(self, name, arguments[name])

    # Targets

    _y_numeric = True

    def _encode(self, y: Any, *, first: bool, incremental: bool, classes: Any = None) -> Any:
        y = y.toarray() if issparse(y) else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_outputs = 1 if y.ndim == 1 else int(y.shape[1])
        if first:
            self.n_outputs_ = n_outputs
        elif n_outputs != self.n_outputs_:
            raise ValueError(
                f"`y` has {n_outputs} outputs, but this estimator was fitted to {self.n_outputs_}"
            )
        return self._choose_loss()[0].check_targets(y, n_outputs)

    def _choose_loss(self) -> tuple[Loss, float]:
        if isinstance(self.loss, Loss):
            if self.loss.classifies:
                raise ValueError(
                    f"loss: {type(self.loss).__name__} classifies. Use MLPClassifier, or a loss "
                    "for numbers"
                )
            return self.loss, 1.0
        if self.loss == "squared_error":
            return MeanSquaredError(), 0.5
        if self.loss == "poisson":
            # scikit-learn adds the outputs up, the library averages over them.
            return Poisson(), float(self.n_outputs_)
        return _LIBRARY_LOSSES[self.loss](), 1.0

    @property
    def _descent(self) -> float:
        # scikit-learn records the mean over the outputs and descends their sum.
        return float(self.n_outputs_) if self.loss == "squared_error" else 1.0

    def _score_of(self, outputs: Array, y: Any, weights: Any) -> float:
        predicted = to_numpy(self.model_.loss.link(outputs))
        if not np.all(np.isfinite(predicted)):
            return float("nan")
        return float(r2_score(y, predicted, sample_weight=weights))

    # Fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to inputs and values.

        Parameters
        ----------
        X : array, table or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Go through the data once, and go on from where the last call was.

        With ``early_stopping``, every call scores ``validation_data``, or else a part of its own
        data that it sets aside; once the score has not improved for ``n_iter_no_change`` calls, the
        best weights are put back, ``converged_`` is True, and further calls change nothing.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    # Use

    def predict(self, X: Any) -> Array:
        """Predict the value of each sample, or of each of its outputs."""

        def read(outputs: Array) -> Array:
            found = self.model_.loss.link(outputs)
            return found[:, 0] if self.n_outputs_ == 1 else found

        return self._compute(X, "predict", read)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R2, the share of the variance of ``y`` that is explained."""
        predicted = arrays.on_host(self.predict(X))
        weights = arrays.on_host(sample_weight)
        return float(r2_score(arrays.on_host(y), predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

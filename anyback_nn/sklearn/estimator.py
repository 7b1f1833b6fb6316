"""The estimator as the solvers see it: fitted attributes, checks, and what calls leave behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.distributed import Communicator
from anyback_nn.inputs.checks import Samples
from anyback_nn.model import Model
from anyback_nn.network.layout import Packed
from anyback_nn.network.losses import Loss
from anyback_nn.optim.averaging import debias
from anyback_nn.sklearn import inputs
from anyback_nn.sklearn.objective import Objective
from anyback_nn.training.callbacks import Callback, show_progress
from anyback_nn.tree import tree_copy, tree_map

__all__ = ["Estimator"]

_RENAMED = {
    "_raw": "_training_params",
    "_rules": "_last_optimizer_settings",
    "_asked": "_fitted_backend",
}
"""Attributes by their names in pickles of release 0.1."""


class Estimator(BaseEstimator, ABC):
    """What training needs of `BaseMLP`: its fitted attributes, and what its subclasses define."""

    # Set in fit. The curves and the weights are properties of the model.
    model_: Model
    n_iter_: int
    t_: int
    loss_: float
    best_loss_: Any
    best_validation_score_: Any
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    converged_: bool

    distributed: Communicator | None = None  # which estimators of release 0.1 do not have

    _y_numeric = False

    # What the two estimators do differently ---------------------------------------------------

    @abstractmethod
    def _encode(self, y: Any, *, first: bool, incremental: bool, classes: Any = None) -> Any:
        """Turn checked targets into numbers: indices of classes, 0 and 1 for labels, or values."""

    @abstractmethod
    def _choose_loss(self) -> tuple[Loss, float]:
        """Return the loss, and the factor to scikit-learn's; it may need ``n_outputs_``."""

    @abstractmethod
    def _score_of(self, outputs: Array, y: Any, weights: Any) -> float:
        """Score raw outputs against encoded targets, as ``score`` does."""

    @property
    def _gradient_factor(self) -> float:
        """A factor of the stochastic solvers' gradient: see `Objective.value_and_grad`."""
        return 1.0

    @property
    def _stratifies(self) -> bool:
        """Whether the validation data get the same share of each class."""
        return False

    # What is derived from the parameters ------------------------------------------------------

    @property
    def _in_epochs(self) -> bool:
        """Whether training goes in epochs of steps, and not in iterations of L-BFGS."""
        return bool(self.solver != "lbfgs")

    @property
    def _optimizer_settings(self) -> tuple[Any, ...]:
        """Our parameters of the optimiser: when they change, a new one begins.

        As in scikit-learn, the parameters that it has too count only when an optimiser begins.
        """
        return (self.optimizer, self.schedule, self.clip_norm, self.average_weights)

    @property
    def _backend_spec(self) -> str:
        """The parameter ``backend`` as a string."""
        return self.backend.spec if isinstance(self.backend, Backend) else str(self.backend)

    def _build_objective(self) -> Objective:
        """Describe the function that is minimised."""
        model, (_, factor) = self.model_, self._choose_loss()
        penalties = float(self.alpha), float(self.l2_per_sample)
        return Objective(model.network, model.layout, model.loss, factor, *penalties)

    @contextmanager
    def _open_callbacks(self) -> Iterator[list[Callback]]:
        """List the user's callbacks, and what shows progress, which is closed after training."""
        with show_progress(bool(self.progress)) as shown:
            yield [*(self.callbacks or ()), *shown]

    def _check_rows(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        first: bool,
        incremental: bool,
        classes: Any = None,
    ) -> tuple[Samples, Any, Any]:
        """Check inputs, targets and weights.

        Returns
        -------
        rows : Samples
            With the targets that the loss takes.
        y : numpy.ndarray or sparse matrix
            The checked targets.
        labels : numpy.ndarray
            The same as numbers.
        """
        X, y = inputs.check_data(self, X, y, reset=first, needs_y=True, y_numeric=self._y_numeric)
        labels = self._encode(y, first=first, incremental=incremental, classes=classes)
        targets = self._choose_loss()[0].check_targets(labels, self.n_outputs_)
        return Samples(X, targets, inputs.check_sample_weight(sample_weight, X.shape[0])), y, labels

    # What is kept between calls ---------------------------------------------------------------

    def _reset(self, fitted_on: str) -> None:
        """Set everything that training counts and keeps to its value before the first step."""
        self._fitted_on = fitted_on
        self.n_iter_ = self.t_ = 0
        self.converged_ = False
        self.__dict__.pop("loss_", None)
        self.best_loss_ = self.best_validation_score_ = None
        self._no_improvement_count = 0
        self._best: tuple[Any, Any] | None = None
        self._training_params: Packed | None = None
        self._last_optimizer_settings = self._optimizer_settings
        self._fitted_backend = self._backend_spec

    def _keep_best(self, params: Packed) -> None:
        """Keep copies of parameters, and of the state of the layers, as the best so far."""
        self._best = self.model_.copy_tree((params, self.model_.training.state))

    def _keep_loaded_as_best(self) -> None:
        """Keep weights that came from elsewhere as the best, if their score came too."""
        score = self.best_validation_score_
        if score is not None and np.isfinite(score):
            self._keep_best(self.model_.training.params)

    def _predicting_params(self) -> Packed:
        """Return the parameters that predict: the averaged ones, if there is an average."""
        training = self.model_.training
        # In L-BFGS there is none, whatever steps were taken before.
        if self.average_weights is None or training.step == 0 or not self._in_epochs:
            return training.params
        return debias(training.optimizer_state["average"], self.average_weights, training.step)

    def _restore_training_params(self) -> bool:
        """Put back the weights that the average has replaced; return whether there were any."""
        params, self._training_params = self._training_params, None
        if params is not None:
            # Not a copy: a traced step works in these very arrays.
            self.model_.training.params = params
        return params is not None

    def __getstate__(self) -> dict[str, Any]:
        """Hold NumPy arrays, which can be read where the backend cannot be used."""
        state = dict(super().__getstate__())
        for name in ("_training_params", "_best"):
            if state.get(name) is not None:
                state[name] = tree_map(to_numpy, state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copy kept arrays to the model's backend, which may be another one by now."""
        super().__setstate__({_RENAMED.get(name, name): value for name, value in state.items()})
        for name in ("_training_params", "_best"):
            if (arrays := vars(self).get(name)) is not None:
                model = self.model_
                with model.backend.scope(model.dtype):
                    setattr(self, name, tree_copy(tree_map(model.backend.asarray, arrays)))

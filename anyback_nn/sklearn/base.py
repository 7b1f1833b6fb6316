"""What the classifier and the regressor share: parameters, fitting, prediction, files."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.errors import DivergenceError
from anyback_nn.inputs.checks import Samples
from anyback_nn.model import Model
from anyback_nn.network.activations import Activation
from anyback_nn.network.layout import Packed
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.optim.averaging import debias
from anyback_nn.optim.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.sklearn import convert, inputs, lbfgs, persistence, stochastic, validation
from anyback_nn.sklearn.architecture import (
    ACTIVATION_NAMES,
    Parameters,
    build_layers,
    build_model,
    check_hidden_sizes,
    dense_params,
    set_dense_params,
)
from anyback_nn.sklearn.batches import SampleSource, build_source, rows_at_once
from anyback_nn.sklearn.objective import Objective
from anyback_nn.sklearn.validation import Validation
from anyback_nn.training.callbacks import Callback, EarlyStopping, ProgressBar, check_callbacks
from anyback_nn.training.evaluation import compute_outputs
from anyback_nn.training.memory import has_room
from anyback_nn.tree import tree_copy, tree_map
from anyback_nn.utils.arguments import to_python_scalars

__all__ = ["BaseMLP"]

PREDICTION_BATCH = 4096
"""The most samples of a batch in prediction."""

_OUT_ACTIVATIONS = {
    "SoftmaxCrossEntropy": "softmax",
    "BinaryCrossEntropy": "logistic",
    "Poisson": "exp",
}
"""scikit-learn's name of a loss's link; that of all others is the identity."""


def is_stochastic(mlp: BaseMLP) -> bool:
    """Return whether training goes in epochs, so that there is `partial_fit`."""
    if not mlp._in_epochs:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def _make_property(name: str, description: str) -> Any:
    """Create the property that reads and replaces the parameters with that name."""

    def read(mlp: BaseMLP) -> list[Array]:
        arrays = dense_params(mlp._fitted_model(), name)
        if mlp._fitted_on == "numpy":
            arrays = [inputs.read_only(array) for array in arrays]
        return Parameters(arrays, partial(replace, mlp))

    def replace(mlp: BaseMLP, values: Sequence[Any]) -> None:
        set_dense_params(mlp._fitted_model(), name, values)
        # Training resumes from these.
        mlp._raw = None

    return property(read, replace, doc=description)


class BaseMLP(BaseEstimator, ABC):
    """A multi-layer perceptron with scikit-learn's parameters, methods and attributes."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - scikit-learn's convention
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATION_NAMES)), Activation, list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "backend": [str, Backend],
        "dtype": [None, StrOptions({"float32", "float64"}), type, np.dtype],
        "layers": [None, list, tuple],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "batch_norm": ["boolean"],
        "optimizer": [None, StrOptions(set(OPTIMIZERS)), Optimizer],
        "schedule": [None, Schedule],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "l2_per_sample": [Interval(Real, 0, None, closed="left")],
        "average_weights": [None, Interval(Real, 0, 1, closed="neither")],
        "validation_data": [None, tuple, list],
        "early_stopping_metric": [None, str, callable],
        "callbacks": [None, list, tuple],
        "progress": ["boolean"],
    }

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

    _y_numeric = False

    def _store(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of ``__init__``: its ``locals()``.

        Not those that the class is said to have: a subclass may have more, or fewer.
        """
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

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

    def _with_class_weight(self, weights: Any, labels: Any, incremental: bool) -> Any:
        """Multiply the weights of samples by those of their classes, if there are any."""
        return weights

    # Fitting ----------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to inputs and targets.

        Parameters
        ----------
        X : array, table or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Of a classifier: classes, as numbers or strings, or 0 and 1 for each of several labels.
            Of a regressor: values.
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        incremental: bool = False,
        classes: Any = None,
    ) -> Self:
        """Check everything, then train."""
        before = dict(vars(self))
        try:
            prepared = self._prepare(X, y, sample_weight, incremental, classes)
        except BaseException:
            # As it was, and not half of it for other data.
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        if prepared is None:
            return self
        self._set_loss()
        self.converged_, self.n_iter_ = False, 0
        try:
            with self.model_.backend.scope(self.model_.dtype):
                if self._in_epochs:
                    stochastic.train(self, *prepared, incremental=incremental)
                else:
                    lbfgs.train(self, *prepared)
        except DivergenceError as error:
            raise ValueError(f"Solver produced non-finite parameter weights: {error}.") from error
        return self

    @property
    def _in_epochs(self) -> bool:
        """Whether training goes in epochs of steps, and not in iterations of L-BFGS."""
        return self.solver != "lbfgs" or self.optimizer is not None

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any
    ) -> tuple[SampleSource, Validation | None] | None:
        """Check everything, and set what fit sets before training.

        Returns
        -------
        source : SampleSource
        validation : Validation or None
            Both, or None if early stopping has ended training for good.
        """
        check_hidden_sizes(self.hidden_layer_sizes)
        self._check_callbacks()
        metric = self.early_stopping_metric
        scorer = None if metric is None else check_scoring(self, scoring=metric)
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        # A scorer gets a table if a table was given.
        table = X if hasattr(X, "iloc") or hasattr(X, "columns") else None
        given, y, labels = self._check_rows(
            X, y, sample_weight, first=first, incremental=incremental, classes=classes
        )
        X, n_samples = given.x, int(given.x.shape[0])
        rows = given._replace(weights=self._with_class_weight(given.weights, labels, incremental))
        if incremental and not first and self.early_stopping and self.converged_:
            warnings.warn(
                "early stopping has ended the training of this estimator: partial_fit changes "
                "nothing any more. Call fit, or set early_stopping=False, to resume it",
                stacklevel=5,
            )
            return None
        random = check_random_state(self.random_state)
        if first:
            self._begin(X, random)
        else:
            self._warn_of_settings_without_effect()
        self._fitted_on = inputs.namespace_name(X)
        model = self.model_
        with model.backend.scope(model.dtype):
            if not self._in_epochs:
                lbfgs.check_deterministic(model, tuple(X.shape))
            chosen = measured = None
            if self.validation_data is not None:
                measured = validation.check_validation_data(self, scorer)
            elif self.early_stopping and self._in_epochs:
                chosen, held = validation.split(self, labels, random, incremental=incremental)
                n_samples = len(chosen)
                part = Samples(*(inputs.take_rows(array, held) for array in given))
                seen = part.x if table is None else inputs.take_rows(table, held)
                measured = Validation.build(self, part, scorer, (seen, y[held]))
            size = self._choose_batch_size(n_samples, X)
            source = build_source(
                rows,
                model.backend,
                model.dtype,
                size,
                chosen=chosen,
                random=random if self.shuffle and self._in_epochs else None,
                resident=has_room(model, rows, size),
            )
        return source, measured

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

    def _check_callbacks(self) -> None:
        """Refuse invalid callbacks, and those that undo what the parameters ask for."""
        callbacks = self.callbacks or ()
        check_callbacks(callbacks)
        restores = any(isinstance(one, EarlyStopping) and one.restore_best for one in callbacks)
        if restores and self.average_weights is not None and self._in_epochs:
            raise ValueError(
                "callbacks: EarlyStopping puts the best weights back, but with average_weights "
                "their average predicts. Use early_stopping=True instead, which restores the best "
                "average, or EarlyStopping(restore_best=False)"
            )

    def _choose_batch_size(self, n_samples: int, X: Any) -> int:
        """Choose the size of a batch: for L-BFGS, as many samples as memory allows."""
        if not self._in_epochs:
            sparse = hasattr(X, "toarray")
            return min(n_samples, rows_at_once(int(X.shape[1]))) if sparse else n_samples
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=6,
            )
        return min(int(self.batch_size), n_samples)

    def _begin(self, X: Any, random: Any) -> None:
        """Create a new model with its first weights, and set the counts to zero."""
        self.model_ = build_model(self, X, random, lbfgs=not self._in_epochs)
        self._reset(inputs.namespace_name(X))
        self.n_layers_ = len(self.coefs_) + 1

    def _reset(self, fitted_on: str) -> None:
        """Set everything that training counts and keeps to its value before the first step."""
        self._fitted_on = fitted_on
        self.n_iter_ = self.t_ = 0
        self.converged_ = False
        self.__dict__.pop("loss_", None)
        self.best_loss_ = self.best_validation_score_ = None
        self._no_improvement_count = 0
        self._best: tuple[Any, Any] | None = None
        self._raw: Packed | None = None
        self._rules, self._asked = stochastic.optimizer_settings(self), self._spec()

    def _adopt(self) -> None:
        """Take weights that came from elsewhere for the best, if their score came too."""
        score = self.best_validation_score_
        if score is not None and np.isfinite(score):
            training = self.model_.training
            self._best = (tree_copy(training.params), tree_copy(training.state))

    def _set_loss(self) -> None:
        """Set the model's loss to the one that the parameters describe, which may have changed."""
        model, loss = self.model_, to_python_scalars(self._choose_loss()[0])
        if loss != model.loss:
            model.loss = loss
            # What is compiled for this model alone is not distinguished by the loss.
            model.forget_compiled()
        self.out_activation_ = _OUT_ACTIVATIONS.get(type(loss).__name__, "identity")

    def _spec(self) -> str:
        """Return the parameter ``backend`` as a string."""
        return self.backend.spec if isinstance(self.backend, Backend) else str(self.backend)

    def _warn_of_settings_without_effect(self) -> None:
        """Warn of changed parameters that count only when a fit begins."""
        model, changed = self.model_, []
        if Network(*build_layers(self)) != model.network:
            changed.append("the network (hidden_layer_sizes, activation, layers, ...)")
        spec = self._spec()
        if spec not in ("auto", self._asked, model.backend.spec):
            changed.append(f"backend={spec!r}")
        if inputs.dtype_name(self.dtype) not in (None, model.dtype):
            changed.append(f"dtype={self.dtype!r}")
        if changed:
            warnings.warn(
                f"{' and '.join(changed)}: what was changed here since the first fit has no effect "
                "before fit is called with warm_start=False",
                stacklevel=6,
            )

    # Used by the solvers

    def _objective(self) -> Objective:
        """Describe the function that is minimised."""
        model, (_, factor) = self.model_, self._choose_loss()
        return Objective(
            model.network,
            model.layout,
            model.loss,
            factor,
            float(self.alpha),
            float(self.l2_per_sample),
        )

    @contextmanager
    def _open_callbacks(self) -> Iterator[list[Callback]]:
        """List the user's callbacks, and a progress bar that is closed after training."""
        bars = [ProgressBar()] if self.progress else []
        try:
            yield [*(self.callbacks or ()), *bars]
        finally:
            for bar in bars:
                bar.close()

    def _predicting_params(self) -> Packed:
        """Return the parameters that predict: the averaged ones, if there is an average."""
        training = self.model_.training
        # In L-BFGS there is none, whatever steps were taken before.
        if self.average_weights is None or training.step == 0 or not self._in_epochs:
            return training.params
        return debias(training.optimizer_state["average"], self.average_weights, training.step)

    def _restore_raw(self) -> bool:
        """Put back the weights that the average has replaced; return whether there were any."""
        raw, self._raw = self._raw, None
        if raw is not None:
            # Not a copy: a traced step works in these very arrays.
            self.model_.training.params = raw
        return raw is not None

    def __getstate__(self) -> dict[str, Any]:
        """Hold NumPy arrays, which can be read where the backend cannot be used."""
        state = dict(super().__getstate__())
        for name in ("_raw", "_best"):
            if state.get(name) is not None:
                state[name] = tree_map(to_numpy, state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Copy kept arrays to the model's backend, which may be another one by now."""
        super().__setstate__(state)
        for name in ("_raw", "_best"):
            if state.get(name) is not None:
                model = self.model_
                with model.backend.scope(model.dtype):
                    setattr(self, name, tree_copy(tree_map(model.backend.asarray, state[name])))

    # Weights and curves -----------------------------------------------------------------------

    def _fitted_model(self) -> Model:
        """Return the model, or raise the error of a missing attribute."""
        if "model_" not in vars(self):
            raise AttributeError(
                f"this {type(self).__name__} has not been fitted yet: call fit first"
            )
        return self.model_

    coefs_ = _make_property(
        "weight", "The weight matrix of each dense layer, of shape (n_in, n_out)."
    )
    intercepts_ = _make_property("bias", "The bias of each dense layer.")

    def _curve(self, name: str) -> list[float]:
        """List what the history has under that name."""
        return [row[name] for row in self._fitted_model().history if name in row]

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of each epoch, penalty included; of each iteration of L-BFGS."""
        return self._curve("train_loss")

    @property
    def validation_scores_(self) -> list[float] | None:
        """The score on the validation data after each epoch; None without such data."""
        return self._curve("validation_score") or None

    @property
    def validation_curve_(self) -> list[float] | None:
        """The loss on the validation data after each epoch, without penalty; None without them."""
        return self._curve("validation_loss") or None

    # Use --------------------------------------------------------------------------------------

    def _compute(self, X: Any, method: str, read: Callable[[Array], Array]) -> Array:
        """Check inputs, compute and read their outputs, and return that in the inputs' library."""
        check_is_fitted(self, "model_")
        X, _ = inputs.check_data(self, X, reset=False, needs_y=False)
        inputs.check_namespace(self, X, method)
        model, size = self.model_, min(PREDICTION_BATCH, rows_at_once(int(X.shape[1])))
        with model.backend.scope(model.dtype):
            source = build_source(Samples(X), model.backend, model.dtype, size, resident=False)
            return inputs.like_input(read(compute_outputs(model, source).outputs), X)

    # Files and other libraries

    def to_sklearn(self) -> Any:
        """Create scikit-learn's own estimator with these weights: the same predictions.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor

        Raises
        ------
        ValueError
            scikit-learn has no such network or loss: it has dense layers with one of its four
            activations.
        """
        return convert.to_sklearn(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        The file is also one of `anyback_nn.Model`. What it cannot hold is left out, and has its
        default after loading: ``callbacks``, ``validation_data``, a function as
        ``early_stopping_metric`` and a generator as ``random_state``. Of the weights, it holds
        those that predict. Training resumes from these, and with early stopping they count as the
        best so far, as after `fit`; before early stopping has ended `partial_fit`, the best may be
        others.

        Raises
        ------
        CheckpointError
            The file cannot be written, or the classes are neither numbers nor strings.
        """
        check_is_fitted(self, "model_")
        persistence.write(self, path)

    @classmethod
    def load(cls, path: str | Path, backend: str | Backend | None = None) -> Self:
        """Read a file that `save` wrote, wherever it was fitted.

        Parameters
        ----------
        path : str or Path
        backend : str or Backend, optional
            What computes from now on. Default: the estimator's own if it can be used here, else
            NumPy.

        Raises
        ------
        CheckpointError
            There is no such file, or it does not hold an estimator of this class.
        """
        estimator: Self = persistence.read(cls, path, backend)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

"""What the classifier and the regressor have in common: training, prediction, files."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from anyback_nn.backend import Array, Backend, is_host, to_numpy
from anyback_nn.errors import DivergenceError, ShapeError
from anyback_nn.model import Model
from anyback_nn.network.activations import Activation
from anyback_nn.network.losses import Loss, mean_loss
from anyback_nn.network.parameters import Storage, map_leaves, named
from anyback_nn.network.settings import plain
from anyback_nn.random import Blank, generator
from anyback_nn.sklearn import arrays, files, lbfgs, networks
from anyback_nn.sklearn.convergence import Convergence
from anyback_nn.sklearn.objective import Objective
from anyback_nn.sklearn.samples import samples
from anyback_nn.sklearn.solvers import Recorded, SklearnAdam, SklearnSGD, unbiased
from anyback_nn.training import loop
from anyback_nn.training.callbacks import ProgressBar, check_callbacks
from anyback_nn.training.data import Batch
from anyback_nn.training.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.training.schedules import Schedule
from anyback_nn.training.state import TrainingState, copies

__all__ = ["BaseMLP"]

PREDICTION_BATCH = 4096
"""How many samples are computed at once in prediction."""

SPARSE_BATCH = 8192
"""How many sparse samples L-BFGS makes dense at once."""


def is_stochastic(estimator: BaseMLP) -> bool:
    """Tell whether training goes in epochs, so that there is `partial_fit`."""
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator, ABC):
    """A multi-layer perceptron with scikit-learn's parameters, methods and attributes."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - scikit-learn's convention
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(networks.ACTIVATION_NAMES)), Activation, list, tuple],
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
        "dtype": [None, StrOptions({"float32", "float64"})],
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

    # What is set in fit. The curves and the weights are properties of the model.
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

    # What the two estimators do differently ---------------------------------------------------

    @abstractmethod
    def _encode(self, y: Any, *, first: bool, incremental: bool, classes: Any = None) -> Any:
        """Turn checked targets into those of the loss: a NumPy array."""

    @abstractmethod
    def _choose_loss(self) -> tuple[Loss, float]:
        """Choose the loss and what scikit-learn's is of it; it may need ``n_outputs_``."""

    @abstractmethod
    def _score_of(self, outputs: Array, y: Any, weights: Any) -> float:
        """Score raw outputs against encoded targets, as ``score`` does."""

    @property
    @abstractmethod
    def _descent(self) -> float:
        """A factor of the stochastic solvers' gradient: see `Objective.gradients`."""

    # Fitting ----------------------------------------------------------------------------------

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
        networks.hidden_sizes(self.hidden_layer_sizes)
        check_callbacks(self.callbacks or ())
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        if incremental and not first and self.early_stopping and self.converged_:
            warnings.warn(
                "early stopping has ended the training of this estimator: partial_fit changes "
                "nothing any more. Call fit, or set early_stopping=False, to go on",
                stacklevel=4,
            )
            return self
        original = X
        X, y = arrays.validated(self, X, y, reset=first, needs_y=True, y_numeric=self._y_numeric)
        targets = self._encode(y, first=first, incremental=incremental, classes=classes)
        given = arrays.validated_weights(sample_weight, X.shape[0])
        weights = self._with_class_weight(given, targets, y, incremental)
        random = check_random_state(self.random_state)
        self._fitted_on = arrays.origin(X)
        if first:
            self._begin(X, random)
        # It may have been changed since the last call.
        self.model_.loss = self._choose_loss()[0]
        self.converged_ = False
        rows = Batch(X, targets, weights)
        try:
            with self.model_.backend.scope(self.model_.dtype):
                if self.solver == "lbfgs" and self.optimizer is None:
                    self._minimize(rows)
                else:
                    self._descend(rows, given, original, y, random, incremental)
        except DivergenceError as error:
            raise ValueError(f"Solver produced non-finite parameter weights: {error}.") from error
        return self

    _y_numeric = False

    def _with_class_weight(self, weights: Any, targets: Any, y: Any, incremental: bool) -> Any:
        """Multiply the weights of samples with those of their classes, if there are any."""
        return weights

    def _begin(self, X: Any, random: Any) -> None:
        """Make a new model with its first weights, and set what counts from here."""
        backend = arrays.choose_backend(self.backend, X)
        loss, _ = self._choose_loss()
        n_in = int(X.shape[1])
        if self.layers is None:
            sizes = networks.hidden_sizes(self.hidden_layer_sizes)
            layers: Sequence[Any] = networks.stacked(
                sizes, self.activation, self.dropout, self.batch_norm, self.n_outputs_
            )
        else:
            layers = self.layers
        pairs = (
            None
            if self.layers is not None
            else networks.drawn(layers, self.activation, n_in, random)
        )
        # A number is drawn only where one is needed, so that the others stay scikit-learn's.
        seeded = self.layers is not None or bool(self.dropout)
        model = Model(
            *layers,
            loss=loss,
            backend=backend,
            seed=int(random.randint(2**31 - 1)) if seeded else 0,
            dtype=arrays.choose_dtype(self.dtype, X, backend),
            metrics=(),
        )
        if pairs is None:
            model.build(n_in)
        else:
            model._build(n_in, Blank(generator(0, "weights"), backend, model.dtype))
            with backend.scope(model.dtype):
                tree = model.layout.restore(model.training.params)
                tree = networks.filled(tree, model.network.layers, pairs, backend, model.dtype)
                model.training.params = model.layout.store(tree)
        if model.n_out != self.n_outputs_:
            raise ShapeError(
                f"layers: the network has {model.n_out} outputs, but these targets need "
                f"{self.n_outputs_}: end it with Dense({self.n_outputs_})"
            )
        self.model_ = model
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(self.coefs_) + 1
        self.out_activation_ = _OUT_ACTIVATIONS.get(type(loss).__name__, "identity")
        self._no_improvement_count = 0
        self._best: tuple[Any, Any] | None = None
        self._raw: Storage | None = None
        self.best_loss_ = self.best_validation_score_ = None

    def _objective(self) -> Objective:
        """Describe what is minimised."""
        loss, factor = self._choose_loss()
        model = self.model_
        return Objective(
            model.network, model.layout, loss, factor, float(self.alpha), float(self.l2_per_sample)
        )

    # The stochastic solvers

    def _rate_mode(self) -> str:
        """Tell which of scikit-learn's schedules is followed."""
        own = self.optimizer is None and self.schedule is None and self.solver == "sgd"
        return str(self.learning_rate) if own else "constant"

    def _new_optimizer(self) -> Optimizer:
        """Make the optimiser that the parameters describe."""
        rate: Any = self.schedule or float(self.learning_rate_init)
        if isinstance(self.optimizer, Optimizer):
            optimizer = self.optimizer
            if self.schedule is not None:
                optimizer = replace(optimizer, learning_rate=self.schedule)
        elif self.optimizer is not None:
            optimizer = OPTIMIZERS[self.optimizer](rate)
        elif self.solver == "sgd":
            recorded = self._rate_mode() != "constant"
            optimizer = SklearnSGD(
                Recorded(rate) if recorded else rate,
                momentum=float(self.momentum),
                nesterov=bool(self.nesterovs_momentum),
            )
        else:
            optimizer = SklearnAdam(
                rate, float(self.beta_1), float(self.beta_2), float(self.epsilon)
            )
        if self.clip_norm is not None:
            optimizer = replace(optimizer, clip_norm=float(self.clip_norm))
        return cast(Optimizer, plain(optimizer))

    def _descend(
        self, rows: Batch, given: Any, original: Any, y: Any, random: Any, incremental: bool
    ) -> None:
        """Train by steps on batches until the rules of convergence, or ``max_iter``, end it."""
        model = self.model_
        n_rows = int(rows.x.shape[0])
        chosen, measure = self._validation(rows, given, original, y, random)
        n_samples = n_rows if chosen is None else len(chosen)
        source = samples(
            rows,
            model.backend,
            model.dtype,
            self._size_of_batch(n_samples),
            chosen=chosen,
            random=random if self.shuffle else None,
        )
        if self.early_stopping and self.best_validation_score_ is None:
            self.best_loss_, self.best_validation_score_ = None, -np.inf
        elif not self.early_stopping and self.best_loss_ is None:
            self.best_loss_, self.best_validation_score_ = np.inf, None
        self._resume(incremental)
        optimizer: Any = model.training.optimizer
        objective = self._objective()
        step = model.compiled(
            (
                replace(optimizer, learning_rate=1.0),
                objective.loss,
                objective.factor,
                objective.alpha,
                objective.l2,
                self._descent,
                self.average_weights,
            ),
            lambda: objective.training_step(optimizer, self._descent, self.average_weights),
            donate=(0, 1, 2),
        )
        step = model.repeated(step, optimizer)
        epochs = 1 if incremental else int(self.max_iter)
        fit = loop.Fit(model, epochs, penalizes=objective.penalizes)
        bar = [ProgressBar()] if self.progress else []
        callbacks = [Convergence(self, n_samples, measure), *(self.callbacks or ()), *bar]
        self.n_iter_ = 0
        try:
            loop.train(fit, source, None, step, callbacks)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            for one in bar:
                one.close()
            self._keep(incremental)
        if not incremental and fit.stop_reason is None and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _size_of_batch(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=6,
            )
        return min(int(self.batch_size), n_samples)

    def _resume(self, incremental: bool) -> None:
        """Put the parameters back that training goes on from, and begin an optimiser if needed."""
        training = self.model_.training
        if self._raw is not None:
            training.params, self._raw = self._placed(self._raw), None
        averages = self.average_weights is not None
        goes_on = (
            incremental
            and training.optimizer is not None
            and averages == ("average" in training.slots)
        )
        if goes_on:
            return
        optimizer = self._new_optimizer()
        slots = optimizer.init(training.params)
        if averages:
            zeros = SklearnSGD().init(training.params)["velocity"]
            slots["average"] = zeros
        training.optimizer, training.slots = optimizer, slots
        training.step, training.first_epoch = 0, training.epoch

    def _predicting(self, training: TrainingState) -> Any:
        """Give the parameters that predict: the averaged ones, if there is an average."""
        if self.average_weights is None or training.step == 0:
            return training.params
        return unbiased(training.slots["average"], self.average_weights, training.step)

    def _keep(self, incremental: bool) -> None:
        """Leave the parameters that predict in the model, and keep those to go on from."""
        training = self.model_.training
        best = None
        if self.early_stopping and (self.converged_ or not incremental):
            best = self._best
        if best is not None:
            # Early stopping is about what predicts, so later training goes on from there, too.
            training.params, training.state = self._placed(best)
        elif self.average_weights is not None and training.step > 0:
            self._raw = training.params
            training.params = self._predicting(training)

    def _placed(self, tree: Any) -> Any:
        """Copy kept arrays to the backend, where they may not be after unpickling."""
        backend = self.model_.backend
        return copies(map_leaves(backend.asarray, tree))

    def __getstate__(self) -> dict[str, Any]:
        """Hold NumPy arrays, which can be read where the backend cannot be used."""
        state = dict(super().__getstate__())
        for name in ("_raw", "_best"):
            if state.get(name) is not None:
                state[name] = map_leaves(to_numpy, state[name])
        return state

    # Validation

    def _validation(
        self, rows: Batch, given: Any, original: Any, y: Any, random: Any
    ) -> tuple[Any, Callable[[], tuple[float, float]] | None]:
        """Choose the rows to train on, and build what measures the others, if there are any."""
        metric = self.early_stopping_metric
        scorer = None if metric is None else check_scoring(self, scoring=metric)
        if self.validation_data is not None:
            if len(self.validation_data) not in (2, 3):
                raise ValueError(
                    "validation_data: expected (X, y) or (X, y, sample_weight), got "
                    f"{len(self.validation_data)} entries"
                )
            X_user, y_user, weights = (*self.validation_data, None)[:3]
            X, y_held = arrays.validated(
                self, X_user, y_user, reset=False, needs_y=True, y_numeric=self._y_numeric
            )
            held = Batch(X, self._encode(y_held, first=False, incremental=True))
            weights = arrays.validated_weights(weights, X.shape[0])
            shown = arrays.for_scorer(X_user, y_held)
            return None, partial(self._measure, held, weights, scorer, *shown)
        if not self.early_stopping:
            return None, None
        n_samples = int(rows.x.shape[0])
        train, held_rows = train_test_split(
            np.arange(n_samples),
            random_state=random,
            test_size=self.validation_fraction,
            stratify=rows.y if self._stratifies else None,
        )
        if len(held_rows) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        held = next(
            samples(
                rows._replace(weights=None),
                self.model_.backend,
                self.model_.dtype,
                len(held_rows),
                chosen=held_rows,
                resident=False,
            ).epoch(0)
        )
        weights = None if given is None else given[held_rows]
        X = rows.x if not is_host(rows.x) else original
        shown = arrays.for_scorer(arrays.rows_of(X, held_rows), y[held_rows])
        return train, partial(self._measure, held, weights, scorer, *shown)

    @property
    def _stratifies(self) -> bool:
        """Whether the validation data get the same share of each class."""
        return False

    def _measure(
        self, held: Batch, weights: Any, scorer: Any, X: Any, y: Any
    ) -> tuple[float, float]:
        """Measure the validation data: the mean loss without penalty, and the score."""
        model = self.model_
        training = model.training
        raw, training.params = training.params, self._predicting(training)
        try:
            outputs = self._raw_outputs(held.x)
            loss = self._validation_loss(outputs, held.y, weights)
            if scorer is None:
                return loss, float(self._score_of(outputs, to_numpy(held.y), weights))
            return loss, float(scorer(self, X, y))
        finally:
            training.params = raw

    def _validation_loss(self, outputs: Array, y: Any, weights: Any) -> float:
        loss, factor = self._choose_loss()
        if getattr(loss, "label_smoothing", 0.0):
            loss = replace(loss, label_smoothing=0.0)  # type: ignore[type-var]
        backend, dtype = self.model_.backend, self.model_.dtype
        if weights is not None:
            weights = backend.asarray(weights / weights.mean(), dtype)
        y = backend.asarray(y, None if y.ndim == 1 else dtype)
        value, _ = mean_loss(loss, outputs, y, weights)
        return factor * float(to_numpy(value))

    # L-BFGS

    def _minimize(self, rows: Batch) -> None:
        """Minimise the loss of all samples together."""
        model = self.model_
        noise = model.network.noise(tuple(rows.x.shape), Blank(None, model.backend, model.dtype))
        state = named(model.training.state)
        if state or any(leaf is not None for leaf in named(noise).values()):
            raise ValueError(
                "solver='lbfgs' minimises one and the same function throughout, which dropout and "
                "batch normalisation change at each step. Use solver='adam' or 'sgd'"
            )
        if self._raw is not None:
            model.training.params, self._raw = self._placed(self._raw), None
        chunked = hasattr(rows.x, "toarray") and rows.x.shape[0] > SPARSE_BATCH
        size = SPARSE_BATCH if chunked else int(rows.x.shape[0])
        problem = lbfgs.Problem(
            model, self._objective(), samples(rows, model.backend, model.dtype, size)
        )
        measure = None
        if self.validation_data is not None:
            _, measure = self._validation(rows, None, None, None, None)
        fit = loop.Fit(model, int(self.max_iter))
        bar = [ProgressBar()] if self.progress else []
        callbacks = [*(self.callbacks or ()), *bar]

        def on_iteration(value: float) -> bool:
            training = model.training
            training.epoch += 1
            row = {"epoch": float(training.epoch), "train_loss": value}
            if measure is not None:
                row["validation_loss"], row["validation_score"] = measure()
            training.history.rows.append(row)
            fit.epochs_done += 1
            if self.verbose:
                print(f"Iteration {fit.epochs_done}, loss = {value:.8f}")
            for one in callbacks:
                one.on_epoch_end(fit)
            return fit.stop_reason is None

        try:
            for one in callbacks:
                one.on_train_begin(fit)
            self.loss_, self.n_iter_, self.converged_ = lbfgs.minimize(
                problem,
                max_iter=int(self.max_iter),
                max_fun=int(self.max_fun),
                tol=float(self.tol),
                on_iteration=on_iteration,
            )
            for one in callbacks:
                one.on_train_end(fit)
        finally:
            for one in bar:
                one.close()
        if not np.all(np.isfinite(problem.start())):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    # What fitting has left --------------------------------------------------------------------

    def _leaves(self, name: str) -> list[Array]:
        """List the parameters of that name, layer by layer."""
        if "model_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} has not been fitted yet")
        model = self.model_
        with model.backend.scope(model.dtype):
            tree = model.layout.restore(model.training.params)
            found = [a for path, a in named(tree).items() if path.rpartition(".")[2] == name]
            if self._fitted_on == "numpy":
                found = [arrays.shown(one) for one in found]
            return Parameters(found, partial(self._set_leaves, name))

    def _set_leaves(self, name: str, values: Sequence[Any]) -> None:
        model = self.model_
        remaining = iter(values)
        with model.backend.scope(model.dtype):
            tree = model.layout.restore(model.training.params)
            leaves = iter(
                model.backend.asarray(next(remaining), model.dtype)
                if path.rpartition(".")[2] == name
                else leaf
                for path, leaf in named(tree).items()
            )
            model.training.params = model.layout.store(map_leaves(lambda _: next(leaves), tree))

    # Weights, curves

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrix of each dense layer, of shape (n_in, n_out)."""
        return self._leaves("weight")

    @coefs_.setter
    def coefs_(self, values: Sequence[Any]) -> None:
        self._set_leaves("weight", values)

    @property
    def intercepts_(self) -> list[Array]:
        """The bias of each dense layer."""
        return self._leaves("bias")

    @intercepts_.setter
    def intercepts_(self, values: Sequence[Any]) -> None:
        self._set_leaves("bias", values)

    def _curve(self, name: str) -> list[float]:
        if "model_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} has not been fitted yet")
        return [row[name] for row in self.model_.history if name in row]

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

    def _raw_outputs(self, X: Any) -> Array:
        """Compute the raw outputs of checked inputs, on the model's device."""
        model = self.model_
        source = samples(Batch(X), model.backend, model.dtype, PREDICTION_BATCH, resident=False)
        return loop.outputs_of(model, source).x

    def _compute(self, X: Any, method: str, read: Callable[[Array], Array]) -> Array:
        """Check inputs, compute and read their outputs, and give that back where they came from."""
        check_is_fitted(self, "model_")
        X, _ = arrays.validated(self, X, reset=False, needs_y=False)
        arrays.check_namespace(self, X, method)
        with self.model_.backend.scope(self.model_.dtype):
            return arrays.given_back(read(self._raw_outputs(X)), X)

    # Files and other libraries

    def to_sklearn(self) -> Any:
        """Make scikit-learn's own estimator with these weights: the same predictions.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor

        Raises
        ------
        ValueError
            scikit-learn has no such network or loss: it has dense layers with one of its four
            activations.
        """
        from anyback_nn.sklearn.interchange import to_sklearn

        return to_sklearn(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        The file is also one of `anyback_nn.Model`. What it cannot hold is left out, and has its
        default after loading: ``callbacks``, ``validation_data``, a function as
        ``early_stopping_metric`` and a generator as ``random_state``. Nor does it hold what
        `partial_fit` would need with ``average_weights`` or ``early_stopping``, the weights that
        are averaged and the best ones so far: it goes on from the weights that predict.

        Raises
        ------
        CheckpointError
            The file cannot be written, or the classes are neither numbers nor text.
        """
        check_is_fitted(self, "model_")
        files.write(self, path)

    @classmethod
    def load(cls, path: str | Path, backend: str | Backend | None = None) -> Self:
        """Read a file that `save` wrote, wherever it was fitted.

        Parameters
        ----------
        path : str or Path
        backend : str or Backend, optional
            What computes from now on. Default: the estimator's own where it can be used here, and
            NumPy where not.

        Raises
        ------
        CheckpointError
            There is no such file, or it does not hold an estimator of this class.
        """
        estimator: Self = files.read(cls, path, backend)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


class Parameters(list[Array]):
    """The arrays of all layers; to replace one of them is to replace it in the model.

    Parameters
    ----------
    arrays : sequence of array
    keep : callable
        Puts all of them into the model.
    """

    def __init__(self, arrays: Sequence[Array], keep: Callable[[Sequence[Array]], None]) -> None:
        super().__init__(arrays)
        self._keep = keep

    def __setitem__(self, position: Any, value: Any) -> None:
        super().__setitem__(position, value)
        self._keep(self)

    def __reduce__(self) -> Any:
        """Be a plain list in a copy."""
        return list, (list(self),)


_OUT_ACTIVATIONS = {
    "SoftmaxCrossEntropy": "softmax",
    "BinaryCrossEntropy": "logistic",
    "Poisson": "exp",
}
"""scikit-learn's name of a loss's link; of the others it is the identity."""

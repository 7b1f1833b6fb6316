"""What the classifier and the regressor have in common: training, prediction, files."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.errors import DivergenceError, ShapeError
from anyback_nn.inputs.batches import Batch
from anyback_nn.model import Model
from anyback_nn.network.activations import Activation
from anyback_nn.network.layer import Layer
from anyback_nn.network.layout import Packed
from anyback_nn.network.losses import Loss, mean_loss
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.random import Zeros, generator
from anyback_nn.sklearn import arrays, files, lbfgs, networks
from anyback_nn.sklearn.convergence import Convergence
from anyback_nn.sklearn.objective import Objective
from anyback_nn.sklearn.samples import Samples, rows_at_once, samples
from anyback_nn.sklearn.solvers import Recorded, SklearnAdam, SklearnSGD, unbiased
from anyback_nn.sklearn.validation import scoring, takes_weights
from anyback_nn.training import loop
from anyback_nn.training.callbacks import Callback, EarlyStopping, ProgressBar, check_callbacks
from anyback_nn.training.out_of_memory import has_room
from anyback_nn.training.state import TrainingState
from anyback_nn.tree import tree_copy, tree_map, tree_named_leaves
from anyback_nn.utils.arguments import to_python_scalars

__all__ = ["BaseMLP"]

PREDICTION_BATCH = 4096
"""How many samples are computed at once in prediction, at most."""

Measure = Callable[[], tuple[float, float]]
"""What gives the loss and the score of the validation data."""


class Prepared(NamedTuple):
    """What a call of fit trains on, and what measures the validation data, if there are any."""

    source: Samples
    measure: Measure | None


def is_stochastic(estimator: BaseMLP) -> bool:
    """Tell whether training goes in epochs, so that there is `partial_fit`."""
    if not estimator._in_epochs:
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
        before = dict(vars(self))
        try:
            prepared = self._prepared(X, y, sample_weight, incremental, classes)
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
                    self._descend(prepared, incremental)
                else:
                    self._minimize(prepared)
        except DivergenceError as error:
            raise ValueError(f"Solver produced non-finite parameter weights: {error}.") from error
        return self

    _y_numeric = False

    @property
    def _in_epochs(self) -> bool:
        """Whether training goes in epochs of steps, and not in iterations of L-BFGS."""
        return self.solver != "lbfgs" or self.optimizer is not None

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any
    ) -> Prepared | None:
        """Check everything and set what fit sets before training; None if it has ended for good."""
        networks.hidden_sizes(self.hidden_layer_sizes)
        self._check_callbacks()
        metric = self.early_stopping_metric
        scorer = None if metric is None else check_scoring(self, scoring=metric)
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        original = X
        X, y = arrays.validated(self, X, y, reset=first, needs_y=True, y_numeric=self._y_numeric)
        labels = self._encode(y, first=first, incremental=incremental, classes=classes)
        targets = self._choose_loss()[0].check_targets(labels, self.n_outputs_)
        given = arrays.validated_weights(sample_weight, X.shape[0])
        weights = self._with_class_weight(given, labels, incremental)
        if incremental and not first and self.early_stopping and self.converged_:
            warnings.warn(
                "early stopping has ended the training of this estimator: partial_fit changes "
                "nothing any more. Call fit, or set early_stopping=False, to go on",
                stacklevel=5,
            )
            return None
        random = check_random_state(self.random_state)
        if first:
            self._begin(X, random)
        else:
            self._warn_of_settings_without_effect()
        self._fitted_on = arrays.origin(X)
        model = self.model_
        with model.backend.scope(model.dtype):
            self._check_determinism(tuple(X.shape))
            rows = Batch(X, targets, weights)
            chosen = measure = None
            if self.validation_data is not None:
                measure = self._given_validation(scorer)
            elif self.early_stopping and self._in_epochs:
                chosen, held = self._split(labels, random, incremental)
                part = Batch(*(arrays.rows_of(one, held) for one in (X, targets, given)))
                # A scorer gets a table where a table was given.
                shown = original if hasattr(original, "iloc") or hasattr(original, "columns") else X
                seen = None if scorer is None else (arrays.rows_of(shown, held), y[held])
                measure = self._measuring(part, scorer, seen)
            n_samples = int(X.shape[0]) if chosen is None else len(chosen)
            size = self._size_of_batch(n_samples, X)
            source = samples(
                rows,
                model.backend,
                model.dtype,
                size,
                chosen=chosen,
                random=random if self.shuffle and self._in_epochs else None,
                resident=has_room(model, rows, size),
            )
        return Prepared(source, measure)

    def _check_callbacks(self) -> None:
        """Refuse callbacks that are none, or that undo what the parameters ask for."""
        callbacks = self.callbacks or ()
        check_callbacks(callbacks)
        restores = any(isinstance(one, EarlyStopping) and one.restore_best for one in callbacks)
        if restores and self.average_weights is not None and self._in_epochs:
            raise ValueError(
                "callbacks: EarlyStopping puts the best weights back, but with average_weights "
                "their average predicts. Use early_stopping=True instead, which restores the best "
                "average, or EarlyStopping(restore_best=False)"
            )

    def _check_determinism(self, shape: tuple[int, ...]) -> None:
        """Refuse layers that make of what is minimised another function at each step of L-BFGS."""
        if self._in_epochs:
            return
        model = self.model_
        noise = model.network.noise(shape, Zeros(None, model.backend, model.dtype))
        if tree_named_leaves(model.training.state) or any(
            leaf is not None for leaf in tree_named_leaves(noise).values()
        ):
            raise ValueError(
                "solver='lbfgs' minimises one and the same function throughout, which dropout and "
                "batch normalisation change at each step. Use solver='adam' or 'sgd'"
            )

    def _with_class_weight(self, weights: Any, labels: Any, incremental: bool) -> Any:
        """Multiply the weights of samples with those of their classes, if there are any."""
        return weights

    def _described_layers(self) -> Sequence[Layer]:
        """List the layers that the parameters describe."""
        if self.layers is not None:
            others = [name for name in ("dropout", "batch_norm") if getattr(self, name)]
            if others:
                raise ValueError(
                    f"layers describes the whole network, and {' and '.join(others)} would have no "
                    "effect: put them into layers, or leave layers out"
                )
            return cast(Sequence[Layer], self.layers)
        sizes = networks.hidden_sizes(self.hidden_layer_sizes)
        return networks.stacked(
            sizes, self.activation, self.dropout, self.batch_norm, self.n_outputs_
        )

    def _begin(self, X: Any, random: Any) -> None:
        """Make a new model with its first weights, and set what counts from here."""
        backend = arrays.choose_backend(self.backend, X)
        n_in, layers = int(X.shape[1]), self._described_layers()
        dtype = arrays.named_dtype(self.dtype)
        pairs = (
            None
            if self.layers is not None
            else networks.drawn(layers, self.activation, n_in, random)
        )
        # A number is drawn only where one is needed, so that the others stay scikit-learn's.
        seeded = self.layers is not None or bool(self.dropout)
        model = Model(
            *layers,
            loss=self._choose_loss()[0],
            backend=backend,
            seed=int(random.randint(2**31 - 1)) if seeded else 0,
            dtype=arrays.choose_dtype(dtype, X, backend, lbfgs=not self._in_epochs),
            metrics=(),
        )
        if pairs is None:
            model.build(n_in)
        else:
            model._build(n_in, Zeros(generator(0, "weights"), backend, model.dtype))
            with backend.scope(model.dtype):
                tree = model.layout.unpack(model.training.params)
                tree = networks.filled(tree, model.network.layers, pairs, backend, model.dtype)
                model.training.params = model.layout.pack(tree)
        if model.n_out != self.n_outputs_:
            raise ShapeError(
                f"layers: the network has {model.n_out} outputs, but these targets need "
                f"{self.n_outputs_}: end it with Dense({self.n_outputs_})"
            )
        self.model_ = model
        self._reset(arrays.origin(X))
        self.n_layers_ = len(self.coefs_) + 1
        self._set_loss()

    def _reset(self, fitted_on: str) -> None:
        """Set what training counts and keeps to what it is before the first step."""
        self._fitted_on = fitted_on
        self.n_iter_ = self.t_ = 0
        self.converged_ = False
        self.__dict__.pop("loss_", None)
        self.best_loss_ = self.best_validation_score_ = None
        self._no_improvement_count = 0
        self._best: tuple[Any, Any] | None = None
        self._raw: Packed | None = None
        self._rules, self._asked = self._described_rules(), self._spec()

    def _adopt(self) -> None:
        """Take the weights that came from elsewhere for the best, where their score came too."""
        score = self.best_validation_score_
        if score is not None and np.isfinite(score):
            training = self.model_.training
            self._best = (tree_copy(training.params), tree_copy(training.state))

    def _set_loss(self) -> None:
        """Let the model have the loss that the parameters describe: it may be another by now."""
        model, loss = self.model_, to_python_scalars(self._choose_loss()[0])
        if loss != model.loss:
            model.loss = loss
            # What is compiled for itself alone is not told apart by the loss.
            model._own_compiled.clear()
        self.out_activation_ = _OUT_ACTIVATIONS.get(type(loss).__name__, "identity")

    def _spec(self) -> str:
        """Give the backend that is asked for as text."""
        return self.backend.spec if isinstance(self.backend, Backend) else str(self.backend)

    def _warn_of_settings_without_effect(self) -> None:
        """Say which of our parameters have been changed that count only where a fit begins."""
        model, changed = self.model_, []
        if Network(*self._described_layers()) != model.network:
            changed.append("the network (hidden_layer_sizes, activation, layers, ...)")
        spec = self._spec()
        if spec not in ("auto", self._asked, model.backend.spec):
            changed.append(f"backend={spec!r}")
        if arrays.named_dtype(self.dtype) not in (None, model.dtype):
            changed.append(f"dtype={self.dtype!r}")
        if changed:
            warnings.warn(
                f"{' and '.join(changed)}: what was changed here since the first fit has no effect "
                "before fit is called with warm_start=False",
                stacklevel=6,
            )

    def _objective(self) -> Objective:
        """Describe what is minimised."""
        _, factor = self._choose_loss()
        model = self.model_
        return Objective(
            model.network,
            model.layout,
            model.loss,
            factor,
            float(self.alpha),
            float(self.l2_per_sample),
        )

    @contextmanager
    def _called(self) -> Iterator[list[Callback]]:
        """Give the user's callbacks, and a progress bar that does not outlast training."""
        bar = ProgressBar() if self.progress else None
        try:
            yield [*(self.callbacks or ()), *([bar] if bar else [])]
        finally:
            if bar:
                bar.close()

    # The stochastic solvers

    def _described_rules(self) -> tuple[Any, ...]:
        """Give our parameters of the optimiser: where they change, a new one begins.

        The parameters that scikit-learn has too count, as there, where an optimiser begins.
        """
        return (self.optimizer, self.schedule, self.clip_norm, self.average_weights)

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
            if self.schedule is None and self.learning_rate != "constant":
                rate = Recorded(rate, self.learning_rate, float(self.power_t))
            optimizer = SklearnSGD(
                rate, momentum=float(self.momentum), nesterov=bool(self.nesterovs_momentum)
            )
        else:
            optimizer = SklearnAdam(
                rate, float(self.beta_1), float(self.beta_2), float(self.epsilon)
            )
        if self.clip_norm is not None:
            optimizer = replace(optimizer, clip_norm=float(self.clip_norm))
        return cast(Optimizer, to_python_scalars(optimizer))

    def _descend(self, prepared: Prepared, incremental: bool) -> None:
        """Train by steps on batches until the rules of convergence, or ``max_iter``, end it."""
        model, source = self.model_, prepared.source
        if self.early_stopping and self.best_validation_score_ is None:
            self.best_loss_, self.best_validation_score_ = None, -np.inf
        elif not self.early_stopping and self.best_loss_ is None:
            self.best_loss_, self.best_validation_score_ = np.inf, None
        self._resume(incremental)
        optimizer: Any = model.training.optimizer
        objective = self._objective()
        settings = (optimizer, self._descent, self.average_weights)
        step, chained = model.steps(
            # The model tells losses apart: those that cannot be hashed, too.
            (objective.factor, len(objective.numbers), *settings[1:]),
            optimizer,
            lambda: objective.training_step(*settings),
        )
        epochs = 1 if incremental else int(self.max_iter)
        numbers = objective.numbers
        fit = loop.Fit(model, epochs, numbers=numbers)
        rules = Convergence(self, source.n_samples, prepared.measure)
        try:
            with self._called() as callbacks:
                loop.train(fit, source, None, step, [rules, *callbacks], chained)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            self._keep(incremental)
        if not incremental and fit.stop_reason is None and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _size_of_batch(self, n_samples: int, X: Any) -> int:
        """Choose how many samples are computed at once: for L-BFGS, as many as memory allows."""
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

    def _restore_raw(self) -> bool:
        """Put the weights back in whose place the average is; tell whether there were any."""
        raw, self._raw = self._raw, None
        if raw is not None:
            self.model_.training.params = self._placed(raw)
        return raw is not None

    def _resume(self, incremental: bool) -> None:
        """Put the parameters back that training goes on from, and begin an optimiser if needed."""
        training = self.model_.training
        restored, averages = self._restore_raw(), self.average_weights is not None
        rules, self._rules = self._rules, self._described_rules()
        goes_on = (
            incremental
            and training.optimizer is not None
            and rules == self._rules
            and averages == ("average" in training.slots)
        )
        if goes_on:
            if averages and not restored:
                # Others have taken their place: the average goes on from those.
                weight = 1.0 - self.average_weights**training.step
                training.slots["average"] = tuple(weight * one for one in training.params)
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
        # In L-BFGS there is none, whatever steps were taken before.
        if self.average_weights is None or training.step == 0 or not self._in_epochs:
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
        return tree_copy(tree_map(backend.asarray, tree))

    def __getstate__(self) -> dict[str, Any]:
        """Hold NumPy arrays, which can be read where the backend cannot be used."""
        state = dict(super().__getstate__())
        for name in ("_raw", "_best"):
            if state.get(name) is not None:
                state[name] = tree_map(to_numpy, state[name])
        return state

    # Validation

    def _given_validation(self, scorer: Any) -> Measure:
        """Check the validation data that were given, and build what measures them."""
        if len(self.validation_data) not in (2, 3):
            raise ValueError(
                "validation_data: expected (X, y) or (X, y, sample_weight), got "
                f"{len(self.validation_data)} entries"
            )
        X_given, y_given, weights = (*self.validation_data, None)[:3]
        X, y = arrays.validated(
            self, X_given, y_given, reset=False, needs_y=True, y_numeric=self._y_numeric
        )
        labels = self._encode(y, first=False, incremental=True)
        targets = self._choose_loss()[0].check_targets(labels, self.n_outputs_)
        weights = arrays.validated_weights(weights, X.shape[0])
        if weights is not None and scorer is not None and not takes_weights(scorer):
            raise ValueError(
                "validation_data: early_stopping_metric does not take the weights that are given "
                "here. Let it have a parameter sample_weight, or leave them out"
            )
        return self._measuring(Batch(X, targets, weights), scorer, (X_given, y))

    def _split(self, labels: Any, random: Any, incremental: bool) -> tuple[Any, Any]:
        """Draw which rows train and which are set aside."""
        n_samples = len(labels)
        stratifies = self._stratifies
        if incremental:
            # A batch need not have what a stratified split needs, nor all classes.
            n_held = math.ceil(self.validation_fraction * n_samples)
            if n_held < 2:
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} of the {n_samples} samples of "
                    f"this call is {n_held}, too small to be scored. Pass larger batches, or set "
                    "validation_data"
                )
            counts = np.unique(labels, return_counts=True)[1]
            enough = counts.min() >= 2 and min(n_held, n_samples - n_held) >= len(counts)
            stratifies = stratifies and enough
        train, held = train_test_split(
            np.arange(n_samples),
            random_state=random,
            test_size=self.validation_fraction,
            stratify=labels if stratifies else None,
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        return train, held

    @property
    def _stratifies(self) -> bool:
        """Whether the validation data get the same share of each class."""
        return False

    def _measuring(self, held: Batch, scorer: Any, seen: Any) -> Measure:
        """Build what measures rows; a scorer gets ``seen``, their inputs and targets as given."""
        model, weights = self.model_, held.weights
        score = None
        if scorer is not None:
            X, y = map(arrays.on_host, seen)
            score = scoring(scorer, self, X, y, weights)
        size = rows_at_once(int(held.x.shape[1]))
        held = held._replace(weights=None)
        resident = has_room(model, held, size)
        source = samples(held, model.backend, model.dtype, size, resident=resident)
        return partial(self._measure, source, weights, score)

    def _measure(
        self, source: Samples, weights: Any, score: Callable[[], float] | None
    ) -> tuple[float, float]:
        """Measure the validation data: the mean loss without penalty, and the score."""
        model = self.model_
        training = model.training
        raw, training.params = training.params, self._predicting(training)
        try:
            outputs, y, _ = loop.outputs_of(model, source)
            loss = self._validation_loss(outputs, y, weights)
            own = self._score_of(outputs, to_numpy(y), weights) if score is None else score()
            return loss, float(own)
        finally:
            training.params = raw

    def _validation_loss(self, outputs: Array, y: Array, weights: Any) -> float:
        loss, factor = self._choose_loss()
        if getattr(loss, "label_smoothing", 0.0):
            loss = replace(loss, label_smoothing=0.0)  # type: ignore[type-var]
        if weights is not None:
            weights = self.model_.backend.asarray(weights / weights.mean(), self.model_.dtype)
        value, _ = mean_loss(loss, outputs, y, weights)
        return factor * float(to_numpy(value))

    # L-BFGS

    def _minimize(self, prepared: Prepared) -> None:
        """Minimise the loss of all samples together."""
        model = self.model_
        self._restore_raw()
        problem = lbfgs.Problem(model, self._objective(), prepared.source)
        fit = loop.Fit(model, int(self.max_iter))
        with self._called() as callbacks:

            def on_begin() -> bool:
                for one in callbacks:
                    one.on_epoch_begin(fit)
                return fit.stop_reason is None

            def on_iteration(value: float) -> bool:
                training = model.training
                training.epoch += 1
                self.loss_, self.n_iter_ = value, self.n_iter_ + 1
                row = {"epoch": float(training.epoch), "train_loss": value}
                if prepared.measure is not None:
                    row["validation_loss"], row["validation_score"] = prepared.measure()
                training.history.rows.append(row)
                fit.epochs_done += 1
                if self.verbose:
                    print(f"Iteration {fit.epochs_done}, loss = {value:.8f}")
                for one in callbacks:
                    one.on_epoch_end(fit)
                return fit.stop_reason is None

            for one in callbacks:
                one.on_train_begin(fit)
            found = None
            if fit.stop_reason is None:
                found = lbfgs.minimize(
                    problem,
                    max_iter=int(self.max_iter),
                    max_fun=int(self.max_fun),
                    tol=float(self.tol),
                    on_begin=on_begin,
                    on_iteration=on_iteration,
                )
            if found is not None:
                self.loss_, self.n_iter_, self.converged_ = found
            for one in callbacks:
                one.on_train_end(fit)
        if not np.all(np.isfinite(problem.start())):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    # What fitting has left --------------------------------------------------------------------

    def _fitted_model(self) -> Model:
        """Give the model, or raise what a missing attribute raises."""
        if "model_" not in vars(self):
            raise AttributeError(
                f"this {type(self).__name__} has not been fitted yet: call fit first"
            )
        return self.model_

    def _leaves(self, name: str) -> list[Array]:
        """List the parameters of that name, layer by layer."""
        model = self._fitted_model()
        with model.backend.scope(model.dtype):
            tree = model.layout.unpack(model.training.params)
            found = [
                a for path, a in tree_named_leaves(tree).items() if path.rpartition(".")[2] == name
            ]
            if self._fitted_on == "numpy":
                found = [arrays.shown(one) for one in found]
            return Parameters(found, partial(self._set_leaves, name))

    def _set_leaves(self, name: str, values: Sequence[Any]) -> None:
        """Replace the parameters of that name."""
        model = self._fitted_model()
        shapes = [leaf.shape for leaf in model.layout.leaves if leaf.name.endswith(f".{name}")]
        with model.backend.scope(model.dtype):
            given = [model.backend.asarray(one, model.dtype) for one in values]
            found = [tuple(one.shape) for one in given]
            if found != shapes:
                attribute = {"weight": "coefs_", "bias": "intercepts_"}[name]
                raise ShapeError(f"{attribute}: expected arrays of shapes {shapes}, got {found}")
            remaining = iter(given)
            tree = model.layout.unpack(model.training.params)
            leaves = iter(
                next(remaining) if path.rpartition(".")[2] == name else leaf
                for path, leaf in tree_named_leaves(tree).items()
            )
            model.training.params = model.layout.pack(tree_map(lambda _: next(leaves), tree))
        # Training goes on from these.
        self._raw = None

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

    def _raw_outputs(self, X: Any) -> Array:
        """Compute the raw outputs of checked inputs, on the model's device."""
        model = self.model_
        size = min(PREDICTION_BATCH, rows_at_once(int(X.shape[1])))
        source = samples(Batch(X), model.backend, model.dtype, size, resident=False)
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
        ``early_stopping_metric`` and a generator as ``random_state``. Of the weights, it holds
        those that predict. Training goes on from these, and with early stopping they are the best
        so far, as they are after `fit`; while `partial_fit` has not ended, those may be others.

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

"""The stochastic solvers: epochs of steps on batches, until the rules of convergence end them."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from anyback_nn.inputs.batches import ArraySource
from anyback_nn.optim.like_sklearn import EpochSchedule, SklearnAdam, SklearnSGD
from anyback_nn.optim.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.sklearn.convergence import Convergence
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.sklearn.validation import Validation
from anyback_nn.training import loop
from anyback_nn.training.fit import FitContext
from anyback_nn.training.resume import (
    Checkpoint,
    describe_arguments,
    find_source,
    find_writer,
    resume_fit,
)
from anyback_nn.tree import tree_copy
from anyback_nn.utils.arguments import to_python_scalars

__all__ = ["build_optimizer", "train"]


def build_optimizer(mlp: Estimator) -> Optimizer:
    """Create the optimiser that the parameters describe."""
    rate: Any = mlp.schedule or float(mlp.learning_rate_init)
    if isinstance(mlp.optimizer, Optimizer):
        optimizer = mlp.optimizer
        if mlp.schedule is not None:
            optimizer = replace(optimizer, learning_rate=mlp.schedule)
    elif mlp.optimizer is not None:
        optimizer = OPTIMIZERS[mlp.optimizer](rate)
    elif mlp.solver == "sgd":
        if mlp.schedule is None and mlp.learning_rate != "constant":
            rate = EpochSchedule(rate, mlp.learning_rate, float(mlp.power_t))
        optimizer = SklearnSGD(
            rate, momentum=float(mlp.momentum), nesterov=bool(mlp.nesterovs_momentum)
        )
    else:
        optimizer = SklearnAdam(rate, float(mlp.beta_1), float(mlp.beta_2), float(mlp.epsilon))
    if mlp.clip_norm is not None:
        optimizer = replace(optimizer, clip_norm=float(mlp.clip_norm))
    return cast(Optimizer, to_python_scalars(optimizer))


def train(
    mlp: Estimator, source: ArraySource, validation: Validation | None, *, incremental: bool
) -> None:
    """Train for an epoch if that is incremental, and else until convergence or ``max_iter``."""
    model = mlp.model_
    if mlp.early_stopping and mlp.best_validation_score_ is None:
        mlp.best_loss_, mlp.best_validation_score_ = None, -np.inf
    elif not mlp.early_stopping and mlp.best_loss_ is None:
        mlp.best_loss_, mlp.best_validation_score_ = np.inf, None
    _resume_or_begin(mlp, incremental=incremental)
    fit = FitContext(model, 1 if incremental else int(mlp.max_iter))
    writer = find_writer(mlp.callbacks or ())
    if writer is not None:
        _prepare_checkpoints(mlp, fit, source, writer, resumes=mlp.warm_start and not incremental)
    optimizer: Any = model.training.optimizer
    objective = mlp._build_objective()
    fit.penalty_coefficients = objective.coefficients
    settings = (mlp._gradient_factor, mlp.average_weights)
    steps = model.compile_steps(
        # The model distinguishes losses, even those that cannot be hashed.
        (objective.factor, len(objective.coefficients), *settings),
        optimizer,
        lambda: objective.build_halves(optimizer, *settings),
        source.ranks,
    )
    if mlp.early_stopping and not incremental:
        # The best weights are restored after the last epoch, at first those it began with.
        fit.may_diverge = True
        if mlp._best is None:
            mlp._keep_best(mlp._predicting_params())
    convergence = Convergence(mlp, source, validation)
    try:
        hold = nullcontext() if writer is None else writer.hold(source.ranks)
        with mlp._open_callbacks() as callbacks, hold:
            loop.train(fit, source, None, steps, [convergence, *callbacks])
    except KeyboardInterrupt as error:
        if source.ranks.size > 1:  # the others would wait
            raise
        text = f" As {error}" if str(error) else ""
        warnings.warn(f"Training interrupted by user.{text}", stacklevel=5)
    finally:
        model.drop_large_programs()
        _keep_predicting_params(mlp, incremental=incremental)
    training = model.training
    planned = optimizer.schedule.has_ended(training.epoch - training.first_epoch)
    if incremental or fit.stop_reason is not None or mlp.n_iter_ < mlp.max_iter:
        return
    if planned and fit.divergence is None:
        return
    text = (
        f"Stochastic Optimizer: Maximum iterations ({mlp.max_iter}) reached and the optimization "
        "hasn't converged yet."
    )
    if fit.divergence is not None:
        text += f" It diverged, and the best weights are restored: {fit.divergence}."
    warnings.warn(text, ConvergenceWarning, stacklevel=5)


def _prepare_checkpoints(
    mlp: Estimator, fit: FitContext, source: ArraySource, writer: Checkpoint, *, resumes: bool
) -> None:
    """Describe the fit for its checkpoints; a first one resumes from them, if there are any."""
    optimizer: Any = fit.model.training.optimizer
    objective = mlp._build_objective()
    fit.arguments = {
        **describe_arguments(fit, source, source.batch_size, bool(mlp.shuffle), None, optimizer),
        "penalties": objective.coefficients,
        "average_weights": mlp.average_weights,
        "random_state": mlp.random_state if isinstance(mlp.random_state, int) else None,
    }
    # Not if this estimator has been trained before: then it knows better.
    is_first = fit.model.training.epoch == 0
    path = find_source(resumes and is_first, writer)
    if path is not None:
        resume_fit(fit, path, writer, ("average",) if mlp.average_weights is not None else ())


def _resume_or_begin(mlp: Estimator, *, incremental: bool) -> None:
    """Put back the parameters that training resumes from, and begin an optimiser if needed."""
    training = mlp.model_.training
    restored, averages = mlp._restore_training_params(), mlp.average_weights is not None
    last_settings, mlp._last_optimizer_settings = (
        mlp._last_optimizer_settings,
        mlp._optimizer_settings,
    )
    resumes = (
        incremental
        and training.optimizer is not None
        and mlp._optimizer_settings == last_settings
        and averages == ("average" in training.optimizer_state)
    )
    if resumes:
        if isinstance(mlp.optimizer, Optimizer) and mlp.optimizer is not last_settings[0]:
            # A custom optimiser may equal the last one, and compute something else.
            training.optimizer = build_optimizer(mlp)
        if averages and not restored:
            # The weights have been replaced: the average begins with the new ones.
            weight = 1.0 - mlp.average_weights**training.step
            training.optimizer_state["average"] = tuple(weight * param for param in training.params)
        return
    optimizer = build_optimizer(mlp)
    slots = mlp.model_.init_optimizer(optimizer)
    if averages:
        slots["average"] = mlp.model_.init_optimizer(SklearnSGD())["velocity"]
    training.optimizer, training.optimizer_state = optimizer, slots
    training.step, training.first_epoch = 0, training.epoch


def _keep_predicting_params(mlp: Estimator, *, incremental: bool) -> None:
    """Leave the parameters that predict in the model, and keep those that training resumes from."""
    training = mlp.model_.training
    chooses = mlp.early_stopping and (mlp.converged_ or not incremental)
    if chooses and mlp._best is not None:
        # Early stopping chooses what predicts, so later training resumes from there, too.
        training.params, training.state = tree_copy(mlp._best)
    elif mlp.average_weights is not None and training.step > 0:
        mlp._training_params = training.params
        training.params = mlp._predicting_params()

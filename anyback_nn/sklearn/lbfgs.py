"""L-BFGS: SciPy's minimiser on the vector of all parameters, the loss on any backend."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize as scipy_minimize
from sklearn.exceptions import ConvergenceWarning

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.inputs.batches import ArraySource
from anyback_nn.model import Model
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.random import ZerosOnly
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.sklearn.objective import Objective
from anyback_nn.sklearn.validation import Validation
from anyback_nn.training.fit import FitContext
from anyback_nn.training.loop import require_same
from anyback_nn.training.step import StepArguments
from anyback_nn.tree import tree_leaves

__all__ = ["NOT_FINITE", "Problem", "check_deterministic", "train"]


NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
"""scikit-learn's message, for all solvers."""

STOPPED = 99
"""SciPy's status after a callback has ended the minimisation."""


def check_deterministic(model: Model, shape: tuple[int, ...]) -> None:
    """Refuse layers that change the function that is minimised at each step."""
    noise = model.network.noise(shape, ZerosOnly(None, model.backend, model.dtype))
    if list(tree_leaves(model.training.state)) or any(
        leaf is not None for leaf in tree_leaves(noise)
    ):
        raise ValueError(
            "solver='lbfgs' minimises one and the same function throughout, which dropout and "
            "batch normalisation change at each step. Use solver='adam' or 'sgd'"
        )


@dataclass
class Problem:
    """The function that is minimised: ``vector -> value, gradient``, in float64 on the host.

    The ``source`` has all samples, in as many batches as memory requires.
    """

    model: Model
    objective: Objective
    source: ArraySource

    def __post_init__(self) -> None:
        model = self.model
        self.vector_layout = Layout(model.layout.tree, packed=True)
        self.batches = list(self.source.epoch(0)) if self.source.n_batches == 1 else None
        weights = self.source.rows.weights
        self.total = self.source.n_samples if weights is None else float(to_numpy(weights).sum())
        self.strength = self.objective.alpha / self.total + self.objective.l2
        (mask,) = self.vector_layout.penalty_mask(self._stored())
        self.mask = to_numpy(mask).astype(np.float64)
        self.compute = model.get_compiled(
            ("lbfgs", self.objective.factor),
            lambda: _build_gradient(self.objective, self.vector_layout),
        )

    def _stored(self) -> Packed:
        """Return the model's parameters as one array on its device."""
        return self.vector_layout.pack(self.model.layout.unpack(self.model.training.params))

    def start(self) -> Any:
        """Return the model's parameters as a vector."""
        (vector,) = self._stored()
        return to_numpy(vector).astype(np.float64)

    def put(self, vector: Any) -> None:
        """Set the model's parameters."""
        model = self.model
        array = model.backend.asarray(vector, model.dtype)
        xp = array_namespace(array)
        tree = self.vector_layout.unpack((xp.asarray(array, copy=True),))
        model.training.params = model.layout.pack(tree)

    def __call__(self, vector: Any) -> tuple[float, Any]:
        model = self.model
        array = model.backend.asarray(vector, model.dtype)
        derived = np.zeros(vector.size + 1)
        for batch in self.batches or self.source.epoch(0):
            part = to_numpy(self.compute((array,), model.training.state, *batch))
            derived += batch.x.shape[0] / self.total * part
        derived, decayed = self.source.ranks.add(derived), self.strength * self.mask * vector
        return float(derived[0]) + 0.5 * float(decayed @ vector), derived[1:] + decayed


def _build_gradient(objective: Objective, layout: Layout) -> Callable[..., Array]:
    """Build the function ``(vector, state, x, y, weights) -> values`` of one batch.

    The values are those of `Objective.value_and_grad` in one array, which is read once: a lazy
    library computes an array when it is read.
    """
    compute = objective.value_and_grad()

    def gradient(vector: Packed, state: Any, x: Array, y: Array, weights: Array | None) -> Array:
        args = StepArguments(layout.unpack(vector), {}, state, (), (), x, y, weights, None)
        grads, _, (value, *_) = compute(args)
        return array_namespace(value).concat([value[None], *layout.pack(grads)])

    return gradient


class _StopTraining(Exception):
    """A callback has ended training."""


def train(mlp: Estimator, source: ArraySource, validation: Validation | None) -> None:
    """Minimise the loss of all samples together; callbacks take an iteration for an epoch.

    Where the largest element of the gradient is below ``tol``, the minimum is reached.
    """
    mlp._restore_training_params()
    problem = Problem(model := mlp.model_, mlp._build_objective(), source)
    fit = FitContext(model, int(mlp.max_iter), n_batches=1)
    fit.source, fit.batch_size = source, source.n_samples
    in_iteration = False

    def evaluate(vector: Any) -> tuple[float, Any]:
        nonlocal in_iteration
        # There is another evaluation only if there is another iteration.
        if not in_iteration:
            call("on_epoch_begin")
        in_iteration = True
        return problem(vector)

    def end_iteration(intermediate_result: Any) -> None:
        nonlocal in_iteration
        in_iteration = False
        problem.put(intermediate_result.x)
        training, value = model.training, float(intermediate_result.fun)
        training.epoch += 1
        mlp.loss_, mlp.n_iter_ = value, mlp.n_iter_ + 1
        row = {"epoch": float(training.epoch), "train_loss": value}
        if validation is not None:
            row["validation_loss"], row["validation_score"] = validation.measure()
        training.history.rows.append(row)
        fit.epochs_done += 1
        if mlp.verbose:
            print(f"Iteration {fit.epochs_done}, loss = {value:.8f}")
        try:
            call("on_epoch_end")
        except _StopTraining:
            raise StopIteration from None  # which SciPy takes for its end

    with mlp._open_callbacks() as fit.callbacks:

        def call(event: str) -> None:
            """Call the callbacks; raise `_StopTraining` if one has ended training."""
            for callback in fit.own_callbacks:
                getattr(callback, event)(fit)
            if fit.stops():
                raise _StopTraining

        with suppress(_StopTraining):
            require_same(fit)
            call("on_train_begin")
            result = scipy_minimize(
                evaluate,
                problem.start(),
                method="L-BFGS-B",
                jac=True,
                callback=end_iteration,
                options={"maxiter": fit.epochs, "maxfun": int(mlp.max_fun), "gtol": float(mlp.tol)},
            )
            if result.status != STOPPED:
                problem.put(result.x)
            n_iter, converged = min(int(result.nit), fit.epochs), result.status == 0
            if result.status not in (0, STOPPED):
                warnings.warn(
                    f"lbfgs failed to converge after {n_iter} iteration(s) "
                    f"(status={result.status}): {result.message}. Increase max_iter or max_fun, or "
                    "scale the inputs",
                    ConvergenceWarning,
                    stacklevel=5,
                )
            mlp.loss_, mlp.n_iter_, mlp.converged_ = float(result.fun), n_iter, converged
        with suppress(_StopTraining):
            call("on_train_end")
    # A loss that is NaN at the start leaves the parameters as they were.
    if not np.all(np.isfinite(problem.start())) or math.isnan(getattr(mlp, "loss_", 0.0)):
        raise ValueError(NOT_FINITE)

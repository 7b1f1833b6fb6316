"""L-BFGS: SciPy's minimiser on the vector of all parameters, the loss on any backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize as scipy_minimize
from sklearn.exceptions import ConvergenceWarning

from anyback_nn.backend import Array, array_namespace, to_numpy
from anyback_nn.model import Model
from anyback_nn.network.parameters import Layout, Storage
from anyback_nn.sklearn.objective import Objective
from anyback_nn.sklearn.samples import Samples

__all__ = ["minimize"]


STOPPED = 99
"""SciPy's status where the callback has ended the minimisation."""


@dataclass
class Problem:
    """The function that is minimised: ``vector -> value, gradient``, in float64 on the host.

    Parameters
    ----------
    model : Model
        Its parameters are set to a vector by `put`.
    objective : Objective
    source : Samples
        All samples, in as many batches as memory asks for.
    alpha : float
        The penalty's strength, divided by the samples (or the sum of their weights).
    """

    model: Model
    objective: Objective
    source: Samples

    def __post_init__(self) -> None:
        model = self.model
        self.vector_layout = Layout(model.layout.tree, packed=True)
        self.batches = list(self.source.epoch(0)) if self.source.n_batches == 1 else None
        weights = self.source.rows.weights
        self.total = (
            float(self.source.n_samples) if weights is None else float(to_numpy(weights).sum())
        )
        self.strength = self.objective.alpha / self.total + self.objective.l2
        self.mask = np.concatenate(
            [np.full(leaf.stop - leaf.start, float(leaf.penalized)) for leaf in model.layout.leaves]
        )
        self.compute = model.compiled(
            ("lbfgs", self.objective.loss, self.objective.factor),
            lambda: _gradient(self.objective, self.vector_layout),
        )

    def start(self) -> Any:
        """Give the model's parameters as a vector."""
        tree = self.model.layout.restore(self.model.training.params)
        (vector,) = self.vector_layout.store(tree)
        return to_numpy(vector).astype(np.float64)

    def put(self, vector: Any) -> None:
        """Set the model's parameters."""
        model = self.model
        array = model.backend.asarray(vector, model.dtype)
        xp = array_namespace(array)
        tree = self.vector_layout.restore((xp.asarray(array, copy=True),))
        model.training.params = model.layout.store(tree)

    def __call__(self, vector: Any) -> tuple[float, Any]:
        model = self.model
        array = model.backend.asarray(vector, model.dtype)
        value, gradient = 0.0, np.zeros(vector.shape)
        for batch in self.batches or self.source.epoch(0):
            count = batch.x.shape[0] if batch.weights is None else to_numpy(batch.weights).sum()
            share = float(count) / self.total
            part, slope = self.compute((array,), model.training.state, *batch)
            value += share * float(to_numpy(part))
            gradient += share * to_numpy(slope)
        decayed = self.strength * self.mask * vector
        return value + 0.5 * float(decayed @ vector), gradient + decayed


def _gradient(objective: Objective, layout: Layout) -> Callable[..., tuple[Array, Array]]:
    """Build ``(vector, state, x, y, weights) -> mean loss, gradient`` of one batch."""
    compute = objective.gradients()

    def gradient(
        vector: Storage, state: Any, x: Array, y: Array, weights: Array | None
    ) -> tuple[Array, Array]:
        grads, _, value, _ = compute(layout.restore(vector), state, x, y, weights, None)
        return value, layout.store(grads)[0]

    return gradient


def minimize(
    problem: Problem,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    on_iteration: Callable[[float], bool],
) -> tuple[float, int, bool]:
    """Minimise, warn if that did not converge, and leave the parameters in the model.

    Parameters
    ----------
    problem : Problem
    max_iter, max_fun : int
    tol : float
        Where the largest entry of the gradient is below this, the minimum is reached.
    on_iteration : callable
        Gets the value after each iteration, and tells whether to go on.

    Returns
    -------
    value : float
    n_iter : int
    converged : bool
    """

    def callback(intermediate_result: Any) -> None:
        problem.put(intermediate_result.x)
        if not on_iteration(float(intermediate_result.fun)):
            raise StopIteration

    result = scipy_minimize(
        problem,
        problem.start(),
        method="L-BFGS-B",
        jac=True,
        callback=callback,
        options={"maxiter": max_iter, "maxfun": max_fun, "gtol": tol},
    )
    if result.status != STOPPED:
        problem.put(result.x)
    n_iter = min(int(result.nit), max_iter)
    if result.status not in (0, STOPPED):
        warnings.warn(
            f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}): "
            f"{result.message}. Increase max_iter or max_fun, or scale the inputs",
            ConvergenceWarning,
            stacklevel=6,
        )
    return float(result.fun), n_iter, result.status == 0

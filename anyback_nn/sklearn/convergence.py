"""When training ends and how its rate falls: scikit-learn's rules, as a callback."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyback_nn.sklearn.solvers import Recorded
from anyback_nn.training.callbacks import Callback
from anyback_nn.tree import tree_copy

if TYPE_CHECKING:
    from anyback_nn.sklearn.base import BaseMLP
    from anyback_nn.training.loop import Fit

__all__ = ["Convergence"]

LOWEST_RATE = 1e-6
"""Where ``learning_rate="adaptive"`` gives up."""


@dataclass
class Convergence(Callback):
    """Counts the epochs without improvement, in the training loss or in the validation score.

    Parameters
    ----------
    estimator : BaseMLP
        Its fitted attributes are kept up to date.
    n_samples : int
        Of an epoch.
    measure : callable, optional
        Gives the loss and the score of the validation data.
    """

    estimator: BaseMLP
    n_samples: int
    measure: Callable[[], tuple[float, float]] | None

    def on_epoch_end(self, fit: Fit) -> None:
        mlp, row = self.estimator, fit.history.last
        mlp.n_iter_ += 1
        mlp.t_ += self.n_samples
        mlp.loss_ = row["train_loss"]
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
        optimizer = mlp.model_.training.optimizer
        assert optimizer is not None
        recorded, rate = optimizer.learning_rate, row["learning_rate"]
        if isinstance(recorded, Recorded):
            # Before the user's metric is called: it may raise, and the next epoch needs this.
            row["next_learning_rate"] = recorded.after(rate, mlp.t_)
        if self.measure is not None:
            row["validation_loss"], row["validation_score"] = self.measure()
            if mlp.verbose:
                print(f"Validation score: {row['validation_score']:f}")
        if mlp.early_stopping:
            improved = self._by_score(row["validation_score"])
        else:
            improved = self._by_loss(mlp.loss_)
        mlp._no_improvement_count = 0 if improved else mlp._no_improvement_count + 1
        stagnates = mlp._no_improvement_count > mlp.n_iter_no_change
        if not stagnates:
            return
        adapts = isinstance(recorded, Recorded) and recorded.mode == "adaptive"
        if adapts and rate > LOWEST_RATE:
            row["next_learning_rate"] = rate / 5.0
            mlp._no_improvement_count = 0
            self._tell(f"Setting learning rate to {rate / 5.0:f}")
            return
        mlp.converged_ = True
        fit.stop(self._tell("Learning rate too small. Stopping." if adapts else "Stopping."))

    def _by_score(self, score: float) -> bool:
        """Compare the validation score with the best so far, and keep the best parameters."""
        mlp, best = self.estimator, self.estimator.best_validation_score_
        # A score that is not a number counts neither as an improvement nor against one.
        improved = not score < best + mlp.tol
        if score > best:
            mlp.best_validation_score_ = score
            training = mlp.model_.training
            mlp._best = (tree_copy(mlp._predicting(training)), tree_copy(training.state))
        return improved

    def _by_loss(self, loss: float) -> bool:
        """Compare the training loss with the best so far."""
        mlp, best = self.estimator, self.estimator.best_loss_
        mlp.best_loss_ = min(loss, best) if not math.isnan(loss) else best
        return not loss > best - mlp.tol

    def _tell(self, ending: str) -> str:
        """Say, if asked to, what was found and what follows."""
        mlp = self.estimator
        what = "Validation score" if mlp.early_stopping else "Training loss"
        text = (
            f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} "
            f"consecutive epochs. {ending}"
        )
        if mlp.verbose:
            print(text)
        return text

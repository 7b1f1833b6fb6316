"""When training ends and how its learning rate falls: scikit-learn's rules, as a callback."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from anyback_nn.inputs.batches import ArraySource
from anyback_nn.optim.like_sklearn import EpochSchedule
from anyback_nn.sklearn.batches import ShuffledSource
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.sklearn.validation import Validation
from anyback_nn.training import checkpoint
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.fit import FitContext
from anyback_nn.training.resume import find_writer
from anyback_nn.utils.arguments import to_python_scalars

__all__ = ["Convergence"]

LOWEST_RATE = 1e-6
"""The rate at which ``learning_rate="adaptive"`` gives up."""


_KEPT = {
    *("n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_"),
    *("_no_improvement_count", "converged_"),
}
"""The attributes of an estimator that count its training."""


def _to_lists(state: Any) -> Any:
    """Convert the arrays in the state of a random generator to lists."""
    if isinstance(state, dict):
        return {name: _to_lists(value) for name, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state


@dataclass
class Convergence(Callback):
    """Counts the epochs without improvement, in the training loss or in the validation score.

    It keeps the fitted attributes of ``mlp`` up to date; ``source`` is that of its batches.
    """

    mlp: Estimator
    source: ArraySource
    validation: Validation | None
    _order: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def on_epoch_begin(self, fit: FitContext) -> None:
        if find_writer(fit.callbacks) is not None:
            self._order = self._describe_order()

    def _describe_order(self) -> dict[str, Any]:
        """Return what the order of the samples in the next epoch depends on."""
        source = self.source
        if not isinstance(source, ShuffledSource):
            return {}
        return {"order": source.chosen.copy(), "random": _to_lists(source.random.get_state(False))}

    def get_state(self, fit: FitContext) -> dict[str, Any]:
        mlp, best = self.mlp, self.mlp._best
        arrays = {} if best is None else checkpoint.collect_parameters(fit.model, *best)
        # The order of an epoch that has begun is drawn again.
        order = self._order if fit.progress.sizes else self._describe_order()
        kept = {name: to_python_scalars(getattr(mlp, name)) for name in _KEPT if hasattr(mlp, name)}
        return {**kept, **order, **arrays}

    def set_state(self, fit: FitContext, state: dict[str, Any]) -> None:
        for name in _KEPT & state.keys():
            setattr(self.mlp, name, state.pop(name))
        if isinstance(self.source, ShuffledSource):
            self.source.random.set_state(state.pop("random"))
            self.source.chosen[:] = state.pop("order")
        self.mlp._best = checkpoint.read_parameters(fit.model, state) if state else None
        if self.mlp.converged_:
            fit.stop("it had converged")

    def on_epoch_end(self, fit: FitContext) -> None:
        mlp, row = self.mlp, fit.history.last
        mlp.n_iter_ += 1
        mlp.t_ += self.source.n_samples
        mlp.loss_ = row["train_loss"]
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
        optimizer = mlp.model_.training.optimizer
        assert optimizer is not None
        schedule, rate = optimizer.learning_rate, row["learning_rate"]
        if isinstance(schedule, EpochSchedule):
            # Before the user's metric is called: it may raise, and the next epoch needs this.
            row["next_learning_rate"] = schedule.next_rate(rate, mlp.t_)
        if self.validation is not None:
            row["validation_loss"], row["validation_score"] = self.validation.measure()
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
        adapts = isinstance(schedule, EpochSchedule) and schedule.mode == "adaptive"
        if adapts and rate > LOWEST_RATE:
            row["next_learning_rate"] = rate / 5.0
            mlp._no_improvement_count = 0
            self._report(f"Setting learning rate to {rate / 5.0:f}")
            return
        mlp.converged_ = True
        fit.stop(self._report("Learning rate too small. Stopping." if adapts else "Stopping."))

    def _by_score(self, score: float) -> bool:
        """Return whether the validation score improved, and keep the best parameters."""
        mlp, best = self.mlp, self.mlp.best_validation_score_
        # A score that is not a number counts neither as an improvement nor against one.
        improved = not score < best + mlp.tol
        if score > best:
            mlp.best_validation_score_ = score
            mlp._keep_best(mlp._predicting_params())
        return improved

    def _by_loss(self, loss: float) -> bool:
        """Return whether the training loss improved."""
        mlp, best = self.mlp, self.mlp.best_loss_
        mlp.best_loss_ = min(loss, best) if not math.isnan(loss) else best
        return not loss > best - mlp.tol

    def _report(self, ending: str) -> str:
        """Return a sentence on what was measured and what follows; print it if verbose."""
        mlp = self.mlp
        measured = "Validation score" if mlp.early_stopping else "Training loss"
        text = (
            f"{measured} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} "
            f"consecutive epochs. {ending}"
        )
        if mlp.verbose:
            print(text)
        return text

"""The context of one call of `Model.fit`: its progress, for callbacks, and its batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from anyback_nn.array_api import is_chunked, to_numpy
from anyback_nn.distributed import ALONE, Communicator
from anyback_nn.distributed.communicator import as_ranks
from anyback_nn.errors import DivergenceError
from anyback_nn.inputs.batches import (
    ArraySource,
    IndexedBatches,
    IterableSource,
    Source,
    array_source,
    move,
    peek,
    split,
)
from anyback_nn.inputs.checks import (
    Samples,
    check_batch,
    is_indexed,
    warn_of_lost_variation,
)
from anyback_nn.inputs.sample_weights import compute_training_weights, scale_to_mean_one
from anyback_nn.network.layout import Packed
from anyback_nn.optim.schedules import ScaledSchedule, Schedule
from anyback_nn.training.engine import Engine
from anyback_nn.training.evaluation import evaluate
from anyback_nn.training.history import History
from anyback_nn.training.memory import has_room
from anyback_nn.training.progress import EpochProgress
from anyback_nn.utils.frames import is_frame

ROLLBACK_FACTOR = 0.25
"""Factor of the learning rate after an epoch that diverged."""

MOST_ROLLBACKS = 5
"""The number of such epochs that are tried again."""

__all__ = ["FitContext", "batch_arrays", "batch_iterable", "build_sources", "check_arrays"]


@dataclass
class FitContext:
    """One call of `Model.fit`, as callbacks see it.

    Attributes
    ----------
    model : Engine
    epochs : int
        The requested number of epochs.
    n_batches : int, optional
        The number of batches of an epoch, if it is known.
    batch_size : int, optional
        The number of samples in a batch, if it is known.
    stop_reason : str, optional
        The reason why training was stopped early.
    may_diverge : bool
        Whether training goes on after a loss or a parameter is no longer finite.
    on_divergence : {"stop", "rollback"}, optional
        What happens after an epoch that diverged otherwise, in `Model.fit`.
    rollbacks : int
        The number of epochs that were tried again.
    first_loss : float, optional
        The training loss of the first epoch of this call.
    report : callable
        Takes messages about them.
    divergence : str, optional
        What was no longer finite first, and the likely cause.
    epochs_done, batches_done : int
        The number of finished epochs of this call, and of finished batches of the current epoch.
    penalty_coefficients : tuple of float
        Those of a penalty in addition to the optimiser's. They are passed to the step after the
        optimiser's coefficients, with a penalty mask.
    progress : EpochProgress
        The reports of the steps of the current epoch.
    source, validation : Source, optional
        The training data and the validation data.
    callbacks : sequence of Callback
        Those of this call.
    arguments : dict
        What a checkpoint must have been written with, so that training can resume from it.
    has_begun : bool
        Whether the first epoch has begun.
    resumed_from : Path, optional
        The checkpoint that training was resumed from.
    resumed_epochs : int
        The number of epochs that had been finished in it.
    callback_states : list of (str, dict)
        The kind and the state of its callbacks.
    """

    model: Engine
    epochs: int
    n_batches: int | None = None
    stop_reason: str | None = None
    penalty_coefficients: tuple[float, ...] = ()
    may_diverge: bool = False
    on_divergence: str | None = None
    report: Callable[[str], None] = field(default=warnings.warn, repr=False)
    rollbacks: int = field(default=0, init=False)
    first_loss: float | None = field(default=None, init=False)
    divergence: str | None = field(default=None, init=False)
    epochs_done: int = field(default=0, init=False)
    batches_done: int = field(default=0, init=False)
    progress: EpochProgress = field(default_factory=EpochProgress, init=False, repr=False)
    batch_size: int | None = field(default=None, init=False)
    source: Source | None = field(default=None, init=False, repr=False)
    validation: Source | None = field(default=None, init=False, repr=False)
    callbacks: Sequence[Any] = field(default=(), init=False, repr=False)
    arguments: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    has_begun: bool = field(default=False, init=False)
    resumed_from: Path | None = field(default=None, init=False)
    resumed_epochs: int = field(default=0, init=False)
    callback_states: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list, init=False, repr=False
    )
    _mask: Packed | None = field(default=None, init=False)

    def measure(self) -> dict[str, float]:
        """Evaluate the model on the validation data, as after an epoch; empty without them."""
        if self.validation is None:
            return {}
        means = evaluate(self.model, self.validation)
        return {f"validation_{name}": value for name, value in means.items()}

    @property
    def ranks(self) -> Communicator:
        """The processes that train together."""
        return ALONE if self.source is None else self.source.ranks

    @property
    def own_callbacks(self) -> list[Any]:
        """Those that are called in this process."""
        return [x for x in self.callbacks if self.ranks.rank == 0 or not x.writes]

    @property
    def epoch(self) -> int:
        """The number of epochs that the model has been trained, over all calls of `fit`."""
        return self.model.training.epoch

    @property
    def last_epoch(self) -> int:
        """What `epoch` is at the end of this call, unless training stops before."""
        return self.epoch - self.epochs_done + self.epochs

    @property
    def history(self) -> History:
        """The history of all finished epochs."""
        return self.model.training.history

    def __post_init__(self) -> None:
        if self.on_divergence not in (None, "stop", "rollback"):
            raise ValueError(
                f"on_divergence: expected 'stop' or 'rollback', got {self.on_divergence!r}"
            )

    def roll_back(self, error: DivergenceError) -> bool:
        """Return whether to try a diverged epoch again, which then has a smaller learning rate."""
        is_left = self.rollbacks < MOST_ROLLBACKS and not error.is_hopeless
        if self.on_divergence != "rollback" or not is_left:
            return False
        training = self.model.training
        assert training.optimizer is not None
        rate = training.optimizer.learning_rate
        if isinstance(rate, ScaledSchedule):
            rate = replace(rate, factor=rate.factor * ROLLBACK_FACTOR)
        elif isinstance(rate, Schedule):
            rate = ScaledSchedule(rate, ROLLBACK_FACTOR)
        else:
            rate *= ROLLBACK_FACTOR
        training.optimizer = replace(training.optimizer, learning_rate=rate)
        self.rollbacks += 1
        self.report(
            f"{error}. Epoch {self.epoch + 1} is tried again with {ROLLBACK_FACTOR} times the "
            f"learning rate (attempt {self.rollbacks} of {MOST_ROLLBACKS})"
        )
        return True

    def penalty_mask(self) -> Packed:
        """Return the mask of the penalties, see `Layout.penalty_mask`; empty if there is none."""
        if self._mask is None:
            training, optimizer = self.model.training, self.model.training.optimizer
            assert optimizer is not None
            self._mask = ()
            if optimizer.penalizes or self.penalty_coefficients:
                everything = optimizer.penalize_all
                self._mask = self.model.layout.penalty_mask(training.params, everything=everything)
        return self._mask

    @property
    def stop(self) -> Callable[..., None]:
        """``fit.stop(reason)`` ends training after the current batch (if in one) or epoch."""
        return self._stop

    @stop.setter
    def stop(self, value: Any) -> None:
        raise AttributeError(f"fit.stop is a method: write fit.stop(reason), not = {value!r}")

    def _stop(self, reason: str = "a callback stopped it") -> None:
        self.stop_reason = reason

    def stops(self) -> bool:
        """Return whether training ends; all ranks ask, and it does if a callback of one ends it."""
        wants = self.stop_reason is not None
        if self.ranks.size > 1 and any(self.ranks.collect(wants)):
            self.stop_reason = self.stop_reason or "a callback of another rank stopped it"
        return self.stop_reason is not None


def build_sources(
    engine: Engine,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: str | Mapping[int, float] | None,
    validation: float | tuple[Any, ...] | None,
    batch_size: int | None,
    shuffle: bool,
    ranks: Communicator | None = None,
) -> tuple[Source, Source | None]:
    """Check the data passed to `Model.fit`; create the sources of training and of validation."""
    fraction = float(validation) if isinstance(validation, Real) else None
    if y is None:
        if fraction is not None:
            raise ValueError("a fraction for validation needs arrays x and y; pass (x, y)")
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        source = batch_iterable(engine, x, ranks, **weights)
        return source, _batch_validation(engine, validation, ranks)
    rows = check_arrays(engine, x, y, sample_weight)
    warn_of_lost_variation(rows, engine.dtype, stacklevel=3)
    n_samples, n_in = map(int, rows.x.shape)
    train_rows = validation_rows = None
    if fraction is not None:
        train_rows, validation_rows = split(n_samples, fraction, engine.seed)
        if rows.weights is not None:
            # Raises an error if all are 0.
            scale_to_mean_one(
                rows.weights[validation_rows], "sample weights of the rows for validation"
            )
    n_out = engine.network.output_size(n_in)
    weights = compute_training_weights(rows, class_weight, engine.loss, n_out, train_rows)
    if engine.n_in is None:
        engine.build(n_in)
    is_late = isinstance(rows.x, np.memmap) or is_chunked(rows.x)
    resident = not is_late and has_room(engine, rows, batch_size)
    if resident:
        rows = move(rows, engine.backend, engine.dtype)
    build = partial(batch_arrays, engine, resident=resident, ranks=ranks)
    weighted = rows._replace(weights=weights)
    training = build(weighted, batch_size, shuffle=shuffle, chosen=train_rows)
    if fraction is None:
        return training, _batch_validation(engine, validation, ranks)
    return training, build(rows, chosen=validation_rows)


def batch_arrays(
    engine: Engine,
    rows: Samples,
    batch_size: int | None = 4096,
    *,
    resident: bool | None = None,
    ranks: Communicator | None = None,
    **options: Any,
) -> ArraySource:
    """Create the source of batches of arrays; by default on the device if they fit."""
    if resident is None:
        resident = has_room(engine, rows, batch_size)
    options |= {"batch_size": batch_size, "seed": engine.seed, "resident": resident}
    return array_source(rows, engine.backend, engine.dtype, ranks=as_ranks(ranks), **options)


def batch_iterable(
    engine: Engine, batches: Iterable[Any], ranks: Communicator | None = None, **weights: Any
) -> IterableSource:
    """Create the source of batches of an iterable; the first one has the number of features.

    No other weights than those in its batches are taken.
    """
    if refused := [name for name, value in weights.items() if value is not None]:
        raise ValueError(
            f"{' and '.join(refused)}: expected arrays x and y; an iterable has the weights in its "
            "batches: (x, y, weights)"
        )
    if is_indexed(batches):
        batches = IndexedBatches(batches)
    if not isinstance(batches, Iterable) or hasattr(batches, "dtype") or is_frame(batches):
        raise TypeError(
            "fit and evaluate need targets: pass y, or an iterable of (x, y) batches as x"
        )
    if engine.n_in is None:
        batches, n_in = peek(batches)
        engine.build(n_in)
    return IterableSource(
        *(engine.backend, engine.dtype, batches, engine.loss, engine.network, engine.n_inputs),
        feature_names=engine.feature_names,
        ranks=as_ranks(ranks),
    )


def check_arrays(
    engine: Engine, x: Any, y: Any, weights: Any, name: str = "sample weights"
) -> Samples:
    """Check arrays, and scale the weights (``name`` in messages) to mean 1."""
    # In one graph with the inputs, lazy targets would keep what each chunk computes.
    y, weights = (to_numpy(a) if is_chunked(a) else a for a in (y, weights))
    rows = check_batch(
        *(x, y, weights, engine.loss, engine.network, engine.n_in),
        finite=not is_chunked(x),  # each chunk is checked when it is read
        feature_names=engine.feature_names,
        dtype=engine.dtype,
    )
    if rows.weights is None:
        return rows
    return rows._replace(weights=scale_to_mean_one(to_numpy(rows.weights), name))


def _batch_validation(engine: Engine, validation: Any, ranks: Communicator | None) -> Source | None:
    """Check validation data passed as arrays, and create their source of batches."""
    if validation is None:
        return None
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        raise TypeError(
            "validation: expected a fraction, or a tuple (x, y) or (x, y, weights) of arrays, "
            f"got {type(validation).__name__}"
        )
    x, y, weights = (*validation, None)[:3]
    rows = check_arrays(engine, x, y, weights, "sample weights of the rows for validation")
    return batch_arrays(engine, rows, ranks=ranks)

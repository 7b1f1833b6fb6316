"""The training loop: epochs of steps, with everything read from the device once an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.backend import Array, array_namespace, to_numpy
from anyback_nn.errors import DivergenceError
from anyback_nn.network.parameters import Storage, leaves
from anyback_nn.random import Draws, generator
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.data import Batch, Source
from anyback_nn.training.history import History
from anyback_nn.training.step import Report, evaluation, prediction_step

if TYPE_CHECKING:
    from anyback_nn.model import Model

__all__ = ["Fit", "evaluate", "outputs_of", "steps", "train"]


@dataclass
class Fit:
    """One call of `Model.fit`, as callbacks see it.

    Attributes
    ----------
    model : Model
    epochs : int
        The number of epochs that were asked for.
    n_batches : int, optional
        The number of batches of an epoch, where it is known.
    stop_reason : str, optional
        Why training was stopped early.
    penalizes : bool
        Whether the step has a penalty of its own, beside the optimiser's, so that it is told which
        parameters are penalised.
    """

    model: Model
    epochs: int
    n_batches: int | None = None
    stop_reason: str | None = None
    penalizes: bool = False
    epochs_done: int = field(default=0, init=False)
    _mask: Storage | None = field(default=None, init=False)

    @property
    def epoch(self) -> int:
        """The epochs that the model has been trained, over all calls of fit."""
        return self.model.training.epoch

    @property
    def history(self) -> History:
        """The recorded quantities of all finished epochs."""
        return self.model.training.history

    def mask(self) -> Storage:
        """Mark the parameters that penalties act on, see `Layout.mask`; empty if there are none."""
        if self._mask is None:
            training, optimizer = self.model.training, self.model.training.optimizer
            assert optimizer is not None
            self._mask = ()
            if optimizer.penalizes or self.penalizes:
                everything = optimizer.penalize_all
                self._mask = self.model.layout.mask(training.params, everything=everything)
        return self._mask

    def stop(self, reason: str) -> None:
        """End training after the current batch (called in one) or epoch."""
        self.stop_reason = reason


def train(
    fit: Fit,
    source: Source,
    validation: Source | None,
    step: Callable[..., Any],
    callbacks: Sequence[Callback],
) -> None:
    """Train for ``fit.epochs`` epochs or until a callback stops it.

    An epoch that does not come to its end, because of an error, an interrupt or divergence, leaves
    the model as it was when that epoch began.
    """
    model = fit.model
    fit.n_batches = source.n_batches
    _call(callbacks, "on_train_begin", fit)
    while fit.epochs_done < fit.epochs and fit.stop_reason is None:
        before = model.training.copy()
        try:
            _call(callbacks, "on_epoch_begin", fit)
            if fit.stop_reason is not None:
                break
            started = time.perf_counter()
            row = _epoch(fit, source, step, callbacks)
            if validation is not None:
                means = evaluate(model, validation)
                row |= {f"validation_{name}": value for name, value in means.items()}
            row["seconds"] = time.perf_counter() - started
        except BaseException:
            # Also for Ctrl-C: a half-done update in place must not be kept.
            model.training = before
            raise
        del before
        model.training.history.rows.append(row)
        fit.epochs_done += 1
        _call(callbacks, "on_epoch_end", fit)
    _call(callbacks, "on_train_end", fit)


def steps(
    fit: Fit, source: Source, step: Callable[..., Any], callbacks: Sequence[Callback] = ()
) -> Iterator[tuple[Report, int, float]]:
    """Take the steps of one epoch, until a callback stops it.

    Yields
    ------
    report : tuple of array
        After each step, its loss and metrics.
    size : int
        The number of samples in its batch.
    rate : float
        Its learning rate.
    """
    model, training = fit.model, fit.model.training
    optimizer, begin = training.optimizer, training.first_epoch
    assert optimizer is not None
    mask = fit.mask()
    draws = None
    if model.network.is_noisy:
        draws = Draws(generator(model.seed, "noise", training.epoch), model.backend, model.dtype)
    done, past = training.epoch - begin, training.history.rows[begin:]
    schedule, n_batches = optimizer.schedule, source.n_batches
    begin_batch, end_batch = _hooks(callbacks, "on_batch_begin"), _hooks(callbacks, "on_batch_end")
    for position, batch in enumerate(source.epoch(training.epoch)):
        for hook in begin_batch:
            hook(fit)
        if not position or (n_batches and not schedule.per_epoch):
            # Where nothing tells how far the epoch has come, the middle of it stands for all.
            share = position / n_batches if n_batches else 0.5
            rate = float(schedule(done + share, past))
        training.step += 1
        training.params, training.slots, training.state, report = step(
            training.params,
            training.slots,
            training.state,
            mask,
            optimizer.coefficients(training.step, rate),
            *batch,
            None if draws is None else model.network.noise(tuple(batch.x.shape), draws),
        )
        for hook in end_batch:
            hook(fit)
        yield report, int(batch.x.shape[0]), rate
        if fit.stop_reason is not None:
            break


def _epoch(
    fit: Fit, source: Source, step: Callable[..., Any], callbacks: Sequence[Callback]
) -> dict[str, float]:
    """Train one epoch and give its row of the history."""
    model, training = fit.model, fit.model.training
    reports, sizes, rates = zip(*steps(fit, source, step, callbacks))
    table, finite = _read(reports, (*training.params, *leaves(training.slots)))
    _check_convergence(table[:, 0], finite, training.epoch, rates)
    training.epoch += 1
    means = np.asarray(sizes, dtype=np.float64) @ table / sum(sizes)
    return {
        "epoch": training.epoch,
        "learning_rate": rates[0],
        **{f"train_{name}": float(mean) for name, mean in zip(model.metric_names, means)},
    }


def outputs_of(model: Model, source: Source) -> Batch:
    """Compute the raw outputs for all batches of a source, beside their targets and weights."""
    predict = model.compiled("predict", lambda: prediction_step(model.network, model.layout))
    parts = []
    for x, y, weights in source.epoch(0):
        outputs = predict(model.training.params, model.training.state, x)
        parts.append((outputs, y, weights))
    xp = array_namespace(parts[0][0])
    if any(weights is not None for *_, weights in parts):
        # An iterable may give weights for some batches only.
        ones = [xp.ones_like(outputs[:, 0]) for outputs, *_ in parts]
        parts = [(o, y, one if w is None else w) for (o, y, w), one in zip(parts, ones)]
    return Batch(*(None if part[0] is None else xp.concat(part) for part in zip(*parts)))


def evaluate(model: Model, source: Source) -> dict[str, float]:
    """Average the loss and the metrics over all samples of a source."""
    report = model.compiled("evaluate", lambda: evaluation(model.loss, model.metrics))
    names = [*model.metric_names, *([] if model.loss.classifies else ["r2"])]
    return dict(zip(names, to_numpy(report(*outputs_of(model, source))).tolist()))


def _call(callbacks: Sequence[Callback], event: str, fit: Fit) -> None:
    for hook in _hooks(callbacks, event):
        hook(fit)


def _hooks(callbacks: Sequence[Callback], event: str) -> list[Callable[[Fit], None]]:
    """List the methods for an event that do something."""
    nothing = getattr(Callback, event)
    hooks = [getattr(callback, event) for callback in callbacks]
    return [hook for hook in hooks if getattr(hook, "__func__", None) is not nothing]


def _read(reports: Sequence[Report], arrays: Storage) -> tuple[Any, bool]:
    """Bring all reports to the host at once, and whether these arrays are finite."""
    xp = array_namespace(reports[0][0])
    # A number less itself is 0, but what is not finite gives NaN.
    nothing = [xp.sum(array - array) for array in arrays]
    values = to_numpy(_stack([*chain.from_iterable(reports), *nothing])).astype(np.float64)
    table = values[: len(values) - len(nothing)].reshape(len(reports), -1)
    return table, not values[table.size :].any()


def _stack(values: list[Array], most: int = 64) -> Array:
    """Stack scalars; in parts, because a library that compiles does so for each number of them."""
    xp = array_namespace(values[0])
    parts = [xp.stack(values[i : i + most]) for i in range(0, len(values), most)]
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _check_convergence(losses: Any, finite: bool, epoch: int, rates: Sequence[float]) -> None:
    """Raise `DivergenceError` if a loss or, at the end of the epoch, a parameter is not finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if not bad.size and finite:
        return
    at = int(bad[0]) if bad.size else len(losses) - 1
    what = f"the loss became {losses[at]}" if bad.size else "parameters became NaN or infinite"
    if bad.size and epoch == 0 and at == 0:
        cause = (
            "it was so before the first update, so the inputs or targets are probably too large, "
            "or hold NaN: standardise them, and replace what is missing"
        )
    else:
        # A loss shows what the update before it did; the last update shows in the parameters.
        rate = rates[max(at - 1, 0)] if bad.size else rates[at]
        cause = (
            f"the learning rate, {rate:.3g}, is probably too high: try {rate / 10:.3g}, "
            "clip_norm=1.0 in the optimiser, or standardise the inputs"
        )
    raise DivergenceError(
        f"{what} in epoch {epoch + 1}, step {at + 1} of it; {cause}. The model has the parameters "
        "from the start of that epoch"
    )

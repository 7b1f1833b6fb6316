"""The training loop: epochs of steps, with everything read from the device once an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.backend import Array, array_namespace, select, to_numpy
from anyback_nn.errors import DivergenceError
from anyback_nn.network.parameters import Storage, leaves, map_leaves, stacked
from anyback_nn.random import Blank, Draws, generator
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.data import Batch, Source, take
from anyback_nn.training.history import History
from anyback_nn.training.out_of_memory import explain, explained
from anyback_nn.training.step import Report, evaluation, prediction_step

if TYPE_CHECKING:
    from anyback_nn.model import Model

__all__ = ["Fit", "evaluate", "outputs_of", "steps", "train"]

PARAMETERS = "parameters"

MOST_STEPS = 512
"""How many steps are taken in one call at the most: an interrupt waits for its end."""

MOST_NOISE = 2**26
"""How many bytes the noise of these steps may take."""


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
    epochs_done, batches_done : int
        The epochs of this call, and the batches of the running one, that are finished.
    numbers : tuple of float
        The strengths of a penalty that the step has of its own, beside the optimiser's: it is told
        them behind the optimiser's coefficients, and which parameters are penalised.
    """

    model: Model
    epochs: int
    n_batches: int | None = None
    stop_reason: str | None = None
    numbers: tuple[float, ...] = ()
    epochs_done: int = field(default=0, init=False)
    batches_done: int = field(default=0, init=False)
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
            if optimizer.penalizes or self.numbers:
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
    chained: Callable[..., Any] | None = None,
) -> None:
    """Train for ``fit.epochs`` epochs or until a callback stops it.

    ``chained`` takes many steps in one call, see `chained_steps`.

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
            row = _epoch(fit, source, step, callbacks, chained)
            if validation is not None:
                means = evaluate(model, validation)
                row |= {f"validation_{name}": value for name, value in means.items()}
            row["seconds"] = time.perf_counter() - started
        except BaseException as error:
            # Also for Ctrl-C: a half-done update in place must not be kept.
            model.training = before
            explain(error, model, source, training=True)
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
    optimizer, mask = training.optimizer, fit.mask()
    assert optimizer is not None
    draws = None
    if model.network.is_noisy:
        draws = Draws(generator(model.seed, "noise", training.epoch), model.backend, model.dtype)
    begin_batch, end_batch = _hooks(callbacks, "on_batch_begin"), _hooks(callbacks, "on_batch_end")
    rates = _rates(fit, source)
    for fit.batches_done, batch in enumerate(source.epoch(training.epoch)):
        for hook in begin_batch:
            hook(fit)
        rate = next(rates)
        training.step += 1
        training.params, training.slots, training.state, report = step(
            training.params,
            training.slots,
            training.state,
            mask,
            optimizer.coefficients(training.step, rate) + fit.numbers,
            *batch,
            None if draws is None else model.network.noise(tuple(batch.x.shape), draws),
        )
        fit.batches_done += 1
        for hook in end_batch:
            hook(fit)
        yield report, int(batch.x.shape[0]), rate
        if fit.stop_reason is not None:
            break


def _rates(fit: Fit, source: Source) -> Iterator[float]:
    """Give the learning rate of each step of an epoch."""
    training, n_batches = fit.model.training, source.n_batches
    assert training.optimizer is not None
    schedule, begin = training.optimizer.schedule, training.first_epoch
    done, past = training.epoch - begin, training.history.rows[begin:]
    if schedule.per_epoch or not n_batches:
        # Where nothing tells how far the epoch has come, the middle of it stands for all.
        rate = float(schedule(done if n_batches else done + 0.5, past))
        yield from repeat(rate)
    else:
        for position in count():
            yield float(schedule(done + position / n_batches, past))


def _chains(
    fit: Fit,
    source: Source,
    chained: Callable[..., Any],
    step: Callable[..., Any],
    callbacks: Sequence[Callback],
) -> Iterator[tuple[Report, list[int], list[float]]]:
    """Take the steps of one epoch, many in one call; a last, smaller batch alone.

    Yields
    ------
    reports : tuple of array, shape (n_steps,)
    sizes : list of int
    rates : list of float
    """
    model, training, rows = fit.model, fit.model.training, source.all_rows
    optimizer, mask, end_batch = training.optimizer, fit.mask(), _hooks(callbacks, "on_batch_end")
    assert optimizer is not None
    assert rows is not None
    xp, backend = array_namespace(rows.x), model.backend
    batches, rates = list(source.rows_of_batches(training.epoch)), _rates(fit, source)
    same = [chosen for chosen in batches if len(chosen) == len(batches[0])]
    shape = (len(batches[0]), *rows.x.shape[1:])
    blank = model.network.noise(shape, Blank(None, select("numpy"), model.dtype))
    n_bytes = sum(one.nbytes for one in leaves(blank) if one is not None)
    n_chains = max(-(-len(same) // MOST_STEPS), -(-len(same) * n_bytes // MOST_NOISE))
    noise_of, fit.batches_done = _noise_on_host(model, training.epoch), 0

    def moved(noise: Any) -> Any:
        return map_leaves(lambda one: None if one is None else backend.asarray(one), noise)

    for some in np.array_split(np.stack(same), n_chains):
        now = list(islice(rates, len(some)))
        numbers = [
            optimizer.coefficients(training.step + i, rate) + fit.numbers
            for i, rate in enumerate(now, start=1)
        ]
        noise = stacked([noise_of(shape) for _ in some])
        training.params, training.slots, training.state, reports = chained(
            training.params,
            training.slots,
            training.state,
            mask,
            tuple(backend.asarray(np.asarray(one), model.dtype) for one in zip(*numbers)),
            *rows,
            backend.asarray(some, "int32"),
            moved(noise),
        )
        training.step += len(some)
        fit.batches_done += len(some)
        for hook in end_batch:
            hook(fit)
        yield reports, [len(chosen) for chosen in some], now
    for chosen in batches[len(same) :]:
        rate = next(rates)
        training.step += 1
        noise = noise_of((len(chosen), *shape[1:]))
        training.params, training.slots, training.state, report = step(
            training.params,
            training.slots,
            training.state,
            mask,
            optimizer.coefficients(training.step, rate) + fit.numbers,
            *(take(array, chosen) for array in rows),
            moved(noise),
        )
        fit.batches_done += 1
        for hook in end_batch:
            hook(fit)
        yield tuple(xp.reshape(one, (1,)) for one in report), [len(chosen)], [rate]


def _noise_on_host(model: Model, epoch: int) -> Callable[[tuple[int, ...]], Any]:
    """Draw the noise of an epoch's steps, one after another, as NumPy arrays."""
    if not model.network.is_noisy:
        return lambda shape: None
    draws = Draws(generator(model.seed, "noise", epoch), select("numpy"), model.dtype)
    return lambda shape: model.network.noise(shape, draws)


def _epoch(
    fit: Fit,
    source: Source,
    step: Callable[..., Any],
    callbacks: Sequence[Callback],
    chained: Callable[..., Any] | None,
) -> dict[str, float]:
    """Train one epoch and give its row of the history."""
    model, training = fit.model, fit.model.training
    if chained is not None and source.all_rows is not None and not _every_batch(callbacks):
        reports, *parts = zip(*_chains(fit, source, chained, step, callbacks))
        sizes, rates = (tuple(chain.from_iterable(one)) for one in parts)
        xp = array_namespace(reports[0][0])
        values = [xp.reshape(xp.stack(one, axis=1), (-1,)) for one in reports]
        values = values[0] if len(values) == 1 else xp.concat(values)
    else:
        reports, sizes, rates = zip(*steps(fit, source, step, callbacks))
        values = _stack(list(chain.from_iterable(reports)))
    kept = {PARAMETERS: training.params, "the optimiser's means": tuple(leaves(training.slots))}
    table, infinite = _read(values, len(reports[0]), kept)
    _check_convergence(table[:, 0], infinite, training.epoch, rates)
    training.epoch += 1
    means = np.asarray(sizes, dtype=np.float64) @ table / sum(sizes)
    return {
        "epoch": training.epoch,
        "learning_rate": rates[0],
        **{f"train_{name}": float(mean) for name, mean in zip(model.metric_names, means)},
    }


def outputs_of(model: Model, source: Source) -> Batch:
    """Compute the raw outputs for all batches of a source, beside their targets and weights."""
    with explained(model, source):
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
    with explained(model, source):
        return dict(zip(names, to_numpy(report(*outputs_of(model, source))).tolist()))


def _every_batch(callbacks: Sequence[Callback]) -> bool:
    """Tell whether a callback wants to be called for every single batch."""
    some = [one for one in callbacks if one.every_batch]
    return bool(_hooks(some, "on_batch_begin") or _hooks(some, "on_batch_end"))


def _call(callbacks: Sequence[Callback], event: str, fit: Fit) -> None:
    for hook in _hooks(callbacks, event):
        hook(fit)


def _hooks(callbacks: Sequence[Callback], event: str) -> list[Callable[[Fit], None]]:
    """List the methods for an event that do something."""
    nothing = getattr(Callback, event)
    hooks = [getattr(callback, event) for callback in callbacks]
    return [hook for hook in hooks if getattr(hook, "__func__", None) is not nothing]


def _read(values: Array, n_metrics: int, kept: dict[str, Storage]) -> tuple[Any, str | None]:
    """Bring all reports to the host at once, and which of these arrays are not finite, if any."""
    xp = array_namespace(values)
    names = [name for name, arrays in kept.items() for _ in arrays]
    # A number less itself is 0, but what is not finite gives NaN.
    nothing = [xp.sum(array - array) for arrays in kept.values() for array in arrays]
    read = to_numpy(xp.concat([values, _stack(nothing)]) if nothing else values)
    read = read.astype(np.float64)
    n_values = values.shape[0]
    infinite = next((name for name, one in zip(names, read[n_values:]) if one != 0), None)
    return read[:n_values].reshape(-1, n_metrics), infinite


def _stack(values: list[Array], most: int = 64) -> Array:
    """Stack scalars; in parts, because a library that compiles does so for each number of them."""
    xp = array_namespace(values[0])
    parts = [xp.stack(values[i : i + most]) for i in range(0, len(values), most)]
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _check_convergence(
    losses: Any, infinite: str | None, epoch: int, rates: Sequence[float]
) -> None:
    """Raise `DivergenceError` if a loss or, at the end of the epoch, something is not finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if not bad.size and infinite is None:
        return
    at = int(bad[0]) if bad.size else len(losses) - 1
    what = f"the loss became {losses[at]}" if bad.size else f"{infinite} became NaN or infinite"
    if bad.size and epoch == 0 and at == 0:
        cause = (
            "it was so before the first update, so the inputs or targets are probably too large, "
            "or hold NaN: standardise them, and replace what is missing"
        )
    elif not bad.size and infinite != PARAMETERS:
        cause = (
            "gradients, or their squares, are too large for the dtype: standardise the inputs and "
            "targets, or set clip_norm=1.0"
        )
    else:
        # A loss shows what the update before it did; the last update shows in the parameters.
        rate = rates[max(at - 1, 0)] if bad.size else rates[at]
        cause = (
            f"the learning rate, {rate:.3g}, is probably too high: try {rate / 10:.3g}, "
            "clip_norm=1.0, or standardise the inputs"
        )
    raise DivergenceError(
        f"{what} in epoch {epoch + 1}, step {at + 1} of it; {cause}. The model has the parameters "
        "from the start of that epoch"
    )

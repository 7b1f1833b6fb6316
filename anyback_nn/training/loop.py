"""The training loop: epochs of steps, with everything read from the device once an epoch."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, repeat
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.backends import select
from anyback_nn.errors import DivergenceError
from anyback_nn.inputs.batches import Source
from anyback_nn.inputs.checks import Batch
from anyback_nn.network.layout import Packed
from anyback_nn.random import Random, Zeros, generator
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.engine import Engine, Steps
from anyback_nn.training.evaluation import evaluate
from anyback_nn.training.fit import FitContext
from anyback_nn.training.out_of_memory import explain
from anyback_nn.training.step import Report, Step, epoch_summary
from anyback_nn.tree import tree_copy, tree_leaves

__all__ = ["take_steps", "train"]

PARAMETERS = "parameters"

MOST_NOISE = 2**26
"""How many bytes the noise of steps that are taken in one call may take."""


def train(
    fit: FitContext,
    source: Source,
    validation: Source | None,
    steps: Steps,
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
        before = model.training.copy(model.compiled("copies", lambda: tree_copy))
        try:
            _call(callbacks, "on_epoch_begin", fit)
            if fit.stop_reason is not None:
                break
            started = time.perf_counter()
            row = _epoch(fit, source, steps, callbacks)
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


def take_steps(
    fit: FitContext, source: Source, step: Step, callbacks: Sequence[Callback] = ()
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
    begin_batch, end_batch = _hooks(callbacks, "on_batch_begin"), _hooks(callbacks, "on_batch_end")
    inputs = _StepInputs(fit, source)
    for batch in source.epoch(fit.epoch):
        for hook in begin_batch:
            hook(fit)
        report, rate = _take_step(fit, step, inputs, batch)
        for hook in end_batch:
            hook(fit)
        yield report, int(batch.x.shape[0]), rate
        if fit.stop_reason is not None:
            break


class _StepInputs:
    """What each step of an epoch gets in addition to its batch.

    Parameters
    ----------
    fit : FitContext
    source : Source
    on_host : bool
        Whether noise is drawn as NumPy arrays.
    """

    def __init__(self, fit: FitContext, source: Source, on_host: bool = False) -> None:
        model, training = fit.model, fit.model.training
        assert training.optimizer is not None
        self.fit, self.rates, self.on_host = fit, _rates(fit, source), on_host
        self.coefficients = training.optimizer.coefficients
        self.is_noisy = model.network.is_noisy
        self.random = generator(model.seed, "noise", training.epoch) if self.is_noisy else None
        fit.batches_done = 0

    def next(self, shape: tuple[int, ...]) -> tuple[float, tuple[float, ...], Any]:
        """Return the learning rate, the scalars and the noise of the next step."""
        fit, model = self.fit, self.fit.model
        model.training.step += 1
        rate, noise = next(self.rates), None
        if self.is_noisy:
            backend = select("numpy") if self.on_host else model.backend
            noise = model.network.noise(shape, Random(self.random, backend, model.dtype))
        return rate, self.coefficients(model.training.step, rate) + fit.numbers, noise


def _take_step(
    fit: FitContext, step: Step, inputs: _StepInputs, batch: Batch
) -> tuple[Report, float]:
    """Take one step; return its report and its learning rate."""
    training = fit.model.training
    rate, scalars, noise = inputs.next(tuple(batch.x.shape))
    training.params, training.optimizer_state, training.state, report = step(
        *(training.params, training.optimizer_state, training.state),
        *(fit.penalty_mask(), scalars, *batch, noise),
    )
    fit.batches_done += 1
    return report, rate


def _rates(fit: FitContext, source: Source) -> Iterator[float]:
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


def _scans(
    fit: FitContext,
    source: Source,
    scan: Callable[..., Any],
    callbacks: Sequence[Callback],
) -> Iterator[tuple[Report, list[int], list[float]]]:
    """Take the steps of one epoch, many in one call.

    Yields
    ------
    reports : tuple of array, shape (n_steps,)
    sizes : list of int
    rates : list of float
    """
    training, rows = fit.model.training, source.all_rows
    end_batch = _hooks(callbacks, "on_batch_end")
    assert rows is not None
    batches, n_in = list(source.rows_of_batches(training.epoch)), rows.x.shape[1:]
    inputs, rates = _StepInputs(fit, source, on_host=True), []

    def entry(chosen: Any) -> tuple[tuple[float, ...], Any, Any]:
        rate, scalars, noise = inputs.next((len(chosen), *n_in))
        rates.append(rate)
        return scalars, chosen, noise

    for part in _divide(batches, fit.model, n_in):
        rates.clear()
        carried = training.params, training.optimizer_state, training.state
        carried, reports = scan(carried, (fit.penalty_mask(), *rows), map(entry, part))
        training.params, training.optimizer_state, training.state = carried
        fit.batches_done += len(part)
        for hook in end_batch:
            hook(fit)
        yield reports, [len(chosen) for chosen in part], rates.copy()
        if fit.stop_reason is not None:
            return


def _divide(batches: list[Any], model: Engine, n_in: tuple[int, ...]) -> list[list[Any]]:
    """Divide the batches of an epoch into those whose steps are taken in one call."""
    most = model.backend.steps_per_call
    n_same = sum(len(chosen) == len(batches[0]) for chosen in batches)
    if model.network.is_noisy:
        blank = Zeros(None, select("numpy"), model.dtype)
        noise = tree_leaves(model.network.noise((len(batches[0]), *n_in), blank))
        n_bytes = sum(one.nbytes for one in noise if one is not None)
        most = max(1, min(most, MOST_NOISE // max(n_bytes, 1)))
    n_parts = -(-n_same // most)
    # Parts of the same length as far as can be: a library may compile for each length.
    bounds = [round(i * n_same / n_parts) for i in range(n_parts + 1)]
    parts = [batches[start:stop] for start, stop in itertools.pairwise(bounds)]
    # All of a call have the same shape: a last, smaller batch has one of its own.
    return parts + [[chosen] for chosen in batches[n_same:]]


def _epoch(
    fit: FitContext,
    source: Source,
    steps: Steps,
    callbacks: Sequence[Callback],
) -> dict[str, float]:
    """Train one epoch and give its row of the history."""
    model, training = fit.model, fit.model.training
    if steps.scan is not None and source.all_rows is not None and not _every_batch(callbacks):
        reports, *parts = zip(*_scans(fit, source, steps.scan, callbacks))
        sizes, rates = (tuple(chain.from_iterable(one)) for one in parts)
    else:
        every, sizes, rates = zip(*take_steps(fit, source, steps.step, callbacks))
        reports = (tuple(map(_stack, zip(*every))),)
    kept = {
        PARAMETERS: training.params,
        "the optimiser's means": tuple(tree_leaves(training.optimizer_state)),
    }
    table, infinite = _read(model, reports, len(sizes), kept)
    _check_convergence(table[:, 0], infinite, training.epoch, rates, model.compute_dtype)
    training.epoch += 1
    # Not at the beginning of a warm-up, which goes on.
    if not any(rates) and next(_rates(fit, source)) == 0.0:
        warnings.warn(
            f"the learning rate was 0 in all of epoch {training.epoch}, so nothing was learned: "
            "its schedule has come to its end. To go on, pass another optimizer",
            stacklevel=5,
        )
    means = np.asarray(sizes, dtype=np.float64) @ table / sum(sizes)
    return {
        "epoch": training.epoch,
        "learning_rate": rates[0],
        **{f"train_{name}": float(mean) for name, mean in zip(model.metric_names, means)},
    }


def _every_batch(callbacks: Sequence[Callback]) -> bool:
    """Tell whether a callback wants to be called for every single batch."""
    some = [one for one in callbacks if one.every_batch]
    return bool(_hooks(some, "on_batch_begin") or _hooks(some, "on_batch_end"))


def _call(callbacks: Sequence[Callback], event: str, fit: FitContext) -> None:
    for hook in _hooks(callbacks, event):
        hook(fit)


def _hooks(callbacks: Sequence[Callback], event: str) -> list[Callable[[FitContext], None]]:
    """List the methods for an event that do something."""
    nothing = getattr(Callback, event)
    hooks = [getattr(callback, event) for callback in callbacks]
    return [hook for hook in hooks if getattr(hook, "__func__", None) is not nothing]


def _read(
    model: Engine, reports: Sequence[Report], n_steps: int, kept: dict[str, Packed]
) -> tuple[Any, str | None]:
    """Bring all reports to the host at once, and which of these arrays are not finite, if any."""
    summarized = model.compiled("summary", lambda: epoch_summary)
    read = to_numpy(summarized(tuple(reports), tuple(kept.values()))).astype(np.float64)
    names = [name for name, arrays in kept.items() for _ in arrays]
    n_values = len(read) - len(names)
    infinite = next((name for name, one in zip(names, read[n_values:]) if one != 1.0), None)
    return read[:n_values].reshape(-1, len(reports[0]))[:n_steps], infinite


def _stack(values: Sequence[Array], most: int = 64) -> Array:
    """Stack scalars, in parts of one length, because a library that compiles does so for each.

    The last one is repeated until its part is full.
    """
    xp = array_namespace(values[0])
    full = [*values, *repeat(values[-1], -len(values) % most)]
    parts = [xp.stack(full[i : i + most]) for i in range(0, len(full), most)]
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _check_convergence(
    losses: Any,
    infinite: str | None,
    epoch: int,
    rates: Sequence[float],
    compute_dtype: str | None,
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
        if bad.size and np.isnan(losses[at]):
            cause += "; or a sample holds NaN, which is not looked for in memory maps"
    if compute_dtype == "float16":
        cause += '. The range of float16 ends at 65504: compute_dtype="bfloat16" goes further'
    raise DivergenceError(
        f"{what} in epoch {epoch + 1}, step {at + 1} of it; {cause}. The model has the parameters "
        "from the start of that epoch"
    )

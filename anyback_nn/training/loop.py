"""The training loop: epochs of steps, with one read from the device per epoch."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, pairwise, repeat
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.errors import CheckpointError, DivergenceError
from anyback_nn.inputs.batches import Source
from anyback_nn.inputs.checks import Samples
from anyback_nn.network.layout import Packed
from anyback_nn.random import Random, ZerosOnly, generator
from anyback_nn.training import evaluation
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.custom import is_own
from anyback_nn.training.divergence import (
    PARAMETERS,
    find_divergence,
    locate,
    warn_of_unchanged_layers,
)
from anyback_nn.training.engine import CompiledSteps, Engine
from anyback_nn.training.fit import FitContext
from anyback_nn.training.out_of_memory import explain
from anyback_nn.training.progress import EpochProgress
from anyback_nn.training.step import Step, StepReport, build_summary
from anyback_nn.tree import tree_leaves

__all__ = ["require_same", "take_steps", "train"]

KEPT = "The model has the parameters from the start of that epoch"

MOST_NOISE = 2**26
"""The maximum number of bytes of noise for the steps of one call."""


def train(
    fit: FitContext,
    source: Source,
    validation: Source | None,
    steps: CompiledSteps,
    callbacks: Sequence[Callback],
) -> None:
    """Train for ``fit.epochs`` epochs or until a callback stops it.

    An epoch that ends with an error, an interrupt or divergence leaves the model as it was at the
    start of that epoch (or where it was resumed in the middle of it).
    """
    model = fit.model
    fit.n_batches, fit.batch_size = source.n_batches, source.rows_a_batch or None
    fit.source, fit.validation = source, validation
    # Stable: the others are called in the order of the user.
    fit.callbacks = sorted(callbacks, key=lambda callback: callback.comes_last)
    callbacks = fit.own_callbacks
    require_same(fit)
    _begin(fit, callbacks)
    while not fit.stops() and fit.epochs_done < fit.epochs:
        before = model.training.copy(model.copy_tree)
        try:
            _call(callbacks, "on_epoch_begin", fit)
            if fit.stops():
                break
            fit.progress.begin()
            row = _train_epoch(fit, source, steps, callbacks, before.params)
            row |= fit.measure()
            row["seconds"] = fit.progress.seconds
            model.training.history.rows.append(row)
        except BaseException as error:
            # Also after Ctrl-C: an unfinished update in place must be undone.
            model.training = before
            fit.progress.undo()
            if isinstance(error, DivergenceError):
                if fit.roll_back(error):
                    continue
                fit.divergence = str(error)
            _call_after_error(fit, callbacks)
            if isinstance(error, DivergenceError):
                fit.stops()  # all have it, and a rank that ends would end those that write
                _locate(error, fit, source, steps.step)
                error.args = (f"{error}. {KEPT}",)
            explain(error, model, source, training=True)
            raise
        del before
        if fit.first_loss is None:
            fit.first_loss = row["train_loss"]
        fit.epochs_done += 1
        fit.progress = EpochProgress()
        for is_last in (False, True):
            _call([x for x in callbacks if x.comes_last is is_last], "on_epoch_end", fit)
            fit.stops()  # what comes last writes if a callback of another rank has ended training
    _call(callbacks, "on_train_end", fit)


def _begin(fit: FitContext, callbacks: Sequence[Callback]) -> None:
    """Call the callbacks before the first epoch; give them the state that a checkpoint has."""
    _call(callbacks, "on_train_begin", fit)
    waiting = list(callbacks)
    for kind, state in fit.callback_states:
        same = [callback for callback in waiting if type(callback).__name__ == kind]
        if not same and fit.ranks.rank:
            continue  # it writes, which rank 0 does
        if not same:
            raise CheckpointError(
                f"{fit.resumed_from}: it has the state of the callback {kind}: expected the same "
                "callbacks as then"
            )
        waiting.remove(same[0])
        try:
            same[0].set_state(fit, state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{fit.resumed_from}: the state of {kind} does not fit ({error!r})"
            ) from error
    fit.has_begun = True


def _call_after_error(fit: FitContext, callbacks: Sequence[Callback]) -> None:
    """Call the callbacks after training has ended with an error, which stays the one."""
    for callback in callbacks:
        try:
            callback.on_train_error(fit)
        except Exception as error:
            fit.report(f"{type(callback).__name__}.on_train_error: {error!r}")


def require_same(fit: FitContext) -> None:
    """Raise `AnybackError` unless all ranks train the same model on the same data."""
    if fit.source is None or fit.ranks.size == 1:
        return
    model, source, validation = fit.model, fit.source, fit.validation
    callbacks = [type(x).__name__ for x in fit.callbacks if not (x.writes and is_own(x))]
    # A part of the user's may have no other name than its address.
    rule = re.sub(r" at 0x\w+", "", repr(model.training.optimizer))
    evaluation.require_same(
        *(model, source, validation and validation.fingerprint(model.dtype)),
        *(fit.epochs, fit.epoch, fit.batch_size, getattr(source, "shuffle", None)),
        *(model.seed, callbacks, rule),
    )


def _locate(error: DivergenceError, fit: FitContext, source: Source, step: Step) -> None:
    """Take the steps of the epoch again, and add to the error in which layer it began."""
    if not source.can_repeat or fit.model.compute_dtype is not None or fit.ranks.size > 1:
        return
    context = FitContext(fit.model, epochs=0, penalty_coefficients=fit.penalty_coefficients)
    context.progress.skipped = fit.progress.skipped
    saved = fit.model.training
    fit.model.training = saved.copy()
    try:
        again = partial(take_steps, context, source)
        locate(error, fit.model, step, again, context.progress.skipped)
    finally:
        fit.model.training = saved


def take_steps(
    fit: FitContext, source: Source, step: Step, callbacks: Sequence[Callback] = ()
) -> Iterator[None]:
    """Take the steps of one epoch, until a callback stops it; they are recorded in its progress.

    Those that were taken before the run was resumed are passed over.
    """
    begin_batch = _list_hooks(callbacks, "on_batch_begin")
    end_batch = _list_hooks(callbacks, "on_batch_end")
    # Those of the library end training on all ranks alike.
    asks = any(not is_own(callback) for callback in fit.callbacks)
    inputs = _StepInputs(fit, source)
    for number, batch in enumerate(source.epoch(fit.epoch)):
        n_samples = source.size_of(number)
        if number < fit.progress.skipped:
            inputs.skip((n_samples, *batch.x.shape[1:]))
            continue
        for hook in begin_batch:
            hook(fit)
        report, rate = _take_step(fit, step, inputs, batch, n_samples)
        fit.progress.add(report, [n_samples], [rate])
        for hook in end_batch:
            hook(fit)
        yield
        if fit.stops() if asks else fit.stop_reason is not None:
            break


class _StepInputs:
    """The inputs of each step of an epoch in addition to its batch.

    With ``on_host``, noise is drawn as NumPy arrays.
    """

    def __init__(self, fit: FitContext, source: Source, on_host: bool = False) -> None:
        model, training = fit.model, fit.model.training
        assert training.optimizer is not None
        self.fit, self.rates, self.on_host = fit, _iterate_rates(fit, source), on_host
        self.coefficients = training.optimizer.coefficients
        self.is_noisy = model.network.is_noisy
        self.random = generator(model.seed, "noise", training.epoch) if self.is_noisy else None
        fit.batches_done = fit.progress.skipped

    def next(self, shape: tuple[int, ...]) -> tuple[float, tuple[float, ...], Any]:
        """Return the learning rate, the coefficients and the noise of the next step."""
        rate, noise = self.skip(shape)
        training = self.fit.model.training
        training.step += 1
        coefficients = self.coefficients(training.step, rate)
        return rate, coefficients + self.fit.penalty_coefficients, noise

    def skip(self, shape: tuple[int, ...]) -> tuple[float, Any]:
        """Draw the learning rate and the noise of the next step, without counting it."""
        model, noise = self.fit.model, None
        if self.is_noisy:
            backend = select("numpy") if self.on_host else model.backend
            rows = self.fit.ranks.share(shape[0]) if self.fit.ranks.size > 1 else None
            draws = Random(self.random, backend, model.dtype, rows, shape[0])
            noise = model.network.noise(shape, draws)
        return next(self.rates), noise


def _take_step(
    fit: FitContext, step: Step, inputs: _StepInputs, batch: Samples, n_samples: int
) -> tuple[StepReport, float]:
    """Take one step on a batch of ``n_samples``; return its report and its learning rate."""
    training = fit.model.training
    rate, coefficients, noise = inputs.next((n_samples, *batch.x.shape[1:]))
    whole = (float(n_samples),) if fit.ranks.size > 1 else ()
    with fit.model.lock:
        training.params, training.optimizer_state, training.state, report = step(
            *(training.params, training.optimizer_state, training.state),
            *(fit.penalty_mask(), coefficients, *batch, noise, *whole),
        )
    fit.batches_done += 1
    return report, rate


def _iterate_rates(fit: FitContext, source: Source) -> Iterator[float]:
    """Iterate over the learning rates of the steps of an epoch."""
    training, n_batches = fit.model.training, source.n_batches
    assert training.optimizer is not None
    schedule, begin = training.optimizer.schedule, training.first_epoch
    done, past = training.epoch - begin, training.history.rows[begin:]
    if schedule.per_epoch or not n_batches:
        # If the number of batches is unknown, all steps have the rate of the middle of the epoch.
        rate = float(schedule(done if n_batches else done + 0.5, past))
        yield from repeat(rate)
    else:
        for position in count():
            yield float(schedule(done + position / n_batches, past))


def _take_scans(
    fit: FitContext,
    source: Source,
    scan: Callable[..., Any],
    callbacks: Sequence[Callback],
) -> None:
    """Take the steps of one epoch, many in one call; see `take_steps`."""
    training, samples = fit.model.training, source.all_rows
    end_batch = _list_hooks(callbacks, "on_batch_end")
    assert samples is not None
    batches, n_in = list(source.rows_of_batches(training.epoch)), samples.x.shape[1:]
    inputs, rates = _StepInputs(fit, source, on_host=True), []

    def draw_inputs(rows: Any) -> tuple[tuple[float, ...], Any, Any]:
        rate, coefficients, noise = inputs.next((len(rows), *n_in))
        rates.append(rate)
        return coefficients, rows, noise

    n_skipped = fit.progress.skipped
    for part in _divide(batches, fit.model, n_in):
        for rows in part[:n_skipped]:
            inputs.skip((len(rows), *n_in))
        part, n_skipped = part[n_skipped:], max(n_skipped - len(part), 0)
        if not part:
            continue
        rates.clear()
        constants = (fit.penalty_mask(), *samples)
        with fit.model.lock:
            carried = training.params, training.optimizer_state, training.state
            carried, reports = scan(carried, constants, map(draw_inputs, part))
            training.params, training.optimizer_state, training.state = carried
        fit.batches_done += len(part)
        fit.progress.add(reports, [len(rows) for rows in part], rates)
        for hook in end_batch:
            hook(fit)
        if fit.stop_reason is not None:
            return


def _divide(batches: list[Any], model: Engine, n_in: tuple[int, ...]) -> list[list[Any]]:
    """Divide the batches of an epoch into parts whose steps are taken in one call."""
    n_steps = model.backend.steps_per_call
    n_same = sum(len(rows) == len(batches[0]) for rows in batches)
    if model.network.is_noisy:
        zeros = ZerosOnly(None, select("numpy"), model.dtype)
        noise = tree_leaves(model.network.noise((len(batches[0]), *n_in), zeros))
        n_bytes = sum(array.nbytes for array in noise if array is not None)
        n_steps = max(1, min(n_steps, MOST_NOISE // max(n_bytes, 1)))
    n_parts = -(-n_same // n_steps)
    # Parts of almost equal length, because a library may compile for each length.
    bounds = [round(i * n_same / n_parts) for i in range(n_parts + 1)]
    parts = [batches[start:stop] for start, stop in pairwise(bounds)]
    # The batches of one call have the same shape, so a smaller last batch has a separate call.
    return parts + [[rows] for rows in batches[n_same:]]


def _train_epoch(
    fit: FitContext,
    source: Source,
    steps: CompiledSteps,
    callbacks: Sequence[Callback],
    before: Packed,
) -> dict[str, float]:
    """Train one epoch; return its row of the history. ``before`` are the parameters before it."""
    model, training = fit.model, fit.model.training
    if steps.scan is not None and source.all_rows is not None and not _need_every_batch(callbacks):
        _take_scans(fit, source, steps.scan, callbacks)
    else:
        for _ in take_steps(fit, source, steps.step, callbacks):
            pass
    sizes, rates = fit.progress.sizes, fit.progress.rates
    groups = {
        PARAMETERS: training.params,
        "the optimiser's means": tuple(tree_leaves(training.optimizer_state)),
    }
    if all(map(is_own, model.network.layers)):
        groups["the statistics of a layer"] = tuple(tree_leaves(training.state))
    table, infinite, changed = _read_epoch(fit, groups, before)
    error = find_divergence(fit, table[:, 0], infinite)
    if error is not None:
        if not fit.may_diverge:
            raise error
        fit.divergence = fit.divergence or str(error)
    warn_of_unchanged_layers(fit, table[:, 0], changed)
    training.epoch += 1
    # Not at the beginning of a warm-up, where the next rate is above 0.
    if not any(rates) and next(_iterate_rates(fit, source)) == 0.0:
        warnings.warn(
            f"the learning rate was 0 in all of epoch {training.epoch}, so nothing was learned: "
            "its schedule has ended. To continue, pass another optimizer",
            stacklevel=5,
        )
    means = np.asarray(sizes, dtype=np.float64) @ table / sum(sizes)
    return {
        "epoch": training.epoch,
        "learning_rate": rates[0],
        **{f"train_{name}": float(mean) for name, mean in zip(model.metric_names, means)},
    }


def _need_every_batch(callbacks: Sequence[Callback]) -> bool:
    """Return whether a callback must be called for every single batch."""
    some = [callback for callback in callbacks if callback.every_batch]
    return bool(_list_hooks(some, "on_batch_begin") or _list_hooks(some, "on_batch_end"))


def _call(callbacks: Sequence[Callback], event: str, fit: FitContext) -> None:
    for hook in _list_hooks(callbacks, event):
        hook(fit)


def _list_hooks(callbacks: Sequence[Callback], event: str) -> list[Callable[[FitContext], None]]:
    """List the methods for an event that are overridden."""
    default = getattr(Callback, event)
    hooks = [getattr(callback, event) for callback in callbacks]
    return [hook for hook in hooks if getattr(hook, "__func__", None) is not default]


def _read_epoch(
    fit: FitContext, groups: dict[str, Packed], before: Packed
) -> tuple[Any, str | None, list[bool]]:
    """Read all that is known of an epoch at once.

    Returns
    -------
    table : ndarray, shape (n_steps, n_values)
    infinite : str, optional
        The name of the first group that is not finite.
    changed : list of bool
        Whether each parameter of the layout has changed.
    """
    model, progress = fit.model, fit.progress
    summarize = model.get_compiled("summary", lambda: build_summary(model.layout))
    reports = progress.stack_unread()
    names = [name for name, arrays in groups.items() for _ in arrays]
    values: Any = np.empty(0)
    if reports or names:
        arguments = (tuple(reports), tuple(groups.values()), before, model.training.params)
        values = to_numpy(summarize(*arguments)).astype(np.float64)
    n_leaves = len(model.layout.leaves)
    n_values = len(values) - len(names) - n_leaves
    flags = values[n_values:]
    infinite = next((name for name, flag in zip(names, flags) if flag != 1.0), None)
    progress.append(values[:n_values].reshape(-1, len(model.metric_names)))
    return progress.table, infinite, [flag == 1.0 for flag in flags[len(names) :]]

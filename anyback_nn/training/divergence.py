"""Numbers that go wrong: what was too large, in which step and layer, and what to try."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.errors import DivergenceError
from anyback_nn.network.layer import PREDICTION, Context, Layer
from anyback_nn.network.layout import Packed
from anyback_nn.network.network import Network
from anyback_nn.training.callbacks import EarlyStopping
from anyback_nn.training.custom import is_own
from anyback_nn.training.engine import Engine
from anyback_nn.training.fit import FitContext
from anyback_nn.training.step import Step, StepArguments, value_and_grad
from anyback_nn.tree import tree_copy, tree_leaves

__all__ = ["PARAMETERS", "Tap", "find_divergence", "locate", "warn_of_unchanged_layers"]

PARAMETERS = "parameters"

MOST_SECONDS = 60.0

SPIKE = 1000.0
"""How many times as large as in the first epoch a training loss may become."""


def find_divergence(fit: FitContext, losses: Any, infinite: str | None) -> DivergenceError | None:
    """Return the error of an epoch that went wrong, or None.

    Parameters
    ----------
    fit : FitContext
    losses : ndarray, shape (n_steps,)
        The losses of its steps.
    infinite : str, optional
        What has elements that are not finite at its end.
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    epoch, rates = fit.epoch, fit.progress.rates
    if not bad.size and infinite is None:
        return _find_spike(fit, losses)
    at = int(bad[0]) if bad.size else len(losses) - 1
    what = f"the loss became {losses[at]}" if bad.size else f"{infinite} became NaN or infinite"
    is_hopeless = bool(bad.size) and epoch == 0 and at == 0
    if is_hopeless:
        cause = (
            "it was so before the first update, so the inputs or targets are probably too large, "
            "or contain NaN: standardise them, and replace missing values"
        )
    elif not bad.size and infinite != PARAMETERS:
        cause = (
            "gradients, or their squares, are too large for the dtype: standardise the inputs and "
            "targets, or set clip_norm=1.0 (--clip-norm 1)"
        )
    else:
        # A loss shows the effect of the previous update; the parameters show that of the last one.
        cause = _blame_rate(rates[max(at - 1, 0)] if bad.size else rates[at])
        if bad.size and np.isnan(losses[at]):
            cause += "; or a sample contains NaN, which is not checked in memory maps"
    if fit.model.compute_dtype == "float16":
        cause += '. The range of float16 ends at 65504: compute_dtype="bfloat16" goes further'
    error = _build_error(what, epoch, at, cause)
    error.is_hopeless = is_hopeless
    return error


def _find_spike(fit: FitContext, losses: Any) -> DivergenceError | None:
    """Return the error of a loss that is finite, but far above that of the first epoch."""
    n_some = len(losses) // 4
    if fit.first_loss is not None:
        first, last, where = fit.first_loss, float(np.mean(losses)), "of the first epoch"
    elif fit.on_divergence == "rollback" and n_some:
        # Nothing is known yet but the course of this epoch, which ordered samples may cause, too.
        first, last = (float(np.median(part)) for part in (losses[:n_some], losses[-n_some:]))
        where = "at its beginning"
    else:
        return None
    if not 0.0 < SPIKE * first < last or _is_tolerated(fit):
        return None
    at = int(np.argmax(losses > SPIKE * first))
    what = f"the loss rose to {last:.3g}, {last / first:.3g} times that {where},"
    return _build_error(what, fit.epoch, at, _blame_rate(fit.progress.rates[max(at - 1, 0)]))


def _is_tolerated(fit: FitContext) -> bool:
    """Return whether training goes on after a spike: estimators' does, as scikit-learn's do."""
    restores = any(
        isinstance(callback, EarlyStopping) and callback.restore_best for callback in fit.callbacks
    )
    return fit.on_divergence is None or (fit.on_divergence == "stop" and restores)


def _blame_rate(rate: float) -> str:
    return (
        f"the learning rate, {rate:.3g}, is probably too high: try {rate / 10:.3g}, "
        "clip_norm=1.0 (--clip-norm 1), or standardise the inputs"
    )


def _build_error(what: str, epoch: int, at: int, cause: str) -> DivergenceError:
    return DivergenceError(
        f"{what} in epoch {epoch + 1}, step {at + 1} of it; {cause}", epoch=epoch + 1, step=at + 1
    )


# Where ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tap(Layer):
    """A layer with its output in its cache."""

    layer: Layer

    def output_size(self, n_in: int) -> int:
        return self.layer.output_size(n_in)

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y, cache = self.layer.forward(params, x, context)
        return y, (cache, y)

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        return self.layer.backward(params, cache[0], dy)

    def gradients(self, params: Any, cache: Any, dy: Array) -> Any:
        return self.layer.gradients(params, cache[0], dy)


def locate(
    error: DivergenceError,
    model: Engine,
    step: Step,
    take_steps: Callable[[Step], Iterable[None]],
    n_skipped: int,
) -> None:
    """Add to an error the layer in which it began, and the norms that show it.

    An epoch that takes more than a minute is not taken again.

    Parameters
    ----------
    error : DivergenceError
    model : Engine
        As it was when the epoch began. It is trained.
    step : callable
        The step of training.
    take_steps : callable
        Takes the steps of the epoch again, with the step that is passed to it.
    n_skipped : int
        The number of steps of the epoch that are not taken again.
    """
    args: Any = None
    number, end = n_skipped, time.monotonic() + MOST_SECONDS

    def watch(*arguments: Any) -> Any:
        nonlocal args, number
        number += 1
        if number >= (error.step or 0) - 1:
            # Copies: they are donated to the step.
            args = StepArguments(*tree_copy(arguments[:3]), *arguments[3:])
        return step(*arguments)

    for _ in take_steps(watch):
        # A loss shows the effect of the step before.
        is_near = number >= (error.step or 0) - 1
        if number == error.step or (is_near and not _are_finite(model.training.params)):
            break
        if time.monotonic() > end:
            return
    if args is not None:
        error.layer, error.norms = _measure(model, args)
        norms = error.norms.get(error.layer or "")
        if norms is not None:
            values = ", ".join(f"{name} {value:.3g}" for name, value in norms.items())
            error.args = (f"{error}. It began in {error.layer}, whose norms are: {values}",)


def _measure(model: Engine, args: StepArguments) -> tuple[str | None, dict[str, dict[str, float]]]:
    """Return the layer whose numbers are too large, and the norms of all layers in a step."""
    tapped = Network(*map(Tap, model.network.layers))
    params = model.layout.unpack(args.params)
    grads, cache, _ = value_and_grad(tapped, model.loss)(args._replace(params=params))
    norms = {
        f"layer {i} ({type(layer).__name__})": {
            "parameters": _norm(params[i]),
            "outputs": _norm(cache[i][1]),
            "gradients": _norm(grads[i]),
        }
        for i, layer in enumerate(model.network.layers)
    }
    for part, names in (("outputs", [*norms]), ("gradients", [*norms][::-1])):
        for name in names:
            if not np.isfinite(norms[name][part]):
                return name, norms
    # All are finite in this step, so the largest gradient has made the update too large.
    trained = [name for name in norms if norms[name]["gradients"] > 0.0]
    return max(trained, key=lambda name: norms[name]["gradients"], default=None), norms


def _norm(tree: Any) -> float:
    """Return the Euclidean norm of all elements of a tree, in float64."""
    arrays = [to_numpy(array).astype(np.float64) for array in tree_leaves(tree)]
    with np.errstate(all="ignore"):
        return float(np.sqrt(sum(float(np.vdot(array, array)) for array in arrays)))


def _are_finite(params: Packed) -> bool:
    return all(bool(np.all(np.isfinite(to_numpy(array)))) for array in params)


def warn_of_unchanged_layers(fit: FitContext, losses: Any, changed: Sequence[bool]) -> None:
    """Warn of a layer in which an epoch has not changed a single bit: its gradients vanish.

    Parameters
    ----------
    fit : FitContext
    losses : ndarray, shape (n_steps,)
        The losses of its steps.
    changed : sequence of bool
        Whether each parameter of the layout has changed.
    """
    if fit.on_divergence is None or fit.epochs_done > fit.resumed_epochs:
        return
    model, optimizer, progress = fit.model, fit.model.training.optimizer, fit.progress
    assert optimizer is not None
    # Nothing is left to learn without a loss. In float16, the first steps may be left out.
    learns = all(progress.rates) and float(np.max(losses, initial=0.0)) > 0.0
    learns = learns and len(progress.sizes) > progress.skipped
    is_known = is_own(optimizer) and is_own(optimizer.schedule)
    if not learns or not is_known or model.compute_dtype == "float16":
        return
    names = [leaf.name for leaf in model.layout.leaves]
    for i, layer in enumerate(model.network.layers):
        own = [flag for name, flag in zip(names, changed) if name.startswith(f"{i}.")]
        # A layer of the user's may be meant to stay as it is.
        if own and not any(own) and is_own(layer):
            warnings.warn(
                f"layer {i} ({type(layer).__name__}) has not changed in its first epoch: its "
                f"gradients are 0, or too small for {model.dtype}. They vanish in layers that are "
                "saturated, all negative before ReLU, or many: standardise the inputs, or use "
                "ReLU, LeakyReLU, BatchNorm, Residual, fewer layers or a higher learning rate",
                stacklevel=4,
            )
            return

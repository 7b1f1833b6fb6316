"""What happens inside of a network while it learns: statistics of every layer, now and then."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.inputs.batches import move
from anyback_nn.network.activations import Activation
from anyback_nn.network.layer import Context, Layer
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss, mean_loss
from anyback_nn.network.network import Network
from anyback_nn.training.callbacks import Callback
from anyback_nn.tree import tree_leaves
from anyback_nn.utils.arguments import as_integer

if TYPE_CHECKING:
    from anyback_nn.backends import Backend
    from anyback_nn.training.fit import FitContext

__all__ = ["STATISTICS", "ActivityLog"]

STATISTICS = {
    "mean": "mean of the outputs",
    "std": "standard deviation of the outputs",
    "dead": "share of units whose slope is 0 on every row, so that nothing before them learns",
    "saturated": "share of outputs whose slope is below 4 % of the steepest",
    "output_gradient": "norm of the gradient of the mean loss with respect to the outputs",
    "gradient": "norm of the gradient of the mean loss with respect to the parameters",
    "parameters": "norm of the parameters",
    "update": "norm of the change of the parameters in the epoch, over their norm before it (or "
    "after it, if they were all 0)",
}
"""The recorded statistics of a layer, and what they are."""

FLAT = 0.04
"""The slope, as a share of the steepest, below which an output is saturated. For the sigmoid and
the hyperbolic tangent these are the outputs within 1 % of their range from a limit."""

FAR = 32.0
"""An input at which a bounded activation has reached its limits."""

N_ROWS = 128
"""The number of rows on which the statistics are computed."""

PAUSE_PASSES, PAUSE_STEPS = 64, 128
"""By default, training takes as many steps between two records, and as many times the rows that a
record takes."""


@dataclass
class ActivityLog(Callback):
    """Record statistics of every layer while it learns, for reports and for questions of your own.

    They are computed at the end of some epochs on 128 rows of the training data, which are drawn
    once, as in a prediction: without dropout. The model learns the same with and without it.

    Parameters
    ----------
    every : int, optional
        The number of epochs from one record to the next. Default: as many as take 128 steps and 64
        times the rows of a record, so that recording takes a small part of the time. The last epoch
        is recorded in any case, and of a short run no other: for each epoch, pass 1.

    Attributes
    ----------
    rows : list of dict
        One for each layer and recorded epoch, with ``epoch``, ``layer`` (from 0), ``kind`` and
        those of `STATISTICS` that the layer has. ``dead`` is for elementwise activations,
        ``saturated`` for those among them that are flat at both ends, such as the sigmoid; a layer
        without parameters has no ``gradient``, ``parameters`` and ``update``.

    Raises
    ------
    ValueError
        When training begins: the rows are not known, as those of an iterable of batches. Then pass
        arrays, or arrays for validation, whose rows are taken instead.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(200, seed=0)
    >>> model = nn.Model(nn.Dense(8), nn.ReLU(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> activity = nn.ActivityLog(every=5)
    >>> history = model.fit(x, y, epochs=10, callbacks=[activity])
    >>> [(row["epoch"], row["kind"]) for row in activity.rows][:4]
    [(5, 'Dense'), (5, 'ReLU'), (5, 'Dense'), (10, 'Dense')]
    >>> 0.0 <= activity.rows[1]["dead"] <= 1.0
    True
    """

    every_batch = False
    comes_last = True  # after what may end training, and before a checkpoint that follows it
    every: int | None = None
    _kinds: tuple[str, ...] = field(default=(), init=False, repr=False)
    _names: tuple[tuple[int, str], ...] = field(default=(), init=False, repr=False)
    _epochs: list[int] = field(default_factory=list, init=False, repr=False)
    _values: list[Any] = field(default_factory=list, init=False, repr=False)
    _slopes: tuple[Slopes | None, ...] = field(default=(), init=False, repr=False)
    _sample: Any = field(default=None, init=False, repr=False)
    _before: Packed | None = field(default=None, init=False, repr=False)
    _since: list[int] = field(default_factory=lambda: [0, 0, 0], init=False, repr=False)

    def __post_init__(self) -> None:
        if self.every is not None:
            as_integer("every", self.every, least=1)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each layer and recorded epoch."""
        rows = []
        for epoch, values in zip(self._epochs, self._values):
            own: list[dict[str, Any]] = [
                {"epoch": epoch, "layer": number, "kind": kind}
                for number, kind in enumerate(self._kinds)
            ]
            for (number, name), value in zip(self._names, values):
                if not math.isnan(value):
                    own[number][name] = float(value)
            rows += own
        return rows

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with a line for each of `rows`; what a layer lacks is empty."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", "layer", "kind", *STATISTICS])
            writer.writeheader()
            writer.writerows(self.rows)

    def on_train_begin(self, fit: FitContext) -> None:
        model, layers = fit.model, fit.model.network.layers
        sources = (source for source in (fit.source, fit.validation) if source is not None)
        samples = (source.sample(N_ROWS, model.seed) for source in sources)
        sample = next((rows for rows in samples if rows is not None), None)
        if sample is None:
            raise ValueError(
                "ActivityLog: the rows of an iterable are not known before training: pass arrays "
                "x and y, or arrays for validation"
            )
        self._sample = move(sample, model.backend, model.dtype)
        self._slopes = tuple(measure_slopes(layer, model.backend, model.dtype) for layer in layers)
        names = tuple(list_statistics(self._slopes, model.layout))
        kinds = tuple(type(layer).__name__ for layer in layers)
        if (names, kinds) != (self._names, self._kinds) or fit.epoch == 0:
            self._names, self._kinds = names, kinds
            self._epochs, self._values = [], []
        self._since, self._before = [0, 0, 0], None

    def on_epoch_begin(self, fit: FitContext) -> None:
        will_record = self._is_due(fit, self._count(fit)) or fit.epochs_done + 1 == fit.epochs
        self._before = fit.model.copy_tree(fit.model.training.params) if will_record else None

    def on_epoch_end(self, fit: FitContext) -> None:
        self._since = self._count(fit)
        is_last = fit.epochs_done == fit.epochs or fit.stop_reason is not None
        if self._is_due(fit, self._since) or is_last:
            self._record(fit)
        self._before = None

    def on_train_end(self, fit: FitContext) -> None:
        if self._since[0]:  # L-BFGS has converged: nobody knew that it was the last epoch
            self._record(fit)
        self._sample = self._before = None

    def _count(self, fit: FitContext) -> list[int]:
        """Return the epochs, steps and rows since the last record, at the end of this epoch."""
        n_steps = fit.batches_done if fit.n_batches is None else fit.n_batches
        epoch = (1, n_steps, n_steps * (fit.batch_size or 0))
        return [count + more for count, more in zip(self._since, epoch)]

    def _is_due(self, fit: FitContext, since: Sequence[int]) -> bool:
        n_epochs, n_steps, n_rows = since
        if self.every is not None:
            return n_epochs >= self.every
        # The size of a batch may be unknown.
        enough = PAUSE_PASSES * int(self._sample.x.shape[0])
        return n_steps >= PAUSE_STEPS and (not fit.batch_size or n_rows >= enough)

    def _record(self, fit: FitContext) -> None:
        """Compute the statistics, and read them in one go."""
        model, training = fit.model, fit.model.training
        measure = model.get_compiled(
            ("activity", self._slopes),
            lambda: build_measure(model.network, model.loss, model.layout, self._slopes),
        )
        params = training.params
        before = params if self._before is None else self._before
        with model.lock:
            values = to_numpy(measure(params, before, training.state, *self._sample))
        values = values.astype(np.float64)
        if self._before is None:
            lacking = [name == "update" for _, name in self._names]
            values = np.where(lacking, math.nan, values)
        self._epochs.append(fit.epoch)
        self._values.append(values)
        self._since = [0, 0, 0]

    def get_state(self, fit: FitContext) -> dict[str, Any]:
        shape = (len(self._epochs), len(self._names))
        values = np.asarray(self._values, dtype=np.float64).reshape(shape)
        return {"epochs": list(self._epochs), "since": list(self._since), "values": values}

    def set_state(self, fit: FitContext, state: dict[str, Any]) -> None:
        epochs, values = list(map(int, state["epochs"])), np.asarray(state["values"])
        if values.shape != (len(epochs), len(self._names)):
            raise ValueError(f"{len(epochs)} records of shape {values.shape}")
        self._epochs, self._values = epochs, list(values)
        self._since = list(map(int, state["since"]))


@dataclass(frozen=True)
class Slopes:
    """The slopes of an elementwise activation.

    Parameters
    ----------
    steepest : float
    is_bounded : bool
        Whether it is flat at both ends.
    """

    steepest: float
    is_bounded: bool


def measure_slopes(layer: Layer, backend: Backend, dtype: str) -> Slopes | None:
    """Measure the slopes of an activation; None for other layers, and for the softmax.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> measure_slopes(nn.Sigmoid(), nn.select("numpy"), "float64")
    Slopes(steepest=0.25, is_bounded=True)
    >>> measure_slopes(nn.ReLU(), nn.select("numpy"), "float64")
    Slopes(steepest=1.0, is_bounded=False)
    """
    if not isinstance(layer, Activation):
        return None
    z = [[x / 8] for x in range(-32, 33)] + [[-FAR], [FAR]]
    # A single feature is all that the softmax knows: its slope is 0.
    slopes = to_numpy(_derive(layer, backend.asarray(z, dtype)))[:, 0]
    steepest = float(np.max(np.abs(slopes)))
    is_bounded = bool(np.all(np.abs(slopes[-2:]) < FLAT * steepest))
    return Slopes(steepest, is_bounded) if steepest else None


def _derive(layer: Layer, x: Array) -> Array:
    """Return the derivative of an activation, which is that of its outputs' sum."""
    y, cache = layer.forward({}, x)
    return layer.backward({}, cache, array_namespace(y).ones_like(y))[0]


def list_statistics(slopes: Sequence[Slopes | None], layout: Layout) -> list[tuple[int, str]]:
    """List the number of the layer and the name of each value that `build_measure` computes."""
    names = []
    for number, (slope, branch) in enumerate(zip(slopes, layout.tree)):
        own = ["mean", "std", "output_gradient"]
        own += ["dead"] if slope is not None else []
        own += ["saturated"] if slope is not None and slope.is_bounded else []
        own += ["gradient", "parameters", "update"] if tree_leaves(branch) else []
        names += [(number, name) for name in own]
    return names


def build_measure(
    network: Network, loss: Loss, layout: Layout, slopes: Sequence[Slopes | None]
) -> Callable[..., Array]:
    """Build the function that computes the statistics: ``(params, before, state, x, y, weights)``.

    It returns one array, in the order of `list_statistics`.
    """

    def measure(
        packed: Packed, before: Packed, state: Any, x: Array, y: Array, weights: Array | None
    ) -> Array:
        params, old = layout.unpack(packed), layout.unpack(before)
        outputs, cache = network.walk(params, x, Context(state=state))
        _, d_outputs = mean_loss(loss, outputs[-1], y, weights)
        d_layers, grads = network.walk_back(params, cache, d_outputs)
        xp, values = array_namespace(x), []
        for number, (layer, slope) in enumerate(zip(network.layers, slopes)):
            output = outputs[number]
            values += [xp.mean(output), xp.std(output), _norm(d_layers[number])]
            if slope is not None:
                ones = xp.ones_like(output)
                steepness = xp.abs(layer.backward(params[number], cache[number], ones)[0])
                is_dead = xp.all(steepness == 0.0, axis=-2)
                values.append(xp.mean(xp.astype(is_dead, x.dtype)))
                if slope.is_bounded:
                    is_flat = steepness < FLAT * slope.steepest
                    values.append(xp.mean(xp.astype(is_flat, x.dtype)))
            if tree_leaves(params[number]):
                norm_now, norm_then = _norm(params[number]), _norm(old[number])
                change = tuple(
                    now - then
                    for now, then in zip(tree_leaves(params[number]), tree_leaves(old[number]))
                )
                # Parameters that are still 0 have not changed: 0 / tiny.
                tiny = xp.finfo(x.dtype).smallest_normal
                whole = xp.where(norm_then > 0.0, norm_then, xp.maximum(norm_now, tiny))
                values += [_norm(grads[number]), norm_now, _norm(change) / whole]
        return xp.stack(values)

    return measure


def _norm(tree: Any) -> Array:
    """Return the Euclidean norm of all elements of a tree."""
    leaves = tree_leaves(tree)
    xp = array_namespace(leaves[0])
    return xp.sqrt(reduce(lambda a, b: a + b, (xp.sum(leaf * leaf) for leaf in leaves)))

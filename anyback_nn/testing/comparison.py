"""Compare a training run on several backends, step by step, with a reference in float64.

All runs start from the same parameters and see the same batches and dropout masks, so whatever
differs is rounding, or a mistake. All runs take a step before any takes the next one, so that of
each only one step is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.backends.libraries import TRAINING
from anyback_nn.errors import DivergenceError
from anyback_nn.inputs.batches import array_source, move
from anyback_nn.inputs.checks import check_batch, check_dtype
from anyback_nn.model import Model
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import Adam, Optimizer
from anyback_nn.testing.gradients import to_float64
from anyback_nn.testing.host_reads import restrict
from anyback_nn.testing.variants import select, usable
from anyback_nn.training.divergence import Tap
from anyback_nn.training.fit import FitContext
from anyback_nn.training.loop import take_steps
from anyback_nn.training.step import StepArguments, build_halves, value_and_grad
from anyback_nn.tree import tree_map, tree_named_leaves
from anyback_nn.utils.arguments import as_integer, to_python_scalars

__all__ = [
    "QUANTITIES",
    "TOLERANCE",
    "Comparison",
    "Difference",
    "Run",
    "by_size",
    "compare_backends",
    "describe",
]

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
"""The largest relative difference that counts as rounding, after a few hundred steps."""

QUANTITIES = ("activations", "loss", "gradients", "parameters")
"""The quantities that are compared at each step, in the order of the computation."""

SMALLEST = 1e-3
"""Differences are relative to at least this share of the quantity's largest element."""


class Difference(NamedTuple):
    """The difference of an array from the reference's.

    Attributes
    ----------
    name : str
        The name of the array: ``"layer 0 (Dense)"`` for its output, ``"0.weight"`` for a parameter
        or its gradient.
    absolute : float
        The largest difference of two elements.
    relative : float
        The same relative to the largest element of the reference's array (or to a thousandth of the
        largest element of all arrays of this quantity, if that is more).
    """

    name: str
    absolute: float
    relative: float


@dataclass
class Run:
    """The training run on one backend, compared with the reference.

    Attributes
    ----------
    backend, version, device, dtype : str
    tolerance : float
        The largest relative difference that counts as rounding.
    differences : dict of str to list of Difference
        For each of `QUANTITIES`, the largest difference (the relative one decides) at each step.
    first : tuple of (int, str, Difference), optional
        The first step (from 1), quantity and array that differ by more than the tolerance, in the
        order of the computation: the nearest to the cause.
    scores : dict of str to float
        The result of `Model.evaluate` at the end.
    seconds : float
        The time of the training steps alone, the first one with its compilation.
    """

    backend: str
    version: str
    device: str
    dtype: str
    tolerance: float
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    first: tuple[int, str, Difference] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, number: int, differences: dict[str, list[Difference]]) -> None:
        """Add the differences of a step, counted from 1."""
        for quantity, of_arrays in differences.items():
            largest = max(of_arrays, key=by_size, default=Difference("", 0.0, 0.0))
            self.differences.setdefault(quantity, []).append(largest)
        if self.first is None:
            self.first = next(
                (
                    (number, quantity, difference)
                    for quantity in QUANTITIES
                    for difference in differences[quantity]
                    if not difference.relative <= self.tolerance  # also where it is NaN
                ),
                None,
            )

    @property
    def agrees(self) -> bool:
        """Whether no difference exceeds the tolerance."""
        return self.first is None


@dataclass(frozen=True)
class Comparison:
    """Training runs on several backends, compared with a reference.

    Attributes
    ----------
    reference : Run
        Without differences.
    runs : tuple of Run
    """

    reference: Run
    runs: tuple[Run, ...]

    @property
    def agrees(self) -> bool:
        """Whether every run stayed within its tolerance; a comparison that does not is false."""
        return all(run.agrees for run in self.runs)

    def __bool__(self) -> bool:
        return self.agrees

    def __str__(self) -> str:
        return "\n".join(map(describe, self.runs))


def describe(run: Run) -> str:
    """Return a line on how well a run agrees with the reference.

    >>> run = Run("torch", "2.13.0", "cpu", "float64", 1e-10)
    >>> run.differences = dict.fromkeys(QUANTITIES, [Difference("0.weight", 2e-16, 1e-15)])
    >>> describe(run)
    'torch float64: agrees within 1e-10; parameters differ by 1.0e-15 after 1 step'
    """
    if run.first is None:
        last = run.differences["parameters"]
        return (
            f"{run.backend} {run.dtype}: agrees within {run.tolerance:.0e}; parameters differ by "
            f"{last[-1].relative:.1e} after {len(last)} step{'s' if len(last) > 1 else ''}"
        )
    number, quantity, difference = run.first
    where = quantity if quantity == "loss" else f"{quantity} of {difference.name}"
    return (
        f"{run.backend} {run.dtype}: differs since step {number}, first in the {where}: by "
        f"{difference.relative:.1e} (absolute {difference.absolute:.1e}), allowed is "
        f"{run.tolerance:.0e}"
    )


def compare_backends(
    model: Model,
    data: tuple[Any, ...],
    backends: str | Backend | Sequence[str | Backend] | None = None,
    steps: int = 200,
    *,
    dtype: str | None = None,
    optimizer: Optimizer | None = None,
    batch_size: int = 32,
    reference: str | Backend = "numpy",
    tolerance: float | None = None,
    test: tuple[Any, ...] | None = None,
) -> Comparison:
    """Train the same model on several backends, and compare every step.

    Parameters
    ----------
    model : Model
        Layers, loss, seed and metrics; and the parameters to begin with, if it has been built. It
        is not changed.
    data : tuple
        ``(x, y)``, as for `Model.fit`.
    backends : str, Backend or sequence of them, optional
        Real ones or `VARIANTS`. Default: all real ones that can train here.
    steps : int
        The number of training steps.
    dtype : str, optional
        The dtype of the runs. Default: the model's. The reference computes in float64.
    optimizer : Optimizer, optional
        Default: ``Adam()``.
    batch_size : int
    reference : str or Backend
    tolerance : float, optional
        The largest relative difference. Default: 1e-4 for float32, 1e-10 for float64.
    test : tuple, optional
        ``(x, y)`` for the final scores. Default: the training data.

    Returns
    -------
    Comparison
        True if all runs agree with the reference; see `Comparison.runs` for each of them.

    Raises
    ------
    DivergenceError
        The loss of the reference is no longer finite.
    HostReadError
        On a device that array-api-strict pretends, a layer read a value back to the host.

    Notes
    -----
    Two things make a difference that is no mistake. Adam makes whole steps of a gradient that is
    zero but for rounding, such as that of a bias before `BatchNorm`: leave such a bias out. And
    rounding can put a value near the kink of a ReLU on its other side: use a smooth activation with
    a small tolerance.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> model = nn.Model(nn.Dense(8), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> moons = nn.datasets.make_moons(100, seed=0)
    >>> comparison = compare_backends(model, moons, ["numpy", "array-api-strict"], steps=20)
    >>> comparison.agrees, [run.backend for run in comparison.runs]
    (True, ['numpy', 'array-api-strict'])
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"expected a Model, got {model!r}: Model(..., loss=...) makes one of layers"
        )
    steps = as_integer("steps", steps, least=1)
    batch_size = as_integer("batch_size", batch_size, least=1)
    dtype = model.dtype if dtype is None else dtype
    if backends is None:
        chosen = [backend for backend in usable(TRAINING)[0] if backend.supports(dtype)]
    else:
        specs = [backends] if isinstance(backends, str | Backend) else backends
        chosen = [select(spec) for spec in specs]
    if not chosen:
        raise ValueError("expected at least one backend to compare")
    for backend in chosen:
        backend.check_computes("steps")
        check_dtype(dtype, backend)
    if len(data) != 2:
        raise TypeError(f"expected data to be (x, y), got {len(data)} of them")
    rule = Adam() if optimizer is None else optimizer
    if not isinstance(rule, Optimizer):
        raise TypeError(f"expected optimizer to be an Optimizer, got {rule!r}")
    rule = to_python_scalars(rule)
    tested = data if test is None else test
    check_batch(tested[0], tested[1], None, model.loss, model.network, model.n_in)
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    exact, *others = (
        _Trainer(model, data, backend, kind, rule, batch_size, limit)
        for backend, kind in [(select(reference), "float64"), *((b, dtype) for b in chosen)]
    )
    for number in range(1, steps + 1):
        expected = exact.advance()
        if not np.isfinite(expected["loss"]["loss"]):
            raise DivergenceError(
                f"the loss of the reference itself became {expected['loss']['loss']} in step "
                f"{number}, so there is nothing to compare with: lower the learning rate"
            )
        for trainer in others:
            trainer.run.add(number, _compare_quantities(trainer.advance(), expected))
    for trainer in (exact, *others):
        trainer.finish(tested)
    return Comparison(exact.run, tuple(trainer.run for trainer in others))


class _Trainer:
    """Takes the steps of one run, one at a time, and returns what was computed in each."""

    def __init__(
        self,
        like: Model,
        data: tuple[Any, ...],
        backend: Backend,
        dtype: str,
        optimizer: Optimizer,
        batch_size: int,
        tolerance: float,
    ) -> None:
        self.run = Run(backend.spec, backend.version, backend.device_label, dtype, tolerance)
        self.model = model = Model(
            *like.network.layers,
            loss=like.loss,
            backend=backend,
            seed=like.seed,
            dtype=dtype,
            metrics=like.metrics,
        )
        tapped = Network(*map(Tap, model.network.layers))
        derive = value_and_grad(tapped, model.loss)

        def look(*arguments: Any) -> Any:
            # Nothing but arrays comes out of a compiled function, and caches may hold more.
            grads, cache, (loss,) = derive(StepArguments(*arguments))
            return grads, tuple([output for _, output in cache]), loss

        self.look = backend.jit(look)
        with restrict(backend), backend.scope(dtype):
            rows = check_batch(data[0], data[1], None, model.loss, model.network, like.n_in)
            model.build(rows.x.shape[1])
            rows = move(rows, backend, dtype)
            self.source = array_source(
                rows, backend, dtype, batch_size=batch_size, shuffle=True, seed=model.seed
            )
            if like.n_in is not None:
                self._copy_state(like)
            model.set_optimizer(optimizer)
            self.step = backend.jit(
                build_halves(model.network, model.loss, model.layout, optimizer, ()),
                donate=(0, 1, 2),
            )
        self.records = self._records()

    def _copy_state(self, like: Model) -> None:
        """Begin with another model's parameters and state."""
        model = self.model

        def move_array(array: Array) -> Array:
            return model.backend.asarray(to_numpy(array), model.dtype)

        params = model.layout.pack(tree_map(move_array, like.params))
        state = tree_map(move_array, like.training.state)
        model.training = replace(model.training, params=params, state=state).copy()

    def _records(self) -> Iterator[dict[str, dict[str, Any]]]:
        """Train, and yield after each step what was computed in it."""
        model, record = self.model, {}

        def step(*arguments: Any) -> Any:
            tree = model.layout.unpack(arguments[0])
            grads, arrays, loss = self.look(tree, *arguments[1:])
            outputs = {
                f"layer {i} ({type(layer).__name__})": output
                for i, (layer, output) in enumerate(zip(model.network.layers, arrays))
            }
            computed = {
                "loss": {"loss": loss},
                "activations": outputs,
                "gradients": tree_named_leaves(grads),
            }
            record.update(tree_map(to_float64, computed))
            started = time.perf_counter()
            result = self.step(*arguments)
            model.backend.synchronize(result[0])
            self.run.seconds += time.perf_counter() - started
            return result

        while True:
            fit = FitContext(model, epochs=0)
            for _ in take_steps(fit, self.source, step):
                record["parameters"] = tree_map(to_float64, tree_named_leaves(model.params))
                yield dict(record)
                record.clear()
            model.training.epoch += 1

    def advance(self) -> dict[str, dict[str, Any]]:
        """Take a step, and return what was computed in it."""
        # The scopes of backends cannot overlap, so each is entered for a step.
        with restrict(self.model.backend), self.model.backend.scope(self.model.dtype):
            return next(self.records)

    def finish(self, test: tuple[Any, ...]) -> None:
        """Measure the trained model."""
        with restrict(self.model.backend):
            self.run.scores = self.model.evaluate(*test)


def _compare_quantities(
    record: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> dict[str, list[Difference]]:
    """List the differences of all arrays of each quantity, in the order of their computation."""
    differences = {}
    for quantity in QUANTITIES:
        arrays = expected[quantity]
        least = SMALLEST * max((np.max(np.abs(x), initial=0.0) for x in arrays.values()), default=0)
        differences[quantity] = [
            _compare_arrays(name, record[quantity][name], array, least)
            for name, array in arrays.items()
        ]
    differences["gradients"].reverse()
    return differences


def _compare_arrays(name: str, actual: Any, expected: Any, least: float) -> Difference:
    with np.errstate(invalid="ignore"):  # of two infinities that are the same
        gap = np.where(actual == expected, 0.0, np.abs(actual - expected))
    absolute = float(np.max(gap, initial=0.0))
    scale = float(max(np.max(np.abs(expected), initial=0.0), least))
    return Difference(name, absolute, absolute / scale if scale else absolute)


def by_size(difference: Difference) -> tuple[bool, float]:
    """Return the key to sort differences by; NaN is the largest."""
    return np.isnan(difference.relative), difference.relative

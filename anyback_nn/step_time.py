"""How long a step of training takes: the same model on several backends, in alternation.

Timed are whole epochs of the loop that `anyback_nn.model.Model.fit` runs, with all that belongs to
a step: rows are gathered, dropout masks are drawn, and the losses are read at the end. Reading them
waits for the device, so that no clock is stopped too early.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anyback_nn.errors import AnybackError
from anyback_nn.inputs.batches import Batch, array_source
from anyback_nn.inputs.checks import as_targets
from anyback_nn.training import loop
from anyback_nn.training.step import training_step

if TYPE_CHECKING:
    from anyback_nn.model import Model
    from anyback_nn.optim.optimizers import Optimizer

__all__ = ["LEAST_STEPS", "Steps", "Timing", "time_steps"]

ROUNDS = 7
"""How often each backend has its turn."""

FEWEST_ROUNDS = 3
"""How often when time is short."""

TURN = 0.3
"""The most seconds that a turn takes, about, unless a single step takes longer."""

MOST_STEPS = 64
"""How many steps a turn has where that takes less: so many that an epoch's end does not matter."""

WARM_UP = 3
"""How many steps are taken first: NumPy's are recorded in the third one."""

LEAST_STEPS = WARM_UP + FEWEST_ROUNDS
"""How many steps of a backend are taken at the least."""


class Timing(NamedTuple):
    """How quick a backend is.

    Attributes
    ----------
    first_step : float
        The seconds from nothing to the end of the first step: parameters are drawn, data are moved,
        steps are compiled. The import of the library does not count.
    step : float
        The seconds of a step from then on: the median of several turns.
    """

    first_step: float
    step: float


class Steps:
    """Takes steps of training as `Model.fit` does; called with their number, gives the seconds.

    Parameters
    ----------
    model : Model
        Built; it is trained.
    x, y : array
        The samples; where steps need more of them than there are, they come again.
    optimizer : Optimizer
    batch_size : int

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend="numpy").build(2)
    >>> steps = Steps(model, x, y, nn.Adam(), batch_size=64)
    >>> steps(3) > 0, model.training.step
    (True, 3)
    """

    def __init__(self, model: Model, x: Any, y: Any, optimizer: Optimizer, batch_size: int) -> None:
        self.batch_size = batch_size
        self.fit = loop.Fit(model, epochs=0)
        y = model.loss.check_targets(as_targets(y), model.n_out)
        options: dict[str, Any] = {"batch_size": batch_size, "shuffle": True, "seed": model.seed}
        with model.backend.scope(model.dtype):
            self.source = array_source(Batch(x, y), model.backend, model.dtype, **options)
            model.training = model.training.begun(optimizer)
        parts = (model.network, model.loss, model.layout, optimizer, model.metrics)
        self.step, self.scan = model.steps("fit", optimizer, lambda: training_step(*parts))

    def __call__(self, n_steps: int) -> float:
        model = self.fit.model
        chosen = np.arange(n_steps * self.batch_size) % self.source.rows.x.shape[0]
        self.fit.epochs += 1
        with model.backend.scope(model.dtype):
            source = replace(self.source, chosen=chosen)
            loop.train(self.fit, source, None, self.step, (), self.scan)
        return float(model.history["seconds"][-1])


def time_steps(
    beginnings: Mapping[str, Callable[[], Callable[[int], float]]],
    has_time: Callable[[], bool],
    expected: Mapping[str, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time steps of training on several backends, which take turns.

    So other work on the machine meets all of them.

    Parameters
    ----------
    beginnings : mapping of str to callable
        For each backend, what makes its `Steps`.
    has_time : callable
        Tells whether there is time for more than the fewest rounds.
    expected : mapping of str to float, optional
        About how many seconds a step takes. Where it is given, no step is taken alone to find out:
        JAX compiles for each number of steps.
    clock : callable
        Gives seconds.

    Returns
    -------
    timings : dict of str to Timing
    failures : dict of str to str
        Why the other backends could not be timed.
    """
    first: dict[str, float] = {}
    turns: dict[str, Callable[[], float]] = {}
    failures: dict[str, str] = {}
    for backend, begin in beginnings.items():
        try:
            first[backend], turns[backend] = _begun(begin, (expected or {}).get(backend), clock)
        except Exception as error:  # of any library; the other backends are timed nevertheless
            failures[backend] = _reason(error)
    seconds: dict[str, list[float]] = {backend: [] for backend in turns}
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and not has_time():
            break
        for backend in [one for one in turns if one not in failures]:
            try:
                seconds[backend].append(turns[backend]())
            except Exception as error:
                failures[backend] = _reason(error)
    timings = {
        backend: Timing(first[backend], median(some))
        for backend, some in seconds.items()
        if backend not in failures
    }
    return timings, failures


def _begun(
    begin: Callable[[], Callable[[int], float]],
    expected: float | None,
    clock: Callable[[], float],
) -> tuple[float, Callable[[], float]]:
    """Warm a backend up.

    Returns
    -------
    first : float
        The seconds to the end of its first step (or first steps, if what to expect is given).
    turn : callable
        Takes the steps of a turn, and gives the seconds of one.
    """
    started = clock()
    steps = begin()
    n = 1 if expected is None else _steps_in_turn(expected)
    steps(n)
    first, done = clock() - started, n
    if expected is None:
        n = _steps_in_turn(steps(1))
        done += 1
    # Also because another number of steps may be compiled anew.
    for _ in range(done, WARM_UP, n):
        steps(n)
    return first, lambda: steps(n) / n


def _steps_in_turn(seconds: float) -> int:
    """Choose how many steps a turn has, by the seconds of one."""
    return max(1, min(int(TURN / max(seconds, 1e-9)), MOST_STEPS))


def _reason(error: Exception) -> str:
    """Say what went wrong; the library's own errors need no name."""
    return str(error) if isinstance(error, AnybackError) else f"{type(error).__name__}: {error}"

"""Optimisers: the rules by which gradients change parameters.

An optimiser holds settings only. Its state, some arrays for each parameter, is created by ``init``,
passed to each step and returned by it, so that it can be saved, moved and compiled. A rule consists
of

- ``slots``: the names of the arrays of the state,
- ``coefficients``: the scalars of a step, computed once on the host, and
- ``rule``: the update of one array, in as few passes over memory as possible.

Parameters, gradients and state are donated to the optimiser: it overwrites them where the library
allows that, which takes half the time of creating new arrays. Only use the arrays that it returns.
The same code works for arrays that cannot be written.

Notation: ``g`` the gradient, ``p`` the parameter, ``rate`` the learning rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.optim.schedules import SCHEDULES, CosineDecay, Fixed, Schedule
from anyback_nn.utils.arguments import check_range, look_up
from anyback_nn.utils.messages import suggest_call

if TYPE_CHECKING:
    from anyback_nn.network.layout import Packed

__all__ = [
    "OPTIMIZERS",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientDescent",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "Slots",
    "set_schedule",
]

Slots = tuple[Array, ...]
"""The state of one array of parameters: an array for each of `Optimizer.slots`."""


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule, applied after clipping the gradient and adding penalties.

    Parameters
    ----------
    learning_rate : float or Schedule
        The learning rate, or a function of the epoch.
    l1, l2 : float
        Strengths of the penalty ``l1 sum |w| + l2/2 sum w^2``, which is added to the loss. The loss
        is a mean over samples, so the effect does not depend on the batch size. Recorded losses
        are without the penalty.
    penalize_all : bool
        Whether the penalties (and weight decay) act on all parameters, biases and normalisations
        too, or only on those named ``weight``.
    clip_value : float, optional
        Bound of the gradient's elements: they are limited to ``-clip_value`` to ``clip_value``.
    clip_norm : float, optional
        Bound of the Euclidean norm of the whole gradient, which is scaled down if it is longer
        (R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013).
    """

    learning_rate: float | Schedule
    _: KW_ONLY
    l1: float = 0.0
    l2: float = 0.0
    penalize_all: bool = False
    clip_value: float | None = None
    clip_norm: float | None = None

    slots: ClassVar[tuple[str, ...]] = ()
    """The names of the arrays that the state has for each parameter."""

    def __post_init__(self) -> None:
        if callable(self.learning_rate) and not isinstance(self.learning_rate, Schedule):
            hint = suggest_call(self.learning_rate, "...") or (
                ". A schedule of your own is a class, so that it can be compared and saved: "
                "class Mine(nn.Schedule): def __call__(self, epoch, history=()): return 0.01"
            )
            raise TypeError(
                f"{type(self).__name__}: expected learning_rate to be a number or a Schedule, got "
                f"{self.learning_rate!r}{hint}"
            )
        if not isinstance(self.learning_rate, Schedule):
            check_range(self, "above 0", "learning_rate")
        check_range(self, "0 or greater", "l1", "l2")
        check_range(self, "None or above 0", "clip_value", "clip_norm")

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the epoch."""
        rate = self.learning_rate
        return rate if isinstance(rate, Schedule) else Fixed(rate)

    @property
    def penalizes(self) -> bool:
        """Whether there is a penalty, so that a step needs the penalty mask."""
        return bool(self.l1 or self.l2)

    def init(self, params: Packed) -> dict[str, Packed]:
        """Create the state for these parameters: zeros."""
        return {
            slot: tuple(array_namespace(p).zeros_like(p) for p in params) for slot in self.slots
        }

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        """Compute the scalars that `rule` needs at this step; default: the learning rate.

        Parameters
        ----------
        step : int
            The number of the step, from 1.
        rate : float
            The learning rate of this step.
        """
        return (rate,)

    @abstractmethod
    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        """Update one array of parameters.

        Parameters
        ----------
        p, g : array
            Parameters and gradient.
        state : Slots
        *coefficients : float
            As `coefficients` returns them.

        Returns
        -------
        p : array
        state : Slots
        """

    def decay(self, p: Array, mask: Array | float, *coefficients: float) -> Array:
        """Shrink the parameters before the rule; default: they are unchanged."""
        return p

    def update(
        self,
        params: Packed,
        grads: Packed,
        state: dict[str, Packed],
        mask: Packed,
        coefficients: tuple[float, ...],
    ) -> tuple[Packed, dict[str, Packed]]:
        """Take one step.

        Parameters
        ----------
        params, grads : tuple of array
            Packed parameters and gradients; donated.
        state : dict of tuple of array
            As `init` or the last step returned it; donated.
        mask : tuple of array or float
            The penalty mask, see `Layout.penalty_mask`; may be empty if there is no penalty.
        coefficients : tuple of float
            See `coefficients`.

        Returns
        -------
        params : tuple of array
        state : dict of tuple of array
        """
        new_params, new_state = [], []
        for i, (p, g) in enumerate(zip(params, self._clip(grads))):
            if self.penalizes:
                p = self.decay(p, mask[i], *coefficients)
                g = self._penalize(p, g, mask[i])
            p, slots = self.rule(p, g, tuple(state[name][i] for name in self.slots), *coefficients)
            new_params.append(p)
            new_state.append(slots)
        columns = zip(*new_state) if new_state else ((),) * len(self.slots)
        return tuple(new_params), dict(zip(self.slots, columns))

    def _clip(self, grads: Packed) -> Packed:
        """Limit the elements, then the norm, of the gradient."""
        if not grads:
            return grads
        xp = array_namespace(grads[0])
        if self.clip_value is not None:
            limit = self.clip_value
            grads = tuple(xp.minimum(xp.maximum(g, -limit), limit) for g in grads)
        if self.clip_norm is not None:
            grads = _limit_norm(grads, self.clip_norm)
        return grads

    def _penalize(self, p: Array, g: Array, mask: Array | float) -> Array:
        """Add the gradients of the penalties, ``l1 sign(p)`` and ``l2 p``."""
        if self.l1:
            g += (self.l1 * mask) * array_namespace(p).sign(p)
        if self.l2:
            g += (self.l2 * mask) * p
        return g


def _limit_norm(grads: Packed, limit: float) -> Packed:
    """Scale down a gradient that is longer than ``limit``.

    With ``u = g / max |g|`` the length is ``max |g| |u|``. The squares of ``u`` neither overflow
    nor vanish, as those of ``g`` may, and ``g`` is too long if ``max |g| > limit / |u|``. As
    divisor, any number near ``max |g|`` does.
    """
    xp = array_namespace(grads[0])
    maxima = [xp.max(xp.abs(g)) for g in grads if 0 not in g.shape]
    if not maxima:
        return grads
    # A zero gradient is divided by it, too, and a compiler may multiply by the reciprocal.
    smallest = float(xp.finfo(grads[0].dtype).smallest_normal)
    largest = xp.minimum(xp.maximum(reduce(xp.maximum, maxima), smallest), 1 / smallest)
    units = tuple(g / largest for g in grads)
    # At least 1, but for a zero gradient.
    length = xp.maximum(xp.sqrt(sum(xp.sum(u * u) for u in units)), 1.0)
    within = limit / length
    return tuple(xp.where(largest > within, u * within, g) for g, u in zip(grads, units))


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """``p -= rate g``: gradient descent, or with several batches its stochastic form.

    Examples
    --------
    >>> import numpy as np
    >>> rule = GradientDescent(0.1)
    >>> params, grads = (np.asarray([1.0]),), (np.asarray([2.0]),)
    >>> params, _ = rule.update(params, grads, rule.init(params), (1.0,), rule.coefficients(1, 0.1))
    >>> params[0].tolist()
    [0.8]
    """

    learning_rate: float | Schedule = 0.1

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,) = coefficients
        g *= rate
        p -= g
        return p, state


@dataclass(frozen=True)
class Momentum(Optimizer):
    """``v = momentum v + g``, then ``p -= rate v`` (B. Polyak, 1964).

    Parameters
    ----------
    momentum : float
        The share of the velocity that a step keeps, from 0 to below 1.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.9
    slots = ("velocity",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "from 0 to below 1", "momentum")

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,), (velocity,) = coefficients, state
        velocity *= self.momentum
        velocity += g
        p -= rate * velocity
        return p, (velocity,)


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum that looks ahead: ``v = momentum v + g``, then ``p -= rate (g + momentum v)``.

    Y. Nesterov, 1983, in the form of I. Sutskever et al., ICML 2013, with the shifted parameters.
    """

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,), (velocity,) = coefficients, state
        velocity *= self.momentum
        velocity += g
        g += self.momentum * velocity
        g *= rate
        p -= g
        return p, (velocity,)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """``s += g^2``, then ``p -= rate g / (sqrt(s) + epsilon)`` (J. Duchi et al., JMLR 12, 2011).

    Parameters
    ----------
    epsilon : float
        Added to the root, against division by zero; greater than 0.
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10
    slots = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "above 0", "epsilon")

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,), (square,) = coefficients, state
        square += g * g
        return _step_by_root(p, g, square, rate, self.epsilon), (square,)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = smoothing s + (1 - smoothing) g^2``, then ``p -= rate g / (sqrt(s) + epsilon)``.

    T. Tieleman, G. Hinton, "Neural networks for machine learning", lecture 6.5, 2012.

    Parameters
    ----------
    smoothing : float
        The share of the running mean square that a step keeps, from 0 to below 1.
    epsilon : float
        Added to the root, against division by zero; greater than 0.
    """

    learning_rate: float | Schedule = 0.001
    smoothing: float = 0.99
    epsilon: float = 1e-8
    slots = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "from 0 to below 1", "smoothing")
        check_range(self, "above 0", "epsilon")

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        (rate,), (square,) = coefficients, state
        square *= self.smoothing
        square += (1.0 - self.smoothing) * (g * g)
        return _step_by_root(p, g, square, rate, self.epsilon), (square,)


def _step_by_root(p: Array, g: Array, square: Array, rate: float, epsilon: float) -> Array:
    """Compute ``p -= rate g / (sqrt(square) + epsilon)``."""
    root = array_namespace(square).sqrt(square)
    root += epsilon
    g *= rate
    g /= root
    p -= g
    return p


@dataclass(frozen=True)
class Adam(Optimizer):
    """A rate for each parameter, from running means of the gradient and of its square.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``, then ``p -= rate m_hat /
    (sqrt(v_hat) + epsilon)`` with ``m_hat = m / (1 - beta1^step)`` and ``v_hat`` likewise, which
    corrects the bias of starting at zero. D. Kingma, J. Ba, "Adam", ICLR 2015.

    Parameters
    ----------
    beta1, beta2 : float
        The shares of the running means that a step keeps, from 0 to below 1.
    epsilon : float
        Added to the root, against division by zero; greater than 0.

    Notes
    -----
    The state holds ``M = m / (1 - beta1)`` and ``V = v / (1 - beta2)``, which need one pass less
    each. With ``s = sqrt((1 - beta2) / (1 - beta2^step))`` the step is the same as ``p -= a M /
    (sqrt(V) + epsilon / s)`` with ``a = rate (1 - beta1) / (1 - beta1^step) / s``.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots = ("mean", "square")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "from 0 to below 1", "beta1", "beta2")
        check_range(self, "above 0", "epsilon")

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        scale = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**step))
        length = rate * (1.0 - self.beta1) / (1.0 - self.beta1**step) / scale
        return length, self.epsilon / scale

    def rule(self, p: Array, g: Array, state: Slots, *coefficients: float) -> tuple[Array, Slots]:
        length, epsilon, *_ = coefficients
        mean, square = state
        mean *= self.beta1
        mean += g
        g *= g
        square *= self.beta2
        square += g
        root = array_namespace(square).sqrt(square)
        root += epsilon
        change = mean / root
        change *= length
        p -= change
        return p, (mean, square)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: ``p -= rate weight_decay p`` before Adam's step.

    Unlike L2, the decay is not divided by the running mean square.
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Parameters
    ----------
    weight_decay : float
        The strength of the decay, 0 or greater.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "0 or greater", "weight_decay")

    @property
    def penalizes(self) -> bool:
        return super().penalizes or self.weight_decay > 0

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        return (*super().coefficients(step, rate), rate * self.weight_decay)

    def decay(self, p: Array, mask: Array | float, *coefficients: float) -> Array:
        p -= (coefficients[-1] * mask) * p
        return p


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
"""The optimisers by their names on the command line."""


def set_schedule(optimizer: Optimizer, schedule: str | Schedule, epochs: float) -> Optimizer:
    """Return an optimiser with another schedule of the learning rate.

    Parameters
    ----------
    optimizer : Optimizer
        Its rate, or that of its schedule, is the highest one of a named schedule.
    schedule : str or Schedule
        ``"cosine"``, which falls to 0 in the last of the epochs, or ``"constant"``; or a schedule.
    epochs : float

    Examples
    --------
    >>> set_schedule(Adam(0.1), "cosine", 5).learning_rate
    CosineDecay(learning_rate=0.1, epochs=5, warmup=0.0, final=0.0)
    """
    if isinstance(schedule, str):
        look_up(schedule, dict.fromkeys(SCHEDULES), "schedule")
        own = optimizer.schedule
        rate = getattr(own, "learning_rate", None) or own(0.0, ())
        if not rate > 0:
            raise ValueError(
                f"expected the learning rate of {own!r} to begin above 0 for the schedule "
                f"{schedule!r}, got {rate}: pass a Schedule"
            )
        learning_rate = CosineDecay(rate, epochs) if schedule == "cosine" else rate
    elif isinstance(schedule, Schedule):
        learning_rate = schedule
    else:
        raise TypeError(
            f"expected schedule to be a Schedule or one of {', '.join(SCHEDULES)}, got "
            f"{schedule!r}{suggest_call(schedule, '...')}"
        )
    return replace(optimizer, learning_rate=learning_rate)

"""The rules by which gradients change parameters.

An optimiser holds settings only. What it keeps for each parameter, its *slots*, is made by ``init``
and handed in and out, so that it can be saved, moved and compiled. A rule consists of

- ``slots``: the names of what is kept,
- ``coefficients``: the numbers of this step, computed once on the host, and
- ``rule``: the change of one array, in as few passes over memory as we found.

An optimiser owns the parameters, the gradients and the slots that it is given: it writes into them
where the library allows that (half the time of making new arrays) and returns them, and callers
only use what is returned. That is the same code as for arrays that cannot be written.

Notation: ``g`` the gradient, ``p`` the parameter, ``rate`` the learning rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from anyback_nn.array_api import array_namespace
from anyback_nn.optim.schedules import Schedule, as_schedule

if TYPE_CHECKING:
    from anyback_nn.array_api import Array
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
]


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule, with what is done to the gradient before: clipping, then penalties.

    Parameters
    ----------
    learning_rate : float or Schedule
        The length of a step; a schedule makes it depend on the epoch.
    l1, l2 : float
        Add ``l1 sum |w| + l2/2 sum w^2`` to what is minimised. The loss is a mean over samples,
        so this means the same for every batch size. It is not part of the recorded losses.
    penalize_all : bool
        Whether the penalties (and weight decay) also act on biases and normalisations, and not
        only on parameters named ``weight``.
    clip_value : float, optional
        Limit every entry of the gradient to between ``-clip_value`` and ``clip_value``.
    clip_norm : float, optional
        Scale the whole gradient down to this Euclidean length where it is longer
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
    """The names of what is kept for each parameter."""

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            _expect(self, "learning_rate", self.learning_rate > 0, "above 0")
        _expect(self, "l1", self.l1 >= 0, "0 or greater")
        _expect(self, "l2", self.l2 >= 0, "0 or greater")
        for name in ("clip_value", "clip_norm"):
            value = getattr(self, name)
            _expect(self, name, value is None or value > 0, "None or above 0")

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the epoch."""
        return as_schedule(self.learning_rate)

    @property
    def penalizes(self) -> bool:
        """Whether there is a penalty, so that it matters on which parameters it acts."""
        return bool(self.l1 or self.l2)

    def init(self, params: Packed) -> dict[str, Packed]:
        """Make the slots for these parameters: zeros."""
        return {
            slot: tuple(array_namespace(p).zeros_like(p) for p in params) for slot in self.slots
        }

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        """Compute the numbers that `rule` needs at this step; default: the learning rate alone.

        Parameters
        ----------
        step : int
            Counted from 1.
        rate : float
            The learning rate of this step.
        """
        return (rate,)

    @abstractmethod
    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        """Change one array of parameters.

        Parameters
        ----------
        p, g : array
            Parameters and gradient.
        kept : tuple of array
            One array for each of `slots`.
        *coefficients : float
            As `coefficients` made them.

        Returns
        -------
        p : array
        kept : tuple of array
        """

    def decay(self, p: Array, mask: Array | float, *coefficients: float) -> Array:
        """Shrink the parameters before the rule; default: not."""
        return p

    def update(
        self,
        params: Packed,
        grads: Packed,
        slots: dict[str, Packed],
        mask: Packed,
        coefficients: tuple[float, ...],
    ) -> tuple[Packed, dict[str, Packed]]:
        """Take one step.

        Parameters
        ----------
        params, grads : tuple of array
            In storage form; both are used up.
        slots : dict of tuple of array
            As `init` made it or the last step returned it; used up.
        mask : tuple of array or float
            What the penalties act on, see `Layout.mask`; may be empty if there are none.
        coefficients : tuple of float
            See `coefficients`.

        Returns
        -------
        params : tuple of array
        slots : dict of tuple of array
        """
        new_params, new_kept = [], []
        for i, (p, g) in enumerate(zip(params, self._clip(grads))):
            if self.penalizes:
                p = self.decay(p, mask[i], *coefficients)
                g = self._penalize(p, g, mask[i])
            p, kept = self.rule(p, g, tuple(slots[name][i] for name in self.slots), *coefficients)
            new_params.append(p)
            new_kept.append(kept)
        columns = zip(*new_kept) if new_kept else ((),) * len(self.slots)
        return tuple(new_params), dict(zip(self.slots, columns))

    def _clip(self, grads: Packed) -> Packed:
        """Limit the entries, then the length, of the gradient."""
        if not grads:
            return grads
        xp = array_namespace(grads[0])
        if self.clip_value is not None:
            limit = self.clip_value
            grads = tuple(xp.minimum(xp.maximum(g, -limit), limit) for g in grads)
        if self.clip_norm is not None:
            length = xp.sqrt(sum(xp.sum(g * g) for g in grads))
            # Where it is short enough the scale is 1; the lower bound avoids 0/0.
            scale = self.clip_norm / xp.maximum(length, self.clip_norm)
            grads = tuple(g * scale for g in grads)
        return grads

    def _penalize(self, p: Array, g: Array, mask: Array | float) -> Array:
        """Add the penalties' gradients ``l1 sign(p)`` and ``l2 p``."""
        if self.l1:
            g += (self.l1 * mask) * array_namespace(p).sign(p)
        if self.l2:
            g += (self.l2 * mask) * p
        return g


def _expect(settings: Any, name: str, condition: bool, what: str) -> None:
    """Raise `ValueError` for a setting that is out of its range."""
    if not condition:
        raise ValueError(
            f"{type(settings).__name__}: expected {name} {what}, got {getattr(settings, name)!r}"
        )


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """``p -= rate g``: with all samples in a batch, gradient descent; else its stochastic form.

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

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,) = coefficients
        g *= rate
        p -= g
        return p, kept


@dataclass(frozen=True)
class Momentum(Optimizer):
    """``v = momentum v + g``, then ``p -= rate v`` (B. Polyak, 1964).

    Parameters
    ----------
    momentum : float
        The share of the last step's velocity that is kept, from 0 to below 1.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.9
    slots = ("velocity",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect(self, "momentum", 0 <= self.momentum < 1, "from 0 to below 1")

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,), (velocity,) = coefficients, kept
        velocity *= self.momentum
        velocity += g
        p -= rate * velocity
        return p, (velocity,)


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum that looks ahead: ``v = momentum v + g``, then ``p -= rate (g + momentum v)``.

    Y. Nesterov, 1983, in the form of I. Sutskever et al., ICML 2013, with the shifted parameters.
    """

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,), (velocity,) = coefficients, kept
        velocity *= self.momentum
        velocity += g
        g += self.momentum * velocity
        g *= rate
        p -= g
        return p, (velocity,)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """``s += g^2``, then ``p -= rate g / (sqrt(s) + epsilon)`` (J. Duchi et al., JMLR 12, 2011)."""

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10
    slots = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect(self, "epsilon", self.epsilon > 0, "above 0")

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,), (square,) = coefficients, kept
        square += g * g
        return _scaled_step(p, g, square, rate, self.epsilon), (square,)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = smoothing s + (1 - smoothing) g^2``, then ``p -= rate g / (sqrt(s) + epsilon)``.

    T. Tieleman, G. Hinton, "Neural networks for machine learning", lecture 6.5, 2012.

    Parameters
    ----------
    smoothing : float
        The share of the running mean square that is kept, from 0 to below 1.
    epsilon : float
    """

    learning_rate: float | Schedule = 0.001
    smoothing: float = 0.99
    epsilon: float = 1e-8
    slots = ("square",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect(self, "smoothing", 0 <= self.smoothing < 1, "from 0 to below 1")
        _expect(self, "epsilon", self.epsilon > 0, "above 0")

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        (rate,), (square,) = coefficients, kept
        square *= self.smoothing
        square += (1.0 - self.smoothing) * (g * g)
        return _scaled_step(p, g, square, rate, self.epsilon), (square,)


def _scaled_step(p: Array, g: Array, square: Array, rate: float, epsilon: float) -> Array:
    """Take ``p -= rate g / (sqrt(square) + epsilon)``."""
    root = array_namespace(square).sqrt(square)
    root += epsilon
    g *= rate
    g /= root
    p -= g
    return p


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square set each parameter's own rate.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``, then ``p -= rate m_hat /
    (sqrt(v_hat) + epsilon)`` with ``m_hat = m / (1 - beta1^step)`` and ``v_hat`` likewise, which
    undo the bias of starting at zero. D. Kingma, J. Ba, "Adam", ICLR 2015.

    Parameters
    ----------
    beta1, beta2 : float
        The shares of the running means that are kept, from 0 to below 1.
    epsilon : float

    Notes
    -----
    The slots hold ``M = m / (1 - beta1)`` and ``V = v / (1 - beta2)``, which need one pass less
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
        _expect(self, "beta1", 0 <= self.beta1 < 1, "from 0 to below 1")
        _expect(self, "beta2", 0 <= self.beta2 < 1, "from 0 to below 1")
        _expect(self, "epsilon", self.epsilon > 0, "above 0")

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        scale = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**step))
        length = rate * (1.0 - self.beta1) / (1.0 - self.beta1**step) / scale
        return length, self.epsilon / scale

    def rule(
        self, p: Array, g: Array, kept: tuple[Array, ...], *coefficients: float
    ) -> tuple[Array, tuple[Array, ...]]:
        length, epsilon, *_ = coefficients
        mean, square = kept
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
        0 or greater.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect(self, "weight_decay", self.weight_decay >= 0, "0 or greater")

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
"""Every optimiser by its name on the command line."""

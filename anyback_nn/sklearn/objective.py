"""The function that scikit-learn's perceptrons minimise, and its gradient, to be compiled.

For ``n`` samples in a batch, or samples with the sum of weights ``n``, it is ``mean loss + alpha /
(2 n) sum w^2``. Weights of samples count within their batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss, forward_loss, weighted_mean
from anyback_nn.network.network import Network
from anyback_nn.optim.averaging import update_average
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.step import Halves, StepArguments, StepReport, StepResult, value_and_grad

__all__ = ["Objective", "Scaled"]


@dataclass(frozen=True)
class Scaled(Loss):
    """A loss times a factor: scikit-learn halves squares, and sums over outputs."""

    loss: Loss
    factor: float

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        values, cache = forward_loss(self.loss, outputs, targets)
        return self.factor * values, cache

    def backward(self, cache: Any, dvalues: Array) -> Array:
        return self.loss.backward(cache, self.factor * dvalues)


@dataclass(frozen=True)
class Objective:
    """A network, its loss and its penalty.

    Parameters
    ----------
    network : Network
    layout : Layout
    loss : Loss
    factor : float
        scikit-learn's loss divided by the library's.
    alpha : float
        The strength of the penalty that is divided by the number of samples.
    l2 : float
        The strength of the penalty that is not.
    """

    network: Network
    layout: Layout
    loss: Loss
    factor: float
    alpha: float
    l2: float

    def value_and_grad(
        self, gradient_factor: float = 1.0
    ) -> Callable[..., tuple[Any, Any, StepReport]]:
        """Build ``StepArguments -> gradients, cache, report``, with trees of parameters.

        They are those of the sum of the samples' weighted losses, divided by the number of samples
        and without the penalty. The report is its value and, if there are weights, their mean.

        ``gradient_factor`` multiplies the gradients alone.
        """
        factor = self.factor * gradient_factor
        loss = self.loss if factor == 1.0 else Scaled(self.loss, factor)
        derive = value_and_grad(self.network, loss)

        def compute(args: StepArguments) -> tuple[Any, Any, StepReport]:
            grads, cache, (value,) = derive(args)
            if gradient_factor != 1.0:
                value = value / gradient_factor
            if args.weights is None:
                return grads, cache, (value,)
            return grads, cache, (value, args.share * weighted_mean(args.weights, None))

        return compute

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The penalties as arguments of each step, so that other values need no other step."""
        return (self.alpha, self.l2) if self.alpha or self.l2 else ()

    def build_halves(
        self, optimizer: Optimizer, gradient_factor: float, decay: float | None
    ) -> Halves:
        """Build the halves of a step of training.

        ``gradient_factor`` is that of `value_and_grad`, and ``decay`` that of the moving average of
        the parameters, which is the slot ``"average"``.
        """
        compute = self.value_and_grad(gradient_factor)

        def derive(args: StepArguments) -> tuple[Packed, StepReport, Any]:
            tree = self.layout.unpack(args.params)
            grads, cache, report = compute(args._replace(params=tree))
            return self.layout.pack(grads), report, self.network.next_state(args.state, cache)

        def update(
            args: StepArguments, grads: Packed, report: StepReport, state: Any
        ) -> StepResult:
            (value, *weight), coefficients = report, args.coefficients
            count: Any = args.x.shape[0] if args.batch is None else args.batch.n_samples
            for mean in weight:
                total, xp = mean * count, array_namespace(mean)
                # A batch whose weights are all 0 has the gradient of the penalty alone.
                total = xp.where(total > 0, total, xp.ones_like(total))
                factor, count = count / total, total
                grads, value = tuple(g * factor for g in grads), value * factor
            if self.coefficients:
                *own, alpha, l2 = coefficients
                coefficients, strength = tuple(own), alpha / count + l2
                grads, squares = _with_penalty(grads, args.params, args.penalty_mask, strength)
                value = value + (0.5 * strength) * squares
            params, kept = optimizer.update(
                args.params, grads, args.optimizer_state, args.penalty_mask, coefficients
            )
            if decay is not None:
                average = args.optimizer_state["average"]
                kept["average"] = update_average(average, params, decay)
            return params, kept, state, (value,)

        return Halves(derive, update)


def _with_penalty(
    grads: Packed, params: Packed, mask: Packed, strength: Any
) -> tuple[Packed, Array]:
    """Return the gradients with the penalty's, and the sum of the squares of what is penalised."""
    added, squares = [], []
    for g, p, marked in zip(grads, params, mask):
        xp = array_namespace(p)
        penalized = marked * p
        g += strength * penalized
        squares.append(xp.vecdot(xp.reshape(penalized, (-1,)), xp.reshape(p, (-1,))))
        added.append(g)
    return tuple(added), sum(squares[1:], squares[0])

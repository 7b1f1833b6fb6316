"""The layers that have parameters, state or randomness: dense, dropout and the normalisations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.network.initializers import GlorotUniform, Initializer
from anyback_nn.network.layer import PREDICTION, Context, Layer, batch_mean
from anyback_nn.utils.arguments import check_range
from anyback_nn.utils.messages import suggest_call

if TYPE_CHECKING:
    from anyback_nn.random import Random

__all__ = ["BatchNorm", "Dense", "Dropout", "LayerNorm"]


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer: ``y = x @ weight + bias``.

    Parameters
    ----------
    n_out : int
        The number of units, 1 or more.
    bias : bool
        Whether a bias is added.
    initializer : Initializer, optional
        Distribution of the initial weights; the initial bias is zero. Default: the one that suits
        the next activation in the network, see `Activation.initializer`.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight": np.asarray([[1.0, 2.0]]), "bias": np.asarray([0.5, 0.5])}
    >>> y, cache = Dense(2).forward(params, np.asarray([[3.0]]))
    >>> y.tolist()
    [[3.5, 6.5]]
    """

    n_out: int
    bias: bool = True
    initializer: Initializer | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.n_out, "__index__") or self.n_out < 1:
            raise ValueError(
                f"Dense: expected n_out to be an integer of at least 1, got {self.n_out!r}"
            )
        if not isinstance(self.bias, bool):
            raise ValueError(
                f"Dense: expected bias to be True or False, got {self.bias!r}. The number of "
                "inputs is not an argument: it is the number of outputs of the layer before"
            )
        initializer: Any = self.initializer
        if isinstance(initializer, type) or not (initializer is None or callable(initializer)):
            raise TypeError(
                f"Dense: expected initializer to be an Initializer, got {initializer!r}"
                f"{suggest_call(initializer)}"
            )

    def output_size(self, n_in: int) -> int:
        return self.n_out

    def init(self, n_in: int, draws: Random) -> dict[str, Array]:
        weight = (self.initializer or GlorotUniform())((n_in, self.n_out), draws)
        if not self.bias:
            return {"weight": weight}
        return {"weight": weight, "bias": draws.full((self.n_out,), 0.0)}

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        y = x @ params["weight"]
        if self.bias:
            y += params["bias"][..., None, :]
        return y, x

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive ``y_ij = sum_k x_ik w_kj + b_j``, with ``i`` the sample.

        - ``dL/dw_kj = sum_i x_ik dy_ij``, that is ``x^T dy``;
        - ``dL/db_j = sum_i dy_ij``;
        - ``dL/dx_ik = sum_j dy_ij w_kj``, that is ``dy w^T``.

        The factor 1/m of the mean over the samples is already in ``dy``.
        """
        weight = array_namespace(dy).matrix_transpose(params["weight"])
        # With a single unit there is nothing to sum, and BLAS is slow at it.
        dx = dy * weight if self.n_out == 1 else dy @ weight
        return dx, self.gradients(params, cache, dy)

    def gradients(self, params: Any, cache: Any, dy: Array) -> dict[str, Array]:
        """Compute the gradients of `backward` alone; a subclass overrides both methods or none."""
        xp = array_namespace(dy)
        grads = {"weight": xp.matrix_transpose(cache) @ dy}
        if self.bias:
            grads["bias"] = xp.sum(dy, axis=-2)
        return grads


@dataclass(frozen=True)
class Dropout(Layer):
    """Silences each input with ``probability`` in training and scales up the others.

    The scale ``1/(1 - probability)`` keeps the expected sum, so prediction needs no change.
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15, 2014.

    Parameters
    ----------
    probability : float
        From 0 to below 1.
    """

    probability: float

    def __post_init__(self) -> None:
        check_range(self, "from 0 to below 1", "probability")

    def noise(self, shape: tuple[int, ...], draws: Random) -> Array:
        """Draw the inputs that are kept."""
        return draws.bernoulli(shape, 1.0 - self.probability)

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        if not context.training:
            return x, None
        scale = array_namespace(x).astype(context.noise, x.dtype)
        scale *= 1.0 / (1.0 - self.probability)
        return x * scale, scale

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive ``y = x * scale``: ``dx = dy * scale`` (and the identity in prediction)."""
        return (dy if cache is None else dy * cache), {}


def _init_scale_and_shift(n_in: int, draws: Random) -> dict[str, Array]:
    """Create the parameters of a normalisation: initially the identity."""
    return {"scale": draws.full((n_in,), 1.0), "shift": draws.full((n_in,), 0.0)}


def _normalize_backward(
    x_hat: Array, inverse_std: Array, d_hat: Array, mean: Callable[[Array], Array]
) -> Array:
    """Derive ``x_hat = (x - mean) / std``, where mean and std depend on ``x`` too.

    With a ``mean`` of ``n`` elements, ``dx_hat_i/dx_j = ([i = j] - 1/n - x_hat_i x_hat_j / n) /
    std``: the 1/n comes from the mean, the last term from the standard deviation. Summed with the
    weights ``d_hat_i``: ``dx = (d_hat - mean(d_hat) - x_hat mean(d_hat x_hat)) / std``.
    """
    return inverse_std * (d_hat - mean(d_hat) - x_hat * mean(d_hat * x_hat))


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalises each feature over the batch, then scales and shifts it.

    ``y = scale * (x - mean) / sqrt(variance + epsilon) + shift``. In training, mean and variance
    are those of the batch; in prediction, the running averages, which are the layer's state.
    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015.

    Parameters
    ----------
    momentum : float
        The share of the old running average that a training step keeps, from 0 to below 1.
    epsilon : float
        Added to the variance, against division by zero; greater than 0.

    Notes
    -----
    The running variance averages the unbiased variances (divided by ``n - 1``), as PyTorch does.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    full_precision = True
    mixes_samples = True

    def __post_init__(self) -> None:
        check_range(self, "from 0 to below 1", "momentum")
        check_range(self, "above 0", "epsilon")

    def init(self, n_in: int, draws: Random) -> dict[str, Array]:
        return _init_scale_and_shift(n_in, draws)

    def init_state(self, n_in: int, draws: Random) -> dict[str, Array]:
        return {"mean": draws.full((n_in,), 0.0), "variance": draws.full((n_in,), 1.0)}

    def next_state(self, state: Any, cache: Any) -> Any:
        """Move the running averages towards the batch's mean and variance.

        A single sample has no unbiased variance, so a batch of one leaves them unchanged.
        """
        x_hat, _, (mean, variance, batch) = cache
        n_samples = x_hat.shape[-2] if batch is None else batch.n_samples
        if n_samples < 2:
            return state
        unbiased = n_samples / (n_samples - 1)
        keep, move = self.momentum, 1.0 - self.momentum
        return {
            "mean": keep * state["mean"] + move * mean[..., 0, :],
            "variance": keep * state["variance"] + (move * unbiased) * variance[..., 0, :],
        }

    def check_state(self, state: Any) -> dict[str, bool]:
        """Return whether the averages are finite, and no variance is negative."""
        xp = array_namespace(state["mean"])
        is_valid = {name: bool(xp.all(xp.isfinite(array))) for name, array in state.items()}
        return is_valid | {
            "variance": is_valid["variance"] and bool(xp.all(state["variance"] >= 0))
        }

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        xp = array_namespace(x)
        if context.training:
            mean = batch_mean(x, context.batch)
            centered = x - mean
            variance = batch_mean(centered * centered, context.batch)
            statistics = (mean, variance, context.batch)
        else:
            centered = x - context.state["mean"][..., None, :]
            variance = context.state["variance"][..., None, :]
            statistics = None
        inverse_std = 1.0 / xp.sqrt(variance + self.epsilon)
        x_hat = centered * inverse_std
        y = params["scale"][..., None, :] * x_hat + params["shift"][..., None, :]
        return y, (x_hat, inverse_std, statistics)

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive ``y = scale x_hat + shift``.

        ``dscale = sum_i dy_i x_hat_i``, ``dshift = sum_i dy_i``, ``d_hat = scale dy``; from there
        to ``dx`` see `_normalize_backward`. In prediction mean and variance do not depend on
        ``x``, and ``dx = d_hat / std``.
        """
        xp = array_namespace(dy)
        x_hat, inverse_std, statistics = cache
        d_hat = dy * params["scale"][..., None, :]
        if statistics is None:
            dx = d_hat * inverse_std
        else:
            mean = partial(batch_mean, batch=statistics[2])
            dx = _normalize_backward(x_hat, inverse_std, d_hat, mean)
        return dx, {"scale": xp.sum(dy * x_hat, axis=-2), "shift": xp.sum(dy, axis=-2)}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalises each sample over its features, then scales and shifts each feature.

    The same in training and prediction, and for every batch size.
    J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.

    Parameters
    ----------
    epsilon : float
        Added to the variance, against division by zero; greater than 0.
    """

    epsilon: float = 1e-5
    full_precision = True

    def __post_init__(self) -> None:
        check_range(self, "above 0", "epsilon")

    def init(self, n_in: int, draws: Random) -> dict[str, Array]:
        return _init_scale_and_shift(n_in, draws)

    def forward(self, params: Any, x: Array, context: Context = PREDICTION) -> tuple[Array, Any]:
        xp = array_namespace(x)
        centered = x - xp.mean(x, axis=-1, keepdims=True)
        variance = xp.mean(centered * centered, axis=-1, keepdims=True)
        inverse_std = 1.0 / xp.sqrt(variance + self.epsilon)
        x_hat = centered * inverse_std
        y = params["scale"][..., None, :] * x_hat + params["shift"][..., None, :]
        return y, (x_hat, inverse_std)

    def backward(self, params: Any, cache: Any, dy: Array) -> tuple[Array, Any]:
        """Derive as in `BatchNorm.backward`, with the mean taken over the features."""
        xp = array_namespace(dy)
        x_hat, inverse_std = cache
        mean = partial(xp.mean, axis=-1, keepdims=True)
        dx = _normalize_backward(x_hat, inverse_std, dy * params["scale"][..., None, :], mean)
        return dx, {"scale": xp.sum(dy * x_hat, axis=-2), "shift": xp.sum(dy, axis=-2)}

"""Losses of raw outputs, each with its gradient and its link.

A loss takes the network's raw outputs (logits, log-rates, plain values). Its *link* converts them
to predictions: probabilities, rates, values. Because the loss contains its link, its gradient needs
no division by small probabilities, and the network needs no activation at its end.

A loss has the two methods of a layer: ``forward`` returns one value per sample, and ``backward``
their derivatives. The mean over the samples, weighted or not, is taken in one place, `mean_loss`:
the factor 1/m of the textbooks enters there and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.errors import DataError, ShapeError
from anyback_nn.network.activations import sigmoid, softmax
from anyback_nn.network.layer import as_pair
from anyback_nn.utils.arguments import check_methods, check_numeric, check_range
from anyback_nn.utils.messages import cut

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "Huber",
    "KnownTargets",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "ProbabilityCrossEntropy",
    "Quantile",
    "SoftmaxCrossEntropy",
    "forward_loss",
    "mean_loss",
    "weighted_mean",
]

_NUMBER_LABELS = ". Number labels first, for example with numpy.unique(labels, return_inverse=True)"


class Loss(ABC):
    """A measure of how wrong outputs are, and its derivative.

    Examples
    --------
    A custom loss, complete:

    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Quartic(Loss):
    ...     def forward(self, outputs, targets):
    ...         error = outputs - targets
    ...         return array_namespace(error).sum(error**4, axis=-1), error
    ...
    ...     def backward(self, cache, dvalues):
    ...         return dvalues[..., None] * 4 * cache**3
    >>> value, d_outputs = mean_loss(Quartic(), np.asarray([[2.0]]), np.asarray([[0.0]]))
    >>> float(value), d_outputs.tolist()
    (16.0, [[32.0]])
    """

    classifies: ClassVar[bool] = False
    """Whether the targets are classes, so that there is an accuracy."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the signatures of a new loss."""
        super().__init_subclass__(**options)
        check_methods(cls, forward="self, outputs, targets", backward="self, cache, dvalues")

    @abstractmethod
    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        """Compute the loss of each sample.

        Parameters
        ----------
        outputs : array, shape (..., n_samples, n_out)
            The network's raw outputs.
        targets : array
            As `check_targets` returns them.

        Returns
        -------
        values : array, shape (..., n_samples)
        cache : array or tuple of arrays
            Values that ``backward`` needs.
        """

    @abstractmethod
    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Compute the gradient with respect to the outputs.

        Parameters
        ----------
        cache : array or tuple of arrays
            As ``forward`` returned it.
        dvalues : array, shape (..., n_samples)
            The derivative of the mean loss with respect to each sample's value.

        Returns
        -------
        array, shape (..., n_samples, n_out)
        """

    def link(self, outputs: Array) -> Array:
        """Convert raw outputs to predictions; default: they are the predictions."""
        return outputs

    def decide(self, outputs: Array) -> Array:
        """Choose the class of each sample, shape (..., n_samples); for losses that classify."""
        return array_namespace(outputs).argmax(outputs, axis=-1)

    def correct(self, outputs: Array, targets: Array) -> Array:
        """Score each sample's class, 1 if correct and else 0, shape (..., n_samples)."""
        xp = array_namespace(outputs)
        if not xp.isdtype(targets.dtype, "integral"):
            targets = xp.argmax(targets, axis=-1)
        classes = xp.astype(self.decide(outputs), targets.dtype)
        return xp.astype(classes == targets, outputs.dtype)

    def known(self, targets: Array) -> Array | None:
        """Return where targets are known, or None if all must be; see `KnownTargets`."""
        return None

    def mean_over_outputs(self, values: Array, targets: Array) -> Array:
        """Average values of each output, shape (..., n_samples, n_out), over a sample's outputs."""
        return array_namespace(values).mean(values, axis=-1)

    def check_targets(self, targets: Array, n_out: int, *, values: bool = True) -> Array:
        """Check numeric targets of any array library before training, and reshape them.

        Parameters
        ----------
        targets : array, shape (n_samples,) or (n_samples, n_out)
            Booleans, integers or real floating numbers.
        n_out : int
            The number of the network's outputs.
        values : bool
            Whether to check the values too, which reads them back from a device.

        Returns
        -------
        array
            Shape (n_samples, n_out), or (n_samples,) of integers for class indices.

        Raises
        ------
        ShapeError
            The shape does not fit the network.
        DataError
            The values are not valid for this loss.
        """
        check_numeric(targets, "targets", _NUMBER_LABELS)
        xp = array_namespace(targets)
        if targets.ndim == 1:
            targets = targets[:, None]
        if targets.ndim != 2 or targets.shape[1] != n_out:
            raise ShapeError(
                f"{type(self).__name__}: the network has {n_out} outputs, so targets of shape "
                f"(n_samples, {n_out}){' or (n_samples,)' if n_out == 1 else ''} were expected; "
                f"got {tuple(targets.shape)}"
            )
        if self.classifies or xp.isdtype(targets.dtype, "bool"):
            targets = _make_comparable(targets)
        if values and xp.isdtype(targets.dtype, "real floating"):
            self._expect(xp.isfinite(targets), "targets without NaN and infinite values", targets)
        return targets

    def _expect(self, condition: Array, what: str, targets: Array) -> None:
        """Raise `DataError`, which names the first row, unless all targets are what is expected."""
        if not to_numpy(array_namespace(condition).all(condition)):
            holds = to_numpy(condition)
            row = int(holds.reshape(len(holds), -1).all(axis=1).argmin())
            value = cut(str(to_numpy(targets[row, ...]).tolist()))
            raise DataError(
                f"{type(self).__name__}: expected {what}; got {value} in row {row} (counted from 0)"
            )


def _make_comparable(targets: Array) -> Array:
    """Convert booleans and integers to the default integers, which compare with any class.

    Few libraries compare booleans, PyTorch compares unsigned integers of one type only, and 8 bits
    cannot be compared with 300 classes.
    """
    xp = array_namespace(targets)
    if xp.isdtype(targets.dtype, ("bool", "integral")):
        dtypes = xp.__array_namespace_info__().default_dtypes(device=device(targets))
        targets = xp.astype(targets, dtypes["integral"], copy=False)
    return targets


def weighted_mean(values: Array, weights: Array | None) -> Array:
    """Average over the samples (the last axis): ``sum_i w_i v_i / n_samples``.

    This is the weighted mean if the weights have the mean 1. They are not divided by their sum
    here, in each batch, but once over all samples, by `Model.fit`. So the average of the batches is
    the mean over all samples, and a batch of one sample keeps its weight.
    """
    total = array_namespace(values).sum(values if weights is None else values * weights, axis=-1)
    return total / max(values.shape[-1], 1)


def forward_loss(loss: Loss, outputs: Array, targets: Array) -> tuple[Array, Any]:
    """Compute the loss of each sample and its cache, and check what a loss of the user's returns.

    Raises
    ------
    TypeError, ShapeError
        ``forward`` returned no pair, or not one value per sample.
    """
    values, cache = as_pair(loss.forward(outputs, targets), loss, "values, cache")
    expected, shape = outputs.shape[:-1], getattr(values, "shape", None)
    if shape != expected:
        got = type(values).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ShapeError(
            f"{type(loss).__name__}.forward: expected one value per sample, shape "
            f"{tuple(expected)}, got {got}. Sum over the outputs, axis -1; the mean over the "
            "samples is taken later"
        )
    return values, cache


def mean_loss(
    loss: Loss, outputs: Array, targets: Array, weights: Array | None = None
) -> tuple[Array, Array]:
    """Compute the mean loss over the samples and its gradient.

    Parameters
    ----------
    loss : Loss
    outputs : array, shape (..., n_samples, n_out)
    targets : array
        As `Loss.check_targets` returns them.
    weights : array, shape (n_samples,), optional
        The weight of each sample, see `weighted_mean`. Default: 1.

    Returns
    -------
    value : array, shape (...)
    d_outputs : array, shape (..., n_samples, n_out)

    Examples
    --------
    >>> import numpy as np
    >>> outputs, targets = np.asarray([[1.0], [3.0]]), np.asarray([[0.0], [0.0]])
    >>> value, d_outputs = mean_loss(MeanSquaredError(), outputs, targets)
    >>> float(value), d_outputs.tolist()
    (5.0, [[1.0], [3.0]])
    """
    xp = array_namespace(outputs)
    values, cache = forward_loss(loss, outputs, targets)
    share = 1.0 / max(values.shape[-1], 1)
    if weights is None:
        dvalues = xp.full_like(values, share)
    else:
        dvalues = xp.broadcast_to(weights * share, values.shape)
    return weighted_mean(values, weights), loss.backward(cache, dvalues)


# Regression --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """``mean_j (o_j - t_j)^2``, over the outputs of a sample."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        error = outputs - targets
        return array_namespace(error).mean(error * error, axis=-1), error

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive the square: ``2 (o_j - t_j) / n_out``."""
        error = cache
        return error * (2.0 / error.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """``mean_j |o_j - t_j|``: outliers pull no harder than other samples; it fits the median."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        error = outputs - targets
        return xp.mean(xp.abs(error), axis=-1), error

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive the absolute value: ``sign(o_j - t_j) / n_out`` (0 at the kink)."""
        error = cache
        return array_namespace(error).sign(error) * (1.0 / error.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss, which fits a quantile of the targets (R. Koenker, G. Bassett, 1978).

    With ``e = o_j - t_j``: ``(1 - q) e`` where the output is too high, else ``-q e``; the mean over
    the outputs. For ``q = 1/2`` it is half the absolute error, and fits the median.

    Parameters
    ----------
    quantile : float
        The share ``q`` of targets that the outputs shall exceed, above 0 and below 1.
    """

    quantile: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "above 0 and below 1", "quantile")

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        error = outputs - targets
        # The larger of the two is the one that is not negative.
        values = xp.maximum((1.0 - self.quantile) * error, -self.quantile * error)
        return xp.mean(values, axis=-1), error

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive both parts: ``1 - q`` or ``-q``, over ``n_out``.

        As one formula that is ``sign(e) / 2 + 1/2 - q``; at the kink it is the middle of the two.
        """
        error = cache
        slope = 0.5 * array_namespace(error).sign(error) + (0.5 - self.quantile)
        return slope * (1.0 / error.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class Huber(Loss):
    """Squared for small errors, absolute for large ones (P. Huber, 1964).

    With ``e = o_j - t_j``: ``e^2 / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``;
    the mean over the outputs.

    Parameters
    ----------
    delta : float
        The error at which the two parts meet, in units of the targets; greater than 0.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "above 0", "delta")

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        error = outputs - targets
        size = xp.abs(error)
        small = xp.minimum(size, self.delta)
        # One formula for both parts: for small = |e| it is e^2 / 2.
        return xp.mean(small * (size - 0.5 * small), axis=-1), error

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive both parts: ``e`` limited to between ``-delta`` and ``delta``."""
        error, xp = cache, array_namespace(cache)
        limited = xp.minimum(xp.maximum(error, -self.delta), self.delta)
        return limited * (1.0 / error.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class Poisson(Loss):
    """Counts: half the Poisson deviance, for outputs that are the logarithm of the rate.

    ``mean_j (exp(o_j) - t_j + t_j (log t_j - o_j))``: the negative log-likelihood up to a constant
    that makes the loss 0 for a perfect prediction. The link is ``exp``.
    """

    def link(self, outputs: Array) -> Array:
        return array_namespace(outputs).exp(outputs)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        rate = xp.exp(outputs)
        # t log t is 0 at t = 0, so the logarithm of 1 is taken there.
        log_targets = xp.log(xp.where(targets > 0, targets, xp.ones_like(targets)))
        error = rate - targets
        return xp.mean(error + targets * (log_targets - outputs), axis=-1), error

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive: ``(exp(o_j) - t_j) / n_out``."""
        error = cache
        return error * (1.0 / error.shape[-1] * dvalues[..., None])

    def check_targets(self, targets: Array, n_out: int, *, values: bool = True) -> Array:
        targets = super().check_targets(targets, n_out, values=values)
        unsigned = array_namespace(targets).isdtype(targets.dtype, "unsigned integer")
        if values and not unsigned:
            self._expect(targets >= 0, "targets that are counts, 0 or greater", targets)
        return targets


# Classification ----------------------------------------------------------------------------------


class _BinaryLoss(Loss):
    """The common part of losses of one or several labels, each from 0 to 1."""

    classifies = True
    threshold: ClassVar[float]
    """The output above which a label is predicted as 1."""

    def decide(self, outputs: Array) -> Array:
        xp = array_namespace(outputs)
        labels = xp.astype(outputs > self.threshold, xp.int32)
        return labels[..., 0] if outputs.shape[-1] == 1 else labels

    def correct(self, outputs: Array, targets: Array) -> Array:
        """Score each sample by the share of correct labels (a target above 1/2 counts as 1)."""
        xp = array_namespace(outputs)
        correct = (outputs > self.threshold) == (targets > 0.5)
        return xp.mean(xp.astype(correct, outputs.dtype), axis=-1)

    def check_targets(self, targets: Array, n_out: int, *, values: bool = True) -> Array:
        targets = super().check_targets(targets, n_out, values=values)
        if values:
            self._expect((targets >= 0) & (targets <= 1), "targets from 0 to 1", targets)
        return targets


@dataclass(frozen=True)
class BinaryCrossEntropy(_BinaryLoss):
    """One or several labels: cross-entropy of logits with targets from 0 to 1.

    ``mean_j (max(z, 0) - z t + log(1 + exp(-|z|)))``, which is ``-t log a - (1 - t) log(1 - a)``
    with ``a = sigmoid(z)``, without the overflow. The link is the sigmoid.

    Parameters
    ----------
    label_smoothing : float
        The share ``s``, from 0 to 1, by which each target is moved to the middle:
        ``(1 - s) t + s / 2`` (C. Szegedy et al., CVPR 2016).
    """

    label_smoothing: float = 0.0
    threshold = 0.0

    def __post_init__(self) -> None:
        check_range(self, "from 0 to 1", "label_smoothing")

    def link(self, outputs: Array) -> Array:
        return sigmoid(outputs)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        if self.label_smoothing:
            targets = (1.0 - self.label_smoothing) * targets + 0.5 * self.label_smoothing
        power = xp.exp(-xp.abs(outputs))
        error = xp.maximum(outputs, 0.0) - outputs * targets + xp.log1p(power)
        probabilities = xp.where(outputs >= 0, xp.ones_like(outputs), power) / (1.0 + power)
        return xp.mean(error, axis=-1), (probabilities, targets)

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive: ``(sigmoid(z_j) - t_j) / n_out``.

        ``d/dz log(1 + exp(z)) = sigmoid(z)``, and the derivative of ``z t`` is ``t``.
        """
        a, targets = cache
        return (a - targets) * (1.0 / a.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class ProbabilityCrossEntropy(_BinaryLoss):
    """The textbook pair of a sigmoid output layer: cross-entropy of probabilities.

    ``mean_j (-t log a - (1 - t) log(1 - a))``. Prefer `BinaryCrossEntropy`, which takes logits: the
    gradient of a probability that was rounded to 0 or 1 is lost.
    """

    threshold = 0.5

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        # Both logarithms stay finite where a probability was rounded to 0 or 1.
        epsilon = float(xp.finfo(outputs.dtype).eps)
        a = xp.minimum(xp.maximum(outputs, epsilon), 1.0 - epsilon)
        values = -xp.mean(targets * xp.log(a) + (1.0 - targets) * xp.log1p(-a), axis=-1)
        return values, (a, targets)

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive: ``(a_j - t_j) / (a_j (1 - a_j)) / n_out``.

        ``-t/a + (1 - t)/(1 - a)`` over a common denominator. Times the sigmoid's derivative
        ``a (1 - a)`` this is the ``a - t`` of `BinaryCrossEntropy`.
        """
        a, targets = cache
        return (a - targets) / (a * (1.0 - a)) * (1.0 / a.shape[-1] * dvalues[..., None])


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Several classes: cross-entropy of logits with a class or with probabilities.

    ``log(sum_j exp(z_j)) - sum_j t_j z_j``, which is ``-sum_j t_j log p_j`` with ``p =
    softmax(z)``. The link is the softmax. Targets are class indices (integers) or one row of
    probabilities per sample (one-hot or soft).

    Parameters
    ----------
    label_smoothing : float
        The share ``s``, from 0 to 1, of each target that is spread evenly over all classes:
        ``(1 - s) t + s / n_out`` (C. Szegedy et al., CVPR 2016).
    """

    label_smoothing: float = 0.0
    classifies = True

    def __post_init__(self) -> None:
        check_range(self, "from 0 to 1", "label_smoothing")

    def link(self, outputs: Array) -> Array:
        return softmax(outputs)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        xp = array_namespace(outputs)
        targets = self._to_probabilities(outputs, targets)
        # Subtracting the largest does not change the result, but keeps exp from overflowing.
        shifted = outputs - xp.max(outputs, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        # Not vecdot, which PyTorch computes as a batch of matrix products.
        values = xp.log(total[..., 0]) - xp.sum(targets * shifted, axis=-1)
        return values, (powers / total, targets)

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive: ``softmax(z)_j - t_j``.

        ``d/dz_j log(sum exp(z)) = exp(z_j) / sum exp(z)``, and that of the sum is ``t_j``.
        """
        probabilities, targets = cache
        d_outputs = probabilities - targets
        d_outputs *= dvalues[..., None]
        return d_outputs

    def _to_probabilities(self, outputs: Array, targets: Array) -> Array:
        """Convert the targets to one row of probabilities per sample."""
        xp = array_namespace(outputs)
        n_out = outputs.shape[-1]
        if xp.isdtype(targets.dtype, "integral"):
            classes = xp.arange(n_out, dtype=targets.dtype, device=device(targets))
            targets = xp.astype(targets[..., None] == classes, outputs.dtype)
        if self.label_smoothing:
            targets = (1.0 - self.label_smoothing) * targets + self.label_smoothing / n_out
        return targets

    def check_targets(self, targets: Array, n_out: int, *, values: bool = True) -> Array:
        xp = array_namespace(targets)
        if targets.ndim == 2 and targets.shape[1] == 1 and n_out != 1:
            targets = targets[:, 0]
        if targets.ndim == 1:
            check_numeric(targets, "targets", _NUMBER_LABELS)
            return self._check_classes(targets, n_out, values=values)
        targets = super().check_targets(targets, n_out, values=values)
        if not xp.isdtype(targets.dtype, "real floating"):
            targets = xp.astype(targets, xp.float32)
        if values:
            self._expect(targets >= 0, "class probabilities, 0 or greater", targets)
            # Rounding moves a sum of probabilities by up to half of this, wherever it is exact.
            epsilon = float(xp.finfo(targets.dtype).eps)
            sums = xp.sum(xp.astype(targets, xp.float32), axis=1)
            error = xp.abs(sums - 1.0)
            self._expect(error < max(1e-3, epsilon), "class probabilities with the sum 1", targets)
        return targets

    def _check_classes(self, targets: Array, n_out: int, *, values: bool) -> Array:
        """Check class indices, of any numeric dtype, and convert them to 32-bit integers."""
        xp = array_namespace(targets)
        if values and xp.isdtype(targets.dtype, "real floating"):
            self._expect(targets == xp.floor(targets), "class indices (integers)", targets)
        targets = _make_comparable(targets)
        if values:
            self._expect(
                (targets >= 0) & (targets < n_out),
                f"class indices from 0 to {n_out - 1}, because the network has {n_out} outputs",
                targets,
            )
        return xp.astype(targets, xp.int32, copy=False)


# Missing targets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownTargets(Loss):
    """The mean of another loss over those outputs of a sample whose target is known, not NaN.

    For the known outputs ``K`` of a sample: ``sum_{j in K} l(o_j, t_j) / |K|``, with the loss ``l``
    of a single output. So all samples count the same, however many of their targets are known; with
    ``|K|`` as the weights of the samples, all known targets do.

    Parameters
    ----------
    loss : Loss
        A loss that is the mean over its outputs: one for values or labels, not for classes.

    Examples
    --------
    >>> import numpy as np
    >>> outputs, targets = np.asarray([[3.0, 5.0]]), np.asarray([[1.0, float("nan")]])
    >>> value, d_outputs = mean_loss(KnownTargets(MeanSquaredError()), outputs, targets)
    >>> float(value), d_outputs.tolist()
    (4.0, [[4.0, 0.0]])
    """

    loss: Loss

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss) or isinstance(
            self.loss, KnownTargets | SoftmaxCrossEntropy
        ):
            raise TypeError(
                "KnownTargets: expected a loss that is a mean over its outputs, such as "
                f"MeanSquaredError() or BinaryCrossEntropy(), got {self.loss!r}. To leave out "
                "samples without a class, pass sample_weight=0 for them"
            )

    @property
    def classifies(self) -> bool:  # type: ignore[override]
        return self.loss.classifies

    def known(self, targets: Array) -> Array:
        return array_namespace(targets).logical_not(array_namespace(targets).isnan(targets))

    def _separate(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return each output as a sample of its own; (0, 0) where the target is not known."""
        xp, known = array_namespace(outputs), self.known(targets)
        outputs = xp.where(known, outputs, xp.zeros_like(outputs))
        targets = xp.where(known, targets, xp.zeros_like(targets))
        return outputs[..., None], targets[..., None]

    def _shares(self, targets: Array, dtype: Any) -> Array:
        """Return ``1/|K|`` for the known outputs of each sample, and 0 for the others."""
        xp = array_namespace(targets)
        known = xp.astype(self.known(targets), dtype)
        return known / xp.maximum(xp.sum(known, axis=-1, keepdims=True), 1.0)

    def mean_over_outputs(self, values: Array, targets: Array) -> Array:
        xp = array_namespace(values)
        values = xp.where(self.known(targets), values, xp.zeros_like(values))
        return xp.sum(values * self._shares(targets, values.dtype), axis=-1)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Any]:
        values, cache = self.loss.forward(*self._separate(outputs, targets))
        shares = self._shares(targets, outputs.dtype)
        return array_namespace(outputs).sum(values * shares, axis=-1), (cache, shares)

    def backward(self, cache: Any, dvalues: Array) -> Array:
        """Derive the sum: ``l'(o_j, t_j) / |K|`` for the known outputs, and 0 for the others.

        That is the derivative of ``l`` for single outputs, whose ``dvalues`` are those shares.
        """
        cache, shares = cache
        return self.loss.backward(cache, shares * dvalues[..., None])[..., 0]

    def link(self, outputs: Array) -> Array:
        return self.loss.link(outputs)

    def decide(self, outputs: Array) -> Array:
        return self.loss.decide(outputs)

    def correct(self, outputs: Array, targets: Array) -> Array:
        """Score each sample by the share of correct labels among the known ones."""
        correct = self.loss.correct(*self._separate(outputs, targets))
        return self.mean_over_outputs(correct, targets)

    def check_targets(self, targets: Array, n_out: int, *, values: bool = True) -> Array:
        xp = array_namespace(targets)
        if not xp.isdtype(targets.dtype, "real floating"):
            return self.loss.check_targets(targets, n_out, values=values)
        known = self.known(targets)
        complete = xp.where(known, targets, xp.zeros_like(targets))
        shape = self.loss.check_targets(complete, n_out, values=values).shape
        if values:
            some = xp.any(xp.reshape(known, shape), axis=-1)
            what = "at least one target that is not NaN in each row: leave others out"
            self._expect(some, what, targets)
        return xp.reshape(targets, shape)


LOSSES: dict[str, type[Loss]] = {
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "quantile": Quantile,
    "huber": Huber,
    "poisson": Poisson,
    "binary_cross_entropy": BinaryCrossEntropy,
    "probability_cross_entropy": ProbabilityCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
}
"""The losses by their names."""

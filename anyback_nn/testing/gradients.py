"""Check hand-written derivatives against differences of the forward computation.

For a scalar ``f`` and a step ``h``, ``(f(z + h) - f(z - h)) / 2h`` differs from ``f'(z)`` by
``O(h^2)``. Where ``f`` has a kink, as a ReLU has at 0, within ``h`` of ``z``, it does not. So every
difference is taken with ``h`` and with ``h / 2``, and points at which the two do not agree are
replaced by others: a kink is avoided, not allowed for by a loose tolerance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend
from anyback_nn.errors import AnybackError, DataError, ShapeError
from anyback_nn.inputs.checks import check_dtype
from anyback_nn.network.layer import Context, Layer
from anyback_nn.network.losses import Loss
from anyback_nn.random import Random, generator
from anyback_nn.testing.host_reads import restrict
from anyback_nn.testing.variants import select
from anyback_nn.tree import tree_leaves, tree_map, tree_named_leaves
from anyback_nn.utils.arguments import as_integer

__all__ = ["GradientError", "GradientReport", "check_gradients"]

TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
"""The largest error of a derivative, relative to the largest element of its array."""

STEP = 1e-5
"""The step of the differences, which are taken in float64."""

SMALLEST = 1e-3
"""Errors are relative to at least this: the largest element of an array may be 0."""

INPUT = "input"
"""The name of the input in the report."""

ATTEMPTS = 8
"""The number of points that are tried before a function is said to have no derivative."""


class GradientError(AnybackError, AssertionError):
    """A layer or a loss computes a wrong derivative, or breaks a rule of its interface."""


@dataclass(frozen=True)
class GradientReport:
    """The agreement of derivatives with differences.

    Attributes
    ----------
    errors : dict of str to float
        For ``"input"`` and each parameter, the largest error relative to the largest element.
    name : str
        The array with the largest error.
    index : tuple of int
        The index of the largest error in this array.
    backward, differences : float
        The two values there.
    factor : float, optional
        The factor by which all elements of this array are off, if it is the same for all.
    """

    errors: dict[str, float]
    name: str
    index: tuple[int, ...]
    backward: float
    differences: float
    factor: float | None = None

    @property
    def error(self) -> float:
        """The largest relative error."""
        return self.errors[self.name]

    def __str__(self) -> str:
        where = f"{self.name}[{', '.join(map(str, self.index))}]"
        message = (
            f"the worst entry is that of {where}: backward gives {self.backward:.8g}, differences "
            f"give {self.differences:.8g} (relative error {self.error:.1e})"
        )
        if self.factor is None:
            return message
        return f"{message}. All entries of it are off by the factor {self.factor:.6g}"


def _explain(subject: Any, what: str) -> GradientError:
    """Return the error that names what is wrong with a layer or a loss."""
    name = repr(subject) if is_dataclass(subject) else type(subject).__name__
    return GradientError(f"{name}: {what}")


def check_gradients(
    subject: Layer | Loss,
    shape: tuple[int, ...],
    *,
    backend: str | Backend | None = None,
    dtype: str = "float64",
    training: bool = True,
    x: Any = None,
    targets: Any = None,
    tolerance: float | None = None,
    max_entries: int = 500,
    seed: int = 0,
) -> GradientReport:
    """Check the derivatives of a layer, a network or a loss, and that it keeps to its interface.

    Parameters
    ----------
    subject : Layer or Loss
        A `Network` is a layer too.
    shape : tuple of int
        The shape of the input: ``(n_samples, n_features)``, or with a first axis of replicas.
    backend : str or Backend, optional
        Where ``backward`` runs: any of `anyback_nn.testing.MATRIX`. Default: as for a model.
    dtype : str
        ``"float32"`` or ``"float64"``, in which ``backward`` runs. The differences are taken in
        float64, at the same point (with NumPy, if the device has no float64). That results of
        float32 are of float32 is checked in any case.
    training : bool
        Whether a layer is checked as in training, or as in prediction.
    x : array, optional
        The input, if only some values are valid. Default: random, between 0.1 and 2 in size; for a
        loss that classifies and whose link is the identity, probabilities from 0.1 to 0.9.
    targets : array, optional
        The targets of a loss; else ignored. Default: random, of a kind that the loss takes.
    tolerance : float, optional
        The largest relative error. Default: 1e-6 for float64, 1e-4 for float32.
    max_entries : int
        The number of elements of an array that are checked at most, chosen at random.
    seed : int

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        A derivative is wrong; or ``forward`` or ``backward`` wrote into an argument, returned
        another shape, dtype or device, or did not compute the same twice.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> report = check_gradients(nn.Dense(3), (5, 4))
    >>> sorted(report.errors), report.error < 1e-8
    (['bias', 'input', 'weight'], True)
    >>> check_gradients(nn.SoftmaxCrossEntropy(), (5, 3), backend="array-api-strict").error < 1e-8
    True

    A wrong one:

    >>> class Square(nn.Layer):
    ...     def forward(self, params, x, context=nn.PREDICTION):
    ...         return x * x, x
    ...
    ...     def backward(self, params, cache, dy):
    ...         return dy * cache, {}
    >>> check_gradients(Square(), (1, 2))
    Traceback (most recent call last):
    ...
    anyback_nn.testing.gradients.GradientError: Square: the worst entry is that of input[0, ...
    """
    chosen = select(backend)
    if not isinstance(subject, Loss | Layer):
        raise TypeError(f"expected a layer, a network or a loss, got {subject!r}")
    if not isinstance(shape, tuple | list) or len(shape) < 2 or min(shape) < 1:
        raise ShapeError(
            f"expected a shape (n_samples, n_features) with at least one of each, got {shape}"
        )
    shape = tuple(shape)
    max_entries = as_integer("max_entries", max_entries, least=1)
    limit = TOLERANCE[check_dtype(dtype, chosen)] if tolerance is None else tolerance
    fine = chosen if chosen.supports("float64") else select("numpy")
    with restrict(chosen):
        for attempt in range(ATTEMPTS):
            key = (seed, attempt)
            point = (
                _draw_loss_point(subject, shape, x, targets, dtype, key)
                if isinstance(subject, Loss)
                else _draw_layer_point(subject, shape, training, x, dtype, key)
            )
            if dtype == "float64":
                # Only this shows whether float32 becomes float64 somewhere.
                with chosen.scope("float32"):
                    point.derivatives(chosen, "float32")
            with chosen.scope(dtype):
                gradients = point.derivatives(chosen, dtype)
                derivatives = {name: to_float64(gradient) for name, gradient in gradients.items()}
            with fine.scope("float64"):
                differences = _estimate_derivatives(point, fine, max_entries, limit)
            if differences is not None:
                break
        else:
            raise _explain(
                subject,
                f"at none of {ATTEMPTS} points do differences of the output converge. "
                "Its input was given: choose one away from kinks"
                if x is not None
                else f"at none of {ATTEMPTS} points do differences of the output "
                "converge: is it continuous, and finite for inputs of about 1? Pass x= for one "
                "that takes only some values",
            )
    report = _build_report(derivatives, differences)
    if not report.error <= limit:  # also where it is NaN
        raise _explain(subject, str(report))
    return report


# The function, and its derivatives by hand --------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    """A scalar function of named arrays, outputs weighted by random numbers, and where to check it.

    Attributes
    ----------
    subject : Layer or Loss
    arrays : dict of str to ndarray
        In float64, rounded to the dtype under test.
    value : callable
        ``value(backend, arrays)`` computes the function in float64.
    derivatives : callable
        ``derivatives(backend, dtype)`` computes them by hand, and checks how that is done.
    """

    subject: Layer | Loss
    arrays: dict[str, Any]
    value: Callable[[Backend, dict[str, Any]], float]
    derivatives: Callable[[Backend, str], dict[str, Any]]


def _draw_layer_point(
    layer: Layer, shape: tuple[int, ...], training: bool, x: Any, dtype: str, key: tuple[int, int]
) -> _Point:
    """Draw the point at which a layer is checked."""
    rng, rounded = np.random.default_rng(key), _make_rounding(dtype)
    draws = Random(generator(key[0], "weights", key[1]), select("numpy"), "float64")
    *replicas, n_samples, n_in = shape

    def around(values: Any) -> Any:
        # An initial value of 0 or 1 would hide a missing factor.
        return rounded(values + 0.3 * rng.normal(size=(*replicas, *values.shape)))

    def above(values: Any) -> Any:
        return rounded(values + rng.uniform(0.1, 1.0, (*replicas, *values.shape)))

    params = tree_map(around, layer.init(n_in, draws))
    state = tree_map(above, layer.init_state(n_in, draws))
    context = Context(training, state, layer.noise(shape, draws) if training else None)
    dy = rounded(rng.normal(size=(*replicas, n_samples, layer.output_size(n_in))))
    arrays = {INPUT: _draw_input(shape, rng, x, rounded), **tree_named_leaves(params)}

    def value(backend: Backend, arrays: dict[str, Any]) -> float:
        names = iter(tree_named_leaves(params))
        varied = tree_map(lambda _: arrays[next(names)], params)
        moved, x, parts = _move((varied, arrays[INPUT], context), backend, "float64")
        return float(np.sum(to_numpy(layer.forward(moved, x, Context(*parts))[0]) * dy))

    def derivatives(backend: Backend, dtype: str) -> dict[str, Any]:
        arguments = _move((params, arrays[INPUT], context, dy), backend, dtype)
        moved, x, parts, d_output = arguments
        with _refuse_writes(layer, "forward", arguments):
            result = layer.forward(moved, x, Context(*parts))
            y, cache = _unpack_pair(layer, "forward", "(y, cache)", result)
        _expect_like(layer, "the output", y, d_output)
        with _refuse_writes(layer, "backward", (arguments, cache)):
            result = layer.backward(moved, cache, d_output)
            dx, grads = _unpack_pair(layer, "backward", "(dx, grads)", result)
        _expect_like(layer, "dx", dx, x)
        with _refuse_writes(layer, "gradients", (arguments, cache)):
            alone = tree_named_leaves(layer.gradients(moved, cache, d_output))
        expected, gradients = tree_named_leaves(moved), tree_named_leaves(grads)
        for method, names in (("backward", gradients), ("gradients", alone)):
            if expected.keys() != names.keys():
                raise _explain(
                    layer,
                    f"{method} gives gradients for {sorted(names)}, but the parameters are "
                    f"{sorted(expected)}",
                )
        for name, gradient in gradients.items():
            _expect_like(layer, f"the gradient of {name}", gradient, expected[name])
            if not _nearly_equal(to_float64(alone[name]), to_float64(gradient), dtype):
                raise _explain(layer, f"gradients() and backward() differ in {name}")
        return {INPUT: dx, **gradients}

    return _Point(layer, arrays, value, derivatives)


def _draw_loss_point(
    loss: Loss, shape: tuple[int, ...], x: Any, targets: Any, dtype: str, key: tuple[int, int]
) -> _Point:
    """Draw the point at which a loss is checked."""
    rng, rounded = np.random.default_rng(key), _make_rounding(dtype)
    targets = rounded(_draw_targets(loss, shape, rng, targets))
    dvalues = rounded(rng.normal(size=shape[:-1]))
    outputs = _draw_input(shape, rng, x, rounded)
    if x is None and loss.classifies and np.array_equal(loss.link(outputs), outputs):
        outputs = rounded(rng.uniform(0.1, 0.9, shape))  # it takes probabilities
    arrays = {INPUT: outputs}

    def value(backend: Backend, arrays: dict[str, Any]) -> float:
        values, _ = loss.forward(*_move((arrays[INPUT], targets), backend, "float64"))
        return float(np.sum(to_numpy(values) * dvalues))

    def derivatives(backend: Backend, dtype: str) -> dict[str, Any]:
        arguments = _move((arrays[INPUT], targets, dvalues), backend, dtype)
        with _refuse_writes(loss, "forward", arguments):
            values, cache = _unpack_pair(
                loss, "forward", "(values, cache)", loss.forward(*arguments[:2])
            )
        _expect_like(loss, "the array of values", values, arguments[2])
        with _refuse_writes(loss, "backward", (arguments, cache)):
            d_outputs = loss.backward(cache, arguments[2])
        _expect_like(loss, "the gradient of the outputs", d_outputs, arguments[0])
        return {INPUT: d_outputs}

    return _Point(loss, arrays, value, derivatives)


def _draw_input(shape: tuple[int, ...], rng: Any, x: Any, rounded: Callable[[Any], Any]) -> Any:
    if x is None:
        # Not around 0, where most activations that have a kink have it.
        return rounded(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape))
    x = np.asarray(to_numpy(x), dtype="float64")
    if x.shape != shape:
        raise ShapeError(f"x has shape {x.shape}, but the shape to check is {shape}")
    return rounded(x)


def _draw_targets(loss: Loss, shape: tuple[int, ...], rng: Any, targets: Any) -> Any:
    """Return targets in the shape that the loss computes with, or draw some that it takes."""
    *_, n_samples, n_out = shape
    if targets is not None:
        return _cast_targets(loss.check_targets(np.asarray(to_numpy(targets)), n_out))
    for candidates in (
        rng.normal(size=(n_samples, n_out)),
        rng.integers(2, size=(n_samples, n_out)).astype("float64"),
        rng.integers(n_out, size=n_samples, dtype="int32"),
    ):
        with contextlib.suppress(DataError, ShapeError):
            return _cast_targets(loss.check_targets(candidates, n_out))
    raise _explain(loss, "it takes neither values, nor zeros and ones, nor classes: pass targets=")


def _cast_targets(targets: Any) -> Any:
    """Convert all targets but class indices to float64, as training does."""
    classes = targets.ndim == 1 and targets.dtype.kind in "iu"
    return targets.astype("int32" if classes else "float64")


def _make_rounding(dtype: str) -> Callable[[Any], Any]:
    """Return the function that rounds float64 to a dtype; the point is then exact in both."""
    return lambda x: x.astype(dtype).astype("float64") if x.dtype.kind == "f" else x


def _move(tree: Any, backend: Backend, dtype: str) -> Any:
    """Move a tree of arrays to a backend; integers and booleans keep their dtype."""

    def move_leaf(x: Any) -> Any:
        return backend.asarray(x, dtype if x.dtype.kind == "f" else None) if _is_array(x) else x

    return tree_map(move_leaf, tree)


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype")


def to_float64(x: Array) -> Any:
    """Copy an array of any library to NumPy, in float64."""
    return np.array(to_numpy(x), dtype="float64")


def _unpack_pair(subject: Any, method: str, expected: str, result: Any) -> Any:
    """Raise `GradientError` unless a method returned two things."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise _explain(subject, f"{method} returns {type(result).__name__}, expected {expected}")
    return result


@contextlib.contextmanager
def _refuse_writes(subject: Any, method: str, arguments: Any) -> Iterator[None]:
    """Raise `GradientError` if a method writes into its arguments."""
    arrays = [x for x in tree_leaves(arguments) if _is_array(x)]
    before = [np.array(to_numpy(x)) for x in arrays]
    remedy = "that it was given. Make a new one: `x = x * 2`, not `x *= 2`"
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error):  # what NumPy says
            raise
        raise _explain(subject, f"{method} writes into an array {remedy}") from error
    for x, old in zip(arrays, before):
        if not np.array_equal(to_numpy(x), old, equal_nan=old.dtype.kind == "f"):
            raise _explain(subject, f"{method} writes into an array of shape {old.shape} {remedy}")


def _expect_like(subject: Any, what: str, actual: Any, expected: Array) -> None:
    """Raise `GradientError` unless an array has the shape, dtype and device of another."""
    if not _is_array(actual):
        raise _explain(subject, f"{what} is {actual!r}, not an array")
    for aspect, is_, should_be in (
        ("shape", tuple(actual.shape), tuple(expected.shape)),
        ("dtype", actual.dtype, expected.dtype),
        ("device", device(actual), device(expected)),
    ):
        if is_ != should_be:
            raise _explain(
                subject, f"of input in {expected.dtype}, {what} has {aspect} {is_}, not {should_be}"
            )


# Differences -------------------------------------------------------------------------------------


def _nearly_equal(x: Any, y: Any, dtype: str) -> bool:
    """Return whether arrays differ by no more than sums in another order do."""
    size = np.max(np.abs(y), initial=0.0)
    allowed = 100 * np.finfo(dtype).eps * max(size, SMALLEST) if np.isfinite(size) else 0.0
    return bool(np.allclose(x, y, rtol=0.0, atol=allowed, equal_nan=True))


def _estimate_derivatives(
    point: _Point, backend: Backend, max_entries: int, limit: float
) -> dict[str, tuple[list[tuple[int, ...]], Any]] | None:
    """Estimate derivatives at some elements of each array: indices and values; None at a kink."""
    here = point.value(backend, point.arrays)
    again = point.value(backend, point.arrays)
    if not _nearly_equal(np.asarray(again), np.asarray(here), "float64"):
        raise _explain(
            point.subject,
            "forward does not give the same twice: random numbers belong into `noise`",
        )
    rng, differences = np.random.default_rng(0), {}
    for name, array in point.arrays.items():
        indices = list(np.ndindex(array.shape))
        if len(indices) > max_entries:
            indices = [indices[i] for i in rng.choice(len(indices), max_entries, False)]
        estimates = [_estimate_derivative(point, backend, name, index, here) for index in indices]
        values, doubts = np.reshape(estimates, (-1, 2)).T
        if not np.all(doubts < limit / 4 * np.max(np.abs(values), initial=SMALLEST)):
            return None
        differences[name] = indices, values
    return differences


def _estimate_derivative(
    point: _Point, backend: Backend, name: str, index: tuple[int, ...], here: float
) -> tuple[float, float]:
    """Return the difference at one element, and how far it may be wrong.

    With a kink of height ``J`` at the distance ``d < h``, the central differences for ``h`` and
    ``h / 2`` disagree by ``J d / 2h`` or more, and the second differences by about ``J`` where
    ``d`` is near 0; without one, both by ``O(h^2)``.
    """

    def moved(step: float) -> float:
        array = point.arrays[name].copy()
        array[index] += step
        return point.value(backend, {**point.arrays, name: array})

    above, below = moved(STEP), moved(-STEP)
    above_half, below_half = moved(STEP / 2), moved(-STEP / 2)
    central = (above - below) / (2 * STEP)
    finer = (above_half - below_half) / STEP
    second = (above - 2 * here + below) / STEP
    second_half = 2 * (above_half - 2 * here + below_half) / STEP
    return finer, max(abs(finer - central), abs(2 * second_half - second))


def _build_report(gradients: dict[str, Any], differences: dict[str, Any]) -> GradientReport:
    """Compare gradients with differences, and find the worst element."""
    errors, worst = {}, {}
    for name, (indices, expected) in differences.items():
        actual = np.asarray([gradients[name][index] for index in indices])
        off = np.abs(actual - expected) / np.max(np.abs(expected), initial=SMALLEST)
        errors[name], worst[name] = float(np.max(off, initial=0.0)), (actual, off)
    # An array without elements is never the worst: the input has some, and comes first.
    name = max(errors, key=lambda name: (np.isnan(errors[name]), errors[name]))
    (indices, expected), (actual, off) = differences[name], worst[name]
    position = int(np.argmax(off))  # that of a NaN, if there is one
    return GradientReport(
        errors,
        name,
        indices[position],
        float(actual[position]),
        float(expected[position]),
        _find_common_factor(actual, expected),
    )


def _find_common_factor(actual: Any, expected: Any) -> float | None:
    """Find the factor by which all values that are not small are off, if there is one."""
    sizes = np.maximum(np.abs(actual), np.abs(expected))
    large = sizes > 1e-3 * np.max(sizes)
    if np.sum(large) < 2 or not np.all(expected[large]):
        return None
    ratios = actual[large] / expected[large]
    if not np.ptp(ratios) <= 1e-3 * abs(ratios[0]) or abs(ratios[0] - 1) < 1e-3:
        return None
    return float(np.median(ratios))

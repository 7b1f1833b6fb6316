"""One error when a device runs out of memory, for all libraries, with a batch size that fits.

`has_room` decides whether all samples are moved to a device at once, or batch by batch.

The batch size is tried, not guessed: powers of two, from the largest that the free memory and the
memory of a sample allow, down to the first with which the network can compute a batch of zeros.
"""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.array_api import Array, on_host, to_numpy
from anyback_nn.errors import OutOfMemoryError
from anyback_nn.network.layer import Context
from anyback_nn.random import Random, ShapeOnly, generator
from anyback_nn.tree import tree_leaves

if TYPE_CHECKING:
    from anyback_nn.inputs.batches import Source
    from anyback_nn.inputs.checks import Batch
    from anyback_nn.training.engine import Engine

__all__ = [
    "bytes_a_sample",
    "explain",
    "explain_building",
    "explain_evaluation",
    "explain_setup",
    "has_room",
    "largest_that_fits",
]

FEW = 4
"""The number of rows that are computed to measure the memory of a sample."""

USABLE = 0.9
"""The share of the free memory that can be used: it is fragmented."""

COPIES = 14
"""The number of copies of the parameters in training: two means of the optimiser, all three from
the start of the epoch, the gradients, two intermediate arrays, and all three twice while a step is
traced and verified."""


@contextlib.contextmanager
def explain_evaluation(model: Engine, source: Source) -> Iterator[None]:
    """Explain errors of this context, in which outputs are computed; see `explain`."""
    try:
        yield
    except Exception as error:
        explain(error, model, source, training=False)
        raise


def explain(error: BaseException, model: Engine, source: Source, *, training: bool) -> None:
    """Raise `OutOfMemoryError` for an error of the backend's library that means it.

    Parameters
    ----------
    error : BaseException
        For other errors nothing happens.
    model : Engine
        The model, with the parameters that it keeps.
    source : Source
        The source of the batches.
    training : bool
        Whether the error was in a step of training, or else in the computation of outputs.

    Raises
    ------
    OutOfMemoryError
        The message has the batch size in use, and one that fits.
    """
    if not _is_unexplained(error, model) or not (batch_size := source.rows_a_batch):
        return
    _free_frames(error)
    activity = "a step of training" if training else "computing outputs"
    bound, needs = batch_size - 1, ""
    if _fits(model, FEW, training=training):
        sample, free = bytes_a_sample(model, training=training), model.backend.free_memory()
        needs = f", which takes about {_format_bytes(batch_size * sample)}"
        if free is not None and free < batch_size * sample:
            needs += f"; {_format_bytes(free)} are free"
            bound = min(bound, free // sample)
    if not training and _fits(model, batch_size, training=False):
        advice = TOGETHER
    else:
        fitting = largest_that_fits(bound, lambda n: _fits(model, n, training=training))
        advice = _advise(fitting, training=training)
    raise OutOfMemoryError(
        f"{_name_device(model)} ran out of memory in {activity} with batches of {batch_size:,} "
        f"rows{needs}. {advice}"
    ) from error


def explain_setup(error: BaseException, model: Engine, x: Any) -> None:
    """Raise `OutOfMemoryError` for an error that means it, outside of the steps of training.

    Parameters
    ----------
    error : BaseException
        For other errors nothing happens.
    model : Engine
    x : array or iterable
        The training data.

    Raises
    ------
    OutOfMemoryError
        The message has the size of the data.
    """
    if not _is_unexplained(error, model):
        return
    _free_frames(error)
    shape = tuple(getattr(x, "shape", ()))
    size = (
        f" ({_format_bytes(math.prod(shape) * _itemsize(model))} in {model.dtype})" if shape else ""
    )
    raise OutOfMemoryError(
        f"{_name_device(model)} ran out of memory outside of the steps of training, so no batch "
        "size would fit: the parameters, the optimizer's state, a copy of both and the data"
        f"{size} must fit together. Pass a memory map (numpy.load with mmap_mode='r') or an "
        "iterable of batches, which are moved batch by batch, or use smaller layers"
    ) from error


def explain_building(error: BaseException, model: Engine, n_in: int) -> None:
    """Raise `OutOfMemoryError` for an error that means it, if not even the parameters fit.

    Parameters
    ----------
    error : BaseException
        For other errors nothing happens.
    model : Engine
    n_in : int
        The number of features.

    Raises
    ------
    OutOfMemoryError
        The message has the size of the parameters.
    """
    if not _is_unexplained(error, model):
        return
    _free_frames(error)
    size = ""
    with contextlib.suppress(Exception):  # a custom layer may compute with them
        params = model.network.init(n_in, ShapeOnly(None, model.backend, model.dtype))
        n_bytes = _count_elements(*tree_leaves(params)) * _itemsize(model)
        size = f", which take {_format_bytes(n_bytes)} in {model.dtype}"
    raise OutOfMemoryError(
        f"{_name_device(model)} has not enough memory for the parameters{size}; they are drawn in "
        "float64, on the host. Use smaller layers"
    ) from error


def has_room(model: Engine, rows: Batch, batch_size: int | None) -> bool:
    """Return whether all samples fit on the device, together with the memory that training needs.

    True too if they are on the device already or in one batch, if the device computes in the host's
    memory, or if its free memory is unknown.

    Parameters
    ----------
    model : Engine
        The model, with its parameters.
    rows : Batch
    batch_size : int, optional
        The number of samples in a batch. Default: all.
    """
    n_rows, backend = int(rows.x.shape[0]), model.backend
    batch_size = min(batch_size or n_rows, n_rows)
    if batch_size == n_rows or not backend.has_device_memory or not on_host(rows.x):
        return True
    free = backend.free_memory()
    if free is None:
        return True
    data = _count_elements(rows.x) if rows.y is None else _count_elements(rows.x, rows.y)
    params = _count_elements(*tree_leaves(model.training.params))
    batch = batch_size * bytes_a_sample(model, training=True)
    # One weight per sample: it may come with the weights of the classes.
    n_elements = data + n_rows + COPIES * params
    return bool(n_elements * _itemsize(model) + batch <= USABLE * free)


def largest_that_fits(bound: int, fits: Callable[[int], bool]) -> int | None:
    """Find the largest power of two, up to a bound, that fits; None if not even 1 does.

    Parameters
    ----------
    bound : int
        The bound. If it is below 1, only 1 is tried.
    fits : callable
        Tries a number; returns whether it fits.

    Examples
    --------
    >>> largest_that_fits(100, lambda n: n <= 50), largest_that_fits(0, lambda n: False)
    (32, None)
    """
    powers = (1 << exponent for exponent in reversed(range(max(bound, 1).bit_length())))
    return next((number for number in powers if fits(number)), None)


def bytes_a_sample(model: Engine, *, training: bool) -> int:
    """Estimate the memory of a sample during the computation of a batch.

    In training these are the caches of all layers, measured with two small batches, and the
    gradients of two layers at a time. Otherwise they are the input and output of one layer. Both
    include one intermediate array of a layer.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> loss = nn.SoftmaxCrossEntropy()
    >>> model = nn.Model(nn.Dense(8), nn.Dense(2), loss=loss, backend="numpy").build(4)
    >>> bytes_a_sample(model, training=True), bytes_a_sample(model, training=False)
    (144, 96)
    """
    assert model.n_in is not None
    widest = 3 * max(model.network.sizes(model.n_in)) * _itemsize(model)
    if not training:
        return widest
    half, few = (_measure_caches(model, n) for n in (FEW // 2, FEW))
    return widest + (few - half) // (FEW - FEW // 2)


def _is_unexplained(error: BaseException, model: Engine) -> bool:
    """Return whether an error means that memory ran out, and is not an `OutOfMemoryError` yet."""
    return not isinstance(error, OutOfMemoryError) and model.backend.is_out_of_memory(error)


def _free_frames(error: BaseException | None) -> None:
    """Free the arrays in the frames of an error and of those that caused it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _create_zeros(model: Engine, n: int) -> tuple[Any, Array, Any, Any]:
    """Return the parameters, ``n`` rows of zeros, the state, and noise for a training step."""
    xp, device, training = model.backend.xp, model.backend.device, model.training
    x = xp.zeros((n, model.n_in), dtype=getattr(xp, model.dtype), device=device)
    draws = Random(generator(model.seed, "noise", 0), model.backend, model.dtype)
    noise = model.network.noise((n, x.shape[1]), draws) if model.network.is_noisy else None
    return model.layout.unpack(training.params), x, training.state, noise


def _fits(model: Engine, n: int, *, training: bool) -> bool:
    """Return whether a batch of ``n`` rows can be computed: forward and, in training, backward."""
    network = model.network

    def compute(params: Any, x: Array, state: Any, noise: Any) -> Any:
        if not training:
            return network.predict(params, x, state)
        outputs, cache = network.forward(params, x, Context(True, state, noise))
        return network.gradients(params, cache, outputs)

    try:
        outputs = model.backend.jit(compute)(*_create_zeros(model, n))
        model.backend.synchronize(*tree_leaves(outputs))
    except Exception as error:  # a device without memory may fail in other ways too
        _free_frames(error)
        return False
    return True


def _measure_caches(model: Engine, n: int) -> int:
    """Return the bytes of the caches of a training step on ``n`` rows, each array counted once."""
    network = model.network

    def build() -> Callable[..., tuple[Array, ...]]:
        def compute(params: Any, x: Array, state: Any, noise: Any) -> tuple[Array, ...]:
            _, caches = network.forward(params, x, Context(True, state, noise))
            leaves = [leaf for leaf in tree_leaves(caches) if hasattr(leaf, "dtype")]
            return tuple({id(array): array for array in leaves}.values())

        return compute

    caches = model.compiled("caches", build)(*_create_zeros(model, n))
    return sum(int(to_numpy(array).nbytes) for array in caches)


def _count_elements(*arrays: Array) -> int:
    return sum(math.prod(array.shape) for array in arrays)


def _itemsize(model: Engine) -> int:
    return np.dtype(model.dtype).itemsize


def _name_device(model: Engine) -> str:
    spec, device = model.backend.spec, model.backend.device_label
    return f"backend {spec!r} (device {device})"


def _advise(batch_size: int | None, *, training: bool) -> str:
    """Write the advice of the message: the batch size that fits, if any, and how to set it."""
    if batch_size is None:
        return (
            "Not even a single row fits in addition to the parameters: use smaller layers, or a "
            "backend with more memory"
        )
    if training:
        return (
            f"A batch of {batch_size:,} fits (tried, forward and backward): pass "
            f"batch_size={batch_size} to fit, or make such batches. The model has the parameters "
            "from the start of the epoch"
        )
    return (
        f"A batch of {batch_size:,} fits (tried): pass batch_size={batch_size} to predict or "
        "evaluate, or make such batches. The batch size of validation data in fit cannot be set: "
        "leave them out there, and evaluate afterwards"
    )


TOGETHER = (
    "Such a batch fits, but the outputs of all batches together do not: pass the data in several "
    "parts"
)
"""The advice if the batch size is not the cause."""


def _format_bytes(n_bytes: float) -> str:
    """Format a number of bytes in a suitable unit.

    >>> _format_bytes(1_234_000_000), _format_bytes(512)
    ('1.2 GB', '512.0 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"

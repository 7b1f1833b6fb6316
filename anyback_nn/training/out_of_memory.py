"""One error for memory that is used up, whichever library says so: with a batch size that fits.

And before that: whether all samples are brought to a device at once, or batch by batch.

What fits is tried, not guessed: powers of two, from the largest that can fit by what a sample takes
and what is free, down to the first with which the network computes a batch of zeros.
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
    "explain_setup",
    "explained",
    "has_room",
    "largest_that_fits",
]

FEW = 4
"""So many rows are computed to see what a sample takes."""

USABLE = 0.9
"""The share of the free memory that is counted on: it lies in pieces, some of them too small."""

COPIES = 14
"""How often the parameters are needed again in training: two means of the optimiser, all three from
before the epoch, the gradients, two arrays on the way, and all three twice while a step is recorded
and checked."""


@contextlib.contextmanager
def explained(model: Engine, source: Source) -> Iterator[None]:
    """Within it outputs are computed: memory that is used up is explained."""
    try:
        yield
    except Exception as error:
        explain(error, model, source, training=False)
        raise


def explain(error: BaseException, model: Engine, source: Source, *, training: bool) -> None:
    """Raise in place of an error of the backend's library that says that memory is used up.

    Parameters
    ----------
    error : BaseException
        Any other error is let pass: then nothing happens.
    model : Engine
        With the parameters that it is to keep.
    source : Source
        Where the batches came from.
    training : bool
        Whether this was a step of training; otherwise only outputs were computed.

    Raises
    ------
    OutOfMemoryError
        With the batch size in use, and the one that fits.
    """
    if not _is_news(error, model) or not (used := source.rows_a_batch):
        return
    _let_go(error)
    doing, bound = "a step of training" if training else "computing outputs", used - 1
    needs = ""
    if _fits(model, FEW, training=training):
        each, free = bytes_a_sample(model, training=training), model.backend.free_memory()
        needs = f", which takes about {_in_units(used * each)}"
        if free is not None and free < used * each:
            needs += f" where {_in_units(free)} are free"
            bound = min(bound, free // each)
    if not training and _fits(model, used, training=False):
        advice = TOGETHER
    else:
        found = largest_that_fits(bound, lambda n: _fits(model, n, training=training))
        advice = _advice(found, training=training)
    raise OutOfMemoryError(
        f"{_where(model)} ran out of memory in {doing} with batches of {used:,} rows{needs}. "
        f"{advice}"
    ) from error


def explain_setup(error: BaseException, model: Engine, x: Any) -> None:
    """Raise in place of an error that says that not even the data and parameters find memory.

    Parameters
    ----------
    error : BaseException
        Any other error is let pass: then nothing happens.
    model : Engine
    x : array or iterable
        What was to be trained on.

    Raises
    ------
    OutOfMemoryError
        With the size of the data.
    """
    if not _is_news(error, model):
        return
    _let_go(error)
    shape = tuple(getattr(x, "shape", ()))
    size = f" ({_in_units(math.prod(shape) * _itemsize(model))} in {model.dtype})" if shape else ""
    raise OutOfMemoryError(
        f"{_where(model)} ran out of memory outside of the steps of training, so no batch size "
        f"would fit: the parameters, the optimizer's state, a copy of both and the data{size} must "
        "find room together. Pass a memory map (numpy.load with mmap_mode='r') or an iterable of "
        "batches, which come batch by batch, or take smaller layers"
    ) from error


def explain_building(error: BaseException, model: Engine, n_in: int) -> None:
    """Raise in place of an error that says that the parameters alone find no memory.

    Parameters
    ----------
    error : BaseException
        Any other error is let pass: then nothing happens.
    model : Engine
    n_in : int
        The number of features.

    Raises
    ------
    OutOfMemoryError
        With what they take.
    """
    if not _is_news(error, model):
        return
    _let_go(error)
    takes = ""
    with contextlib.suppress(Exception):  # a layer of the user's may compute with them
        params = model.network.init(n_in, ShapeOnly(None, model.backend, model.dtype))
        n_bytes = sum(math.prod(one.shape) for one in tree_leaves(params)) * _itemsize(model)
        takes = f", which take {_in_units(n_bytes)} in {model.dtype}"
    raise OutOfMemoryError(
        f"{_where(model)} has no memory for the parameters{takes}; they are drawn in float64, on "
        "the host. Take smaller layers"
    ) from error


def has_room(model: Engine, rows: Batch, batch_size: int | None) -> bool:
    """Tell whether all samples can lie on the device, beside what training takes.

    So can those that lie there already or are one batch, and all where the device computes in the
    host's memory, or nothing tells how much of its own is free.

    Parameters
    ----------
    model : Engine
        With its parameters.
    rows : Batch
    batch_size : int, optional
        Default: all samples in one batch.
    """
    n_rows, backend = int(rows.x.shape[0]), model.backend
    batch_size = min(batch_size or n_rows, n_rows)
    if batch_size == n_rows or not backend.has_device_memory or not on_host(rows.x):
        return True
    free = backend.free_memory()
    if free is None:
        return True
    # A weight each may come with the classes.
    numbers = n_rows + sum(math.prod(one.shape) for one in (rows.x, rows.y) if one is not None)
    numbers += COPIES * sum(math.prod(one.shape) for one in tree_leaves(model.training.params))
    batch = batch_size * bytes_a_sample(model, training=True)
    return bool(numbers * _itemsize(model) + batch <= USABLE * free)


def largest_that_fits(bound: int, fits: Callable[[int], bool]) -> int | None:
    """Find the largest power of two, up to a bound, that fits; None if not even 1 does.

    Parameters
    ----------
    bound : int
        Where it is below 1, only 1 is tried.
    fits : callable
        Tries a number.

    Examples
    --------
    >>> largest_that_fits(100, lambda n: n <= 50), largest_that_fits(0, lambda n: False)
    (32, None)
    """
    powers = (1 << exponent for exponent in reversed(range(max(bound, 1).bit_length())))
    return next((number for number in powers if fits(number)), None)


def bytes_a_sample(model: Engine, *, training: bool) -> int:
    """Estimate the memory that a sample takes while a batch is computed.

    In training these are the caches of all layers, as two small batches show them, and the
    gradients of two layers at a time. Otherwise they are the input and output of one layer. In
    both cases there is room for one array more, that a layer needs on its way.

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
    half, few = (sum(int(to_numpy(one).nbytes) for one in _kept(model, n)) for n in (FEW // 2, FEW))
    return widest + (few - half) // (FEW - FEW // 2)


def _is_news(error: BaseException, model: Engine) -> bool:
    """Tell whether this says that memory is used up and has not been explained yet."""
    return not isinstance(error, OutOfMemoryError) and model.backend.is_out_of_memory(error)


def _let_go(error: BaseException | None) -> None:
    """Free the arrays in the functions that an error, and those before it, ended."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _zeros(model: Engine, n: int) -> tuple[Any, Array, Any, Any]:
    """Give parameters, ``n`` rows of zeros, and state and noise for a training step on them."""
    xp, device, training = model.backend.xp, model.backend.device, model.training
    x = xp.zeros((n, model.n_in), dtype=getattr(xp, model.dtype), device=device)
    draws = Random(generator(model.seed, "noise", 0), model.backend, model.dtype)
    noise = model.network.noise((n, x.shape[1]), draws) if model.network.is_noisy else None
    return model.layout.unpack(training.params), x, training.state, noise


def _fits(model: Engine, n: int, *, training: bool) -> bool:
    """Try whether a batch of ``n`` rows finds memory, forward and in training backward."""
    network = model.network

    def compute(params: Any, x: Array, state: Any, noise: Any) -> Any:
        if not training:
            return network.predict(params, x, state)
        outputs, cache = network.forward(params, x, Context(True, state, noise))
        return network.gradients(params, cache, outputs)

    try:
        computed = model.backend.jit(compute)(*_zeros(model, n))
        model.backend.synchronize(*tree_leaves(computed))
    except Exception as error:  # without memory, a device may fail in other ways too
        _let_go(error)
        return False
    return True


def _kept(model: Engine, n: int) -> tuple[Array, ...]:
    """Compute what a training step on ``n`` rows keeps; what two layers keep counts once."""
    network = model.network

    def build() -> Callable[..., tuple[Array, ...]]:
        def compute(params: Any, x: Array, state: Any, noise: Any) -> tuple[Array, ...]:
            _, caches = network.forward(params, x, Context(True, state, noise))
            arrays = {id(one): one for one in tree_leaves(caches) if hasattr(one, "dtype")}
            return tuple(arrays.values())

        return compute

    kept: tuple[Array, ...] = model.compiled("kept", build)(*_zeros(model, n))
    return kept


def _itemsize(model: Engine) -> int:
    return np.dtype(model.dtype).itemsize


def _where(model: Engine) -> str:
    spec, device = model.backend.spec, model.backend.device_label
    return f"backend {spec!r} (device {device})"


def _advice(found: int | None, *, training: bool) -> str:
    """Say what to do about it."""
    if found is None:
        return (
            "Not even a single row fits beside what is there: take smaller layers, or a backend "
            "with more memory"
        )
    if training:
        return (
            f"A batch of {found:,} fits (tried, forward and backward): pass batch_size={found} to "
            "fit, or make such batches. The model has the parameters from the start of the epoch"
        )
    return (
        f"A batch of {found:,} fits (tried): pass batch_size={found} to predict or evaluate, or "
        "make such batches. What fit validates with has batches of its own: leave it out there, "
        "and evaluate afterwards"
    )


TOGETHER = (
    "Such a batch fits by itself, so it is the outputs of all batches together that do not: pass "
    "the data in several parts"
)
"""What to do where batches are not the cause."""


def _in_units(n_bytes: float) -> str:
    """Write a number of bytes in units that suit it.

    >>> _in_units(1_234_000_000), _in_units(512)
    ('1.2 GB', '512.0 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"

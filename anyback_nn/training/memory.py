"""Memory for training and prediction: what a sample takes, and whether batches or all rows fit."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, on_host, to_numpy
from anyback_nn.inputs.checks import Samples
from anyback_nn.network.layer import Context
from anyback_nn.random import Random, generator
from anyback_nn.training.engine import Engine
from anyback_nn.tree import tree_leaves

__all__ = [
    "FEW",
    "can_compute",
    "count_bytes",
    "estimate_sample_bytes",
    "find_largest",
    "free_frames",
    "has_room",
]

FEW = 4
"""The number of rows that are computed to measure the memory of a sample."""

USABLE = 0.9
"""The share of the free memory that can be used: it is fragmented."""

COPIES = 14
"""The number of copies of the parameters in training: two means of the optimiser, all three from
the start of the epoch, the gradients, two intermediate arrays, and all three twice while a step is
traced and verified."""


def has_room(model: Engine, rows: Samples, batch_size: int | None) -> bool:
    """Return whether all samples fit on the device, together with the memory that training needs.

    True too if they are on the device already or in one batch (as by default), if the device
    computes in the host's memory, or if its free memory is unknown.
    """
    n_rows, backend = int(rows.x.shape[0]), model.backend
    batch_size = min(batch_size or n_rows, n_rows)
    if batch_size == n_rows or not backend.has_device_memory or not on_host(rows.x):
        return True
    free = backend.free_memory()
    if free is None:
        return True
    data = count_bytes(model.dtype, rows.x, *([] if rows.y is None else [rows.y]))
    # One weight per sample: it may come with the weights of the classes.
    data += n_rows * np.dtype(model.dtype).itemsize
    params = COPIES * count_bytes(model.dtype, *tree_leaves(model.training.params))
    batch = batch_size * estimate_sample_bytes(model, training=True)
    return bool(data + params + batch <= USABLE * free)


def estimate_sample_bytes(model: Engine, *, training: bool) -> int:
    """Estimate the bytes of a sample during the computation of a batch.

    In training these are the caches of all layers, measured with two small batches, and the
    gradients of two layers at a time. Otherwise they are the input and output of one layer. Both
    include one intermediate array of a layer.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> loss = nn.SoftmaxCrossEntropy()
    >>> model = nn.Model(nn.Dense(8), nn.Dense(2), loss=loss, backend="numpy").build(4)
    >>> estimate_sample_bytes(model, training=True), estimate_sample_bytes(model, training=False)
    (144, 96)
    """
    widest = 3 * max(model.network.sizes(model.n_inputs)) * np.dtype(model.dtype).itemsize
    if not training:
        return widest
    half, few = (_measure_caches(model, n) for n in (FEW // 2, FEW))
    return widest + (few - half) // (FEW - FEW // 2)


def can_compute(model: Engine, n: int, *, training: bool) -> bool:
    """Try to compute a batch of ``n`` rows of zeros: forward and, in training, backward."""
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
        free_frames(error)
        return False
    return True


def find_largest(bound: int, fits: Callable[[int], bool]) -> int | None:
    """Find the largest power of two, up to a bound, that fits; None if not even 1 does.

    With a bound below 1, only 1 is tried.

    Examples
    --------
    >>> find_largest(100, lambda n: n <= 50), find_largest(0, lambda n: False)
    (32, None)
    """
    powers = (1 << exponent for exponent in reversed(range(max(bound, 1).bit_length())))
    return next(filter(fits, powers), None)


def count_bytes(dtype: str, *arrays: Array) -> int:
    """Count the bytes of all elements in a dtype."""
    n_elements: int = sum(math.prod(array.shape) for array in arrays)
    return n_elements * np.dtype(dtype).itemsize


def free_frames(error: BaseException | None) -> None:
    """Free the arrays in the frames of an error and of those that caused it."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _create_zeros(model: Engine, n: int) -> tuple[Any, Array, Any, Any]:
    """Return the parameters, ``n`` rows of zeros, the state, and noise for a training step."""
    xp, device, training = model.backend.xp, model.backend.device, model.training
    x = xp.zeros((n, model.n_inputs), dtype=getattr(xp, model.dtype), device=device)
    draws = Random(generator(model.seed, "noise", 0), model.backend, model.dtype)
    return (
        *(model.layout.unpack(training.params), x, training.state),
        model.network.noise((n, model.n_inputs), draws),
    )


def _measure_caches(model: Engine, n: int) -> int:
    """Return the bytes of the caches of a training step on ``n`` rows, each array counted once."""
    network = model.network  # not the model, because what is compiled outlives it

    def compute(params: Any, x: Array, state: Any, noise: Any) -> tuple[Array, ...]:
        _, caches = network.forward(params, x, Context(True, state, noise))
        leaves = [leaf for leaf in tree_leaves(caches) if hasattr(leaf, "dtype")]
        return tuple({id(array): array for array in leaves}.values())

    caches = model.get_compiled("caches", lambda: compute)(*_create_zeros(model, n))
    return sum(int(to_numpy(array).nbytes) for array in caches)

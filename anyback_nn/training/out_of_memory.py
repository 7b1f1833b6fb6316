"""One error when a device runs out of memory, for all libraries, with a batch size that fits.

The batch size is tried, not guessed: powers of two, from the largest that the free memory and the
memory of a sample allow, down to the first with which the network can compute a batch of zeros.

Each function raises `OutOfMemoryError` if an error of the backend's library means that, and does
nothing for other errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from anyback_nn.errors import OutOfMemoryError
from anyback_nn.inputs.batches import Source
from anyback_nn.random import ShapeOnly
from anyback_nn.training.engine import Engine
from anyback_nn.training.memory import (
    FEW,
    can_compute,
    count_bytes,
    estimate_sample_bytes,
    find_largest,
    free_frames,
)
from anyback_nn.tree import tree_leaves
from anyback_nn.utils.memory import format_bytes

__all__ = ["explain", "explain_building", "explain_evaluation", "explain_setup"]


@contextlib.contextmanager
def explain_evaluation(model: Engine, source: Source) -> Iterator[None]:
    """Explain errors of this context, in which outputs are computed; see `explain`."""
    try:
        yield
    except Exception as error:
        explain(error, model, source, training=False)
        raise


def explain(error: BaseException, model: Engine, source: Source, *, training: bool) -> None:
    """Explain an error in the computation of a batch, with a batch size that fits.

    The error was in a step of ``training``, or else in the computation of outputs.
    """
    batch_size = source.rows_a_batch
    if not batch_size or not _is_unexplained(error, model):
        return
    activity = "a step of training" if training else "computing outputs"
    bound, needs = batch_size - 1, ""
    if can_compute(model, FEW, training=training):
        sample, free = estimate_sample_bytes(model, training=training), model.backend.free_memory()
        needs = f", which takes about {format_bytes(batch_size * sample)}"
        if free is not None and free < batch_size * sample:
            needs += f"; {format_bytes(free)} are free"
            bound = min(bound, free // sample)
    if not training and can_compute(model, batch_size, training=False):
        advice = (
            "Such a batch fits, but the outputs of all batches together do not: pass the data in "
            "several parts"
        )
    else:
        fitting = find_largest(bound, lambda n: can_compute(model, n, training=training))
        advice = _advise(fitting, training=training)
    raise OutOfMemoryError(
        f"{_name_device(model)} ran out of memory in {activity} with batches of {batch_size:,} "
        f"rows{needs}. {advice}"
    ) from error


def explain_setup(error: BaseException, model: Engine, x: Any) -> None:
    """Explain an error outside of the steps of training, with the size of the inputs ``x``."""
    if not _is_unexplained(error, model):
        return
    size = ""
    if getattr(x, "shape", ()):
        size = f" ({format_bytes(count_bytes(model.dtype, x))} in {model.dtype})"
    raise OutOfMemoryError(
        f"{_name_device(model)} ran out of memory outside of the steps of training, so no batch "
        "size would fit: the parameters, the optimizer's state, a copy of both and the data"
        f"{size} must fit together. Pass a memory map (numpy.load with mmap_mode='r') or an "
        "iterable of batches, which are moved batch by batch, or use smaller layers"
    ) from error


def explain_building(error: BaseException, model: Engine, n_in: int) -> None:
    """Explain that not even the parameters fit, with their size for ``n_in`` features."""
    if not _is_unexplained(error, model):
        return
    size = ""
    with contextlib.suppress(Exception):  # a custom layer may compute with them
        params = model.network.init(n_in, ShapeOnly(None, model.backend, model.dtype))
        n_bytes = count_bytes(model.dtype, *tree_leaves(params))
        size = f", which take {format_bytes(n_bytes)} in {model.dtype}"
    raise OutOfMemoryError(
        f"{_name_device(model)} has not enough memory for the parameters{size}; they are drawn in "
        "float64, on the host. Use smaller layers"
    ) from error


def _is_unexplained(error: BaseException, model: Engine) -> bool:
    """Return whether memory ran out and no message says so yet; free the arrays of the error."""
    if isinstance(error, OutOfMemoryError) or not model.backend.is_out_of_memory(error):
        return False
    free_frames(error)
    return True


def _name_device(model: Engine) -> str:
    return f"backend {model.backend.spec!r} (device {model.backend.device_label})"


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

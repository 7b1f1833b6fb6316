"""Outputs, losses and metrics of data, computed batch by batch."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, NamedTuple

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.errors import AnybackError
from anyback_nn.inputs.batches import Source
from anyback_nn.training.engine import Engine
from anyback_nn.training.metrics import name_metric
from anyback_nn.training.out_of_memory import explain_evaluation
from anyback_nn.training.step import build_evaluate, build_predict

__all__ = ["Outputs", "compute_outputs", "evaluate", "evaluate_and_predict", "require_same"]


class Outputs(NamedTuple):
    """The outputs for some samples, with the targets and weights of the samples, if any."""

    outputs: Array
    y: Array | None
    weights: Array | None


def require_same(engine: Engine, source: Source, *known: Any) -> None:
    """Raise `AnybackError` unless all ranks have the same parameters, data and what else is known.

    What is known has a string without addresses.
    """
    if source.ranks.size == 1:
        return
    text = repr((source.n_batches, source.fingerprint(engine.dtype), known))
    arrays = (to_numpy(array).tobytes() for array in engine.training.params)
    checksum = hashlib.sha256(b"".join((text.encode(), *arrays))).hexdigest()
    first, *others = source.ranks.collect(int(checksum[:12], 16))
    if wrong := ", ".join(str(i) for i, x in enumerate(others, 1) if x != first):
        raise AnybackError(
            f"rank {wrong} has not the model, the data and the settings of rank 0: expected the "
            "same script or options, seed, files and versions on each"
        )


def compute_outputs(engine: Engine, source: Source, method: str | None = None) -> Outputs:
    """Compute the outputs for all batches of a source, with their targets and weights.

    A ``method`` of the loss is applied to them, and compiled with them, if one is given. Ranks
    compute those of their rows, and get all.
    """
    read = None if method is None else getattr(engine.loss, method)
    build = partial(build_predict, engine.network, engine.layout, read)
    with explain_evaluation(engine, source):
        predict = engine.get_compiled(("predict", method), build)
        parts = []
        for number, (x, y, weights) in enumerate(source.epoch(0)):
            with engine.lock:
                outputs = predict(engine.training.params, engine.training.state, x)
            part, size = (outputs, y, weights), source.size_of(number)
            parts.append(Outputs(*(source.ranks.gather(array, size) for array in part)))
        # Without a compiler the outputs may be a view of the inputs: even a single batch is copied.
        if len(parts) == 1 and engine.backend.compiles:
            return parts[0]
        xp = array_namespace(parts[0].outputs)
        if any(part.weights is not None for part in parts):
            # An iterable may have weights for some batches only.
            parts = [
                part
                if part.weights is not None
                else part._replace(weights=xp.ones_like(part.outputs[:, 0]))
                for part in parts
            ]
        return Outputs(*(None if part[0] is None else xp.concat(part) for part in zip(*parts)))


def evaluate(engine: Engine, source: Source) -> dict[str, float]:
    """Average the loss and the metrics over all samples of a source."""
    return evaluate_and_predict(engine, source)[0]


def evaluate_and_predict(engine: Engine, source: Source) -> tuple[dict[str, float], Array]:
    """Return the loss and the metrics of all samples, and their raw outputs, in one pass."""
    report = engine.get_compiled(
        "evaluate", lambda: build_evaluate(engine.loss, engine.sample_metrics)
    )
    names = [*engine.metric_names, *([] if engine.loss.classifies else ["r2"])]
    with explain_evaluation(engine, source):
        rows = compute_outputs(engine, source)
        means = dict(zip(names, to_numpy(report(*rows)).tolist()))
        outputs, y, weights = rows
        for metric in engine.epoch_metrics:
            means[name_metric(metric)] = metric(engine.loss, outputs, y, weights)
        return means, outputs

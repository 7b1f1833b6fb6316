"""Outputs, losses and metrics of data, computed batch by batch."""

from __future__ import annotations

from functools import partial

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.inputs.batches import Source
from anyback_nn.inputs.checks import Batch
from anyback_nn.training.engine import Engine
from anyback_nn.training.out_of_memory import explained
from anyback_nn.training.step import build_evaluate, build_predict

__all__ = ["evaluate", "evaluate_and_predict", "outputs_of"]


def outputs_of(engine: Engine, source: Source, method: str | None = None) -> Batch:
    """Compute the outputs for all batches of a source, with their targets and weights.

    Parameters
    ----------
    engine : Engine
    source : Source
    method : str, optional
        The method of the model's loss that reads them: it is compiled with the rest. Default: they
        are the raw outputs.
    """
    read = None if method is None else getattr(engine.loss, method)
    build = partial(build_predict, engine.network, engine.layout, read)
    with explained(engine, source):
        predict = engine.compiled(("predict", method), build)
        parts = []
        for x, y, weights in source.epoch(0):
            outputs = predict(engine.training.params, engine.training.state, x)
            parts.append(Batch(outputs, y, weights))
        # Elsewhere the outputs may be a view of what went in: even a single batch is copied.
        if len(parts) == 1 and engine.backend.compiles:
            return parts[0]
        xp = array_namespace(parts[0].x)
        if any(weights is not None for *_, weights in parts):
            # An iterable may give weights for some batches only.
            ones = [xp.ones_like(outputs[:, 0]) for outputs, *_ in parts]
            parts = [Batch(o, y, one if w is None else w) for (o, y, w), one in zip(parts, ones)]
        return Batch(*(None if part[0] is None else xp.concat(part) for part in zip(*parts)))


def evaluate(engine: Engine, source: Source) -> dict[str, float]:
    """Average the loss and the metrics over all samples of a source."""
    return evaluate_and_predict(engine, source)[0]


def evaluate_and_predict(engine: Engine, source: Source) -> tuple[dict[str, float], Array]:
    """Return the loss and the metrics of all samples, and their raw outputs, in one pass."""
    report = engine.compiled("evaluate", lambda: build_evaluate(engine.loss, engine.metrics))
    names = [*engine.metric_names, *([] if engine.loss.classifies else ["r2"])]
    with explained(engine, source):
        rows = outputs_of(engine, source)
        return dict(zip(names, to_numpy(report(*rows)).tolist())), rows.x

"""Assign memory to the results of a traced step: buffers reuse each other's.

Memory is reused as soon as no later operation reads it. The elements of a result are written over
those of an operand that is not read again, and the parts of a concatenation are computed where they
belong in the whole: what fits into the processor's cache is fast.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from anyback_nn.jit.graph import Buffer, Op, View
from anyback_nn.jit.rules import TraceRules

__all__ = ["as_new_inputs", "assign_buffers", "count_bytes", "skip_done"]


def assign_buffers(ops: list[Op], outputs: Iterable[Buffer], rules: TraceRules) -> None:
    """Assign memory to the buffer of every result.

    Parameters
    ----------
    ops : list of Op
    outputs : iterable of Buffer
        The buffers that are read after the last operation.
    rules : TraceRules
    """
    for position, op in enumerate(ops):
        for result in op.results:
            result.first = position
        for view in op.views:
            view.buffer.last = position
    for buffer in outputs:
        buffer.last = len(ops)
    parts = dict(_parts(ops, rules))
    free: dict[Any, list[Any]] = defaultdict(list)
    in_use: set[Buffer] = set()

    def take(buffer: Buffer) -> Any:
        kind = (buffer.shape, buffer.dtype)
        in_use.add(buffer)
        return free[kind].pop() if free[kind] else rules.empty(*kind)

    for position, op in enumerate(ops):
        for result in op.results:
            if result in parts:
                target = parts[result]
                if target.buffer.array is None:
                    target.buffer.array = take(target.buffer)
                result.array = target.array.reshape(result.shape)
            elif result.array is None and result.input_index is None:
                operand = _overwritable(op, result, position, in_use)
                if operand is None:
                    result.array = take(result)
                else:
                    result.array = operand.array
                    in_use.remove(operand)
                    in_use.add(result)
        for buffer in [buffer for buffer in in_use if buffer.last <= position]:
            in_use.remove(buffer)
            free[buffer.shape, buffer.dtype].append(buffer.array)


def count_bytes(ops: list[Op], rules: TraceRules) -> int:
    """Count the bytes of all results that are stored; memory that is reused counts once."""
    arrays = (result.array for op in ops for result in op.results)
    sizes = {
        rules.address(x)[0]: math.prod(x.shape) * x.dtype.itemsize for x in arrays if x is not None
    }
    return sum(sizes.values())


def as_new_inputs(
    ops: list[Op], results: list[Buffer], n_inputs: int
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Let results be in memory that is allocated at each call, as if they were further inputs.

    Yields
    ------
    shape : tuple of int
    dtype : dtype
    """
    concatenated = {op.result for op in ops if op.kind == "concat"}
    for buffer in dict.fromkeys(results):
        if buffer.array is None and buffer not in concatenated:
            buffer.input_index = n_inputs
            n_inputs += 1
            yield buffer.shape, buffer.dtype


def skip_done(op: Op, rules: TraceRules) -> list[Op]:
    """Return the copies that remain of an operation whose elements may be in place already."""
    if op.kind == "copy":
        target, source = op.arguments
        same = isinstance(source, View) and source.buffer.array is target.buffer.array
        return [] if same else [op]
    if op.kind != "concat":
        return [op]
    copies = []
    for part, target in _targets(op, rules):
        stored = isinstance(part, View) and part.buffer.array is not None
        if not stored or rules.address(part.array) != rules.address(target.array):
            copies.append(Op(rules.copy, (target, part), kind="copy"))
    return copies if len(copies) < len(op.arguments[0]) else [op]


def _overwritable(op: Op, result: Buffer, position: int, in_use: set[Buffer]) -> Buffer | None:
    """Find an operand whose memory the result can take."""
    views = list(op.views)
    for index in op.may_overwrite:
        operand = op.arguments[index]
        if (
            isinstance(operand, View)
            and not operand.path
            and operand.buffer in in_use
            and operand.buffer.last == position
            and (operand.buffer.shape, operand.buffer.dtype) == (result.shape, result.dtype)
            and all(view.buffer is not operand.buffer or not view.path for view in views)
        ):
            return operand.buffer
    return None


def _parts(ops: list[Op], rules: TraceRules) -> Iterator[tuple[Buffer, View]]:
    """Find results that are only concatenated, and their views of the whole."""
    seen: set[Buffer] = set()
    for position, op in enumerate(ops):
        if op.kind != "concat":
            continue
        for part, target in _targets(op, rules):
            if isinstance(part, View) and _is_whole(part, rules):
                buffer = part.buffer
                if buffer.first >= 0 and buffer.last == position and buffer not in seen:
                    seen.add(buffer)
                    yield buffer, target


def _targets(op: Op, rules: TraceRules) -> Iterator[tuple[Any, View]]:
    """Return each part of a concatenation with the view of the result that it goes to."""
    assert op.result is not None
    start = 0
    for part in op.arguments[0]:
        stop = start + _like(part, rules).shape[0]
        yield part, View(op.result, (partial(_rows, start, stop),))
        start = stop


def _rows(start: int, stop: int, array: Any) -> Any:
    return array[start:stop]


def _like(part: Any, rules: TraceRules) -> Any:
    """Return an array of the shape of a view."""
    if not isinstance(part, View):
        return part
    return part.of(rules.empty(part.buffer.shape, part.buffer.dtype))


def _is_whole(view: View, rules: TraceRules) -> bool:
    """Return whether a view is all of its buffer, in order, as a vector."""
    whole = rules.empty(view.buffer.shape, view.buffer.dtype)
    vector = view.of(whole)
    return bool(
        vector.ndim == 1
        and vector.shape[0] == view.buffer.size
        and rules.is_contiguous(vector)
        and rules.overlap(vector, whole)
    )

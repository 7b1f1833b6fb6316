"""Compute elementwise functions of large arrays tile by tile, all functions for each tile.

An optimiser goes over all parameters a dozen times. Where those do not fit into the processor's
cache, fetching them takes most of its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations, groupby
from typing import Any

from anyback_nn.jit.graph import Call
from anyback_nn.jit.rules import TraceRules

__all__ = ["tile"]


def tile(calls: list[Call], constants: Iterable[Any], rules: TraceRules) -> Iterator[Call]:
    """Divide runs of elementwise calls on large arrays into calls on tiles of them.

    Parameters
    ----------
    calls : list of Call
    constants : iterable of array
        Arrays that hold one number everywhere: one tile of them is enough.
    rules : TraceRules
    """
    constant_ids = {id(array) for array in constants}
    for size, group in groupby(calls, key=lambda call: _size(call, rules)):
        run = list(group)
        repeats = len(run) > 1 or any(id(x) in constant_ids for x in _arrays(run[0], rules))
        if size is None or not repeats or not _disjoint(run, rules):
            yield from run
            continue
        itemsize = max(x.dtype.itemsize for call in run for x in _arrays(call, rules))
        length = rules.tile_bytes // itemsize
        for start in range(0, size, length):
            stop = min(start + length, size)

            def part(x: Any, start: int = start, stop: int = stop) -> Any:
                if not rules.is_large(x):
                    return x
                flat = x.reshape(-1)
                return flat[: stop - start] if id(x) in constant_ids else flat[start:stop]

            for function, arguments, options, op in run:
                parts = {name: part(x) for name, x in options.items()}
                yield Call(function, tuple(map(part, arguments)), parts, op)


def _arrays(call: Call, rules: TraceRules) -> list[Any]:
    """Return the arrays with axes of a call."""
    return [x for x in (*call.arguments, *call.options.values()) if rules.is_large(x)]


def _size(call: Call, rules: TraceRules) -> int | None:
    """Return the size of the arrays of an elementwise call; None if it cannot be tiled."""
    if call.op.kind not in ("elementwise", "copy") or not isinstance(call.arguments, tuple):
        return None
    arrays = _arrays(call, rules)
    if len({tuple(x.shape) for x in arrays}) != 1 or not all(map(rules.is_contiguous, arrays)):
        return None
    size = math.prod(arrays[0].shape)
    return size if size * max(x.dtype.itemsize for x in arrays) > 2 * rules.tile_bytes else None


def _disjoint(calls: list[Call], rules: TraceRules) -> bool:
    """Return whether any two of the arrays are the same memory or do not overlap."""
    arrays = {rules.address(x)[0]: x for call in calls for x in _arrays(call, rules)}
    return not any(rules.overlap(a, b) for a, b in combinations(arrays.values(), 2))

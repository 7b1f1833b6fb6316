"""A recorded step: where everything lies in memory, and how the step is repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations, groupby
from typing import Any

import numpy as np

from anyback_nn.network.parameters import leaves, map_leaves
from anyback_nn.recorded.stand_ins import Number, Stand
from anyback_nn.recorded.tape import Memory, Operation, Tape, Value

__all__ = ["Plan"]

Call = tuple[Callable[..., Any], Any]
"""A function and its arguments: a list if some of them are put in at each call."""

COPIED = 2**13
"""Inputs of up to so many bytes are copied, which is as quick as to put them in their places."""


class Plan:
    """A recorded step: where its arguments go, what is called, where its results are.

    Parameters
    ----------
    step : callable
    arguments : tuple
    donate : tuple of int
        The positions of arguments whose memory is worked in.
    """

    def __init__(
        self, step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...]
    ) -> None:
        tape, inputs, self.derived, output = _followed(step, arguments, donate)
        found = [one.value.memory for one in leaves(output) if isinstance(one, Stand)]
        for one in inputs:
            # What is handed on must not be what the caller goes on to write to.
            if isinstance(one, Memory) and (_bytes(one) <= COPIED or one in found):
                one.array, one.leaf = np.empty(one.shape, one.dtype), None
        place(tape.operations, found)
        # Where each input goes: into memory of the plan's, or among the arguments of calls.
        self.numbers = [(i, one) for i, one in enumerate(inputs) if isinstance(one, Number)]
        self.copied = [
            (i, one.array)
            for i, one in enumerate(inputs)
            if isinstance(one, Memory) and one.leaf is None
        ]
        self.changing: list[tuple[list[Any], int, int, Value]] = []
        self.calls: list[Call] = []
        for operation in tape.operations:
            self._prepare(operation)
        self.calls = list(in_blocks(self.calls, tape.constants.values()))
        # What consists of memory that was handed in is the same at every call.
        lent = {id(one) for position in donate for one in leaves(arguments[position])}
        self.output = [_Result(one, lent) for one in output]
        self.results = [one.tree for one in self.output]
        self.copied_results = [
            (position, one) for position, one in enumerate(self.output) if not one.fixed
        ]
        # The memory that it works in, as it was handed in and as it is given back.
        self.lent = [arguments[position] for position in donate]
        self.given_back = [one.tree if one.fixed else None for one in self.output[: len(donate)]]
        self.first = tuple(
            one.tree if one.fixed else map_leaves(_followed_value, tree)
            for one, tree in zip(self.output, output)
        )

    def _prepare(self, operation: Operation) -> None:
        """Fill in the arguments that are the same at every call, and remember the others."""
        if _does_nothing(operation):
            return
        arguments: list[Any] = []
        for position, one in enumerate(operation.arguments):
            if isinstance(one, Value) and one.memory.leaf is not None:
                self.changing.append((arguments, position, one.memory.leaf, one))
                one = None
            elif isinstance(one, Value):
                one = one.array
            elif isinstance(one, tuple):
                one = tuple(entry.array if isinstance(entry, Value) else entry for entry in one)
            arguments.append(one)
        changes = bool(self.changing) and self.changing[-1][0] is arguments
        self.calls.append((operation.function, arguments if changes else tuple(arguments)))

    def fits(self, donated: list[Any]) -> bool:
        """Tell whether these arguments are the memory that it works in."""
        return all(
            one is known or one is back or _same(one, known)
            for one, known, back in zip(donated, self.lent, self.given_back)
        )

    def first_results(self) -> tuple[Any, ...]:
        """Give what the step returned when it was followed: once, right after that."""
        first, self.first = self.first, ()
        return first

    def run(self, inputs: list[Any]) -> tuple[Any, ...]:
        """Repeat the step with other arguments."""
        for leaf, number in self.numbers:
            number.set(inputs[leaf])
        for number in self.derived:
            number.update()
        for leaf, array in self.copied:
            array[...] = inputs[leaf]
        for arguments, position, leaf, value in self.changing:
            arguments[position] = value.of(inputs[leaf])
        for function, arguments in self.calls:
            function(*arguments)
        # Not to keep the last batch alive.
        for arguments, position, *_ in self.changing:
            arguments[position] = None
        results = self.results.copy()
        for position, one in self.copied_results:
            results[position] = one.copy()
        return tuple(results)


class _Result:
    """One of the things that a step returns.

    Parameters
    ----------
    tree : nested tuples and dicts of stand-ins and constants
    lent : set of int
        The arrays that were handed in to be worked in.
    """

    def __init__(self, tree: Any, lent: set[int]) -> None:
        self.tree = map_leaves(_memory_of, tree)
        stands = [one for one in leaves(tree) if isinstance(one, Stand)]
        self.fixed = all(id(one.value.array) in lent for one in stands)
        self.flat = isinstance(self.tree, tuple) and all(
            isinstance(one, np.ndarray) for one in self.tree
        )

    def copy(self) -> Any:
        """Give it in memory of its own: the step's own is filled again at the next call."""
        if self.flat:
            return tuple([one.copy() for one in self.tree])
        return map_leaves(_copied, self.tree)


def _followed(
    step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...]
) -> tuple[Tape, list[Memory | Number], list[Number], tuple[Any, ...]]:
    """Call a step with stand-ins.

    Returns
    -------
    tape : Tape
        What they noted down.
    inputs : list of Memory or Number
    derived : list of Number
        What the step computes of its numbers.
    output : tuple
        What it returns.
    """
    tape = Tape()
    derived: list[Number] = []
    lent: list[Any] = []
    inputs: list[Memory | Number] = []

    def work_in(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        lent.append(leaf)
        return Stand(tape, leaf, Value(Memory(leaf.shape, leaf.dtype, leaf)))

    def stand_for(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, float):
            inputs.append(Number(leaf, derived))
            return inputs[-1]
        memory = Memory(leaf.shape, leaf.dtype, leaf=len(inputs))
        inputs.append(memory)
        return Stand(tape, leaf, Value(memory))

    stands = [
        map_leaves(work_in if position in donate else stand_for, one)
        for position, one in enumerate(arguments)
    ]
    before = [array.copy() for array in lent]
    try:
        output = step(*stands)
    except Exception:
        for array, values in zip(lent, before):
            array[...] = values
        raise
    return tape, inputs, derived, output


# Places ------------------------------------------------------------------------------------------


def place(operations: list[Operation], kept: Iterable[Memory]) -> None:
    """Find a place for the memory of every result.

    Memory is used again as soon as nothing that comes later reads it. The entries of a result are
    written over those of an operand that is not read again, and what is put together into one
    vector is computed there in the first place: what fits in the processor's cache is fast.

    Parameters
    ----------
    operations : list of Operation
    kept : iterable of Memory
        What must still be there in the end.
    """
    for position, operation in enumerate(operations):
        if operation.result is not None:
            operation.result.made = position
        for value in operation.values:
            value.memory.used = position
    for memory in kept:
        memory.used = len(operations)
    parts = dict(_parts(operations))
    free: dict[Any, list[Any]] = defaultdict(list)
    placed: set[Memory] = set()

    def find(memory: Memory) -> Any:
        kind = (memory.shape, memory.dtype)
        placed.add(memory)
        return free[kind].pop() if free[kind] else np.empty(*kind)

    for position, operation in enumerate(operations):
        result = operation.result
        if result in parts:
            whole, start = parts[result]
            if whole.array is None:
                whole.array = find(whole)
            part = whole.array[start : start + result.size]
            result.array = part.reshape(result.shape)
        elif result is not None and result.array is None:
            victim = _victim(operation, position, placed)
            if victim is None:
                result.array = find(result)
            else:
                result.array = victim.array
                placed.remove(victim)
                placed.add(result)
        for memory in [one for one in placed if one.used <= position]:
            placed.remove(memory)
            free[memory.shape, memory.dtype].append(memory.array)


def _victim(operation: Operation, position: int, placed: set[Memory]) -> Memory | None:
    """Find an operand that the result can be written over."""
    result, values = operation.result, list(operation.values)
    assert result is not None
    for index in operation.replaces:
        one = operation.arguments[index]
        if (
            isinstance(one, Value)
            and not one.views
            and one.memory in placed
            and one.memory.used == position
            and (one.memory.shape, one.memory.dtype) == (result.shape, result.dtype)
            and all(other.memory is not one.memory or not other.views for other in values)
        ):
            return one.memory
    return None


def _parts(operations: list[Operation]) -> Iterable[tuple[Memory, tuple[Memory, int]]]:
    """Find results that are only put together into a vector: the vector, and where they begin."""
    seen: set[Memory] = set()
    for position, operation in enumerate(operations):
        if operation.function is not np.concatenate or operation.arguments[1] != 0:
            continue
        start = 0
        for value in operation.arguments[0]:
            size = value.memory.size if isinstance(value, Value) else value.size
            if isinstance(value, Value) and _is_whole(value):
                memory = value.memory
                if memory.made >= 0 and memory.used == position and memory not in seen:
                    seen.add(memory)
                    assert operation.result is not None
                    yield memory, (operation.result, start)
            start += size


def _is_whole(value: Value) -> bool:
    """Tell whether a value is all of its memory, in order, as a vector."""
    trial = np.empty(value.memory.shape, value.memory.dtype)
    seen = value.of(trial)
    return bool(
        seen.ndim == 1
        and seen.size == trial.size
        and seen.flags.c_contiguous
        and np.may_share_memory(seen, trial)
    )


BLOCK = 2**18
"""How many bytes of an array go through several functions while they are in the cache."""


def in_blocks(calls: list[Call], constants: Iterable[Any]) -> Iterator[Call]:
    """Take large arrays through functions of entries block by block, all functions for each block.

    An optimiser goes over all parameters a dozen times. Where those do not fit into the cache,
    that takes most of its time.

    Parameters
    ----------
    calls : list of (function, arguments)
    constants : iterable of numpy.ndarray
        Arrays with the same number everywhere: one block of them serves for all.
    """
    same = {id(one) for one in constants}
    for size, group in groupby(calls, key=_size):
        run = list(group)
        repeats = len(run) > 1 or any(id(one) in same for one in run[0][1])
        if size is None or not repeats or not _apart(run):
            yield from run
            continue
        length = BLOCK // max(one.itemsize for _, arguments in run for one in _large(arguments))
        flat = [
            (function, [one.reshape(-1) if _is_large(one) else one for one in arguments])
            for function, arguments in run
        ]
        shared = [[id(one) in same for one in arguments] for _, arguments in run]
        for start in range(0, size, length):
            stop = min(start + length, size)
            for (function, arguments), constant in zip(flat, shared):
                yield (
                    function,
                    tuple(
                        (one[: stop - start] if is_constant else one[start:stop])
                        if _is_large(one)
                        else one
                        for one, is_constant in zip(arguments, constant)
                    ),
                )


def _is_large(one: Any) -> bool:
    """Tell whether an argument is an array, and not a number or a word."""
    return isinstance(one, np.ndarray) and one.ndim > 0


def _large(arguments: Iterable[Any]) -> list[Any]:
    return [one for one in arguments if _is_large(one)]


def _size(call: Call) -> int | None:
    """Tell the size of the arrays of a function of entries; None if it is small or another."""
    function, arguments = call
    of_entries = (isinstance(function, np.ufunc) and function.signature is None) or (
        function is np.copyto or isinstance(function, partial)
    )
    if not of_entries or not isinstance(arguments, tuple):
        return None
    large = _large(arguments)
    if len({one.shape for one in large}) != 1 or not all(a.flags.c_contiguous for a in large):
        return None
    return int(large[0].size) if max(one.nbytes for one in large) > 2 * BLOCK else None


def _apart(calls: list[Call]) -> bool:
    """Tell whether the arrays are the same memory or do not overlap."""
    arrays = {one.__array_interface__["data"][0]: one for _, a in calls for one in _large(a)}
    return not any(np.may_share_memory(a, b) for a, b in combinations(arrays.values(), 2))


def _does_nothing(operation: Operation) -> bool:
    """Tell whether everything is in its place already."""
    if operation.function is np.copyto and len(operation.arguments) == 2:
        target, source = operation.arguments
        return isinstance(source, Value) and source.memory.array is target.memory.array
    if operation.function is np.concatenate and operation.arguments[1] == 0:
        values, _, target = operation.arguments
        start = 0
        for value in values:
            if not isinstance(value, Value) or value.memory.array is None:
                return False
            array = value.array
            stop = start + array.shape[0]
            if _address(array) != _address(target.array[start:stop]) or array.ndim != 1:
                return False
            start = stop
        return True
    return False


def _address(array: Any) -> tuple[int, tuple[int, ...]]:
    """Tell where an array lies."""
    return array.__array_interface__["data"][0], array.strides


def _bytes(memory: Memory) -> int:
    return memory.size * int(memory.dtype.itemsize)


def _followed_value(leaf: Any) -> Any:
    """Give the values of the step that was followed."""
    return leaf.array.copy() if isinstance(leaf, Stand) else leaf


def _memory_of(leaf: Any) -> Any:
    """Give what holds the values when the step is repeated."""
    return leaf.value.array if isinstance(leaf, Stand) else leaf


def _copied(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _same(tree: Any, other: Any) -> bool:
    """Tell whether two trees hold the very same arrays."""
    found, known = list(leaves(tree)), list(leaves(other))
    return len(found) == len(known) and all(one is that for one, that in zip(found, known))

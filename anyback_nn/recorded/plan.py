"""A recorded step: where everything lies in memory, and how the step is repeated."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations, groupby
from typing import Any, NamedTuple

from anyback_nn.network.parameters import leaves, map_leaves
from anyback_nn.recorded.library import Library
from anyback_nn.recorded.stand_ins import Number, Stand
from anyback_nn.recorded.tape import Memory, NotRecordable, Operation, Tape, Value

__all__ = ["Plan"]


class Call(NamedTuple):
    """A function and its arguments: a list if some of them are put in at each call."""

    function: Callable[..., Any]
    arguments: Any
    options: Mapping[str, Any]
    operation: Operation


COPIED = 2**13
"""Inputs of up to so many bytes are copied, which is as quick as to put them in their places."""

MAY_DIFFER = 0.01
"""The share of the entries of one result that may differ when a recording is checked."""


class Plan:
    """A recorded step: where its arguments go, what is called, where its results are.

    Parameters
    ----------
    step : callable
    arguments : tuple
    donate : tuple of int
        The positions of arguments whose memory is worked in.
    library : Library
        That of the arrays.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        arguments: tuple[Any, ...],
        donate: tuple[int, ...],
        library: Library,
    ) -> None:
        self.library = library
        donated = leaves(tuple(arguments[position] for position in donate))
        lent = [one for one in donated if isinstance(one, library.array)]
        before = [library.copied(array) for array in lent]
        try:
            self._record(step, arguments, donate)
            if library.checked:
                others = (one for i, one in enumerate(arguments) if i not in donate)
                self._check(lent, before, [one for one in leaves(tuple(others)) if one is not None])
        except Exception:
            for array, values in zip(lent, before):
                library.copy(array, values)
            raise

    def _record(
        self, step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...]
    ) -> None:
        """Follow the step, and get everything ready for its repetition."""
        library = self.library
        tape, inputs, self.derived, output = _followed(step, arguments, donate, library)
        found = [one.value.memory for one in leaves(output) if isinstance(one, Stand)]
        copied = 0 if library.launches else COPIED
        for one in inputs:
            # What is handed on must not be what the caller goes on to write to.
            if isinstance(one, Memory) and (_bytes(one) <= copied or one in found):
                one.array, one.leaf = library.empty(one.shape, one.dtype), None
        operations = library.simplified(tape.operations, found)
        new = _in_new_memory(operations, found, len(inputs)) if library.launches else ()
        self.new_results = list(new)
        place(operations, found, library)
        # Where each input goes: into memory of the plan's, or among the arguments of calls.
        self.numbers = [(i, one) for i, one in enumerate(inputs) if isinstance(one, Number)]
        self.copied = [
            (i, one.array)
            for i, one in enumerate(inputs)
            if isinstance(one, Memory) and one.leaf is None
        ]
        self.changing: list[tuple[Any, Any, int, Value]] = []
        self.by_value: list[tuple[Any, Any, Number]] = []
        needed = (one for operation in operations for one in _needed(operation, library))
        calls = [self._prepared(one) for one in needed]
        calls = list(in_blocks(calls, tape.constants.values(), library))
        self.calls = [call[:3] for call in calls]
        # What each call stems from, for those who look into a plan.
        self.operations = [call.operation for call in calls]
        # What consists of memory that was handed in is the same at every call.
        lent = {id(one) for position in donate for one in leaves(arguments[position])}
        self.output = [_Result(one, lent, library) for one in output]
        self.results = [one.tree for one in self.output]
        self.copied_results = [
            (position, one) for position, one in enumerate(self.output) if not one.fixed
        ]
        # The memory that it works in, as it was handed in and as it is given back.
        self.lent = [arguments[position] for position in donate]
        self.given_back = [one.tree if one.fixed else None for one in self.output[: len(donate)]]
        self.first = tuple(
            one.tree if one.fixed else map_leaves(self._followed_value, tree)
            for one, tree in zip(self.output, output)
        )

    def _prepared(self, operation: Operation) -> Call:
        """Fill in the arguments that are the same at every call, and remember the others."""
        arguments, options = list(operation.arguments), dict(operation.options)
        changes = self._put_in(arguments, enumerate(operation.arguments))
        changes |= self._put_in(options, operation.options.items())
        filled = arguments if changes else tuple(arguments)
        return Call(operation.function, filled, options, operation)

    def _put_in(self, places: Any, arguments: Iterable[tuple[Any, Any]]) -> bool:
        """Put arguments in their places, and tell whether some of them are others at each call."""
        n_others = len(self.changing) + len(self.by_value)
        for place, one in arguments:
            if isinstance(one, Number):
                self.by_value.append((places, place, one))
            elif isinstance(one, Value) and one.memory.leaf is not None:
                self.changing.append((places, place, one.memory.leaf, one))
                places[place] = None
            elif isinstance(one, Value):
                places[place] = one.array
            elif isinstance(one, tuple):
                entries = list(one)
                places[place] = entries if self._put_in(entries, enumerate(one)) else tuple(entries)
        return len(self.changing) + len(self.by_value) > n_others

    def _check(self, lent: list[Any], before: list[Any], given: list[Any]) -> None:
        """Repeat the step that was followed: the same must come out, but for rounding."""
        library = self.library
        after = [library.copied(array) for array in lent]
        for array, values in zip(lent, before):
            library.copy(array, values)
        results = zip(leaves(self.run(given)), leaves(self.first))
        compared = [(*pair, None) for pair in results if isinstance(pair[0], library.array)]
        compared += zip(lent, after, before)
        # Where a gradient is mostly rounding, as in front of batch normalisation, an optimiser may
        # change a few parameters as much as others; what it keeps of gradients then shows nothing.
        *others, most = sorted([0.0, *(library.differing(*one) for one in compared)])
        if any(others) or most > MAY_DIFFER:
            raise NotRecordable("results that differ when it is repeated")
        for array, values in zip(lent, after):
            library.copy(array, values)

    def _followed_value(self, leaf: Any) -> Any:
        """Give the values of the step that was followed."""
        return self.library.copied(leaf.array) if isinstance(leaf, Stand) else leaf

    @property
    def n_calls(self) -> int:
        """How often a repetition calls the library: on a GPU each call launches a kernel."""
        results = (leaf for _, one in self.copied_results for leaf in leaves(one.tree))
        copied = sum(isinstance(leaf, self.library.array) for leaf in results)
        return len(self.calls) + len(self.copied) + copied

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
        copy = self.library.copy
        for leaf, number in self.numbers:
            number.set(inputs[leaf])
        for number in self.derived:
            number.update()
        for leaf, array in self.copied:
            copy(array, inputs[leaf])
        if self.new_results:
            inputs = [*inputs, *(self.library.empty(*one) for one in self.new_results)]
        for arguments, position, leaf, value in self.changing:
            arguments[position] = value.of(inputs[leaf])
        for arguments, position, number in self.by_value:
            arguments[position] = number.number
        for function, arguments, options in self.calls:
            if options:
                function(*arguments, **options)
            else:  # a little quicker
                function(*arguments)
        # Not to keep the last batch alive.
        for arguments, position, *_ in self.changing:
            arguments[position] = None
        results = self.results.copy()
        for position, one in self.copied_results:
            results[position] = one.copy(inputs)
        return tuple(results)


class _Result:
    """One of the things that a step returns.

    Parameters
    ----------
    tree : nested tuples and dicts of stand-ins and constants
    lent : set of int
        The arrays that were handed in to be worked in.
    library : Library
    """

    def __init__(self, tree: Any, lent: set[int], library: Library) -> None:
        self.tree = map_leaves(_memory_of, tree)
        stands = [one for one in leaves(tree) if isinstance(one, Stand)]
        self.fixed = all(
            one.value.memory.leaf is None and id(one.value.array) in lent for one in stands
        )
        self.flat = isinstance(self.tree, tuple) and all(
            isinstance(one, library.array) for one in self.tree
        )
        self.library = library

    def copy(self, inputs: list[Any]) -> Any:
        """Give it in memory of its own: the step's own is filled again at the next call."""
        copied, array = self.library.copied, self.library.array
        if self.flat:
            return tuple([copied(one) for one in self.tree])

        def given(one: Any) -> Any:
            if isinstance(one, Value):
                assert one.memory.leaf is not None
                return one.of(inputs[one.memory.leaf])
            return copied(one) if isinstance(one, array) else one

        return map_leaves(given, self.tree)


def _followed(
    step: Callable[..., Any], arguments: tuple[Any, ...], donate: tuple[int, ...], library: Library
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
    tape = Tape(library)
    derived: list[Number] = []
    inputs: list[Memory | Number] = []

    def stand(leaf: Any, memory: Memory) -> Stand:
        return library.stand(tape, leaf, Value(memory))

    def work_in(leaf: Any) -> Any:
        if not isinstance(leaf, library.array):
            return leaf
        return stand(leaf, Memory(tuple(leaf.shape), leaf.dtype, leaf))

    def stand_for(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, float):
            inputs.append(Number(leaf, derived))
            return inputs[-1]
        memory = Memory(tuple(leaf.shape), leaf.dtype, leaf=len(inputs))
        inputs.append(memory)
        return stand(leaf, memory)

    stands = [
        map_leaves(work_in if position in donate else stand_for, one)
        for position, one in enumerate(arguments)
    ]
    return tape, inputs, derived, step(*stands)


# Places ------------------------------------------------------------------------------------------


def place(operations: list[Operation], kept: Iterable[Memory], library: Library) -> None:
    """Find a place for the memory of every result.

    Memory is used again as soon as nothing that comes later reads it. The entries of a result are
    written over those of an operand that is not read again, and what is put together into one
    vector is computed there in the first place: what fits in the processor's cache is fast.

    Parameters
    ----------
    operations : list of Operation
    kept : iterable of Memory
        What must still be there in the end.
    library : Library
    """
    for position, operation in enumerate(operations):
        for result in operation.results:
            result.made = position
        for value in operation.values:
            value.memory.used = position
    for memory in kept:
        memory.used = len(operations)
    parts = dict(_parts(operations, library))
    free: dict[Any, list[Any]] = defaultdict(list)
    placed: set[Memory] = set()

    def find(memory: Memory) -> Any:
        kind = (memory.shape, memory.dtype)
        placed.add(memory)
        return free[kind].pop() if free[kind] else library.empty(*kind)

    for position, operation in enumerate(operations):
        for result in operation.results:
            if result in parts:
                target = parts[result]
                if target.memory.array is None:
                    target.memory.array = find(target.memory)
                result.array = target.array.reshape(result.shape)
            elif result.array is None and result.leaf is None:
                victim = _victim(operation, result, position, placed)
                if victim is None:
                    result.array = find(result)
                else:
                    result.array = victim.array
                    placed.remove(victim)
                    placed.add(result)
        for memory in [one for one in placed if one.used <= position]:
            placed.remove(memory)
            free[memory.shape, memory.dtype].append(memory.array)


def _in_new_memory(
    operations: list[Operation], found: list[Memory], n_inputs: int
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Let results lie in memory that is made at each call, as if it were an input.

    Yields
    ------
    shape : tuple of int
    dtype : dtype
    """
    joined = {one.result for one in operations if one.kind == "join"}
    for memory in dict.fromkeys(found):
        if memory.array is None and memory not in joined:
            memory.leaf = n_inputs
            n_inputs += 1
            yield memory.shape, memory.dtype


def _victim(
    operation: Operation, result: Memory, position: int, placed: set[Memory]
) -> Memory | None:
    """Find an operand that a result can be written over."""
    values = list(operation.values)
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


def _parts(operations: list[Operation], library: Library) -> Iterable[tuple[Memory, Value]]:
    """Find results that are only put together into a vector, and where in it they belong."""
    seen: set[Memory] = set()
    for position, operation in enumerate(operations):
        if operation.kind != "join":
            continue
        for value, target in _targets(operation, library):
            if isinstance(value, Value) and _is_whole(value, library):
                memory = value.memory
                if memory.made >= 0 and memory.used == position and memory not in seen:
                    seen.add(memory)
                    yield memory, target


def _targets(operation: Operation, library: Library) -> Iterator[tuple[Any, Value]]:
    """Give each part of what is put together, and where it goes."""
    assert operation.result is not None
    start = 0
    for part in operation.arguments[0]:
        stop = start + _seen(part, library).shape[0]
        yield part, Value(operation.result, (partial(_rows, start, stop),))
        start = stop


def _rows(start: int, stop: int, array: Any) -> Any:
    return array[start:stop]


def _seen(part: Any, library: Library) -> Any:
    """Give an array that looks like a value."""
    if not isinstance(part, Value):
        return part
    return part.of(library.empty(part.memory.shape, part.memory.dtype))


def _is_whole(value: Value, library: Library) -> bool:
    """Tell whether a value is all of its memory, in order, as a vector."""
    trial = library.empty(value.memory.shape, value.memory.dtype)
    seen = value.of(trial)
    return bool(
        seen.ndim == 1
        and seen.shape[0] == value.memory.size
        and library.is_contiguous(seen)
        and library.overlap(seen, trial)
    )


def in_blocks(calls: list[Call], constants: Iterable[Any], library: Library) -> Iterator[Call]:
    """Take large arrays through functions of entries block by block, all functions for each block.

    An optimiser goes over all parameters a dozen times. Where those do not fit into the cache,
    that takes most of its time.

    Parameters
    ----------
    calls : list of Call
    constants : iterable of array
        Arrays with the same number everywhere: one block of them serves for all.
    library : Library
    """
    same = {id(one) for one in constants}
    for size, group in groupby(calls, key=lambda call: _size(call, library)):
        run = list(group)
        repeats = len(run) > 1 or any(id(one) in same for one in _large(run[0], library))
        if size is None or not repeats or not _apart(run, library):
            yield from run
            continue
        length = library.block // max(
            one.dtype.itemsize for call in run for one in _large(call, library)
        )
        for start in range(0, size, length):
            stop = min(start + length, size)

            def part(one: Any, start: int = start, stop: int = stop) -> Any:
                if not library.is_large(one):
                    return one
                flat = one.reshape(-1)
                return flat[: stop - start] if id(one) in same else flat[start:stop]

            for function, arguments, options, operation in run:
                cut = {name: part(one) for name, one in options.items()}
                yield Call(function, tuple(map(part, arguments)), cut, operation)


def _large(call: Call, library: Library) -> list[Any]:
    """List the arrays of a call."""
    return [one for one in (*call.arguments, *call.options.values()) if library.is_large(one)]


def _size(call: Call, library: Library) -> int | None:
    """Tell the size of the arrays of a function of entries; None if it is small or another."""
    if call.operation.kind not in ("entries", "copy") or not isinstance(call.arguments, tuple):
        return None
    large = _large(call, library)
    if len({tuple(one.shape) for one in large}) != 1 or not all(map(library.is_contiguous, large)):
        return None
    size = math.prod(large[0].shape)
    return size if size * max(one.dtype.itemsize for one in large) > 2 * library.block else None


def _apart(calls: list[Call], library: Library) -> bool:
    """Tell whether the arrays are the same memory or do not overlap."""
    arrays = {library.address(one)[0]: one for call in calls for one in _large(call, library)}
    return not any(library.overlap(a, b) for a, b in combinations(arrays.values(), 2))


def _needed(operation: Operation, library: Library) -> list[Operation]:
    """List what is left to do of an operation where some things are in their places already."""
    if operation.kind == "copy":
        target, source = operation.arguments
        same = isinstance(source, Value) and source.memory.array is target.memory.array
        return [] if same else [operation]
    if operation.kind != "join":
        return [operation]
    copies = []
    for part, target in _targets(operation, library):
        placed = isinstance(part, Value) and part.memory.array is not None
        if not placed or library.address(part.array) != library.address(target.array):
            copies.append(Operation(library.copy, (target, part), kind="copy"))
    return copies if len(copies) < len(operation.arguments[0]) else [operation]


def _bytes(memory: Memory) -> int:
    return memory.size * int(memory.dtype.itemsize)


def _memory_of(leaf: Any) -> Any:
    """Give what holds the values when the step is repeated: new memory is not there yet."""
    if not isinstance(leaf, Stand):
        return leaf
    return leaf.value.array if leaf.value.memory.leaf is None else leaf.value


def _same(tree: Any, other: Any) -> bool:
    """Tell whether two trees hold the very same arrays."""
    found, known = list(leaves(tree)), list(leaves(other))
    return len(found) == len(known) and all(one is that for one, that in zip(found, known))

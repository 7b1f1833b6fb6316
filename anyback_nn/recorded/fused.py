"""Elementwise functions that follow one another, put together into one kernel of a GPU.

In a small network the launch of a kernel takes longer than what it computes. One kernel for all of
an optimiser's functions reads each entry once and writes what is used later; all else stays in the
processor's registers.

Each function is a formula in C. They are computed in the order in which they were recorded, and
each result is of the dtype that it has in memory, so it is rounded as if it had been there.
Untested on a GPU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, ClassVar, NamedTuple

from anyback_nn.recorded.library import Library
from anyback_nn.recorded.tape import Memory, Operation, Value

__all__ = ["Formula", "Kernels", "fused"]

TYPES = {
    "bool": "bool",
    "int32": "int",
    "int64": "long long",
    "float32": "float",
    "float64": "double",
}
"""The dtypes that kernels compute in, and their names in C."""


class Formula(NamedTuple):
    """What a function does with each entry.

    Attributes
    ----------
    text : str
        An expression in C, with ``{0}``, ``{1}`` and so on for the operands, and ``{type}`` for the
        type of the result.
    kinds : str
        The kinds of dtypes for which it is right, as NumPy abbreviates them.
    gives : str
        The result's dtype: ``"same"`` as the operands', ``"bool"`` or ``"any"``.
    alike : slice
        The operands that must be of one dtype.
    """

    text: str
    kinds: str = "f"
    gives: str = "same"
    alike: slice = slice(None)

    def dtype(self, operation: Operation) -> Any:
        """Give the dtype of its operands; None if they are of several, or are numbers."""
        found = {_dtype(one) for one in operation.arguments[self.alike]} - {None}
        return found.pop() if len(found) == 1 else None

    def fits(self, operation: Operation) -> bool:
        """Tell whether it is right for these operands."""
        dtype, result = self.dtype(operation), operation.options["out"].memory.dtype
        dtypes = [one for one in map(_dtype, operation.arguments) if one is not None]
        gives = {"same": dtype, "bool": "bool", "any": result}[self.gives]
        known = all(one.name in TYPES for one in (*dtypes, result))
        return known and dtype is not None and dtype.kind in self.kinds and result == gives


class Kernels(Library):
    """A library of a GPU, whose functions of entries are put together.

    Attributes
    ----------
    formulas : dict of callable to Formula
        The functions that can be part of a kernel. They are told by the name ``out`` where to
        write.
    """

    formulas: ClassVar[dict[Callable[..., Any], Formula]]
    # A kernel goes over all of an array, block by block or not.
    block = 2**62
    launches = True

    @abstractmethod
    def kernel(self, inputs: str, outputs: str, statements: str) -> Callable[..., Any]:
        """Make a kernel.

        Parameters
        ----------
        inputs, outputs : str
            Its parameters, such as ``"float32 a0, bool a1"``.
        statements : str
            What it does for each entry, in C.
        """

    def simplified(self, operations: list[Operation], kept: Iterable[Memory]) -> list[Operation]:
        return list(fused(operations, kept, self))


def fused(
    operations: list[Operation], kept: Iterable[Memory], library: Kernels
) -> Iterator[Operation]:
    """Put functions of entries together; ``kept`` is what must still be there in the end."""
    runs = _runs(operations, library)
    last = {one.memory: i for i, run in enumerate(runs) for op in run for one in op.values}
    last |= dict.fromkeys(kept, len(runs))
    for i, run in enumerate(runs):
        if not _is_one(run, library):
            yield from run
            continue
        written = dict.fromkeys(map(_target, run))
        # What was handed in to be worked in has its place already.
        stored = [one for one in written if one.array is not None or last[one] > i]
        if stored:
            yield _kernel(run, stored, library)


def _runs(operations: list[Operation], library: Kernels) -> list[list[Operation]]:
    """Divide operations into those that can be one kernel, and single others."""
    neighbours: list[list[Operation]] = []
    for operation in operations:
        if neighbours and _is_one([*neighbours[-1], operation], library):
            neighbours[-1].append(operation)
        else:
            neighbours.append([operation])
    # First later ones are moved to earlier ones, then earlier ones to later ones.
    return _backwards(_joined(_backwards(_joined(neighbours, library)), library))


def _joined(runs: list[list[Operation]], library: Kernels) -> list[list[Operation]]:
    """Join runs, also over others in between if they have nothing to do with those."""
    joined: list[list[Operation]] = []
    for run in runs:
        for earlier in reversed(joined):
            if _is_one([*earlier, *run], library):
                earlier += run
                break
            if any(_depend(one, other, library) for one, other in product(run, earlier)):
                joined.append(run)
                break
        else:
            joined.append(run)
    return joined


def _backwards(runs: list[list[Operation]]) -> list[list[Operation]]:
    return [run[::-1] for run in reversed(runs)]


def _depend(one: Operation, other: Operation, library: Kernels) -> bool:
    """Tell whether the order of two operations matters: one writes what the other uses."""
    return any(
        _overlap(written, value.memory, library)
        for a, b in ((one, other), (other, one))
        for written in _written(a)
        for value in b.values
    )


def _written(operation: Operation) -> set[Memory]:
    """Give the memory that any operation writes."""
    out = operation.options.get("out")
    return {*operation.results, *([] if out is None else [out.memory])}


def _overlap(one: Memory, other: Memory, library: Kernels) -> bool:
    """Tell whether memory is the same, or what was handed in may have some in common."""
    if one is other or one.array is None or other.array is None:
        return one is other
    return library.overlap(one.array, other.array)


def _is_one(run: list[Operation], library: Kernels) -> bool:
    """Tell whether operations can be one kernel, which does all of them for one entry at a time."""
    for one in run:
        formula = library.formulas.get(one.function)
        if formula is None or not formula.fits(one):
            return False
        if _target(one).shape != _target(run[0]).shape:
            return False
    # Nothing that is written may be seen in another way beside it: it would be read too early or
    # too late.
    return not any(
        value.views or value.memory is not memory
        for memory in map(_target, run)
        for one in run
        for value in one.values
        if _overlap(memory, value.memory, library)
    )


def _kernel(run: list[Operation], stored: list[Memory], library: Kernels) -> Operation:
    """Make one kernel of operations, which writes the memory that is to be stored."""
    inputs: list[Any] = []
    declared: list[str] = []
    statements: list[str] = []
    # Where the newest entries of memory, of a view or of a constant are found, by its id.
    names: dict[int, str] = {}

    def name(one: Any, dtype: Any) -> str:
        key = id(one.memory if isinstance(one, Value) and not one.views else one)
        if key not in names or _dtype(one) is None:  # a number is an input each time
            names[key] = f"a{len(inputs)}"
            declared.append(f"{dtype.name} {names[key]}")
            inputs.append(one)
        return names[key]

    for i, operation in enumerate(run):
        formula, target = library.formulas[operation.function], _target(operation)
        alike, kind = formula.dtype(operation), TYPES[target.dtype.name]
        operands = [name(one, _dtype(one) or alike) for one in operation.arguments]
        statements.append(f"{kind} v{i} = {formula.text.format(*operands, type=kind)};")
        names[id(target)] = f"v{i}"
    # Only now, because the memory of an output may be that of an input.
    statements += [f"o{i} = {names[id(one)]};" for i, one in enumerate(stored)]
    outputs = [f"{one.dtype.name} o{i}" for i, one in enumerate(stored)]
    kernel = library.kernel(", ".join(declared), ", ".join(outputs), "\n".join(statements))
    results = {operation.result for operation in run}
    return Operation(
        kernel,
        (*inputs, *map(Value, stored)),
        replaces=tuple(range(len(inputs))),
        further=tuple(one for one in stored if one in results),
    )


def _target(operation: Operation) -> Memory:
    """Give the memory that an operation writes."""
    memory: Memory = operation.options["out"].memory
    return memory


def _dtype(one: Any) -> Any:
    """Give the dtype of an operand; None for a number."""
    return one.memory.dtype if isinstance(one, Value) else getattr(one, "dtype", None)

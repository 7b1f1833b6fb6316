"""Fuse successive elementwise functions into one kernel of a GPU.

In a small network the launch of a kernel takes longer than what it computes. One kernel for all of
an optimiser's functions reads each element once and writes what is used later; all else stays in
its registers.

Each function is an expression in C. They are computed in the order in which they were traced, and
each result is of the dtype that it has in memory, so it is rounded as if it had been there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, ClassVar, NamedTuple

from anyback_nn.jit.graph import Buffer, Op, View
from anyback_nn.jit.rules import TraceRules

__all__ = ["GpuRules", "KernelTemplate", "fuse"]

TYPES = {
    "bool": "bool",
    "int32": "int",
    "int64": "long long",
    "float32": "float",
    "float64": "double",
}
"""The dtypes that kernels compute in, and their names in C."""


class KernelTemplate(NamedTuple):
    """What a function does with each element.

    Attributes
    ----------
    expression : str
        In C, with ``{0}``, ``{1}`` and so on for the operands, and ``{type}`` for the type of the
        result.
    kinds : str
        The kinds of dtypes for which it is right, as NumPy abbreviates them.
    result : str
        The result's dtype: ``"same"`` as the operands', ``"bool"`` or ``"any"``.
    same_dtype : slice
        The operands that must be of one dtype.
    """

    expression: str
    kinds: str = "f"
    result: str = "same"
    same_dtype: slice = slice(None)

    def dtype(self, op: Op) -> Any:
        """Return the dtype of the operands; None if they are of several, or are numbers."""
        dtypes = {_dtype(operand) for operand in op.arguments[self.same_dtype]} - {None}
        return dtypes.pop() if len(dtypes) == 1 else None

    def fits(self, op: Op) -> bool:
        """Return whether it is right for the operands of an operation."""
        dtype, result = self.dtype(op), op.options["out"].buffer.dtype
        dtypes = [dtype for dtype in map(_dtype, op.arguments) if dtype is not None]
        expected = {"same": dtype, "bool": "bool", "any": result}[self.result]
        known = all(dtype.name in TYPES for dtype in (*dtypes, result))
        return known and dtype is not None and dtype.kind in self.kinds and result == expected


class GpuRules(TraceRules):
    """The rules of a library on a GPU, whose elementwise functions are fused.

    Attributes
    ----------
    templates : dict of callable to KernelTemplate
        The functions that can be part of a kernel. They take the array to write into as ``out=``.
    """

    templates: ClassVar[dict[Callable[..., Any], KernelTemplate]]
    # A kernel goes over all of an array in any case.
    tile_bytes = 2**62
    kernel_bound = True

    @abstractmethod
    def kernel(self, inputs: str, outputs: str, statements: str) -> Callable[..., Any]:
        """Return a kernel.

        Parameters
        ----------
        inputs, outputs : str
            Its parameters, such as ``"float32 a0, bool a1"``.
        statements : str
            What it does for each element, in C.
        """

    def rewrite(self, ops: list[Op], outputs: Iterable[Buffer]) -> list[Op]:
        return list(fuse(ops, outputs, self))


def fuse(ops: list[Op], outputs: Iterable[Buffer], rules: GpuRules) -> Iterator[Op]:
    """Fuse elementwise operations; ``outputs`` are the buffers that are read afterwards."""
    runs = _runs(ops, rules)
    last = {view.buffer: i for i, run in enumerate(runs) for op in run for view in op.views}
    last |= dict.fromkeys(outputs, len(runs))
    for i, run in enumerate(runs):
        if not _fusible(run, rules):
            yield from run
            continue
        written = dict.fromkeys(map(_target, run))
        # A donated buffer has its memory already.
        stored = [buffer for buffer in written if buffer.array is not None or last[buffer] > i]
        if stored:
            yield _kernel(run, stored, rules)


def _runs(ops: list[Op], rules: GpuRules) -> list[list[Op]]:
    """Divide operations into runs that can be one kernel, and single others."""
    runs: list[list[Op]] = []
    for op in ops:
        if runs and _fusible([*runs[-1], op], rules):
            runs[-1].append(op)
        else:
            runs.append([op])
    # First later ones are moved to earlier ones, then earlier ones to later ones.
    return _reverse(_merge(_reverse(_merge(runs, rules)), rules))


def _merge(runs: list[list[Op]], rules: GpuRules) -> list[list[Op]]:
    """Merge runs, also across others in between on which they do not depend."""
    merged: list[list[Op]] = []
    for run in runs:
        for earlier in reversed(merged):
            if _fusible([*earlier, *run], rules):
                earlier += run
                break
            if any(_depend(a, b, rules) for a, b in product(run, earlier)):
                merged.append(run)
                break
        else:
            merged.append(run)
    return merged


def _reverse(runs: list[list[Op]]) -> list[list[Op]]:
    return [run[::-1] for run in reversed(runs)]


def _depend(a: Op, b: Op, rules: GpuRules) -> bool:
    """Return whether the order of two operations matters: one writes what the other uses."""
    return any(
        _overlap(buffer, view.buffer, rules)
        for writer, user in ((a, b), (b, a))
        for buffer in _written(writer)
        for view in user.views
    )


def _written(op: Op) -> set[Buffer]:
    """Return the buffers that any operation writes."""
    out = op.options.get("out")
    return {*op.results, *([] if out is None else [out.buffer])}


def _overlap(a: Buffer, b: Buffer, rules: GpuRules) -> bool:
    """Return whether buffers are the same, or are donated arrays that may share memory."""
    if a is b or a.array is None or b.array is None:
        return a is b
    return rules.overlap(a.array, b.array)


def _fusible(run: list[Op], rules: GpuRules) -> bool:
    """Return whether operations can be one kernel, which does all of them for each element."""
    for op in run:
        template = rules.templates.get(op.function)
        if template is None or not template.fits(op):
            return False
        if _target(op).shape != _target(run[0]).shape:
            return False
    # Nothing that is written may be read through another view: that would be too early or too late.
    return not any(
        view.path or view.buffer is not buffer
        for buffer in map(_target, run)
        for op in run
        for view in op.views
        if _overlap(buffer, view.buffer, rules)
    )


def _kernel(run: list[Op], stored: list[Buffer], rules: GpuRules) -> Op:
    """Return one kernel of operations, which writes the buffers that are to be stored."""
    inputs: list[Any] = []
    declarations: list[str] = []
    statements: list[str] = []
    # The newest elements of a buffer, of a view or of a constant, by its id.
    names: dict[int, str] = {}

    def name(operand: Any, dtype: Any) -> str:
        key = id(operand.buffer if isinstance(operand, View) and not operand.path else operand)
        if key not in names or _dtype(operand) is None:  # a number is an input each time
            names[key] = f"a{len(inputs)}"
            declarations.append(f"{dtype.name} {names[key]}")
            inputs.append(operand)
        return names[key]

    for i, op in enumerate(run):
        template, target = rules.templates[op.function], _target(op)
        dtype, kind = template.dtype(op), TYPES[target.dtype.name]
        operands = [name(operand, _dtype(operand) or dtype) for operand in op.arguments]
        expression = template.expression.format(*operands, type=kind)
        statements.append(f"{kind} v{i} = {expression};")
        names[id(target)] = f"v{i}"
    # Only now, because the memory of an output may be that of an input.
    statements += [f"o{i} = {names[id(buffer)]};" for i, buffer in enumerate(stored)]
    targets = [f"{buffer.dtype.name} o{i}" for i, buffer in enumerate(stored)]
    kernel = rules.kernel(", ".join(declarations), ", ".join(targets), "\n".join(statements))
    results = {op.result for op in run}
    return Op(
        kernel,
        (*inputs, *map(View, stored)),
        may_overwrite=tuple(range(len(inputs))),
        more_results=tuple(buffer for buffer in stored if buffer in results),
    )


def _target(op: Op) -> Buffer:
    """Return the buffer that an elementwise operation writes."""
    buffer: Buffer = op.options["out"].buffer
    return buffer


def _dtype(operand: Any) -> Any:
    """Return the dtype of an operand; None for a number."""
    return operand.buffer.dtype if isinstance(operand, View) else getattr(operand, "dtype", None)

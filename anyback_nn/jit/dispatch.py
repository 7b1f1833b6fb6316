"""Choose the program of a call: one for each combination of shapes, traced when it is repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from anyback_nn.jit.program import Program
from anyback_nn.jit.rules import TraceRules
from anyback_nn.tree import tree_flatten

__all__ = ["Traced"]

CALLS_BEFORE_TRACING = 2
"""The number of calls before a step is traced: one that is not repeated is not worth it."""

LARGE = 2**20
"""The bytes of memory of a program up to which it is kept when training ends."""

MOST_PROGRAMS = 16
"""The number of programs that are kept; steps of further shapes are called as they are."""


class Traced:
    """A step that is traced for each combination of shapes, and replayed from then on.

    Parameters
    ----------
    step : callable
        A pure function of arrays, Python floats and nested dicts and tuples of them, which does
        the same operations whatever their values are and returns a tuple.
    donate : tuple of int
        The positions of the arguments that are donated: the step works in their memory.
    rules : TraceRules
        The rules of the arrays' library.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.backends.numpy import RULES
    >>> def step(p, rate, x):
    ...     p -= rate * x
    ...     return (p,)
    >>> step = Traced(step, (0,), RULES)
    >>> p = np.zeros(2)
    >>> for rate in (1.0, 10.0, 100.0, 1000.0):
    ...     (p,) = step(p, rate, np.asarray([1.0, 2.0]))
    >>> p.tolist(), len(step.programs)
    ([-1111.0, -2222.0], 1)
    """

    def __init__(
        self, step: Callable[..., Any], donate: tuple[int, ...], rules: TraceRules
    ) -> None:
        self.step, self.donate, self.rules = step, donate, rules
        self.programs: dict[Any, Program] = {}
        self.n_calls: dict[Any, int] = defaultdict(int)
        self.described: dict[int, tuple[Any, list[Any], list[Any]]] = {}

    def __call__(self, *arguments: Any) -> Any:
        program, inputs = self.program_for(arguments)
        if program is None:
            return self.step(*arguments)
        if program.first:
            return program.first_results()
        return program.run(inputs)

    def program_for(self, arguments: tuple[Any, ...]) -> tuple[Program | None, list[Any]]:
        """Return the program for a call, which may be traced now, and its inputs."""
        donated: list[Any] = []
        inputs: list[Any] = []
        kinds: list[Any] = []
        array = self.rules.array
        for position, argument in enumerate(arguments):
            if position in self.donate:
                donated.append(argument)
            elif type(argument) is array:
                inputs.append(argument)
                kinds.append((argument.shape, argument.dtype))
            elif argument is None:
                kinds.append(None)
            else:
                # Many are the very same trees as at the last call.
                described = self.described.get(position)
                if described is None or described[0] is not argument:
                    described = self.described[position] = (argument, *self._describe(argument))
                inputs += described[1]
                kinds += described[2]
        if UNKNOWN in kinds:
            return None, inputs
        key = tuple(kinds)
        program = self.programs.get(key)
        if program is not None:
            # After an interrupt its first results were never returned: they are of another call.
            if not program.first and program.bind(donated):
                return program, inputs
            del self.programs[key]
            self.n_calls[key] = 0
        elif len(self.programs) >= MOST_PROGRAMS:
            return None, inputs
        self.n_calls[key] += 1
        if self.n_calls[key] == CALLS_BEFORE_TRACING + 1:
            self._trace(key, arguments)
        return self.programs.get(key), inputs

    def _describe(self, tree: Any) -> tuple[list[Any], list[Any]]:
        """Return the inputs of a program in a tree, and what the program depends on."""
        leaves, structure = tree_flatten(tree)
        inputs: list[Any] = []
        kinds: list[Any] = [structure]
        for leaf in leaves:
            if type(leaf) is float:
                inputs.append(leaf)
                kinds.append(float)
            elif type(leaf) is self.rules.array:
                inputs.append(leaf)
                kinds.append((leaf.shape, leaf.dtype))
            else:
                kinds.append(UNKNOWN if leaf is not None else None)
        return inputs, kinds

    def _trace(self, key: Any, arguments: tuple[Any, ...]) -> None:
        """Trace a step; where that fails, it is called as it is from now on."""
        try:
            self.programs[key] = Program(self.step, arguments, self.donate, self.rules)
        except KeyboardInterrupt:
            self.n_calls[key] = 0
            raise
        except MemoryError:
            self.n_calls[key] = 0
        except Exception:
            # An error of the step itself occurs again when it is called.
            return

    def drop_large_programs(self) -> None:
        """Drop the programs whose memory is worth more than tracing them again."""
        for key in [key for key, program in self.programs.items() if program.nbytes > LARGE]:
            del self.programs[key], self.n_calls[key]


UNKNOWN = "unknown"
"""The kind of an argument that is neither an array nor a float."""

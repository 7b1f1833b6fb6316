"""Which steps are traced: their programs, how often each was replayed, why others were refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from anyback_nn.jit import dispatch
from anyback_nn.jit.program import Program

__all__ = ["CollectedPrograms", "CountedProgram", "collect_programs"]


class CountedProgram(Program):
    """A program that counts its replays.

    Attributes
    ----------
    runs : int
        The number of replays; the one that verifies a program does not count.
    """

    runs = 0

    def run(self, inputs: list[Any]) -> tuple[Any, ...]:
        self.runs += 1
        return super().run(inputs)


class CollectedPrograms(NamedTuple):
    """What was traced within `collect_programs`.

    Attributes
    ----------
    programs : list of CountedProgram
        One for each step and combination of shapes, in the order in which they were traced.
    refusals : list of str
        Why each other program was refused: the step is called as it is.
    """

    programs: list[CountedProgram]
    refusals: list[str]


@contextlib.contextmanager
def collect_programs() -> Iterator[CollectedPrograms]:
    """Collect the programs that are traced within the context.

    Yields
    ------
    CollectedPrograms

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    >>> with collect_programs() as (programs, refusals):
    ...     history = model.fit(x, y, epochs=4, batch_size=50, progress=False)

    Of eight steps the first two are called as they are, and the third one is traced:

    >>> [program.runs for program in programs], refusals
    ([5], [])
    """
    collected = CollectedPrograms([], [])

    def trace(*arguments: Any) -> Program:
        try:
            program = CountedProgram(*arguments)
        except Exception as error:
            collected.refusals.append(f"{type(error).__name__}: {error}")
            raise
        collected.programs.append(program)
        return program

    original = vars(dispatch)["Program"]
    vars(dispatch)["Program"] = trace
    try:
        yield collected
    finally:
        vars(dispatch)["Program"] = original

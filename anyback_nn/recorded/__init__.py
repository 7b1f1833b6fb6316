"""Steps on NumPy, PyTorch and CuPy without Python in between: recorded once, then repeated.

A step of training is a pure function: for inputs of the same shapes it is the same operations, one
after another. In a small network most of its time goes to finding out which ones, and to memory for
their results. So a step is followed once, with stand-ins for its arrays that note down each
function of the library with the memory that it reads and writes, and from then on only these
functions are called. Once it is known which results are needed how long, they can lie where they
are quickest to reach.

The results are the same bits: the same functions, on the same numbers, in the same order. What
cannot be noted down, such as a value that is read to decide something, ends the recording, and the
step is called as it is.

On CuPy it is launches of kernels that take the time, so elementwise functions are put together into
kernels: for a network 784-256-128-10 with Adam, a step takes 28 launches in place of 56. That has
been tested without a GPU only. Therefore a recording is repeated at once, from the same arrays, and
compared with what the step itself gave: half of the digits must be right, in terms of the largest
change, in all results, but for a hundredth of the entries of one. If they are not, or if anything
fails, the step is called as it is. What is compiled is told not to contract products and sums,
so even the bits are the same, but for logarithms and powers in float64, of which CuPy's own are
contracted; and a product of matrices may be added up in another order where its result lies in
other memory.

- `anyback_nn.recorded.stand_ins`: what stands for the arrays while a step is followed;
- `anyback_nn.recorded.tape`: what is noted down;
- `anyback_nn.recorded.plan`: where everything lies, and the repetition;
- `anyback_nn.recorded.fused`: functions of entries as one kernel of a GPU;
- `anyback_nn.recorded.chain`: many steps in one call;
- `anyback_nn.recorded.library`: what must be known of an array library, told by
  `anyback_nn.recorded.of_numpy`, `anyback_nn.recorded.of_torch` and `anyback_nn.recorded.of_cupy`.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from anyback_nn.recorded.library import Library
from anyback_nn.recorded.plan import Plan

__all__ = ["Recorded"]

BEFORE_RECORDING = 2
"""How often a step is called as it is first: a step that is not repeated is not worth recording."""


class Recorded:
    """A step that is recorded for each combination of shapes, and repeated from then on.

    Parameters
    ----------
    step : callable
        A pure function of arrays, Python floats and nested dicts and tuples of them, which does
        the same operations whatever their values and returns a tuple.
    donate : tuple of int
        The positions of arguments whose memory the results may take over.
    library : Library
        That of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.recorded.of_numpy import NUMPY
    >>> def step(p, rate, x):
    ...     p -= rate * x
    ...     return (p,)
    >>> step = Recorded(step, (0,), NUMPY)
    >>> p = np.zeros(2)
    >>> for rate in (1.0, 10.0, 100.0, 1000.0):
    ...     (p,) = step(p, rate, np.asarray([1.0, 2.0]))
    >>> p.tolist(), len(step.plans)
    ([-1111.0, -2222.0], 1)
    """

    def __init__(self, step: Callable[..., Any], donate: tuple[int, ...], library: Library) -> None:
        self.step, self.donate, self.library = step, donate, library
        self.plans: dict[Any, Plan] = {}
        self.seen: dict[Any, int] = defaultdict(int)
        self.trees: dict[int, tuple[Any, list[Any], list[Any]]] = {}

    def __call__(self, *arguments: Any) -> Any:
        plan, inputs = self.plan_for(arguments)
        if plan is None:
            return self.step(*arguments)
        if plan.first:
            return plan.first_results()
        return plan.run(inputs)

    def plan_for(self, arguments: tuple[Any, ...]) -> tuple[Plan | None, list[Any]]:
        """Give the plan for a call, if there is or now should be one, and what goes into it."""
        donated: list[Any] = []
        leaves: list[Any] = []
        shapes: list[Any] = []
        array = self.library.array
        for position, one in enumerate(arguments):
            if position in self.donate:
                donated.append(one)
            elif one is None:
                shapes.append(None)
            elif type(one) is array:
                leaves.append(one)
                shapes.append((one.shape, one.dtype))
            else:
                # Many are the very same as at the last call.
                known = self.trees.get(position)
                if known is None or known[0] is not one:
                    known = self.trees[position] = (one, [], [])
                    _spread(one, array, *known[1:])
                leaves += known[1]
                shapes += known[2]
        if UNKNOWN in shapes:
            return None, leaves
        key = tuple(shapes)
        plan = self.plans.get(key)
        if plan is not None:
            if plan.fits(donated):
                return plan, leaves
            del self.plans[key]
            self.seen[key] = 0
        self.seen[key] += 1
        if self.seen[key] == BEFORE_RECORDING + 1:
            # An error of the step itself comes again.
            with contextlib.suppress(Exception):
                self.plans[key] = Plan(self.step, arguments, self.donate, self.library)
        return self.plans.get(key), leaves


UNKNOWN = "unknown"
"""Stands among the shapes for an argument of another kind."""


def _spread(value: Any, array: type[Any], leaves: list[Any], shapes: list[Any]) -> None:
    """List the arrays and numbers of a tree, and what a recording holds for."""
    if value is None:
        shapes.append(None)
    elif type(value) is array:
        leaves.append(value)
        shapes.append((value.shape, value.dtype))
    elif type(value) is float:
        leaves.append(value)
        shapes.append(float)
    elif isinstance(value, tuple):
        shapes.append(len(value))
        for one in value:
            if type(one) is float:
                leaves.append(one)
                shapes.append(float)
            else:
                _spread(one, array, leaves, shapes)
    elif isinstance(value, dict):
        shapes.append(tuple(value))
        for one in value.values():
            _spread(one, array, leaves, shapes)
    else:
        shapes.append(UNKNOWN)

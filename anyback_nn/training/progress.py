"""What is known of an epoch that is not finished yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace, to_numpy
from anyback_nn.training.step import StepReport

__all__ = ["EpochProgress"]


@dataclass
class EpochProgress:
    """The reports of the steps of an epoch so far.

    Reports stay on the device until they are read, all at once.

    Attributes
    ----------
    sizes : list of int
        The number of samples in each batch.
    rates : list of float
        The learning rate of each step.
    table : ndarray, shape (n_steps, n_values), optional
        The reports that have been read, in float64.
    skipped : int
        The number of steps that were taken before the run was resumed.
    earlier_seconds : float
        The time that these took.
    """

    sizes: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    table: Any = None
    skipped: int = 0
    earlier_seconds: float = 0.0
    _unread: list[StepReport] = field(default_factory=list)
    _begun: float | None = None

    def begin(self) -> None:
        """Count the seconds from now on."""
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time that the epoch has taken."""
        passed = 0.0 if self._begun is None else time.perf_counter() - self._begun
        return self.earlier_seconds + passed

    def add(self, report: StepReport, sizes: Sequence[int], rates: Sequence[float]) -> None:
        """Add the report of a step, of scalars, or of several, of arrays."""
        self._unread.append(report)
        self.sizes += sizes
        self.rates += rates

    def undo(self) -> None:
        """Forget the steps that were taken since the epoch began, or was resumed."""
        del self.sizes[self.skipped :], self.rates[self.skipped :]
        self.table = self.table[: self.skipped] if self.skipped else None
        self._unread = []

    def stack_unread(self) -> list[StepReport]:
        """Return the reports that have not been read as arrays, which are longer than needed."""
        if not self._unread or self._unread[0][0].ndim:
            return self._unread
        return [tuple(map(_stack, zip(*self._unread)))]

    def append(self, rows: Any) -> None:
        """Append rows to the table: what was read of the reports that had not been."""
        table = rows if self.table is None else np.concatenate((self.table, rows))
        self.table, self._unread = table[: len(self.sizes)], []

    def read(self) -> Any:
        """Read the reports of all steps so far, and return the table."""
        for report in self.stack_unread():
            columns = [to_numpy(values).astype(np.float64) for values in report]
            self.append(np.stack(columns, axis=1))
        return self.table


def _stack(values: Sequence[Array], length: int = 64) -> Array:
    """Stack scalars in parts of equal length, because a library may compile for each length.

    The last value is repeated to fill its part.
    """
    xp = array_namespace(values[0])
    full = [*values, *repeat(values[-1], -len(values) % length)]
    parts = [xp.stack(full[i : i + length]) for i in range(0, len(full), length)]
    return parts[0] if len(parts) == 1 else xp.concat(parts)

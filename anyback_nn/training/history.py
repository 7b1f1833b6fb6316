"""The history of training: one row per epoch."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """The recorded values of every epoch of a model, over all calls of `fit`.

    Always recorded: ``epoch`` (from 1), ``learning_rate``, ``train_loss`` and the training metrics
    (means over the epoch, during which the parameters change), ``seconds``. With validation data
    also ``validation_loss`` and the metrics at the end of the epoch.

    Parameters
    ----------
    rows : list of dict of str to float
        The recorded values of each epoch by their names.

    Examples
    --------
    >>> history = History([{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}])
    >>> history["train_loss"], len(history), history.last["epoch"]
    ([0.5, 0.25], 2, 2)
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" for k, v in self.rows[-1].items()) if self.rows else ""
        return f"<History of {len(self.rows)} epochs{'; the last: ' if last else ''}{last}>"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        """Return one value of all epochs; NaN where it was not recorded."""
        if name not in self.names:
            raise KeyError(f"{name!r} is not recorded; the history has {', '.join(self.names)}")
        return [row.get(name, float("nan")) for row in self.rows]

    @property
    def names(self) -> list[str]:
        """The names of all recorded values."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def last(self) -> dict[str, float]:
        """The row of the last epoch."""
        if not self.rows:
            raise IndexError("the history is empty: the model has not been trained yet")
        return self.rows[-1]

    def copy(self) -> History:
        """Copy the history, with its rows."""
        return History([dict(row) for row in self.rows])

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file, one line per epoch."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.names)
            writer.writeheader()
            writer.writerows(self.rows)

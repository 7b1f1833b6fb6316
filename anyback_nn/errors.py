"""Errors that a user of the library can catch.

Every message says what was wrong, what was expected and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AnybackError",
    "BackendUnavailableError",
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "ExportError",
    "OutOfMemoryError",
    "ShapeError",
]


_MOST_LETTERS = 4000
"""Of a message: names and values in it come from files, and may have any length."""


class AnybackError(Exception):
    """Any error that the library raises on purpose."""

    def __init__(self, message: str = "") -> None:
        is_long = len(message) > _MOST_LETTERS
        super().__init__(f"{message[:_MOST_LETTERS]}\u2026" if is_long else message)


class BackendUnavailableError(AnybackError, RuntimeError):
    """The requested backend cannot compute on this machine, or what was requested."""


class ShapeError(AnybackError, ValueError):
    """Layers, inputs or targets do not fit together."""


class DataError(AnybackError, ValueError):
    """The data are invalid; the message names the file, row or column."""


class DivergenceError(AnybackError, ArithmeticError):
    """The loss or a parameter became NaN or infinite, or the loss far too large.

    The parameters from the start of that epoch are kept.

    Attributes
    ----------
    epoch, step : int, optional
        The number of the epoch, and of the step in it, both from 1.
    layer : str, optional
        The layer in which it began, if the epoch can be computed again.
    norms : dict of str to dict of str to float
        For each layer the Euclidean norms of its parameters, outputs and gradients in that step.
    """

    def __init__(
        self, message: str = "", *, epoch: int | None = None, step: int | None = None
    ) -> None:
        super().__init__(message)
        self.epoch, self.step = epoch, step
        self.is_hopeless = False  # if no learning rate would help
        self.layer: str | None = None
        self.norms: dict[str, dict[str, float]] = {}


class ExportError(AnybackError, ValueError):
    """A model cannot be exported for other programs, or computes something else there."""


class OutOfMemoryError(AnybackError, MemoryError):
    """The device ran out of memory; the message says which batch size would fit."""


class CheckpointError(AnybackError, ValueError):
    """A model file cannot be written, or is not valid."""

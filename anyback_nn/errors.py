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
    """The requested backend cannot compute on this machine."""


class ShapeError(AnybackError, ValueError):
    """Layers, inputs or targets do not fit together."""


class DataError(AnybackError, ValueError):
    """The data are invalid; the message names the file, row or column."""


class DivergenceError(AnybackError, ArithmeticError):
    """The loss or a parameter became NaN or infinite; the last finite parameters are kept."""


class OutOfMemoryError(AnybackError, MemoryError):
    """The device ran out of memory; the message says which batch size would fit."""


class CheckpointError(AnybackError, ValueError):
    """A model file cannot be written, or is not valid."""

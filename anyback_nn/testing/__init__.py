"""Tools to prove that array code computes the same on every backend: for this project and others.

`check_gradients` compares a hand-written derivative with differences, `compare_backends` follows
one training run on several backends, `no_host_reads` refuses values that are read back from a
device, and `anyback_nn.testing.plugin` runs the tests of any project on every backend.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "backends": ("MATRIX", "VARIANTS", "select", "usable"),
    "host_reads": ("HostReadError", "HostReads", "no_host_reads"),
    "gradients": ("GradientError", "GradientReport", "check_gradients"),
    "comparison": ("Comparison", "Difference", "Run", "compare_backends"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604 - they are all strings


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: pytest loads this package in every project."""
    if name not in _HOME:
        raise AttributeError(f"module 'anyback_nn.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"anyback_nn.testing.{_HOME[name]}"), name)

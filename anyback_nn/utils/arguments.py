"""Check what users pass, and import what only some of them need."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require_extra"]


def require_extra(module: str, extra: str, purpose: str, error: type[Exception]) -> Any:
    """Import a module of an optional dependency.

    Parameters
    ----------
    module : str
        Such as ``"polars"``.
    extra : str
        The extra of this package that installs it, such as ``"tabular"``.
    purpose : str
        What needs it, to begin the message with.
    error : type of Exception
        Raised if the module cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise error(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported ({reason}): "
            f"install it with  pip install 'anyback-nn[{extra}]'"
        ) from reason

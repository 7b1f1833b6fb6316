"""Import the libraries that only tables need, when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from anyback_nn.errors import DataError

__all__ = ["tabular"]


def tabular(module: str) -> Any:
    """Import a module of the ``tabular`` extra.

    Parameters
    ----------
    module : str
        Such as ``"polars"`` or ``"sklearn.impute"``.

    Raises
    ------
    DataError
        If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"reading tables needs {module.partition('.')[0]}, which cannot be imported ({error}): "
            "install it with  pip install 'anyback-nn[tabular]'"
        ) from error

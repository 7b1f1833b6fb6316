"""Neural networks written once, forward and backward by hand, on the array API standard.

The same lines train on NumPy on the CPU (the default), on CuPy on the GPU (``backend="cupy"``),
and on PyTorch, JAX and array-api-strict arrays.

>>> import anyback_nn as nn
>>> model = nn.Model(nn.Dense(32), nn.ReLU(), nn.Dense(10), loss=nn.SoftmaxCrossEntropy())
"""

from __future__ import annotations

import importlib
from typing import Any

import lazy_loader

from anyback_nn import _moved

__version__ = "0.1.0"

# ``import anyback_nn`` alone loads no library: the names in ``__init__.pyi``, the one list of what
# is public, are imported when they are first used.
_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_moved.install()


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if f"{__name__}.{name}" in _moved.MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    return _find(name)

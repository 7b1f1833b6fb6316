"""Settings of layers, losses and optimisers are Python numbers, whoever computed them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

__all__ = ["plain"]


def plain(settings: Any) -> Any:
    """Give a dataclass of settings with Python numbers in place of scalars of an array library.

    A scalar such as NumPy's ``float64`` would pull arrays of float32 up to its own dtype, and
    cannot be written to a model file.

    Examples
    --------
    >>> import numpy as np
    >>> from anyback_nn.network.layers import Dropout
    >>> plain(Dropout(np.float64(0.5)))
    Dropout(probability=0.5)
    """
    if getattr(settings, "ndim", None) == 0 and hasattr(settings, "item"):
        return settings.item()
    if type(settings) is tuple:
        new = tuple(map(plain, settings))
        unchanged = all(one is other for one, other in zip(new, settings))
        return settings if unchanged else new
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    changed = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if (new := plain(value)) is not value:
            changed[one.name] = new
    return replace(settings, **changed) if changed else settings

"""The exponential moving average of the parameters over the steps.

Zero-initialised and debiased as the means of Adam (D. P. Kingma, J. Ba, ICLR 2015, section 3).
"""

from __future__ import annotations

from anyback_nn.array_api import array_namespace
from anyback_nn.network.layout import Packed

__all__ = ["debias", "update_average"]


def update_average(average: Packed, params: Packed, decay: float) -> Packed:
    """Compute ``a = decay a + (1 - decay) p``, starting at zero; ``average`` is donated."""
    updated = []
    for a, p in zip(average, params):
        a *= decay
        a += (1.0 - decay) * p
        updated.append(a)
    return tuple(updated)


def debias(average: Packed, decay: float, step: int) -> Packed:
    """Divide an average by the sum of its weights after ``step`` steps, ``1 - decay^step``."""
    return tuple(array_namespace(a).asarray(a / (1.0 - decay**step), copy=True) for a in average)

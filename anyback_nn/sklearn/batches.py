"""The batches of an estimator: in scikit-learn's order, and of sparse inputs in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.inputs.batches import ArraySource

__all__ = ["ShuffledSource", "rows_at_once"]


LIMIT = 2**21
"""The most elements of a batch (but at least a row) whose size only memory limits."""


def rows_at_once(n_features: int) -> int:
    """Return the size of batches that only memory limits."""
    return max(1, LIMIT // n_features)


@dataclass(frozen=True)
class ShuffledSource(ArraySource):
    """Batches of the ``chosen`` rows, which are shuffled in place before each epoch."""

    random: Any = None

    can_repeat = False

    def _order(self, number: int) -> Any:
        # As sklearn.utils.shuffle does, so that the order is the same as there.
        order = np.arange(self.n_samples)
        self.random.shuffle(order)
        self.chosen[:] = self.chosen[order]
        return self.chosen

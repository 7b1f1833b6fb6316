"""The ranks of a training, and the one function by which they know of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace, is_numpy, to_numpy

__all__ = ["ALONE", "Communicator", "as_like", "as_ranks"]


class Communicator:
    """A process among those that train together; this class is of one that is alone.

    Create it with `init`. A copy is the same one; pickled for another process, it is alone.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and the number of all.
    local_rank : int
        Its number among those of its machine: that of its GPU.

    Examples
    --------
    >>> ALONE.share(10), ALONE.add(np.asarray([1.0, 2.0])).tolist()
    (slice(0, 10, None), [1.0, 2.0])
    """

    rank = local_rank = 0
    size = 1

    def add(self, x: Array) -> Array:
        """Add an array, which may be overwritten, over all ranks: each returns the same bits.

        All must call it.
        """
        return x

    def abort(self, status: int) -> None:
        """Let this process end without the others, and end those that its launcher would not."""

    def share(self, n_rows: int) -> slice:
        """Return which of some rows are this rank's: the first ranks have one more, if any."""
        each, more = divmod(n_rows, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def gather(self, rows: Array | None, n_rows: int) -> Array | None:
        """Return all rows, of which each rank has its `share`."""
        if rows is None or self.size == 1:
            return rows
        own = to_numpy(rows)
        whole = np.zeros((n_rows, *own.shape[1:]), own.dtype)
        whole[self.share(n_rows)] = own
        return as_like(rows, self.add(whole))

    def collect(self, number: float) -> list[float]:
        """Return one number of each rank."""
        numbers: Any = self.gather(np.asarray([float(number)]), self.size)
        return [*numbers.tolist()]

    def __deepcopy__(self, memo: Any = None) -> Communicator:
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> Any:
        return Communicator, ()


ALONE = Communicator()
"""The communicator of a process that trains alone."""


def as_ranks(distributed: Communicator | None) -> Communicator:
    """Return what an argument ``distributed`` means: by default, a process that is alone."""
    if not isinstance(distributed, Communicator | None):
        raise TypeError(
            "distributed: expected what distributed.init() returns, "
            f"got {type(distributed).__name__}"
        )
    return distributed or ALONE


def as_like(x: Array, values: np.ndarray) -> Array:
    """Return values of the host as an array of the library, and on the device, of another one."""
    return values if is_numpy(x) else array_namespace(x).asarray(values, device=device(x))

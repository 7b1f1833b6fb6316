"""Bring batches to a device with memory of its own while it computes with those before.

Such a device is only told which steps to take: while it still computes one, the program has gone on
to the next batch. That is written into memory of the host that is never swapped out ("pinned"),
from which the device copies it in a second queue ("stream"), at the same time. So no batch needs to
be asked for ahead.

Two places for batches on their way are used in turn. Each has pinned memory and memory of the
device, out of which the queue that computes takes the batch into new arrays. These can be kept,
or let go of at any time: nothing is ever copied into them from outside of that queue.

Untested on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Any

import numpy as np

from anyback_nn.backend import Array, Backend, lies_on_host, to_numpy

__all__ = ["Feed"]

ALIGNMENT = 256
"""At multiples of how many bytes arrays begin, as those that CUDA allocates do."""


@dataclass
class _Place:
    """Where a batch is on its way; ``taken`` is the event that it has been taken out."""

    taken: Any
    size: int = 0
    pinned: Any = None
    on_device: Any = None


class Feed:
    """Brings batches to a device one after another; see `anyback_nn.backend.Backend.feed`.

    Parameters
    ----------
    backend : Backend
    stream : stream
        The queue that copies, which waits for no other one by itself.
    current : callable
        Gives the queue that computes.
    event : callable
        Makes an event, which can be recorded in a queue and waited for.
    pinned : callable
        Makes an array of so many bytes in pinned memory.
    send : callable
        ``send(pinned, there, stream)`` has the bytes copied in that queue.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        stream: Any,
        current: Callable[[], Any],
        event: Callable[[], Any],
        pinned: Callable[[int], Any],
        send: Callable[[Any, Any, Any], object],
    ) -> None:
        self.backend, self.stream, self.current = backend, stream, current
        self.pinned, self.send, self.reached = pinned, send, event()
        self.places = cycle([_Place(event()), _Place(event())])
        # Pinned memory is given to others at once when nobody holds it, also if it is being copied.
        weakref.finalize(self, stream.synchronize)

    def __call__(self, arrays: Sequence[tuple[Any, str]]) -> list[Array]:
        moved = [lies_on_host(x) for x, _ in arrays]
        on_way = [(to_numpy(x), dtype) for (x, dtype), is_moved in zip(arrays, moved) if is_moved]
        brought = iter(self._bring(on_way) if on_way else ())
        return [
            next(brought) if is_moved else self.backend.asarray(x, dtype)
            for (x, dtype), is_moved in zip(arrays, moved)
        ]

    def _bring(self, arrays: list[tuple[Any, str]]) -> list[Array]:
        """Bring NumPy arrays."""
        place, current, xp = next(self.places), self.current(), self.backend.xp
        place.taken.synchronize()
        n_bytes = [x.size * np.dtype(dtype).itemsize for x, dtype in arrays]
        *starts, total = accumulate((-(-n // ALIGNMENT) * ALIGNMENT for n in n_bytes), initial=0)
        spans = [slice(start, start + n) for start, n in zip(starts, n_bytes)]
        self._make_room(place, total, current)
        host = np.asarray(place.pinned)
        with np.errstate(over="ignore"):
            for (x, dtype), span in zip(arrays, spans):
                np.copyto(host[span].view(dtype).reshape(x.shape), x, casting="unsafe")
        self.send(place.pinned[:total], place.on_device[:total], self.stream)
        self._wait(current, self.stream)
        parts = [
            place.on_device[span].view(getattr(xp, dtype)).reshape(x.shape)
            for (x, dtype), span in zip(arrays, spans)
        ]
        taken = [xp.asarray(part, copy=True) for part in parts]
        place.taken.record(current)
        return taken

    def _make_room(self, place: _Place, size: int, current: Any) -> None:
        """Make a place large enough."""
        if size <= place.size:
            return
        xp, device = self.backend.xp, self.backend.device
        # After an interrupt a copy may be on its way of which the event ``taken`` knows nothing.
        self.stream.synchronize()
        place.pinned = self.pinned(size)
        place.on_device = xp.empty((size,), dtype=xp.uint8, device=device)
        # It may be memory that steps which are still to be computed have used and given back.
        self._wait(self.stream, current)
        place.size = size

    def _wait(self, stream: Any, other: Any) -> None:
        """Have a queue go on only when another one has come as far as it is filled now."""
        self.reached.record(other)
        stream.wait_event(self.reached)

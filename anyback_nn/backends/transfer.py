"""Copy batches to a device with memory of its own while it computes with the ones before.

Steps are only queued on such a device: while it still computes one, the program continues with the
next batch. It writes the batch into memory of the host that is never swapped out ("pinned"). The
device copies it from there in a second queue ("stream"), at the same time. So no batch needs to be
requested ahead.

Two slots for batches are used in turn. Each has pinned memory and memory of the device, from which
the queue that computes copies the batch into new arrays. These can be kept, or freed at any time:
nothing is ever copied into them from outside of that queue.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, on_host, to_numpy
from anyback_nn.backends.base import Backend

__all__ = ["Transfer"]

ALIGNMENT = 256
"""Arrays begin at multiples of this number of bytes, as those that CUDA allocates do."""


@dataclass
class _Slot:
    """Memory for a batch; ``copied`` is the event that the batch was copied out of it."""

    copied: Any
    size: int = 0
    pinned: Any = None
    on_device: Any = None


class Transfer:
    """Copies batches to a device one after another; see `Backend.transfer`.

    Parameters
    ----------
    backend : Backend
    stream : stream
        The queue that copies; it waits for no other queue by itself.
    current : callable
        Returns the queue that computes.
    event : callable
        Creates an event, which can be recorded in a queue and waited for.
    pinned : callable
        Creates an array of a given number of bytes in pinned memory.
    send : callable
        ``send(pinned, target, stream)`` adds the copy of the bytes to that queue.
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
        self.slots = cycle([_Slot(event()), _Slot(event())])
        # Pinned memory without an owner is reused at once, even while it is being copied.
        weakref.finalize(self, stream.synchronize)

    def __call__(self, arrays: Sequence[tuple[Any, str]]) -> list[Array]:
        from_host = [on_host(x) for x, _ in arrays]
        hosted = [(to_numpy(x), dtype) for (x, dtype), copy in zip(arrays, from_host) if copy]
        copies = iter(self._copy(hosted) if hosted else ())
        return [
            next(copies) if copy else self.backend.asarray(x, dtype)
            for (x, dtype), copy in zip(arrays, from_host)
        ]

    def _copy(self, arrays: list[tuple[Any, str]]) -> list[Array]:
        """Copy NumPy arrays."""
        slot, current, xp = next(self.slots), self.current(), self.backend.xp
        slot.copied.synchronize()
        n_bytes = [x.size * np.dtype(dtype).itemsize for x, dtype in arrays]
        *starts, total = accumulate((-(-n // ALIGNMENT) * ALIGNMENT for n in n_bytes), initial=0)
        spans = [slice(start, start + n) for start, n in zip(starts, n_bytes)]
        self._reserve(slot, total, current)
        host = np.asarray(slot.pinned)
        with np.errstate(over="ignore"):
            for (x, dtype), span in zip(arrays, spans):
                np.copyto(host[span].view(dtype).reshape(x.shape), x, casting="unsafe")
        self.send(slot.pinned[:total], slot.on_device[:total], self.stream)
        self._wait(current, self.stream)
        parts = [
            slot.on_device[span].view(getattr(xp, dtype)).reshape(x.shape)
            for (x, dtype), span in zip(arrays, spans)
        ]
        copied = [xp.asarray(part, copy=True) for part in parts]
        slot.copied.record(current)
        return copied

    def _reserve(self, slot: _Slot, size: int, current: Any) -> None:
        """Enlarge a slot if it is too small."""
        if size <= slot.size:
            return
        xp, device = self.backend.xp, self.backend.device
        # After an interrupt, a copy may be under way that the event ``copied`` does not cover.
        self.stream.synchronize()
        slot.pinned = self.pinned(size)
        slot.on_device = xp.empty((size,), dtype=xp.uint8, device=device)
        # It may be memory that was freed by steps that are still to be computed.
        self._wait(self.stream, current)
        slot.size = size

    def _wait(self, stream: Any, other: Any) -> None:
        """Let a queue continue only when another queue has finished its present work."""
        self.reached.record(other)
        stream.wait_event(self.reached)

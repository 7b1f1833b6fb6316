"""A stand-in for a GPU that does its work as late, or as early, as it may.

A real one computes while the program continues, in queues that do not wait for each other. Work
that nobody waited for is therefore right most of the time, and wrong at some other. Here, each
queue is either ``eager``, and does everything at once, or does nothing until somebody waits for it:
then what the program does not wait for comes out wrong each time. Memory of either kind holds
garbage when it is allocated, pinned memory is overwritten as soon as nobody holds it, and earlier
work of the queue that computes still writes into memory of the device.
"""

from __future__ import annotations

import contextlib
import weakref
from types import ModuleType, SimpleNamespace

import array_api_compat.numpy
import numpy as np
from cupy_stand_in import installed

from anyback_nn.backends import Backend

GARBAGE = 0x55


class Queue:
    """A stream: work in order, done when it is eager or waited for."""

    def __init__(self, gpu, name):
        self.gpu, self.name = gpu, name
        self.work, self.done = [], 0

    def put(self, what, work):
        self.work.append((what, work))
        if self.name in self.gpu.eager:
            self.reach(len(self.work))

    def reach(self, position):
        while self.done < position:
            what, work = self.work[self.done]
            self.done += 1
            work()
            self.gpu.log.append(what)

    def synchronize(self):
        self.reach(len(self.work))

    def wait_event(self, event):
        # As it is now: the event may be recorded again before this is done.
        queue, position = event.queue, event.position
        self.put("wait", lambda: queue.reach(position))


class Event:
    """An event: a position in a queue; none, until it is recorded."""

    queue, position = None, 0

    def __init__(self, disable_timing=False):
        pass

    def record(self, queue):
        self.queue, self.position = queue, len(queue.work)

    def synchronize(self):
        if self.queue is not None:
            self.queue.reach(self.position)


class Gpu:
    """The device.

    ``eager`` names the queues that do everything at once: ``"computing"``, ``"copying"``.
    """

    def __init__(self, eager=()):
        self.eager, self.log = eager, []
        self.computing = Queue(self, "computing")
        self.current = self.computing
        self.pinned, self.slots = [], []

    def stream(self):
        return Queue(self, "copying")

    def finish(self):
        self.computing.synchronize()

    def pin(self, size):
        """Allocate pinned memory, which is overwritten as soon as nobody holds it."""
        memory = np.full(size, GARBAGE, dtype=np.uint8)
        held = memory[:]
        weakref.finalize(held, memory.fill, GARBAGE)
        self.pinned.append((memory, weakref.ref(held)))
        return held

    def count_held(self):
        """Count the pieces of pinned memory that somebody holds."""
        return sum(reference() is not None for _, reference in self.pinned)

    def allocate(self, memory):
        """Let this be memory of the device, which earlier work of it still writes to."""
        self.slots.append(memory.shape[0])
        memory[:] = GARBAGE
        self.computing.put("earlier use", lambda: memory.__setitem__(slice(None), GARBAGE))
        return memory

    def copy(self, source, target, queue):
        """Copy from pinned memory, without holding it, when the queue comes to it."""
        assert queue.name == "copying"
        memory = next(memory for memory, _ in self.pinned if np.shares_memory(source, memory))
        start = source.ctypes.data - memory.ctypes.data
        source = memory[start : start + len(source)]
        queue.put("copy", lambda: target.__setitem__(slice(None), source))

    def take(self, part, result):
        """Copy from the device's memory into an array of its own, in the queue that computes."""
        result[...] = 0
        self.computing.put("take", lambda: result.__setitem__(Ellipsis, part))
        return result


def step_by_step(kind, monkeypatch):
    """Let a backend take one step after another, untraced."""
    for name in "trace_rules", "scan":
        monkeypatch.setattr(kind, name, getattr(Backend, name))


# CuPy --------------------------------------------------------------------------------------------


class Device(str):
    """CuPy's ``Device``, and the one device of NumPy."""

    def __new__(cls, number=0):
        return super().__new__(cls, "cpu")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def synchronize(self):
        pass


@contextlib.contextmanager
def cupy_on(gpu, monkeypatch):
    """Yield the backend of CuPy, which computes on the stand-in, by NumPy."""

    class Memory(np.ndarray):
        """CuPy's ``ndarray``, as far as it has more than NumPy's."""

        def set(self, array, stream=None):
            assert type(array) is np.ndarray
            assert (array.dtype, array.shape) == (self.dtype, self.shape)
            gpu.copy(array, np.asarray(self), stream)

    def empty(shape, *, dtype, device):
        array = np.empty(shape, dtype=dtype)
        return gpu.allocate(array).view(Memory) if dtype == np.uint8 else array

    def asarray(x, *, dtype=None, device=None, copy=None):
        if isinstance(x, Memory):
            assert copy
            return gpu.take(np.asarray(x), np.empty(x.shape, x.dtype))
        return array_api_compat.numpy.asarray(x, dtype=dtype, device=device, copy=copy)

    def stream(*, non_blocking):
        assert non_blocking
        return gpu.stream()

    cupy, cupyx = ModuleType("cupy"), ModuleType("cupyx")
    vars(cupy).update(vars(np))
    cupy.ndarray = type("ndarray", (), {"fill": None})
    cupy.cuda = SimpleNamespace(
        Device=Device, Stream=stream, Event=Event, get_current_stream=lambda: gpu.current
    )
    cupyx.empty_pinned = lambda shape, dtype: gpu.pin(shape)
    namespace = ModuleType("array_api_compat.cupy")
    vars(namespace).update(vars(array_api_compat.numpy), empty=empty, asarray=asarray)
    modules = {"cupy": cupy, "cupyx": cupyx, "array_api_compat.cupy": namespace}
    with installed(modules):
        from anyback_nn.backends.cupy import CupyBackend

        monkeypatch.setattr(CupyBackend, "check", lambda self: None)
        step_by_step(CupyBackend, monkeypatch)
        yield CupyBackend()


# PyTorch -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def torch_on(gpu, monkeypatch):
    """Yield the backend of PyTorch, which computes on the stand-in, on the CPU."""
    import torch
    from torch.overrides import TorchFunctionMode

    from anyback_nn.backends.torch import TorchBackend

    slots = []

    def is_slot(x):
        return any(
            x.data_ptr() in range(slot.data_ptr(), slot.data_ptr() + len(slot)) for slot in slots
        )

    class Mode(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if function is torch.empty and kwargs.get("dtype") == torch.uint8:
                if kwargs.get("pin_memory"):
                    return torch.from_numpy(gpu.pin(*args))
                memory = torch.empty(*args, dtype=torch.uint8)
                slots.append(memory)
                gpu.allocate(memory.numpy())
                return memory
            if function is torch.Tensor.copy_ and is_slot(args[0]):
                assert kwargs == {"non_blocking": True}
                gpu.copy(args[1].numpy(), args[0].numpy(), gpu.current)
                return args[0]
            if function is torch.asarray and kwargs.get("copy") and is_slot(args[0]):
                result = torch.empty_like(args[0])
                gpu.take(args[0].numpy(), result.numpy())
                return result
            return function(*args, **kwargs)

    @contextlib.contextmanager
    def stream(queue):
        before, gpu.current = gpu.current, queue
        try:
            yield
        finally:
            gpu.current = before

    step_by_step(TorchBackend, monkeypatch)
    monkeypatch.setattr(TorchBackend, "has_device_memory", True)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: gpu.stream())
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: gpu.current)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    with Mode():
        yield TorchBackend()

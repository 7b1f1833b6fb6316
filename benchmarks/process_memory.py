"""What the kernel says about the memory of a process (Linux)."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

MIB = 2**20


def status(name: str, pid: int | str = "self") -> int:
    """Read a line of ``/proc/PID/status`` in bytes.

    Parameters
    ----------
    name : str
        ``"VmRSS"``, all that is in memory now; ``"VmHWM"``, the most that ever was;
        ``"RssAnon"``, that part of VmRSS which is not pages of files.
    pid : int or str
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel does not tell {name} of process {pid}")


def touch(n_bytes: int) -> None:
    """Take so much memory, write to it, and give it back to the kernel.

    In a virtual machine a page that no process has had lately may have to come from the host, which
    takes several times as long as to load the data that are to go there. So whatever came after a
    process that took less would seem slow.
    """
    np.ones(n_bytes, np.uint8)


class Watch:
    """Reads a quantity of another process again and again, in a thread; keeps the largest value.

    Of another process, because in its own a thread would wait for the interpreter's lock, just
    when a long call takes the most.

    Parameters
    ----------
    pid : int
    names : tuple of str
        See `status`.
    every : float
        Seconds.
    """

    def __init__(self, pid: int, names: tuple[str, ...], every: float = 0.01) -> None:
        self.pid, self.every = pid, every
        self.peak, self.samples = dict.fromkeys(names, 0), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._stop.is_set():
            try:
                for name in self.peak:
                    self.peak[name] = max(self.peak[name], status(name, self.pid))
            except (OSError, ValueError):  # it has ended
                return
            self.samples += 1
            self._stop.wait(self.every)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

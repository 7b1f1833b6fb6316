"""Measure the host's memory, and how much of it is free, for this process.

A container may be allowed less than the machine has: both numbers respect the limits of Linux's
control groups (https://docs.kernel.org/admin-guide/cgroup-v2.html), of version 2 and 1.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_host_memory", "host_memory", "return_memory"]

CGROUPS = Path("/sys/fs/cgroup")
"""The folder in which the control groups are mounted."""

V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def host_memory() -> int | None:
    """Return how many bytes of memory this process could use at most, or None if unknown."""
    totals = [limit for limit, _ in _limits()]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        totals.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(totals, default=None)


def free_host_memory() -> int | None:
    """Return how many bytes of memory are free for this process, or None if unknown."""
    free = [max(limit - used, 0) for limit, used in _limits()]
    if (available := _available()) is not None:
        free.append(available)
    return min(free, default=None)


def return_memory() -> None:
    """Return freed memory to the system, which glibc keeps for the process otherwise."""
    import ctypes  # here, because it takes some milliseconds

    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _available() -> int | None:
    """Return how many bytes the machine has free, or None if unknown."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        # Linux counts what it can drop at once, such as files that were read, as free here only.
        lines = _read(Path("/proc/meminfo")).splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # this system cannot tell
        return None


def _limits() -> Iterator[tuple[int, int]]:
    """Iterate over the limit and the use of each control group of this process that has a limit."""
    for folder, (limit, current) in _groups():
        # No number: "max", or no such file, because the group has no limit.
        with contextlib.suppress(OSError, ValueError):
            limit_bytes = int(_read(folder / limit))
            used = int(_read(folder / current))
            yield limit_bytes, used - _droppable(folder)


def _groups() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Iterate over the folders of the control groups of this process, inner ones first."""
    try:
        lines = _read(Path("/proc/self/cgroup")).splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = CGROUPS, V2
        elif "memory" in controllers.split(","):
            root, names = CGROUPS / "memory", V1
        else:
            continue
        # In a container, the path may be that of the machine outside: the root is then its own.
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            yield group, names
            if group == root:
                break


def _droppable(folder: Path) -> int:
    """Return the bytes of files that count as used but can be dropped at once."""
    with contextlib.suppress(OSError, ValueError):
        stats = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
        return int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")

"""Measure the host's memory, and how much of it is free, and refuse what would not fit.

A container may be allowed less than the machine has: both numbers respect the limits of Linux's
control groups (https://docs.kernel.org/admin-guide/cgroup-v2.html), of version 2 and 1.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from anyback_nn.errors import DataError
from anyback_nn.utils.arguments import as_integer

__all__ = [
    "format_bytes",
    "free_host_memory",
    "host_memory",
    "limit_memory",
    "require_memory",
    "return_memory",
]

_LIMIT: ContextVar[int | None] = ContextVar("limit", default=None)

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


@contextlib.contextmanager
def limit_memory(n_bytes: int | None) -> Iterator[None]:
    """Let `require_memory` compare with this limit; None changes nothing."""
    limit = _LIMIT.get() if n_bytes is None else as_integer("memory_limit", n_bytes, least=0)
    token = _LIMIT.set(limit)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def require_memory(n_bytes: int, what: str, remedy: str) -> None:
    """Raise `DataError` if data would take more than the limit, or than the free memory.

    Parameters
    ----------
    n_bytes : int
    what : str
        The beginning of the message, such as "its arrays take".
    remedy : str
        What to do, unless the limit is raised.
    """
    limit = _LIMIT.get()
    most = free_host_memory() if limit is None else limit
    if most is not None and n_bytes > most:
        allowed = "are free" if limit is None else "are allowed"
        raise DataError(
            f"{what} {format_bytes(n_bytes)} of memory, of which {format_bytes(most)} {allowed}: "
            f"expected less; {remedy}, or set memory_limit= (--memory-limit)"
        )


def format_bytes(n_bytes: float) -> str:
    """Return a number of bytes in a suitable unit.

    >>> format_bytes(1_234_000_000), format_bytes(512)
    ('1.2 GB', '512.0 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"


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

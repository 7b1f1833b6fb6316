"""Memory of a process, as the Linux kernel reports it."""

from __future__ import annotations

from pathlib import Path

MIB = 2**20


def read_status(name: str, pid: int | str = "self") -> int:
    """Read a line of ``/proc/PID/status`` in bytes.

    Parameters
    ----------
    name : str
        ``"VmRSS"``, resident memory; ``"VmHWM"``, its peak so far; ``"RssAnon"``, the part of VmRSS
        that is not pages of files.
    pid : int or str
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel reports no {name} of process {pid}")

"""Free memory: what the machine has, and what the control groups of a container allow."""

import sys
from pathlib import Path

import pytest

import anyback_nn as nn
from anyback_nn.utils import memory
from anyback_nn.utils.memory import free_host_memory, host_memory

PAGE = 4096
GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """Return a function that pretends a machine with these pages of memory, and these files."""

    def pretend(pages=None, free_pages=None, files=()):
        sizes = {"SC_PHYS_PAGES": pages, "SC_AVPHYS_PAGES": free_pages, "SC_PAGE_SIZE": PAGE}

        def sysconf(name):
            if sizes[name] is None:
                raise ValueError(name)
            return sizes[name]

        def read(path):
            if path.as_posix() not in files:
                raise FileNotFoundError(path)
            return files[path.as_posix()]

        monkeypatch.setattr("os.sysconf", sysconf, raising=False)
        monkeypatch.setattr(memory, "_read", read)

    return pretend


def group(folder, limit, used, names=("memory.max", "memory.current"), **stats):
    """Return the files of a control group."""
    lines = "".join(f"{name} {value}\n" for name, value in stats.items())
    return {
        f"/sys/fs/cgroup/{folder}{names[0]}": f"{limit}\n",
        f"/sys/fs/cgroup/{folder}{names[1]}": f"{used}\n",
        f"/sys/fs/cgroup/{folder}memory.stat": lines,
    }


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
MEMINFO = {"/proc/meminfo": "MemTotal: 99 kB\nMemFree: 10 kB\nMemAvailable: 40 kB\n"}
IN_ROOT = {"/proc/self/cgroup": "0::/\n"}
INSIDE = {"/proc/self/cgroup": "0::/a/b\n"}


@pytest.mark.parametrize(
    ("pages", "files", "total"),
    [
        (8, IN_ROOT | group("", 7 * PAGE, 0), 7 * PAGE),
        (8, IN_ROOT | group("", 9 * PAGE, 0), 8 * PAGE),
        (8, IN_ROOT | group("", "max", 0), 8 * PAGE),
        (8, IN_ROOT, 8 * PAGE),
        (8, {}, 8 * PAGE),
        (None, IN_ROOT | group("", 7 * PAGE, 0), 7 * PAGE),
        (None, {}, None),
        (8, INSIDE | group("a/", 3 * PAGE, 0) | group("a/b/", 5 * PAGE, 0), 3 * PAGE),
        # In a container, the path may be that of the machine outside.
        (8, INSIDE | group("", 3 * PAGE, 0), 3 * PAGE),
        (8, {"/proc/self/cgroup": "4:memory:/a\n"} | group("memory/a/", 2 * PAGE, 0, V1), 2 * PAGE),
        (8, {"/proc/self/cgroup": "4:cpu:/a\n"} | group("memory/a/", 2 * PAGE, 0, V1), 8 * PAGE),
    ],
)
def test_memory_is_that_of_the_machine_or_less_in_a_container(machine, pages, files, total):
    machine(pages, files=files)
    assert host_memory() == total


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (MEMINFO, 40 * 1024),
        (MEMINFO | IN_ROOT | group("", 10 * PAGE, 8 * PAGE), 2 * PAGE),
        # Files that were read count as used, and can be dropped.
        (MEMINFO | IN_ROOT | group("", 10 * PAGE, 8 * PAGE, inactive_file=PAGE), 3 * PAGE),
        (MEMINFO | IN_ROOT | group("", GIB, PAGE), 40 * 1024),
        (MEMINFO | IN_ROOT | group("", PAGE, 2 * PAGE), 0),
        (MEMINFO | INSIDE | group("a/", 9 * PAGE, 8 * PAGE) | group("a/b/", GIB, 0), PAGE),
        ({}, 3 * PAGE),
        (IN_ROOT | group("", 10 * PAGE, 8 * PAGE), 2 * PAGE),
    ],
)
def test_free_memory_is_that_of_the_machine_or_less_in_a_container(machine, files, free):
    machine(free_pages=3, files=files)
    assert free_host_memory() == nn.select("numpy").free_memory() == free


def test_systems_where_memory_is_unknown(machine, monkeypatch):
    machine()
    assert host_memory() is free_host_memory() is None
    monkeypatch.delattr("os.sysconf")
    assert host_memory() is free_host_memory() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it may not be known")
def test_this_machine():
    meminfo = Path("/proc/meminfo").read_text()
    total = int(meminfo.split("MemTotal:")[1].split()[0]) * 1024
    assert 0 < free_host_memory() < host_memory() <= total

"""What the kernel is told about a memory map before its rows are read."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.inputs import batches, memory_map
from anyback_nn.inputs.batches import array_source
from anyback_nn.inputs.checks import Samples
from anyback_nn.inputs.memory_map import announce

needs_advice = pytest.mark.skipif(not hasattr(mmap, "MADV_RANDOM"), reason="no advice here")
PAGE = mmap.PAGESIZE
N, WIDTH = 40, 100


class Recorder(mmap.mmap):
    """A map that keeps the advice it is given."""

    advice: list

    def madvise(self, *advice):
        self.advice.append(advice)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Take every file for one that is too large to stay in memory."""
    monkeypatch.setattr(memory_map, "SMALL", 0)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A file that is mapped by a recorder, and the advice that it keeps."""
    monkeypatch.setattr(Recorder, "advice", [], raising=False)
    np.save(tmp_path / "x.npy", np.arange(float(N * WIDTH)).reshape(N, WIDTH))
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", Recorder)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    return x, Recorder.advice


def source(x, **options):
    rows = Samples(x, np.arange(len(x)))
    options = {"batch_size": 16, **options}
    return array_source(rows, nn.select("numpy"), "float64", **options)


def covered(advice):
    """The bytes of the file that were announced."""
    return {
        byte
        for what, start, length in advice
        if what == mmap.MADV_WILLNEED
        for byte in range(start, start + length)
    }


@needs_advice
def test_shuffled_rows_are_read_without_those_around_them_and_rows_in_order_with_them(recorded):
    x, advice = recorded
    shuffled, ordered = source(x, shuffle=True), source(x)
    assert advice == []  # both may use one map: it counts whose epoch it is
    for _ in range(2):
        list(shuffled.epoch(0))
        assert advice[0] == (mmap.MADV_RANDOM,)
        assert {kind for kind, *_ in advice[1:]} == {mmap.MADV_WILLNEED}
        advice.clear()
        list(ordered.epoch(0))
        assert advice == [(mmap.MADV_NORMAL,)]
        advice.clear()


@needs_advice
def test_rows_are_announced_once_each_one_batch_ahead(recorded, monkeypatch):
    monkeypatch.setattr(batches, "BLOCK", 1)
    x, advice = recorded
    # The first piece of advice is that of the map.
    announced = [len(advice) - 1 for _ in source(x, shuffle=True).epoch(0)]
    assert announced == [32, 40, 40]


@needs_advice
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x[3:],
        lambda x: x[2:][:, 10:][::2],
        lambda x: x[::-1],
        lambda x: x[5:, ::-2],
    ],
    ids=["all", "some", "few", "backwards", "both"],
)
def test_the_bytes_of_the_rows_are_announced(recorded, view):
    x, advice = recorded
    part = view(x)
    rows = np.array([3, 0, 11])
    announce(part, random=True)(rows)
    assert advice.pop(0) == (mmap.MADV_RANDOM,)
    assert all(start % PAGE == 0 for _, start, _ in advice)
    assert len(advice) == 3
    # The values are their own positions in the file.
    header = x.offset
    needed = {header + int(value) * 8 + i for value in part[rows].ravel() for i in range(8)}
    announced = covered(advice)
    assert needed <= announced
    assert max(announced) < header + x.nbytes


@needs_advice
def test_a_file_that_can_stay_in_memory_is_read_ahead(recorded, monkeypatch):
    monkeypatch.setattr(memory_map, "SMALL", 0.25)
    x, advice = recorded
    for size, expected in [(4 * x.nbytes, mmap.MADV_NORMAL), (4 * x.nbytes - 1, mmap.MADV_RANDOM)]:
        monkeypatch.setattr(memory_map, "host_memory", lambda size=size: size)
        list(source(x, shuffle=True).epoch(0))
        assert advice[0] == (expected,)
        advice.clear()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_kernel_knows(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3000, 4)))
    x = np.load(path, mmap_mode="r")

    def flags():
        """Of the file's mapping: ``rr`` is random read advice."""
        _, _, of_file = Path("/proc/self/smaps").read_text().partition(str(path))
        return of_file.partition("VmFlags:")[2].partition("\n")[0].split()

    assert "rr" not in flags()
    list(source(x, shuffle=True).epoch(0))
    assert "rr" in flags()
    list(source(x).epoch(0))
    assert "rr" not in flags()


@pytest.mark.parametrize("shuffle", [True, False])
def test_where_there_is_no_advice_rows_are_read_all_the_same(recorded, monkeypatch, shuffle):
    for name in ("MADV_RANDOM", "MADV_NORMAL", "MADV_WILLNEED"):
        monkeypatch.delattr(mmap, name, raising=False)
    x, advice = recorded
    rows = np.concatenate([batch.x for batch in source(x, shuffle=shuffle).epoch(0)])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], x)
    assert advice == []


def test_what_is_no_map_and_a_kernel_that_takes_no_advice(recorded, monkeypatch):
    rows = np.array([0, 1])
    announce(np.ones(3), random=True)(rows)
    announce(np.ndarray.__new__(np.memmap, (2,), np.uint8, bytearray(2)), random=True)(rows)

    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(Recorder, "madvise", refuse)
    assert len(list(source(recorded[0], shuffle=True).epoch(0))) == 3

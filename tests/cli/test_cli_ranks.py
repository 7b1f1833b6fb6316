"""What commands do on each of several ranks; what these print is in tests/distributed."""

from types import SimpleNamespace

import pytest

from anyback_nn import __main__, cli
from anyback_nn.cli import ranks
from anyback_nn.distributed import Communicator


class Rank(Communicator):
    def __init__(self, local_rank, size=8):
        self.rank = self.local_rank = local_rank
        self.size = size


@pytest.mark.parametrize(
    ("spec", "rank", "expected"),
    [
        ("cupy", Rank(0), "cupy:0"),
        ("cupy", Rank(3), "cupy:1"),  # of two
        ("torch:cuda", Rank(1), "torch:cuda:1"),
        ("cupy:0", Rank(1), "cupy:0"),  # it was named
        ("torch", Rank(1), "torch"),  # the processor
        ("cupy", Rank(0, size=1), "cupy"),
    ],
)
def test_each_rank_of_a_machine_has_a_gpu(spec, rank, expected, monkeypatch):
    library = spec.partition(":")[0]
    devices = {"cupy": ["cupy:0", "cupy:1"], "torch": ["torch", "torch:cuda:0", "torch:cuda:1"]}
    backend = SimpleNamespace(spec=spec, devices=lambda: devices[library])
    monkeypatch.setattr(ranks, "select", lambda spec: SimpleNamespace(spec=spec))
    monkeypatch.setattr(ranks, "joined", rank)
    assert ranks.choose_device(backend).spec == expected


def test_standard_input_is_for_one_process(fails, monkeypatch):
    monkeypatch.setattr(ranks.distributed, "init", lambda kind: Rank(0))
    monkeypatch.setattr(ranks, "joined", ranks.ALONE)
    monkeypatch.setattr(Rank, "abort", lambda self, status: None)
    err = fails("train", "-", "--target", "y")
    assert err == (
        "error: several processes cannot read standard input: expected a file that each of them "
        "reads\n"
    )


@pytest.mark.parametrize("size", __main__.LOCAL_SIZES)
@pytest.mark.parametrize(
    ("n_local", "n_cores", "n_allowed", "expected"),
    [
        ("3", 16, 16, "5"),
        ("4", 2, 2, "1"),
        ("1", 16, 16, None),
        ("3", 16, 4, None),  # the launcher has bound each rank to cores
    ],
)
def test_each_rank_has_its_share_of_the_cores(
    size, n_local, n_cores, n_allowed, expected, monkeypatch
):
    for name in (*__main__.LOCAL_SIZES, *__main__.THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(size, n_local)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")  # the user's choice
    monkeypatch.setattr(__main__.os, "cpu_count", lambda: n_cores)
    monkeypatch.setattr(
        __main__.os, "sched_getaffinity", lambda pid: set(range(n_allowed)), raising=False
    )
    monkeypatch.setattr(cli, "main", lambda: 0)
    assert __main__.run() == 0
    chosen = [__main__.os.environ.get(name) for name in __main__.THREADS]
    assert chosen == [expected, expected, "7"]

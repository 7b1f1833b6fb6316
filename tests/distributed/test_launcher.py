"""Which launcher has started a process, as its environment says; the libraries are made up."""

import sys
from types import SimpleNamespace

import pytest

from anyback_nn.distributed import ALONE, Communicator, init, launcher
from anyback_nn.errors import BackendUnavailableError

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "here"}
VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", *TORCHRUN)


class Ranks(Communicator):
    """Two processes that a library knows of."""

    size = 2

    def __init__(self):
        self.ends = []

    def abort(self, status):
        self.ends.append(status)


class Libraries:
    """MPI and PyTorch, where a process joins ``ranks``."""

    def __init__(self):
        self.ranks, self.joined = Ranks(), []

    def join(self, kind):
        self.joined.append(kind)
        return self.ranks


@pytest.fixture
def libraries(monkeypatch):
    """Let no launcher have started the tests, and replace the libraries."""
    made_up = Libraries()
    group = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(distributed=group))
    monkeypatch.setitem(sys.modules, "torch.distributed", group)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", SimpleNamespace())
    for kind in ("mpi", "torch"):
        module = SimpleNamespace(join=lambda kind=kind: made_up.join(kind))
        monkeypatch.setitem(sys.modules, f"anyback_nn.distributed.{kind}", module)
    monkeypatch.setattr(sys, "excepthook", lambda *error: None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    launcher._join.cache_clear()
    yield made_up
    launcher._join.cache_clear()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, ["mpi"]),
        ({"PMI_SIZE": "4"}, ["mpi"]),
        ({"SLURM_STEP_NUM_TASKS": "3"}, ["mpi"]),
        (dict.fromkeys(VARIABLES[:3], "1"), []),
        (TORCHRUN, ["torch"]),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, []),
        # What a site exports for single jobs says nothing about those of mpiexec.
        ({**TORCHRUN, "WORLD_SIZE": "1", "OMPI_COMM_WORLD_SIZE": "2"}, ["mpi"]),
        # A task of Slurm on each machine, in which torchrun starts more.
        ({**TORCHRUN, "SLURM_STEP_NUM_TASKS": "2"}, ["torch"]),
        ({"RANK": "0", "WORLD_SIZE": "2"}, []),
    ],
)
def test_the_environment_says_which(environment, expected, libraries, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ranks = init()
    assert ranks is (libraries.ranks if expected else ALONE)
    assert init() is ranks
    assert libraries.joined == expected  # once
    assert init("off") is ALONE


@pytest.mark.parametrize("joined", [True, False])
def test_a_process_group_of_pytorch_is_joined(joined, libraries):
    sys.modules["torch.distributed"].is_initialized = lambda: joined
    assert init() is (libraries.ranks if joined else ALONE)


def test_torch_needs_a_launcher(libraries):
    with pytest.raises(BackendUnavailableError, match="expected a start by torchrun"):
        init("torch")


def test_mpi_is_not_the_launcher_of_torchrun(libraries, monkeypatch):
    monkeypatch.setattr(Ranks, "size", 1)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendUnavailableError, match="has started 2 processes"):
        init("mpi")


def test_mpi_that_is_named_needs_no_environment(libraries):
    assert init("mpi") is libraries.ranks
    assert libraries.joined == ["mpi"]


def test_unknown_kinds_are_refused(libraries):
    with pytest.raises(ValueError, match="expected one of auto, mpi, torch, off, got 'MPI'"):
        init("MPI")


@pytest.mark.parametrize(("kind", "module"), [("mpi", "mpi4py.MPI"), ("torch", "torch")])
def test_what_is_missing_is_named(kind, module, libraries, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendUnavailableError) as error:
        init(kind)
    library = module.partition(".")[0]
    assert str(error.value).startswith(f"distributed={kind!r} needs {library}, which cannot be")
    assert f"pip install 'anyback-nn[{kind}]'" in str(error.value)
    assert init("off") is ALONE


def test_a_launcher_of_another_mpi(libraries, monkeypatch):
    """Each of its processes would train alone, and all would write the same files."""
    monkeypatch.setenv("PMI_SIZE", "4")
    libraries.ranks = ALONE
    with pytest.raises(BackendUnavailableError, match="started 4 processes, but MPI knows of one"):
        init()
    monkeypatch.delenv("PMI_SIZE")
    assert init("mpi") is ALONE


@pytest.mark.parametrize("kind", ["mpi", "torch"])
def test_what_no_one_has_caught_ends_all(kind, libraries, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: shown.append(error[1]))
    assert init(kind) is init(kind)
    error = RuntimeError("of a user's script")
    sys.excepthook(RuntimeError, error, None)
    assert shown == [error]
    assert libraries.ranks.ends == [1]

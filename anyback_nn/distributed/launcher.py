"""Find out which launcher has started this process, and join the others that it has started."""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from typing import Any

from anyback_nn.distributed.communicator import ALONE, Communicator
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.utils.arguments import require_extra

__all__ = ["KINDS", "init"]

KINDS = ("auto", "mpi", "torch", "off")
"""What `init` takes."""

_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")


def init(kind: str = "auto") -> Communicator:
    """Join the processes that a launcher has started, such as ``mpiexec`` or ``torchrun``.

    Call it on every rank, before anything is trained, and pass what it returns to `Model.fit`.
    Called again, it returns the same. If an exception ends this process, all ranks end.

    Parameters
    ----------
    kind : {"auto", "mpi", "torch", "off"}
        MPI by mpi4py; `torch.distributed`, whose process group may have been set up; or neither.
        By default, what the launcher's environment says, and alone if there is no launcher.

    Returns
    -------
    Communicator

    Raises
    ------
    BackendUnavailableError
        The library is not installed, or it is not the launcher's.

    Examples
    --------
    >>> init("off").size
    1
    """
    if kind not in KINDS:
        raise ValueError(f"distributed: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "auto":
        kind = _find_launcher()
    return ALONE if kind == "off" else _join(kind)


@cache
def _join(kind: str) -> Communicator:
    """Join the others, once; what no one has caught ends them, who would wait for ever."""
    library, purpose = ("mpi4py.MPI" if kind == "mpi" else "torch"), f"distributed={kind!r}"
    require_extra(library, kind, purpose, BackendUnavailableError)
    if kind == "torch" and not _can_join_torch():
        raise BackendUnavailableError(
            f"{purpose}: there is no process group of PyTorch to join: expected a start by torchrun"
        )
    ranks: Communicator = importlib.import_module(f"anyback_nn.distributed.{kind}").join()
    if kind == "mpi" and ranks.size == 1 < (started := _count_started(*_MPI_SIZES, "WORLD_SIZE")):
        raise BackendUnavailableError(
            f"the launcher has started {started} processes, but MPI knows of one: "
            "expected the launcher of the MPI that mpi4py uses (python -m mpi4py "
            "--mpi-lib-version; with Slurm, srun --mpi=pmix or pmi2), or --distributed off"
        )
    show = sys.excepthook

    def end(*error: Any) -> None:
        show(*error)
        ranks.abort(1)

    sys.excepthook = end
    return ranks


def _find_launcher() -> str:
    """Return the kind of the launcher that has started this process with others, or off."""
    if _has_group() or (_count_started("WORLD_SIZE") > 1 and _can_join_torch()):
        return "torch"
    return "mpi" if _count_started(*_MPI_SIZES) > 1 else "off"


def _has_group() -> bool:
    """Return whether a process group of PyTorch has been set up."""
    dist: Any = sys.modules.get("torch.distributed")
    return dist is not None and dist.is_available() and dist.is_initialized()


def _can_join_torch() -> bool:
    """Return whether there is a process group of PyTorch, or the environment to set it up."""
    return _has_group() or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def _count_started(*names: str) -> int:
    """Return how many processes a launcher has started, as it tells them by these variables."""
    return max(int(os.environ.get(name, "1")) for name in names)

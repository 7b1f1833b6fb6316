"""Run the command line, as ``anyback-nn`` or ``python -m anyback_nn``."""

import os
import sys

LOCAL_SIZES = ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
"""What launchers call the number of their processes on this machine."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run() -> int:
    """Run the program, whose imports Ctrl-C may interrupt too; return the exit status."""
    n_local = max(int(os.environ.get(name, "1")) for name in LOCAL_SIZES)
    cores = os.cpu_count() or 1
    is_bound = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < cores
    for name in THREADS if n_local > 1 and not is_bound else ():
        os.environ.setdefault(name, str(max(1, cores // n_local)))  # NumPy reads it
    try:
        from anyback_nn.cli import main

        return main()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())

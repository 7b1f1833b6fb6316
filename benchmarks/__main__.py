"""The benchmarks, in an environment that has all the packages (``nox -s bench`` makes one).

    python -m benchmarks                   # all reports, each written to results/: over an hour
    python -m benchmarks --quick           # prints the training times from short runs: 3 minutes
    python -m benchmarks NAME --quick      # prints one report; --output NAME writes it; --help

Run it in the folder above this one. Each benchmark of a series is a process of its own.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time

from benchmarks.harness.process import ROOT
from benchmarks.harness.report import make_parser

REPORTS = {
    "training": "benchmarks.training",
    "sklearn_estimators": "benchmarks.sklearn_estimators",
    "whole_process": "benchmarks.whole_process",
    "prediction": "benchmarks.prediction",
    "recording": "benchmarks.recording",
    "profile_step": "benchmarks.profile_step",
    "distributed": "benchmarks.distributed",
}
"""The modules of the reports, by their names."""
QUICK = ("training",)
"""The reports of a quick run."""
MODULES = REPORTS | {"gpu": "benchmarks.gpu.run"}


def run_all(arguments: list[str]) -> None:
    """Run one benchmark after another; the exit status is 1 if one failed."""
    options = make_parser(__doc__).parse_args(arguments)
    failed = []
    for name in QUICK if options.quick else REPORTS:
        # A quick run only prints.
        passed = ["--quick"] if options.quick else ["--output", name]
        passed += ["--machine", options.machine, "--remark", options.remark]
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks", name, *passed]
        if subprocess.run(command, check=False, cwd=ROOT).returncode:
            failed.append(name)
        print(f"\n<!-- {name}: {time.perf_counter() - started:.0f} s -->\n", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def main(arguments: list[str]) -> None:
    """Run one benchmark, a worker process of it, or all."""
    if not arguments or arguments[0].startswith("-"):
        run_all(arguments)
        return
    name, *rest = arguments
    if name not in MODULES:
        sys.exit(f"unknown benchmark {name!r}: expected one of {', '.join(MODULES)}")
    module = importlib.import_module(MODULES[name])
    if rest[:1] == ["--worker"]:
        module.run_worker(*rest[1:])
    else:
        module.main(rest)


if __name__ == "__main__":
    main(sys.argv[1:])

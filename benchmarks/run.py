"""All benchmarks, one after another.

    nox -s bench -- --quick                        # or, in an environment that has all packages:
    python benchmarks/run.py --quick

A full run, of more than an hour, writes each report to ``results/`` as Markdown and JSON. A quick
one only prints: the table of training times, from short runs, or what ``--only`` names. Each
benchmark is a process of its own and can be run by itself, with options of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from report import parser

HERE = Path(__file__).parent
BENCHMARKS = {
    "training": "peers/compare.py",
    "sklearn_estimators": "sklearn_estimators.py",
    "whole_process": "whole_process.py",
    "prediction": "prediction.py",
    "memory": "memory.py",
    "scaling": "scaling.py",
    "profile_step": "profile_step.py",
    "large_data": "large_data.py",
    "mixed_precision": "mixed_precision.py",
}
"""The names of the reports, and what makes them."""
QUICK = ("training",)
"""What a quick run consists of: two minutes on an idle machine."""


def command(name: str, options: argparse.Namespace) -> list[str]:
    """Write the command for one of them."""
    passed = ["--machine", options.machine, "--remark", options.remark]
    passed += ["--quick"] if options.quick else []
    if options.write:
        passed += ["--output", f"{options.prefix}{name}"]
    return [sys.executable, str(HERE / BENCHMARKS[name]), *passed]


def main() -> None:
    """Run them; the exit status tells whether all could be run."""
    cli = parser(__doc__)
    cli.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help="some of them")
    cli.add_argument("--skip", nargs="+", choices=BENCHMARKS, metavar="NAME", default=[])
    cli.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="write to results/; default: unless it is a quick run",
    )
    cli.add_argument("--prefix", default="", help="of the names of what is written")
    options = cli.parse_args()
    if options.output:
        cli.error("each report has a name of its own: use --prefix")
    if options.write is None:
        options.write = not options.quick
    failed = []
    for name in options.only or (QUICK if options.quick else BENCHMARKS):
        if name in options.skip:
            continue
        started = time.perf_counter()
        status = subprocess.run(command(name, options), check=False).returncode
        print(f"\n<!-- {name}: {time.perf_counter() - started:.0f} s -->\n", flush=True)
        failed += [name] if status else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

"""Fuzz the readers of files: ``python tests/fuzz --seconds 60 csv npz``, by default all formats.

Inputs are read by a process of their own, whose memory is limited; the one that ends the process,
hangs, or raises an error that is not ours is kept, and how to read it again is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

HANGS = 20
"""The seconds after which an input hangs."""

ROOM = 2**32
"""The bytes that a process may take in addition to what it has at its start."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", help="which formats; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="for each format")
    parser.add_argument("--seed", default="0", help="other inputs")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder")
    parser.add_argument("--read", type=Path, metavar="FILE", help="read one file again")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        read_inputs(options.formats[0], options.seed, options.child)
        return 0
    if options.read:
        from fuzz_case import find_failure

        failure = find_failure(options.formats[0], options.read.absolute())
        print(failure or "read or refused, as it should be")
        return bool(failure)
    names = options.formats or list_formats()
    counts = {name: fuzz(name, options) for name in names}
    return any(counts.values())


def list_formats() -> list[str]:
    from fuzz_formats import FORMATS

    return list(FORMATS)


def fuzz(name: str, options: argparse.Namespace) -> int:
    """Read inputs of a format for some seconds; return how many failures there were."""
    end, number, n_failures, seen = time.monotonic() + options.seconds, 0, 0, set[str]()
    while time.monotonic() < end:
        with TemporaryDirectory() as folder:
            words = [sys.executable, __file__, name, "--seed", options.seed, "--child", str(number)]
            with (
                open(Path(folder, "errors"), "w") as errors,
                subprocess.Popen(
                    words, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
                ) as child,
            ):
                number, failure, path = watch(child, folder, end, number)
                content = path.read_bytes() if path else b""
        if failure is None:
            break
        n_failures += 1
        last = failure.strip().splitlines()[-1][:300]
        if last not in seen:
            seen.add(last)
            options.failures.mkdir(parents=True, exist_ok=True)
            kept = options.failures / f"{name}-{options.seed}-{number}{path.suffix}"
            kept.write_bytes(content)
            kept.with_name(f"{kept.name}.log").write_text(failure, errors="replace")
            print(f"{name}: {last}\n  python tests/fuzz {name} --read {kept}", flush=True)
        number += 1
    print(f"{name}: {number} inputs, {n_failures} failures", flush=True)
    return n_failures


def watch(
    child: subprocess.Popen[str], folder: str, end: float, number: int
) -> tuple[int, str | None, Path | None]:
    """Wait for a failure of a process, or the end; return the input's number, failure and file."""
    assert child.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(child.stdout, selectors.EVENT_READ)
    starting = True
    while True:
        ready = selector.select(HANGS * (5 if starting else 1))
        line = child.stdout.readline() if ready else ""
        if line.startswith("reading "):
            starting, number = False, int(line.split()[1])
            if time.monotonic() < end:
                continue
            child.kill()
            return number, None, None
        failed = line.startswith("failed")
        failure = Path(folder, "failure").read_text() if failed else None
        if failure is None:
            failure = f"hangs for {HANGS} seconds"
            if ready:
                status = child.wait()
                end_status = signal.Signals(-status).name if status < 0 else f"status {status}"
                errors = Path(folder, "errors").read_text(errors="replace")[-5000:]
                if starting:
                    raise SystemExit(errors)
                failure = f"{errors}\nended the process ({end_status})"
        child.kill()
        return number, failure, next(Path(folder).glob("input*"))


def read_inputs(name: str, seed: str, number: int) -> None:
    """Read inputs, one after the other, until one fails."""
    from fuzz_case import find_failure, make_input
    from fuzz_case import watch as watch_events
    from fuzz_formats import FORMATS

    path = Path(f"input{FORMATS[name].suffix}")
    warnings.simplefilter("ignore")
    make_input(name, seed, 0)  # the seeds
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    out = os.fdopen(os.dup(1), "w")
    watch_events()
    while True:
        path.write_bytes(make_input(name, seed, number))
        print(f"reading {number}", file=out, flush=True)
        if failure := find_failure(name, path):
            Path("failure").write_text(failure, errors="replace")
            print("failed", file=out, flush=True)
            return
        number += 1


if __name__ == "__main__":
    sys.exit(main())

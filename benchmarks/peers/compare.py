"""Training time beside other libraries: the same data, networks, first weights and batches.

    nox -s bench -- --quick                        # or, in an environment that has all of them:
    python benchmarks/peers/compare.py --quick

Every system runs in a process of its own and trains when it is its turn, so that all of them see
the machine in the same states: an epoch that is not timed, since the others have had the caches,
then one that is. Times are medians of these; ratios are medians of the ratios of each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from systems import SYSTEMS
from work import FASHION, WORKS, Work, load

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
OURS = "ours, numpy"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker:
    """A system in a process of its own.

    Parameters
    ----------
    name : str
        Of `SYSTEMS`.
    """

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **asked: Any) -> Any:
        """Send a request and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(asked), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return "failed"

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def measure(index: int, workers: dict[str, Worker], samples: int | None, repeats: int) -> Any:
    """Time one row: the seconds of each epoch of each system, or why there are none."""
    found: dict[str, Any] = {}
    for name, worker in workers.items():
        reason = worker.ask(do="prepare", work=index, samples=samples)
        found[name] = reason or {"seconds": [], "losses": []}
        if not reason:
            worker.ask(do="epoch")
    for _ in range(repeats):
        for name, worker in workers.items():
            if isinstance(found[name], dict):
                worker.ask(do="epoch")
                answer = worker.ask(do="epoch")
                if answer == "failed":
                    found[name] = answer
                    continue
                found[name]["seconds"].append(answer[0])
                found[name]["losses"].append(answer[1])
    return found


def ratios(found: Any, name: str, to: str = OURS) -> float | None:
    """Give the median of the ratios of each turn, this system's time over that of another."""
    if not isinstance(found.get(name), dict) or not isinstance(found.get(to), dict):
        return None
    pairs = zip(found[name]["seconds"], found[to]["seconds"])
    return median(one / other for one, other in pairs)


def table(results: dict[str, Any], names: list[str], cell: Any) -> str:
    """Write a Markdown table with a row for each work."""
    lines = [["", *names], ["---"] + ["---:"] * len(names)]
    lines += [[work, *(cell(found, name) for name in names)] for work, found in results.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(found: Any, name: str) -> str:
    """Write the median time of an epoch."""
    one = found[name]
    return f"{median(one['seconds']) * 1e3:,.1f}" if isinstance(one, dict) else f"- ({one})"


def ratio(found: Any, name: str) -> str:
    """Write how many times as long as ours on NumPy it takes."""
    value = ratios(found, name)
    return "-" if value is None else f"{value:.2f}"


def samples_of(work: Work, quick: bool) -> int | None:
    """Choose how many samples an epoch has: all, or about 40 batches for a first impression."""
    return min(len(load(work.data)[0]), max(40 * work.batch, 4096)) if quick else None


def main() -> None:
    """Measure, print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short epochs, for a first impression")
    parser.add_argument("--repeats", type=int, default=0, help="epochs of each; default: 7")
    parser.add_argument("--systems", help="some of: " + "; ".join(SYSTEMS))
    parser.add_argument("--works", help="the numbers of some rows, from 0, such as 0,2")
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core {platform.machine()} CPU")
    parser.add_argument("--remark", default="", help="what else a reader should know")
    parser.add_argument("--output", metavar="NAME", help="write NAME.json and NAME.md to results/")
    options = parser.parse_args()
    names = options.systems.split(";") if options.systems else list(SYSTEMS)
    names = [name.strip() for name in names]
    works = range(len(WORKS))
    if options.works:
        works = [int(one) for one in options.works.split(",")]
    repeats = options.repeats or (5 if options.quick else 7)
    workers = {name: Worker(name) for name in names}
    results: dict[str, Any] = {}
    versions: dict[str, str] = {"Python": platform.python_version()}
    try:
        for name in list(workers):
            answer = workers[name].ask(do="versions")
            if answer == "failed":
                print(f"{name}: cannot be started", file=sys.stderr)
                workers.pop(name).stop()
            else:
                versions |= answer
        for index in works:
            work = WORKS[index]
            samples = samples_of(work, options.quick)
            results[work.name] = measure(index, workers, samples, repeats)
            print(f"{work.name}: {seconds(results[work.name], OURS)} ms", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.stop()
    names = list(workers)
    text = report(results, names, versions, options, repeats)
    print(text)
    if options.output:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{options.output}.md").write_text(f"{text}\n", encoding="utf-8")
        contents = {"machine": options.machine, "versions": versions, "results": results}
        (RESULTS / f"{options.output}.json").write_text(json.dumps(contents, indent=1) + "\n")


def report(
    results: dict[str, Any], names: list[str], versions: dict[str, str], options: Any, repeats: int
) -> str:
    """Write everything as Markdown."""
    threads = [f"`{name}={os.environ.get(name, 'not set')}`" for name in THREADS]
    data = "" if FASHION.is_dir() else "Noise of the shape of Fashion-MNIST took its place. "
    short = "Short epochs, of about 40 batches. " if options.quick else ""
    named = ", ".join(f"{name} {one}" for name, one in versions.items())
    others = [name for name in names if name != OURS]
    return "\n\n".join(
        [
            "# Training time beside other libraries",
            f"{options.machine}; {named}; {', '.join(threads)}. Made by "
            "`benchmarks/peers/compare.py`, which says how. "
            f"{short}{data}{options.remark}".rstrip(),
            f"Milliseconds an epoch, medians of {repeats}:",
            table(results, names, seconds),
            "Their time over that of ours on NumPy, medians of the ratios of each turn (above 1: "
            "ours is faster):",
            table(results, others, ratio),
        ]
    )


if __name__ == "__main__":
    main()

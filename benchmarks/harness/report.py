"""What the reports of all benchmarks have in common: options, the machine, tables, files."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "results"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def make_parser(doc: str, name: str = "") -> argparse.ArgumentParser:
    """Create a parser of the options that all benchmarks share.

    Parameters
    ----------
    doc : str
        The docstring of the benchmark; its first line describes it.
    name : str
        The name of the benchmark on the command line.
    """
    prog = f"python -m benchmarks {name}".rstrip()
    parser = argparse.ArgumentParser(prog=prog, description=doc.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short runs, for a first impression")
    parser.add_argument("--machine", default=describe_machine(), help="the name of this machine")
    parser.add_argument("--remark", default="", help="what else a reader should know")
    if name:
        parser.add_argument(
            "--output", metavar="NAME", help="write NAME.md and NAME.json to results/"
        )
    return parser


def describe_machine() -> str:
    """Return the number of cores and the name of the processor."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
        model = next(names).strip()
    except (OSError, StopIteration):  # another system, or another kind of processor
        pass
    return f"{os.cpu_count()}-core {model}"


def count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those of the packages that are installed."""
    versions = {"Python": platform.python_version()}
    for name in dict.fromkeys(packages):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]], n_strings: int = 1) -> str:
    """Format a Markdown table.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequence of str
    n_strings : int
        The number of columns, from the left, of strings; the others are of numbers.

    Examples
    --------
    >>> print(format_table(["system", "ms"], [["ours", "1.2"]]))
    | system | ms |
    | --- | ---: |
    | ours | 1.2 |
    """
    rule = [*["---"] * n_strings, *["---:"] * (len(head) - n_strings)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *rows])


def format_results(
    head: Sequence[str],
    results: Mapping[str, Any],
    format_cells: Callable[[Any], Iterable[str]],
    n_strings: int = 1,
) -> str:
    """Format a table with a row for each result, or with the reason why there is none, a string."""
    rows = [
        [f"{name} ({result})", *["-"] * (len(head) - 1)]
        if isinstance(result, str)
        else [name, *format_cells(result)]
        for name, result in results.items()
    ]
    return format_table(head, rows, n_strings)


def publish(
    options: Any,
    script: str,
    title: str,
    packages: Iterable[str],
    paragraphs: Iterable[str],
    **contents: Any,
) -> None:
    """Print a report and, with ``--output``, write it.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed by `make_parser`.
    script : str
        The ``__file__`` of the benchmark.
    title : str
    packages : iterable of str
        What computes; their versions are reported.
    paragraphs : iterable of str
    **contents
        The same as numbers, for JSON.
    """
    versions = find_versions(packages)
    limits = [f"`{name}={os.environ.get(name, 'not set')}`" for name in THREADS]
    if count_cores() < (os.cpu_count() or 1):
        limits.append(f"bound to {count_cores()} of the cores")
    short = "A quick run, for a first impression. " if options.quick else ""
    how = (
        f"{options.machine}; {', '.join(f'{name} {number}' for name, number in versions.items())}; "
        f"{', '.join(limits)}. Made by "
        f"`benchmarks/{Path(script).resolve().relative_to(HERE).as_posix()}`, which says how. "
        f"{short}{options.remark}"
    ).rstrip()
    text = "\n\n".join([f"# {title}", how, *paragraphs])
    print(text, flush=True)
    if not options.output:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.output}.md").write_text(f"{text}\n", encoding="utf-8")
    about = {"machine": options.machine, "quick": options.quick, "versions": versions}
    (RESULTS / f"{options.output}.json").write_text(json.dumps(about | contents, indent=1) + "\n")

"""What the reports of all benchmarks have in common: options, the machine, tables, files."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def parser(doc: str, **defaults: Any) -> argparse.ArgumentParser:
    """Make a parser of the options that all benchmarks share.

    Parameters
    ----------
    doc : str
        The docstring of the benchmark; its first line describes it.
    **defaults
        Of options, if they differ.
    """
    options = argparse.ArgumentParser(description=doc.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="short runs, for a first impression")
    options.add_argument("--machine", default=machine(), help="how to call this machine")
    options.add_argument("--remark", default="", help="what else a reader should know")
    options.add_argument("--output", metavar="NAME", help="write NAME.md and NAME.json to results/")
    options.set_defaults(**defaults)
    return options


def machine() -> str:
    """Name the processor."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(one.partition(":")[2].strip() for one in lines if one.startswith("model name"))
    except (OSError, StopIteration):  # another system, or another kind of processor
        pass
    return f"{os.cpu_count()}-core {model}"


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Give the versions of Python and of those of the packages that are installed."""
    found = {"Python": platform.python_version()}
    for name in dict.fromkeys(packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def preamble(options: Any, script: str, named: dict[str, str]) -> str:
    """Write where and how it was measured.

    Parameters
    ----------
    options : argparse.Namespace
        Of `parser`.
    script : str
        The ``__file__`` of the benchmark.
    named : dict of str to str
        The versions of what computes.
    """
    limits = [f"`{name}={os.environ.get(name, 'not set')}`" for name in THREADS]
    if cores() < (os.cpu_count() or 1):
        limits.append(f"bound to {cores()} of the cores")
    short = "A quick run, for a first impression. " if options.quick else ""
    return (
        f"{options.machine}; {', '.join(f'{name} {one}' for name, one in named.items())}; "
        f"{', '.join(limits)}. Made by "
        f"`benchmarks/{Path(script).resolve().relative_to(HERE).as_posix()}`, which says how. "
        f"{short}{options.remark}"
    ).rstrip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Write a Markdown table.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequence of str
    texts : int
        How many columns, from the left, hold text; the others hold numbers.

    Examples
    --------
    >>> print(table(["who", "ms"], [["we", "1.2"]]))
    | who | ms |
    | --- | ---: |
    | we | 1.2 |
    """
    rule = [*["---"] * texts, *["---:"] * (len(head) - texts)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *rows])


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Give the median of the ratios of each turn, which other work on the machine changes least.

    Examples
    --------
    >>> ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0])
    2.0
    """
    return median(one / other for one, other in zip(theirs, ours))


def picture(options: Any, draw: Callable[[Path], None], text: str) -> list[str]:
    """Draw a picture beside the report, where that is written.

    Parameters
    ----------
    options : argparse.Namespace
        Of `parser`.
    draw : callable
        Gets the path.
    text : str
        What it shows.

    Returns
    -------
    list of str
        The paragraph that shows it, or none.
    """
    if not options.output:
        return []
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.output}.png"
    draw(path)
    return [f"![{text}]({path.name})"]


def publish(options: Any, parts: Iterable[str], contents: dict[str, Any]) -> None:
    """Print a report and, where that is asked for, write it.

    Parameters
    ----------
    options : argparse.Namespace
        Of `parser`.
    parts : iterable of str
        The paragraphs of the report.
    contents : dict
        The same as numbers, for JSON.
    """
    text = "\n\n".join(parts)
    print(text, flush=True)
    if not options.output:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.output}.md").write_text(f"{text}\n", encoding="utf-8")
    contents = {"machine": options.machine, "quick": options.quick, **contents}
    (RESULTS / f"{options.output}.json").write_text(json.dumps(contents, indent=1) + "\n")

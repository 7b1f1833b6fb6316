"""A table of the functions under test and the backends, made of the results of the tests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from anyback_nn.backends import Backend
from anyback_nn.testing.marks import find_backend, list_functions
from anyback_nn.utils.files import atomic_write

__all__ = ["ReportPlugin", "format_report", "list_outcomes"]

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def list_outcomes(terminalreporter: Any) -> Iterator[tuple[str, str, pytest.TestReport]]:
    """Iterate over the outcome, the backend's spec and the report of each test on a backend.

    With pytest-xdist too: the tests are in other processes, but their reports come here.
    """
    for outcome in OUTCOMES:
        for report in terminalreporter.getreports(outcome):
            spec = dict(getattr(report, "user_properties", ())).get("backend")
            if spec is not None:
                # pytest-run-parallel calls a failure an error.
                yield (
                    "failed" if (outcome, report.when) == ("error", "call") else outcome,
                    spec,
                    report,
                )


class ReportPlugin:
    """Writes the table at the end of the tests."""

    def __init__(self, path: Path, backends: Sequence[Backend]) -> None:
        self.path = path
        self.backends = backends

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Add the functions under test to reports, which cross from process to process."""
        for item in items:
            if find_backend(item) is not None:
                item.user_properties += (("under_test", name) for name in list_functions(item))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the file, if a test ran on a backend."""
        outcomes = [
            (str(name), spec, outcome, _read_reason(report))
            for outcome, spec, report in list_outcomes(terminalreporter)
            for key, name in report.user_properties
            if key == "under_test"
        ]
        if not outcomes:
            return
        with atomic_write(self.path) as path:
            path.write_text(format_report(self.backends, outcomes), encoding="utf-8")
        terminalreporter.line(f"backend report: {self.path}")


def format_report(
    backends: Sequence[Backend], outcomes: Sequence[tuple[str, str, str, str]]
) -> str:
    """Format the report.

    Parameters
    ----------
    backends : sequence of Backend
        The columns.
    outcomes : sequence of tuple of str
        The function under test, the backend's spec, the outcome and its reason, or ``""``.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> outcomes = [("softmax", "numpy", "passed", ""), ("norm", "numpy", "xfailed", "no axis")]
    >>> print(format_report([select("numpy")], outcomes), end="")  # doctest: +ELLIPSIS
    | under test | numpy |
    |---|---|
    | norm | 1 xfailed[^1] |
    | softmax | 1 passed |
    <BLANKLINE>
    [^1]: no axis
    <BLANKLINE>
    - numpy: version ..., device cpu
    """
    cells: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, spec, outcome, reason in outcomes:
        cells[name, spec].append((outcome, reason))
    notes: dict[str, int] = {}
    names = sorted({name for name, _ in cells})
    table = [["under test", *(backend.spec for backend in backends)]]
    table += [[name, *(_cell(cells[name, b.spec], notes) for b in backends)] for name in names]
    head, *rows = ["".join(f"| {_escape(text)} " for text in row) + "|" for row in table]
    parts = [
        [head, "|---" * len(table[0]) + "|", *rows],
        [f"[^{number}]: {reason}" for reason, number in notes.items()],
        [f"- {b.spec}: version {b.version}, device {b.device_label}" for b in backends],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _cell(outcomes: list[tuple[str, str]], notes: dict[str, int]) -> str:
    """Format the outcomes of a function's tests on a backend, and number new reasons."""
    counts = Counter(outcome for outcome, _ in outcomes)
    words = []
    for outcome in OUTCOMES:
        # Workers finish their tests in any order.
        reasons = sorted({reason for kind, reason in outcomes if kind == outcome and reason})
        marks = "".join(f"[^{notes.setdefault(reason, len(notes) + 1)}]" for reason in reasons)
        if counts[outcome]:
            words.append(f"{counts[outcome]} {outcome}{marks}")
    return ", ".join(words) or "-"


def _read_reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped or expected to fail."""
    if hasattr(report, "wasxfail"):
        reason = report.wasxfail.removeprefix("reason: ")
    elif report.skipped:
        reason = str(report.longrepr[-1]).removeprefix("Skipped: ")  # type: ignore[index]
    else:
        return ""
    return " ".join(reason.split())


def _escape(text: str) -> str:
    return text.replace("|", r"\|")

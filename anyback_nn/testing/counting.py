"""Show how often each test reads values back to the host: ``--count-host-reads``."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from anyback_nn.testing.host_reads import count_host_reads
from anyback_nn.testing.marks import find_backend
from anyback_nn.testing.report import list_outcomes

__all__ = ["CountPlugin"]

MOST_LINES = 20
"""The number of tests that are shown, but with ``-v``."""


class CountPlugin:
    """Counts the reads of each test on a backend, and prints them with the most first."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Count what the test reads itself, and not its fixtures."""
        backend = find_backend(item)
        if backend is None:
            return (yield)
        with count_host_reads(backend) as counts:
            try:
                return (yield)
            finally:
                if counts is not None:
                    item.user_properties.append(("host_reads", sum(counts.values())))
                    words = ", ".join(f"{n} {by}" for by, n in sorted(counts.items()))
                    item.user_properties.append(("host_reads_by", words))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Print the tests that read values, and where reads could not be counted."""
        counts: dict[str, tuple[int, str]] = {}
        uncounted = set()
        for _, spec, report in list_outcomes(terminalreporter):
            properties: dict[str, Any] = dict(report.user_properties)
            if "host_reads" in properties:
                counts[report.nodeid] = properties["host_reads"], properties["host_reads_by"]
            elif report.when == "call":
                uncounted.add(spec)
        terminalreporter.section("reads of values back to the host")
        lines = [
            f"{n:5} {test}: {words}"
            for test, (n, words) in sorted(counts.items(), key=lambda count: (-count[1][0], count))
            if n
        ]
        shown = lines if config.get_verbosity() > 0 else lines[:MOST_LINES]
        for line in shown:
            terminalreporter.line(line)
        if len(shown) < len(lines):
            terminalreporter.line(f"and {len(lines) - len(shown)} other tests (-v shows all)")
        total = sum(n for n, _ in counts.values())
        terminalreporter.line(f"{total} reads in {len(counts)} tests")
        if uncounted:
            specs = ", ".join(sorted(uncounted))
            terminalreporter.line(f"not counted on {specs}")

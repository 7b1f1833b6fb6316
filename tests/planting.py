"""A process of its own in which the package has a planted mistake, and a test runs.

Nothing is written: the file with the mistake is compiled from text in place of what is on the disk.
The process is forked from a server that has imported the libraries, but nothing of the package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).parents[1]
LIBRARIES = ["numpy", "pytest", "hypothesis", "array_api_strict", "safetensors", "sklearn.base"]


@contextlib.contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """Start a new process for each call that is submitted."""
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(LIBRARIES)
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as executor:
        yield executor


def plant(file: str, original: str, mistake: str) -> None:
    """From now on, import a file of the package with the mistake in it."""
    (package,) = importlib.util.find_spec("anyback_nn").submodule_search_locations
    path = Path(package, file)
    text = path.read_text(encoding="utf-8")
    count = text.count(original)
    if count != 1:
        raise ValueError(f"{file} contains {original!r} {count} times, not once: adapt MUTANTS")
    get_code = SourceFileLoader.get_code

    def get_planted(loader: SourceFileLoader, name: str) -> Any:
        if Path(loader.path) == path:
            return loader.source_to_code(text.replace(original, mistake), loader.path)
        return get_code(loader, name)

    SourceFileLoader.get_code = get_planted


class Outcomes:
    """A plugin of pytest: the phase in which each test ended, and its error."""

    def __init__(self) -> None:
        self.of_tests: dict[str, tuple[str, str]] = {}

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> None:
        if call.when == "call" or call.excinfo:
            error = call.excinfo.exconly() if call.excinfo else ""
            self.of_tests[item.nodeid.removeprefix("tests/")] = (call.when, error)


def run(
    row: str, tests: list[str], change: tuple[str, str, str] | None = None
) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Run tests on a backend in this process; return pytest's status, outcomes and output.

    Parameters
    ----------
    row : str
        The backend's spec.
    tests : list of str
        As on pytest's command line, in ``tests/``.
    change : tuple of str, optional
        As `plant` takes it.
    """
    if change:
        plant(*change)
    os.environ |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "ANYBACK_NN_BACKEND": "",
    }
    os.chdir(HOME)
    outcomes, output = Outcomes(), io.StringIO()
    # Without what takes longer than the test: tracebacks, and collections of garbage at the end.
    plugins = ["no:cacheprovider", "no:unraisableexception", "anyback_nn.testing.pytest_entry"]
    arguments = ["-s", "--tb=no", *(word for name in plugins for word in ("-p", name))]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = pytest.main(
            [*arguments, "--backend", row, *(f"tests/{one}" for one in tests)], plugins=[outcomes]
        )
    return int(status), outcomes.of_tests, output.getvalue()

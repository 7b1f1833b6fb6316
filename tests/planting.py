"""Run tests in a process of its own, in which the package has a planted mistake.

No file of the package is changed: the one with the mistake is compiled from a changed string. On
Linux, the process is forked from a server that has imported the libraries, but not the package.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import io
import multiprocessing
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import drawn_examples  # noqa: F401  first, since it loads a profile of its own
import pytest
from hypothesis import Phase, settings

HOME = Path(__file__).parents[1]
LIBRARIES = ["numpy", "pytest", "hypothesis", "array_api_strict", "safetensors", "sklearn.base"]
LIMIT = 300
"""Seconds after which a process is ended."""
# NumPy on macOS does not survive a fork.
CONTEXT: Any = multiprocessing.get_context("spawn")
if sys.platform == "linux":
    CONTEXT = multiprocessing.get_context("forkserver")
    CONTEXT.set_forkserver_preload(LIBRARIES)


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of an importable module in a new process; return or raise what it does."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_call, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LIMIT):
            raise TimeoutError(f"the process did not end within {LIMIT} seconds")
        result = receiver.recv()  # EOFError: the process has crashed
    finally:
        process.kill()
        process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _call(sender: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    faulthandler.dump_traceback_later(LIMIT - 10)  # in which line it hangs
    try:
        sender.send(function(*arguments))
    except Exception as error:
        sender.send(error)


def plant(file: str, original: str, mistake: str) -> list[str]:
    """Let later imports of a file of the package have the mistake in it.

    Returns
    -------
    list of str
        The modules that were compiled with the mistake; none so far.
    """
    (package,) = importlib.util.find_spec("anyback_nn").submodule_search_locations
    path = Path(package, file)
    if not path.is_file():
        raise ValueError(f"file: expected a path inside anyback_nn/, got {file!r}")
    text = path.read_text(encoding="utf-8")
    if (count := text.count(original)) != 1:
        raise ValueError(
            f"original: expected a string that occurs once in {file}, got {count} of {original!r}"
        )
    text = text.replace(original, mistake)
    compile(text, file, "exec")  # a SyntaxError here, not an error of pytest
    planted: list[str] = []
    get_code = SourceFileLoader.get_code

    def get_planted(loader: SourceFileLoader, name: str) -> Any:
        if Path(loader.path) != path:
            return get_code(loader, name)
        planted.append(name)
        return loader.source_to_code(text, loader.path)

    SourceFileLoader.get_code = get_planted
    return planted


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
    planted = plant(*change) if change else None
    os.environ |= {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "ANYBACK_NN_BACKEND": "",
    }
    os.chdir(HOME)
    # A mistake need not be found in its smallest example, which Hypothesis would take minutes for.
    settings.register_profile("planted", settings.default, phases=[Phase.generate])
    settings.load_profile("planted")
    outcomes, output = Outcomes(), io.StringIO()
    # Without what takes longer than the test: tracebacks, and collections of garbage at the end.
    plugins = ["no:cacheprovider", "no:unraisableexception", "anyback_nn.testing.pytest_entry"]
    arguments = ["-s", "--tb=no", *(word for name in plugins for word in ("-p", name))]
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = pytest.main(
            [*arguments, "--backend", row, *(f"tests/{one}" for one in tests)], plugins=[outcomes]
        )
    if planted == []:
        raise ValueError(f"{change[0]} was not imported by {', '.join(tests)}")
    return int(status), outcomes.of_tests, output.getvalue()

"""A pytest plugin that runs tests on several array backends; for any project.

A project enables it in its settings (or, for one run, by ``pytest -p anyback_nn.testing.plugin``):

.. code-block:: toml

    [tool.pytest.ini_options]
    anyback_nn = true

A test that takes the fixture ``backend``, ``xp`` or ``device`` runs on every backend that is chosen
by ``--backend SPEC`` (repeat it, or separate by commas) and ``--all-backends``; by default, on
NumPy. ``--device NAME`` chooses their devices. All other tests run as always.

=================================== ===============================================================
``backend``                         the `Backend`: ``backend.asarray(x)``, ``backend.jit(f)``
``xp``, ``device``                  its namespace of the standard, and its device
``no_host_reads``                   the guard of `anyback_nn.testing.no_host_reads` over the test
``@pytest.mark.skip_backends``      ``("torch", "jax", reason="...")``: do not run it there
``@pytest.mark.xfail_backends``     the same for a test that fails there, and must
``@pytest.mark.touches_no_array``   ``(reason="...")``: it takes ``xp``, but need not use it
``@pytest.mark.under_test``         ``("softmax")``: its row in the report of ``--backend-report``
=================================== ===============================================================

A backend is named in a mark as in ``--backend``; a name without a device means all of them. The
first three fixtures last the session, so fixtures of every scope can take them; a project's own
``backend`` needs ``scope="session"`` too, if ``xp`` and ``device`` are to follow it.

What is more than options, fixtures and marks is in plugins of their own: `TouchPlugin`,
`CountPlugin` and `ReportPlugin`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyback_nn.backends import Backend
from anyback_nn.backends.libraries import TRAINING
from anyback_nn.testing.assertions import expect
from anyback_nn.testing.counting import CountPlugin
from anyback_nn.testing.devices import combine
from anyback_nn.testing.host_reads import HostReads
from anyback_nn.testing.host_reads import no_host_reads as guard
from anyback_nn.testing.marks import MARKERS, apply_marks, find_backend
from anyback_nn.testing.matrix import MATRIX
from anyback_nn.testing.report import OUTCOMES, ReportPlugin, list_outcomes
from anyback_nn.testing.touched import TouchPlugin
from anyback_nn.testing.variants import select, under_test, usable

CHOSEN: pytest.StashKey[list[Backend]] = pytest.StashKey()
MISSING: pytest.StashKey[dict[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and a setting."""
    group = parser.getgroup("array backends (anyback_nn)")
    group.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="SPEC",
        help=f"run the tests on this backend: {', '.join(MATRIX)}, or another NAME:DEVICE",
    )
    group.addoption(
        "--all-backends",
        action="store_true",
        help="run the tests on all of the above that can train here",
    )
    group.addoption(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="put each backend that is named without a device on this one, if it has it: cpu, "
        "cuda:0, device1, meta, ...",
    )
    group.addoption(
        "--count-host-reads",
        action="store_true",
        help="count how often each test reads values of the device back to the host",
    )
    group.addoption(
        "--backend-report",
        type=Path,
        metavar="FILE.md",
        help="write a table of the functions under test and the backends",
    )
    parser.addini(
        "anyback_nn_allow_untouched",
        "let tests pass that take xp and touch none of its arrays",
        type="bool",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the backends; one that is named and unavailable is an error, never a skip."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    specs, devices = (_split(config.getoption(name)) for name in ("--backend", "--device"))
    training = [spec for spec in MATRIX if spec.partition(":")[0] in TRAINING]
    try:
        named = [select(spec) for spec in specs or ["numpy"]]
        every, missing = usable(training) if config.getoption("--all-backends") else ([], {})
        backends, lacking = combine([*named, *every], devices)
    except (RuntimeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[CHOSEN], config.stash[MISSING] = backends, missing | lacking
    plugins: list[Any] = [create_fixture(backends)]
    if not config.getini("anyback_nn_allow_untouched"):
        plugins.append(TouchPlugin())
    if config.getoption("--count-host-reads"):
        plugins.append(CountPlugin())
    if (path := config.getoption("--backend-report")) is not None:
        if path.is_dir():
            raise pytest.UsageError(f"--backend-report: expected a file, got the folder {path}")
        plugins.append(ReportPlugin(path.absolute(), backends))
    for plugin in plugins:
        config.pluginmanager.register(plugin)


def _split(options: list[str]) -> list[str]:
    """Split what is separated by commas."""
    return [word.strip() for words in options for word in words.split(",")]


def list_backends(config: pytest.Config) -> list[Backend]:
    """Return the backends that the tests run on."""
    return config.stash[CHOSEN]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return what the tests run on, and what of the matrix is left out."""
    return [
        *(
            f"backend: {backend.spec} {backend.version}, device {backend.device_label}"
            for backend in list_backends(config)
        ),
        *(f"left out: {reason}" for reason in config.stash[MISSING].values()),
    ]


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Add the backend of each test to reports, also to a JUnit file, and apply the marks."""
    items = yield
    for item in items if isinstance(items, list) else ():
        backend = find_backend(item)
        if backend is not None:
            item.user_properties.append(("backend", backend.spec))
        if isinstance(item, pytest.Item):
            apply_marks(item)
    return items


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Restrict the library to what the backend is for, in its own tests alone."""
    backend = find_backend(item)
    with under_test(backend) if backend else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Skip a test whose fixtures read values where there are none."""
    with skip_without_values(find_backend(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let `assert_close` know the backend, and skip a test that reads values where there are none.

    A project's own fixture may have put another backend in the place of ours.
    """
    backend = find_backend(item)
    expected = backend if getattr(item, "funcargs", {}).get("backend") is backend else None
    with skip_without_values(backend), expect(expected):
        return (yield)


@contextlib.contextmanager
def skip_without_values(backend: Backend | None) -> Iterator[None]:
    """Skip a test that reads a value on a device that has shapes and dtypes only."""
    try:
        yield
    except Exception as error:
        if backend is None or not backend.is_without_values(error):
            raise
        pytest.skip(f"it reads values, and {backend.spec} has none")


def create_fixture(backends: list[Backend]) -> ModuleType:
    """Return a plugin with the fixture that has parameters, which a project can override."""

    @pytest.fixture(scope="session", params=backends, ids=[b.spec for b in backends])
    def backend(request: pytest.FixtureRequest) -> Any:
        """Return the array backend under test."""
        return request.param

    plugin = ModuleType(f"{__name__}.chosen")
    plugin.backend = backend  # type: ignore[attr-defined]
    return plugin


@pytest.fixture(scope="session")
def xp(backend: Backend) -> Any:
    """Return the backend's namespace of the array API standard."""
    return backend.xp


@pytest.fixture(scope="session")
def device(backend: Backend) -> Any:
    """Return the backend's device, as the functions of ``xp`` take it."""
    return backend.device


@pytest.fixture
def no_host_reads() -> Iterator[HostReads]:
    """Raise `HostReadError` if the test, in any thread, reads a value of a strict device."""
    if find_spec("array_api_strict") is None:
        yield HostReads()  # there is nothing to watch
        return
    with guard(all_threads=True) as reads:
        yield reads


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the number of tests on each backend."""
    counts: dict[str, Counter[str]] = {backend.spec: Counter() for backend in list_backends(config)}
    for outcome, spec, _ in list_outcomes(terminalreporter):
        if spec in counts:
            counts[spec][outcome] += 1
    if any(counts.values()):
        terminalreporter.section("tests on each backend")
        for spec, count in counts.items():
            numbers = ", ".join(f"{count[kind]} {kind}" for kind in OUTCOMES if count[kind])
            terminalreporter.line(f"{spec}: {numbers or 'none'}")

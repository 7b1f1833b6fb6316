"""A pytest plugin that runs tests on several array backends; for any project.

A project enables it in its settings (or, for one run, by ``pytest -p anyback_nn.testing.plugin``):

.. code-block:: toml

    [tool.pytest.ini_options]
    anyback_nn = true

A test that takes the fixture ``backend``, ``xp`` or ``device`` runs on every backend that is chosen
by ``--backend SPEC`` (repeat it, or separate by commas) and ``--all-backends``; by default, on
NumPy. All other tests run as always.

=================================== ===============================================================
``backend``                         the `Backend`: ``backend.asarray(x)``, ``backend.jit(f)``
``xp``, ``device``                  its namespace of the standard, and its device
``no_host_reads``                   the guard of `anyback_nn.testing.no_host_reads` over the test
``@pytest.mark.skip_backends``      ``("torch", "jax", reason="...")``: do not run it there
``@pytest.mark.xfail_backends``     the same for a test that fails there, and must
=================================== ===============================================================

A backend is named in a mark as in ``--backend``; a name without a device means all of them. The
first three fixtures last the session, so fixtures of every scope can take them; a project's own
``backend`` needs ``scope="session"`` too, if ``xp`` and ``device`` are to follow it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from anyback_nn.backends import BACKENDS, Backend
from anyback_nn.backends.libraries import TRAINING
from anyback_nn.testing.host_reads import HostReads
from anyback_nn.testing.host_reads import no_host_reads as guard
from anyback_nn.testing.matrix import MATRIX
from anyback_nn.testing.variants import select, under_test, usable

CHOSEN: pytest.StashKey[list[Backend]] = pytest.StashKey()
MISSING: pytest.StashKey[dict[str, str]] = pytest.StashKey()
MARKS = {"skip_backends": pytest.mark.skip, "xfail_backends": pytest.mark.xfail(strict=True)}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
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


def pytest_configure(config: pytest.Config) -> None:
    """Choose the backends; one that is named and unavailable is an error, never a skip."""
    for name in MARKS:
        action = name.removesuffix("_backends")
        config.addinivalue_line("markers", f"{name}(*names, reason): {action} on these backends")
    specs = [spec.strip() for words in config.getoption("--backend") for spec in words.split(",")]
    try:
        named = [select(spec) for spec in specs or ["numpy"]]
    except (RuntimeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    training = [spec for spec in MATRIX if spec.partition(":")[0] in TRAINING]
    every, missing = usable(training) if config.getoption("--all-backends") else ([], {})
    config.stash[CHOSEN] = list({backend.spec: backend for backend in [*named, *every]}.values())
    config.stash[MISSING] = missing
    config.pluginmanager.register(fixture(chosen(config)))


def chosen(config: pytest.Config) -> list[Backend]:
    """Return the backends that the tests run on."""
    return config.stash[CHOSEN]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return what the tests run on, and what of the matrix is left out."""
    return [
        *(
            f"backend: {backend.spec} {backend.version}, device {backend.device_label}"
            for backend in chosen(config)
        ),
        *(f"left out: {reason}" for reason in config.stash[MISSING].values()),
    ]


def backend_of(item: pytest.Item) -> Backend | None:
    """Return the backend that a test runs on; None if it depends on none."""
    callspec = getattr(item, "callspec", None)
    backend = callspec.params.get("backend") if callspec else None
    return backend if isinstance(backend, Backend) else None


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Add the backend of each test to reports, also to a JUnit file, and apply the marks."""
    items = yield
    for item in items if isinstance(items, list) else ():
        backend = backend_of(item)
        if backend is not None:
            item.user_properties.append(("backend", backend.spec))
        for name, pytest_mark in MARKS.items():
            for mark in item.iter_markers(name):
                names, reason = _arguments(mark, item.nodeid)
                if backend is not None and names & {backend.spec, backend.name}:
                    item.add_marker(pytest_mark.with_args(reason=reason))
    return items


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Restrict the library to what the backend is for, in its own tests alone."""
    backend = backend_of(item)
    with under_test(backend) if backend else contextlib.nullcontext():
        return (yield)


def _arguments(mark: pytest.Mark, test: str) -> tuple[set[str], str]:
    """Return the names and the reason of a mark; fail if they are wrong."""
    words = (*mark.args, mark.kwargs.get("reason"))
    if len(mark.kwargs) != 1 or len(words) < 2 or not all(isinstance(w, str) and w for w in words):
        wrong = (
            'expected names of backends and a reason, ("torch", reason="..."), got '
            f"{mark.args} and {mark.kwargs}"
        )
    elif unknown := [name for name in mark.args if name.partition(":")[0] not in BACKENDS]:
        wrong = (
            f"unknown backend {unknown[0]!r}: expected NAME or NAME:DEVICE with NAME one of "
            f"{', '.join(BACKENDS)}"
        )
    else:
        return set(mark.args), words[-1]
    pytest.fail(f"{test}: @pytest.mark.{mark.name}: {wrong}", pytrace=False)


def fixture(backends: list[Backend]) -> ModuleType:
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
    """Raise `HostReadError` if the test reads a value of array-api-strict's devices."""
    if find_spec("array_api_strict") is None:
        yield HostReads()  # there is nothing to watch
        return
    with guard() as reads:
        yield reads


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the number of tests on each backend."""
    counts: dict[str, Counter[str]] = {backend.spec: Counter() for backend in chosen(config)}
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.getreports(outcome):
            spec = dict(getattr(report, "user_properties", ())).get("backend")
            if spec in counts:
                counts[spec][outcome] += 1
    if any(counts.values()):
        terminalreporter.section("tests on each backend")
        for spec, count in counts.items():
            numbers = ", ".join(f"{n} {kind}" for kind, n in count.items())
            terminalreporter.line(f"{spec}: {numbers or 'none'}")

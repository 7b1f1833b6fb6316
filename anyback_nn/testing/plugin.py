"""A pytest plugin that runs tests on several array backends; for any project.

A project asks for it in its settings (or, for one run, by ``pytest -p anyback_nn.testing.plugin``):

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
from anyback_nn.testing.host_reads import HostReads
from anyback_nn.testing.host_reads import no_host_reads as guard
from anyback_nn.testing.variants import MATRIX, select, under_test, usable

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
        help="run the tests on all of the above that can compute here",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the backends; one that is named and cannot be used is an error, never a skip."""
    for name in MARKS:
        does = name.removesuffix("_backends")
        config.addinivalue_line("markers", f"{name}(*names, reason): {does} on these backends")
    specs = [spec.strip() for one in config.getoption("--backend") for spec in one.split(",")]
    try:
        named = [select(spec) for spec in specs or ["numpy"]]
    except (RuntimeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    every, missing = usable() if config.getoption("--all-backends") else ([], {})
    config.stash[CHOSEN] = list({one.spec: one for one in [*named, *every]}.values())
    config.stash[MISSING] = missing
    config.pluginmanager.register(fixture(chosen(config)))


def chosen(config: pytest.Config) -> list[Backend]:
    """Give the backends that the tests run on."""
    return config.stash[CHOSEN]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the tests run on, and what of the matrix is left out."""
    return [
        *(
            f"backend: {one.spec} {one.version}, device {one.device_label}"
            for one in chosen(config)
        ),
        *(f"left out: {reason}" for reason in config.stash[MISSING].values()),
    ]


def backend_of(item: pytest.Item) -> Backend | None:
    """Give the backend that a test runs on, if it depends on one."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("backend") if callspec else None
    return found if isinstance(found, Backend) else None


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Note the backend of each test for reports, also a JUnit file, and follow the marks."""
    made = yield
    for item in made if isinstance(made, list) else ():
        backend = backend_of(item)
        if backend is not None:
            item.user_properties.append(("backend", backend.spec))
        for name, consequence in MARKS.items():
            for mark in item.iter_markers(name):
                names, reason = _arguments(mark, item.nodeid)
                if backend is not None and names & {backend.spec, backend.name}:
                    item.add_marker(consequence.with_args(reason=reason))
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let the library allow only what the backend is for, in its own tests alone."""
    backend = backend_of(item)
    with under_test(backend) if backend else contextlib.nullcontext():
        return (yield)


def _arguments(mark: pytest.Mark, test: str) -> tuple[set[str], str]:
    """Give the names and the reason of a mark, or say what is wrong with them."""
    texts = (*mark.args, mark.kwargs.get("reason"))
    if len(mark.kwargs) != 1 or len(texts) < 2 or not all(isinstance(t, str) and t for t in texts):
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
        return set(mark.args), texts[-1]
    pytest.fail(f"{test}: @pytest.mark.{mark.name}: {wrong}", pytrace=False)


def fixture(backends: list[Backend]) -> ModuleType:
    """Make a plugin of the one fixture that has parameters, so that a project can override it."""

    @pytest.fixture(scope="session", params=backends, ids=[one.spec for one in backends])
    def backend(request: pytest.FixtureRequest) -> Any:
        """Give the array backend under test."""
        return request.param

    plugin = ModuleType(f"{__name__}.chosen")
    plugin.backend = backend  # type: ignore[attr-defined]
    return plugin


@pytest.fixture(scope="session")
def xp(backend: Backend) -> Any:
    """Give the backend's namespace of the array API standard."""
    return backend.xp


@pytest.fixture(scope="session")
def device(backend: Backend) -> Any:
    """Give the backend's device, as the functions of ``xp`` take it."""
    return backend.device


@pytest.fixture
def no_host_reads() -> Iterator[HostReads]:
    """Refuse that the test reads values of array-api-strict's devices back to the host."""
    if find_spec("array_api_strict") is None:
        yield HostReads()  # there is nothing to watch
        return
    with guard() as reads:
        yield reads


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the number of tests on each backend."""
    counts: dict[str, Counter[str]] = {one.spec: Counter() for one in chosen(config)}
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

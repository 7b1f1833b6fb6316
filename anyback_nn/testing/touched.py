"""Find tests that take ``xp`` and touch none of its arrays: most ran on NumPy, or on nothing.

To touch an array is to call a function of the backend's namespace or `Backend.asarray`: nobody gets
an array without one of them, and what computes with arrays asks them for their namespace. So it is
enough to see whether a function of the namespace is looked up. The namespace stays the same object
(``xp is array_namespace(x)``): until the first touch, its class is a subclass of its own.

On NumPy, an array that ``np`` made and one that ``xp`` made are the same. There, a test is found if
neither itself nor what it tests uses the namespace.

Arrays that a test did not create itself, such as those of a cache, are seen only if a fixture did.
"""

from __future__ import annotations

from collections.abc import Generator
from types import ModuleType
from typing import Any

import pytest

from anyback_nn.backends import Backend
from anyback_nn.testing.marks import find_backend

__all__ = ["TouchPlugin", "Watch"]

INSPECTIONS = ("can_cast", "finfo", "iinfo", "isdtype", "result_type")
"""The functions of the standard that touch no array."""


class Watch:
    """Sees whether an array of a backend is touched.

    Attributes
    ----------
    touched : bool
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.touched = False
        self._namespace: Any = backend.xp
        self._kind = type(self._namespace)
        kind: Any = self._kind
        self._asarray: Any = Backend.asarray
        asarray = self._asarray

        def look_up(namespace: ModuleType, name: str) -> Any:
            value = kind.__getattribute__(namespace, name)
            if _touches(name, value):
                self._touch()
            return value

        def move(backend: Backend, *arguments: Any, **options: Any) -> Any:
            self._touch()
            return asarray(backend, *arguments, **options)

        self._watched_kind = type(kind.__name__, (kind,), {"__getattribute__": look_up})
        self._watched_asarray: Any = move

    def start(self) -> None:
        """Watch, with nothing touched so far."""
        self.touched = False
        self._namespace.__class__ = self._watched_kind
        Backend.asarray = self._watched_asarray  # type: ignore[method-assign]

    def stop(self) -> None:
        """Watch no longer. Any thread may come here, and so more than one."""
        self._namespace.__class__ = self._kind
        Backend.asarray = self._asarray  # type: ignore[method-assign]

    def _touch(self) -> None:
        self.touched = True
        self.stop()


def _touches(name: str, value: object) -> bool:
    """Return whether the use of this attribute of a namespace touches an array."""
    if name.startswith("_") or name in INSPECTIONS:
        return False
    # Not a dtype, which is a class in some libraries; but an extension such as `linalg`.
    return isinstance(value, ModuleType) or (callable(value) and not isinstance(value, type))


class TouchPlugin:
    """Lets each test fail that takes ``xp`` and touches no array of the backend.

    A test also touches what its fixtures have touched, whenever they were set up.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.fixtures: set[pytest.FixtureDef[Any]] = set()
        """The fixtures that touched an array when they were last set up, or one that they use."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Watch during a test that runs on a backend."""
        backend = find_backend(item)
        if backend is None:
            return (yield)
        self.watch = Watch(backend)
        self.watch.start()
        try:
            return (yield)
        finally:
            self.watch.stop()
            self.watch = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Note which fixtures touch an array: later tests may get the same one."""
        watch = self.watch
        if watch is None:
            return (yield)
        before = watch.touched
        watch.start()
        self.fixtures.discard(fixturedef)
        # One that it extends has the same name, and so is not among the fixtures of the test.
        used = [request._fixture_defs.get(name) for name in fixturedef.argnames]
        try:
            return (yield)
        finally:
            if watch.touched or not self.fixtures.isdisjoint(used):
                self.fixtures.add(fixturedef)
            watch.touched |= before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Let a test that has passed fail, if it touched no array."""
        report: pytest.TestReport = yield
        passed = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
        if passed and self.watch is not None and self._is_untouched(item, self.watch):
            report.outcome = "failed"
            report.longrepr = (
                f"the test took xp and touched no array of {self.watch.backend.spec}: it called no "
                "function of xp, and neither did what it tests. It ran on NumPy, on no array at "
                "all, or on arrays that were made before the test. Create its arrays by xp.asarray "
                "or backend.asarray, in the test or in a fixture. If it is right as it is, mark it "
                "with @pytest.mark.touches_no_array(reason=...)"
            )
        return report

    def _is_untouched(self, item: pytest.Item, watch: Watch) -> bool:
        values = getattr(item, "funcargs", {})
        # A project may have replaced either by one of its own.
        ours = values.get("xp") is watch.backend.xp and values.get("backend") is watch.backend
        return (
            ours
            and not watch.touched
            and self.fixtures.isdisjoint(item._request._fixture_defs.values())  # type: ignore[attr-defined]
            and item.get_closest_marker("touches_no_array") is None
        )

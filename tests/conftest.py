"""The backend under test: ``pytest --backend NAME`` runs the suite on one backend.

A test that asks for the ``backend`` fixture runs on that backend. What does not depend on a backend
(data readers, schedules, doctests) runs with NumPy only, so no time is spent on it twice.
"""

from __future__ import annotations

import pytest

from anyback_nn.backend import Backend, select


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        default="numpy",
        metavar="SPEC",
        help="the backend to test: numpy, cupy, torch, jax, array-api-strict, or NAME:DEVICE",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A backend that was asked for by name and cannot be used fails; it is never skipped.
    try:
        select(config.getoption("--backend"))
    except (RuntimeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    chosen = select(config.getoption("--backend"))
    return f"backend: {chosen.spec} {chosen.version}, device {chosen.device}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--backend") == "numpy":
        return
    independent = [item for item in items if "backend" not in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=independent)
    items[:] = [item for item in items if item not in set(independent)]


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend under test."""
    return select(request.config.getoption("--backend"))

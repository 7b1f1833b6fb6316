"""The dtypes under test: those that the device of the backend under test can hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anyback_nn.backend import Backend, select


def float_dtypes(backend: Backend) -> list[str]:
    """List the real floating dtypes of the backend's device: some devices have no float64."""
    with backend.scope("float64"):
        held = backend.xp.__array_namespace_info__().dtypes(device=backend.device)
    return [name for name in ("float32", "float64") if name in held]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dtype" in metafunc.fixturenames:
        chosen = select(metafunc.config.getoption("--backend"))
        metafunc.parametrize("dtype", float_dtypes(chosen), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs float64 on a device without it, as NumPy's tests are left out on JAX."""
    if "float64" in float_dtypes(select(config.getoption("--backend"))):
        return
    finer = [item for item in items if "float64" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=finer)
    items[:] = [item for item in items if item not in set(finer)]


@pytest.fixture
def dtype(request: pytest.FixtureRequest, backend: Backend) -> Iterator[str]:
    """The name of each real floating dtype in turn, within the backend's scope for it."""
    with backend.scope(request.param):
        yield request.param


@pytest.fixture
def finest(backend: Backend) -> Iterator[str]:
    """The name of the finest dtype, for what does not depend on it, within the scope for it."""
    name = float_dtypes(backend)[-1]
    with backend.scope(name):
        yield name


@pytest.fixture
def float64(backend: Backend) -> Iterator[str]:
    """The dtype of comparisons with central differences, within the backend's scope for it."""
    with backend.scope("float64"):
        yield "float64"

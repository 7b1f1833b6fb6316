"""The dtypes under test: those that the device of the backend under test can hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest

from anyback_nn.backend import Backend, select


def float_dtypes(backend: Backend) -> list[str]:
    """List the real floating dtypes of the backend's device: some devices have no float64."""
    with backend.scope("float64"):
        held = backend.xp.__array_namespace_info__().dtypes(device=backend.device)
    return [name for name in ("float32", "float64") if name in held]


@contextlib.contextmanager
def scope_with_warnings(backend: Backend, dtype: str) -> Iterator[str]:
    """Enter the backend's scope, but let NumPy tell of overflow: here, a warning is an error."""
    with backend.scope(dtype), np.errstate(divide="warn", over="warn", invalid="warn"):
        yield dtype


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
    with scope_with_warnings(backend, request.param) as name:
        yield name


@pytest.fixture
def finest(backend: Backend) -> Iterator[str]:
    """The name of the finest dtype, for what does not depend on it, within the scope for it."""
    with scope_with_warnings(backend, float_dtypes(backend)[-1]) as name:
        yield name


@pytest.fixture
def float64(backend: Backend) -> Iterator[str]:
    """The dtype of comparisons with central differences, within the backend's scope for it."""
    with scope_with_warnings(backend, "float64") as name:
        yield name

"""The backend under test comes from `anyback_nn.testing.plugin`: ``pytest --backend SPEC``.

A test that takes the ``backend`` fixture runs on that backend. Tests that do not depend on a
backend (data readers, schedules, doctests) run in the row of NumPy; marked ``needs("torch")``, they
run in the row of that library, if it is installed. Tests that need float64, a dtype of 16 bits,
TF32 or traced steps are left out on backends without them, as are tests whose result a variant of a
backend cannot change.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from anyback_nn.backends import Backend
from anyback_nn.inputs.checks import COMPUTE_DTYPES, DTYPES
from anyback_nn.testing import VARIANTS, collect_programs
from anyback_nn.testing.host_reads import restrict
from anyback_nn.testing.plugin import find_backend, list_backends
from anyback_nn.testing.programs import CountedProgram

if not os.environ.get("CI"):
    # Read when JAX is imported: most of the time, it would optimize what is then computed once.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

TESTS = Path(__file__).parent
BY_NAME = (
    "cli",
    "datasets",
    "sklearn_estimators",
    "backends/test_backends.py",
    "backends/test_tf32.py",
)
"""Tests of backends as users name them: variants are not among these."""

CONVENTIONS = (
    "sklearn_estimators/test_sklearn_checks.py",
    "sklearn_estimators/test_sklearn_meta.py",
)
"""scikit-learn's checks of what is done on the host: one device of array-api-strict is enough."""

COMPILED = (
    "network/test_network_compile.py",
    "network/test_network_properties.py",
    "test_model.py",
    "test_model_hypothesis.py",
    "testing/test_testing_comparison.py",
    "optim/test_optimizers.py",
    "optim/test_optimizers_optax.py",
)
"""Tests of compiled steps: without ``jit``, all others would be those on JAX again."""

LEFT_OUT = {
    **dict.fromkeys(VARIANTS, BY_NAME),
    **dict.fromkeys(("array-api-strict", "array-api-strict:no_float64"), CONVENTIONS),
    # Threads that compute with dpnp 0.20 wait for each other for ever.
    "dpnp": ("training/test_threads.py", "distributed"),
}
"""The tests whose result a row cannot change, or that it cannot run."""

CLAIMED = {
    "dask": ("network/test_network_gradients.py",),
    "ndonnx": ("network/test_network_compile.py",),
}
"""The tests of what a row computes, where that is not everything (see `Library.computes`)."""

# dask-ml brings distributed, whose name a folder of tests has.
LIBRARIES = (
    "torch",
    "jax",
    "optax",
    "dask",
    "dask_ml",
    "hypothesis",
    "ndonnx",
    "tensorboard",
    "mlflow",
    "optuna",
    "mpi4py",
    "matplotlib",
    "playwright",
    "jinja2",
)
MISSING = [name for name in LIBRARIES if find_spec(name) is None]

collect_ignore_glob = [f"*_{name}.py" for name in MISSING]
"""The modules that need a library, which are named after it."""

if "hypothesis" not in MISSING:
    import_module("drawn_examples")  # registers the profiles, before one is loaded


# Which tests run ---------------------------------------------------------------------------------


def pytest_report_header() -> list[str]:
    return [f"left out: tests that need {name}, which is not installed" for name in MISSING]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    specs = {backend.spec for backend in list_backends(config)}
    selected = [item for item in items if belongs(item, specs)]
    config.hook.pytest_deselected(items=list(set(items) - set(selected)))
    items[:] = selected


def is_in(item: pytest.Item, paths: Iterable[str]) -> bool:
    """Return whether a test is in one of these files or folders."""
    return any(item.path.is_relative_to(TESTS / path) for path in paths)


def belongs(item: pytest.Item, specs: set[str]) -> bool:
    """Return whether a test is for its backend, or for one of those under test."""
    backend = find_backend(item)
    needed = {mark.args[0] for mark in item.iter_markers("needs")}
    if unknown := needed - set(LIBRARIES):
        raise pytest.UsageError(f"{item.nodeid}: needs: expected {LIBRARIES}, got {unknown}")
    if needed & set(MISSING):
        return False
    if backend is None:
        return bool(specs & {"numpy", *needed})
    if is_in(item, LEFT_OUT.get(backend.spec, ())):
        return False
    if backend.spec in CLAIMED and not is_in(item, CLAIMED[backend.spec]):
        return False
    if backend.spec == "jax:eager" and not is_in(item, COMPILED):
        return False
    if "programs" in item.fixturenames and backend.trace_rules is None:
        return False
    if "tf32" in item.fixturenames and not backend.library.has_tf32:
        return False
    needed = {item.callspec.params.get(name) for name in ("dtype", "compute_dtype")}
    needed |= {"float64"} & set(item.fixturenames)
    return all(backend.supports(dtype) for dtype in needed & {"float64", *COMPUTE_DTYPES})


# Fixtures ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_host_reads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let every test of a pretended device fail that reads a value but by `to_numpy`."""
    backend = find_backend(request.node)
    with restrict(backend, all_threads=True) if backend else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def scope_with_warnings(backend: Backend, dtype: str) -> Iterator[str]:
    """Enter the backend's scope, but let NumPy warn of overflow: here, a warning is an error."""
    with backend.scope(dtype), np.errstate(divide="warn", over="warn", invalid="warn"):
        yield dtype


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest, backend: Backend) -> Iterator[str]:
    """The name of each real floating dtype in turn, within the backend's scope for it."""
    with scope_with_warnings(backend, request.param) as name:
        yield name


@pytest.fixture
def finest(backend: Backend) -> Iterator[str]:
    """The name of the finest dtype, for what does not depend on it, within the scope for it."""
    with scope_with_warnings(
        backend, "float64" if backend.supports("float64") else "float32"
    ) as name:
        yield name


@pytest.fixture
def float64(backend: Backend) -> Iterator[str]:
    """The dtype of comparisons with central differences, within the backend's scope for it."""
    with scope_with_warnings(backend, "float64") as name:
        yield name


@pytest.fixture
def programs() -> Iterator[list[CountedProgram]]:
    """The programs that are traced during the test, and how often each is replayed."""
    with collect_programs() as (programs, _):
        yield programs

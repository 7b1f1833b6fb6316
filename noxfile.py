"""The test matrix: ``nox`` alone runs what can run here, ``nox --list`` shows all of it.

The rows of the matrix are those of ``anyback_nn.testing.MATRIX``, what they need comes from
``anyback_nn.backend.BACKENDS``.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import nox

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from anyback_nn.backend import BACKENDS  # noqa: E402 - both import the standard library alone
from anyback_nn.testing.backends import MATRIX  # noqa: E402

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
# What a single row needs more, so that no test of it is skipped.
MORE = {name: nox.project.dependency_groups(PROJECT, f"test-{name}") for name in ("numpy", "jax")}
BENCH = nox.project.dependency_groups(PROJECT, "bench")
LINT = nox.project.dependency_groups(PROJECT, "lint")
PYTHONS = nox.project.python_versions(PROJECT)

nox.needs_version = ">=2025.2.9"
# Not uv, which does not read pip's configuration: where that names a package index or local files
# (a CPU build of PyTorch, say), uv would install something else.
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True

# pyenv offers the interpreters that PYENV_VERSION lists, and by default that is a single one.
if (versions := Path(os.environ.get("PYENV_ROOT", "")) / "versions").is_dir():
    running = ".".join(map(str, sys.version_info[:3]))
    others = sorted(one.name for one in versions.iterdir() if one.name != running)
    os.environ.setdefault("PYENV_VERSION", ":".join([running, *others]))


def cuda_version() -> int:
    """Ask the NVIDIA driver for the CUDA version it supports (13.1: 13010); 0 without a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    version, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return 0
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value


def install_command(backend: str) -> list[str]:
    """List what pip installs to test one backend."""
    requirement = BACKENDS[backend].requirement
    if backend == "cupy" and cuda_version() < 13000:
        requirement = "anyback-nn[cuda12]"
    ours = requirement.removeprefix("anyback-nn") if requirement.startswith("anyback-nn") else ""
    return ["-e", f".{ours}", *TEST, *MORE.get(backend, []), *([] if ours else [requirement])]


# Asked for by name only: without a GPU CuPy cannot run, and what pip installs as PyTorch is several
# gigabytes, unless it is told where the CPU builds are.
BY_NAME = {"torch"} | ({"cupy"} if not cuda_version() else set())
OUTCOMES: dict[str, str] = {}


@nox.session
@nox.parametrize(
    "row",
    [nox.param(row, id=row, tags=[] if row in BY_NAME else ["default"]) for row in MATRIX],
)
def tests(session: nox.Session, row: str) -> None:
    """Run the tests on one backend, or on a variant of one."""
    backend = row.partition(":")[0]
    if backend == "cupy" and not cuda_version():
        session.error("no NVIDIA driver with a usable GPU was found, so CuPy cannot be tested here")
    session.install(*install_command(backend))
    report = session.cache_dir / f"tests-{row.replace(':', '-')}.xml"
    # JAX compiles the same steps again in every test, and in every row.
    cache = {
        # An absolute path, because tests of the program change into other folders.
        "JAX_COMPILATION_CACHE_DIR": str((session.cache_dir / "jax").resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    OUTCOMES[row] = "failed"
    session.run("pytest", "--backend", row, f"--junitxml={report}", *session.posargs, env=cache)
    OUTCOMES[row] = outcome(report)


def outcome(report: Path) -> str:
    """Sum up a run of pytest: how many tests, and why some were skipped."""
    suite = next(ElementTree.parse(report).iter("testsuite"))
    skipped = Counter(one.get("message", "") for one in suite.iter("skipped"))
    passed = int(suite.get("tests", 0)) - sum(skipped.values())
    reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.items())
    return f"{passed:5} passed, {sum(skipped.values())} skipped{f' ({reasons})' if reasons else ''}"


@nox.session(venv_backend="none", tags=["default"])
def matrix(session: nox.Session) -> None:
    """Print the outcome of every row of the matrix, as far as it was run just now."""
    width = max(map(len, MATRIX))
    for row in MATRIX:
        alone = f'not in this run: nox -s "tests({row})"'
        session.log(f"{row:{width}}  {OUTCOMES.get(row, alone)}")


@nox.session(name="tests-python", python=PYTHONS, default=False)
def tests_python(session: nox.Session) -> None:
    """Run the tests with NumPy on every supported Python."""
    session.install(*install_command("numpy"))
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0], default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, on the oldest Python."""
    wanted = [*PROJECT["project"]["dependencies"], *TEST]
    session.install("-e", ".", *(one.replace(">=", "==") for one in wanted))
    session.run("pytest", *session.posargs)


@nox.session(tags=["default"])
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install("-e", ".", *LINT)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure training, prediction, start-up and memory beside other libraries.

    ``nox -s bench -- --quick`` for a first impression; a full run writes ``benchmarks/results/``.
    From a plain index PyTorch alone is several gigabytes: PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL
    can name where its CPU builds are.
    """
    session.install(".", *BENCH)
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(tags=["default"])
def examples(session: nox.Session) -> None:
    """Run every example against the package as users install it."""
    session.install(".")
    session.chdir(session.create_tmp())
    for script in sorted((HERE / "examples").glob("*.py")):
        session.run("python", str(script))


nox.options.tags = ["default"]

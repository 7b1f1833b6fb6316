"""The sessions: ``nox`` alone for every change, ``nox -s matrix`` for CI and before a release.

CONTRIBUTING.md has a table of them.

The rows of the matrix are those of ``anyback_nn.testing.MATRIX``, what they need comes from
``anyback_nn.backends.BACKENDS``.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import shutil
import sys
import tarfile
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

import nox
from nox.command import CommandFailed

HERE = Path(__file__).parent
# As files, which import the standard library alone: the package needs what nox has not installed.
BACKENDS = runpy.run_path(str(HERE / "anyback_nn/backends/libraries.py"))["BACKENDS"]
MATRIX = runpy.run_path(str(HERE / "anyback_nn/testing/matrix.py"))["MATRIX"]

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
# Further requirements of single environments, so that no test in them is skipped.
MORE = {
    name: nox.project.dependency_groups(PROJECT, f"test-{name}")
    for name in ("numpy", "jax", "ndonnx", "pages", "searches", "openmpi")
}
BENCH = nox.project.dependency_groups(PROJECT, "bench")
LINT = nox.project.dependency_groups(PROJECT, "lint")
DOCS = nox.project.dependency_groups(PROJECT, "docs")
GALLERY = nox.project.dependency_groups(PROJECT, "gallery")
# What each of the tools that epochs can be logged to needs.
TOOLS = {
    "tensorboard": ["-e", ".[tensorboard]"],
    "mlflow": ["-e", ".[mlflow]"],
    "optuna": ["-e", ".", *nox.project.dependency_groups(PROJECT, "test-optuna")],
}
PYTHONS = nox.project.python_versions(PROJECT)

ROWS: dict[str, list[str]] = defaultdict(list)
"""The rows of the matrix by their environment; array-api-strict needs no other than NumPy."""
for spec in MATRIX:
    ROWS["numpy" if spec.startswith("array-api-strict") else spec.partition(":")[0]].append(spec)
QUICK = ["numpy", "array-api-strict:device1"]
"""The two rows that find most mistakes."""
BY_NAME_ONLY = ("dpnp",)
"""Environments of several gigabytes, which run only if they are named."""
OUTCOMES: dict[str, str] = {}
CHECKED: list[str] = []
"""The rows that `check` has run, which `tests` does not run again."""

nox.needs_version = ">=2025.2.9"
# Not uv, which does not read pip's configuration: where that names a package index or local files
# (a CPU build of PyTorch, say), uv would install something else.
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True

# pyenv offers the interpreters that PYENV_VERSION lists, and by default that is a single one.
if (versions := Path(os.environ.get("PYENV_ROOT", "")) / "versions").is_dir():
    running = ".".join(map(str, sys.version_info[:3]))
    others = sorted(path.name for path in versions.iterdir() if path.name != running)
    os.environ.setdefault("PYENV_VERSION", ":".join([running, *others]))


def cuda_version() -> int:
    """Return the CUDA version that the NVIDIA driver supports (13.1: 13010); 0 without a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    version, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return 0
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value


# For every change --------------------------------------------------------------------------------


@nox.session
def check(session: nox.Session) -> None:
    """Test on NumPy and array-api-strict, then check style and types: three to four minutes."""
    session.log(
        f"Tests on {' and '.join(QUICK)}, then style and types: three to four minutes on two "
        "cores, packages included. All backends: nox -s matrix"
    )
    session.install(*install_command("numpy"), *LINT)
    run_tests(session, QUICK)
    CHECKED.extend(QUICK)
    check_style(session)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, types and which module imports which."""
    session.install("-e", ".", *LINT)
    check_style(session)


def check_style(session: nox.Session) -> None:
    """Run the linters, in an environment that has them."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("lint-imports")


# Every backend -----------------------------------------------------------------------------------


@nox.session(venv_backend="none", default=False)
def matrix(session: nox.Session) -> None:
    """Run the tests on all rows of the matrix, and print a summary: ten minutes on two cores.

    Without the rows of ``BY_NAME_ONLY``.
    """
    if chosen_rows(session):
        session.error(
            'matrix runs every row; for a single one: nox -s "tests(NAME)" -- --backend ROW'
        )
    for environment in ROWS:
        if environment not in BY_NAME_ONLY and (environment != "cupy" or cuda_version()):
            session.notify(f"tests({environment})")
    session.notify("summary")


@nox.session(default=False)
@nox.parametrize("environment", [nox.param(name, id=name) for name in ROWS])
def tests(session: nox.Session, environment: str) -> None:
    """Run the rows of the matrix in one environment; after ``--``, options of pytest.

    A single row: ``nox -s "tests(jax)" -- --backend jax:eager``.
    """
    rows = [row for row in ROWS[environment] if row not in CHECKED]
    OUTCOMES.update(dict.fromkeys(rows, "failed before its tests: see above"))
    if environment == "cupy" and not cuda_version():
        session.error("no NVIDIA driver with a usable GPU was found, so CuPy cannot be tested here")
    session.install(*install_command(environment))
    if environment == "dpnp" and sys.platform == "linux":
        # The OpenCL runtime of the CPU that comes with it is registered nowhere.
        runtime = Path(session.virtualenv.location, "lib", "libintelocl.so")
        session.env.setdefault("OCL_ICD_FILENAMES", str(runtime))
    run_tests(session, rows)


def install_command(backend: str) -> list[str]:
    """List what pip installs to test one backend."""
    requirement = BACKENDS[backend].requirement
    if backend == "cupy" and cuda_version() < 13000:
        requirement = "anyback-nn[cuda12]"
    ours = requirement.removeprefix("anyback-nn") if requirement.startswith("anyback-nn") else ""
    return ["-e", f".{ours}", *TEST, *MORE.get(backend, []), *([] if ours else [requirement])]


def run_tests(session: nox.Session, rows: list[str]) -> None:
    """Run pytest on some rows, or on those that are named after ``--``, and store the outcomes."""
    chosen = [] if chosen_rows(session) else ["--backend", ",".join(rows)]
    report = session.cache_dir / f"{session.name}.xml"
    report.unlink(missing_ok=True)
    workers = ("-n", "auto", "--maxprocesses", "8", "--dist", "loadfile")
    try:
        session.run(
            *("pytest", *workers, *chosen, f"--junitxml={report}", *session.posargs),
            env=choose_environment(session),
        )
    finally:
        if report.exists():
            OUTCOMES.update(dict.fromkeys(rows, "no test was chosen"))
            OUTCOMES.update(outcomes(report, default=rows[0]))


def choose_environment(session: nox.Session) -> dict[str, str]:
    """Return the environment variables for tests in several processes."""
    return {
        # As many processes as cores, so each has one thread for matrix products.
        **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        # Many processes import the same files.
        "PYTHONDONTWRITEBYTECODE": "",
        # JAX compiles the same steps again in every test, process and row.
        # An absolute path, because tests of the program change into other folders.
        "JAX_COMPILATION_CACHE_DIR": str((session.cache_dir / "jax").resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def chosen_rows(session: nox.Session) -> bool:
    """Return whether rows are named after ``--``."""
    return any(word.startswith(("--backend", "--all-backends")) for word in session.posargs)


def outcomes(report: Path, default: str) -> dict[str, str]:
    """Return for each row how many tests passed, and why some were skipped.

    Tests without a backend count for the row ``default``.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for case in ElementTree.parse(report).iter("testcase"):
        properties = {prop.get("name"): prop.get("value") for prop in case.iter("property")}
        row = properties.get("backend") or default
        ends = [child.tag for child in case if child.tag in {"skipped", "failure", "error"}]
        counts[row][ends[0] if ends else "passed"] += 1
        reasons[row].update(skip.get("message", "") for skip in case.iter("skipped"))
    return {row: format_outcome(counts[row], reasons[row]) for row in counts}


def format_outcome(counts: Counter[str], reasons: Counter[str]) -> str:
    """Format the outcome of a row."""
    wrong = "".join(f", {counts[end]} {end}" for end in ("failure", "error") if counts[end])
    why = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
    skipped = f"{counts['skipped']} skipped{f' ({why})' if why else ''}"
    return f"{counts['passed']:5} passed{wrong}, {skipped}"


@nox.session(venv_backend="none", default=False)
def summary(session: nox.Session) -> None:
    """Print the outcomes of the sessions before it: ``nox -s "tests(jax)" summary``."""
    width = max(map(len, MATRIX))
    for environment, rows in ROWS.items():
        for row in rows:
            alone = f'not in this run: nox -s "tests({environment})"'
            if environment == "cupy" and not cuda_version():
                alone = "no usable NVIDIA GPU here"
            session.log(f"{row:{width}}  {OUTCOMES.get(row, alone)}")


@nox.session(name="tests-python", python=PYTHONS, default=False)
def tests_python(session: nox.Session) -> None:
    """Run the tests with NumPy on this Python; without a version, on all that are supported."""
    session.install(*install_command("numpy"))
    run_tests(session, ["numpy"])


@nox.session(python=PYTHONS[0], default=False)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows, on the oldest Python."""
    requirements = [*PROJECT["project"]["dependencies"], *TEST]
    session.install("-e", ".", *(text.replace(">=", "==") for text in requirements))
    run_tests(session, ["numpy"])


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """Call models from 8 threads, and kill runs at random moments, on NumPy, PyTorch and JAX."""
    session.install("-e", ".[torch,jax]", *TEST)
    files = ("tests/training/test_threads.py", "tests/training/test_killed.py")
    # Ten kills on PyTorch and JAX each.
    environment = {"THREAD_CALLS": "200", "KILLS": "50", "OPENBLAS_NUM_THREADS": "1"}
    session.run("pytest", *files, "--backend", "numpy,torch,jax", env=environment)


@nox.session(default=False)
def searches(session: nox.Session) -> None:
    """Search over estimators in other processes, and train on dask arrays: two minutes."""
    session.install("-e", ".[torch,jax]", *TEST, *MORE["searches"])
    tests = (
        *sorted(map(str, Path("tests/distributed").glob("*_dask_ml.py"))),
        "tests/test_docs.py::test_the_code_of_a_page_runs[docs/sklearn.md]",
        "tests/test_docs.py::test_the_code_of_a_page_runs[docs/large_data.md]",
    )
    rows = () if chosen_rows(session) else ("--backend", "numpy,torch,jax")
    session.run("pytest", *tests, *rows, *session.posargs, env=choose_environment(session))


@nox.session(default=False)
@nox.parametrize("mpi", [nox.param(name, id=name) for name in ("openmpi", "mpich")])
def distributed(session: nox.Session, mpi: str) -> None:
    """Train on two to four processes, over one MPI; with Open MPI, over PyTorch's gloo as well.

    ``nox -s "distributed(mpich)" -- -k digits`` for some of the tests.
    """
    # Alternatives, which have files of the same names.
    extras, more = ("torch,jax", MORE["openmpi"]) if mpi == "openmpi" else ("mpi,torch,jax", [])
    session.install("-e", f".[{extras}]", *TEST, *more)
    files = sorted(map(str, Path("tests/distributed").glob("*_mpi4py.py")))
    once = () if mpi == "openmpi" else ("-k", "not gloo")
    session.run("pytest", *files, *once, *session.posargs, env=choose_environment(session))


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Ask for known vulnerabilities of all packages that pip would install for the package.

    What could not be asked, as without a network, is said, and no failure.
    """
    folder = Path(session.create_tmp()).resolve()
    plan, pins, report = (folder / name for name in ("plan.json", "pins.txt", "audit.json"))
    report.unlink(missing_ok=True)
    extras = sorted(set(PROJECT["project"]["optional-dependencies"]) - {"cuda12", *BY_NAME_ONLY})
    resolve = ("--dry-run", "--ignore-installed", "--report", str(plan), f".[{','.join(extras)}]")
    # It fails if there are findings, and if its service cannot be reached.
    ask = ("--no-deps", "--disable-pip", "-r", str(pins), "-f", "json", "-o", str(report))
    try:
        session.install("pip-audit")
        session.run("pip", "install", *resolve, silent=True)
        packages = [item["metadata"] for item in json.loads(plan.read_text())["install"]]
        lines = [f"{package['name']}=={package['version']}\n" for package in packages]
        pins.write_text("".join(line for line in lines if not line.startswith("anyback-nn==")))
        session.run("pip-audit", *ask, success_codes=[0, 1], silent=True)
        packages = json.loads(report.read_text())["dependencies"]
    except (CommandFailed, OSError, ValueError) as error:
        session.log(f"could not be checked: {error}")
        return
    findings = [
        f"{package['name']} {package['version']}: {finding['id']}"
        for package in packages
        for finding in package.get("vulns", ())
    ]
    n_checked = sum("vulns" in package for package in packages)
    session.log(f"{n_checked} of {len(packages)} packages could be checked")
    if findings:
        session.error("known vulnerabilities: " + ", ".join(findings))


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Read damaged and made-up files, 60 seconds a format: eight minutes.

    ``nox -s fuzz -- --seconds 10 csv npz`` for some formats, ``--seed 1`` for other inputs. What
    fails is written to ``fuzz-failures/``.
    """
    session.install(*install_command("numpy"))
    session.run("python", "tests/fuzz", *session.posargs)


@nox.session(default=False)
@nox.parametrize("tool", [nox.param(name, id=name) for name in TOOLS])
def loggers(session: nox.Session, tool: str) -> None:
    """Log epochs to TensorBoard, MLflow or Optuna, and read them with the tool's own reader.

    ``loggers(optuna)`` runs ``examples/optuna_search.py`` as well.
    """
    session.install(*TOOLS[tool], *TEST)
    session.run("pytest", f"tests/training/test_loggers_{tool}.py", *session.posargs)


@nox.session(default=False)
def pages(session: nox.Session) -> None:
    """Test reports, and open all pages in headless Chromium, which must be installed."""
    session.install("-e", ".[report]", *TEST, *MORE["pages"])
    tests = (
        "tests/pages",
        "tests/report",
        "tests/cli/test_cli_report_jinja2.py",
        "tests/test_docs.py::test_the_code_of_a_page_runs[docs/see_inside.md]",
        "tests/test_mutants.py::test_a_mistake_is_found[data are markup in a report]",
    )
    session.run("pytest", *(session.posargs or tests))


@nox.session(default=False)
def examples(session: nox.Session) -> None:
    """Run every example against the package as users install it, but for those of a tool."""
    session.install(".")
    session.chdir(session.create_tmp())
    for script in sorted((HERE / "examples").glob("*.py")):
        if script.name.partition("_")[0] not in TOOLS:
            session.run("python", str(script))


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site in ``site/``; warnings are errors. Open ``site/index.html``.

    The gallery is on it after ``nox -s gallery``, and diagrams are drawn if npm is installed;
    otherwise they are text. After ``--``, options of mkdocs.
    """
    session.install("-e", ".", *DOCS)
    built = HERE / "docs" / "build"
    built.mkdir(exist_ok=True)
    session.run("anyback-nn", "play", "--force", "--output", str(built / "playground.html"))
    if shutil.which("npm") and not (built / "mermaid.min.js").exists():
        folder = Path(session.create_tmp()).resolve()
        pack = ("npm", "pack", "mermaid@11", "--silent", "--pack-destination", str(folder))
        name = session.run(*pack, external=True, silent=True).strip()
        with tarfile.open(folder / name) as archive:
            script = archive.extractfile("package/dist/mermaid.min.js").read()
        (built / "mermaid.min.js").write_bytes(script)
    environment = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", *session.posargs, env=environment)


@nox.session(default=False)
def gallery(session: nox.Session) -> None:
    """Run the claims as notebooks, and write them with pictures and an index for the site.

    They are in ``docs/build/gallery``; after ``--``, another folder, or ``--backend jax``.
    """
    session.install(".", *GALLERY)
    # As in the tests: threads of small matrix products wait for each other on a busy machine.
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    session.run("python", "examples/claims/gallery.py", *session.posargs, env=environment)


@nox.session(venv_backend="none", default=False)
def gpu(session: nox.Session) -> None:
    """Test and measure on an NVIDIA GPU (on Linux) within 8 minutes; nothing is installed."""
    session.run("python", "-m", "benchmarks", "gpu", *session.posargs, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure training, prediction and start-up, and those of other libraries.

    ``nox -s bench -- --quick`` for a first impression; a full run writes ``benchmarks/results/``;
    ``nox -s bench -- NAME`` for one report.
    From the default index PyTorch alone is several gigabytes: set PIP_FIND_LINKS or
    PIP_EXTRA_INDEX_URL to its CPU builds.
    """
    session.install(".[mpi]", *BENCH)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def playground(session: nox.Session) -> None:
    """Fetch the runtime of the playground with npm again, and trace its graphs."""
    session.install("-e", ".[onnx]")
    source = json.loads((HERE / "anyback_nn/playground/runtime/source.json").read_text("utf-8"))
    session.chdir(session.create_tmp())
    session.run("npm", "pack", f"{source['package']}@{source['version']}", external=True)
    package = f"{source['package']}-{source['version']}.tgz"
    session.run("python", "-m", "anyback_nn.playground.refresh", package)

"""The pytest plugin in projects of others: in each test pytest runs another pytest."""

import subprocess
import sys
from importlib.util import find_spec
from textwrap import dedent
from xml.etree import ElementTree

import array_api_strict  # noqa: F401 - an inner run forgets what it is the first to import
import pytest
from foreign_project import ALONE, run

from anyback_nn.testing import MATRIX

pytest_plugins = ["pytester"]

PLUGIN = "anyback_nn.testing.plugin"


@pytest.fixture
def project(pytester):
    """A project that enables the plugin, and is as strict as pytest can be."""
    strict = "addopts = --strict-markers\nfilterwarnings = error"
    pytester.makeini(f"[pytest]\nanyback_nn = true\n{strict}")
    return pytester


ONE_TEST = """
def test_sum(xp, device):
    assert xp.sum(xp.ones(3, device=device)) == 3
"""


# Enabling it -------------------------------------------------------------------------------------


def test_a_project_without_it_keeps_its_own_option_and_fixture(pytester):
    pytester.makeconftest("""
        import pytest
        def pytest_addoption(parser):
            parser.addoption("--backend")
        @pytest.fixture
        def backend(request):
            return request.config.getoption("--backend")
    """)
    test = "def test_it(backend): assert backend == 'postgres'"
    outcome = run(pytester, test, "--backend=postgres")
    outcome.assert_outcomes(passed=1)
    outcome.stdout.no_fnmatch_line("*tests on each backend*")


def test_a_project_without_it_gets_no_fixtures_and_no_options(pytester):
    outcome = run(pytester, ONE_TEST)
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines("*fixture 'xp' not found*")
    outcome = pytester.runpytest_inprocess("--help")
    outcome.stdout.fnmatch_lines("*anyback_nn (bool): *load anyback_nn's fixtures and options*")
    outcome.stdout.no_fnmatch_line("*--all-backends*")


def test_the_entry_point_imports_no_array_library():
    code = "import anyback_nn.testing.pytest_entry, sys; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    ("file", "text", "arguments"),
    [
        ("pytest.ini", "[pytest]\nanyback_nn = true", ()),
        ("pyproject.toml", "[tool.pytest.ini_options]\nanyback_nn = true", ()),
        ("conftest.py", f"pytest_plugins = ['{PLUGIN}']", ()),
        ("pytest.ini", "[pytest]", ("-p", PLUGIN)),
        ("pytest.ini", "[pytest]", ("-o", "anyback_nn=true")),
        ("pytest.ini", "[pytest]\nanyback_nn = true", ("-p", PLUGIN)),
    ],
)
def test_a_project_enables_it(pytester, file, text, arguments):
    (pytester.path / file).write_text(text)
    outcome = run(pytester, ONE_TEST, *arguments, "--backend=array-api-strict", "--strict-config")
    outcome.assert_outcomes(passed=1)
    outcome.stdout.fnmatch_lines("array-api-strict: 1 passed")


# Choosing backends -------------------------------------------------------------------------------


def test_numpy_is_the_default(project):
    outcome = run(project, ONE_TEST, "-v")
    outcome.assert_outcomes(passed=1)
    outcome.stdout.fnmatch_lines(["backend: numpy *, device cpu", "*::test_sum?numpy? PASSED*"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--backend=numpy,array-api-strict:device1"],
        ["--backend=numpy", "--backend=array-api-strict:device1"],
        ["--backend= numpy , array-api-strict:device1", "--backend=numpy"],
    ],
)
def test_several_backends(project, arguments):
    outcome = run(project, ONE_TEST, *arguments)
    outcome.assert_outcomes(passed=2)
    expected = ["backend: numpy *", "backend: array-api-strict:device1 *, device device1"]
    outcome.stdout.fnmatch_lines(expected, consecutive=True)
    outcome.stdout.fnmatch_lines(["numpy: 1 passed", "array-api-strict:device1: 1 passed"])


@pytest.fixture
def _only_numpy_and_strict(monkeypatch):
    for name in ("cupy", "dpnp", "jax", "ndonnx", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"anyback_nn.backends.{name}", raising=False)


@pytest.mark.usefixtures("_only_numpy_and_strict")
@pytest.mark.parametrize("named", [[], ["--backend=array-api-strict"]])
def test_all_backends_are_those_that_can_train_and_the_others_are_listed(project, named):
    outcome = run(project, ONE_TEST, "--all-backends", *named)
    outcome.assert_outcomes(passed=6)
    missing = ("torch", "jax", "jax:eager", "cupy", "dpnp")
    outcome.stdout.fnmatch_lines(
        [f"left out: backend '{spec}': * not installed*" for spec in missing]
    )
    others = [spec for spec in MATRIX if spec not in (*missing, "dask", "ndonnx")]
    outcome.stdout.fnmatch_lines_random([f"{spec}: 1 passed" for spec in others])
    for name in ("dask", "ndonnx"):  # they predict
        outcome.stdout.no_fnmatch_line(f"*{name}*")


@pytest.mark.usefixtures("_only_numpy_and_strict")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend=jax"], "backend 'jax': jax is not installed. Install it with: pip install*"),
        (["--backend=jax", "--all-backends"], "backend 'jax': jax is not installed.*"),
        (["--backend=numpy:gpu"], "backend 'numpy:gpu': there is no device 'gpu'.*"),
        (["--backend=numpi"], "unknown backend 'numpi': * Did you mean 'numpy'?"),
        (["--backend=numpy,"], "unknown backend '': expected NAME or NAME:DEVICE *"),
    ],
)
def test_a_named_backend_that_cannot_be_used_is_a_usage_error(project, arguments, message):
    outcome = run(project, ONE_TEST, *arguments)
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(f"ERROR: {message}")


def test_help_names_backends_marks_and_fixtures(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    run(project, "", "--help").stdout.fnmatch_lines(f"*--backend=SPEC *{', '.join(MATRIX)}, or *")
    run(project, "", "--markers").stdout.fnmatch_lines(
        [
            "@pytest.mark.skip_backends(?names, reason): skip on these backends",
            "@pytest.mark.xfail_backends(?names, reason): xfail on these backends",
        ]
    )
    run(project, "", "--fixtures").stdout.fnmatch_lines("*Return the array backend under test.")


# Which tests run ---------------------------------------------------------------------------------

TWO = "--backend=numpy,array-api-strict"


def test_tests_without_the_fixtures_run_once(project):
    tests = "def test_plain(tmp_path, no_host_reads): pass\ndef test_array(device): pass"
    outcome = run(project, tests, TWO)
    outcome.assert_outcomes(passed=3)
    outcome.stdout.fnmatch_lines(["numpy: 1 passed", "array-api-strict: 1 passed"])


def test_classes_parameters_and_fixtures(project):
    tests = """
        @pytest.fixture(scope="module", params=[1, 2])
        def x(xp, device, request):
            return xp.asarray([request.param], device=device)
        class TestIt:
            @pytest.fixture(autouse=True)
            def setup(self, xp):
                self.xp = xp
            @pytest.mark.parametrize("n", [0, 1, 2])
            def test_it(self, n, x):
                assert self.xp.all(x > 0)
    """
    run(project, tests, TWO).assert_outcomes(passed=12)


def test_the_backends_are_tested_one_after_another(project):
    tests = """
        seen = []
        @pytest.mark.parametrize("n", [0, 1, 2])
        def test_it(n, backend):
            seen.append(backend.spec)
        def test_again(backend):
            seen.append(backend.spec)
        def test_order():
            assert seen == sorted(seen, reverse=True) and len(seen) == 8
    """
    run(project, tests, TWO).assert_outcomes(passed=9)


def test_the_flags_of_the_strictest_backend_hold_in_its_own_tests_alone(project):
    tests = """
        import array_api_strict
        def test_on_it(backend):
            x = backend.asarray([1.0])
            with pytest.raises(RuntimeError, match="boolean_indexing"):
                x[x > 0]
        def test_without_it():
            x = array_api_strict.asarray([1.0])
            assert x[x > 0].shape == (1,)
    """
    run(project, tests, "--backend=array-api-strict:strictest").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("fixture", "passed"),
    [
        ("def backend(backend): return backend.spec", 2),
        ("def backend(): return 'mine'", 1),
    ],
)
def test_a_project_may_override_the_backend(project, fixture, passed):
    tests = f"@pytest.fixture\n{fixture}\ndef test_it(backend): assert isinstance(backend, str)"
    run(project, tests, TWO).assert_outcomes(passed=passed)


def test_the_namespace_and_the_device_follow_a_backend_that_is_overridden(project):
    tests = """
        from anyback_nn.testing import select
        @pytest.fixture(scope="session")
        def backend(backend):
            return select("array-api-strict:device1")
        def test_it(backend, xp, device):
            assert (xp, device) == (backend.xp, backend.device)
    """
    run(project, tests, TWO).assert_outcomes(passed=2)


def test_a_project_may_have_parameters_of_its_own_called_backend(project):
    tests = """
        @pytest.mark.parametrize("backend", ["agg", "svg", "pdf"])
        def test_plot(backend):
            assert isinstance(backend, str)
        class TestPlots:
            @pytest.fixture(params=["agg", "svg"])
            def backend(self, request):
                return request.param
            def test_plot(self, backend):
                assert isinstance(backend, str)
    """
    outcome = run(project, tests, TWO)
    outcome.assert_outcomes(passed=5)
    outcome.stdout.no_fnmatch_line("*tests on each backend*")


# Marks -------------------------------------------------------------------------------------------


def test_a_marked_test_is_skipped_with_the_reason(project):
    tests = """
        @pytest.mark.skip_backends("array-api-strict", "jax", reason="too slow")
        def test_everywhere(backend):
            assert backend.name == "numpy"
        @pytest.mark.skip_backends("numpy:readonly", reason="it writes")
        def test_on_one_device(backend):
            assert backend.spec != "numpy:readonly"
        @pytest.mark.skip_backends("numpy", reason="it has none")
        def test_without_a_backend():
            pass
    """
    outcome = run(project, tests, "--backend=numpy,numpy:readonly,array-api-strict:device1", "-rs")
    outcome.assert_outcomes(passed=5, skipped=2)
    outcome.stdout.fnmatch_lines_random(["SKIPPED*: too slow", "SKIPPED*: it writes"])
    outcome.stdout.fnmatch_lines(
        ["numpy: 2 passed", "numpy:readonly: 1 passed, 1 skipped", "*:device1: 1 passed, 1 skipped"]
    )


def test_a_marked_test_must_fail(project):
    tests = """
        @pytest.mark.xfail_backends("numpy", reason="not yet")
        def test_it(backend):
            assert backend.name != {fails!r}
    """
    outcome = run(project, tests.format(fails="numpy"), TWO, "-rx")
    outcome.assert_outcomes(passed=1, xfailed=1)
    outcome.stdout.fnmatch_lines("XFAIL *test_it?numpy? - not yet*")
    outcome = run(project, tests.format(fails="none"), TWO)
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines("*XPASS(strict)* not yet")


def test_modules_classes_and_parameters_are_marked_too(project):
    tests = """
        pytestmark = pytest.mark.skip_backends("torch", reason="module")
        @pytest.mark.skip_backends("numpy", reason="class")
        class TestIt:
            def test_it(self, backend): pass
        slow = pytest.param(1, marks=pytest.mark.skip_backends("numpy", reason="parameter"))
        @pytest.mark.parametrize("n", [0, slow])
        def test_it(n, backend): pass
    """
    outcome = run(project, tests, TWO, "-rs")
    outcome.assert_outcomes(passed=4, skipped=2)
    outcome.stdout.fnmatch_lines_random(["SKIPPED*: class", "SKIPPED*: parameter"])


USAGE = 'expected names of backends and a reason, ("torch", reason="..."), got *'


WRONG = {
    "": USAGE,
    "'torch'": USAGE,
    "'torch', 'it is slow'": USAGE,
    "reason='it is slow'": USAGE,
    "'torch', reason=''": USAGE,
    "['torch'], reason='it is slow'": USAGE,
    "'torch', reason='it is slow', strict=False": USAGE,
    "'tourch', reason='it is slow'": "unknown backend 'tourch': expected NAME *jax, *",
}


@pytest.mark.parametrize("mark", ["skip_backends", "xfail_backends"])
def test_a_wrong_mark_is_an_error_that_names_the_test(project, mark):
    tests = "import pytest\n@pytest.mark.{}({})\ndef test_it(backend): pass"
    modules = {f"test_{i}": tests.format(mark, arguments) for i, arguments in enumerate(WRONG)}
    project.makepyfile(**modules)
    outcome = project.runpytest_inprocess(*ALONE)
    assert outcome.ret == pytest.ExitCode.INTERRUPTED
    outcome.assert_outcomes(errors=len(WRONG))
    outcome.stdout.fnmatch_lines_random(
        f"{name}.py::test_it?numpy?: @pytest.mark.{mark}: {message}"
        for name, message in zip(modules, WRONG.values())
    )


# Reports -----------------------------------------------------------------------------------------

OF_EVERY_KIND = """
    def test_passed(backend): pass
    def test_failed(backend): assert backend.name == "numpy"
    def test_skipped(backend): pytest.skip("no reason")
    @pytest.fixture
    def broken(): assert 0
    def test_error(backend, broken): pass
    def test_without(): pass
"""
OUTCOMES = {"passed": 4, "failed": 1, "errors": 2, "skipped": 2}
COUNTS = [
    "numpy: 2 passed, 1 error, 1 skipped",
    "array-api-strict: 1 passed, 1 failed, 1 error, 1 skipped",
]


def test_the_tests_on_each_backend_are_counted(project):
    outcome = run(project, OF_EVERY_KIND, TWO)
    outcome.assert_outcomes(**OUTCOMES)
    outcome.stdout.fnmatch_lines(["*= tests on each backend =*", *COUNTS], consecutive=True)


def test_a_junit_file_has_the_backends(project):
    run(project, OF_EVERY_KIND, TWO, "--junitxml=report.xml")
    properties = {
        case.get("name"): [prop.attrib for prop in case.iter("property")]
        for case in ElementTree.parse(project.path / "report.xml").iter("testcase")
    }
    assert len(properties) == 9
    assert properties.pop("test_without") == []
    for name, values in properties.items():
        spec = name.partition("[")[2].removesuffix("]")
        assert values == [{"name": "backend", "value": spec}]


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_tests_in_parallel(project):
    project.makepyfile(f"import pytest\n{dedent(OF_EVERY_KIND)}")
    outcome = project.runpytest_subprocess(*ALONE, TWO, "-n2")
    outcome.assert_outcomes(**OUTCOMES)
    outcome.stdout.fnmatch_lines(COUNTS, consecutive=True)


# Host reads --------------------------------------------------------------------------------------

READS = """
    import numpy as np
    from anyback_nn.array_api import to_numpy
    @pytest.mark.parametrize("read", [float, lambda x: 1 if x > 0 else 2, np.exp])
    def test_read(read, backend, no_host_reads):
        read(backend.asarray(1.0))
    def test_transfer(backend, no_host_reads):
        x = backend.asarray([1.0, 2.0])
        assert no_host_reads.count == 0
        assert to_numpy(x).tolist() == [1.0, 2.0]
        assert no_host_reads.count == (backend.spec == "array-api-strict:device1")
"""


def test_host_reads_are_refused_on_devices_of_array_api_strict(project):
    outcome = run(project, READS, "--backend=numpy,array-api-strict,array-api-strict:device1")
    counts = ["numpy: 4 passed", "array-api-strict: 4 passed", "*:device1: 1 passed, 3 failed"]
    outcome.stdout.fnmatch_lines(counts, consecutive=True)
    for by in ("float()", "bool() (also `if`, *", "NumPy"):
        outcome.stdout.fnmatch_lines(
            f"*HostReadError: *'device1' was read back to the host by {by}*"
        )


def test_without_array_api_strict_nothing_is_refused(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    run(project, READS).assert_outcomes(passed=4)

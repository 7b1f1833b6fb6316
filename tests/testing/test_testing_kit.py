"""What the plugin finds and shows in projects of others, each where it should and nowhere else."""

import sys
from importlib.util import find_spec
from types import ModuleType
from xml.etree import ElementTree

import array_api_strict
import pytest
from foreign_project import ALONE, run, run_in_a_process

from anyback_nn.testing import select

pytest_plugins = ["pytester"]

PACKAGE = """
    import numpy as np
    from array_api_compat import array_namespace

    def softmax(x):
        xp = array_namespace(x)
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)

    def softmax_of_numpy(x):
        return softmax(np.asarray(x))

    def double(x):
        return x + x

    def clip_if_needed(x):
        xp = array_namespace(x)
        return xp.clip(x, max=1.0) if xp.max(x) > 1.0 else x
"""
DEVICE1 = "--backend=array-api-strict:device1"
MODULES = {
    "numpy": "numpy",
    "array-api-strict:device1": "array_api_strict",
    "torch": "torch",
    "jax": "jax",
}


@pytest.fixture(scope="module", params=[spec for spec in MODULES if find_spec(MODULES[spec])])
def spec(request):
    """A backend of each library, imported before `pytester`, which forgets what is imported."""
    select(request.param)
    return request.param


@pytest.fixture(scope="module")
def _torch():
    select("torch")


@pytest.fixture
def project(pytester):
    """A project with a package of its own, that enables the plugin, and is as strict as it can."""
    pytester.makeini(
        "[pytest]\nanyback_nn = true\naddopts = --strict-markers --strict-config\n"
        "filterwarnings = error\npythonpath = ."
    )
    pytester.makepyfile(foreign=PACKAGE)
    yield pytester
    sys.modules.pop("foreign", None)


# Tests that touch no array of xp -----------------------------------------------------------------

UNTOUCHED = """
    import numpy as np
    from foreign import softmax
    def test_nothing(xp):
        pass
    def test_a_dtype(xp):
        assert xp.float32 != xp.int32
    def test_inspections(xp):
        assert xp.isdtype(xp.float32, "real floating") and xp.finfo(xp.float32).bits == 32
    def test_the_namespace(xp, device, backend):
        assert xp.__name__ and backend.spec and device is not None
    class TestNumpy:
        def test_numpy(self, xp):
            assert np.sum(np.ones(3)) == 3
"""


def test_a_test_that_touches_no_array_of_xp_fails(project, spec):
    outcome = run(project, UNTOUCHED, f"--backend={spec}")
    outcome.assert_outcomes(failed=5)
    outcome.stdout.fnmatch_lines(
        [f"*TestNumpy.test_numpy?{spec}?*", f"the test took xp and touched no array of {spec}: *"]
    )


def test_a_test_whose_arrays_are_all_of_numpy_fails_elsewhere(project, spec):
    tests = """
        import numpy as np
        from foreign import softmax
        def test_softmax(xp):
            np.testing.assert_allclose(softmax(np.zeros(2)), 0.5)
    """
    # There, these are arrays of the backend's library.
    outcome = "passed" if spec == "numpy" else "failed"
    run(project, tests, f"--backend={spec}").assert_outcomes(**{outcome: 1})


TOUCHED = """
    import numpy as np
    from array_api_compat import array_namespace
    from foreign import double, softmax
    def test_a_function(xp, device):
        xp.ones(2, device=device)
    def test_the_namespace_stays_what_it_is(xp, backend):
        x = backend.asarray([1.0])
        assert xp is array_namespace(x) is backend.xp
        assert xp is __import__("sys").modules[xp.__name__]
    def test_an_extension(xp):
        assert xp.linalg
    def test_an_array_of_the_backend(xp, backend):
        assert double(backend.asarray([1.0, 2.0])).shape == (2,)
    def test_code_that_gets_the_namespace(xp, device):
        def count(xp, device):
            return xp.arange(3, device=device)
        assert count(xp, device).shape == (3,)
    @pytest.fixture(scope="module")
    def x(xp, device):
        return xp.asarray([1.0, 2.0], device=device)
    @pytest.fixture(scope="module")
    def y(x):
        return x
    def test_a_fixture(xp, x):
        assert double(x).shape == (2,)
    def test_a_fixture_of_an_earlier_test(xp, x):
        assert double(x).shape == (2,)
    def test_a_fixture_of_a_fixture(xp, y):
        assert double(y).shape == (2,)
    class TestSetup:
        @pytest.fixture(autouse=True)
        def setup(self, xp, device):
            self.x = xp.ones(3, device=device)
        def test_it(self):
            assert double(self.x).shape == (3,)
    class TestBase:
        @pytest.mark.touches_no_array(reason="it looks at names alone")
        def test_names(self, xp):
            assert xp.__name__
    class TestDerived(TestBase):
        pass
    @pytest.mark.touches_no_array(reason="all of them")
    class TestClass:
        def test_names(self, xp):
            assert xp.__name__
    def test_another_fixture(backend, device):
        assert backend.spec
    def test_no_fixture():
        assert np.ones(1).shape == (1,)
"""


def test_a_test_that_touches_an_array_of_xp_passes(project, spec):
    run(project, TOUCHED, f"--backend={spec}").assert_outcomes(passed=14)


def test_fixtures_of_one_name_are_not_confused(project):
    data = "import pytest\n@pytest.fixture(scope='session')\ndef data(backend{}):\n    return {}\n"
    touched = data.format("", "backend.asarray([1.0])")
    tests = "def test_one(xp, data): pass\ndef test_two(xp, data): pass\n"
    extended = data.format(", data", "data").replace("session", "module")
    replaced = data.format("", "[1.0]").replace("session", "module")
    project.makepyfile(
        **{
            "a/conftest": touched,
            "a/test_first": tests,
            "a/test_extended": extended + tests,
            "a/test_replaced": replaced + tests,
            "a/test_then": tests,
            "b/conftest": data.format("", "[1.0]"),
            "b/test_untouched": tests,
        }
    )
    order = ("a/test_first.py", "b", "a/test_then.py", "a/test_extended.py", "a/test_replaced.py")
    options = (DEVICE1, "--import-mode=importlib", "-rf")
    outcome = project.runpytest_inprocess(*ALONE, *options, *order)
    outcome.stdout.fnmatch_lines(
        [
            f"FAILED {name}.py::test_{number}?*"
            for name in ("b/test_untouched", "a/test_replaced")
            for number in ("one", "two")
        ]
    )
    outcome.assert_outcomes(passed=6, failed=4)


def test_a_fixture_may_be_asked_for_by_its_name(project):
    tests = """
        @pytest.fixture(scope="session")
        def x(backend):
            return backend.asarray([1.0])
        def test_one(xp, request):
            request.getfixturevalue("x")
        def test_two(xp, request):
            request.getfixturevalue("x")
    """
    run(project, tests, DEVICE1).assert_outcomes(passed=2)


def test_arrays_that_were_made_before_the_test_are_not_seen(project):
    tests = """
        import functools
        @functools.cache
        def create(backend):
            return backend.asarray([1.0])
        def test_one(xp, backend):
            create(backend)
        def test_two(xp, backend):
            create(backend)
    """
    outcome = run(project, tests, DEVICE1)
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines("*or on arrays that were made before the test*in a fixture*")


def test_outcomes_other_than_passed_stay_what_they_are(project):
    tests = """
        def test_failed(xp): assert 0, "of itself"
        def test_skipped(xp): pytest.skip("no reason")
        @pytest.mark.xfail(strict=False)
        def test_xpassed(xp): pass
        @pytest.mark.xfail(strict=True)
        def test_strictly_xpassed(xp): pass
        @pytest.mark.xfail
        def test_xfailed(xp): assert 0
    """
    outcome = run(project, tests, DEVICE1, "-rA")
    outcome.assert_outcomes(failed=2, skipped=1, xpassed=1, xfailed=1)
    outcome.stdout.no_fnmatch_line("*took xp and touched no array*")
    outcome.stdout.fnmatch_lines(["*AssertionError: of itself*", "*XPASS(strict)*"])


def test_after_the_tests_nothing_is_watched(project):
    run(project, UNTOUCHED, DEVICE1)
    assert type(array_api_strict) is ModuleType
    assert "touched" not in sys.modules["anyback_nn.backends"].Backend.asarray.__module__


def test_a_project_may_allow_it(project):
    run(project, UNTOUCHED, DEVICE1, "-o", "anyback_nn_allow_untouched=true").assert_outcomes(
        passed=5
    )


@pytest.mark.parametrize("names", ["xp", "backend", "xp, backend"])
def test_a_namespace_of_the_project_is_not_judged(project, names):
    fixtures = {
        "xp": "@pytest.fixture\ndef xp():\n    import math\n    return math\n",
        "backend": "@pytest.fixture(scope='session')\ndef backend(backend):\n"
        "    from anyback_nn.testing import select\n    return select('numpy')\n",
    }
    text = "".join(fixtures[name] for name in names.split(", "))
    project.makeconftest(f"import pytest\n{text}")
    run(project, "def test_it(xp): pass", DEVICE1).assert_outcomes(passed=1)


# Comparing with what is desired ------------------------------------------------------------------

CLOSE = """
    import numpy as np
    from anyback_nn.testing import assert_close
    from foreign import double, softmax, softmax_of_numpy
    def test_right(backend):
        x = backend.asarray([[1.0, 1.0]], dtype="float32")
        assert_close(softmax(x), [[0.5, 0.5]])
        assert_close(softmax(x), np.asarray([[0.5, 0.5]], dtype=np.float32))
    def test_numpy_on_purpose(backend):
        assert_close(softmax_of_numpy([1.0, 1.0]), [0.5, 0.5], xp=np)
    def test_numpy_by_mistake(backend):
        assert_close(softmax_of_numpy([1.0, 1.0]), np.asarray([0.5, 0.5]))
    def test_another_device(xp):
        assert_close(double(xp.ones(2)), [2.0, 2.0])
"""


def test_assert_close_knows_the_backend_under_test(project):
    outcome = run(project, CLOSE, "--backend=numpy,array-api-strict:device1")
    counts = ["numpy: 4 passed", "array-api-strict:device1: 2 passed, 2 failed"]
    outcome.stdout.fnmatch_lines(counts, consecutive=True)
    outcome.stdout.fnmatch_lines_random(
        [
            "*AssertionError: expected an array of array_api_strict, got one of numpy",
            "*AssertionError: expected device *Device('device1'), got *Device('CPU_DEVICE')",
        ]
    )


# Devices -----------------------------------------------------------------------------------------

ON_A_DEVICE = """
    from foreign import softmax
    from anyback_nn.testing import assert_close
    def test_softmax(xp, device):
        y = softmax(xp.zeros((3, 2), device=device))
        assert y.shape == (3, 2)
        assert_close(y, [[0.5, 0.5]] * 3, check_dtype=False)
"""


def test_backends_are_put_on_devices(project):
    devices = ("--device=CPU_DEVICE, device1", "--device=device2", "--device=cpu")
    outcome = run(project, ON_A_DEVICE, "--backend=numpy,array-api-strict", *devices)
    outcome.assert_outcomes(passed=4)
    outcome.stdout.fnmatch_lines(
        ["numpy: 1 passed", *(f"*-strict:{name}: 1 passed" for name in ("CPU_DEVICE", "device1"))]
    )
    outcome.stdout.fnmatch_lines_random(
        [
            "left out: backend 'numpy:device1': there is no device 'device1'. * has: numpy",
            "left out: backend 'array-api-strict:cpu': there is no device 'cpu'. *",
        ]
    )


def test_a_backend_with_a_device_or_a_variant_keeps_it(project):
    backends = "--backend=numpy:readonly,array-api-strict:device1,array-api-strict"
    outcome = run(project, ON_A_DEVICE, backends, "--device=device1,device2")
    expected = ["numpy:readonly: 1 passed", "*:device1: 1 passed", "*:device2: 1 passed"]
    outcome.stdout.fnmatch_lines(expected, consecutive=True)
    outcome.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--backend=numpy,array-api-strict", "--device=cpu,gpu"],
            "no chosen backend has a device 'gpu': backend 'numpy:gpu': there is no device *",
        ),
        (
            ["--backend=numpy:readonly", "--device=cpu"],
            "no chosen backend has a device 'cpu': name a backend without its device, *",
        ),
        (["--device=cpu,"], "--device: expected NAME, got ''"),
    ],
)
def test_a_device_that_no_backend_has_is_a_usage_error(project, arguments, message):
    outcome = run(project, ON_A_DEVICE, *arguments)
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(f"ERROR: {message}")


WITHOUT_VALUES = """
    from foreign import clip_if_needed, double, softmax
    from anyback_nn.testing import assert_close
    def test_shapes(xp, device):
        assert softmax(xp.ones((3, 2), device=device)).shape == (3, 2)
    def test_values_are_not_compared(xp, device):
        assert_close(double(xp.ones(2, device=device)), [5.0, 7.0])
    def test_a_wrong_shape(xp, device):
        assert_close(double(xp.ones(2, device=device)), [2.0])
    def test_a_wrong_device(xp, device):
        xp.ones(2, device=device) + xp.ones(2, device="cpu")
    def test_another_error(xp, device):
        xp.reshape(xp.ones(2, device=device), (3,))
    def test_branch(xp, device):
        clip_if_needed(xp.ones(2, device=device))
    def test_transfer(xp, device):
        from anyback_nn.array_api import to_numpy
        to_numpy(xp.ones(2, device=device))
    def test_shape_of_values(xp, device):
        xp.nonzero(xp.ones(2, device=device))
    @pytest.fixture
    def number(xp, device):
        return float(xp.ones((), device=device))
    def test_fixture(number):
        assert number == 1.0
"""


@pytest.mark.needs("torch")
@pytest.mark.usefixtures("_torch")
def test_on_a_device_without_values_tests_that_read_them_are_skipped(project):
    outcome = run(project, WITHOUT_VALUES, "--backend=torch", "--device=meta", "-rfs")
    outcome.assert_outcomes(passed=2, failed=3, skipped=4)
    outcome.stdout.fnmatch_lines("SKIPPED*: it reads values, and torch:meta has none")
    for name in ("a_wrong_shape", "a_wrong_device", "another_error"):
        outcome.stdout.fnmatch_lines(f"FAILED test_it.py::test_{name}?torch:meta? *")
    # On a device with values, no error is taken for that.
    outcome = run(project, WITHOUT_VALUES, "--backend=torch", "--device=cpu")
    outcome.assert_outcomes(passed=6, failed=3)


# Counting reads ----------------------------------------------------------------------------------

READS = """
    import numpy as np
    from anyback_nn.array_api import to_numpy
    from anyback_nn.testing import assert_close
    from foreign import clip_if_needed, softmax
    @pytest.fixture
    def x(backend):
        x = backend.asarray([1.0, 2.0])
        to_numpy(x)  # fixtures do not count
        return x
    def test_none(x):
        assert_close(softmax(x * 0), [0.5, 0.5], check_dtype=False)
    def test_one(x):
        clip_if_needed(x)
    def test_transfer(x):
        to_numpy(x)
    def test_four(x, xp):
        float(x[0]), int(x[0]), [0, 1][xp.argmax(x)], to_numpy(x)
    def test_failed(x):
        value = float(x[0])
        assert value == 3
"""


def test_host_reads_are_counted(project, spec):
    if spec == "numpy":
        pytest.skip("its arrays are in the host's memory")
    outcome = run(
        project, READS, f"--backend={spec},numpy", "--count-host-reads", "--junitxml=report.xml"
    )
    outcome.assert_outcomes(passed=8, failed=2)
    transfer = "1 to_device()" if spec == "array-api-strict:device1" else "1 NumPy"
    words = ", ".join(sorted([transfer, "1 float()", "1 index()", "1 int()"]))
    outcome.stdout.fnmatch_lines(
        [
            "*= reads of values back to the host =*",
            f"    4 test_it.py::test_four?{spec}?: {words}",
            f"    1 test_it.py::test_failed?{spec}?: 1 float()",
            f"    1 test_it.py::test_one?{spec}?: 1 bool()",
            f"    1 test_it.py::test_transfer?{spec}?: {transfer}",
            "7 reads in 5 tests",
            "not counted on numpy",
        ],
        consecutive=True,
    )
    cases = ElementTree.parse(project.path / "report.xml").iter("testcase")
    counts = {
        case.get("name"): [
            p.get("value") for p in case.iter("property") if p.get("name") == "host_reads"
        ]
        for case in cases
    }
    assert counts[f"test_four[{spec}]"] == ["4"]
    assert counts[f"test_none[{spec}]"] == ["0"]
    assert counts["test_four[numpy]"] == []


def test_without_the_option_nothing_is_counted(project):
    outcome = run(project, READS, DEVICE1)
    outcome.stdout.no_fnmatch_line("*reads of values*")


def test_the_most_reads_are_shown_and_all_of_them_if_asked_for(project):
    tests = """
        @pytest.mark.parametrize("n", range(30))
        def test_it(n, backend):
            x = backend.asarray(1.0)
            for _ in range(n):
                float(x)
    """
    outcome = run(project, tests, DEVICE1, "--count-host-reads")
    outcome.stdout.fnmatch_lines(["   29 *", "and 9 other tests (-v shows all)", "435 reads in *"])
    outcome.stdout.no_fnmatch_line("    9 test_it.py::test_it*")
    outcome = run(project, tests, DEVICE1, "--count-host-reads", "-v")
    outcome.stdout.fnmatch_lines(["   29 *", "    9 *", "    1 *", "435 reads in 30 tests"])


# The report --------------------------------------------------------------------------------------

REPORTED = """
    pytestmark = pytest.mark.under_test("foreign.softmax")
    def test_softmax(backend): pass
    @pytest.mark.parametrize("n", [1, 2])
    def test_more(backend, n): pass
    @pytest.mark.under_test("foreign.double", "foreign.halve")
    class TestDouble:
        @pytest.mark.skip_backends("numpy", reason="too\\nslow")
        def test_double(self, backend): pass
        @pytest.mark.xfail_backends("array-api-strict", reason="no axis")
        def test_axis(self, backend): assert backend.name == "numpy"
        @pytest.mark.under_test("a|b")
        def test_wrong(self, backend): assert backend.name == "numpy"
    class TestBase:
        def test_it(self, backend): pass
    @pytest.mark.under_test("foreign.derived")
    class TestDerived(TestBase):
        pass
    def test_without(): pass
"""
UNMARKED = """
    @pytest.fixture
    def broken(): assert 0
    class TestIt:
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(self, backend, n): pass
    def test_skipped(backend): pytest.skip("no reason")
    def test_broken(backend, broken): pass
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "xdist"])
def test_a_report_of_functions_and_backends(project, workers):
    if workers and find_spec("xdist") is None:
        pytest.skip("pytest-xdist is not installed")
    project.makepyfile(
        test_unmarked=f"import pytest\n{UNMARKED.replace(chr(10) + '    ', chr(10))}"
    )
    start = run_in_a_process if workers else run
    backends = "--backend=numpy,array-api-strict"
    outcome = start(project, REPORTED, backends, "--backend-report=table.md", *workers)
    outcome.stdout.fnmatch_lines("backend report: *table.md")
    text = (project.path / "table.md").read_text()
    table, notes, versions = text.split("\n\n")
    assert table.splitlines() == [
        "| under test | numpy | array-api-strict |",
        "|---|---|---|",
        r"| a\|b | 1 passed | 1 failed |",
        "| foreign.derived | 1 passed | 1 passed |",
        "| foreign.double | 1 passed, 1 skipped[^1] | 1 passed, 1 xfailed[^2] |",
        "| foreign.halve | 1 passed, 1 skipped[^1] | 1 passed, 1 xfailed[^2] |",
        "| foreign.softmax | 4 passed | 4 passed |",
        "| test_unmarked.py::TestIt::test_it | 2 passed | 2 passed |",
        "| test_unmarked.py::test_broken | 1 error | 1 error |",
        "| test_unmarked.py::test_skipped | 1 skipped[^3] | 1 skipped[^3] |",
    ]
    assert notes.splitlines() == ["[^1]: too slow", "[^2]: no axis", "[^3]: no reason"]
    assert versions.startswith("- numpy: version ")


def test_a_report_leaves_a_file_alone_if_no_test_ran(project):
    file = project.path / "table.md"
    file.write_text("as it was")
    run(project, REPORTED, "--backend-report=table.md", "--collect-only")
    assert file.read_text() == "as it was"
    outcome = run(project, REPORTED, "--backend-report=.")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines("ERROR: --backend-report: expected a file, got the folder .")


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("under_test()", 'expected names, ("softmax"), got *'),
        ("under_test(name='softmax')", 'expected names, ("softmax"), got *'),
        ("touches_no_array", 'expected a reason, (reason="..."), got *'),
        ("touches_no_array('a reason')", 'expected a reason, (reason="..."), got *'),
        ("touches_no_array(reason='')", 'expected a reason, (reason="..."), got *'),
    ],
)
def test_a_wrong_mark_is_an_error(project, mark, message):
    outcome = run(project, f"@pytest.mark.{mark}\ndef test_it(backend): pass")
    outcome.assert_outcomes(errors=1)
    name = mark.partition("(")[0]
    outcome.stdout.fnmatch_lines(f"test_it.py::test_it?numpy?: @pytest.mark.{name}: {message}")


# In parallel, and inherited ----------------------------------------------------------------------

INHERITED = """
    pytestmark = pytest.mark.skip_backends("numpy:readonly", reason="of the module")
    @pytest.mark.skip_backends("numpy", reason="of the base class")
    class Base:
        @pytest.mark.xfail_backends("array-api-strict", reason="of the test")
        def test_it(self, backend):
            assert backend.spec != "array-api-strict"
        def test_others(self, backend):
            assert backend.name not in ("numpy", self.skipped)
        skipped = "none"
    class TestDerived(Base):
        pass
    @pytest.mark.skip_backends("array-api-strict", reason="of the derived class")
    class TestMarked(Base):
        skipped = "array-api-strict"
    class TestOverridden(Base):
        def test_it(self, backend):
            assert backend.name != "numpy"
    def test_alone(backend):
        assert backend.spec != "numpy:readonly"
"""


def test_marks_are_inherited(project):
    outcome = run(project, INHERITED, "--backend=numpy,numpy:readonly,array-api-strict", "-rs")
    outcome.stdout.fnmatch_lines(
        [
            "numpy: 1 passed, 6 skipped",
            "numpy:readonly: 7 skipped",
            "array-api-strict: 4 passed, 2 skipped, 1 xfailed",
        ],
        consecutive=True,
    )
    outcome.assert_outcomes(passed=5, skipped=15, xfailed=1)


IN_PARALLEL = """
    import threading
    from foreign import double, softmax
    from anyback_nn.array_api import to_numpy
    from anyback_nn.testing import HostReadError, assert_close, no_host_reads as guard
    threads = set()
    def test_silent(xp):
        pass
    def test_touched(xp, device):
        threads.add(threading.get_ident())
        assert_close(softmax(xp.zeros(2, device=device)), [0.5, 0.5], check_dtype=False)
    def test_read(backend, no_host_reads):
        float(backend.asarray(1.0))
    def test_transfer(backend, no_host_reads):
        to_numpy(backend.asarray(1.0))
        assert no_host_reads.count == 1
    def test_guard_of_the_thread(backend):
        x = backend.asarray(1.0)
        for _ in range(200):
            with guard() as reads:
                to_numpy(x)
                with pytest.raises(HostReadError):
                    float(x)
            assert float(x) == reads.count == 1  # another thread may be in its guard
    def test_number_of_threads():
        assert len(threads) == {n}
"""
OUTCOMES = "array-api-strict:device1: 3 passed, 2 failed"


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_in_parallel_processes(project):
    options = ("-n2", "--dist=loadfile", "--count-host-reads")
    outcome = run_in_a_process(project, IN_PARALLEL.format(n=1), DEVICE1, *options)
    outcome.assert_outcomes(passed=4, failed=2)
    outcome.stdout.fnmatch_lines(
        ["  400 test_it.py::test_guard_of_the_thread?*?: 200 float(), 200 to_device()", OUTCOMES]
    )


@pytest.mark.skipif(
    find_spec("pytest_run_parallel") is None, reason="pytest-run-parallel is not installed"
)
def test_in_parallel_threads(project):
    options = ("--parallel-threads=4", "--count-host-reads")
    outcome = run_in_a_process(project, IN_PARALLEL.format(n=4), DEVICE1, *options)
    outcome.stdout.fnmatch_lines("Collected * items to run in parallel")
    outcome.stdout.fnmatch_lines(
        [" 1600 test_it.py::test_guard_of_the_thread?*?: 800 float(), 800 to_device()", OUTCOMES]
    )

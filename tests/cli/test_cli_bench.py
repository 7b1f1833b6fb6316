"""The timing of backends. Only made-up durations are compared."""

import pytest

from anyback_nn.backends.libraries import TRAINING
from anyback_nn.bench import Timing
from anyback_nn.testing.variants import usable

QUICK = ("moons", "--hidden", "4", "--batch-size", "16", "--seconds", "0.001")
TWO = ("--backends", "numpy,array-api-strict")


@pytest.fixture
def set_times(monkeypatch):
    """Let a step on each backend take these seconds (default: 1), or fail for this reason."""

    def set_all(**results):
        def time_steps(beginnings, has_time):
            steps = {spec: results.get(spec.replace("-", "_"), 1.0) for spec in beginnings}
            failures = {spec: step for spec, step in steps.items() if isinstance(step, str)}
            return {spec: Timing(1.5, steps[spec]) for spec in steps.keys() - failures}, failures

        monkeypatch.setattr("anyback_nn.cli.bench.time_steps", time_steps)

    return set_all


# Really timed ------------------------------------------------------------------------------------


def test_the_table(program, tmp_path):
    outcome = program("bench", *QUICK, *TWO)
    assert (outcome.status, outcome.err) == (0, "")
    assert list(tmp_path.iterdir()) == []  # nothing is written
    lines = outcome.out.splitlines()
    assert lines[0].startswith("moons: classification")
    assert "network 2-4-2, batches of 16, adam, float32" in lines
    at = next(i for i, line in enumerate(lines) if line.startswith("backend"))
    head = ["backend", "device", "first", "step", "us", "a", "step", "samples/s", "relative"]
    assert lines[at].split() == head
    rows = [line.split() for line in lines[at + 2 : at + 4]]
    assert sorted(row[:2] for row in rows) == [["array-api-strict", "CPU_DEVICE"], ["numpy", "cpu"]]
    for _, _, first, unit, *numbers in rows:
        assert unit == "s"
        assert all(float(number.replace(",", "")) >= 0 for number in (first, *numbers))
    assert rows[0][-1] == "1.00"
    assert max(map(len, lines)) <= 80
    assert lines[-1].split()[0] == rows[0][0]  # the fastest, or both about equally fast


def test_json(program, backend):
    result = program("bench", *QUICK, "--backends", backend.spec, "--json").json
    assert (result["data"], result["network"], result["batch_size"]) == ("moons", [2, 4, 2], 16)
    assert (result["optimizer"], result["dtype"]) == ("adam", "float32")
    assert result["fastest"] == backend.spec
    assert result["failures"] == {}
    (row,) = result["backends"]
    assert row["backend"] == backend.spec
    assert (row["version"], row["device"]) == (backend.version, backend.device_label)
    assert row["relative"] == 1
    for name in "seconds_to_first_step", "microseconds_a_step", "samples_a_second":
        assert row[name] > 0


def test_tables_regression_and_no_hidden_layer(program, houses):
    options = ("--target", "price", "--hidden", "none", "--seconds", "0.001", "--l2", "0.1")
    outcome = program("bench", houses, *options, "--optimizer", "sgd", *TWO)
    assert outcome.status == 0
    assert "network 1-1, batches of 64, sgd, float32" in outcome.out


def test_not_more_rows_than_there_are(program):
    outcome = program("bench", "xor", "--batch-size", "100000", "--backends", "numpy", *QUICK[5:])
    assert outcome.status == 0
    assert "batches of 800," in outcome.out


# Made up -----------------------------------------------------------------------------------------


def test_the_fastest_comes_first(program, set_times):
    set_times(numpy=128e-6, array_api_strict=64e-6)
    outcome = program("bench", "moons", *TWO)
    rows = [line.split() for line in outcome.out.splitlines()]
    times = [["array-api-strict", "64.0", "1,000,000", "1.00"], ["numpy", "128", "500,000", "2.00"]]
    assert [[row[0], *row[-3:]] for row in rows if "1.50" in row] == times
    assert outcome.out.endswith(
        "array-api-strict is the fastest here, 2.0 times as fast as numpy.\n"
    )
    result = program("bench", "moons", *TWO, "--json").json
    assert result["fastest"] == "array-api-strict"
    assert [row["relative"] for row in result["backends"]] == [1, 2]


@pytest.mark.parametrize(
    ("backends", "verdict"),
    [
        (TWO, "numpy and array-api-strict are about equally fast here."),
        (("--backends", "numpy"), "numpy alone could be timed here"),
    ],
)
def test_no_backend_is_the_fastest(program, set_times, backends, verdict):
    set_times(numpy=1.0, array_api_strict=1.02)
    assert verdict in program("bench", "moons", *backends).out


def test_a_backend_that_fails_is_listed(program, set_times):
    set_times(array_api_strict="it broke")
    outcome = program("bench", "moons", *TWO)
    assert outcome.status == 0
    assert "array-api-strict was not timed: it broke" in outcome.out
    result = program("bench", "moons", *TWO, "--json").json
    assert result["failures"] == {"array-api-strict": "it broke"}
    assert [row["backend"] for row in result["backends"]] == ["numpy"]


def test_none_could_be_timed(program, set_times):
    set_times(numpy="it broke")
    for ending in (), ("--json",):
        outcome = program("bench", "moons", "--backends", "numpy,cupy:99", *ending)
        assert outcome.status == 1
        assert "error: no backend could be timed" in outcome.err
        assert "numpy was not timed: it broke" in outcome.err
        assert "cupy:99 was not timed: " in outcome.err
    assert outcome.json["backends"] == []
    assert outcome.json["fastest"] is None


def test_by_default_every_backend_that_can_compute(program, set_times):
    set_times()
    result = program("bench", "--json").json
    assert result["data"] == "digits"
    able, missing = usable(TRAINING)
    assert {backend.spec for backend in able} <= {row["backend"] for row in result["backends"]}
    assert result["failures"].keys() == missing.keys()

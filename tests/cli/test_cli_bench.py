"""The timing of backends. How long anything takes is not looked at, but where it is made up."""

import pytest

from anyback_nn.cli import bench, options
from anyback_nn.step_time import Timing

QUICK = ("moons", "--hidden", "4", "--batch-size", "16", "--seconds", "0.001")
TWO = ("--backends", "numpy,array-api-strict")


@pytest.fixture
def made_up(monkeypatch):
    """Let backends take what a law says, of the batch size and the width of the first layer."""

    def law(**laws):
        def timed(self, batch_size, widths, end, expected=None):
            width = widths[0] if widths else 1
            seconds = {
                one.spec: laws[one.name.replace("-", "_")](batch_size, width)
                for one in self.backends
                if expected is None or one.spec in expected
            }
            failed = {spec: one for spec, one in seconds.items() if isinstance(one, str)}
            rest = seconds.keys() - failed
            return {spec: Timing(1.5, seconds[spec]) for spec in seconds if spec in rest}, failed

        monkeypatch.setattr(bench.Work, "timed", timed)

    return law


def crossing_at(batch_size, factor):
    """NumPy is ahead until this batch size, or layers of 4 that are so many times as wide."""
    return {
        "numpy": lambda batch, width: 1e-6 * batch * width,
        "array_api_strict": lambda batch, width: (
            1e-6 * batch * width * (batch_size / batch) ** 0.5 * (4 * factor / width) ** 0.5
        ),
    }


# Really timed ------------------------------------------------------------------------------------


def test_the_table(program):
    outcome = program("bench", *QUICK, *TWO)
    assert (outcome.status, outcome.err) == (0, "")
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
        assert all(float(one.replace(",", "")) >= 0 for one in (first, *numbers))
    assert rows[0][-1] == "1.00"
    assert max(map(len, lines)) <= 80
    assert "There was no time for more than batches of 16: raise --seconds." in lines
    assert "There was no time for more than hidden layers of 4: raise --seconds." in lines


def test_json(program, backend):
    result = program("bench", *QUICK, "--backends", backend.spec, "--json").json
    assert (result["data"], result["network"], result["batch_size"]) == ("moons", [2, 4, 2], 16)
    assert (result["optimizer"], result["dtype"]) == ("adam", "float32")
    assert result["fastest"] == backend.spec
    assert (result["failures"], result["break_even"]) == ({}, {})
    (row,) = result["backends"]
    assert row["backend"] == backend.spec
    assert (row["version"], row["device"]) == (backend.version, backend.device_label)
    assert row["relative"] == 1
    for name in "seconds_to_first_step", "microseconds_a_step", "samples_a_second":
        assert row[name] > 0


def test_larger_sizes_are_timed(program, monkeypatch):
    """As many as there is time for: here, one."""
    from anyback_nn import break_even

    real = break_even.grow

    def once(first, sizes, measure, has_time):
        return real(first, [next(sizes)], measure, lambda last: True)

    monkeypatch.setattr(break_even, "grow", once)
    result = program("bench", *QUICK, *TWO, "--grow", "batch,width", "--json").json
    measured = {way: found["measured"] for way, found in result["break_even"].items()}
    assert {
        way: [(one["batch_size"], one["hidden"]) for one in found]
        for way, found in measured.items()
    } == {"batch": [(16, [4]), (64, [4])], "width": [(16, [4]), (16, [8])]}
    for one in [*measured["batch"], *measured["width"]]:
        assert one["microseconds_a_step"].keys() == {"numpy", "array-api-strict"}
        assert all(time > 0 for time in one["microseconds_a_step"].values())


def test_tables_regression_and_no_hidden_layer(program, houses):
    options_ = ("--target", "price", "--hidden", "none", "--seconds", "0.001", "--l2", "0.1")
    outcome = program("bench", houses, *options_, "--optimizer", "sgd", *TWO)
    assert outcome.status == 0
    assert "network 1-1, batches of 64, sgd, float32" in outcome.out
    assert "hidden layers" not in outcome.out


def test_nothing_is_written(program, tmp_path):
    program("bench", *QUICK, *TWO)
    assert list(tmp_path.iterdir()) == []


def test_not_more_rows_than_there_are(program):
    outcome = program("bench", "xor", "--batch-size", "100000", "--backends", "numpy", *QUICK[5:])
    assert outcome.status == 0
    assert "batches of 100,000" not in outcome.out


# Made up -----------------------------------------------------------------------------------------


def test_another_backend_from_a_size_on(program, made_up):
    made_up(**crossing_at(batch_size=500, factor=10))
    outcome = program("bench", "moons", "--hidden", "4", *TWO)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert ["256", "1,024", "4,525"] in rows
    assert ["8", "512", "3,200"] in rows
    assert "numpy is the fastest here, 8.8 times as fast as array-api-strict." in lines
    # The crossing of one size lies where the product of both ratios is 1.
    assert "array-api-strict would be from batches of about 5,000 on." in lines
    assert "array-api-strict would be from hidden layers of about 310 on." in lines


def test_the_sizes_of_a_crossing(program, made_up):
    made_up(**crossing_at(batch_size=500, factor=10))
    result = program("bench", "moons", "--hidden", "4,2", *TWO, "--json").json
    batch, width = result["break_even"]["batch"], result["break_even"]["width"]
    assert batch["backend"] == width["backend"] == "array-api-strict"
    assert batch["times_as_large"] == pytest.approx(5000 / 64)
    assert width["times_as_large"] == pytest.approx(5000 / 64)
    assert [one["batch_size"] for one in batch["measured"]] == [64, 256, 1024, 4096, 16384]
    assert [one["hidden"] for one in width["measured"]][:3] == [[4, 2], [8, 4], [16, 8]]
    assert result["fastest"] == "numpy"


def test_no_other_backend(program, made_up):
    # Sizes grow until a step would take longer than there is time.
    made_up(numpy=lambda *_: 1e-9, array_api_strict=lambda batch, _: 1e-8 * batch)
    outcome = program("bench", "moons", *TWO, "--grow", "batch")
    assert "numpy stays so up to batches of " in outcome.out
    assert "the largest there was time for." in outcome.out


def test_equally_fast(program, made_up):
    made_up(numpy=lambda *_: 1.0, array_api_strict=lambda *_: 1.02)
    outcome = program("bench", "moons", *TWO, "--seconds", "1")
    assert "numpy and array-api-strict are about equally fast here." in outcome.out


def test_one_backend_alone(program, made_up):
    made_up(numpy=lambda *_: 1.0)
    outcome = program("bench", "moons", "--backends", "numpy")
    assert "numpy alone could be timed here" in outcome.out


def test_a_backend_that_fails_is_listed(program, made_up):
    made_up(numpy=lambda *_: 1.0, array_api_strict=lambda *_: "it broke")
    outcome = program("bench", "moons", *TWO, "--seconds", "1")
    assert outcome.status == 0
    assert "array-api-strict was not timed: it broke" in outcome.out
    result = program("bench", "moons", *TWO, "--seconds", "1", "--json").json
    assert result["failures"] == {"array-api-strict": "it broke"}
    assert [one["backend"] for one in result["backends"]] == ["numpy"]


def test_a_backend_that_fails_at_a_larger_size(program, made_up):
    laws = crossing_at(batch_size=500, factor=10)
    strict = laws.pop("array_api_strict")
    made_up(**laws, array_api_strict=lambda *at: "it broke" if at[0] > 1000 else strict(*at))
    outcome = program("bench", "moons", "--hidden", "4", *TWO, "--grow", "batch")
    assert outcome.status == 0
    assert "note: batch 1,024: array-api-strict was not timed: it broke" in outcome.err
    assert outcome.err.count("note: ") == 1
    assert "numpy stays so up to batches of 1,024" in outcome.out


def test_none_could_be_timed(program, made_up):
    made_up(numpy=lambda *_: "it broke")
    for ending in (), ("--json",):
        outcome = program("bench", "moons", "--backends", "numpy,cupy:99", *ending)
        assert outcome.status == 1
        assert "error: no backend could be timed" in outcome.err
        assert "numpy was not timed: it broke" in outcome.err
        assert "cupy:99 was not timed: " in outcome.err
    assert outcome.json["backends"] == []
    assert outcome.json["fastest"] is None


def test_by_default_every_backend_that_can_compute(program, made_up):
    from anyback_nn.backends import BACKENDS
    from anyback_nn.testing.variants import usable

    made_up(**{name.replace("-", "_"): lambda *_: 1.0 for name in BACKENDS})
    result = program("bench", "--seconds", "0.1", "--json").json
    assert result["data"] == "digits"
    able, missing = usable(BACKENDS)
    assert {one.spec for one in able} <= {one["backend"] for one in result["backends"]}
    assert result["failures"].keys() == missing.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backends", "numpi"], ["--backends", "unknown backend 'numpi'"]),
        (["--backends", ""], ["--backends", "at least one"]),
        (["--seconds", "0"], ["--seconds", "above 0"]),
        (["--grow", "depth"], ["--grow", "batch, width or batch,width, got 'depth'"]),
        (["--batch-size", "0"], ["--batch-size", "at least 1"]),
    ],
)
def test_misuse(fails, arguments, said):
    message = fails("bench", *arguments, status=2)
    assert all(one in message for one in said), message


def test_the_ways_to_grow_are_those_of_the_option():
    assert tuple(bench.growths(64, (8,))) == options.GROWTHS
    assert tuple(bench.growths(64, ())) == ("batch",)

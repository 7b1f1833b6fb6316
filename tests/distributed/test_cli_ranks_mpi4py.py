"""The program, started by launchers: it does and prints what it does alone, once."""

import csv
import io
import json
import sys
from pathlib import Path

import launched
import pytest
from launched import each_launcher, launch

TRAIN = ("-m", "anyback_nn", "train", "digits", "--epochs", "3", "--json", "--batch-size", "100")
NOT_THE_SAME = ("seconds", "output")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder and the output of a run without a launcher."""
    folder = tmp_path_factory.mktemp("alone")
    outcome = launched.run(sys.executable, *TRAIN, folder=folder)
    assert (outcome.status, outcome.err) == (0, "")
    return folder, json.loads(outcome.out)


def assert_same(ours, expected):
    """Compare results: the same decisions, and numbers to rounding."""
    assert ours.keys() == expected.keys()
    for name in ours.keys() - NOT_THE_SAME:
        if name.endswith("accuracy") or not isinstance(ours[name], float | dict):
            assert ours[name] == expected[name], name
        else:
            assert ours[name] == pytest.approx(expected[name], rel=1e-5), name


@pytest.mark.parametrize(
    ("launcher", "n_ranks"),
    [("mpi", 2), ("mpi", 3), pytest.param("gloo", 2, marks=pytest.mark.needs("torch"))],
)
def test_digits(launcher, n_ranks, alone, tmp_path):
    folder, expected = alone
    outcome = launch(launcher, n_ranks, *TRAIN, folder=tmp_path)
    assert outcome.status == 0, outcome.err
    assert_same(json.loads(outcome.out), expected)
    files = [sorted(str(path.relative_to(f)) for path in f.rglob("*")) for f in (tmp_path, folder)]
    assert files[0] == files[1]
    assert "runs/digits-1/model.safetensors" in files[0]


@each_launcher
def test_evaluate(launcher, alone):
    folder, _ = alone
    command = ("-m", "anyback_nn", "evaluate", "runs/digits-1", "digits", "--json")
    ours = launch(launcher, 2, *command, folder=folder)
    expected = launched.run(sys.executable, *command, folder=folder)
    assert (ours.status, expected.status) == (0, 0), ours.err
    assert_same(json.loads(ours.out), json.loads(expected.out))


@each_launcher
def test_predict(launcher, alone):
    folder, _ = alone
    command = ("-m", "anyback_nn", "predict", "runs/digits-1", "digits", "--probabilities")
    tables = []
    for outcome in (
        launch(launcher, 3, *command, folder=folder),
        launched.run(sys.executable, *command, folder=folder),
    ):
        assert outcome.status == 0, outcome.err
        tables.append([*csv.DictReader(io.StringIO(outcome.out))])
    assert len(tables[0]) == len(tables[1]) == 360
    for ours, expected in zip(*tables):
        assert ours["prediction"] == expected["prediction"]
        for name in expected:
            assert float(ours[name]) == pytest.approx(float(expected[name]), rel=1e-5)


@each_launcher
def test_an_error_is_printed_once_and_ends_all(launcher, tmp_path):
    command = ("-m", "anyback_nn", "train", "missing.csv", "--target", "y")
    outcome = launch(launcher, 3, *command, folder=tmp_path, timeout=60.0)
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.count("error: ") == 1, outcome.err
    assert "missing.csv" in outcome.err
    assert "anyback_nn/" not in outcome.err  # as in a traceback, of which torchrun prints its own
    assert not [*tmp_path.iterdir()]


@each_launcher
def test_an_error_of_another_rank_is_printed_too(launcher, tmp_path):
    """Rank 0, which alone prints otherwise, has none."""
    script = Path(__file__).with_name("failing_rank.py")
    outcome = launch(launcher, 3, script, "program", folder=tmp_path, timeout=60.0)
    assert outcome.status == 1
    assert outcome.err.count("rank 1 of 3 ends all, because of:") == 1, outcome.err
    assert "missing.csv" in outcome.err.partition("because of:")[2].partition("error: ")[2]


def test_processes_that_are_not_to_join(alone, tmp_path):
    outcome = launch("mpi", 2, *TRAIN, "--distributed", "off", folder=tmp_path)
    assert outcome.status == 0, outcome.err
    # The ends of their lines may come after both.
    results = json.loads(f"[{outcome.out.replace(chr(10), '').replace('}{', '}, {')}]")
    assert sorted(result["output"] for result in results) == ["runs/digits-1", "runs/digits-2"]
    for result in results:
        assert {**result, **dict.fromkeys(NOT_THE_SAME)} == {
            **alone[1],
            **dict.fromkeys(NOT_THE_SAME),
        }

"""The commands on a backend that predicts, and takes no steps of training."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs("dask")


def test_it_is_listed_with_what_it_lacks(program):
    outcome = program("backends")
    assert "dask; no steps of training" in " ".join(outcome.out.split())
    rows = {row["name"]: row for row in program("backends", "--json").json["backends"]}
    assert rows["dask"]["computes"] == ["predictions", "gradients"]


@pytest.mark.parametrize(
    "words", [("train", "moons", "--backend"), ("verify", "moons", "--backends")]
)
def test_training_is_refused(words, fails):
    message = fails(*words, "dask")
    assert "backend 'dask'" in message
    assert "no steps of training" in message


def test_bench_says_why_it_is_not_timed(program):
    outcome = program("bench", "moons", "--backends", "dask")
    assert outcome.status == 1
    assert "dask was not timed: " in outcome.err
    assert "no steps of training" in " ".join(outcome.err.split())


def test_a_run_is_evaluated(program):
    assert program("train", "moons", "--epochs", "2").status == 0
    on_numpy, on_dask = (
        program("evaluate", "runs/moons-1", "moons", "--backend", spec, "--json").json
        for spec in ("numpy", "dask")
    )
    assert on_dask["backend"] == "dask"
    assert on_dask["loss"] == pytest.approx(on_numpy["loss"], rel=1e-5)

"""Schedules against worked examples and their properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyback_nn as nn
from anyback_nn.optim import schedules
from anyback_nn.optim.schedules import direction


def test_a_number_is_a_schedule_that_never_changes():
    schedule = nn.Adam(0.3).schedule
    assert [schedule(0.0), schedule(7.5)] == [0.3, 0.3]
    assert nn.Adam(schedule).schedule is schedule


def test_step_decay_changes_between_epochs_only():
    schedule = nn.StepDecay(1.0, every=3, factor=0.1)
    assert [schedule(e) for e in (0, 2.99, 3, 5.9, 6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_exponential_decay_halves_where_it_should():
    schedule = nn.ExponentialDecay(0.8, factor=0.5)
    assert [schedule(e) for e in (0, 1, 3)] == pytest.approx([0.8, 0.4, 0.1])


def test_cosine_decay_warms_up_and_falls_to_the_final_rate():
    schedule = nn.CosineDecay(1.0, epochs=10, warmup=2, final=0.1)
    assert schedule(0) == 0.0
    assert schedule(1) == pytest.approx(0.5)
    assert schedule(2) == pytest.approx(1.0)
    assert schedule(6) == pytest.approx(0.55)
    assert schedule(4) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule(10) == schedule(99) == pytest.approx(0.1)
    rates = [schedule(2 + i / 10) for i in range(81)]
    assert rates == sorted(rates, reverse=True)


def test_cosine_decay_refuses_a_warm_up_that_never_ends():
    with pytest.raises(ValueError, match="warmup < epochs, got warmup=5 and epochs=5"):
        nn.CosineDecay(1.0, epochs=5, warmup=5)


def test_reduce_on_plateau_by_hand():
    schedule = nn.ReduceOnPlateau(1.0, factor=0.5, patience=1)
    losses = [5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0]
    rows = [{"validation_loss": loss} for loss in losses]
    rates = [schedule(n, rows[:n]) for n in range(len(rows) + 1)]
    #        start 5  4    +1   +2   +1    +2    3     +1    +2
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_reduce_on_plateau_reads_as_many_rows_in_a_late_epoch_as_in_an_early_one(monkeypatch):
    read, monitored = [], schedules.read_monitored
    monkeypatch.setattr(
        schedules, "read_monitored", lambda *args: read.append(args) or monitored(*args)
    )
    schedule, rows = nn.ReduceOnPlateau(1.0, factor=0.9), []
    for epoch in range(300):
        schedule(epoch, rows[:])
        rows.append({"validation_loss": 1.0 / (1 + epoch % 7)})
    assert len(read) == 299
    # Another schedule, and the same one with other epochs before it, begin for themselves.
    assert nn.ReduceOnPlateau(2.0, factor=0.9)(300, rows) == 2 * schedule(300, rows) < 1.0
    assert schedule(5, rows[295:]) == 1.0


@given(st.lists(st.one_of(st.sampled_from([1.0, 2.0, 3.0, math.nan]), st.just("back"))))
def test_reduce_on_plateau_is_the_same_when_epochs_are_taken_back(events):
    schedule, rows = nn.ReduceOnPlateau(1.0, factor=0.5, patience=1), []
    for event in events:
        if event != "back":
            rows.append({"validation_loss": event})
        elif rows:
            rows.pop()
        # New rows have no past.
        assert schedule(len(rows), rows) == schedule(len(rows), [dict(row) for row in rows])


def test_reduce_on_plateau_watches_accuracy_upwards_and_keeps_the_minimum():
    schedule = nn.ReduceOnPlateau(
        1.0, factor=0.1, patience=0, monitor="validation_accuracy", minimum=0.05
    )
    rows = [{"validation_accuracy": a} for a in (0.5, 0.6, 0.6, 0.6, 0.6)]
    assert [schedule(n, rows[:n]) for n in range(6)] == pytest.approx([1, 1, 1, 0.1, 0.05, 0.05])


def test_reduce_on_plateau_never_raises_the_rate():
    schedule = nn.ReduceOnPlateau(0.01, patience=0, minimum=0.1)
    assert schedule(2, [{"validation_loss": 1.0}] * 2) == 0.01


def test_reduce_on_plateau_says_what_is_recorded():
    with pytest.raises(ValueError, match="'validation_loss' is not recorded.*train_loss"):
        nn.ReduceOnPlateau(1.0)(1, [{"train_loss": 1.0}])


@pytest.mark.parametrize(
    ("name", "sign"),
    [("train_loss", 1), ("validation_accuracy", -1), ("validation_r2", -1), ("absolute_error", 1)],
)
def test_direction_of_improvement(name, sign):
    assert direction(name) == sign


@pytest.mark.parametrize("name", ["patience", "min_delta", "minimum"])
@pytest.mark.parametrize("value", [None, "1", math.nan])
def test_settings_of_plateaus_are_numbers(name, value):
    """They are settings of model files, which may be anything."""
    with pytest.raises((TypeError, ValueError), match=f"expected {name} "):
        nn.ReduceOnPlateau(0.1, **{name: value})
    with pytest.raises((TypeError, ValueError), match="expected final "):
        nn.CosineDecay(0.1, epochs=3, final=value)

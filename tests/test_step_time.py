"""Timing steps of training: who has a turn when, on a clock that is made up."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn import step_time
from anyback_nn.errors import AnybackError
from anyback_nn.step_time import Steps, Timing, time_steps


class Machine:
    """A clock, and backends that take so many seconds to begin with and for each step."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self):
        return self.now

    def backend(self, name, begin, *seconds, fail_at=None):
        """Steps take these seconds, one call after another and then again and again."""

        def beginning():
            self.now += begin
            done = 0

            def steps(n):
                nonlocal done
                self.calls.append((name, n))
                if done == fail_at:
                    raise AnybackError("no more")
                took = n * seconds[done % len(seconds)]
                done += 1
                self.now += took
                return took

            return steps

        return beginning


@pytest.fixture
def machine():
    return Machine()


def timed(machine, has_time=lambda: True, expected=None, **beginnings):
    return time_steps(beginnings, has_time, expected, machine.clock)


def test_first_steps_and_medians(machine):
    slow, quick = machine.backend("slow", 2.0, 0.5), machine.backend("quick", 0.25, 0.001)
    timings, failures = timed(machine, slow=slow, quick=quick)
    assert failures == {}
    assert timings["slow"] == Timing(2.5, 0.5)
    assert timings["quick"].first_step == pytest.approx(0.251)
    assert timings["quick"].step == pytest.approx(0.001)


def test_backends_take_turns_after_their_warm_up(machine):
    a, b = machine.backend("a", 0, 0.0625), machine.backend("b", 0, 10.0)
    timed(machine, a=a, b=b)
    n = int(step_time.TURN / 0.0625)
    warm_up = [("a", 1), ("a", 1), ("a", n), ("b", 1), ("b", 1), ("b", 1)]
    assert machine.calls == warm_up + [("a", n), ("b", 1)] * step_time.ROUNDS


def test_very_quick_steps(machine):
    timings, _ = timed(machine, a=machine.backend("a", 0, 0.0))
    assert timings["a"].step == 0
    assert max(n for _, n in machine.calls) == step_time.MOST_STEPS


@pytest.mark.parametrize(("seconds", "n"), [(1e-6, 64), (0.09, 3), (0.14, 2), (7.0, 1)])
def test_what_is_expected_saves_steps_alone(machine, seconds, n):
    a = machine.backend("a", 1.0, 0.5)
    timings, _ = timed(machine, lambda: False, {"a": seconds}, a=a)
    assert timings == {"a": Timing(1.0 + 0.5 * n, 0.5)}
    assert {steps for _, steps in machine.calls} == {n if seconds > 1e-3 else step_time.MOST_STEPS}
    warm_up = len(machine.calls) - step_time.FEWEST_ROUNDS
    assert warm_up == {64: 1, 3: 1, 2: 2, 1: 3}[n]


def test_an_outlier_does_not_count(machine):
    usual, disturbed = [1.0] * 9, [50.0]
    timings, _ = timed(machine, a=machine.backend("a", 0, *usual[:4], *disturbed, *usual[:5]))
    assert timings["a"].step == 1.0


def test_fewer_rounds_where_time_is_short(machine):
    timings, _ = timed(machine, lambda: False, a=machine.backend("a", 0, 1.0))
    assert timings["a"].step == 1.0
    assert len(machine.calls) == step_time.LEAST_STEPS


@pytest.mark.parametrize("fail_at", [0, 1, 2, 3, 7])
def test_a_backend_that_fails_does_not_end_it(machine, fail_at):
    a, b = machine.backend("a", 0, 1.0, fail_at=fail_at), machine.backend("b", 0, 2.0)
    timings, failures = timed(machine, a=a, b=b)
    assert failures == {"a": "no more"}
    assert timings == {"b": Timing(2.0, 2.0)}
    assert machine.calls.count(("a", 1)) == fail_at + 1


def test_an_error_of_a_library_is_named(machine):
    def begin():
        raise ZeroDivisionError("of something")

    assert timed(machine, a=begin) == ({}, {"a": "ZeroDivisionError: of something"})


# Real steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_steps_are_those_of_fit(backend, dropout):
    """On as many rows as the steps need, an epoch is the same as in `Model.fit`."""
    x, y = nn.datasets.make_blobs(96, seed=0)
    layers = (nn.Dense(8), nn.ReLU(), nn.Dropout(dropout), nn.Dense(3))
    one, other = (
        nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend).build(2) for _ in "ab"
    )
    steps = Steps(one, x, y, nn.Adam(), batch_size=32)
    assert steps(3) > 0
    assert steps(3) > 0
    other.fit(x, y, optimizer=nn.Adam(), epochs=2, batch_size=32)
    assert one.training.step == other.training.step == 6
    for mine, its in zip(one.history["train_loss"], other.history["train_loss"]):
        assert mine == pytest.approx(its, rel=1e-6)


def test_batches_that_are_larger_than_the_data(backend):
    x, y = np.arange(10.0)[:, None] / 10, np.arange(10.0)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend).build(1)
    steps = Steps(model, x, y, nn.GradientDescent(1e-6), batch_size=64)
    steps(2)
    assert model.training.step == 2

"""Backends take turns while their training steps are timed, here on a clock that is pretended."""

import pytest

from anyback_nn.bench import Timing, time_steps, timing
from anyback_nn.errors import AnybackError


class Machine:
    """A clock, and backends that take given times to begin and for each step."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self):
        return self.now

    def backend(self, name, begin, *seconds, fail_at=None):
        """Return a function that creates steps, which take these seconds in turn."""

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


def time_all(machine, has_time=lambda: True, **beginnings):
    return time_steps(beginnings, has_time, machine.clock)


def test_first_steps_and_medians(machine):
    slow, quick = machine.backend("slow", 2.0, 0.5), machine.backend("quick", 0.25, 0.001)
    timings, failures = time_all(machine, slow=slow, quick=quick)
    assert failures == {}
    assert timings["slow"] == Timing(2.5, 0.5)
    assert timings["quick"].first_step == pytest.approx(0.251)
    assert timings["quick"].step == pytest.approx(0.001)


def test_backends_take_turns_after_their_warm_up(machine):
    a, b = machine.backend("a", 0, 0.0625), machine.backend("b", 0, 10.0)
    time_all(machine, a=a, b=b)
    n = int(timing.TURN_SECONDS / 0.0625)
    warm_up = [("a", 1), ("a", 1), ("a", n), ("b", 1), ("b", 1), ("b", 1)]
    assert machine.calls == warm_up + [("a", n), ("b", 1)] * timing.ROUNDS


@pytest.mark.parametrize(("seconds", "n"), [(0.0, 64), (1e-6, 64), (0.09, 3), (0.14, 2), (7.0, 1)])
def test_how_many_steps_a_turn_takes(machine, seconds, n):
    timings, _ = time_all(machine, lambda: False, a=machine.backend("a", 1.0, seconds))
    assert timings == {"a": pytest.approx((1.0 + seconds, seconds))}
    warm_up, turns = machine.calls[: -timing.MIN_ROUNDS], machine.calls[-timing.MIN_ROUNDS :]
    assert warm_up == [("a", 1), ("a", 1), ("a", n)]
    assert turns == [("a", n)] * timing.MIN_ROUNDS


def test_an_outlier_does_not_count(machine):
    usual, disturbed = [1.0] * 9, [50.0]
    timings, _ = time_all(machine, a=machine.backend("a", 0, *usual[:4], *disturbed, *usual[:5]))
    assert timings["a"].step == 1.0


@pytest.mark.parametrize("fail_at", [0, 1, 2, 3, 7])
def test_a_backend_that_fails_does_not_stop_the_others(machine, fail_at):
    a, b = machine.backend("a", 0, 1.0, fail_at=fail_at), machine.backend("b", 0, 2.0)
    timings, failures = time_all(machine, a=a, b=b)
    assert failures == {"a": "no more"}
    assert timings == {"b": Timing(2.0, 2.0)}
    assert machine.calls.count(("a", 1)) == fail_at + 1


def test_an_error_of_a_library_is_named(machine):
    def begin():
        raise ZeroDivisionError("of something")

    assert time_all(machine, a=begin) == ({}, {"a": "ZeroDivisionError: of something"})

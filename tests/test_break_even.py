"""From which size on another backend is faster: conclusions from times that are made up."""

import math

import pytest

from anyback_nn.break_even import BreakEven, Measured, break_even, crossing, fastest, grow


def power(size, **laws):
    """Times that grow as powers: ``name=(seconds at 1, exponent)``."""
    return Measured(size, {name: start * size**slope for name, (start, slope) in laws.items()})


LAWS = {"numpy": (1e-6, 1.0), "jax": (5e-5, 0.5)}  # they cross at 2500


def test_the_crossing_of_powers_is_exact():
    before, after = power(1024, **LAWS), power(4096, **LAWS)
    assert crossing(before, after, "numpy", "jax") == pytest.approx(2500)


def test_break_even_lies_between_the_sizes_where_the_order_changes():
    points = [power(size, **LAWS) for size in (64, 256, 1024, 4096, 16384)]
    found = break_even(points)
    assert found == BreakEven("jax", pytest.approx(2500))
    assert break_even(points[:3]) is None
    assert break_even(points[:1]) is None


def test_of_two_that_overtake_the_first_counts():
    laws = {**LAWS, "torch": (3e-5, 0.55)}
    points = [power(size, **laws) for size in (64, 65536)]
    found = break_even(points)
    assert found.backend == "torch"
    assert found.size == pytest.approx(30 ** (1 / 0.45))
    assert fastest(points[-1].seconds) == "jax"


def test_what_is_within_the_noise_overtakes_nothing():
    points = [Measured(1, {"a": 1.0, "b": 1.01}), Measured(2, {"a": 2.0, "b": 1.97})]
    assert break_even(points) is None
    points.append(Measured(4, {"a": 4.0, "b": 3.0}))
    assert break_even(points).backend == "b"
    assert 2 / 4 <= break_even(points).size <= 4


def test_backends_that_are_missing_from_a_size():
    first = Measured(1, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert break_even([first, Measured(2, {"b": 1.0})]) is None
    assert break_even([first, Measured(2, {"a": 3.0, "c": 2.0})]).backend == "c"
    later = [first, Measured(2, {"a": 2.0, "b": 2.5}), Measured(4, {"a": 4.0, "c": 1.0})]
    assert break_even(later) is None  # nothing tells where it overtook


def test_growing_ends_when_another_one_is_faster():
    asked = []

    def measure(size):
        asked.append(size)
        return power(size, **LAWS).seconds

    sizes = (64 * 4**exponent for exponent in range(1, 100))
    points = grow(power(64, **LAWS), sizes, measure, lambda last: True)
    assert asked == [256, 1024, 4096]
    assert [point.size for point in points] == [64, *asked]
    assert break_even(points).size == pytest.approx(2500)


def test_growing_ends_when_time_is_short():
    asked = []

    def has_time(last):
        asked.append(last.size)
        return last.size < 256

    def measure(size):
        return power(size, **LAWS).seconds

    points = grow(power(64, **LAWS), [256, 1024], measure, has_time)
    assert asked == [64, 256]
    assert [point.size for point in points] == asked


def test_growing_ends_when_there_is_nothing_to_compare():
    first = power(64, **LAWS)

    def measure(size):
        return {"numpy": 1.0} if size < 1000 else {}

    points = grow(first, [256, 1024, 4096], measure, lambda last: True)
    assert [point.size for point in points] == [64, 256]
    points = grow(first, [1024], measure, lambda last: True)
    assert points == [first]
    assert math.isfinite(points[0].seconds["numpy"])

"""Recorded steps on CuPy: what would be launched on a GPU, and what it would compute.

No GPU is here, so CuPy is a stand-in that computes with NumPy (see `cupy_stand_in`), kernels too.
What it gives must be, bit for bit, what NumPy gives for steps that are called as they are.
"""

from __future__ import annotations

import importlib

import cupy_stand_in
import numpy as np
import pytest
from cupy_stand_in import ElementwiseKernel, count
from traced_steps import CLASSES, LOSSES, N_SAMPLES, NETWORKS, OPTIMIZERS, numbers_of

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends.numpy import NumpyBackend
from anyback_nn.inputs.checks import DTYPES
from anyback_nn.jit.dispatch import CALLS_BEFORE_TRACING, Traced
from anyback_nn.sklearn import MLPClassifier

with cupy_stand_in.installed():
    from anyback_nn.backends.cupy import RULES, CupyBackend


@pytest.fixture(autouse=True)
def cupy():
    """Let CuPy be the stand-in, and give it."""
    with cupy_stand_in.installed() as module:
        yield module


@pytest.fixture
def rules():
    return RULES


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Training -----------------------------------------------------------------------------------------

AsItIs = type("AsItIs", (NumpyBackend,), {"trace_rules": None})
OneByOne = type("OneByOne", (CupyBackend,), {"scan": lambda self, step, donate: None})

X = np.random.default_rng(0).standard_normal((N_SAMPLES, 4))
WEIGHTS = np.random.default_rng(1).uniform(0, 2, N_SAMPLES)
EPOCHS = CALLS_BEFORE_TRACING + 2
"""So that the step of the last batch is repeated once."""


def train(backend, layers, loss, y, optimizer, dtype, weights=None):
    """Train, with batches of 16 and a last one of 2; give all numbers that it changed."""
    model = nn.Model(*layers, loss=loss, backend=backend, dtype=dtype, seed=3)
    options = {"epochs": EPOCHS, "batch_size": 16, "sample_weight": weights, "progress": False}
    model.fit(X, y, optimizer=optimizer, **options)
    return numbers_of(model)


@pytest.fixture
def same(programs):
    """Train with recorded steps on CuPy, in both ways, and as they are on NumPy."""

    def both(layers, loss, y, optimizer=None, dtype="float32", weights=None):
        optimizer = optimizer or nn.Adam(0.01)
        options = layers, loss, y, optimizer, dtype, weights
        expected = train(AsItIs(), *options)
        for backend in (CupyBackend(), OneByOne()):
            programs.clear()
            for found, other in zip(train(backend, *options), expected, strict=True):
                np.testing.assert_array_equal(found, other, strict=True)
            assert [program.runs for program in programs] == [
                3 * EPOCHS - CALLS_BEFORE_TRACING - 1,
                EPOCHS - CALLS_BEFORE_TRACING - 1,
            ]

    return both


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_networks(layers, dtype, same):
    same(layers, nn.SoftmaxCrossEntropy(), CLASSES, dtype=dtype)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(programs):
    """With the penalty, which is the default."""
    settings = {"max_iter": 6, "batch_size": 10, "random_state": 0, "solver": "sgd"}
    fits = [
        MLPClassifier(**settings, backend=backend).fit(X, CLASSES)
        for backend in (CupyBackend(), AsItIs())
    ]
    assert programs
    assert all(program.runs for program in programs)
    for found, expected in zip(fits[0].coefs_, fits[1].coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
@pytest.mark.parametrize(("loss", "y"), LOSSES.values(), ids=LOSSES)
def test_losses(loss, y, weights, same):
    same((nn.Dense(8), nn.Tanh(), nn.Dense(3)), loss, y, weights=weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(optimizer, dtype, same):
    layers = (nn.Dense(8), nn.ReLU(), nn.Dense(3))
    same(layers, nn.SoftmaxCrossEntropy(), CLASSES, optimizer, dtype)


# Launches -----------------------------------------------------------------------------------------


def launches_of_steps(backend):
    """Count the launches of each step of training 784-256-128-10 with Adam."""
    layers = (nn.Dense(256), nn.ReLU(), nn.Dense(128), nn.ReLU(), nn.Dense(10))
    counted = []

    class Counting(nn.Callback):
        def on_batch_begin(self, fit):
            self.before = count.launches

        def on_batch_end(self, fit):
            counted.append(count.launches - self.before)

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((160, 784)), rng.integers(0, 10, 160)
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)
    options = {"batch_size": 32, "callbacks": [Counting()], "progress": False}
    model.fit(x, y, optimizer=nn.Adam(0.001), epochs=1, **options)
    return counted


def test_a_step_takes_half_as_many_launches(programs):
    *first, _, before_last, last = launches_of_steps(CupyBackend())
    assert before_last == last == programs[0].n_calls <= 28
    assert min(first) >= 56


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_is_one_kernel(optimizer, programs, rules, cupy):
    n = 100
    mask = (cupy.asarray(np.ones(n)),) if optimizer.penalizes else ()

    def step(p, slots, coefficients, mask, g):
        # As in training, the gradient is a result of the step.
        g = g * 1.0
        p, slots = optimizer.update((p,), (g,), slots, mask, coefficients)
        return p[0], slots

    p = cupy.asarray(np.ones(n))
    slots = optimizer.init((p,))
    traced = Traced(step, (0, 1), rules)
    for i in range(1, CALLS_BEFORE_TRACING + 3):
        g = cupy.asarray(np.arange(n, dtype="float64"))
        p, slots = traced(p, slots, optimizer.coefficients(i, 0.1), mask, g)
    (program,) = programs
    # The length of the gradient is a sum over all of it, of which the scale is computed.
    assert program.n_calls == (1 if optimizer.clip_norm is None else 4)
    # What is written is what is kept, and not the gradient.
    (kernel, *_) = program.calls[-1]
    assert len(kernel.outputs) == 1 + len(optimizer.slots)


def test_what_comes_from_the_host_comes_at_once(rng):
    layers = (nn.Dense(8), nn.Dropout(0.3), nn.Dense(8), nn.Dropout(0.3), nn.Dense(3))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=CupyBackend())
    x, counted = rng.standard_normal((320, 4)), []

    class Counting(nn.Callback):
        def on_epoch_end(self, fit):
            counted.append(count.transfers)

    options = {"batch_size": 10, "callbacks": [Counting()], "progress": False}
    model.fit(x, np.arange(320) % 3, epochs=3, **options)
    # For 2 times 16 steps the rows and two masks.
    assert np.diff(counted).tolist() == [2 * 3] * 2


# Kernels ------------------------------------------------------------------------------------------


def replay(rules, step, *arguments, donate=(), times=1, then=()):
    """Call a step with arrays of NumPy as it is, and on CuPy, until it has been repeated.

    Both give the same, every time, and so they do ``then``, with other arrays. What is given back
    is the recording.
    """
    array = importlib.import_module("cupy").array
    traced, n_donated = Traced(step, donate, rules), len(donate)
    here, there = tuple(one.copy() for one in arguments), tuple(map(array, arguments))
    for i in range(CALLS_BEFORE_TRACING + 1 + times + bool(then)):
        if then and i == CALLS_BEFORE_TRACING + 1 + times:
            here, there = then, tuple(map(array, then))
        with np.errstate(all="ignore"):
            expected, found = step(*here), traced(*there)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(to_numpy(one), np.asarray(other), strict=True)
        here = (*expected[:n_donated], *here[n_donated:])
        there = (*found[:n_donated], *there[n_donated:])
    return traced


def kernels_of(traced):
    (program,) = traced.programs.values()
    return [call[0] for call in program.calls if isinstance(call[0], ElementwiseKernel)]


def n_calls(traced):
    (program,) = traced.programs.values()
    return program.n_calls


SPECIAL = np.asarray([0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 7.0, np.inf, -np.inf, np.nan])
FIRST, SECOND = (one.reshape(-1) for one in np.meshgrid(SPECIAL, SPECIAL))
INTEGERS = FIRST[np.isfinite(FIRST)].astype("int64"), SECOND[np.isfinite(FIRST)] > 0
OF_ONE = (
    *("abs", "ceil", "cos", "exp", "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10"),
    *("log1p", "log2", "negative", "sign", "sin", "sqrt", "square", "tan", "tanh"),
)
OF_TWO = (
    *("add", "atan2", "divide", "equal", "greater", "greater_equal", "less", "less_equal"),
    *("maximum", "minimum", "multiply", "not_equal", "pow", "subtract"),
)
OF_TRUTH = ("bitwise_and", "bitwise_or", "logical_and", "logical_or")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO])
def test_a_function_is_a_kernel(name, dtype, rules, rng):
    def step(x, y):
        call = getattr(nn.array_namespace(x), name)
        return (call(x) if name in OF_ONE else call(x, y),)

    ordinary = (rng.uniform(0.1, 1.5, FIRST.shape).astype(dtype) for _ in range(2))
    traced = replay(rules, step, *ordinary, then=(FIRST.astype(dtype), SECOND.astype(dtype)))
    assert n_calls(traced) == len(kernels_of(traced)) == 1


@pytest.mark.parametrize("name", [*OF_TRUTH, "bitwise_invert", "logical_not"])
def test_a_function_of_truth_values_is_a_kernel(name, rules):
    def step(x, y):
        call = getattr(nn.array_namespace(x), name)
        return (call(x, y) if name in OF_TRUTH else call(x),)

    assert len(kernels_of(replay(rules, step, FIRST > 0, SECOND > 0))) == 1


def test_every_formula_is_tested(rules):
    of_cupy = importlib.import_module("anyback_nn.backends.cupy")
    tested = {*OF_ONE, *OF_TWO, *OF_TRUTH, "bitwise_invert", "logical_not"}
    assert {of_cupy._ELEMENTWISE[name] for name in tested} == {
        function for function in rules.templates if function not in (of_cupy.cast, of_cupy.choose)
    }


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "int64", "bool"])
def test_casts_and_choices_are_kernels(kind, rules):
    x = np.asarray([0.0, 1.0, -3.7, 2.0**31 - 200.0, 0.2])

    def step(x):
        xp = nn.array_namespace(x)
        y = xp.astype(x, getattr(xp, kind))
        chosen = xp.where(y == xp.astype(x * x, getattr(xp, kind)), x, 0.5)
        return y, xp.where(x > 0.1, chosen, x)

    traced = replay(rules, step, np.clip(x, -3.7, 9.0))
    assert n_calls(traced) == len(kernels_of(traced)) == 1


def of_whole_numbers(x, true):
    xp = nn.array_namespace(x)
    y = x * 3 + x - 2
    return y, xp.square(-y), x == y, xp.astype(true, xp.int32) + 1


def test_whole_numbers(rules):
    x, true = INTEGERS
    assert n_calls(replay(rules, of_whole_numbers, x, true)) == 1


@pytest.mark.parametrize(
    "call",
    [
        # The results are of another dtype than the formula's.
        lambda xp, x, true: x / 2,
        lambda xp, x, true: xp.abs(x),
        lambda xp, x, true: true * 1.5,
        lambda xp, x, true: x * 1.5,
        lambda xp, x, true: xp.astype(x, xp.int8),
        lambda xp, x, true: xp.bitwise_and(x, 3),
        lambda xp, x, true: xp.where(true, 1.0, 0.0),
    ],
)
def test_what_no_formula_is_right_for_is_left_to_cupy(call, rules):
    def step(x, true):
        return (call(nn.array_namespace(x), x, true),)

    traced = replay(rules, step, *INTEGERS)
    assert not kernels_of(traced)


@pytest.mark.parametrize("exponent", [2, 2.0, 3, 1.5, -2])
def test_powers(exponent, rules, rng):
    x = np.abs(rng.standard_normal(20))
    assert n_calls(replay(rules, lambda x: (x**exponent + 1.0,), x)) == 1


@pytest.mark.parametrize("exponent", [-1, 0.5])
def test_powers_that_cupy_computes_in_other_ways_are_not_recorded(exponent, rules):
    traced = replay(rules, lambda x: (x**exponent,), np.ones(3))
    assert not traced.programs


def test_other_functions(rules, rng):
    def step(x):
        xp = nn.array_namespace(x)
        return (
            *(xp.sum(x), xp.sum(x, axis=0), xp.mean(x, axis=1, keepdims=True), xp.max(x)),
            *(xp.min(x, axis=0), xp.max(x, axis=1, keepdims=True), xp.argmax(x, axis=1)),
            *(xp.all(x > 0, axis=0), xp.any(x > 1.0, axis=1), x @ xp.matrix_transpose(x)),
            *(xp.take(x, xp.argmax(x, axis=0), axis=0), xp.concat([x, x * 2.0], axis=1)),
            *(xp.concat([x[0, :], x[1, :] * 2.0]), xp.reshape(xp.matrix_transpose(x), (2, -1))),
        )

    assert replay(rules, step, rng.standard_normal((6, 4))).programs


# What is one kernel, and what not -----------------------------------------------------------------


def transposed(x):
    return nn.array_namespace(x).matrix_transpose(x)


def total(x):
    return nn.array_namespace(x).sum(x, axis=0, keepdims=True)


def bias_and_activation(p, x, bias):
    y = nn.array_namespace(x).maximum(x + bias, 0.0)
    return p, y


def derivative_and_gradient(p, x, bias):
    xp = nn.array_namespace(x)
    return p, x * xp.astype(p > 1.0, x.dtype)


def read_after_it_is_written(p, x, bias):
    y = p * 2.0
    p += x
    z = p * 2.0
    p *= y
    return p, y, z


def read_in_another_way_after_it_is_written(p, x, bias):
    y = p + x
    return p, y + transposed(y)


def written_after_it_is_read_in_another_way(p, x, bias):
    y = transposed(p) * 2.0
    p += x
    return p, y


def written_and_read_in_another_way_at_once(p, x, bias):
    p += transposed(p)
    return p, p * 2.0


def a_row_of_what_is_written(p, x, bias):
    p *= 2.0
    y = x * p[:1, :]
    return p, y


def written_in_part(p, x, bias):
    y = p * 2.0
    part = p[1:, :]
    part += p[:-1, :]
    return p, y * p


def a_sum_in_between(p, x, bias):
    y = x * 2.0
    t = total(y)
    z = y - t
    return p, z


def a_sum_of_something_else_in_between(p, x, bias):
    y = x * 2.0
    t = total(x)
    return p, y + 1.0, t


def a_sum_of_what_is_written_after_it(p, x, bias):
    y = p * 2.0
    t = total(p)
    p += x
    return p, y, t


def a_sum_of_what_is_written_before_it(p, x, bias):
    p += x
    t = total(p)
    p *= t
    return p, t


def another_shape_in_between(p, x, bias):
    y = x * 2.0
    b = bias + 1.0
    return p, y - x, b


def another_shape_in_between_that_is_read(p, x, bias):
    y = x * 2.0
    b = bias + 1.0
    return p, y - b


def not_used(p, x, bias):
    p - x
    return p, total(x)


N = 4
STEPS = {
    bias_and_activation: 1,
    derivative_and_gradient: 1,
    read_after_it_is_written: 1,
    read_in_another_way_after_it_is_written: 2,
    written_after_it_is_read_in_another_way: 2,
    written_and_read_in_another_way_at_once: 2,
    a_row_of_what_is_written: 2,
    written_in_part: 3,
    a_sum_in_between: 3,
    a_sum_of_something_else_in_between: 2,
    a_sum_of_what_is_written_after_it: 2,
    a_sum_of_what_is_written_before_it: 3,
    another_shape_in_between: 2,
    another_shape_in_between_that_is_read: 2,
    not_used: 1,
}
"""The launches that each takes."""


@pytest.mark.parametrize(("step", "launches"), STEPS.items(), ids=[one.__name__ for one in STEPS])
def test_steps(step, launches, rules):
    arguments = (np.arange(N * N, dtype="float64").reshape(N, N), X[:N, :N], X[:1, :N])
    traced = replay(rules, step, *arguments, donate=(0,), times=3)
    assert n_calls(traced) == launches


def test_arrays_that_are_not_contiguous(rules, rng):
    def step(p, x):
        p += x
        return p, x * 2.0 - p

    x = rng.standard_normal((6, 8))[::2, ::2].T
    assert n_calls(replay(rules, step, np.ones((4, 3)), x, donate=(0,))) == 1


def test_memory_that_overlaps_with_other_memory_that_was_handed_in(rules, cupy):
    def step(p, q, x):
        p += x
        q *= 2.0
        return p, q, p + q

    def handed(asarray):
        memory = asarray(np.arange(5.0))
        return memory[:4], memory[1:], asarray(np.ones(4))

    traced = Traced(step, (0, 1), rules)
    here, there = handed(np.asarray), handed(cupy.asarray)
    for _ in range(CALLS_BEFORE_TRACING + 3):
        expected, found = step(*here), traced(*there)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.get(), other)
    assert n_calls(traced) == 3


def test_memory_that_is_worked_in_and_not_given_back(rules):
    def step(p, q, x):
        q += x
        p += q
        return (p,)

    arguments = (np.ones(3), np.ones(3), np.arange(3.0))
    traced, array = Traced(step, (0, 1), rules), importlib.import_module("cupy").array
    p, q, x = map(array, arguments)
    for _ in range(CALLS_BEFORE_TRACING + 3):
        (p,) = traced(p, q, x)
        step(*arguments)
        np.testing.assert_array_equal(p.get(), arguments[0])
        np.testing.assert_array_equal(q.get(), arguments[1])
    assert n_calls(traced) == 1


def test_results_of_one_kernel_are_computed_where_they_are_put_together(rules, rng):
    def step(x):
        xp = nn.array_namespace(x)
        y = x + 1.0
        return (xp.concat([xp.reshape(one, (-1,)) for one in (y, y * x)]) * 2.0,)

    assert n_calls(replay(rules, step, rng.standard_normal((3, 2)))) == 2


def test_a_number_is_of_the_dtype_beside_it(rules, cupy):
    def step(x, rate):
        xp = nn.array_namespace(x)
        return (xp.astype(x * rate, xp.float64) * rate,)

    traced, x = Traced(step, (), rules), np.asarray([1.0, 0.7], "float32")
    for rate in (0.1, 0.2, 0.3, 0.4, 0.7):
        (found,) = traced(cupy.asarray(x), rate)
        np.testing.assert_array_equal(found.get(), step(x, rate)[0], strict=True)
    assert n_calls(traced) == 1


def test_numbers_are_those_of_each_call(rules, cupy):
    def step(p, x, rate, scale):
        p -= (2.0 * rate - scale) * x
        return p, nn.array_namespace(x).sum(x) * rate

    traced = Traced(step, (0,), rules)
    p, expected = cupy.asarray(np.ones(3, "float32")), np.ones(3, "float32")
    for i, rate in enumerate((0.1, 0.2, 0.3, 0.4, 0.7, 1.1)):
        x = np.asarray([rate, 1.0, i], "float32")
        p, t = traced(p, cupy.asarray(x), rate, i / 3)
        expected, other = step(expected, x, rate, i / 3)
        np.testing.assert_array_equal(p.get(), expected)
        np.testing.assert_array_equal(t.get(), other)
    assert n_calls(traced) == 3


def test_results_are_not_written_to_again(rules, cupy):
    def step(x):
        y = x * 2.0
        return y, y[:1], y + 1.0, nn.array_namespace(x).sum(x)

    traced = Traced(step, (), rules)
    results = [traced(cupy.asarray(np.full(3, float(i)))) for i in range(8)]
    assert traced.programs
    for i, (y, part, more, t) in enumerate(results):
        assert y.get().tolist() == [2.0 * i] * 3
        assert part.get().tolist() == [2.0 * i]
        assert more.get().tolist() == [2.0 * i + 1.0] * 3
        assert t.get() == 3.0 * i


# Recordings that are not used ---------------------------------------------------------------------


def works_in(p, q, x):
    p -= 0.001 * x
    return p, q, nn.array_namespace(x).sum(x)


def works_in_two(p, q, x):
    p -= 0.001 * x
    q -= 0.002 * x
    return p, q


@pytest.fixture
def altered(monkeypatch):
    """Let kernels do something else after what they do."""

    def alter(change):
        original = ElementwiseKernel.__call__

        def call(self, *arguments):
            original(self, *arguments)
            for one in arguments[len(self.inputs) :]:
                change(one.host)

        monkeypatch.setattr(ElementwiseKernel, "__call__", call)

    return alter


def fails(array):
    raise RuntimeError("NVRTC_ERROR_COMPILATION")


def is_wrong_by_a_little(array):
    # Seen in what has changed, which is a thousandth of what is there.
    array *= 1.0 + 1e-5


def is_not_a_number(array):
    array[...] = np.nan


def is_not_written(array):
    array[...] = 0.0


WRONG = [fails, is_wrong_by_a_little, is_not_a_number, is_not_written]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", WRONG)
def test_a_recording_that_does_not_compute_the_same_is_not_used(change, dtype, rules, altered, rng):
    altered(change)
    p, x = np.ones(50, dtype), rng.standard_normal(50).astype(dtype)
    traced = replay(rules, works_in, p, p, x, donate=(0, 1), times=3)
    assert not traced.programs


def rounds_in_another_way(array):
    array *= 1.0 + 2 * np.finfo(array.dtype).eps


def is_another_where_all_is_rounding(array):
    array[:1] *= 1.001


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", [rounds_in_another_way, is_another_where_all_is_rounding])
@pytest.mark.parametrize("rate", [0.001, 1e-9])
def test_rounding_does_not_matter(change, dtype, rate, rules, altered, cupy, rng):
    def step(p, x):
        p -= rate * x
        return p, nn.array_namespace(x).sum(x)

    altered(change)
    traced = Traced(step, (0,), rules)
    p, x = np.ones(200, dtype), rng.standard_normal(200).astype(dtype)
    there, p_there = cupy.asarray(x), cupy.asarray(p)
    for i in range(CALLS_BEFORE_TRACING + 1):
        p_there, t = traced(p_there, there)
        p, other = step(p, x)
        # What is given is what the step itself has computed.
        np.testing.assert_array_equal(p_there.get(), p)
        np.testing.assert_array_equal(t.get(), other)
        assert bool(traced.programs) == (i == CALLS_BEFORE_TRACING)


@pytest.mark.parametrize("step", [works_in, works_in_two])
def test_a_few_entries_may_differ_in_one_result_alone(step, rules, altered, rng):
    altered(is_another_where_all_is_rounding)
    arguments = [rng.standard_normal(200) for _ in range(3)]
    traced = Traced(step, (0, 1), rules)
    on_device = tuple(map(importlib.import_module("cupy").array, arguments))
    for _ in range(CALLS_BEFORE_TRACING + 1):
        traced(*on_device)
    assert bool(traced.programs) == (step is works_in)


def test_what_is_infinite_cannot_be_compared(rules):
    # One entry alone could be wrong, but for it there is no measure of how much others may be.
    x = np.asarray([np.inf, *np.ones(200)])
    assert not replay(rules, lambda x: (x * 2.0,), x).programs


def test_whole_numbers_must_be_the_same(rules, altered):
    def one_more(array):
        array += 1

    altered(one_more)
    traced = replay(rules, lambda x: (x * 2,), np.arange(2000))
    assert not traced.programs

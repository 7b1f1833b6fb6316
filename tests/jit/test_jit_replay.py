"""A traced step against the same step called as it is: the same bits, for everything we have.

`Model.fit` traces its steps on NumPy and PyTorch. Here it is compared with the same backend without
tracing, whose steps are tested elsewhere.
"""

from __future__ import annotations

import gc
import importlib
import pickle
import weakref

import cupy_stand_in
import numpy as np
import pytest
from traced_steps import (
    CLASSES,
    LOSSES,
    N_SAMPLES,
    NETWORKS,
    assert_same,
    each_loss,
    each_network,
    each_optimizer,
    fit_twice,
    numbers_of,
    partial_fit_twice,
    train,
)

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends.numpy import RULES
from anyback_nn.inputs.checks import DTYPES
from anyback_nn.jit.dispatch import CALLS_BEFORE_TRACING, MOST_PROGRAMS, Traced
from anyback_nn.jit.graph import TraceError
from anyback_nn.jit.program import Program

N_IN = 4
X = np.random.default_rng(0).standard_normal((40, N_IN))


def without_tracing(backend):
    """Return the same backend, but its steps are called as they are."""
    return type("Eager", (type(backend),), {"trace_rules": None})(backend.device_name)


@pytest.fixture
def both(backend, programs):
    """Train with traced steps and with others: all numbers must be the same."""

    def train_both(*task, **options):
        numbers = train(backend, *task, **options)
        assert sum(program.runs for program in programs) > 10
        assert_same(numbers, train(without_tracing(backend), *task, **options))

    return train_both


@pytest.mark.parametrize("dtype", DTYPES)
@each_network
def test_networks(layers, dtype, both):
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, dtype=dtype)


@pytest.mark.parametrize("weighted", [False, True])
@each_loss
def test_losses(loss, y, weighted, both):
    weights = np.random.default_rng(2).uniform(0, 2, N_SAMPLES) if weighted else None
    layers = (nn.Dense(8), nn.Tanh(), nn.Dense(3))
    both(layers, loss, y, sample_weight=weights)


def test_no_loss_is_left_out():
    assert {type(loss) for loss, _ in LOSSES.values()} >= set(nn.LOSSES.values())


@pytest.mark.parametrize("dtype", DTYPES)
@each_optimizer
def test_optimizers(optimizer, dtype, both):
    layers = (nn.Dense(8), nn.ReLU(), nn.Dense(3))
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, optimizer, dtype)


def test_every_step_after_the_first_ones_is_replayed(both, programs):
    layers = NETWORKS["batch norm"]
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, epochs=20)
    # Three full batches and a small one in each epoch.
    assert [program.runs for program in programs] == [
        60 - CALLS_BEFORE_TRACING - 1,
        20 - CALLS_BEFORE_TRACING - 1,
    ]


class RestoreBest(nn.Callback):
    def on_epoch_end(self, fit):
        if fit.epoch == 4:
            fit.model.training = self.best
        if fit.epoch == 2:
            self.best = fit.model.training.copy()


def restore_best(fit):
    return fit(epochs=9, callbacks=[RestoreBest()])


def change_the_rate(fit):
    fit()
    return fit(optimizer=nn.Adam(0.001))


def diverge(fit):
    fit()
    with pytest.raises(nn.DivergenceError):
        fit(optimizer=nn.Adam(1e38))
    return fit()


def put_a_state_aside(fit):
    model = fit()
    state, before = model.training, numbers_of(model)
    model.training = state.copy()
    after = numbers_of(fit())
    model.training = state
    assert_same(numbers_of(model), before)
    assert_same(numbers_of(fit()), after)
    return model


@pytest.mark.parametrize(
    "train", [restore_best, change_the_rate, diverge, put_a_state_aside], ids=lambda f: f.__name__
)
def test_a_program_works_in_other_memory_without_another_trace(train, backend, programs):
    results = []
    for each in (backend, without_tracing(backend)):
        model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=each, seed=3)

        def fit(model=model, **options):
            options = {"epochs": 2, "optimizer": nn.Adam(0.01)} | options
            model.fit(X, CLASSES[:40], batch_size=10, progress=False, **options)
            return model

        results.append(numbers_of(train(fit)))
    assert len(programs) == 1
    assert_same(*results)


@pytest.mark.parametrize("train_twice", [fit_twice, partial_fit_twice])
@pytest.mark.parametrize(("width", "n_traces"), [(8, 1), (512, 2)])
def test_programs_of_more_than_a_megabyte_do_not_outlive_training(
    train_twice, width, n_traces, backend, programs
):
    train_twice(backend, width)
    assert len(programs) == n_traces


def test_a_copy_of_a_model_has_memory_and_programs_of_its_own(backend, programs):
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    options = {"epochs": 2, "batch_size": 10, "progress": False}
    model.fit(X, CLASSES[:40], **options)
    other, before = pickle.loads(pickle.dumps(model)), numbers_of(model)
    other.fit(X, CLASSES[:40], **options)
    assert_same(numbers_of(model), before)
    model.fit(X, CLASSES[:40], **options)
    assert_same(numbers_of(model), numbers_of(other))
    assert len(programs) == 2


def test_layers_and_metrics_of_a_user_are_called_at_every_step(backend, programs):
    calls = []

    class Noise(nn.Layer):
        def forward(self, params, x, context=nn.PREDICTION):
            calls.append(len(x))
            return x + len(calls), None

        def backward(self, params, cache, dy):
            return dy, {}

    def first_output(loss, outputs, targets):
        return outputs[:, 0]

    for layers, metrics in (((nn.Dense(4), Noise()), None), ((), [first_output])):
        loss = nn.SoftmaxCrossEntropy()
        model = nn.Model(*layers, nn.Dense(3), loss=loss, backend=backend, metrics=metrics)
        model.fit(X, CLASSES[:40], epochs=3, batch_size=10, progress=False)
    # Smaller batches are those with which the memory of a device is measured.
    assert [n for n in calls if n == 10] == [10] * 12
    assert not programs


def test_an_iterable_that_fills_the_same_memory_again(backend):
    """The memory of a batch may be overwritten before the next step."""
    rng = np.random.default_rng(0)
    data = [(rng.standard_normal((8, 4)).astype("float32"), CLASSES[:8]) for _ in range(6)]

    class Refilled:
        def __iter__(self):
            memory = np.empty((8, 4), "float32")
            for x, y in data:
                memory[...] = x
                yield memory, y

    histories = []
    for batches in (Refilled(), data):
        model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
        histories.append(model.fit(batches, epochs=4, progress=False)["train_loss"])
    assert histories[0] == histories[1]


# Programs -----------------------------------------------------------------------------------------


def replay(step, *arguments, donate=()):
    """Call a step until it is replayed; return it, and the last result."""
    traced = Traced(step, donate, RULES)
    for _ in range(CALLS_BEFORE_TRACING + 2):
        result = traced(*arguments)
    return traced, result


def program_of(traced):
    (program,) = traced.programs.values()
    return program


@pytest.fixture(params=["numpy", "cupy"])
def library(request):
    """The rules of a library, and the function that makes its arrays."""
    if request.param == "numpy":
        yield RULES, np.array
        return
    with cupy_stand_in.installed() as cupy:
        yield importlib.import_module("anyback_nn.backends.cupy").RULES, cupy.array


def test_results_are_not_overwritten_by_later_calls(library):
    def step(x):
        y = x * 2.0
        return y, y[:1], y + 1.0, nn.array_namespace(x).sum(x)

    rules, array = library
    traced, inputs = Traced(step, (), rules), [np.full(3, float(i)) for i in range(8)]
    results = [traced(array(x)) for x in inputs]
    assert traced.programs
    for result, x in zip(results, inputs, strict=True):
        assert_same(result, map(np.asarray, step(x)))


def test_a_view_keeps_its_memory():
    def step(x):
        part = (x + 1.0)[:2]
        for _ in range(5):
            x = x * 2.0
        return part, x

    _, (part, x) = replay(step, np.ones(4))
    assert part.tolist() == [2.0, 2.0]
    assert x.tolist() == [32.0] * 4


def write_to_input(x):
    x += 1.0
    return (x * 2.0,)


@pytest.mark.parametrize(
    ("step", "numbers"),
    [
        (lambda x: (x * 2.0 if float(x[0]) > 0 else x,), ()),
        (lambda x: (x * 2.0 if (x > 0).all() else x,), ()),
        (lambda x: (np.exp(x),), ()),
        (lambda x: (x[x > 0],), ()),
        (lambda x: (x[np.asarray([0, 1])],), ()),
        (lambda x: (nn.array_namespace(x).cumulative_sum(x),), ()),
        (lambda x: (x % 2.0,), ()),
        (lambda x: (sum(list(x)),), ()),
        (write_to_input, ()),
        (lambda x: (x * 1j,), ()),
        (lambda x: (nn.array_namespace(x).sum(x, dtype=np.float32),), ()),
        (lambda x: (nn.array_namespace(x).mean(nn.array_namespace(x).astype(x, np.int64)),), ()),
        (lambda x, a: (x * max(a, 0.5),), (3.0,)),
        (lambda x, a: (x * float(a),), (3.0,)),
        (lambda x, a: (x * a**2,), (3.0,)),
        (lambda x, a: (x * nn.array_namespace(x).multiply(a, 2.0),), (3.0,)),
        (lambda x, a: (nn.array_namespace(x).astype(x, np.int64) * a,), (3.0,)),
        (lambda x, a: (x * a,), (3,)),
    ],
)
def test_a_step_that_cannot_be_traced_is_called_as_it_is(step, numbers):
    x = np.asarray([3.0, 4.0, 5.0])
    traced = Traced(step, (), RULES)
    for _ in range(CALLS_BEFORE_TRACING + 2):
        assert_same(traced(x.copy(), *numbers), step(x.copy(), *numbers))
    assert not traced.programs


# Memory -------------------------------------------------------------------------------------------


def test_results_are_written_over_what_is_not_read_again():
    def step(x):
        for _ in range(20):
            x = x + 1.0
        return (x * 2.0 - 0.5,)

    traced, (result,) = replay(step, np.zeros(3))
    outputs = [arguments[-1] for _, arguments, _ in program_of(traced).replay.calls]
    assert len({RULES.address(output) for output in outputs}) == 1
    assert result.tolist() == [39.5] * 3


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # Read again later; read transposed or in part at the same time; another shape or dtype.
        (lambda x: ((y := x + 1.0) * 2.0 + y,), [[3.0, 6.0], [9.0, 12.0]]),
        (lambda x: ((y := x + 1.0) - transposed(y),), [[0.0, -1.0], [1.0, 0.0]]),
        (lambda x: ((y := x + 1.0) - y[:1, :],), [[0.0, 0.0], [2.0, 2.0]]),
        (lambda x: ((x + 1.0)[:1, :] * x,), [[0.0, 2.0], [2.0, 6.0]]),
        (lambda x: (chosen(x > 1.0, x + 1.0, x * 5.0),), [[0.0, 5.0], [3.0, 4.0]]),
        (lambda x: (chosen((y := x * 5.0) > 5.0, x + 1.0, y),), [[0.0, 5.0], [3.0, 4.0]]),
    ],
    ids=["again", "transposed", "a row", "a row of another shape", "chosen", "chosen and compared"],
)
def test_what_is_still_needed_is_not_written_over(step, expected):
    _, (result,) = replay(step, np.arange(4.0).reshape(2, 2))
    assert result.tolist() == expected


def transposed(x):
    return nn.array_namespace(x).matrix_transpose(x)


def chosen(condition, x, y):
    return nn.array_namespace(condition).where(condition, x, y)


def test_parts_of_a_concatenation_are_computed_in_place():
    def step(x):
        xp = nn.array_namespace(x)
        square, total = xp.reshape(x @ x, (-1,)), xp.sum(x, axis=0)
        vector = xp.concat([square, total])
        vector *= 2.0
        return (vector,)

    x = np.arange(4.0).reshape(2, 2)
    traced, (result,) = replay(step, x)
    assert np.concatenate not in [function for function, *_ in program_of(traced).replay.calls]
    assert result.tolist() == [*(2 * x @ x).ravel(), *(2 * x.sum(axis=0))]


@pytest.mark.parametrize(
    "parts",
    [
        lambda xp, x: [(y := x + 1.0), y],
        lambda xp, x: [x, x + 1.0],
        lambda xp, x: [(x + 1.0)[1:], x * 2.0],
        lambda xp, x: [(x + 1.0)[::2], x * 2.0],
        lambda xp, x: [np.ones(2), x * 2.0],
        lambda xp, x: [(y := x * 2.0), x + y],
    ],
)
def test_parts_that_cannot_be_computed_in_place_are_copied(parts):
    def step(x):
        xp = nn.array_namespace(x)
        return (xp.concat(parts(xp, x)),)

    x = np.arange(3.0)
    _, (result,) = replay(step, x)
    assert result.tolist() == np.concatenate(parts(np, x)).tolist()


def test_a_part_of_a_concatenation_that_is_used_again():
    def step(x):
        xp = nn.array_namespace(x)
        y = x + 1.0
        vector = xp.concat([y, x])
        vector *= 10.0
        return vector, y * 1.0

    _, (vector, y) = replay(step, np.arange(2.0))
    assert vector.tolist() == [10.0, 20.0, 0.0, 10.0]
    assert y.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("size", [10, 100_000])
def test_large_inputs_are_not_copied(size):
    traced, _ = replay(lambda x: (x[1:] + 1.0,), np.zeros(size))
    assert bool(program_of(traced).replay.array_slots) == (size > 10)
    x = np.arange(float(size))
    assert traced(x)[0].tolist() == (x[1:] + 1.0).tolist()


def test_the_last_input_is_freed():
    traced, _ = replay(lambda x: (x + 1.0,), np.zeros(100_000))
    x = np.ones(100_000)
    reference = weakref.ref(x)
    traced(x)
    del x
    gc.collect()
    assert reference() is None


def test_an_input_that_is_returned_is_copied():
    traced, _ = replay(lambda x: (x, x + 1.0), np.zeros(100_000))
    x = np.ones(100_000)
    same, _ = traced(x)
    x[...] = 5.0
    assert same[0] == 1.0


# Donated memory -----------------------------------------------------------------------------------


def move(params, x):
    params["p"] -= 0.5 * x
    params["q"] *= params["p"]
    return params, nn.array_namespace(x).sum(params["q"])


def test_donated_arrays_are_worked_in_wherever_they_are(library):
    rules, array = library
    traced, x = Traced(move, (0,), rules), np.arange(3.0)
    old = {"p": array(np.ones(3)), "q": array(np.ones(3))}
    for _ in range(CALLS_BEFORE_TRACING + 2):
        traced(old, array(x))
    program, before = program_of(traced), {name: to_numpy(old[name]).copy() for name in old}
    for new in (
        {"p": array(np.full(3, 4.0)), "q": array(np.full(3, 0.5))},
        {"p": old["p"], "q": array(np.full(3, 2.0))},
    ):
        expected, right = move({name: to_numpy(new[name]).copy() for name in new}, x)
        params, total = traced(new, array(x))
        assert program_of(traced) is program
        assert all(params[name] is new[name] for name in new)
        assert_same((*params.values(), total), (*expected.values(), np.asarray(right)))
        if new["p"] is not old["p"]:
            assert_same(old.values(), before.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: {"p": p.astype("float32"), "q": p.astype("float32")},
        lambda p: {"p": p[None, :], "q": p[None, :] + 1.0},
        lambda p: {"p": p[::-1], "q": p + 1.0},
        lambda p: {"p": (memory := np.ones(4))[1:], "q": memory[:-1]},
        lambda p: {"q": p + 1.0, "p": p},
        lambda p: {"p": p, "q": p + 1.0, "r": p + 2.0},
        lambda p: {"p": p, "q": 3.0},
    ],
    ids=["dtype", "shape", "strides", "overlap", "order", "names", "a number"],
)
def test_donated_arrays_of_another_form_are_not_replayed(make):
    traced, _ = replay(move, {"p": np.ones(3), "q": np.ones(3)}, np.ones(3), donate=(0,))
    x = np.arange(3.0)
    params, total = traced(make(np.ones(3)), x)
    assert not traced.programs
    expected = move(make(np.ones(3)), x)
    assert_same((*params.values(), total), (*expected[0].values(), expected[1]))


def test_donated_numbers_are_constants():
    def step(params, x):
        params["p"] -= params["rate"] * x
        return (params,)

    traced, _ = replay(step, {"p": np.zeros(3), "rate": 0.5}, np.ones(3), donate=(0,))
    assert traced.programs
    (params,) = traced({"p": np.ones(3), "rate": 2.0}, np.ones(3))
    assert not traced.programs
    assert params["p"].tolist() == [-1.0] * 3


def test_donated_arrays_that_are_not_returned(library):
    def step(p, q, x):
        q += x
        p += q
        return (p,)

    rules, array = library
    traced, arguments = Traced(step, (0, 1), rules), (np.ones(3), np.ones(3), np.arange(3.0))
    p, q, x = map(array, arguments)
    for _ in range(CALLS_BEFORE_TRACING + 3):
        (p,) = traced(p, q, x)
        step(*arguments)
        assert_same((p, q), arguments[:2])
    assert traced.programs
    p, q = array(np.zeros(3)), array(np.zeros(3))
    traced(p, q, x)
    assert_same((p, q), (np.arange(3.0), np.arange(3.0)))


def test_donated_arrays_are_as_before_if_tracing_fails():
    calls = []

    def step(p):
        p += 1.0
        calls.append(p)
        if not isinstance(p, np.ndarray):
            raise TraceError("half-way")
        return (p,)

    p = np.zeros(2)
    traced = Traced(step, (0,), RULES)
    for _ in range(5):
        (p,) = traced(p)
    assert p.tolist() == [5.0, 5.0]
    assert len(calls) == 6


# Tiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [RULES.tile_bytes, RULES.tile_bytes + 1, 2 * RULES.tile_bytes])
def test_long_vectors_are_tiled(size, dtype):
    def step(p, rate, g):
        xp = nn.array_namespace(g)
        g = xp.abs(g)
        p *= 0.5
        p -= rate * g
        p += xp.sqrt(g)
        return p, xp.sum(g)

    g = np.random.default_rng(0).uniform(size=size).astype(dtype)
    p, expected = np.ones(size, dtype), np.ones(size, dtype)
    traced = Traced(step, (0,), RULES)
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
        p, total = traced(p, rate, g)
        expected, right = step(expected, rate, g)
        assert_same((p, total), (expected, right))
    # All but the call that reads the input, and the sum.
    inner = [arguments for _, arguments, _ in program_of(traced).replay.calls[1:-1]]
    assert len(inner) >= 2 * 5
    assert max(x.nbytes for arguments in inner for x in arguments) <= RULES.tile_bytes


def test_large_matrices_are_tiled():
    def step(x, bias):
        xp = nn.array_namespace(x)
        y = xp.maximum(x @ x + bias, 0.0)
        return xp.sum(y * xp.astype(y > 1.0, y.dtype), axis=0), xp.sum(y)

    n = 600
    x = np.random.default_rng(0).standard_normal((n, n)).astype("float32")
    traced, results = replay(step, x, x[:1, :])
    assert_same(results, step(x, x[:1, :]))
    calls = program_of(traced).replay.calls
    names = [getattr(function, "__name__", "maximum") for function, *_ in calls]
    n_tiles = -(-n * n * 4 // RULES.tile_bytes)
    for name in ("maximum", "greater", "copyto", "multiply"):
        assert names.count(name) == n_tiles
    assert names.count("matmul") == names.count("add") == 1


def test_vectors_that_overlap_are_not_tiled():
    def step(p):
        for _ in range(2):
            part = p[1:]
            part += p[:-1]
        return (p,)

    p = np.ones(RULES.tile_bytes)
    expected = np.ones(RULES.tile_bytes)
    traced = Traced(step, (0,), RULES)
    for _ in range(5):
        (p,) = traced(p)
        (expected,) = step(expected)
    np.testing.assert_array_equal(p, expected)


# What is traced -----------------------------------------------------------------------------------


def test_numbers_are_those_of_each_call(library):
    def step(p, x, a, b):
        c = 2.0 * a / 3 - b
        p -= a * x
        p /= a
        return p, x * (1 - c), x + c * c, x - a, nn.array_namespace(x).sum(x) * a

    rules, array = library
    traced = Traced(step, (0,), rules)
    p, expected = array(np.ones(2, "float32")), np.ones(2, "float32")
    for a, b in ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 0.1), (1.1, 0.2)):
        x = np.asarray([a, 1.0], "float32")
        p, *results = traced(p, array(x), a, b)
        expected, *right = step(expected, x, a, b)
        assert_same((p, *results), map(np.asarray, (expected, *right)))
    assert traced.programs


def test_an_error_of_the_step_is_raised():
    def step(x):
        if x.shape[0] == 3:
            raise ValueError("three")
        return (x,)

    traced = Traced(step, (), RULES)
    for _ in range(4):
        with pytest.raises(ValueError, match="three"):
            traced(np.zeros(3))


def test_shapes_and_dtypes_have_programs_of_their_own():
    traced = Traced(lambda x: (x * 2.0,), (), RULES)
    for x in (np.ones(2), np.ones(3), np.ones(2, "float32"), np.ones((2, 1))) * 4:
        assert_same(traced(x), [x * 2])
    assert len(traced.programs) == 4


def test_programs_are_freed_with_their_model(programs):
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    model.fit(X, CLASSES[:40], epochs=3, batch_size=10, progress=False)
    reference = weakref.ref(programs.pop())
    gc.collect()
    assert reference() is not None
    model.build(N_IN)
    gc.collect()
    assert reference() is None


def test_few_programs_are_kept():
    traced = Traced(lambda x: (x + 1.0,), (), RULES)
    for size in range(1, 41):
        for _ in range(4):
            assert traced(np.zeros(size))[0].tolist() == [1.0] * size
    assert len(traced.programs) == MOST_PROGRAMS


def test_a_changed_loss_or_network_is_another_step():
    x, y = np.linspace(-1.0, 1.0, 64)[:, None], np.full((64, 1), 50.0)
    model = nn.Model(nn.Dense(3), nn.Dense(1), loss=nn.MeanSquaredError(), backend="numpy", seed=0)
    other = nn.Model(nn.Dense(3), nn.Dense(1), loss=nn.MeanSquaredError(), backend="numpy", seed=0)
    for one in (model, other):
        one.fit(x, y, epochs=4, batch_size=16, progress=False)
    model.loss = nn.Huber(0.01)
    fresh = pickle.loads(pickle.dumps(other))  # without the programs of its model
    fresh.loss = nn.Huber(0.01)
    for one in (model, fresh):
        one.fit(x, y, epochs=2, batch_size=16, progress=False)
    assert model.history["train_loss"] == fresh.history["train_loss"]


def test_few_optimisers_keep_their_steps(programs):
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    alive = []
    for i in range(6):
        optimizer = nn.Adam(l2=0.1 * i)
        model.fit(np.zeros((40, 2)), CLASSES[:40], optimizer=optimizer, epochs=1, batch_size=10)
        alive += [weakref.ref(program) for program in programs]
        programs.clear()
    gc.collect()
    assert [reference() is not None for reference in alive] == [False] * 4 + [True] * 2


def test_large_programs_are_freed_when_training_ends(programs):
    for width, kept in ((8, True), (8000, False)):
        model = nn.Model(nn.Dense(width), nn.Dense(3), loss=nn.SoftmaxCrossEntropy())
        model.fit(np.zeros((400, 20)), np.zeros(400, int), epochs=4, batch_size=100, progress=False)
        (reference,) = map(weakref.ref, programs)
        programs.clear()
        gc.collect()
        assert (reference() is not None) is kept


def test_an_interrupt_while_a_step_is_traced(monkeypatch):
    def step(p, x):
        p += x
        return (p,)

    initialize, interrupts = Program.__init__, [KeyboardInterrupt, MemoryError]

    def interrupted(self, *arguments):
        if interrupts:
            raise interrupts.pop(0)
        initialize(self, *arguments)

    monkeypatch.setattr(Program, "__init__", interrupted)
    traced, p = Traced(step, (0,), RULES), np.zeros(1)
    for _ in range(2):
        (p,) = traced(p, np.ones(1))
    with pytest.raises(KeyboardInterrupt):
        traced(p, np.ones(1))
    p[...] = 2.0
    for _ in range(12):
        (p,) = traced(p, np.ones(1))
    assert (p.tolist(), len(traced.programs)) == ([14.0], 1)


def test_first_results_that_were_never_returned_are_dropped():
    traced = Traced(lambda x: (x + 1.0,), (), RULES)
    for _ in range(2):
        traced(np.zeros(1))
    program, _ = traced.program_for((np.zeros(1),))
    assert program.first
    assert [traced(np.full(1, 5.0))[0].tolist() for _ in range(5)] == [[6.0]] * 5

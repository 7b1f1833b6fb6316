"""A recorded step against the same step called as it is: the same bits, for everything we have.

`Model.fit` records its steps on NumPy and PyTorch. Here it trains beside the same backend that does
not, whose steps are proved right elsewhere.
"""

from __future__ import annotations

import gc
import weakref
from functools import partial

import numpy as np
import pytest
from traced_steps import CLASSES, LOSSES, N_SAMPLES, NETWORKS, OPTIMIZERS, numbers_of

import anyback_nn as nn
from anyback_nn.backends.numpy import RULES
from anyback_nn.inputs.checks import DTYPES
from anyback_nn.jit import dispatch
from anyback_nn.jit.dispatch import CALLS_BEFORE_TRACING, Traced
from anyback_nn.jit.graph import TraceError
from anyback_nn.jit.program import Program

N_IN = 4


def without_recording(backend):
    """Make the same backend, but its steps are called as they are."""
    return type("Eager", (type(backend),), {"trace_rules": None})(backend.device_name)


@pytest.fixture
def both(backend, programs):
    """Train with recorded steps and with others: all numbers must be the same."""
    return partial(train_both, backend, programs)


def train_both(backend, programs, layers, loss, y, dtype="float64", optimizer=None, **options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_SAMPLES, N_IN))
    results = []
    for one in (backend, without_recording(backend)):
        model = nn.Model(*layers, loss=loss, backend=one, dtype=dtype, seed=3)
        # Batches of 16, and a last one of 2.
        options = {"epochs": 5, "batch_size": 16} | options
        model.fit(x, y, optimizer=optimizer or nn.Adam(0.01), progress=False, **options)
        results.append(numbers_of(model))
    assert sum(program.runs for program in programs) > 10
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_networks(layers, dtype, both):
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "y"), LOSSES.values(), ids=LOSSES)
def test_losses(loss, y, weighted, both):
    weights = np.random.default_rng(2).uniform(0, 2, N_SAMPLES) if weighted else None
    layers = (nn.Dense(8), nn.Tanh(), nn.Dense(3))
    both(layers, loss, y, sample_weight=weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(optimizer, dtype, both):
    layers = (nn.Dense(8), nn.ReLU(), nn.Dense(3))
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, dtype, optimizer=optimizer)


def test_every_step_behind_the_first_ones_is_repeated(both, programs):
    layers = NETWORKS["batch norm"]
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, epochs=20)
    # Three full batches and a small one in each epoch.
    assert [program.runs for program in programs] == [
        60 - CALLS_BEFORE_TRACING - 1,
        20 - CALLS_BEFORE_TRACING - 1,
    ]


def test_best_parameters_that_are_put_back(both):
    """A callback that changes the model's arrays: what is recorded works in others."""

    class Restart(nn.Callback):
        def on_epoch_end(self, fit):
            if fit.epoch == 4:
                fit.model.training = self.kept
            if fit.epoch == 2:
                self.kept = fit.model.training.copy()

    layers = (nn.Dense(8), nn.ReLU(), nn.Dense(3))
    both(layers, nn.SoftmaxCrossEntropy(), CLASSES, epochs=9, callbacks=[Restart()])


def test_parts_of_a_users_own_are_called_at_every_step(backend, programs):
    """They may do what they like: nothing of them is recorded."""
    calls = []

    class Noise(nn.Layer):
        def forward(self, params, x, context=nn.PREDICTION):
            calls.append(context.training)
            return x + len(calls), None

        def backward(self, params, cache, dy):
            return dy, {}

    def size(loss, outputs, targets):
        return outputs[:, 0]

    x = np.zeros((40, 2))
    layers = (nn.Dense(4), Noise(), nn.Dense(3))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)
    model.fit(x, CLASSES[:40], epochs=3, batch_size=10, progress=False)
    assert calls == [True] * 12
    loss = nn.SoftmaxCrossEntropy()
    model = nn.Model(nn.Dense(3), loss=loss, backend=backend, metrics=[size])
    model.fit(x, CLASSES[:40], epochs=3, batch_size=10, progress=False)
    assert not programs


def test_an_iterable_that_fills_the_same_memory_again(backend):
    """What a step was given may be written to before the next one."""
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


# The recording itself -----------------------------------------------------------------------------


def replay(step, *arguments, donate=()):
    """Call a step until it is repeated; give the last result."""
    traced = Traced(step, donate, RULES)
    for _ in range(CALLS_BEFORE_TRACING + 2):
        result = traced(*arguments)
    return traced, result


def test_results_are_not_written_to_again():
    traced, first = replay(lambda x: (x + 1.0,), np.zeros(3))
    traced(np.full(3, 9.0))
    assert first[0].tolist() == [1.0, 1.0, 1.0]


def test_memory_is_used_again():
    def step(x):
        for _ in range(20):
            x = x + 1.0
        return (x,)

    traced, (result,) = replay(step, np.zeros(1000))
    (program,) = traced.programs.values()
    assert len({id(arguments[-1]) for _, arguments, _ in program.calls}) <= 3
    assert result[0] == 20.0


def test_a_view_keeps_its_memory():
    def step(x):
        part = (x + 1.0)[:2]
        for _ in range(5):
            x = x * 2.0
        return part, x

    _, (part, x) = replay(step, np.ones(4))
    assert part.tolist() == [2.0, 2.0]
    assert x.tolist() == [32.0] * 4


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x * 2.0 if float(x[0]) > 0 else x,),
        lambda x: (x * 2.0 if (x > 0).all() else x,),
        lambda x: (np.exp(x),),
        lambda x: (x[x > 0],),
        lambda x: (x[np.asarray([0, 1])],),
        lambda x: (nn.array_namespace(x).cumulative_sum(x),),
        lambda x: (x % 2.0,),
        lambda x: (sum(list(x)),),
    ],
)
def test_what_cannot_be_recorded_is_called_as_it_is(step):
    x = np.asarray([3.0, 4.0, 5.0])
    traced, result = replay(step, x)
    assert not traced.programs
    assert np.array_equal(result[0], step(x)[0])


# Where results lie --------------------------------------------------------------------------------


def memory_of(array):
    return array.__array_interface__["data"][0]


def calls_of(traced):
    (program,) = traced.programs.values()
    return program.calls


def test_results_are_written_over_what_is_not_read_again():
    def step(x):
        y = x + 1.0
        y = y * 2.0
        return (y - 0.5,)

    traced, (result,) = replay(step, np.zeros(3))
    assert len({memory_of(arguments[-1]) for _, arguments, _ in calls_of(traced)}) == 1
    assert result.tolist() == [1.5] * 3


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # Read again later; seen transposed or in part beside itself; another shape or dtype.
        (lambda x: ((y := x + 1.0) * 2.0 + y,), [[3.0, 6.0], [9.0, 12.0]]),
        (lambda x: ((y := x + 1.0) - transposed(y),), [[0.0, -1.0], [1.0, 0.0]]),
        (lambda x: ((y := x + 1.0) - y[:1, :],), [[0.0, 0.0], [2.0, 2.0]]),
        (lambda x: ((x + 1.0)[:1, :] * x,), [[0.0, 2.0], [2.0, 6.0]]),
        (lambda x: (chosen(x > 1.0, x + 1.0, x * 5.0),), [[0.0, 5.0], [3.0, 4.0]]),
        (lambda x: (chosen((y := x * 5.0) > 5.0, x + 1.0, y),), [[0.0, 5.0], [3.0, 4.0]]),
    ],
    ids=["again", "transposed", "a row", "a row of another shape", "chosen", "chosen and asked"],
)
def test_what_is_still_needed_is_not_written_over(step, expected):
    _, (result,) = replay(step, np.arange(4.0).reshape(2, 2))
    assert result.tolist() == expected


def transposed(x):
    return nn.array_namespace(x).matrix_transpose(x)


def chosen(condition, x, y):
    return nn.array_namespace(condition).where(condition, x, y)


def test_what_is_put_together_is_computed_in_its_place():
    def step(x):
        xp = nn.array_namespace(x)
        square, total = xp.reshape(x @ x, (-1,)), xp.sum(x, axis=0)
        vector = xp.concat([square, total])
        vector *= 2.0
        return (vector,)

    x = np.arange(4.0).reshape(2, 2)
    traced, (result,) = replay(step, x)
    assert np.concatenate not in [function for function, *_ in calls_of(traced)]
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
def test_what_cannot_be_computed_in_its_place_is_copied_there(parts):
    def step(x):
        xp = nn.array_namespace(x)
        return (xp.concat(parts(xp, x)),)

    x = np.arange(3.0)
    _, (result,) = replay(step, x)
    assert result.tolist() == np.concatenate(parts(np, x)).tolist()


def test_an_operand_of_what_is_put_together_that_is_used_again():
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
def test_inputs_are_not_copied_where_they_are_large(size):
    traced, _ = replay(lambda x: (x[1:] + 1.0,), np.zeros(size))
    (program,) = traced.programs.values()
    assert bool(program.array_slots) == (size > 10)
    x = np.arange(float(size))
    assert traced(x)[0].tolist() == (x[1:] + 1.0).tolist()


def test_the_last_input_is_let_go():
    traced, _ = replay(lambda x: (x + 1.0,), np.zeros(100_000))
    x = np.ones(100_000)
    known = weakref.ref(x)
    traced(x)
    del x
    gc.collect()
    assert known() is None


def test_an_input_that_is_handed_on_is_copied():
    traced, _ = replay(lambda x: (x, x + 1.0), np.zeros(100_000))
    x = np.ones(100_000)
    same, _ = traced(x)
    x[...] = 5.0
    assert same[0] == 1.0


def test_an_input_that_is_written_to_is_not_recorded():
    def step(x):
        x += 1.0
        return (x * 2.0,)

    traced, _ = replay(step, np.zeros(3))
    assert not traced.programs


# Long vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [RULES.tile_bytes, RULES.tile_bytes + 1, 2 * RULES.tile_bytes])
def test_long_vectors_go_through_in_blocks(size, dtype):
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
        expected, other = step(expected, rate, g)
        assert total == other
    np.testing.assert_array_equal(p, expected)
    # All but the one that reads the input, and the sum.
    inner = [arguments for _, arguments, _ in calls_of(traced)[1:-1]]
    assert len(inner) >= 2 * 5
    assert max(one.nbytes for arguments in inner for one in arguments) <= RULES.tile_bytes


def test_large_matrices_go_through_in_blocks():
    def step(x, bias):
        xp = nn.array_namespace(x)
        y = xp.maximum(x @ x + bias, 0.0)
        return xp.sum(y * xp.astype(y > 1.0, y.dtype), axis=0), xp.sum(y)

    n = 600
    x = np.random.default_rng(0).standard_normal((n, n)).astype("float32")
    traced, results = replay(step, x, x[:1, :])
    for one, other in zip(results, step(x, x[:1, :]), strict=True):
        np.testing.assert_array_equal(one, other)
    names = [getattr(function, "__name__", "maximum") for function, *_ in calls_of(traced)]
    n_blocks = -(-n * n * 4 // RULES.tile_bytes)
    for name in ("maximum", "greater", "copyto", "multiply"):
        assert names.count(name) == n_blocks
    assert names.count("matmul") == names.count("add") == 1


def test_vectors_that_overlap_go_through_whole():
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


# What is recorded ---------------------------------------------------------------------------------


def test_numbers_are_those_of_each_call():
    def step(p, rate, x):
        p -= rate * x
        p /= rate
        return p, rate * x

    p, expected = np.ones(2, "float32"), np.ones(2, "float32")
    traced = Traced(step, (0,), RULES)
    for rate in (0.1, 0.2, 0.3, 0.4, 0.7, 1.1):
        x = np.asarray([rate, 1.0], "float32")
        p, product = traced(p, rate, x)
        expected = step(expected, rate, x)[0]
        assert product.tolist() == (rate * x).tolist()
    assert traced.programs
    assert p.tolist() == expected.tolist()


def test_numbers_can_be_computed_with():
    def step(x, a, b):
        c = 2.0 * a / 3 - b
        return x * (1 - c), x + c * c, x - a

    x = np.asarray([3.0, 0.1], "float32")
    traced = Traced(step, (), RULES)
    for a, b in ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 0.1)):
        for one, other in zip(traced(x, a, b), step(x, a, b), strict=True):
            assert one.tolist() == other.tolist()
    assert traced.programs


@pytest.mark.parametrize("step", [lambda x, a: (x * max(a, 0.5),), lambda x, a: (x * a**2,)])
def test_numbers_that_are_read_are_not_recorded(step):
    traced, (result,) = replay(step, np.ones(2), 3.0)
    assert not traced.programs
    assert result.tolist() == step(np.ones(2), 3.0)[0].tolist()


def test_memory_that_is_worked_in_is_as_before_if_recording_fails():
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


def test_an_error_of_the_step_is_raised():
    def step(x):
        if x.shape[0] == 3:
            raise ValueError("three")
        return (x,)

    traced = Traced(step, (), RULES)
    for _ in range(4):
        with pytest.raises(ValueError, match="three"):
            traced(np.zeros(3))


def test_shapes_and_dtypes_have_recordings_of_their_own():
    traced = Traced(lambda x: (x * 2.0,), (), RULES)
    for x in (np.ones(2), np.ones(3), np.ones(2, "float32"), np.ones((2, 1))) * 4:
        (result,) = traced(x)
        assert result.dtype == x.dtype
        assert result.tolist() == (x * 2).tolist()
    assert len(traced.programs) == 4


def test_a_second_fit_replays_what_the_first_one_traced(programs):
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    for _ in range(3):
        model.fit(np.zeros((40, 2)), CLASSES[:40], epochs=1, batch_size=10, progress=False)
    assert len(programs) == 1


def test_programs_are_freed_with_their_model(monkeypatch):
    made = []

    class Watched(Program):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(dispatch, "Program", Watched)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    model.fit(np.zeros((40, 2)), CLASSES[:40], epochs=3, batch_size=10, progress=False)
    assert [one() is not None for one in made] == [True]
    model.build(2)
    gc.collect()
    assert [one() for one in made] == [None]


def test_few_programs_are_kept():
    traced = Traced(lambda x: (x + 1.0,), (), RULES)
    for size in range(1, 41):
        for _ in range(4):
            assert traced(np.zeros(size))[0].tolist() == [1.0] * size
    assert len(traced.programs) == 16

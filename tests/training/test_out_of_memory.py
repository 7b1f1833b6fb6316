"""Running out of memory: one error, with a batch size that fits. No memory is allocated for it.

The libraries' errors are real: an array larger than any address space raises them. Here, the layer
`Dense` raises them again above some number of rows.
"""

import contextlib
import gc
import sys
import weakref

import numpy as np
import pytest
from cupy_stand_in import installed
from forget_compiled import forget_compiled

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS
from anyback_nn.backends.base import load
from anyback_nn.errors import OutOfMemoryError
from anyback_nn.training import memory
from anyback_nn.tree import tree_leaves

NEEDS_TORCH = pytest.mark.needs("torch")
ROWS, FITS = 500, 100
"""The most rows that a layer takes here."""


@pytest.fixture
def fail(backend):
    """A function that raises the library's error for an array that no machine can hold."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each library has another
        backend.synchronize(
            backend.xp.zeros((2**46,), dtype=backend.xp.float32, device=backend.device)
        )

    def fail(*_, **__):
        raise raised.value.with_traceback(None)

    return fail


@pytest.fixture
def room_for(fail, backend, monkeypatch):
    """Let a dense layer run out of memory above some number of rows; free memory is unknown."""
    forward = nn.Dense.forward

    def limit(n_rows):
        def limited(self, params, x, context=nn.PREDICTION):
            return (fail if x.shape[-2] > n_rows else forward)(self, params, x, context)

        monkeypatch.setattr(nn.Dense, "forward", limited)
        monkeypatch.setattr(type(backend), "free_memory", lambda self: None)
        forget_compiled(monkeypatch)

    return limit


@pytest.fixture
def small(room_for):
    room_for(FITS)


@pytest.fixture
def model(backend):
    layers = (nn.Dense(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Dense(3))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)


@pytest.fixture
def rows():
    return nn.datasets.make_blobs(ROWS, seed=0)


def values(model):
    return np.concatenate([np.ravel(to_numpy(leaf)) for leaf in tree_leaves(model.params)])


@contextlib.contextmanager
def expect_error(model, batch_size, *parts):
    """Expect the error for a batch size, with some parts in its message."""
    backend = model.backend
    with pytest.raises(OutOfMemoryError) as raised:
        yield
    message = str(raised.value)
    assert message.startswith(f"backend {backend.spec!r} (device {backend.device_label})")
    for part in (f"batches of {batch_size:,} rows", *parts):
        assert part in message
    assert isinstance(raised.value, nn.AnybackError)
    assert backend.is_out_of_memory(raised.value.__cause__)


# What the libraries raise ------------------------------------------------------------------------


def test_the_error_of_the_library_is_recognised(backend, fail):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each library has another
        fail()
    assert backend.is_out_of_memory(raised.value)
    assert backend.is_out_of_memory(MemoryError())  # the host's memory
    for other in RuntimeError("shapes do not match"), ValueError("memory"), KeyboardInterrupt():
        assert not backend.is_out_of_memory(other)


def jax_error(message):
    import jax

    return jax.errors.JaxRuntimeError(f"INTERNAL: {message}")


def torch_error(message):
    import torch

    return torch.OutOfMemoryError(message)


DISPATCHING = "Error dispatching computation: Out of memory allocating 633229136 bytes."


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        pytest.param("torch", RuntimeError, "MPS backend out of memory (MPS", marks=NEEDS_TORCH),
        pytest.param("torch", RuntimeError, "Allocator: not enough memory", marks=NEEDS_TORCH),
        pytest.param("torch", torch_error, "CUDA out of memory.", marks=NEEDS_TORCH),
        pytest.param("jax", jax_error, DISPATCHING, marks=pytest.mark.needs("jax")),
        ("cupy", RuntimeError, "cudaErrorMemoryAllocation: out of memory"),
        ("cupy", RuntimeError, "CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_errors_of_devices_that_are_not_here(name, kind, message):
    with installed():
        backend = load(BACKENDS[name])()
        assert backend.is_out_of_memory(kind(message))
        assert not backend.is_out_of_memory(kind("ptxas")) or kind is torch_error


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it may not be known")
def test_some_memory_is_free(backend):
    assert backend.free_memory() > 0


# What the model makes of it ----------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("batch_size", [256, None, FITS + 1])
def test_fit_names_the_batch_size_that_fits(model, rows, batch_size):
    parts = ("in a step of training", "A batch of 64 fits", "batch_size=64")
    with expect_error(model, batch_size or ROWS, *parts):
        model.fit(*rows, batch_size=batch_size)
    model.fit(*rows, batch_size=64, epochs=1)  # and so it does


@pytest.mark.usefixtures("small")
def test_fit_leaves_the_model_as_it_was_when_the_epoch_began(model, rows):
    model.fit(*rows, epochs=2, batch_size=50)
    before, history = values(model), model.history.rows.copy()
    with expect_error(model, 200, "from the start of the epoch"):
        model.fit(*rows, epochs=1, batch_size=200)
    np.testing.assert_array_equal(values(model), before)
    assert model.history.rows == history
    model.fit(*rows, epochs=1, batch_size=50)
    assert len(model.history) == 3


@pytest.mark.usefixtures("small")
def test_a_later_batch_that_is_larger(model, rows):
    x, y = rows
    before = values(model.build(x.shape[1]))
    with expect_error(model, 450, "make such batches"):
        model.fit([(x[:50], y[:50]), (x[50:], y[50:])])
    np.testing.assert_array_equal(values(model), before)


@pytest.mark.usefixtures("small")
def test_what_is_computed_without_training(model, rows):
    x, y = rows
    model.build(x.shape[1])
    parts = ("computing outputs", "batch_size=64 to predict or evaluate", "make such batches")
    for call, arguments in (
        (model.predict, (x,)),
        (model.predict_classes, (x,)),
        (model.evaluate, (x, y)),
    ):
        with expect_error(model, ROWS, *parts):
            call(*arguments)
        call(*arguments, batch_size=64)
    with expect_error(model, ROWS, *parts):
        model.evaluate([(x, y)])


@pytest.mark.usefixtures("small")
def test_validation_in_fit(model, rows):
    parts = ("computing outputs", "The batch size of validation data in fit cannot be set")
    with expect_error(model, ROWS, *parts):
        model.fit(*rows, batch_size=32, validation=rows)


@pytest.mark.usefixtures("small")
def test_what_is_free_bounds_what_is_tried(model, rows, monkeypatch):
    n_bytes = memory.estimate_sample_bytes(model.build(rows[0].shape[1]), training=True)
    monkeypatch.setattr(type(model.backend), "free_memory", lambda self: 20 * n_bytes)
    with expect_error(model, 256, "A batch of 16 fits", "are free"):
        model.fit(*rows, batch_size=256)


def test_not_even_one_row(backend, rows, room_for):
    room_for(0)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    # Where memory is measured before training, it does not get that far.
    with pytest.raises(
        OutOfMemoryError, match="Not even a single row fits|no batch size would fit"
    ):
        model.fit(*rows)
    assert model.n_in is None  # as before: it was not built


def test_the_outputs_of_all_batches_together(model, rows, fail, monkeypatch):
    x, _ = rows
    model.build(x.shape[1])
    monkeypatch.setattr(nn.array_namespace(model.training.params[0]), "concat", fail)
    forget_compiled(monkeypatch)
    with expect_error(model, 100, "pass the data in several parts"):
        model.predict(x, batch_size=100)


def test_the_data_do_not_fit(model, rows, fail, monkeypatch):
    monkeypatch.setattr("anyback_nn.inputs.batches.move", fail)
    with pytest.raises(OutOfMemoryError, match=r"4\.0 kB in float32.*an iterable of batches"):
        model.fit(*rows)


@pytest.mark.parametrize("n_out", [10**13, 10**20])
def test_the_parameters_do_not_fit(backend, rows, n_out):
    x, y = rows
    model = nn.Model(nn.Dense(n_out), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    text = r"not enough memory for the parameters.*; they are drawn in float64.*Use smaller layers"
    with pytest.raises(OutOfMemoryError, match=text) as raised:
        model.build(100)
    if n_out == 10**13:  # 100 weights and a bias for each
        assert "which take 4,040.0 TB in float32" in str(raised.value)
    with pytest.raises(OutOfMemoryError, match=text):
        model.fit(x, y, progress=False)
    assert model.n_in is None


def test_other_errors_stay_what_they_are(model, rows, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(nn.Dense, "forward", broken)
    forget_compiled(monkeypatch)
    for call in model.fit, model.build(2).evaluate:
        with pytest.raises(RuntimeError, match="something else"):
            call(*rows)


# What a sample takes -----------------------------------------------------------------------------


def test_bytes_a_sample_count_every_cache_once(backend):
    layers = (nn.Dense(64), nn.ReLU(), nn.Residual(nn.Dense(32), nn.Tanh(), nn.Dense(64)))
    model = nn.Model(*layers, nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    n_bytes = memory.estimate_sample_bytes(model.build(10), training=True)
    widest, cached = 64, 10 + 64 + 64 + 32 + 64
    assert cached + 2 * widest <= n_bytes / 4 <= 2 * (cached + 3 * widest)
    wider = nn.Model(*layers, nn.Dense(300), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    assert memory.estimate_sample_bytes(wider.build(10), training=True) > n_bytes


def test_a_sample_takes_twice_as_much_in_float64(model, float64):
    layers = model.network.layers
    finer = nn.Model(*layers, loss=model.loss, backend=model.backend, dtype=float64)
    for training in True, False:
        single, double = (
            memory.estimate_sample_bytes(net.build(4), training=training) for net in (model, finer)
        )
        assert 1.5 * single < double <= 2 * single


@pytest.mark.parametrize("bound", [-1, 0, 1, 2, 63, 64, 65])
def test_the_largest_power_of_two(bound):
    tried = []
    assert memory.find_largest(bound, tried.append) is None
    assert tried == sorted({2**i for i in range(7) if 2**i <= max(bound, 1)}, reverse=True)
    assert memory.find_largest(bound, lambda n: n <= 5) == min(4, max(tried))


def test_arrays_of_a_failed_step_are_let_go():
    """What the failed step held would be missing when smaller batches are tried."""

    class Large:
        pass

    references = []

    def step():
        large = Large()
        references.append(weakref.ref(large))
        try:
            raise MemoryError
        except MemoryError:
            raise MemoryError from None

    try:
        step()
    except MemoryError as error:
        memory.free_frames(error)
        gc.collect()
        assert references[0]() is None

"""Running out of memory: one error, with a batch size that fits. No memory is allocated for it.

The libraries' errors are real: an array larger than any address space raises them. Here, the layer
`Dense` raises them again above some number of rows.
"""

import sys

import numpy as np
import pytest
from cupy_stand_in import installed
from forget_compiled import forget_compiled

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS, Backend
from anyback_nn.backends.base import load
from anyback_nn.errors import OutOfMemoryError
from anyback_nn.training import memory
from anyback_nn.tree import tree_leaves

NEEDS_TORCH = pytest.mark.needs("torch")
ROWS, FITS = 500, 100
"""The most rows that a layer takes here."""


def library_error(backend):
    """Return type and arguments of the library's error for an array that no machine can hold."""
    try:
        array = backend.xp.zeros((2**46,), dtype=backend.xp.float32, device=backend.device)
        backend.synchronize(array)
    except Exception as error:
        return type(error), error.args
    raise AssertionError("it was allocated")


@pytest.fixture
def room_for(backend, monkeypatch):
    """Let a dense layer run out of memory above some number of rows; free memory is unknown."""
    kind, said = library_error(backend)
    forward = nn.Dense.forward

    def limit(n_rows):
        def limited(self, params, x, context=nn.PREDICTION):
            if x.shape[-2] > n_rows:
                raise kind(*said)
            return forward(self, params, x, context)

        monkeypatch.setattr(nn.Dense, "forward", limited)
        monkeypatch.setattr(Backend, "free_memory", lambda self: None)
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
    return [to_numpy(leaf).copy() for leaf in tree_leaves(model.params)]


def check_message(caught, model, used):
    """Check what all messages have in common; return the message."""
    message = str(caught.value)
    backend = model.backend
    assert message.startswith(f"backend {backend.spec!r} (device {backend.device_label})")
    assert f"batches of {used:,} rows" in message
    assert isinstance(caught.value, nn.AnybackError)
    assert backend.is_out_of_memory(caught.value.__cause__)
    return message


# What the libraries raise ------------------------------------------------------------------------


def test_the_error_of_the_library_is_recognised(backend):
    kind, said = library_error(backend)
    assert backend.is_out_of_memory(kind(*said))
    assert backend.is_out_of_memory(MemoryError())  # the host's memory
    for other in RuntimeError("shapes do not match"), ValueError("memory"), KeyboardInterrupt():
        assert not backend.is_out_of_memory(other)


def jax_error(said):
    import jax

    return jax.errors.JaxRuntimeError(f"INTERNAL: {said}")


def torch_error(said):
    import torch

    return torch.OutOfMemoryError(said)


DISPATCHING = "Error dispatching computation: Out of memory allocating 633229136 bytes."


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        pytest.param("torch", RuntimeError, "MPS backend out of memory (MPS", marks=NEEDS_TORCH),
        pytest.param("torch", RuntimeError, "Allocator: not enough memory", marks=NEEDS_TORCH),
        pytest.param("torch", torch_error, "CUDA out of memory.", marks=NEEDS_TORCH),
        pytest.param("jax", jax_error, DISPATCHING, marks=pytest.mark.needs("jax")),
        ("cupy", RuntimeError, "cudaErrorMemoryAllocation: out of memory"),
        ("cupy", RuntimeError, "CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_errors_of_devices_that_are_not_here(name, kind, said):
    with installed():
        backend = load(BACKENDS[name])()
        assert backend.is_out_of_memory(kind(said))
        assert not backend.is_out_of_memory(kind("ptxas")) or kind is torch_error


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it may not be known")
def test_some_memory_is_free(backend):
    assert backend.free_memory() > 0


# What the model makes of it ----------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("batch_size", [256, None, FITS + 1])
def test_fit_names_the_batch_size_that_fits(model, rows, batch_size):
    with pytest.raises(OutOfMemoryError) as caught:
        model.fit(*rows, batch_size=batch_size)
    message = check_message(caught, model, batch_size or ROWS)
    assert "in a step of training" in message
    assert "A batch of 64 fits" in message
    assert "batch_size=64" in message
    model.fit(*rows, batch_size=64, epochs=1)  # and so it does


@pytest.mark.usefixtures("small")
def test_fit_leaves_the_model_as_it_was_when_the_epoch_began(model, rows):
    model.fit(*rows, epochs=2, batch_size=50)
    before, history = values(model), model.history.rows.copy()
    with pytest.raises(OutOfMemoryError, match="from the start of the epoch"):
        model.fit(*rows, epochs=1, batch_size=200)
    for one, other in zip(values(model), before):
        np.testing.assert_array_equal(one, other)
    assert model.history.rows == history
    model.fit(*rows, epochs=1, batch_size=50)
    assert len(model.history) == 3


@pytest.mark.usefixtures("small")
def test_a_later_batch_that_is_larger(model, rows):
    x, y = rows
    model.build(x.shape[1])
    before = values(model)
    with pytest.raises(OutOfMemoryError) as caught:
        model.fit([(x[:50], y[:50]), (x[50:], y[50:])])
    assert "make such batches" in check_message(caught, model, 450)
    for one, other in zip(values(model), before):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small")
def test_what_is_computed_without_training(model, rows):
    x, y = rows
    model.build(x.shape[1])
    calls = (
        lambda **options: model.predict(x, **options),
        lambda **options: model.predict_classes(x, **options),
        lambda **options: model.evaluate(x, y, **options),
    )
    for call in calls:
        with pytest.raises(OutOfMemoryError) as caught:
            call()
        message = check_message(caught, model, ROWS)
        assert "computing outputs" in message
        assert "batch_size=64 to predict or evaluate" in message
        call(batch_size=64)
    with pytest.raises(OutOfMemoryError, match="make such batches"):
        model.evaluate([(x, y)])


@pytest.mark.usefixtures("small")
def test_validation_in_fit(model, rows):
    with pytest.raises(OutOfMemoryError) as caught:
        model.fit(*rows, batch_size=32, validation=rows)
    message = check_message(caught, model, ROWS)
    assert "The batch size of validation data in fit cannot be set" in message
    assert "step of training" not in message


@pytest.mark.usefixtures("small")
def test_what_is_free_bounds_what_is_tried(model, rows, monkeypatch):
    model.build(rows[0].shape[1])
    each = memory.estimate_sample_bytes(model, training=True)
    monkeypatch.setattr(Backend, "free_memory", lambda self: 20 * each)
    with pytest.raises(OutOfMemoryError) as caught:
        model.fit(*rows, batch_size=256)
    message = check_message(caught, model, 256)
    assert "A batch of 16 fits" in message
    assert "are free" in message


def test_not_even_one_row(backend, rows, room_for):
    room_for(0)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    with pytest.raises(OutOfMemoryError, match="Not even a single row fits"):
        model.fit(*rows)
    assert model.n_in is None  # as before: it was not built


def test_the_outputs_of_all_batches_together(model, rows, monkeypatch):
    kind, said = library_error(model.backend)

    def concat(*_, **__):
        raise kind(*said)

    x, _ = rows
    model.build(x.shape[1])
    monkeypatch.setattr(nn.array_namespace(model.training.params[0]), "concat", concat)
    forget_compiled(monkeypatch)
    with pytest.raises(OutOfMemoryError, match="pass the data in several parts"):
        model.predict(x, batch_size=100)


def test_the_data_do_not_fit(backend, rows, monkeypatch):
    kind, said = library_error(backend)

    def move(*_, **__):
        raise kind(*said)

    monkeypatch.setattr("anyback_nn.inputs.batches.move", move)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    with pytest.raises(OutOfMemoryError) as caught:
        model.fit(*rows)
    message = str(caught.value)
    assert "4.0 kB in float32" in message
    assert "an iterable of batches" in message


@pytest.mark.parametrize("n_out", [10**13, 10**20])
def test_the_parameters_do_not_fit(backend, rows, n_out):
    x, y = rows
    model = nn.Model(nn.Dense(n_out), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    said = r"not enough memory for the parameters.*; they are drawn in float64.*Use smaller layers"
    with pytest.raises(OutOfMemoryError, match=said) as raised:
        model.build(100)
    if n_out == 10**13:  # 100 weights and a bias for each
        assert "which take 4,040.0 TB in float32" in str(raised.value)
    with pytest.raises(OutOfMemoryError, match=said):
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
    each = memory.estimate_sample_bytes(model.build(10), training=True)
    widest, kept = 64, 10 + 64 + 64 + 32 + 64
    assert kept + 2 * widest <= each / 4 <= 2 * (kept + 3 * widest)
    wider = nn.Model(*layers, nn.Dense(300), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    assert memory.estimate_sample_bytes(wider.build(10), training=True) > each


def test_a_sample_takes_twice_as_much_in_float64(model, float64):
    layers = model.network.layers
    finer = nn.Model(*layers, loss=model.loss, backend=model.backend, dtype=float64)
    for training in True, False:
        each, twice = (
            memory.estimate_sample_bytes(one.build(4), training=training) for one in (model, finer)
        )
        assert 1.5 * each < twice <= 2 * each


@pytest.mark.parametrize("bound", [-1, 0, 1, 2, 63, 64, 65])
def test_the_largest_power_of_two(bound):
    tried = []
    assert memory.find_largest(bound, tried.append) is None
    assert tried == sorted({2**i for i in range(7) if 2**i <= max(bound, 1)}, reverse=True)
    assert memory.find_largest(bound, lambda n: n <= 5) == min(4, max(tried))


def test_arrays_of_a_failed_step_are_let_go():
    """What the failed step held would be missing when smaller batches are tried."""
    import gc
    import weakref

    class Thing:
        pass

    held = []

    def step():
        large = Thing()
        held.append(weakref.ref(large))
        try:
            raise MemoryError
        except MemoryError:
            raise MemoryError from None

    try:
        step()
    except MemoryError as error:
        memory.free_frames(error)
        gc.collect()
        assert held[0]() is None

"""Data for a device with memory of its own: all at once if there is room, else batch by batch.

No GPU is here: batches are copied to a stand-in, which does the work of each queue as late or as
early as it may, so that what is not waited for comes out wrong.
"""

from __future__ import annotations

import gc
import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from cupy_stand_in import installed
from pretended_gpu import GARBAGE, Gpu, cupy_on, torch_on

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS, Backend, select
from anyback_nn.backends.base import load
from anyback_nn.backends.transfer import Transfer
from anyback_nn.inputs import batches
from anyback_nn.inputs.batches import IterableSource, array_source
from anyback_nn.inputs.checks import Samples
from anyback_nn.sklearn import MLPClassifier
from anyback_nn.sklearn.batches import ShuffledSource
from anyback_nn.training import memory

LIBRARIES = ["cupy", pytest.param("torch", marks=pytest.mark.needs("torch"))]
EAGER = {
    "late": (),
    "computes early": ("computing",),
    "copies early": ("copying",),
    "early": ("computing", "copying"),
}
N, SIZE = 61, 8


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


@pytest.fixture(params=EAGER.values(), ids=EAGER)
def gpu(request):
    return Gpu(request.param)


@pytest.fixture
def there(gpu, library, monkeypatch):
    """The backend that computes on the stand-in."""
    with {"cupy": cupy_on, "torch": torch_on}[library](gpu, monkeypatch) as backend:
        yield backend


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Let `gc.collect` look at nothing older than these tests, of which most of it would be."""
    gc.freeze()
    yield
    gc.unfreeze()


def rows(n=N):
    """Return inputs, targets and weights, of other dtypes than the model's."""
    x = np.random.default_rng(0).standard_normal((n, 5))
    x[0, 0] = 1e30  # not in float16
    return x, np.arange(n), np.arange(n) / 7


def batches_of(*arrays):
    return [tuple(x[i : i + SIZE] for x in arrays) for i in range(0, len(arrays[0]), SIZE)]


class Refilled:
    """An iterable that writes each batch into the same memory."""

    def __iter__(self):
        memory = [np.empty((SIZE, 5)), np.empty(SIZE, int), np.empty(SIZE)]
        for batch in batches_of(*rows()):
            n = len(batch[0])
            for array, values in zip(memory, batch):
                array[:n] = values
            yield tuple(array[:n] for array in memory)


def iterable(batches, backend):
    network = nn.Network(nn.Dense(100))
    return IterableSource(backend, "float32", batches, nn.SoftmaxCrossEntropy(), network, 5)


def shuffled(backend, **options):
    options |= {"batch_size": SIZE, "shuffle": True, "seed": 3, "resident": False}
    return array_source(Samples(*rows()), backend, "float32", **options)


def mapped(backend, path):
    np.save(path / "x.npy", rows()[0])
    x = np.load(path / "x.npy", mmap_mode="r")
    return array_source(Samples(x, *rows()[1:]), backend, "float32", batch_size=SIZE)


SOURCES = {
    "arrays": lambda backend, path: shuffled(backend),
    "some rows": lambda backend, path: shuffled(backend, chosen=np.arange(3, N, 2)),
    "memory map": mapped,
    "iterable": lambda backend, path: iterable(batches_of(*rows()), backend),
    "growing": lambda backend, path: iterable(
        [tuple(x[:n] for x in rows()) for n in (1, 40, 2, 61, 60, 59, 3)], backend
    ),
    "samples": lambda backend, path: array_source(
        Samples(*rows()),
        backend,
        "float32",
        kind=partial(ShuffledSource, random=np.random.RandomState(0)),
        batch_size=SIZE,
        chosen=np.arange(N),
        resident=False,
    ),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let there be many blocks, of two batches each."""
    monkeypatch.setattr(batches, "BLOCK", 2 * SIZE * 5)


class Steps:
    """Steps that compute with batches: they read them when the device comes to it."""

    def __init__(self, gpu):
        self.gpu, self.seen = gpu, []

    def __call__(self, batch):
        def step():
            self.seen.append([None if x is None else to_numpy(x).copy() for x in batch])

        self.gpu.computing.put("step", step)

    def all_of(self, batches):
        for batch in batches:
            self(batch)
        return self


def compare(seen, expected):
    for batch, right in itertools.zip_longest(seen, expected):
        for array, values in zip(batch, right, strict=True):
            np.testing.assert_array_equal(array, values, strict=True)


def on_numpy(make, path, epochs=1):
    source = make(select("numpy"), path)
    with np.errstate(over="ignore"):
        return [[*map(to_numpy, batch)] for i in range(epochs) for batch in source.epoch(i)]


# Batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_batches_are_those_of_numpy(make, there, gpu, tmp_path):
    source, steps = make(there, tmp_path), Steps(gpu)
    for number in range(2):
        steps.all_of(source.epoch(number))
    gpu.finish()
    assert "copy" in gpu.log
    compare(steps.seen, on_numpy(make, tmp_path, epochs=2))


def test_an_iterable_that_fills_the_same_memory_again(there, gpu):
    steps = Steps(gpu).all_of(iterable(Refilled(), there).epoch(0))
    gpu.finish()
    compare(steps.seen, on_numpy(lambda backend, _: iterable(batches_of(*rows()), backend), None))


def test_inputs_alone(there, gpu):
    source = array_source(Samples(rows()[0]), there, "float64", batch_size=SIZE, resident=False)
    steps = Steps(gpu).all_of(source.epoch(0))
    gpu.finish()
    np.testing.assert_array_equal(np.concatenate([x for x, _, _ in steps.seen]), rows()[0])
    assert all(y is None and weights is None for _, y, weights in steps.seen)


def test_batches_can_be_kept(there, gpu):
    kept = list(shuffled(there).epoch(0))
    steps = Steps(gpu).all_of(kept)
    gpu.finish()
    compare(steps.seen, on_numpy(SOURCES["arrays"], None))


@pytest.mark.parametrize("n_batches", [2, 3, 40])
def test_two_slots_are_enough(n_batches, there, gpu):
    source = iterable([tuple(x[:SIZE] for x in rows())] * n_batches, there)
    Steps(gpu).all_of(source.epoch(0))
    assert (len(gpu.pinned), len(gpu.slots)) == (2, 2)
    assert max(gpu.slots) < SIZE * 4 * (5 + 1 + 1) + 3 * 256


def test_slots_that_were_too_small_are_freed(there, gpu):
    for _ in SOURCES["growing"](there, None).epoch(0):
        assert gpu.count_held() <= 2
    gc.collect()
    assert gpu.count_held() == 0


@pytest.mark.parametrize("make", [SOURCES["arrays"], SOURCES["samples"]])
def test_a_single_batch_needs_no_slot(make, there, gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SIZE", N)
    (batch,) = make(there, tmp_path).epoch(0)
    assert not gpu.pinned
    compare([map(to_numpy, batch)], on_numpy(make, tmp_path))


@pytest.mark.parametrize("gpu", [EAGER["copies early"]], ids=["copies early"], indirect=True)
def test_a_batch_is_copied_while_the_one_before_is_computed(there, gpu):
    requested = []

    def batches():
        for batch in batches_of(*rows()):
            requested.append(batch)
            yield batch

    epoch, step = iterable(batches(), there).epoch(0), Steps(gpu)
    for n_batches in range(1, 5):
        step(next(epoch))
        # No batch is requested ahead.
        assert len(requested) == n_batches == gpu.log.count("copy")
    # The device has come to the first step, after which there was memory for the second slot, and
    # to the end of the three arrays of the second batch, which freed it for the last one.
    assert (gpu.log.count("step"), gpu.log.count("take")) == (1, 6)


# Ends --------------------------------------------------------------------------------------------


def test_copies_are_finished_when_the_source_is_freed(there, gpu):
    source, steps = shuffled(there), Steps(gpu)
    for batch in itertools.islice(source.epoch(0), 5):
        steps(batch)
    del source, batch
    assert gpu.count_held() == 0
    assert all((memory == GARBAGE).all() for memory, _ in gpu.pinned)
    gpu.finish()
    compare(steps.seen, on_numpy(SOURCES["arrays"], None)[:5])


def test_an_epoch_after_one_that_was_not_finished(there, gpu):
    source, steps = shuffled(there), Steps(gpu)
    steps.all_of(itertools.islice(source.epoch(0), 3))
    steps.all_of(source.epoch(1))
    gpu.finish()
    right = on_numpy(SOURCES["arrays"], None, epochs=2)
    compare(steps.seen, right[:3] + right[8:])


def test_errors_of_the_iterable(there, gpu):
    def batches():
        yield from batches_of(*rows())[:3]
        raise KeyError("broken")

    steps = Steps(gpu)
    with pytest.raises(KeyError, match="broken"):
        steps.all_of(iterable(batches(), there).epoch(0))
    gc.collect()
    assert gpu.count_held() == 0
    gpu.finish()
    compare(steps.seen, on_numpy(SOURCES["iterable"], None)[:3])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), [(Gpu, "copy"), (Transfer, "_wait")])
def test_an_interrupt_in_between(owner, name, when, there, gpu, monkeypatch):
    """The next epoch is right, even from the same source."""
    source, steps, original = shuffled(there), Steps(gpu), getattr(owner, name)
    epoch = source.epoch(0)
    steps.all_of(itertools.islice(epoch, 2))

    def interrupted(*arguments):
        if when == "after":
            original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(epoch)
    steps.all_of(source.epoch(1))
    del source, epoch
    gc.collect()
    assert gpu.count_held() == 0
    gpu.finish()
    right = on_numpy(SOURCES["arrays"], None, epochs=2)
    compare(steps.seen, right[:2] + right[8:])


def test_arrays_of_a_device_are_moved_as_always(there, gpu, monkeypatch):
    """Not through the host, in a batch with arrays that come from it."""
    x, elsewhere = rows()[0][:SIZE], SimpleNamespace()
    monkeypatch.setattr("anyback_nn.backends.transfer.on_host", lambda x: x is not elsewhere)
    calls = []
    monkeypatch.setattr(type(there), "asarray", lambda self, *given: calls.append(given) or "moved")
    moved, brought = there.transfer()([(elsewhere, "float64"), (x, "float64")])
    steps = Steps(gpu).all_of([(brought,)])
    gpu.finish()
    assert (moved, calls) == ("moved", [(elsewhere, "float64")])
    compare(steps.seen, [[x]])
    assert there.transfer()([(elsewhere, "int32")]) == ["moved"]
    assert len(gpu.pinned) == 1


# Training ----------------------------------------------------------------------------------------


def fitted(backend, x, y, **options):
    layers = nn.Dense(6), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3)
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, seed=4)
    options = {"epochs": 3, "batch_size": SIZE, "progress": False, **options}
    model.fit(x, y, **options)
    return model


def assert_same(model, other, history=True):
    for array, right in zip(model.training.params, other.training.params, strict=True):
        np.testing.assert_array_equal(to_numpy(array), to_numpy(right))
    if history:
        rows, expected = ([{**row, "seconds": 0} for row in m.history] for m in (model, other))
        assert rows == expected


def samples(n=N):
    random = np.random.default_rng(1)
    return random.standard_normal((n, 5)), random.integers(0, 3, n)


# What the stand-in computes, it computes at once.
at_once = pytest.mark.parametrize(
    "gpu", [EAGER["computes early"]], ids=["computes early"], indirect=True
)


def let_free(kind, free, monkeypatch):
    monkeypatch.setattr(kind, "has_device_memory", True)
    monkeypatch.setattr(kind, "free_memory", lambda self: free)


@at_once
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation": 0.3, "class_weight": "balanced"},
        {"shuffle": False, "sample_weight": np.arange(N) + 1.0},
        {"validation": samples(5000), "epochs": 1},
    ],
)
def test_training_is_the_same_batch_by_batch(options, there, gpu, monkeypatch):
    let_free(type(there), 2**50, monkeypatch)
    whole = fitted(there, *samples(), **options)
    assert "copy" not in gpu.log
    let_free(type(there), 0, monkeypatch)
    streamed = fitted(there, *samples(), **options)
    assert "copy" in gpu.log
    assert_same(streamed, whole)
    assert gpu.count_held() == 0
    x, y = samples()
    assert streamed.evaluate(x, y, batch_size=7) == whole.evaluate(x, y)
    np.testing.assert_allclose(
        streamed.predict(x, batch_size=7), whole.predict(x), rtol=1e-5, atol=1e-7
    )


@at_once
def test_training_from_a_file_or_an_iterable(there, gpu, tmp_path, monkeypatch):
    let_free(type(there), 2**50, monkeypatch)
    x, y = samples()
    np.save(tmp_path / "x.npy", x)
    whole = fitted(there, x, y, shuffle=False)
    assert_same(fitted(there, np.load(tmp_path / "x.npy", mmap_mode="r"), y, shuffle=False), whole)
    assert_same(fitted(there, batches_of(x, y), None), whole, history=False)
    assert gpu.count_held() == 0


@at_once
@pytest.mark.parametrize("ours", [(True, False), (False, True), (True, True)])
def test_arrays_of_the_library_on_the_host(ours, there, gpu, monkeypatch):
    let_free(type(there), 2**50, monkeypatch)
    whole = fitted(there, *samples())
    let_free(type(there), 0, monkeypatch)
    pair = (there.asarray(x) if is_its else x for x, is_its in zip(samples(), ours))
    assert_same(fitted(there, *pair), whole)
    assert "copy" in gpu.log


class Stop(nn.Callback):
    def on_batch_end(self, fit):
        if fit.batches_done == 3:
            fit.stop("enough")


def test_no_batch_is_requested_after_the_last_step(backend):
    assert count_batches(backend) == 3


@at_once
def test_no_batch_is_requested_after_the_last_step_of_a_device(there, gpu):
    assert count_batches(there) == 3
    assert gpu.count_held() == 0


def count_batches(backend):
    """Count the batches that are requested of an iterable if training is stopped after three."""
    requested = []

    class Batches:
        def __iter__(self):
            for batch in batches_of(*samples()):
                requested.append(batch)
                yield batch

    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend).build(5)
    model.fit(Batches(), epochs=2, callbacks=[Stop()], progress=False)
    return len(requested)


# All at once, or batch by batch ------------------------------------------------------------------


@pytest.fixture
def model(backend, monkeypatch):
    monkeypatch.setattr(type(backend), "transfer", Backend.transfer)  # there is no such device
    return nn.Model(nn.Dense(50), nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)


@pytest.fixture
def resident(monkeypatch):
    """Collect for each source whether its rows are on the device."""
    collected, original = [], array_source

    def watched(*arguments, **options):
        source = original(*arguments, **options)
        collected.append(source.resident)
        return source

    monkeypatch.setattr("anyback_nn.training.fit.array_source", watched)
    return collected


def needed_bytes(model, batch_size, n_rows=N, n_in=5):
    """Count the bytes of the data, of a batch while it is computed, and of the parameters."""
    each = memory.estimate_sample_bytes(model.build(n_in), training=True)
    counts = [row.parameters for row in model.summary()]
    return (n_rows * (n_in + 2) + 14 * sum(counts)) * 4 + batch_size * each


@pytest.mark.parametrize(("share", "expected"), [(1.01, True), (0.99, False), (0.0, False)])
@pytest.mark.parametrize("validation", [None, 0.2])
def test_all_rows_if_they_fit_in_addition_to_training(
    share, expected, validation, model, resident, monkeypatch
):
    free = int(needed_bytes(model, SIZE) / 0.9 * share)
    let_free(type(model.backend), free, monkeypatch)
    model.fit(*samples(), epochs=1, batch_size=SIZE, validation=validation, progress=False)
    assert resident == [expected] * (1 if validation is None else 2)


@pytest.mark.parametrize("n_bytes", [4, 8])
def test_sizes_are_those_in_the_dtype_of_the_model(n_bytes, backend, monkeypatch, float64):
    dtype = {4: "float32", 8: float64}[n_bytes]
    loss = nn.MeanSquaredError()
    model = nn.Model(nn.Dense(1), loss=loss, backend=backend, dtype=dtype).build(1000)
    x = np.zeros((10_000, 1000), dtype=np.float16)
    for free, expected in ((0.95 * x.size * n_bytes, False), (1.25 * x.size * n_bytes, True)):
        let_free(type(backend), free, monkeypatch)
        assert memory.has_room(model, Samples(x), SIZE) == expected


def test_all_rows_if_free_memory_is_unknown_or_the_memory_is_the_host_s(
    model, resident, monkeypatch
):
    options = {"epochs": 1, "batch_size": SIZE, "validation": samples(5000), "progress": False}
    let_free(type(model.backend), None, monkeypatch)
    model.fit(*samples(), **options)
    let_free(type(model.backend), 0, monkeypatch)
    monkeypatch.setattr(type(model.backend), "has_device_memory", False)
    model.fit(*samples(), **options)
    assert resident == [True] * 4


def test_all_rows_if_they_are_one_batch_or_on_a_device(model, resident, monkeypatch):
    let_free(type(model.backend), 0, monkeypatch)
    for size in N, 2 * N, None:
        model.fit(*samples(), epochs=1, batch_size=size, validation=samples(), progress=False)
    monkeypatch.setattr(memory, "on_host", lambda x: False)
    model.fit(*samples(), epochs=1, batch_size=SIZE, validation=samples(5000), progress=False)
    assert resident == [True] * 8


def test_training_and_validation_are_chosen_for_separately(model, resident, monkeypatch):
    let_free(type(model.backend), 0, monkeypatch)
    for size in SIZE, N:
        model.fit(*samples(), epochs=1, batch_size=size, validation=samples(5000), progress=False)
    assert resident == [False, False, True, False]


def test_estimators_choose_as_models_do(resident, monkeypatch):
    monkeypatch.setattr("anyback_nn.sklearn.validation.rows_at_once", lambda n_features: 2)
    for free in 2**50, 0:
        let_free(type(select("numpy")), free, monkeypatch)
        estimator = MLPClassifier(
            (4,), backend="numpy", batch_size=SIZE, max_iter=2, early_stopping=True, random_state=0
        )
        with pytest.warns(UserWarning, match="Maximum iterations"):
            estimator.fit(*samples())
    assert resident == [True, True, False, False]


def test_numpy_and_cupy_differ_in_having_memory_of_their_own():
    assert not select("numpy").has_device_memory
    assert not Backend.has_device_memory.fget(None)
    with installed():
        assert select("cupy").has_device_memory


@pytest.mark.parametrize(
    ("name", "attribute", "devices"),
    [
        pytest.param(
            *("torch", "type", {"cpu": False, "cuda": True, "mps": False}),
            marks=pytest.mark.needs("torch"),
        ),
        pytest.param(
            *("jax", "platform", {"cpu": False, "gpu": True, "tpu": True}),
            marks=pytest.mark.needs("jax"),
        ),
    ],
)
def test_which_devices_have_memory_of_their_own(name, attribute, devices, monkeypatch):
    kind = load(BACKENDS[name])
    for device, expected in devices.items():
        monkeypatch.setattr(kind, "device", SimpleNamespace(**{attribute: device}))
        assert kind().has_device_memory is expected

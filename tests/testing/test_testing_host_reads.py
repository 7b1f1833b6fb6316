"""The guard finds every read of a value on a device, and training makes none."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import HostReadError, count_host_reads, host_reads, no_host_reads

DEVICE = "array-api-strict:device1"


@pytest.fixture
def x():
    return nn.select(DEVICE).asarray([1.0, 2.0])


READS = {
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "bool": lambda x: bool(x[0] > 0),
    "if": lambda x: 1 if x[0] > 0 else 2,
    "and": lambda x: x[0] > 0 and 1,
    "complex": lambda x: complex(x[0]),
    "index": lambda x: [1, 2, 3][nn.array_namespace(x).argmax(x)],
    "range": lambda x: range(nn.array_namespace(x).argmax(x)),
    "asarray": np.asarray,
    "ufunc": np.exp,
    "function of NumPy": np.sum,
    "operand": lambda x: np.ones(2) * x,
    "DLPack": np.from_dlpack,
    "max": max,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_way_to_read_a_value_is_refused(read, x):
    with no_host_reads(), pytest.raises(HostReadError, match="'device1' was read back to the host"):
        read(x)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_on_the_host_values_may_be_read(read):
    x = nn.select("array-api-strict").asarray([1.0, 2.0])
    results = []
    for guard in (contextlib.nullcontext(), no_host_reads()):
        # array-api-strict itself refuses some of them.
        with guard, contextlib.suppress(TypeError):
            results.append(to_numpy(read(x)))
    assert len(results) != 1
    np.testing.assert_array_equal(*results or (0, 0))


def test_a_guard_holds_in_its_own_thread(x):
    entered, left = threading.Event(), threading.Event()

    def hold():
        with no_host_reads() as reads:
            entered.set()
            assert left.wait(10)
            with pytest.raises(HostReadError):
                float(x[0])
            return reads.count

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(hold)
        assert entered.wait(10)
        with no_host_reads() as reads:
            with pytest.raises(HostReadError):
                float(x[0])
            to_numpy(x)
        assert float(x[0]) == 1.0  # though the other thread is in its guard
        left.set()
        assert (reads.count, future.result()) == (1, 0)


def test_a_guard_may_hold_in_all_threads(x):
    with ThreadPoolExecutor(1) as pool:
        with no_host_reads(all_threads=True) as reads:
            with pytest.raises(HostReadError):
                pool.submit(float, x[0]).result()
            pool.submit(to_numpy, x).result()
            assert reads.count == 0
        assert pool.submit(float, x[0]).result() == 1.0


def test_after_the_last_guard_the_class_is_as_before(x):
    before = dict(vars(type(x)))
    with no_host_reads():
        with no_host_reads(), count_host_reads(nn.select(DEVICE)):
            assert vars(type(x)) != before
        with pytest.raises(HostReadError):
            float(x[0])
    assert vars(type(x)) == before
    assert np.asarray.__name__ == "asarray"
    assert not hasattr(np.asarray, "__wrapped__")


def test_contexts_of_two_threads_may_end_in_the_order_in_which_they_began(x):
    function, first_ended = np.asarray, threading.Event()
    backend = nn.select(DEVICE)

    def count():
        with count_host_reads(backend) as counts:
            assert first_ended.wait(10)
            to_numpy(x)
            return dict(counts)

    with ThreadPoolExecutor(1) as pool:
        with count_host_reads(backend):
            future = pool.submit(count)
            while len(host_reads.LISTENERS[type(x)]) < 2:
                time.sleep(0.001)
        first_ended.set()
        assert future.result() == {"to_device()": 1}
    assert np.asarray is function


@pytest.mark.needs("jax")
def test_numpy_is_seen_whatever_way_it_gets_an_array():
    """It reads from the memory of JAX's CPU, and calls no method of the array."""
    backend = nn.select("jax")
    x = backend.asarray([1.0, 2.0])
    with count_host_reads(backend) as counts:
        np.asarray(x)
        np.array(x, np.float64)
        np.asarray(dtype=np.float64, a=x)
        np.array(object=x)
        np.asarray([1.0]), np.array(object=1.0)
    assert dict(counts) == {"NumPy": 4}


@pytest.mark.parametrize(
    ("name", "by"),
    {
        **{name: f"{name}()" for name in ("float", "int", "bool", "complex", "index")},
        **dict.fromkeys(("if", "and", "max"), "bool()"),
        "range": "index()",
    }.items(),
)
def test_a_read_is_counted_once(name, by, x):
    with count_host_reads(nn.select(DEVICE)) as counts:
        READS[name](x)
    assert dict(counts) == {by: 1}


def test_a_read_is_counted_on_every_backend(backend):
    x = backend.asarray([1.0, 2.0], "float32")
    with count_host_reads(backend) as counts:
        to_numpy(x + 1)
        str(x)
    if backend.name == "numpy":
        assert counts is None
        return
    transfer = "NumPy" if backend.device_name is None else "to_device()"
    transfer = {"cupy": "get()", "dpnp": "asnumpy()"}.get(backend.name, transfer)
    assert dict(counts) == {transfer: 1, "str()": 1}


def test_mathematics_is_not_disturbed(x):
    xp = nn.array_namespace(x)
    with no_host_reads() as reads:
        y = xp.where(x > 1, xp.exp(x), x) @ xp.stack([x, x]) + 0.5
        y = xp.take(y, xp.argsort(y), axis=0)
        assert (y.shape, str(y.dtype)) == ((2,), "array_api_strict.float64")
        repr(y)
    assert reads.count == 0


def test_explicit_transfers_are_counted(x):
    with no_host_reads() as reads:
        to_numpy(x)
        nn.select("array-api-strict:device2").asarray(x)  # from device to device
        assert reads.count == 1
        nn.select("array-api-strict").asarray(x)
        assert reads.count == 2


def test_the_guard_ends(x):
    kind = type(x)
    before = dict(vars(kind))
    with pytest.raises(ZeroDivisionError), no_host_reads(), no_host_reads():
        raise ZeroDivisionError
    assert dict(vars(kind)) == before
    assert float(x[0]) == 1.0


# Training ----------------------------------------------------------------------------------------


class Reads(nn.Callback):
    """Counts the transfers to the host in each epoch and step."""

    def __init__(self, reads):
        self.reads = reads
        self.in_steps, self.in_epochs = [], []

    def on_epoch_begin(self, fit):
        self.epoch = self.reads.count

    def on_batch_begin(self, fit):
        self.step = self.reads.count

    def on_batch_end(self, fit):
        self.in_steps.append(self.reads.count - self.step)

    def on_epoch_end(self, fit):
        self.in_epochs.append(self.reads.count - self.epoch)


@pytest.mark.parametrize(
    ("optimizer", "validation", "masks_on_device"),
    [
        (nn.Adam(0.01, l1=1e-4, l2=1e-3, clip_norm=0.5, clip_value=0.3), 0.25, True),
        (nn.AdamW(nn.CosineDecay(0.01, epochs=3)), None, False),
        (nn.RMSProp(), 0.25, False),
        (nn.Nesterov(0.01), None, True),
        (nn.Adagrad(), 0.25, False),
        (nn.GradientDescent(0.01), None, False),
        (nn.Momentum(0.01), None, False),
    ],
    ids=repr,
)
def test_a_step_reads_nothing_and_an_epoch_once(optimizer, validation, masks_on_device):
    x, y = nn.datasets.make_moons(80, noise=0.1, seed=0)
    model = nn.Model(
        nn.Dense(8),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Residual(nn.Dense(8), nn.LayerNorm(), nn.GELU(), nn.Dense(8)),
        nn.Dense(2),
        loss=nn.SoftmaxCrossEntropy(label_smoothing=0.1),
        backend=nn.select(DEVICE, masks_on_device=masks_on_device),
    )
    with no_host_reads() as reads:
        counting = Reads(reads)
        model.fit(
            x,
            y,
            optimizer=optimizer,
            epochs=3,
            batch_size=16,
            sample_weight=np.linspace(0.5, 1.5, 80),
            validation=validation,
            callbacks=[counting],
        )
    n_batches = 5 if validation is None else 4
    assert counting.in_steps == [0] * (3 * n_batches)
    # One for all losses and metrics of training, one for those of validation.
    assert counting.in_epochs == [1 if validation is None else 2] * 3


@pytest.mark.parametrize("loss", [loss() for loss in nn.LOSSES.values()], ids=repr)
def test_no_loss_reads_a_value(loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.integers(2, size=20)
    head = [nn.Dense(2 if isinstance(loss, nn.SoftmaxCrossEntropy) else 1)]
    head += [nn.Sigmoid()] if isinstance(loss, nn.ProbabilityCrossEntropy) else []
    model = nn.Model(*head, loss=loss, backend=DEVICE)
    with no_host_reads() as reads:
        counting = Reads(reads)
        model.fit(x, y, epochs=2, batch_size=7, callbacks=[counting])
    assert (set(counting.in_steps), counting.in_epochs) == ({0}, [1, 1])

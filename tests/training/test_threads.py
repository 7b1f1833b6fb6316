"""One model in several threads."""

import copy
import functools
import multiprocessing
import os
import pickle
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.training import checkpoint

X, Y = (to_numpy(array) for array in nn.datasets.make_moons(64, seed=0))
OPTIONS = {"epochs": 6, "batch_size": 4, "progress": False}


def create_model(backend):
    layers = nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(2)
    loss = nn.SoftmaxCrossEntropy()
    return nn.Model(*layers, loss=loss, backend=backend, seed=3).build(2)


class Record(nn.Callback):
    """The predictions after each step."""

    def __init__(self, x=X[:3]):
        self.x, self.seen = x, set()

    def on_train_begin(self, fit):
        self.add(fit.model)

    def on_batch_end(self, fit):
        self.add(fit.model)

    def add(self, model):
        self.seen.add(model.predict(self.x).tobytes())


@pytest.mark.parametrize("step_by_step", [True, False])
def test_predictions_during_training_are_those_after_some_step(backend, step_by_step):
    if backend.compiles and not step_by_step:
        pytest.skip("what is compiled as one call may be rounded otherwise")
    record, model, found = Record(), create_model(backend), []
    callbacks = [Record()] if step_by_step else []
    create_model(backend).fit(X, Y, optimizer=nn.Adam(0.1), callbacks=[record], **OPTIONS)
    training = Thread(
        target=model.fit,
        args=(X, Y),
        kwargs={"optimizer": nn.Adam(0.1), "callbacks": callbacks, **OPTIONS},
    )
    training.start()
    while training.is_alive():
        found.append(model.predict(X[:3]).tobytes())
    training.join()
    found.append(model.predict(X[:3]).tobytes())
    assert {*found} <= record.seen


@pytest.mark.skip_backends("jax", reason="an update is called when the step is compiled only")
def test_a_prediction_waits_for_the_end_of_a_step(backend):
    middle, threads, model = Event(), [], create_model(backend)

    class Slow(nn.GradientDescent):
        """Waits in the middle of its first update, until a prediction should have been made."""

        def update(self, *arguments, **options):
            if not threads:
                threads.append(Thread(target=lambda: (model.predict(X), middle.set())))
                threads[0].start()
                assert not middle.wait(0.05)
            return super().update(*arguments, **options)

    model.fit(X, Y, optimizer=Slow(0.1), epochs=1, progress=False)
    threads[0].join()
    assert middle.is_set()


def test_two_threads_do_not_train_one_model(backend):
    model, errors = create_model(backend), []

    class Train(nn.Callback):
        def on_epoch_end(self, fit):
            if not errors:
                thread = Thread(target=self.try_to_train)
                thread.start()
                thread.join()

        def try_to_train(self):
            with pytest.raises(nn.AnybackError, match="being trained in another thread") as caught:
                model.fit(X, Y, **OPTIONS)
            errors.append(caught.value)

    model.fit(X, Y, callbacks=[Train()], **OPTIONS)
    assert len(errors) == 1
    assert len(model.history) == OPTIONS["epochs"]
    model.fit(X, Y, **OPTIONS)  # which is free again, also after an error
    with pytest.raises(nn.DataError):
        model.fit(X, Y + 9, **OPTIONS)
    thread = Thread(target=model.fit, args=(X, Y), kwargs=OPTIONS)
    thread.start()
    thread.join()
    assert len(model.history) == 3 * OPTIONS["epochs"]


def test_several_models_in_threads_are_those_of_one(backend):
    models = [create_model(backend) for _ in range(4)]
    threads = [Thread(target=model.fit, args=(X, Y), kwargs=OPTIONS) for model in models]
    alone = create_model(backend)
    alone.fit(X, Y, **OPTIONS)
    for act in Thread.start, Thread.join:
        for thread in threads:
            act(thread)
    for model in models:
        np.testing.assert_array_equal(model.predict(X), alone.predict(X))


N_THREADS, N_CALLS = 8, int(os.environ.get("THREAD_CALLS", "8"))
"""How many calls each thread makes: ``nox -s stress`` asks for 200."""

ONE_EPOCH = OPTIONS | {"epochs": 1, "batch_size": 16}


def call_from_threads(act):
    """Call a function ``N_CALLS`` times in each of several threads; return all results."""

    def call(thread):
        return [act(thread, number) for number in range(N_CALLS)]

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(call, range(N_THREADS)))


def test_calls_of_separate_models_are_those_of_one_thread(backend):
    def fit_or_predict(models):
        def act(thread, number):
            if number % 2:
                return models[thread].predict(X).tobytes()
            return models[thread].fit(X, Y, **ONE_EPOCH).last["train_loss"]

        return act

    alone, together = (
        # Two architectures, which share what is compiled, and other weights in each.
        [
            nn.Model(
                nn.Dense(4 + seed % 2),
                nn.Dropout(0.2),
                nn.Dense(2),
                backend=backend,
                seed=seed,
                loss=nn.SoftmaxCrossEntropy(),
            )
            for seed in range(N_THREADS)
        ]
        for _ in range(2)
    )
    act = fit_or_predict(alone)
    expected = [[act(thread, i) for i in range(N_CALLS)] for thread in range(N_THREADS)]
    assert call_from_threads(fit_or_predict(together)) == expected


def test_calls_of_one_model_see_whole_steps(backend):
    model, refused = create_model(backend), []

    def fit_or_predict(thread, number):
        if (thread + number) % 4:
            return model.predict(X).tobytes()
        try:
            model.fit(X, Y, **ONE_EPOCH)
        except nn.AnybackError as error:
            refused.append(str(error))
        return None

    results = {bits for calls in call_from_threads(fit_or_predict) for bits in calls} - {None}
    assert all("being trained in another thread" in message for message in refused)
    assert len(model.history) + len(refused) == N_THREADS * N_CALLS // 4
    # On JAX, the steps of an epoch are one call, which a callback for each step would divide.
    record, alone = Record(X), create_model(backend)
    record.add(alone)
    for _ in model.history:
        alone.fit(X, Y, callbacks=[] if backend.compiles else [record], **ONE_EPOCH)
        record.add(alone)
    assert results <= record.seen
    assert model.predict(X).tobytes() == alone.predict(X).tobytes()


def test_copies_have_locks_of_their_own(backend):
    model = create_model(backend)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.lock is not model.lock
        np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_what_is_saved_or_pickled_does_not_change_with_later_steps(backend, tmp_path):
    model = create_model(backend)
    model.fit(X, Y, **OPTIONS)
    expected = model.predict(X).tobytes()
    arrays, settings = checkpoint.collect_contents(model)
    state = model.__getstate__()
    model.fit(X, Y, **OPTIONS)
    checkpoint.write(tmp_path / "m", arrays, settings)
    assert nn.Model.load(tmp_path / "m", backend).predict(X).tobytes() == expected
    other = copy.deepcopy(model)
    other.__setstate__(state)
    assert other.predict(X).tobytes() == expected


def test_batches_may_come_from_a_thread_that_uses_the_model(backend):
    """The lock is not held while somebody else's code makes a batch."""
    model = create_model(backend)

    def batches():
        for rows in (slice(0, 30), slice(30, 64)):
            thread = Thread(target=model.predict, args=(X,))
            thread.start()
            thread.join()
            yield X[rows], Y[rows]

    assert model.evaluate(batches()) == pytest.approx(model.evaluate(X, Y), rel=1e-5)


def fork(act):
    """Return the exit status of a forked process that calls a function: 0, if it returned."""
    child = os.fork()
    if not child:
        signal.alarm(20)  # a process that hangs is ended
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),  # of JAX
]


def all_of(marks):
    return lambda function: functools.reduce(lambda test, mark: mark(test), marks, function)


@all_of(forks)
def test_a_process_that_is_forked_in_the_middle_of_a_step_can_predict():
    model, held, go_on = create_model("numpy"), Event(), Event()

    def hold():
        with model.lock:
            held.set()
            go_on.wait()

    thread = Thread(target=hold)
    thread.start()
    held.wait()
    assert fork(lambda: model.predict(X)) == 0
    go_on.set()
    thread.join()


@all_of(forks)
def test_a_forked_process_computes_or_says_why_not(backend):
    """Libraries with threads of their own would wait for ever."""
    model = create_model(backend)
    model.fit(X, Y, **OPTIONS)
    state, expected = pickle.dumps(model), model.predict(X)

    def compute():
        if backend.name not in ("jax", "dpnp"):
            warnings.simplefilter("ignore")  # that PyTorch has one thread
            np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)
            model.fit(X, Y, **OPTIONS)
            return
        for use in (
            lambda: model.predict(X),
            lambda: model.fit(X, Y, **OPTIONS),
            lambda: backend.asarray(X),
            lambda: nn.select(backend.devices()[0]),
        ):
            with pytest.raises(nn.BackendUnavailableError, match="forked .* 'spawn'"):
                use()
        with pytest.warns(UserWarning, match="on NumPy from now on, because: .*forked"):
            other = pickle.loads(state)
        np.testing.assert_allclose(other.predict(X), expected, rtol=1e-5)

    assert fork(compute) == 0


@all_of(forks)
@pytest.mark.needs("torch")
def test_pytorch_has_one_thread_in_a_forked_process():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    model = create_model("torch")
    x = np.zeros((4096, 2), dtype="float32")
    model.predict(x)  # large enough for several threads

    def compute():
        with pytest.warns(RuntimeWarning, match="one thread in this process"):
            model.predict(x)
        assert torch.get_num_threads() == 1
        assert fork(lambda: model.predict(x)) == 0

    assert fork(compute) == 0
    torch.set_num_threads(before)


def test_a_spawned_process_computes(backend):
    model = create_model(backend)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        actual = pool.submit(model.predict, X).result()
    np.testing.assert_allclose(actual, model.predict(X), rtol=1e-5)

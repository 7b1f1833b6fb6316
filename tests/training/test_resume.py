"""Checkpoints: when they are written, what they hold, and training that resumes from them."""

import contextlib
import copy
import json
import os
import pickle
import resource
import signal
import threading
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors import safe_open

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.training import checkpoint
from anyback_nn.training.resume import list_files
from anyback_nn.tree import tree_named_leaves

X, Y = (to_numpy(array) for array in nn.datasets.make_moons(60, noise=0.1, seed=0))
FIT = {"epochs": 4, "batch_size": 7, "validation": 0.2, "progress": False}


def create_model(backend, **options):
    options = {"seed": 3, **options}
    layers = nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(2)
    return nn.Model(*layers, loss="softmax_cross_entropy", backend=backend, **options)


def fit(model, *callbacks, **options):
    callbacks = [nn.EarlyStopping(2), *callbacks]
    optimizer = nn.Adam(nn.CosineDecay(0.02, 4), clip_norm=1.0)
    return model.fit(X, Y, **{**FIT, "optimizer": optimizer, "callbacks": callbacks, **options})


def read_params(model):
    return {name: to_numpy(array) for name, array in tree_named_leaves(model.params).items()}


def assert_same(model, expected):
    for name, array in read_params(expected).items():
        np.testing.assert_array_equal(read_params(model)[name], array, err_msg=name)
    rows, others = (
        [{name: x for name, x in row.items() if name != "seconds"} for row in trained.history]
        for trained in (model, expected)
    )
    assert rows == others


class Died(Exception):
    pass


class Die(nn.Callback):
    """End training after a number of calls of ``on_batch_end``."""

    def __init__(self, after, every_batch=True):
        self.left, self.every_batch = after, every_batch

    def on_batch_end(self, fit):
        self.left -= 1
        if self.left == 0:
            raise Died


@pytest.fixture(scope="module")
def whole():
    """Models that were trained without a break, by backend."""
    return {}


def train_whole(whole, backend, **options):
    key = backend.spec, *options.items()
    if key not in whole:
        whole[key] = create_model(backend, **options)
        fit(whole[key])
    return whole[key]


@pytest.mark.parametrize("after", [1, 2, 7, 8, 20, 27])
def test_a_run_resumes_from_any_step(backend, tmp_path, whole, after):
    with pytest.raises(Died):
        fit(create_model(backend), nn.Checkpoint(tmp_path, every="1 step"), Die(after))
    # A checkpoint that would have been written after this step was not.
    (latest, *_) = list_files(tmp_path) or [None]
    model = create_model(backend)
    fit(model, nn.Checkpoint(tmp_path, every="1 step"), resume=True)
    assert (latest is None) == (after == 1)
    expected = train_whole(whole, backend)
    if backend.compiles:  # many steps in one call may be rounded otherwise
        for name, array in read_params(expected).items():
            np.testing.assert_allclose(read_params(model)[name], array, rtol=1e-4, atol=1e-5)
    else:
        assert_same(model, expected)


def test_steps_that_are_taken_together_resume_too(backend, tmp_path, whole):
    callbacks = nn.Checkpoint(tmp_path, every="0.000001 seconds"), Die(2, every_batch=False)
    with pytest.raises(Died):
        fit(create_model(backend), *callbacks, batch_size=2)
    model = create_model(backend)
    fit(model, resume=tmp_path, batch_size=2)
    expected = create_model(backend)
    fit(expected, batch_size=2)
    assert_same(model, expected)


def test_a_run_resumes_on_another_backend(backend, tmp_path, whole):
    options = {"dtype": "float64"}
    numpy = nn.select("numpy")
    expected = train_whole(whole, numpy, **options)
    with pytest.raises(Died):
        fit(create_model(numpy, **options), nn.Checkpoint(tmp_path, every="5 steps"), Die(13))
    try:
        model = create_model(backend, **options)
    except ValueError:
        pytest.skip("the backend has no float64")
    fit(model, resume=tmp_path)
    for name, array in read_params(expected).items():
        np.testing.assert_allclose(read_params(model)[name], array, rtol=1e-6, atol=1e-9)


def test_a_second_fit_resumes_where_it_was(tmp_path):
    def train(model, *callbacks, **options):
        model.fit(X, Y, epochs=2, optimizer=nn.Momentum(0.1), progress=False)
        model.fit(X, Y, epochs=3, optimizer=nn.Adam(0.1), callbacks=callbacks, **options)

    expected, model = create_model("numpy"), create_model("numpy")
    train(expected)
    with pytest.raises(Died):
        train(create_model("numpy"), nn.Checkpoint(tmp_path, every="1 step"), Die(3))
    model.fit(X, Y, epochs=3, resume=tmp_path, progress=False)  # with the optimiser of then
    assert_same(model, expected)


class Shuffled:
    """An iterable of batches that are a function of the epoch."""

    def __init__(self, backend):
        self.backend = backend

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number):
        order = np.random.default_rng(number).permutation(len(X))
        for start in range(0, len(X), 9):
            yield X[order[start : start + 9]], Y[order[start : start + 9]]


def test_iterables_of_batches_resume(backend, tmp_path):
    def train(model, *callbacks, **options):
        callbacks = [*callbacks, Die(999)]
        model.fit(Shuffled(backend), epochs=3, callbacks=callbacks, progress=False, **options)

    expected, model = create_model(backend), create_model(backend)
    train(expected)
    with pytest.raises(Died):
        train(create_model(backend), nn.Checkpoint(tmp_path, every="1 step"), Die(12))
    train(model, resume=tmp_path)
    assert_same(model, expected)


def test_mixed_precision_resumes_with_its_scale(tmp_path):
    def create():
        return create_model("numpy", compute_dtype="float16")

    expected, model = create(), create()
    fit(expected)
    with pytest.raises(Died):
        fit(create(), nn.Checkpoint(tmp_path, every="1 step"), Die(9))
    fit(model, resume=tmp_path)
    assert_same(model, expected)


def test_a_run_that_had_ended_is_not_trained_again(tmp_path):
    model, again = create_model("numpy"), create_model("numpy")
    fit(model, nn.Checkpoint(tmp_path, every="1 epoch"))
    fit(again, nn.Checkpoint(tmp_path, every="1 epoch"), resume=True)
    assert_same(again, model)


def test_a_run_may_end_later(tmp_path, whole):
    model = create_model("numpy")
    fit(create_model("numpy"), nn.Checkpoint(tmp_path), epochs=2)
    fit(model, nn.Checkpoint(tmp_path), resume=True)
    assert_same(model, train_whole(whole, nn.select("numpy")))


# When and which ----------------------------------------------------------------------------------


def list_names(folder):
    return [path.stem for path in list_files(folder)][::-1]


def test_the_latest_and_the_best_are_kept(tmp_path):
    values = iter([5.0, 1.0, 3.0, 2.0, 4.0, 6.0])

    class Judge(nn.Callback):
        def on_epoch_end(self, fit):
            fit.history.last["validation_loss"] = next(values)

    checkpoints = nn.Checkpoint(tmp_path, every=1, keep=2)
    create_model("numpy").fit(X, Y, epochs=6, callbacks=[checkpoints, Judge()], progress=False)
    assert list_names(tmp_path) == ["epoch-00002", "epoch-00005", "epoch-00006"]
    # The best is known after resuming, too.
    values = iter([7.0])
    checkpoints = nn.Checkpoint(tmp_path, every=1, keep=1)
    options = {"callbacks": [Judge(), checkpoints], "progress": False, "resume": True}
    create_model("numpy").fit(X, Y, epochs=7, **options)
    assert list_names(tmp_path) == ["epoch-00002", "epoch-00007"]


@pytest.mark.parametrize(
    ("every", "names"),
    [
        ("2 epochs", ["epoch-00002", "epoch-00004", "epoch-00005"]),
        ("5 steps", ["epoch-00001-batch-0000002", "epoch-00003-batch-0000001", "epoch-00005"]),
        (None, ["epoch-00005"]),
    ],
)
def test_intervals(tmp_path, every, names):
    checkpoints = nn.Checkpoint(tmp_path, every=every, keep=99)
    options = {"epochs": 5, "batch_size": 20, "callbacks": [checkpoints], "progress": False}
    create_model("numpy").fit(X, Y, **options)
    assert list_names(tmp_path)[-len(names) :] == names


def test_seconds_do_not_depend_on_the_time_of_day(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.time", lambda: -1e9)
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Wait(nn.Callback):
        def on_epoch_end(self, fit):
            now[0] += 20.0

    options = {"epochs": 5, "progress": False}
    checkpoints = nn.Checkpoint(tmp_path, keep=9)
    create_model("numpy").fit(X, Y, callbacks=[Wait(), checkpoints], **options)
    assert list_names(tmp_path) == ["epoch-00002", "epoch-00004", "epoch-00005"]


@pytest.mark.parametrize("every", ["0", "-1 steps", "1.5 epochs", "soon", "3 weeks", ""])
def test_an_interval_that_cannot_be(every):
    with pytest.raises(ValueError, match="every: expected a number above 0"):
        nn.Checkpoint("folder", every=every)


def test_many_checkpoints_leave_nothing_behind(tmp_path):
    """2,000 of them when they were measured; fewer here."""
    checkpoints = nn.Checkpoint(tmp_path, every="1 step")
    model = create_model("numpy")
    options = {"batch_size": 6, "callbacks": [checkpoints], "progress": False}
    model.fit(X, Y, epochs=5, **options)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    model.fit(X, Y, epochs=20, **options)
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert len(os.listdir(tmp_path)) <= 3
    assert after <= before
    assert len(checkpoints._values) <= 3


# Signals -----------------------------------------------------------------------------------------


class Signal(nn.Callback):
    def __init__(self, number, batch, times=1):
        self.number, self.batch, self.times = number, batch, times

    def on_batch_begin(self, fit):
        if fit.model.training.step == self.batch:
            for _ in range(self.times):
                signal.raise_signal(self.number)


@pytest.fixture
def default_signals():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("batch", [0, 6, 7])
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_ends_training_with_a_checkpoint(
    default_signals, tmp_path, whole, batch, number, error
):
    with pytest.raises(error) as caught:
        fit(create_model("numpy"), Signal(number, batch), nn.Checkpoint(tmp_path))
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    else:
        assert f"resume={str(tmp_path)!r}" in str(caught.value)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is default_signals[signal.SIGTERM]
    model = create_model("numpy")
    fit(model, resume=tmp_path)
    assert_same(model, train_whole(whole, nn.select("numpy")))


def test_a_second_signal_does_not_wait(default_signals, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(create_model("numpy"), Signal(signal.SIGINT, 3, times=2), nn.Checkpoint(tmp_path))
    assert list_names(tmp_path) == []


def test_checkpoints_in_a_thread(tmp_path, whole):
    """It receives no signals."""
    model = create_model("numpy")
    thread = threading.Thread(target=fit, args=(model, nn.Checkpoint(tmp_path)))
    thread.start()
    thread.join()
    assert list_names(tmp_path) == ["epoch-00004"]


# Faults ------------------------------------------------------------------------------------------


def test_an_error_keeps_the_finished_epochs(tmp_path):
    with pytest.raises(Died):
        fit(create_model("numpy"), nn.Checkpoint(tmp_path, every="9 epochs"), Die(17))
    assert list_names(tmp_path) == ["epoch-00002"]


@pytest.fixture
def small(tmp_path):
    """Two small checkpoints, of one epoch and of two."""

    def create():
        return nn.Model(nn.Dense(1), loss="mean_squared_error", backend="numpy")

    def train(*callbacks, **options):
        model, options = create(), {"epochs": 2, "progress": False, **options}
        model.fit(X[:8], Y[:8].astype("float32"), callbacks=callbacks, **options)
        return model

    train(nn.Checkpoint(tmp_path, every=1))
    return train


def test_a_checkpoint_that_is_cut_short_at_any_byte(small, tmp_path):
    latest, _ = list_files(tmp_path)
    content = latest.read_bytes()
    assert len(content) < 5000
    for size in range(len(content)):
        latest.write_bytes(content[:size])
        with pytest.raises(nn.CheckpointError):
            nn.Model.load(latest)
    with pytest.warns(UserWarning, match=rf"{latest.name}.*The checkpoint before"):
        small(resume=tmp_path)


def test_a_flipped_bit_in_any_byte(small, tmp_path):
    latest, before = list_files(tmp_path)
    content = bytearray(latest.read_bytes())
    _, settings = checkpoint.read(latest)
    n_read = 0
    for place in range(len(content)):
        content[place] ^= 1 << place % 8
        latest.write_bytes(content)
        # A number may be written otherwise, such as 1E-08, and be the same.
        with contextlib.suppress(nn.CheckpointError):
            assert checkpoint.read(latest)[1] == settings
            n_read += 1
        content[place] ^= 1 << place % 8
    assert n_read < 5
    before.write_bytes(b"")
    latest.write_bytes(content[:-1])
    with pytest.raises(nn.CheckpointError, match=rf"{latest.name}.*{before.name}"):
        small(resume=tmp_path)


def test_a_damaged_one_is_replaced_when_training_goes_on(small, tmp_path):
    latest, _ = list_files(tmp_path)
    latest.write_bytes(b"")
    with pytest.warns(UserWarning, match="The checkpoint before"):
        model = small(nn.Checkpoint(tmp_path, every=1), resume=True)
    assert list_files(tmp_path)[0] == latest
    assert len(nn.Model.load(latest).history) == len(model.history) == 2


def test_training_goes_on_if_no_checkpoint_can_be_written(tmp_path, whole):
    """Its folder is removed and its name is taken by a file."""
    folder = tmp_path / "checkpoints"

    class Remove(nn.Callback):
        def on_epoch_begin(self, fit):
            if fit.epochs_done == 2:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
                folder.write_text("mine")
            elif fit.epochs_done == 3:
                folder.unlink()

    model = create_model("numpy")
    with pytest.warns(UserWarning, match="no checkpoint was written: .*checkpoints"):
        fit(model, Remove(), nn.Checkpoint(folder, every=1))
    assert_same(model, train_whole(whole, nn.select("numpy")))
    assert list_names(folder) == ["epoch-00004"]


def test_a_file_system_that_is_full(tmp_path, whole):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    model = create_model("numpy")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.warns(UserWarning, match="no checkpoint was written: .* too large"):
            fit(model, nn.Checkpoint(tmp_path, every=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert_same(model, train_whole(whole, nn.select("numpy")))
    assert list(tmp_path.iterdir()) == []


def test_no_checkpoint_has_parameters_that_are_not_finite(tmp_path):
    """An epoch that diverges is found at its end, and checkpoints are written before."""
    model = nn.Model(nn.Dense(1), loss="mean_squared_error", backend="numpy")
    targets, optimizer = Y.astype("float32"), nn.GradientDescent(1e20)
    options = {"batch_size": 4, "progress": False}
    model.fit(X, targets, epochs=2, **options)
    before = read_params(model)
    writer = nn.Checkpoint(tmp_path, every="1 step", keep=99)
    with np.errstate(all="ignore"), pytest.raises(nn.DivergenceError):
        model.fit(X, targets, optimizer=optimizer, callbacks=[writer], **options)
    for path in list_files(tmp_path):
        assert all(
            np.all(np.isfinite(array)) for array in read_params(nn.Model.load(path)).values()
        )
    for name, array in before.items():
        np.testing.assert_array_equal(read_params(model)[name], array)


def test_checkpoints_of_an_attempt_that_was_rolled_back_are_removed(tmp_path):
    model = nn.Model(nn.Dense(4), nn.Dense(1), loss="mean_squared_error", backend="numpy")
    writer = nn.Checkpoint(tmp_path, every="2 steps", keep=99)
    options = {"epochs": 4, "batch_size": 8, "progress": False, "on_divergence": "rollback"}
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match="tried again"):
        model.fit(
            *(X, Y * 2.0 - 1.0), optimizer=nn.GradientDescent(20.0), callbacks=[writer], **options
        )
    rate = model.training.optimizer.learning_rate
    for path in list_files(tmp_path):
        assert nn.Model.load(path).training.optimizer.learning_rate == rate


class Poison(nn.Callback):
    """The first attempt of the third epoch diverges in its last step."""

    def __init__(self, then=None):
        self.then = then

    def on_batch_end(self, fit):
        if fit.epoch == 2 and fit.batches_done == 8 and not fit.rollbacks:
            params = fit.model.training.params
            fit.model.training.params = tuple(array * np.float32(np.inf) for array in params)
        if fit.rollbacks and fit.batches_done == 1 and self.then is not None:
            raise self.then


@pytest.mark.parametrize("on_divergence", ["rollback", "stop"])
def test_the_finished_epochs_have_a_checkpoint_when_an_epoch_diverged(tmp_path, on_divergence):
    """Also if those within the epoch had taken the place of the one at its beginning."""
    model = nn.Model(nn.Dense(1), loss="mean_squared_error", backend="numpy")
    poison = Poison(then=Died if on_divergence == "rollback" else None)
    callbacks = [poison, nn.Checkpoint(tmp_path, every="1 step", keep=1, monitor="none_loss")]
    options = {"epochs": 4, "batch_size": 8, "progress": False, "on_divergence": on_divergence}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((Died, nn.DivergenceError)):
            model.fit(X, Y.astype("float32"), callbacks=callbacks, **options)
    assert list_names(tmp_path)[0] == "epoch-00002"
    assert len(nn.Model.load(list_files(tmp_path)[-1]).history) == 2


def test_the_same_call_again_after_an_interruption(tmp_path, whole):
    model = create_model("numpy")
    with pytest.raises(Died):
        fit(model, nn.Checkpoint(tmp_path, every="1 step"), Die(17))
    fit(model, nn.Checkpoint(tmp_path, every="1 step"), resume=True)
    assert_same(model, train_whole(whole, nn.select("numpy")))
    with pytest.raises(nn.CheckpointError, match="a folder of checkpoints for each call of fit"):
        fit(model, nn.Checkpoint(tmp_path), resume=True)


def test_a_resume_that_a_callback_refuses_leaves_the_model_as_it_was(tmp_path):
    class Refuse(nn.Callback):
        def on_train_begin(self, context):
            raise Died

    with pytest.raises(Died):
        fit(create_model("numpy"), nn.Checkpoint(tmp_path, every="1 step"), Die(17))
    model = create_model("numpy")
    fit(model, epochs=1)
    before, model.encoding = read_params(model), {"mine": 1}
    with pytest.raises(Died):
        fit(model, Refuse(), resume=tmp_path)
    assert (len(model.history), model.encoding) == (1, {"mine": 1})
    for name, array in before.items():
        np.testing.assert_array_equal(read_params(model)[name], array)


def test_a_folder_that_can_no_longer_be_written_to_loses_nothing(tmp_path, whole, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    class Lock(nn.Callback):
        def on_epoch_end(self, context):
            monkeypatch.setattr("pathlib.Path.unlink", refuse)

    model = create_model("numpy")
    fit(model, Lock(), nn.Checkpoint(tmp_path))
    assert_same(model, train_whole(whole, nn.select("numpy")))


def test_the_state_of_a_layer_may_be_infinite(tmp_path):
    @dataclass(frozen=True)
    class Highest(nn.Layer):
        def init_state(self, n_in, draws):
            return {"highest": draws.full((n_in,), -np.inf)}

        def forward(self, params, x, context=nn.PREDICTION):
            return x, None

        def backward(self, params, cache, dy):
            return dy, {}

    model = nn.Model(Highest(), nn.Dense(2), loss="softmax_cross_entropy", backend="numpy")
    fit(model, nn.Checkpoint(tmp_path))
    assert list_names(tmp_path) == ["epoch-00004"]


@pytest.mark.parametrize("schedule", [None, "constant"])
def test_a_second_fit_that_fails_keeps_the_state_of_the_optimizer(backend, schedule):
    model, expected = create_model(backend), create_model(backend)
    options = {
        "optimizer": nn.Adam(0.01),
        "batch_size": 7,
        "progress": False,
        "schedule": schedule,
    }
    for trained in (model, expected):
        trained.fit(X, Y, epochs=2, **options)
    with pytest.raises(Died):
        model.fit(X, Y, epochs=2, callbacks=[Die(3)], **options)
    for trained in (model, expected):
        trained.fit(X, Y, epochs=1, **{**options, "schedule": None})
    assert_same(model, expected)


def test_statistics_that_overflow_are_a_divergence():
    model = nn.Model(nn.BatchNorm(), nn.Dense(1), loss="mean_squared_error", backend="numpy")
    x = X * [1.0, 1e30]
    with np.errstate(all="ignore"), pytest.raises(nn.DivergenceError):
        model.fit(x, Y.astype("float32"), epochs=1, progress=False)


def test_a_newer_format_is_not_passed_over(small, tmp_path):
    from test_checkpoint import change_settings

    latest, _ = list_files(tmp_path)
    change_settings(latest, lambda settings: settings.update(version=99))
    with pytest.raises(nn.CheckpointError, match="format version 99"):
        small(resume=tmp_path)
    assert latest.exists()


def test_files_of_the_user_stay(small, tmp_path):
    (tmp_path / "epoch-5.safetensors").write_text("mine")
    (tmp_path / "best.safetensors").write_text("mine")
    small(nn.Checkpoint(tmp_path, every=1, keep=1), epochs=9, resume=True)
    assert (tmp_path / "epoch-5.safetensors").read_text() == "mine"
    assert (tmp_path / "best.safetensors").read_text() == "mine"


def test_a_callback_object_writes_for_one_model(tmp_path):
    writer = nn.Checkpoint(tmp_path, every=1)
    model = create_model("numpy")
    fit(model, writer)
    fit(model, writer, optimizer=nn.Adam(0.01))
    for other in (writer, copy.deepcopy(writer), pickle.loads(pickle.dumps(writer))):
        with pytest.raises(nn.CheckpointError, match="of another run"):
            fit(create_model("numpy"), other)


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    class Second(nn.Callback):
        def on_epoch_begin(self, context):
            if context.epoch == 1:
                with pytest.raises(nn.CheckpointError, match="another process or thread writes"):
                    fit(create_model("numpy"), nn.Checkpoint(tmp_path))

    fit(create_model("numpy"), Second(), nn.Checkpoint(tmp_path))
    assert list_names(tmp_path) == ["epoch-00004"]
    assert len([*tmp_path.iterdir()]) == 1


def test_two_calls_of_fit_need_two_folders(tmp_path):
    def train():
        model = create_model("numpy")
        for number in range(2):
            writer = nn.Checkpoint(tmp_path / str(number))
            fit(model, writer, resume=True, epochs=2)
        return model

    assert_same(train(), train())
    model = create_model("numpy")
    fit(model, epochs=2)
    with pytest.raises(nn.CheckpointError, match="a folder of checkpoints for each call of fit"):
        fit(model, nn.Checkpoint(tmp_path / "0"), resume=True, epochs=2)


def test_a_stop_counts_only_if_its_callback_says_so_again(tmp_path):
    class Clock(nn.Callback):
        def on_epoch_end(self, fit):
            fit.stop("time is up")

    writer = nn.Checkpoint(tmp_path, every=1)
    create_model("numpy").fit(X, Y, epochs=4, callbacks=[Clock(), writer], progress=False)
    model, expected = create_model("numpy"), create_model("numpy")
    model.fit(X, Y, epochs=4, resume=tmp_path, progress=False)
    expected.fit(X, Y, epochs=4, progress=False)
    assert_same(model, expected)


def test_a_layer_that_cannot_be_saved_is_refused_before_training(tmp_path):
    class Plain(nn.Layer):
        def forward(self, params, x, context=nn.PREDICTION):
            return x, None

        def backward(self, params, cache, dy):
            return dy, {}

    model = nn.Model(Plain(), nn.Dense(2), loss="softmax_cross_entropy", backend="numpy")
    with pytest.raises(nn.CheckpointError, match="Put @dataclass"):
        fit(model, nn.Checkpoint(tmp_path), Die(1))


# What is refused ---------------------------------------------------------------------------------


@pytest.fixture
def interrupted(tmp_path):
    with pytest.raises(Died):
        fit(create_model("numpy"), nn.Checkpoint(tmp_path, every="5 steps"), Die(8))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 8}, "n_batches is 7 in the checkpoint, and 6 here"),
        ({"batch_size": None}, "batch"),
        ({"shuffle": False}, "shuffle is True in the checkpoint, and False here"),
        ({"validation": 0.3}, "the data are not those"),
        ({"validation": None}, "the data are not those"),
        ({"validation": (X, Y)}, "the data are not those"),
        ({"optimizer": nn.Adam(0.3)}, r"optimizer.learning_rate"),
        ({"callbacks": []}, "it has the state of the callback EarlyStopping: expected the same"),
    ],
)
def test_other_arguments(interrupted, options, message):
    model = create_model("numpy")
    with pytest.raises(nn.CheckpointError, match=message):
        fit(model, resume=interrupted, **options)
    if options.get("callbacks") != []:  # found when training has been resumed
        with pytest.raises(nn.AnybackError, match="no parameters yet"):
            model.predict(X)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([nn.Dense(9), nn.Dense(2)], {}, "network.layers is 5 layers in the .*, and 2 layers here"),
        (
            [nn.Dense(9), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(2)],
            {},
            r"network.layers\[0\].n_out is 8 in the checkpoint, and 9 here",
        ),
        (None, {"seed": 4}, "seed is 3 in the checkpoint, and 4 here"),
        (None, {"dtype": "float64"}, "dtype is float32 in the checkpoint, and float64 here"),
        (None, {"metrics": []}, "metrics|progress"),
    ],
)
def test_another_network(interrupted, layers, options, message):
    model = create_model("numpy", **options)
    if layers is not None:
        model = nn.Model(*layers, loss="softmax_cross_entropy", backend="numpy", seed=3)
    with pytest.raises(nn.CheckpointError, match=message):
        fit(model, resume=interrupted)


@pytest.mark.parametrize("change", [lambda x, y: (x * 2.0, y), lambda x, y: (x, 1 - y)])
def test_other_data(interrupted, change):
    x, y = change(X, Y)
    with pytest.raises(nn.CheckpointError, match="the data are not those"):
        create_model("numpy").fit(
            *(x, y), **FIT, callbacks=[nn.EarlyStopping(2)], resume=interrupted
        )


def test_a_model_that_was_trained_stays_as_it_was(interrupted):
    model = create_model("numpy")
    fit(model)
    before = read_params(model)
    with pytest.raises(nn.CheckpointError):
        fit(model, resume=interrupted, shuffle=False)
    for name, array in before.items():
        np.testing.assert_array_equal(read_params(model)[name], array)
    assert len(model.history) == 4


def test_where_there_is_no_checkpoint(tmp_path):
    model = create_model("numpy")
    with pytest.raises(nn.CheckpointError, match="there is no checkpoint"):
        fit(model, resume=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="resume=True needs a folder"):
        fit(model, resume=True)
    with pytest.raises(TypeError, match="resume: expected True, or a path, got 3"):
        fit(model, resume=3)
    fit(model)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(nn.CheckpointError, match="it is a model, not a checkpoint"):
        fit(model, resume=tmp_path / "model.safetensors")


def test_a_folder_with_the_checkpoints_of_another_run(interrupted):
    files = {path: path.read_bytes() for path in interrupted.iterdir()}
    with pytest.raises(nn.CheckpointError, match="holds the checkpoints of another run"):
        fit(create_model("numpy"), nn.Checkpoint(interrupted))
    assert {path: path.read_bytes() for path in interrupted.iterdir()} == files
    with pytest.raises(ValueError, match="one Checkpoint at most"):
        fit(create_model("numpy"), nn.Checkpoint("a"), nn.Checkpoint("b"))


@pytest.mark.parametrize(
    "change",
    [
        {"epochs_done": -1},
        {"epochs_done": "1"},
        {"batches": 10**30},
        {"batches": 4},
        {"seconds": None},
        {"stop_reason": 3},
        {"arguments": []},
        {"callbacks": [{"kind": "EarlyStopping", "state": {"best_epoch": "x", "best": []}}]},
        {"callbacks": [{"kind": "EarlyStopping"}]},
        {"callbacks": 3},
    ],
)
def test_progress_that_does_not_fit(interrupted, change):
    from test_checkpoint import change_settings

    for path in interrupted.iterdir():
        change_settings(path, lambda settings: settings["fit"].update(change))
    with pytest.raises(nn.CheckpointError):
        fit(create_model("numpy"), resume=interrupted)


def test_what_a_checkpoint_holds(interrupted):
    (path,) = interrupted.glob("*batch*")
    with safe_open(path, framework="numpy") as file:
        names, settings = set(file.keys()), json.loads(file.metadata()["anyback_nn"])
    assert {"parameters.0.weight", "state.1.mean", "fit.reports"} <= names
    assert settings["fit"]["batches"] == 5
    assert settings["fit"]["arguments"]["batch_size"] == 7
    assert nn.Model.load(path).training.step == 5

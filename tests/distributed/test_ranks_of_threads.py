"""Ranks, which are threads here, compute what one process does, on every backend."""

from threading import BrokenBarrierError

import numpy as np
import pytest
from rank_threads import compute_together

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.errors import AnybackError
from anyback_nn.sklearn import MLPClassifier
from anyback_nn.testing import collect_programs
from anyback_nn.training.step import build_halves
from anyback_nn.tree import tree_map, tree_named_leaves

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
each_size = pytest.mark.parametrize("size", [2, 3, 4])


def assert_close(ours, expected, dtype):
    """Compare two trees of arrays, relative to the largest element of each array."""
    ours, expected = tree_named_leaves(ours), tree_named_leaves(expected)
    assert ours.keys() == expected.keys()
    for name, array in expected.items():
        array = to_numpy(array)
        atol = TOLERANCE[dtype] * np.max(np.abs(array))
        np.testing.assert_allclose(to_numpy(ours[name]), array, rtol=0, atol=atol, err_msg=name)


# Parts of a step ---------------------------------------------------------------------------------


@each_size
@pytest.mark.parametrize("n_rows", [2, 7])
def test_the_mean_of_a_batch(size, n_rows, backend, dtype):
    x = np.random.default_rng(0).normal(size=(n_rows, 3))

    def average(ranks):
        with backend.scope(dtype):  # of JAX, each thread has one
            rows = backend.asarray(x[ranks.share(n_rows)], dtype)
            return nn.batch_mean(rows, nn.Batch(float(n_rows), ranks.add))

    for mean in compute_together(size, average):
        assert backend.owns(mean)
        assert_close((mean,), (x.mean(axis=0, keepdims=True),), dtype)
    whole = nn.batch_mean(backend.asarray(x, dtype))
    assert_close((whole,), (x.mean(axis=0, keepdims=True),), dtype)


@each_size
@pytest.mark.parametrize("n_rows", [1, 2, 9])
def test_batch_norm_has_the_statistics_of_the_whole_batch(size, n_rows, backend, dtype):
    """Rows of ``y`` and ``dx`` are those of the whole; the gradients of parameters add up."""
    rng, layer = np.random.default_rng(n_rows), nn.BatchNorm(epsilon=0.1)
    x, dy = rng.normal(size=(2, n_rows, 3))
    arrays = rng.normal(size=(4, 3))
    trees = (
        {"scale": arrays[0], "shift": arrays[1]},
        {"mean": arrays[2], "variance": arrays[3] ** 2},
    )

    def compute(rows, batch=None):
        params, state = tree_map(lambda array: backend.asarray(array, dtype), trees)
        own = backend.asarray(x[rows], dtype)
        y, cache = layer.forward(params, own, nn.Context(True, state, None, batch))
        dx, grads = layer.backward(params, cache, backend.asarray(dy[rows], dtype))
        return (y, dx), grads, layer.next_state(state, cache)

    def take_part(ranks):
        own = ranks.share(n_rows)
        with backend.scope(dtype):
            return own, *compute(own, nn.Batch(float(n_rows), ranks.add))

    (y, dx), grads, state = tree_map(to_numpy, compute(slice(None)))
    parts = compute_together(size, take_part)
    for own, rows, _, next_state in parts:
        assert_close(next_state, state, dtype)
        for ours, whole in zip(rows, (y, dx)):
            atol = TOLERANCE[dtype] * np.max(np.abs(whole))
            np.testing.assert_allclose(to_numpy(ours), whole[own], rtol=0, atol=atol)
    for name, whole in grads.items():
        total = sum(to_numpy(part[2][name]) for part in parts)
        assert_close({name: total}, {name: whole}, dtype)


# Training ----------------------------------------------------------------------------------------


def train(backend, dtype, ranks):
    """Train twenty steps, of which four have two rows, with all that is of the whole batch."""
    rng = np.random.default_rng(1)
    x, y, weights = rng.normal(size=(66, 5)), rng.integers(3, size=66), rng.uniform(size=66)
    layers = (nn.Dense(7), nn.ReLU(), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3))
    loss = nn.SoftmaxCrossEntropy()
    model = nn.Model(*layers, loss=loss, backend=backend, dtype=dtype, seed=3)
    model.fit(
        *(x, y),
        sample_weight=weights,
        validation=(x[:9], y[:9]),
        optimizer=nn.Momentum(0.05, l2=0.01, clip_norm=1.0),  # half of the steps
        batch_size=16,
        epochs=4,
        distributed=ranks,
    )
    history = {name: np.asarray(model.history[name]) for name in model.history.last}
    del history["seconds"]
    return {
        "params": model.params,
        "state": model.training.state,
        "history": history,
        "scores": {k: np.asarray(v) for k, v in model.evaluate(x, y, distributed=ranks).items()},
        "predictions": model.predict(x[:3], distributed=ranks),
    }


@each_size
def test_training(size, backend, finest):
    expected = train(backend, finest, nn.distributed.ALONE)
    results = compute_together(size, lambda ranks: train(backend, finest, ranks))
    for result in results:
        assert_close(result, expected, finest)
        for name, array in tree_named_leaves(result).items():
            first = to_numpy(tree_named_leaves(results[0])[name])
            np.testing.assert_array_equal(to_numpy(array), first)


def fit_model(x, y, ranks):
    layers = (nn.Dense(4), nn.ReLU(), nn.Dropout(0.5), nn.Dense(3))
    model = nn.Model(*layers, loss="softmax_cross_entropy", backend="numpy", metrics=["accuracy"])
    model.fit(x, y, batch_size=8, epochs=2, progress=False, distributed=ranks)


def fit_estimator(x, y, ranks):
    options = {"batch_size": 8, "max_iter": 2, "tol": 0.0, "random_state": 0, "verbose": False}
    MLPClassifier((4,), n_iter_no_change=9, **options, distributed=ranks).fit(x, y)


def fit_small(ranks, **options):
    x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
    model = nn.Model(nn.Dense(3), loss="softmax_cross_entropy", backend="numpy")
    options = {"batch_size": 8, "epochs": 5, "progress": False} | options
    model.fit(x, y, distributed=ranks, **options)
    return model


def test_ranks_that_differ_are_named():
    def fit(ranks):
        with pytest.raises(AnybackError, match="^rank 1, 3 has not the model, the data"):
            fit_small(ranks, shuffle=ranks.rank % 2 == 0)

    compute_together(4, fit)


def test_ranks_with_other_rows_do_not_predict_together():
    model = fit_small(nn.distributed.ALONE)

    def predict(ranks):
        x = np.full((10, 5), float(ranks.rank))
        with pytest.raises(AnybackError, match="^rank 1 has not the model, the data"):
            model.predict(x, distributed=ranks)
        with pytest.raises(AnybackError, match="^rank 1 has not the model, the data"):
            model.evaluate(x, np.zeros(10, int), distributed=ranks)

    compute_together(2, predict)


class Constant(nn.Schedule):
    def __call__(self, epoch, past):
        return 0.1


def test_parts_of_ones_own_are_the_same_on_all_ranks():
    """Their names have addresses, which differ."""

    def fit(ranks):
        schedule = Constant()
        assert " at 0x" in repr(schedule)
        return fit_small(ranks, optimizer=nn.Adam(schedule)).training.epoch

    assert compute_together(2, fit) == [5, 5]


class StopOnRank1(nn.Callback):
    def on_epoch_end(self, fit):
        if fit.ranks.rank == 1 and fit.epoch == 3:
            fit.stop()


def test_the_last_checkpoint_is_there_if_another_rank_ends_training(tmp_path):
    def fit(ranks):
        callbacks = [nn.Checkpoint(tmp_path / "run", every=100), StopOnRank1()]
        return fit_small(ranks, callbacks=callbacks).training.epoch

    assert compute_together(2, fit) == [3, 3]
    resumed = fit_small(nn.distributed.ALONE, resume=tmp_path / "run", epochs=3)
    assert resumed.training.epoch == 3


class Interrupt(nn.Callback):
    writes = True

    def on_epoch_end(self, fit):
        raise KeyboardInterrupt


def test_an_estimator_on_ranks_does_not_go_on_after_an_interrupt():
    x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3

    def fit(ranks):
        error = KeyboardInterrupt if ranks.rank == 0 else BrokenBarrierError
        mlp = MLPClassifier((4,), random_state=0, callbacks=[Interrupt()], distributed=ranks)
        with pytest.raises(error):
            mlp.fit(x, y)
        ranks.barrier.abort()

    compute_together(2, fit)


@pytest.mark.needs("torch")
def test_the_reports_of_steps_do_not_hold_the_gradients():
    """They are kept until the end of an epoch; PyTorch has views of one element."""
    parts = (nn.Network(nn.Dense(3)), nn.SoftmaxCrossEntropy())
    model = nn.Model(*parts[0].layers, loss=parts[1], backend="torch").build(5)
    rule = nn.GradientDescent(0.1)
    model.set_optimizer(rule)
    step = build_halves(*parts, model.layout, rule, ()).divide(
        lambda x: x, lambda function, donate=(): function, adds=False
    )
    training, coefficients = model.training, rule.coefficients(1, 0.1)
    x, y = model.backend.asarray(np.ones((4, 5)), "float32"), model.backend.asarray([0, 1, 2, 0])
    arguments = (training.params, training.optimizer_state, training.state, (), coefficients)
    *_, report = step(*arguments, x, y, None, None, 4.0)
    assert [value.untyped_storage().nbytes() for value in report] == [4]


@pytest.mark.parametrize("fit", [fit_model, fit_estimator])
@pytest.mark.filterwarnings("ignore:.*maximum iterations")
def test_both_halves_of_a_step_are_traced(fit):
    """Of ten steps the first two are called as they are, and the third one is traced."""
    x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
    with collect_programs() as (programs, refusals):
        compute_together(2, lambda ranks: fit(x, y, ranks))
    assert ([program.runs for program in programs], refusals) == ([7, 7] * 2, [])

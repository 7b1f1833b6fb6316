"""Averaged weights, against the definition on weights that a callback has recorded."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn_cases import (
    STILL,
    Recorder,
    all_weights,
    average_path,
    classifier,
    flatten,
    set_weights,
)

import anyback_nn as nn


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_average_weights_is_the_average_of_all_steps(decay, solver, iris):
    recorder = Recorder()
    settings = {"max_iter": 4, "batch_size": 25, "solver": solver, "learning_rate_init": 0.05}
    ours = classifier(**settings, average_weights=decay, callbacks=[recorder]).fit(*iris)
    assert len(recorder.after) == 12
    np.testing.assert_allclose(
        flatten(ours.model_), average_path(recorder.after, decay), rtol=1e-12
    )
    # It takes no part in training.
    alone = Recorder()
    classifier(**settings, callbacks=[alone]).fit(*iris)
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


@pytest.mark.needs("jax")
@pytest.mark.needs("optax")
def test_average_weights_is_that_of_optax(iris):
    import optax

    recorder = Recorder()
    ours = classifier(max_iter=10, average_weights=0.9, callbacks=[recorder]).fit(*iris)
    ema = optax.ema(0.9, debias=True)
    path = np.asarray(recorder.after, dtype="float32")
    state = ema.init(path[0])
    for weights in path:
        mean, state = ema.update(weights, state)
    np.testing.assert_allclose(flatten(ours.model_), np.asarray(mean), atol=1e-5)


def test_averaged_weights_are_what_is_validated(iris):
    x, y = iris
    recorder = Recorder()
    ours = classifier(
        max_iter=5, average_weights=0.8, callbacks=[recorder], validation_data=(x, y)
    ).fit(x, y)
    for epoch in range(1, 6):
        nothing = classifier(optimizer=STILL).fit(x, y)
        weights = average_path(recorder.after[:epoch], 0.8)
        # The weights of a model are stored with the bias of each layer before or behind them.
        set_flat(nothing.model_, weights)
        expected = log_loss(y, nothing.predict_proba(x))
        assert ours.validation_curve_[epoch - 1] == pytest.approx(expected, rel=1e-9)


def set_flat(model, numbers):
    """The inverse of `flatten`."""
    tree, begin = [], 0
    for layer in model.params:
        filled = {}
        for name, a in layer.items():
            filled[name] = numbers[begin : begin + a.size].reshape(a.shape)
            begin += a.size
        tree.append(filled)
    model.training.params = model.layout.pack(tuple(tree))


def test_averaging_goes_on_in_partial_fit(iris):
    x, y = iris
    recorder, alone = Recorder(), Recorder()
    ours = classifier(average_weights=0.7, callbacks=[recorder])
    plain = classifier(callbacks=[alone])
    for calls in range(1, 5):
        ours.partial_fit(x, y, classes=[0, 1, 2])
        plain.partial_fit(x, y, classes=[0, 1, 2])
        assert len(recorder.after) == calls
        np.testing.assert_allclose(
            flatten(ours.model_), average_path(recorder.after, 0.7), rtol=1e-12
        )
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_training_and_averaging_go_on_from_weights_that_were_set(way, iris):
    x, y = iris
    ours = classifier(average_weights=0.9, max_iter=3, warm_start=True).fit(x, y)
    ours.set_params(max_iter=1, learning_rate_init=1e-9)
    set_weights(ours, np.full_like(all_weights(ours), 2.0))
    if way == "partial_fit":
        # The optimiser goes on, at its rate of 0.001.
        ours.partial_fit(x, y)
    else:
        ours.fit(x, y)
    np.testing.assert_allclose(all_weights(ours), 2.0, atol=0.002)


def test_another_average_begins_anew(iris):
    x, y = iris
    ours, recorder = classifier(average_weights=0.5), Recorder()
    for _ in range(5):
        ours.partial_fit(x, y, classes=[0, 1, 2])
    ours.set_params(average_weights=0.99, callbacks=[recorder]).partial_fit(x, y).partial_fit(x, y)
    np.testing.assert_allclose(flatten(ours.model_), average_path(recorder.after, 0.99), rtol=1e-12)


def test_averages_and_the_callback_that_restores_weights_exclude_each_other(iris):
    x, y = iris
    ours = classifier(average_weights=0.9, callbacks=[nn.EarlyStopping(monitor="train_loss")])
    with pytest.raises(ValueError, match=r"callbacks: EarlyStopping .* Use early_stopping=True"):
        ours.fit(x, y)
    assert not hasattr(ours, "model_")
    ours.set_params(callbacks=[nn.EarlyStopping(monitor="train_loss", restore_best=False)])
    ours.fit(x, y)

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
    recorder, alone = Recorder(), Recorder()
    settings = {"max_iter": 4, "batch_size": 25, "solver": solver, "learning_rate_init": 0.05}
    ours = classifier(**settings, average_weights=decay, callbacks=[recorder]).fit(*iris)
    assert len(recorder.after) == 12
    expected = average_path(recorder.after, decay)
    np.testing.assert_allclose(flatten(ours.model_), expected, rtol=1e-12)
    # It takes no part in training.
    classifier(**settings, callbacks=[alone]).fit(*iris)
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


def test_averaged_weights_are_what_is_validated(iris):
    x, y = iris
    recorder = Recorder()
    settings = {"average_weights": 0.8, "callbacks": [recorder], "validation_data": iris}
    ours = classifier(max_iter=5, **settings).fit(x, y)
    other = classifier(optimizer=STILL).fit(x, y)
    for epoch, loss in enumerate(ours.validation_curve_, 1):
        set_weights(other, average_path(recorder.after[:epoch], 0.8))
        assert loss == pytest.approx(log_loss(y, other.predict_proba(x)), rel=1e-9)


def test_averaging_resumes_in_partial_fit(iris):
    recorder, alone = Recorder(), Recorder()
    ours = classifier(average_weights=0.7, callbacks=[recorder])
    plain = classifier(callbacks=[alone])
    for calls in range(1, 5):
        for mlp in (ours, plain):
            mlp.partial_fit(*iris, classes=[0, 1, 2])
        assert len(recorder.after) == calls
        expected = average_path(recorder.after, 0.7)
        np.testing.assert_allclose(flatten(ours.model_), expected, rtol=1e-12)
    np.testing.assert_allclose(recorder.after, alone.after, rtol=1e-12)


@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_training_and_averaging_resume_from_weights_that_were_set(way, iris):
    ours = classifier(average_weights=0.9, max_iter=3, warm_start=True).fit(*iris)
    ours.set_params(max_iter=1, learning_rate_init=1e-9)
    set_weights(ours, np.full_like(all_weights(ours), 2.0))
    # In partial_fit the optimiser resumes, at its rate of 0.001.
    getattr(ours, way)(*iris)
    np.testing.assert_allclose(all_weights(ours), 2.0, atol=0.002)


def test_another_average_begins_again(iris):
    ours, recorder = classifier(average_weights=0.5), Recorder()
    for _ in range(5):
        ours.partial_fit(*iris, classes=[0, 1, 2])
    ours.set_params(average_weights=0.99, callbacks=[recorder])
    ours.partial_fit(*iris).partial_fit(*iris)
    np.testing.assert_allclose(flatten(ours.model_), average_path(recorder.after, 0.99), rtol=1e-12)


def test_averages_and_the_callback_that_restores_weights_exclude_each_other(iris):
    ours = classifier(average_weights=0.9, callbacks=[nn.EarlyStopping(monitor="train_loss")])
    with pytest.raises(ValueError, match=r"callbacks: EarlyStopping .* Use early_stopping=True"):
        ours.fit(*iris)
    assert not hasattr(ours, "model_")
    ours.set_params(callbacks=[nn.EarlyStopping(monitor="train_loss", restore_best=False)])
    ours.fit(*iris)

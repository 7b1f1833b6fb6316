"""Pruning by Optuna from a log, and the example of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import optuna
import pytest
from logged_fits import X, Y
from optuna.trial import TrialState

import anyback_nn as nn
from anyback_nn.tree import tree_leaves

EXAMPLE = Path(__file__).parents[2] / "examples" / "optuna_search.py"


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_trial_that_is_pruned_ends_training_after_its_epoch():
    """Later rates are worse than the first, so all trials but the first are pruned in epoch 3."""
    models = []

    def objective(trial):
        rate = trial.suggest_float("rate", 0.0, 1.0)

        def report(values, epoch):
            trial.report(values["validation_loss"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        models.append(nn.Model(nn.Dense(2), loss="softmax_cross_entropy"))
        optimizer, callbacks = nn.GradientDescent(rate), [nn.LogTo(report)]
        options = {"validation": 0.2, "epochs": 5, "progress": False}
        history = models[-1].fit(X, Y, optimizer=optimizer, callbacks=callbacks, **options)
        return history.last["validation_loss"]

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3)
    study = optuna.create_study(pruner=pruner)
    rates = [0.5, 0.01, 0.001]
    for rate in rates:
        study.enqueue_trial({"rate": rate})
    study.optimize(objective, n_trials=3)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        *[TrialState.PRUNED] * 2,
    ]
    for trial, model, rate in zip(study.trials, models, rates, strict=True):
        n_epochs = 5 if rate == 0.5 else 3
        assert (
            list(trial.intermediate_values) == model.history["epoch"] == [*range(1, n_epochs + 1)]
        )
        assert list(trial.intermediate_values.values()) == model.history["validation_loss"]
        expected = nn.Model(nn.Dense(2), loss="softmax_cross_entropy")
        optimizer = nn.GradientDescent(rate)
        expected.fit(X, Y, optimizer=optimizer, validation=0.2, epochs=n_epochs, progress=False)
        for array, other in zip(*map(tree_leaves, (model.params, expected.params)), strict=True):
            np.testing.assert_array_equal(array, other)


def test_the_example_prunes_trials_and_finds_a_good_one(capsys):
    study = runpy.run_path(str(EXAMPLE))["study"]
    states = [trial.state for trial in study.trials]
    assert {*states} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.best_value > 0.95
    assert f"{states.count(TrialState.PRUNED)} of them pruned" in capsys.readouterr().out

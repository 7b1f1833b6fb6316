"""Search for hyperparameters with Optuna, which prunes trials that fall behind the others.

``nn.LogTo`` reports each epoch. `optuna.TrialPruned`, raised in it, ends training. This example
needs Optuna: ``pip install optuna``.
"""

import optuna

import anyback_nn as nn

digits = nn.datasets.load_digits()


def objective(trial):
    """Train a network with the trial's settings; return its validation accuracy."""
    width = trial.suggest_int("width", 8, 128, log=True)
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    activation = trial.suggest_categorical("activation", ["relu", "tanh", "gelu"])

    def report(values, epoch):
        trial.report(values["validation_accuracy"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    model = nn.Model(
        nn.Dense(width),
        nn.ACTIVATIONS[activation](),
        nn.Dense(10),
        loss=nn.SoftmaxCrossEntropy(),
    )
    history = model.fit(
        digits.x_train,
        digits.y_train,
        optimizer=nn.Adam(rate),
        epochs=15,
        validation=0.2,
        callbacks=[nn.LogTo(report)],
    )
    return history.last["validation_accuracy"]


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
)
study.optimize(objective, n_trials=25)

states = [trial.state for trial in study.trials]
n_pruned = states.count(optuna.trial.TrialState.PRUNED)
n_epochs = sum(len(trial.intermediate_values) for trial in study.trials)
print(f"{len(states)} trials, {n_pruned} of them pruned: {n_epochs} of {15 * len(states)} epochs")
print(f"best validation accuracy {study.best_value:.4f} with {study.best_params}")

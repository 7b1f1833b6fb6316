"""When training ends and what it prints: tolerance, warnings, divergence, interruption."""

from __future__ import annotations

import builtins
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn_cases import (
    StopAt,
    all_weights,
    classifier,
    fit_pair,
    load_problem,
    make_pair,
    same_warnings,
    train_pair,
    warnings_of,
)

import anyback_nn as nn

# When training ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("tol", [0.05, 0.005])
@pytest.mark.parametrize("n_iter_no_change", [1, 4])
def test_training_ends_after_epochs_without_improvement(solver, tol, n_iter_no_change):
    settings = {"solver": solver, "tol": tol, "n_iter_no_change": n_iter_no_change}
    _, ours = train_pair("classes", **settings, max_iter=200)
    assert ours.n_iter_ < 200
    assert ours.converged_


def test_n_iter_no_change_can_be_infinite():
    _, ours = train_pair("classes", tol=10.0, n_iter_no_change=np.inf, max_iter=30)
    assert (ours.n_iter_, ours.converged_) == (30, False)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_max_iter_and_its_warning(name):
    x, y = load_problem(name)
    _, ours = pair = make_pair(name, max_iter=5)
    expected = (
        "Stochastic Optimizer: Maximum iterations (5) reached and the optimization hasn't "
        "converged yet."
    )
    assert same_warnings(pair, lambda mlp: mlp.fit(x, y)) == [(ConvergenceWarning, expected)]
    assert ours.n_iter_ == len(ours.loss_curve_) == 5


@pytest.mark.parametrize(("epochs", "n_warnings"), [(5, 0), (4, 0), (6, 1)])
@pytest.mark.parametrize("name", ["schedule", "optimizer"])
def test_no_warning_where_the_schedule_has_ended(name, epochs, n_warnings):
    cosine = nn.CosineDecay(0.01, epochs=epochs, final=1e-4)
    settings = {"schedule": cosine} if name == "schedule" else {"optimizer": nn.Adam(cosine)}
    ours = classifier(max_iter=5, **settings)
    assert len(warnings_of(lambda: ours.fit(*load_problem("classes")))) == n_warnings


def test_no_warning_where_training_has_ended_by_itself():
    x, y = load_problem("classes")
    _, ours = make_pair("classes", tol=1.0, max_iter=100)
    assert warnings_of(lambda: ours.fit(x, y)) == []


@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs"}, {"tol": 9e9}], ids=str)
def test_the_warning_points_at_the_line_that_called_fit(settings):
    x, y = load_problem("classes")
    _, ours = make_pair("classes", **settings, batch_size=999)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours.fit(x, y)
    assert caught
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("settings", "converged"),
    [
        ({"max_iter": 3}, False),
        ({"max_iter": 50, "tol": 10.0, "n_iter_no_change": 2}, True),
        ({"max_iter": 3, "solver": "lbfgs"}, False),
        ({"max_iter": 500, "solver": "lbfgs", "alpha": 1.0}, True),
        ({"max_iter": 30, "callbacks": [StopAt(2)]}, False),
    ],
    ids=["epochs", "tol", "iterations", "minimum", "callback"],
)
def test_converged(settings, converged, iris):
    assert classifier(**settings).fit(*iris).converged_ is converged


# What is printed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 3},
        {"tol": 0.3, "n_iter_no_change": 2, "max_iter": 99},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 99, "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
        {
            "solver": "sgd",
            "learning_rate": "adaptive",
            "learning_rate_init": 1e-5,
            "early_stopping": True,
            "tol": 2.0,
            "n_iter_no_change": 1,
        },
    ],
    ids=["max_iter", "tol", "early_stopping", "adaptive", "adaptive-early_stopping"],
)
@pytest.mark.parametrize("verbose", [True, 2])
def test_verbose_prints_the_same_lines(capsys, settings, verbose):
    printed = []

    def train(mlp, x, y):
        mlp.fit(x, y)
        if not mlp.early_stopping:  # which scikit-learn's partial_fit does not have
            mlp.partial_fit(x, y)
        printed.append(capsys.readouterr().out)

    _, ours = train_pair("classes", train, **settings, verbose=verbose)
    assert printed[0].startswith("Iteration 1, loss = ")
    assert printed[0].count("Iteration 1, loss") == (1 if ours.early_stopping else 2)
    assert printed[0] == printed[1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_nothing_is_printed_by_default(capsys, solver):
    fit_pair("classes", solver=solver)
    assert capsys.readouterr() == ("", "")


# Interruption ------------------------------------------------------------------------------------


def fit_until_interrupted(mlp, x, y):
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        mlp.fit(x, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_interruption_keeps_the_epochs_that_are_done(monkeypatch, early_stopping):
    def interrupted(*lines):
        if lines[0].startswith("Iteration 4"):
            raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "print", interrupted)
    settings = {"verbose": True, "early_stopping": early_stopping}
    _, ours = train_pair("classes", fit_until_interrupted, **settings)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (4, 4)
    assert ours.predict(load_problem("classes")[0]).shape == (150,)


def test_an_interruption_within_an_epoch():
    class Interrupted(np.random.RandomState):
        """Interrupts the fourth shuffling."""

        calls = 0

        def shuffle(self, order):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            super().shuffle(order)

    def train(mlp, x, y):
        fit_until_interrupted(mlp.set_params(random_state=Interrupted(2)), x, y)

    _, ours = train_pair("values", train)
    assert ours.n_iter_ == 3


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_training_resumes_after_a_metric_was_interrupted(learning_rate, iris):
    x, y = iris

    def metric(estimator, x_held, y_held):
        if len(estimator.loss_curve_) == 2:
            raise KeyboardInterrupt
        return 0.5

    settings = {"solver": "sgd", "learning_rate": learning_rate, "validation_data": (x, y)}
    ours = classifier(early_stopping_metric=metric, **settings)
    plain = classifier(**settings)
    ours.partial_fit(x, y, classes=[0, 1, 2])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ours.partial_fit(x, y)
    ours.partial_fit(x, y)
    for _ in range(3):
        plain.partial_fit(x, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(all_weights(ours), all_weights(plain))

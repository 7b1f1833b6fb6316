"""Adam and SGD take scikit-learn's course, step by step: same weights, same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn_cases import (
    PROBLEMS,
    assert_same_fit,
    assert_same_weights,
    each_solver,
    fit_pair,
    load_problem,
    make_pair,
    same_warnings,
    train_pair,
)

# The course of training --------------------------------------------------------------------------


@each_solver
@pytest.mark.parametrize("name", PROBLEMS)
def test_training_takes_the_same_course(name, solver):
    train_pair(name, **solver, batch_size=32)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_weights_are_the_same_bits(name):
    # With such a rate, no weight moves.
    theirs, ours = fit_pair(name, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    assert_same_weights(theirs, ours, 0.0)


ADAPTIVE = {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1}

SETTINGS = {
    ("classes", "values"): [
        *({"shuffle": shuffle, "batch_size": 20} for shuffle in (True, False)),
        *({"batch_size": size, "max_iter": 4} for size in ("auto", 1, 7, 150)),
        {"early_stopping": True, "tol": 0.02, "n_iter_no_change": 1, "max_iter": 60},
        *(
            {"activation": activation, "hidden_layer_sizes": sizes}
            for activation in ("identity", "logistic", "tanh", "relu")
            for sizes in ((8,), ())
        ),
        *(
            {"solver": "sgd", "learning_rate_init": 0.03, "batch_size": 50, **rule}
            for rule in (
                {"learning_rate": "constant"},
                {"learning_rate": "invscaling"},
                {"learning_rate": "invscaling", "power_t": 0.1},
                {"learning_rate": "invscaling", "power_t": 0.0},
                {**ADAPTIVE, "max_iter": 60},
                {**ADAPTIVE, "early_stopping": True},
            )
        ),
    ],
    ("classes",): [
        {"learning_rate_init": 1e-5},
        # Which are for SGD only.
        {"learning_rate": "invscaling", "power_t": 2.0, "momentum": 0.1},
        {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "max_iter": 60},
        *({"solver": "sgd", "learning_rate_init": rate} for rate in (1e-5, 0.1)),
        {"solver": "sgd", "learning_rate_init": 0.3, "batch_size": 50, **ADAPTIVE, "max_iter": 60},
        *({"beta_1": beta, "batch_size": 30} for beta in (0.0, 0.5)),
        {"beta_2": 0.9, "batch_size": 30},
        {"epsilon": 0.1, "batch_size": 30},
    ],
    ("values",): [
        {"solver": "sgd", "momentum": momentum, "nesterovs_momentum": nesterov, "batch_size": 30}
        for momentum in (0.0, 0.5, 1.0)
        for nesterov in (True, False)
    ],
    ("classes", "labels", "outputs", "counts"): [
        {"alpha": alpha, "batch_size": 40, "learning_rate_init": 0.01} for alpha in (0.0, 1e-4, 3.0)
    ],
}
"""Settings of scikit-learn's, each with the problems that it is tried on."""


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, some) for names, many in SETTINGS.items() for some in many for name in names],
    ids=str,
)
def test_every_setting_takes_the_same_course(name, settings):
    train_pair(name, **settings)


@pytest.mark.parametrize("sizes", [(5,), 6, [4, 3], (), np.array([6, 5, 4])], ids=str)
@pytest.mark.parametrize("name", ["binary", "labels", "outputs"])
def test_hidden_layer_sizes(name, sizes):
    _, ours = train_pair(name, hidden_layer_sizes=sizes)
    assert ours.n_layers_ == np.size(sizes) + 2


def test_adam_without_the_second_average():
    # A step is a division by the gradient's own size: rounding of one close to zero shows.
    train_pair("classes", beta_2=0.0, batch_size=30, accuracy=1e-8)


def test_auto_is_a_batch_of_200():
    x, y = (np.concatenate([part] * 3) for part in load_problem("classes"))
    auto, number = (make_pair("classes", batch_size=size)[1].fit(x, y) for size in ("auto", 200))
    assert auto.loss_curve_ == number.loss_curve_


@pytest.mark.parametrize("name", ["classes", "values"])
def test_batch_size_is_clipped_with_a_warning(name):
    x, y = load_problem(name)
    pair = make_pair(name, batch_size=1000)
    caught = same_warnings(pair, lambda mlp: mlp.fit(x, y))
    assert any("It is going to be clipped" in text for _, text in caught)
    assert_same_fit(*pair)


# Random numbers ----------------------------------------------------------------------------------


def test_random_state_as_a_generator():
    after = []

    def train(mlp, x, y):
        random = np.random.RandomState(11)
        mlp.set_params(random_state=random).fit(x, y)
        mlp.fit(x, y)  # with other numbers than the first time
        after.append(random.randint(1000))

    train_pair("classes", train, early_stopping=True)
    assert after[0] == after[1]


@pytest.fixture
def numpys_own():
    """Put NumPy's own generator back, which is shared by all tests."""
    before = np.random.get_state()  # noqa: NPY002 - what None means to scikit-learn
    yield
    np.random.set_state(before)  # noqa: NPY002


@pytest.mark.usefixtures("numpys_own")
def test_random_state_none_is_numpys_own():
    def train(mlp, x, y):
        np.random.seed(3)  # noqa: NPY002
        mlp.fit(x, y)

    _, ours = train_pair("classes", train, random_state=None)
    _, again = fit_pair("classes", random_state=None)
    assert again.loss_curve_ != ours.loss_curve_

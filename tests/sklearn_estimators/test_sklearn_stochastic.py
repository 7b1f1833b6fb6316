"""Adam and SGD take scikit-learn's course, step by step: same weights, same random numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn_cases import (
    PROBLEMS,
    QUICK,
    SOLVER_SETTINGS,
    SOLVERS,
    assert_near,
    assert_same_fit,
    assert_same_weights,
    fit_pair,
    load_problem,
    make_pair,
    warnings_of,
)

from anyback_nn.sklearn import MLPClassifier

# The course of training --------------------------------------------------------------------------


def draw_weights(name):
    """Weights of nobody's, for both estimators to begin with."""
    x, _ = load_problem(name)
    n_outputs = {"labels": 4, "classes": 3, "outputs": 3}.get(name, 1)
    rng = np.random.default_rng(1)
    sizes = [x.shape[1], 8, n_outputs]
    weights = [rng.standard_normal(shape) / 4 for shape in itertools.pairwise(sizes)]
    return weights, [rng.standard_normal(size) / 4 for size in sizes[1:]]


@pytest.mark.parametrize(
    ("name", "solver"),
    [*zip(["labels", "outputs", "counts", "classes"], SOLVER_SETTINGS)],
    ids=list(SOLVERS),
)
def test_from_the_same_initial_weights_without_shuffling_all_is_equal(name, solver):
    x, y = load_problem(name)
    coefs, intercepts = draw_weights(name)
    curves = []
    for one in make_pair(name, **solver, shuffle=False, batch_size=32, warm_start=True, max_iter=1):
        one.fit(x, y)
        one.coefs_ = [np.array(c) for c in coefs]
        one.intercepts_ = [np.array(c) for c in intercepts]
        curves.append(one.set_params(max_iter=10).fit(x, y))
    theirs, ours = curves
    assert len(ours.loss_curve_) == 11
    assert_near(ours.loss_curve_, theirs.loss_curve_, 1e-14)
    assert_same_weights(theirs, ours, 1e-14)


@pytest.mark.parametrize("solver", SOLVER_SETTINGS, ids=list(SOLVERS))
@pytest.mark.parametrize("name", PROBLEMS)
def test_training_takes_the_same_course(name, solver):
    assert_same_fit(*fit_pair(name, **solver, batch_size=32))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_weights_are_the_same_bits(name):
    # With such a rate, no weight moves.
    theirs, ours = fit_pair(name, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_shuffle(name, shuffle):
    assert_same_fit(*fit_pair(name, shuffle=shuffle, batch_size=20))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(8,), ()], ids=["hidden", "none"])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_activation(name, activation, sizes):
    assert_same_fit(*fit_pair(name, activation=activation, hidden_layer_sizes=sizes))


@pytest.mark.parametrize("sizes", [(5,), 6, [4, 3], (), np.array([6, 5, 4])], ids=str)
@pytest.mark.parametrize("name", ["binary", "labels", "outputs"])
def test_hidden_layer_sizes(name, sizes):
    theirs, ours = fit_pair(name, hidden_layer_sizes=sizes)
    assert_same_fit(theirs, ours)
    assert ours.n_layers_ == np.size(sizes) + 2


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 3.0])
@pytest.mark.parametrize("name", ["classes", "labels", "outputs", "counts"])
def test_alpha(name, alpha):
    assert_same_fit(*fit_pair(name, alpha=alpha, batch_size=40, learning_rate_init=0.01))


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 150])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_batch_size(name, batch_size):
    assert_same_fit(*fit_pair(name, batch_size=batch_size, max_iter=4))


def test_auto_is_a_batch_of_200():
    x, y = (np.concatenate([part] * 3) for part in load_problem("classes"))
    auto, number = (MLPClassifier(**QUICK, batch_size=size).fit(x, y) for size in ("auto", 200))
    assert auto.loss_curve_ == number.loss_curve_


@pytest.mark.parametrize("name", ["classes", "values"])
def test_batch_size_is_clipped_with_a_warning(name):
    x, y = load_problem(name)
    theirs, ours = make_pair(name, batch_size=1000)
    assert warnings_of(lambda: ours.fit(x, y)) == warnings_of(lambda: theirs.fit(x, y))
    assert_same_fit(theirs, ours)
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        ours.fit(x, y)


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": "constant"},
        {"learning_rate": "invscaling"},
        {"learning_rate": "invscaling", "power_t": 0.1},
        {"learning_rate": "invscaling", "power_t": 0.0},
        {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "max_iter": 60},
        {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "early_stopping": True},
    ],
    ids=lambda setting: "-".join(map(str, setting.values())),
)
@pytest.mark.parametrize("name", ["classes", "values"])
def test_learning_rate_of_sgd(name, setting):
    rate = 0.3 if name == "classes" else 0.03
    assert_same_fit(
        *fit_pair(name, solver="sgd", learning_rate_init=rate, batch_size=50, **setting)
    )


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_learning_rate_is_for_sgd_only(learning_rate):
    settings = {"learning_rate": learning_rate, "power_t": 2.0, "momentum": 0.1}
    _, ours = fit_pair("classes", solver="adam", **settings)
    _, plain = fit_pair("classes", solver="adam")
    assert ours.loss_curve_ == plain.loss_curve_


@pytest.mark.parametrize("learning_rate_init", [1e-5, 0.1])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_learning_rate_init(solver, learning_rate_init):
    assert_same_fit(*fit_pair("classes", solver=solver, learning_rate_init=learning_rate_init))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("nesterovs_momentum", [True, False])
def test_momentum(momentum, nesterovs_momentum):
    settings = {"momentum": momentum, "nesterovs_momentum": nesterovs_momentum}
    assert_same_fit(*fit_pair("values", solver="sgd", **settings, batch_size=30))


@pytest.mark.parametrize(
    "setting",
    [{"beta_1": 0.0}, {"beta_1": 0.5}, {"beta_2": 0.0}, {"beta_2": 0.9}, {"epsilon": 0.1}],
    ids=str,
)
def test_the_parameters_of_adam(setting):
    theirs, ours = fit_pair("classes", **setting, batch_size=30)
    # Without the second average, a step is a division by the gradient's own size: rounding of a
    # gradient close to zero comes through.
    assert_same_fit(theirs, ours, 1e-8 if setting == {"beta_2": 0.0} else 1e-12)


# Random numbers ----------------------------------------------------------------------------------


def test_random_state_as_a_number_repeats():
    curves = [fit_pair("classes", random_state=7)[1].loss_curve_ for _ in range(2)]
    assert curves[0] == curves[1]
    assert curves[0] != fit_pair("classes", random_state=8)[1].loss_curve_


def test_random_state_as_a_generator():
    x, y = load_problem("classes")
    after = []
    for one in make_pair("classes", early_stopping=True):
        random = np.random.RandomState(11)
        one.set_params(random_state=random).fit(x, y)
        one.fit(x, y)  # with other numbers than the first time
        after.append((one, random.randint(1000)))
    assert after[0][1] == after[1][1]
    assert_same_fit(after[0][0], after[1][0])


@pytest.fixture
def numpys_own():
    """Put NumPy's own generator back, which is shared by all tests."""
    before = np.random.get_state()  # noqa: NPY002 - what None means to scikit-learn
    yield
    np.random.set_state(before)  # noqa: NPY002


@pytest.mark.usefixtures("numpys_own")
def test_random_state_none_is_numpys_own():
    x, y = load_problem("classes")
    both = []
    for one in make_pair("classes", random_state=None):
        np.random.seed(3)  # noqa: NPY002
        both.append(one.fit(x, y))
    assert_same_fit(*both)
    _, again = make_pair("classes", random_state=None)
    assert again.fit(x, y).loss_curve_ != both[1].loss_curve_

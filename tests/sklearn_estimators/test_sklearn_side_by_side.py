"""scikit-learn's perceptrons beside ours: one test for each behaviour that they document.

Both are given the same data and the same settings, and must have drawn the same weights, taken the
same steps, printed, warned and refused the same. Where ours differs on purpose, a test says so.
"""

from __future__ import annotations

import builtins
import copy
import functools
import inspect
import itertools
import warnings

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from anyback_nn.sklearn import MLPClassifier, MLPRegressor

KINDS = [
    pytest.param(TheirClassifier, MLPClassifier, id="classifier"),
    pytest.param(TheirRegressor, MLPRegressor, id="regressor"),
]
PROBLEMS = ["binary", "classes", "digits", "labels", "values", "outputs", "counts"]
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 3}
"""What every fit has, if its test does not say otherwise."""

# Few epochs are enough to compare, and hardly any fit here comes to an end by itself. The tests of
# the warning look for it by themselves.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# Data and comparisons ----------------------------------------------------------------------------


@functools.cache
def data(name):
    """The inputs and targets of a problem."""
    if name == "binary":
        x, y = load_breast_cancer(return_X_y=True)
        return scale(x)[:120], y[:120]
    if name == "classes":
        x, y = load_iris(return_X_y=True)
        return scale(x), y
    if name == "digits":
        x, y = load_digits(return_X_y=True)
        return x[:200] / 16, y[:200]
    if name == "labels":
        x, y = make_multilabel_classification(120, n_features=9, n_classes=4, random_state=0)
        return scale(x), y
    x, y = load_diabetes(return_X_y=True)
    x, y = scale(x)[:150], scale(y)[:150]
    if name == "outputs":
        return x, np.stack([y, x[:, 0] * x[:, 1], np.abs(y)], axis=1)
    if name == "counts":
        return x, np.round(np.exp(y))
    return x, y


def pair(name, **settings):
    """Both estimators for a problem, with the same settings."""
    if name in ("values", "outputs", "counts"):
        theirs, ours = TheirRegressor, MLPRegressor
        settings = {"loss": "poisson" if name == "counts" else "squared_error"} | settings
    else:
        theirs, ours = TheirClassifier, MLPClassifier
    settings = QUICK | settings
    return theirs(**settings), ours(**settings)


def fitted(name, sample_weight=None, **settings):
    """Both estimators, fitted to a problem."""
    x, y = data(name)
    return tuple(one.fit(x, y, sample_weight) for one in pair(name, **settings))


def close(found, expected, accuracy=1e-12):
    np.testing.assert_allclose(found, expected, rtol=accuracy * 100, atol=accuracy)


def same_weights(theirs, ours, accuracy=1e-12):
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert type(mine) is type(other) is np.ndarray
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        close(mine, other, accuracy)


def fitted_attributes(estimator):
    return sorted(k for k in vars(estimator) if k.endswith("_") and not k.startswith("_"))


def same(theirs, ours, accuracy=1e-12):
    """Compare everything that fitting has left."""
    same_weights(theirs, ours, accuracy)
    for name in set(fitted_attributes(theirs)) - {"coefs_", "intercepts_"}:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert np.shape(mine) == np.shape(other), name
        assert isinstance(mine, type(other)) or isinstance(other, np.generic), name
        if isinstance(other, int | str | type(None)) or np.asarray(other).dtype.kind not in "f":
            assert np.array_equal(mine, other), name
        else:
            close(mine, other, accuracy)


def refused(call):
    """The class and the text of the error that a call raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller compares it
        call()
    return type(caught.value), str(caught.value)


def warned(call):
    """The classes and the texts of the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(one.category, str(one.message)) for one in caught]


# What there is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_parameters_have_their_names_and_defaults(theirs, ours):
    other, mine = (inspect.signature(one).parameters for one in (theirs, ours))
    for name, parameter in other.items():
        assert (mine[name].default, mine[name].kind) == (parameter.default, parameter.kind)
    shared = [name for name in mine if name in other]
    assert shared == list(other)  # those that can be given by position, too
    added = [parameter for name, parameter in mine.items() if name not in other]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in added)


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_methods_have_their_names_and_parameters(theirs, ours):
    public = [name for name in dir(theirs()) if not name.startswith("_")]
    missing = [name for name in public if not hasattr(ours(), name)]
    assert missing == []
    for name in public:
        if inspect.isfunction(getattr(theirs, name, None)):
            assert list(inspect.signature(getattr(ours(), name)).parameters) == list(
                inspect.signature(getattr(theirs(), name)).parameters
            ), name


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_documented_attributes_are_there_after_fit(theirs, ours):
    documented = theirs.__doc__.split("Attributes\n")[1].split("See Also\n")[0]
    names = [line.split(" : ")[0].strip() for line in documented.splitlines() if " : " in line]
    assert len(names) >= 14
    x, y = data("classes")
    mine = ours(**QUICK).fit(pl.DataFrame(x, schema=list("abcd")), y)
    assert [name for name in names if not hasattr(mine, name)] == []


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_nothing_fitted_is_there_before_fit(theirs, ours):
    fresh = ours()
    x, y = data("classes")
    names = fitted_attributes(theirs(**QUICK).fit(x, y))
    assert [name for name in names if hasattr(fresh, name)] == []
    assert [k for k in vars(fresh) if k not in fresh.get_params()] == []


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_tags_are_the_same_but_for_other_arrays(theirs, ours):
    mine, other = get_tags(ours()), get_tags(theirs())
    assert (mine.array_api_support, other.array_api_support) == (True, False)
    mine.array_api_support = False
    if is_regressor(ours()):
        # scikit-learn's takes several outputs, too, and forgets to say so.
        assert mine.target_tags.multi_output
        other.target_tags.multi_output = True
    assert mine == other
    assert (is_classifier(ours()), is_regressor(ours())) == (
        is_classifier(theirs()),
        is_regressor(theirs()),
    )


# The course of training --------------------------------------------------------------------------

SOLVERS = {
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.02},
    "nesterov": {"solver": "sgd", "momentum": 0.8, "learning_rate_init": 0.02},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}
SOME = [*SOLVERS.values()]


def initial_weights(name):
    """Weights of nobody's, for both estimators to begin with."""
    x, _ = data(name)
    n_outputs = {"labels": 4, "classes": 3, "outputs": 3}.get(name, 1)
    rng = np.random.default_rng(1)
    sizes = [x.shape[1], 8, n_outputs]
    weights = [rng.standard_normal(shape) / 4 for shape in itertools.pairwise(sizes)]
    return weights, [rng.standard_normal(size) / 4 for size in sizes[1:]]


@pytest.mark.parametrize(
    ("name", "solver"),
    [*zip(["labels", "outputs", "counts", "classes"], SOME)],
    ids=list(SOLVERS),
)
def test_from_the_same_initial_weights_without_shuffling_all_is_equal(name, solver):
    x, y = data(name)
    coefs, intercepts = initial_weights(name)
    curves = []
    for one in pair(name, **solver, shuffle=False, batch_size=32, warm_start=True, max_iter=1):
        one.fit(x, y)
        one.coefs_ = [np.array(c) for c in coefs]
        one.intercepts_ = [np.array(c) for c in intercepts]
        curves.append(one.set_params(max_iter=10).fit(x, y))
    theirs, ours = curves
    assert len(ours.loss_curve_) == 11
    close(ours.loss_curve_, theirs.loss_curve_, 1e-14)
    same_weights(theirs, ours, 1e-14)


@pytest.mark.parametrize("solver", SOME, ids=list(SOLVERS))
@pytest.mark.parametrize("name", PROBLEMS)
def test_training_takes_the_same_course(name, solver):
    same(*fitted(name, **solver, batch_size=32))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_weights_are_the_same_bits(name):
    # With such a rate, no weight moves.
    theirs, ours = fitted(name, solver="sgd", learning_rate_init=1e-300, max_iter=1)
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_shuffle(name, shuffle):
    same(*fitted(name, shuffle=shuffle, batch_size=20))


def test_without_shuffling_the_order_is_that_of_the_data():
    curves = [fitted("classes", shuffle=s, batch_size=50)[1].loss_curve_ for s in (True, False)]
    # Iris is sorted by class.
    assert not np.allclose(*curves)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(8,), ()], ids=["hidden", "none"])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_activation(name, activation, sizes):
    same(*fitted(name, activation=activation, hidden_layer_sizes=sizes))


@pytest.mark.parametrize("sizes", [(5,), 6, [4, 3], (), np.array([6, 5, 4])], ids=str)
@pytest.mark.parametrize("name", ["binary", "labels", "outputs"])
def test_hidden_layer_sizes(name, sizes):
    theirs, ours = fitted(name, hidden_layer_sizes=sizes)
    same(theirs, ours)
    assert ours.n_layers_ == np.size(sizes) + 2


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 3.0])
@pytest.mark.parametrize("name", ["classes", "labels", "outputs", "counts"])
def test_alpha(name, alpha):
    same(*fitted(name, alpha=alpha, batch_size=40, learning_rate_init=0.01))


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 150])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_batch_size(name, batch_size):
    same(*fitted(name, batch_size=batch_size, max_iter=4))


def test_auto_is_a_batch_of_200():
    x, y = (np.concatenate([part] * 3) for part in data("classes"))
    auto, number = (MLPClassifier(**QUICK, batch_size=size).fit(x, y) for size in ("auto", 200))
    assert auto.loss_curve_ == number.loss_curve_


@pytest.mark.parametrize("name", ["classes", "values"])
def test_batch_size_is_clipped_with_a_warning(name):
    x, y = data(name)
    theirs, ours = pair(name, batch_size=1000)
    assert warned(lambda: ours.fit(x, y)) == warned(lambda: theirs.fit(x, y))
    same(theirs, ours)
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
    same(*fitted(name, solver="sgd", learning_rate_init=rate, batch_size=50, **setting))


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_learning_rate_is_for_sgd_only(learning_rate):
    settings = {"learning_rate": learning_rate, "power_t": 2.0, "momentum": 0.1}
    _, ours = fitted("classes", solver="adam", **settings)
    _, plain = fitted("classes", solver="adam")
    assert ours.loss_curve_ == plain.loss_curve_


@pytest.mark.parametrize("learning_rate_init", [1e-5, 0.1])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_learning_rate_init(solver, learning_rate_init):
    same(*fitted("classes", solver=solver, learning_rate_init=learning_rate_init))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("nesterovs_momentum", [True, False])
def test_momentum(momentum, nesterovs_momentum):
    settings = {"momentum": momentum, "nesterovs_momentum": nesterovs_momentum}
    same(*fitted("values", solver="sgd", **settings, batch_size=30))


@pytest.mark.parametrize(
    "setting",
    [{"beta_1": 0.0}, {"beta_1": 0.5}, {"beta_2": 0.0}, {"beta_2": 0.9}, {"epsilon": 0.1}],
    ids=str,
)
def test_the_parameters_of_adam(setting):
    theirs, ours = fitted("classes", **setting, batch_size=30)
    # Without the second average, a step is a division by the gradient's own size: rounding of a
    # gradient close to zero comes through.
    same(theirs, ours, 1e-8 if setting == {"beta_2": 0.0} else 1e-12)


# L-BFGS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binary", "classes", "digits", "labels", "values", "counts"])
def test_lbfgs_takes_the_same_course(name):
    theirs, ours = fitted(name, solver="lbfgs", max_iter=8)
    assert ours.n_iter_ == theirs.n_iter_ == 8
    same_weights(theirs, ours, 1e-9)
    close(ours.loss_, theirs.loss_, 1e-11)


@pytest.mark.parametrize("name", ["binary", "classes", "labels", "values", "counts"])
def test_lbfgs_reaches_the_same_minimum(name):
    # Linear models have one minimum, whatever the path.
    settings = {"hidden_layer_sizes": (), "alpha": 1.0, "tol": 1e-9, "max_iter": 1000}
    theirs, ours = fitted(name, solver="lbfgs", **settings)
    same_weights(theirs, ours, 1e-6)
    close(ours.loss_, theirs.loss_, 1e-12)


def test_max_iter_of_lbfgs():
    x, y = data("classes")
    theirs, ours = pair("classes", solver="lbfgs", max_iter=3)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 3 iteration"):
        theirs.fit(x, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 3 iteration"):
        ours.fit(x, y)
    assert (ours.n_iter_, theirs.n_iter_) == (3, 3)


def test_max_fun():
    x, y = data("classes")
    theirs, ours = pair("classes", solver="lbfgs", max_iter=100, max_fun=10)
    caught = [warned(functools.partial(one.fit, x, y)) for one in (theirs, ours)]
    assert [[one for one, _ in some] for some in caught] == [[ConvergenceWarning]] * 2
    assert "EVALUATIONS EXCEEDS LIMIT" in caught[1][0][1]
    assert ours.n_iter_ == theirs.n_iter_ < 100
    same_weights(theirs, ours, 1e-9)


def test_tol_of_lbfgs():
    counts = [
        [one.n_iter_ for one in fitted("classes", solver="lbfgs", tol=tol, max_iter=500, alpha=1.0)]
        for tol in (1e-1, 1e-3)
    ]
    assert counts[0][0] == counts[0][1] < counts[1][1] < 500
    assert counts[1][0] == counts[1][1]


def test_lbfgs_sums_over_parts_of_any_size(monkeypatch):
    x, y = data("digits")
    # What is sparse is made dense in parts, here of 90 rows, 90 and 20.
    monkeypatch.setattr("anyback_nn.sklearn.batches.LIMIT", 90 * x.shape[1])
    weights = some_weights(len(x))
    theirs, ours = pair("digits", solver="lbfgs", max_iter=8, alpha=0.1)
    theirs.fit(x, y, weights)
    ours.fit(sp.csr_array(x), y, weights)
    close(ours.loss_, theirs.loss_, 1e-10)
    same_weights(theirs, ours, 1e-8)


def test_lbfgs_has_the_attributes_that_scikit_learn_has():
    theirs, ours = fitted("classes", solver="lbfgs")
    assert set(fitted_attributes(theirs)) <= {name for name in dir(ours) if hasattr(ours, name)}
    # An addition: the curve.
    assert len(ours.loss_curve_) == ours.n_iter_
    assert ours.loss_curve_[-1] == pytest.approx(ours.loss_)
    # These say nothing of it, so they must not be there as if they did.
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        assert not hasattr(theirs, name)
        assert getattr(ours, name, None) is None, name


def test_lbfgs_starts_from_the_solution_before_with_warm_start():
    x, y = data("classes")
    theirs, ours = pair("classes", solver="lbfgs", max_iter=4, warm_start=True)
    for one in (theirs, ours):
        one.fit(x, y).fit(x, y)
    same_weights(theirs, ours, 1e-9)


def objective(mlp, x, y):
    """The documented loss for several outputs: half the mean square, and the penalty."""
    penalty = 0.5 * mlp.alpha / len(x) * sum(np.sum(c**2) for c in mlp.coefs_)
    return 0.5 * np.mean((y - mlp.predict(x)) ** 2) + penalty


def test_lbfgs_has_the_gradient_of_several_outputs():
    # scikit-learn's is too large by their number: https://github.com/scikit-learn/scikit-learn,
    # issue 8349. So its line search goes astray, and what it calls converged is no minimum.
    x, y = data("outputs")
    settings = {"hidden_layer_sizes": (3,), "activation": "tanh", "alpha": 1.0}
    theirs, ours = fitted("outputs", solver="lbfgs", **settings, tol=1e-7, max_iter=3000)
    close(ours.loss_, objective(ours, x, y), 1e-14)
    close(theirs.loss_, objective(theirs, x, y), 1e-14)
    assert ours.loss_ < theirs.loss_ - 1e-6

    def slope(mlp, attribute, layer, index):
        values = []
        for step in (1e-5, -1e-5):
            moved = copy.deepcopy(mlp)
            arrays = [np.array(one) for one in getattr(moved, attribute)]
            arrays[layer].flat[index] += step
            setattr(moved, attribute, arrays)
            values.append(objective(moved, x, y))
        return (values[0] - values[1]) / 2e-5

    slopes = [
        slope(ours, attribute, layer, index)
        for attribute in ("coefs_", "intercepts_")
        for layer, array in enumerate(getattr(ours, attribute))
        for index in range(0, array.size, 4)
    ]
    assert max(map(abs, slopes)) < 1e-5


def test_the_gradient_of_several_outputs_is_that_of_the_objective():
    from anyback_nn.sklearn.batches import build_source
    from anyback_nn.sklearn.lbfgs import Problem
    from anyback_nn.training.data import Batch

    x, y = data("outputs")
    _, ours = fitted("outputs", solver="lbfgs", activation="tanh", alpha=2.0, max_iter=3)
    source = build_source(Batch(x, y), ours.model_.backend, "float64", len(x))
    problem = Problem(ours.model_, ours._objective(), source)
    vector = problem.start()
    value, gradient = problem(vector)
    close(value, ours.loss_, 1e-14)
    close(value, objective(ours, x, y), 1e-14)
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.standard_normal(vector.shape)
        ahead, behind = (problem(vector + step * direction)[0] for step in (1e-5, -1e-5))
        close((ahead - behind) / 2e-5, gradient @ direction, 1e-8)


# When training ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("tol", [0.05, 0.005])
@pytest.mark.parametrize("n_iter_no_change", [1, 4])
def test_training_ends_after_epochs_without_improvement(solver, tol, n_iter_no_change):
    theirs, ours = fitted(
        "classes", solver=solver, tol=tol, n_iter_no_change=n_iter_no_change, max_iter=200
    )
    same(theirs, ours)
    assert ours.n_iter_ < 200
    assert ours.converged_


def test_n_iter_no_change_can_be_infinite():
    theirs, ours = fitted("classes", tol=10.0, n_iter_no_change=np.inf, max_iter=30)
    same(theirs, ours)
    assert (ours.n_iter_, ours.converged_) == (30, False)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_max_iter_and_its_warning(name):
    x, y = data(name)
    theirs, ours = pair(name, max_iter=5)
    expected = (
        "Stochastic Optimizer: Maximum iterations (5) reached and the optimization hasn't "
        "converged yet."
    )
    assert warned(lambda: ours.fit(x, y)) == [(ConvergenceWarning, expected)]
    assert warned(lambda: theirs.fit(x, y)) == [(ConvergenceWarning, expected)]
    assert ours.n_iter_ == 5
    assert len(ours.loss_curve_) == 5


def test_no_warning_where_training_has_ended_by_itself():
    x, y = data("classes")
    _, ours = pair("classes", tol=1.0, max_iter=100)
    assert warned(lambda: ours.fit(x, y)) == []


def test_the_warning_points_at_the_line_that_called_fit():
    x, y = data("classes")
    for _, ours in (pair("classes"), pair("classes", solver="lbfgs"), pair("classes", tol=9e9)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours.set_params(batch_size=999).fit(x, y)
        for one in caught:
            assert one.filename == __file__, one


def test_losses_of_the_curve():
    theirs, ours = fitted("values", learning_rate_init=0.05, max_iter=30)
    assert isinstance(ours.loss_curve_, list)
    assert ours.loss_ == ours.loss_curve_[-1]
    assert ours.best_loss_ == min(ours.loss_curve_)
    close(ours.best_loss_, theirs.best_loss_)


def test_t_counts_the_samples():
    theirs, ours = fitted("classes", max_iter=3, batch_size=40)
    assert ours.t_ == theirs.t_ == 3 * 150
    theirs, ours = fitted("classes", max_iter=3, early_stopping=True)
    assert ours.t_ == theirs.t_ == 3 * 135


# Early stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_early_stopping_takes_the_same_course(name, solver):
    settings = {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.2}
    theirs, ours = fitted(
        name, solver=solver, **settings, learning_rate_init=0.02, max_iter=60, batch_size=32
    )
    same(theirs, ours)
    assert len(ours.validation_scores_) == ours.n_iter_
    assert ours.best_validation_score_ == max(ours.validation_scores_)
    assert ours.best_loss_ is None


def test_the_best_weights_are_put_back():
    # After the best epoch come others that spoil the weights.
    settings = {"early_stopping": True, "solver": "sgd", "learning_rate_init": 0.2, "momentum": 0.9}
    theirs, ours = fitted("values", **settings, n_iter_no_change=3, max_iter=50)
    best = int(np.argmax(ours.validation_scores_))
    assert best < ours.n_iter_ - 1
    _, until = fitted("values", **settings, n_iter_no_change=3, max_iter=best + 1)
    same_weights(until, ours, 0.0)
    same_weights(theirs, ours)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
@pytest.mark.parametrize("name", ["binary", "classes", "labels", "values"])
def test_validation_fraction_is_set_aside(name, fraction):
    theirs, ours = fitted(name, early_stopping=True, validation_fraction=fraction, max_iter=2)
    same(theirs, ours)
    n_samples = len(data(name)[0])
    assert ours.t_ == 2 * (n_samples - np.ceil(fraction * n_samples))


def test_validation_is_stratified_for_two_classes():
    # One in ten is of the second class: with a stratified part of 20, exactly 2 of them.
    y = np.arange(100) % 10 == 0
    x = scale(np.random.default_rng(0).standard_normal((100, 3)))
    settings = QUICK | {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 3}
    settings |= {"solver": "sgd", "learning_rate_init": 1e-12}
    for seed in range(5):
        theirs, ours = (
            one(**settings | {"random_state": seed}) for one in (TheirClassifier, MLPClassifier)
        )
        same(theirs.fit(x, y), ours.fit(x, y))


@pytest.mark.parametrize("name", ["classes", "values"])
def test_a_validation_part_that_is_too_small(name):
    x, y = (part[::15][:9] for part in data(name))
    theirs, ours = pair(name, early_stopping=True)
    with pytest.raises(ValueError, match="The validation set is too small"):
        ours.fit(x, y)
    assert refused(lambda: ours.fit(x, y)) == refused(lambda: theirs.fit(x, y))


def test_a_validation_fraction_of_zero():
    x, y = data("classes")
    theirs, ours = pair("classes", early_stopping=True, validation_fraction=0.0)
    for one in (theirs, ours):
        with pytest.raises(ValueError, match="test_size"):
            one.fit(x, y)


def test_without_early_stopping_there_are_no_scores():
    theirs, ours = fitted("classes")
    assert theirs.validation_scores_ is ours.validation_scores_ is None
    assert theirs.best_validation_score_ is ours.best_validation_score_ is None


def test_early_stopping_is_no_matter_of_lbfgs():
    theirs, ours = fitted("classes", solver="lbfgs", early_stopping=True, max_iter=5)
    same_weights(theirs, ours, 1e-10)


# Fitting again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOME, ids=list(SOLVERS))
@pytest.mark.parametrize("name", ["binary", "classes", "labels", "outputs"])
def test_warm_start_goes_on(name, solver):
    x, y = data(name)
    theirs, ours = pair(name, **solver, warm_start=True, max_iter=5)
    for one in (theirs, ours):
        one.fit(x, y).fit(x, y)
    same(theirs, ours)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (5, 10, 10 * len(x))


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_warm_start_begins_with_the_first_rate_again(learning_rate):
    x, y = data("classes")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.2}
    theirs, ours = pair(
        "classes", **settings, warm_start=True, max_iter=8, tol=0.5, n_iter_no_change=1
    )
    for one in (theirs, ours):
        one.fit(x, y).fit(x, y)
    same(theirs, ours)


@pytest.mark.parametrize(
    "change",
    [
        {"max_iter": 4},
        {"alpha": 1.0},
        {"learning_rate_init": 0.1},
        {"batch_size": 17},
        {"solver": "sgd"},
        {"shuffle": False},
        {"random_state": 9},
        {"beta_1": 0.1},
        {"early_stopping": False, "tol": 0.3, "n_iter_no_change": 2, "max_iter": 50},
    ],
    ids=lambda change: next(iter(change)),
)
def test_warm_start_after_set_params(change):
    x, y = data("classes")
    theirs, ours = pair("classes", warm_start=True, max_iter=5)
    for one in (theirs, ours):
        one.fit(x, y).set_params(**change).fit(x, y)
    same(theirs, ours)


def test_warm_start_with_early_stopping():
    x, y = data("values")
    theirs, ours = pair("values", warm_start=True, early_stopping=True, max_iter=6)
    for one in (theirs, ours):
        one.fit(x, y).set_params(max_iter=20, learning_rate_init=0.01).fit(x, y)
    same(theirs, ours)
    assert len(ours.validation_scores_) == 26
    assert ours.best_validation_score_ > max(ours.validation_scores_[:6])


def test_warm_start_that_does_not_improve_gives_the_best_weights_of_before():
    # scikit-learn's are lost, since it goes on to train in the very arrays that it keeps.
    x, y = data("classes")
    _, ours = pair("classes", warm_start=True, early_stopping=True, learning_rate_init=0.05)
    first = copy.deepcopy(ours.fit(x, y))
    ours.set_params(learning_rate_init=3.0, max_iter=4, tol=1e-4).fit(x, y)
    assert max(ours.validation_scores_[first.n_iter_ :]) <= first.best_validation_score_
    same_weights(first, ours, 0.0)


@pytest.mark.parametrize("change", ["fewer", "more", "other"])
def test_warm_start_refuses_other_classes(change):
    x, y = data("classes")
    new = {"fewer": np.minimum(y, 1), "more": np.where(x[:, 0] > 1, 3, y), "other": y + 1}[change]
    theirs, ours = fitted("classes", warm_start=True)
    kind, text = refused(lambda: ours.fit(x, new))
    other_kind, other_text = refused(lambda: theirs.fit(x, new))
    assert kind is other_kind is ValueError
    assert text.startswith("warm_start can only be used where `y` has the same classes as in the")
    assert text == other_text


def test_without_warm_start_fit_begins_anew():
    x, y = data("classes")
    theirs, ours = pair("classes")
    once = clone(ours).fit(x, y)
    # Other classes, another number of features: all is forgotten.
    for one in (theirs, ours):
        one.fit(x[:, :2], np.minimum(y, 1)).fit(x, y)
    same(theirs, ours)
    assert ours.loss_curve_ == once.loss_curve_
    assert ours.n_features_in_ == 4


def test_warm_start_refuses_another_number_of_features():
    x, y = data("classes")
    theirs, ours = fitted("classes", warm_start=True)
    assert refused(lambda: ours.fit(x[:, :2], y)) == refused(lambda: theirs.fit(x[:, :2], y))


# partial_fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOME, ids=list(SOLVERS))
@pytest.mark.parametrize("name", PROBLEMS)
def test_partial_fit_takes_the_same_course(name, solver):
    x, y = data(name)
    theirs, ours = pair(name, **solver, batch_size=25)
    classes = {"labels": np.arange(4)}.get(name, np.unique(y))
    more = {"classes": classes} if is_classifier(ours) else {}
    for one in (theirs, ours):
        one.partial_fit(x[:80], y[:80], **more)
        one.partial_fit(x[80:], y[80:])
        one.partial_fit(x, y, **more)
    same(theirs, ours)
    assert (ours.n_iter_, len(ours.loss_curve_), ours.t_) == (1, 3, 2 * len(x))


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
def test_partial_fit_lowers_the_rate(learning_rate):
    x, y = data("values")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.03}
    theirs, ours = pair("values", **settings, tol=1.0, n_iter_no_change=1)
    for one in (theirs, ours):
        for _ in range(9):
            one.partial_fit(x, y)
    same(theirs, ours)


@pytest.mark.parametrize("learning_rate", ["invscaling", "adaptive"])
@pytest.mark.parametrize("change", [{"learning_rate": "constant"}, {"solver": "adam"}])
def test_partial_fit_keeps_the_rule_of_the_rate(change, learning_rate):
    x, y = data("values")
    settings = {"solver": "sgd", "learning_rate": learning_rate, "tol": 10.0, "n_iter_no_change": 1}
    theirs, ours = pair("values", **settings)
    for one in (theirs, ours):
        for _ in range(3):
            one.partial_fit(x, y)
        one.set_params(**change)
        for _ in range(5):
            one.partial_fit(x, y)
    same(theirs, ours)


def test_partial_fit_goes_on_after_it_has_converged():
    x, y = data("values")
    theirs, ours = pair("values", tol=9.0, n_iter_no_change=1)
    for one in (theirs, ours):
        for _ in range(6):
            one.partial_fit(x, y)
    same(theirs, ours)
    assert len(ours.loss_curve_) == 6


def test_partial_fit_and_fit_in_turn():
    x, y = data("classes")
    theirs, ours = pair("classes", max_iter=3)
    for one in (theirs, ours):
        one.partial_fit(x, y, classes=[0, 1, 2])
        one.fit(x, y)
        one.partial_fit(x[:50], y[:50])
    same(theirs, ours)
    assert len(ours.loss_curve_) == 4


def test_partial_fit_with_a_generator_goes_on_drawing():
    x, y = data("values")
    theirs, ours = pair("values")
    for one in (theirs, ours):
        one.set_params(random_state=np.random.RandomState(5))
        for _ in range(3):
            one.partial_fit(x, y)
    same(theirs, ours)


def test_partial_fit_of_classes_that_come_later():
    x, y = data("classes")
    theirs, ours = pair("classes")
    for one in (theirs, ours):
        one.partial_fit(x[:60], y[:60], classes=[2, 1, 0])
    same(theirs, ours)
    assert ours.predict_proba(x).shape == (150, 3)


def test_partial_fit_needs_the_classes_first():
    x, y = data("classes")
    theirs, ours = pair("classes")
    assert refused(lambda: ours.partial_fit(x, y)) == refused(lambda: theirs.partial_fit(x, y))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        ours.partial_fit(x, y)


def test_partial_fit_refuses_other_classes():
    x, y = data("classes")
    theirs, ours = (one.partial_fit(x, y, classes=[0, 1, 2]) for one in pair("classes"))
    for classes in ([0, 1], [0, 1, 2, 3]):

        def again(one, classes=classes):
            one.partial_fit(x, y, classes=classes)

        assert refused(lambda: again(ours)) == refused(lambda: again(theirs))
    new = np.where(y == 2, 7, y)
    assert refused(lambda: ours.partial_fit(x, new)) == refused(lambda: theirs.partial_fit(x, new))


def test_partial_fit_refuses_a_class_that_was_not_announced():
    x, y = data("classes")
    _, ours = pair("classes")
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        ours.partial_fit(x, y, classes=[0, 1])


def test_partial_fit_refuses_labels_that_were_not_announced():
    x, y = data("labels")
    theirs, ours = pair("labels")
    for one in (theirs, ours):
        with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
            one.partial_fit(x, y, classes=[0, 1])


def test_partial_fit_of_some_classes_with_warm_start():
    # As the description of `classes` says; scikit-learn's refuses it if warm_start is on.
    x, y = data("classes")
    _, ours = pair("classes", warm_start=True)
    ours.partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x[:50], y[:50])
    _, without = pair("classes")
    without.partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x[:50], y[:50])
    assert ours.loss_curve_ == without.loss_curve_


def test_partial_fit_is_not_there_with_lbfgs():
    theirs, ours = pair("classes", solver="lbfgs")
    assert not hasattr(ours, "partial_fit")
    assert refused(lambda: ours.partial_fit) == refused(lambda: theirs.partial_fit)
    with pytest.raises(AttributeError) as caught:
        ours.partial_fit
    text = "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
    assert str(caught.value.__cause__) == text
    # scikit-learn's regressor has it, by a slip: its condition is a method that is not called.
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


def test_partial_fit_with_early_stopping_works():
    # scikit-learn refuses it.
    x, y = data("classes")
    _, ours = pair("classes", early_stopping=True, n_iter_no_change=2, learning_rate_init=0.05)
    for _ in range(60):
        ours.partial_fit(x, y, classes=[0, 1, 2])
        if ours.converged_:
            break
    assert ours.converged_
    assert len(ours.validation_scores_) == len(ours.loss_curve_) < 60
    before = [c.copy() for c in ours.coefs_]
    with pytest.warns(UserWarning, match="early stopping has ended the training"):
        ours.partial_fit(x, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, ours.coefs_))


# Random numbers ----------------------------------------------------------------------------------


def test_random_state_as_a_number_repeats():
    curves = [fitted("classes", random_state=7)[1].loss_curve_ for _ in range(2)]
    assert curves[0] == curves[1]
    assert curves[0] != fitted("classes", random_state=8)[1].loss_curve_


def test_random_state_as_a_generator():
    x, y = data("classes")
    after = []
    for one in pair("classes", early_stopping=True):
        random = np.random.RandomState(11)
        one.set_params(random_state=random).fit(x, y)
        one.fit(x, y)  # with other numbers than the first time
        after.append((one, random.randint(1000)))
    assert after[0][1] == after[1][1]
    same(after[0][0], after[1][0])


@pytest.fixture
def numpys_own():
    """Put NumPy's own generator back, which is shared by all tests."""
    before = np.random.get_state()  # noqa: NPY002 - what None means to scikit-learn
    yield
    np.random.set_state(before)  # noqa: NPY002


@pytest.mark.usefixtures("numpys_own")
def test_random_state_none_is_numpys_own():
    x, y = data("classes")
    both = []
    for one in pair("classes", random_state=None):
        np.random.seed(3)  # noqa: NPY002
        both.append(one.fit(x, y))
    same(*both)
    _, again = pair("classes", random_state=None)
    assert again.fit(x, y).loss_curve_ != both[1].loss_curve_


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
    x, y = data("classes")
    printed = []
    for one in pair("classes", **settings, verbose=verbose):
        one.fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("Iteration 1, loss = ")
    assert printed[0] == printed[1]


def test_verbose_prints_in_partial_fit(capsys):
    x, y = data("values")
    printed = []
    for one in pair("values", verbose=True):
        one.partial_fit(x, y).partial_fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[0].count("Iteration 1, loss") == 2
    assert printed[0] == printed[1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_nothing_is_printed_by_default(capsys, solver):
    fitted("classes", solver=solver)
    assert capsys.readouterr() == ("", "")


# Targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binary", "classes", "digits", "labels"])
def test_classes_and_probabilities(name):
    x, y = data(name)
    theirs, ours = fitted(name, max_iter=30, learning_rate_init=0.02)
    mine, other = ours.predict(x), theirs.predict(x)
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    assert np.array_equal(mine, other)
    close(ours.predict_proba(x), theirs.predict_proba(x))
    close(ours.predict_log_proba(x), theirs.predict_log_proba(x), 1e-10)
    assert ours.score(x, y) == theirs.score(x, y)
    weights = np.arange(len(x)) + 0.5
    assert ours.score(x, y, weights) == pytest.approx(theirs.score(x, y, weights), rel=1e-14)
    if name != "labels":
        close(ours.predict_proba(x).sum(axis=1), 1.0)


@pytest.mark.parametrize("name", ["values", "outputs", "counts"])
def test_values(name):
    x, y = data(name)
    theirs, ours = fitted(name, max_iter=20, learning_rate_init=0.01)
    mine, other = ours.predict(x), theirs.predict(x)
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    close(mine, other)
    close(ours.score(x, y), theirs.score(x, y))
    weights = np.arange(len(x)) + 0.5
    close(ours.score(x, y, weights), theirs.score(x, y, weights))
    assert ours.out_activation_ == ("exp" if name == "counts" else "identity")


@pytest.mark.parametrize("name", PROBLEMS)
def test_single_samples_and_many_batches(name):
    x, _ = data(name)
    theirs, ours = fitted(name)
    for some in (x[:1], np.concatenate([x] * 30)):
        mine, other = ours.predict(some), theirs.predict(some)
        assert mine.shape == other.shape
        close(mine, other)


NAMED = {
    "text": ["small", "medium", "large"],
    "object": np.array(["b", "a", "c"], dtype=object),
    "negative": [-1, -5, 3],
    "unsigned": np.array([9, 0, 200], dtype=np.uint8),
    "float": [1.0, 0.0, 5.0],
}


@pytest.mark.parametrize("names", NAMED)
def test_names_of_classes(names):
    x, y = data("classes")
    y = np.asarray(NAMED[names])[y]
    theirs, ours = (one.fit(x, y) for one in pair("classes", early_stopping=True, max_iter=20))
    same(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert mine.dtype == other.dtype
    assert np.array_equal(mine, other)
    assert ours.classes_.dtype == theirs.classes_.dtype
    assert ours.score(x, y) == theirs.score(x, y)


@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [-1, 1], [2.0, 1.0]], ids=str)
def test_names_of_two_classes(names):
    x, y = data("binary")
    y = np.asarray(names)[y]
    theirs, ours = (one.fit(x, y) for one in pair("binary"))
    same(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert mine.dtype == other.dtype
    assert np.array_equal(mine, other)
    close(ours.predict_proba(x), theirs.predict_proba(x))


def test_lists():
    x, y = data("classes")
    theirs, ours = (one.fit(x.tolist(), y.tolist()) for one in pair("classes"))
    same(theirs, ours)
    assert np.array_equal(ours.predict(x.tolist()), theirs.predict(x.tolist()))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_one_class_only(solver):
    x, y = data("binary")[0], np.full(120, "only")
    theirs, ours = (one.fit(x, y) for one in pair("binary", solver=solver))
    same_weights(theirs, ours, 1e-9)
    assert np.array_equal(ours.predict(x), y)
    assert np.array_equal(theirs.predict(x), y)
    assert ours.score(x, y) == 1.0
    # Of one class, one column. scikit-learn has a second, of a class that there is not.
    assert np.array_equal(ours.predict_proba(x), np.ones((120, 1)))
    assert np.array_equal(ours.predict_log_proba(x), np.zeros((120, 1)))


def test_a_column_of_targets_is_taken_with_a_warning():
    for name in ("classes", "values"):
        x, y = data(name)
        theirs, ours = pair(name, tol=1e9)
        caught = [warned(functools.partial(one.fit, x, y[:, None])) for one in (theirs, ours)]
        assert caught[0] == caught[1]
        assert [kind for kind, _ in caught[1]] == [DataConversionWarning]
        same(theirs, ours)


@pytest.mark.parametrize("sparse", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_labels_can_be_sparse(sparse):
    x, y = data("labels")
    try:
        theirs, ours = (one.fit(x, sparse(y)) for one in pair("labels"))
    except TypeError:
        # What scikit-learn's own does not take, ours need not.
        with pytest.raises(TypeError):
            pair("labels")[0].fit(x, sparse(y))
        return
    same(theirs, ours)
    mine, other = ours.predict(x), theirs.predict(x)
    assert sp.issparse(mine)
    assert sp.issparse(other)
    assert np.array_equal(mine.toarray(), other.toarray())


def test_labels_that_none_or_all_have():
    x, y = data("labels")
    y = y.copy()
    y[:, 0], y[:, 1] = 0, 1
    theirs, ours = (one.fit(x, y) for one in pair("labels"))
    same(theirs, ours)
    assert np.array_equal(ours.predict(x), theirs.predict(x))


@pytest.mark.parametrize("kind", ["continuous", "multioutput"])
def test_targets_that_are_no_classes(kind):
    x, y = data("classes")
    y = {"continuous": y + 0.5, "multioutput": np.stack([y, y], axis=1)}[kind]
    theirs, ours = pair("classes")
    assert refused(lambda: ours.fit(x, y))[0] is refused(lambda: theirs.fit(x, y))[0] is ValueError


def test_logarithms_of_probabilities_are_finite():
    # Where a probability rounds to zero, scikit-learn's logarithm of it is minus infinity.
    for name, classes in (("classes", 3), ("binary", 2)):
        _, ours = fitted(name)
        far = 1e6 * data(name)[0]
        probabilities, logarithms = ours.predict_proba(far), ours.predict_log_proba(far)
        assert probabilities.min() == 0.0
        assert logarithms.shape == (len(far), classes)
        assert np.all(np.isfinite(logarithms))


def test_the_poisson_loss():
    theirs, ours = fitted("counts", max_iter=40, learning_rate_init=0.01)
    same(theirs, ours)
    x, _ = data("counts")
    assert np.all(ours.predict(x) > 0)


def test_the_poisson_loss_of_several_outputs():
    x, y = data("counts")
    y = np.stack([y, np.round(np.abs(x[:, 0]))], axis=1)
    theirs, ours = (one.fit(x, y) for one in pair("counts", max_iter=20))
    same(theirs, ours)


@pytest.mark.parametrize("solver", SOME, ids=list(SOLVERS))
def test_several_outputs(solver):
    theirs, ours = fitted("outputs", **solver, max_iter=30)
    same(theirs, ours)
    assert ours.n_outputs_ == 3
    assert ours.predict(data("outputs")[0]).shape == (150, 3)


# Weights of samples ------------------------------------------------------------------------------


def some_weights(n_samples):
    weights = np.random.default_rng(4).uniform(0.1, 3.0, n_samples)
    weights[::4] = 0.0
    return weights


@pytest.mark.parametrize("solver", [*SOME, {"solver": "lbfgs"}], ids=[*SOLVERS, "lbfgs"])
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "outputs"])
def test_weights_of_samples(name, solver):
    weights = some_weights(len(data(name)[0]))
    theirs, ours = fitted(name, weights, **solver, batch_size=40, alpha=0.1)
    if solver == {"solver": "lbfgs"}:
        same_weights(theirs, ours, 1e-8)
        close(ours.loss_, theirs.loss_, 1e-10)
    else:
        same(theirs, ours)


@pytest.mark.parametrize("name", ["binary", "classes", "values", "outputs"])
def test_weights_of_samples_with_early_stopping(name):
    weights = some_weights(len(data(name)[0]))
    same(*fitted(name, weights, early_stopping=True, max_iter=15, batch_size=40))


def test_weights_of_samples_in_partial_fit():
    x, y = data("classes")
    weights = some_weights(150)
    theirs, ours = pair("classes")
    for one in (theirs, ours):
        one.partial_fit(x, y, weights, classes=[0, 1, 2]).partial_fit(x, y, weights)
    same(theirs, ours)


@pytest.mark.parametrize(
    "weights",
    [2, 0.5, list(range(150)), np.arange(150, dtype=np.float32), np.arange(150, dtype=object)],
    ids=["int", "float", "list", "float32", "objects"],
)
def test_kinds_of_weights(weights):
    x, y = data("classes")
    theirs, ours = (one.fit(x, y, sample_weight=weights) for one in pair("classes"))
    same(theirs, ours, 1e-7 if isinstance(weights, np.ndarray) else 1e-12)


def test_samples_that_weigh_nothing_teach_nothing_even_as_a_batch():
    x, y = data("classes")
    weights = some_weights(150)
    weights[40:80] = 0.0
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "shuffle": False, "batch_size": 40}
    (theirs, ours), (_, without) = (pair("classes", **settings) for _ in range(2))
    ours.fit(x, y, weights)
    rest = np.r_[:40, 80:150]
    without.fit(x[rest], y[rest], weights[rest])
    same_weights(without, ours)
    # scikit-learn's divides by the sum of the weights of a batch.
    assert refused(lambda: theirs.fit(x, y, weights))[0] is ZeroDivisionError


def test_equal_weights_are_none():
    _, ours = fitted("classes", np.full(150, 3.0))
    _, without = fitted("classes", alpha=1e-4 / 3)  # the penalty is shared by the sum of weights
    close(ours.loss_curve_, without.loss_curve_)


@pytest.mark.parametrize("weights", [np.ones(7), np.ones((150, 2))], ids=["length", "columns"])
def test_weights_of_a_wrong_shape(weights):
    x, y = data("classes")
    theirs, ours = pair("classes")
    kinds = [refused(lambda one=one: one.fit(x, y, weights))[0] for one in (theirs, ours)]
    assert all(issubclass(kind, ValueError) for kind in kinds)


@pytest.mark.parametrize("wrong", [np.nan, -1.0, np.inf])
def test_weights_that_make_no_sense_are_refused(wrong):
    x, y = data("classes")
    weights = np.ones(150)
    weights[3] = wrong
    with pytest.raises(ValueError, match="weight"):
        MLPClassifier(**QUICK).fit(x, y, weights)


def test_weights_that_are_all_zero_are_refused():
    x, y = data("classes")
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        MLPClassifier(**QUICK).fit(x, y, np.zeros(150))


# Inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "solver", "sparse"),
    [
        *itertools.product(["digits", "values"], ["sgd", "adam", "lbfgs"], [sp.csr_matrix]),
        *itertools.product(["digits"], ["adam"], [sp.csc_matrix, sp.csr_array, sp.coo_matrix]),
    ],
)
def test_sparse_inputs(name, solver, sparse):
    x, y = data(name)
    x = sparse(np.where(x > 0.2, x, 0.0))
    theirs, ours = (one.fit(x, y) for one in pair(name, solver=solver, max_iter=6))
    same_weights(theirs, ours, 1e-8 if solver == "lbfgs" else 1e-12)
    close(ours.predict(x), theirs.predict(x), 1e-8)
    close(ours.predict(x.toarray()), theirs.predict(x), 1e-8)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y))


def test_sparse_inputs_with_early_stopping_and_partial_fit():
    x, y = data("digits")
    x = sp.csc_matrix(x)
    theirs, ours = (one.fit(x, y) for one in pair("digits", early_stopping=True))
    same(theirs, ours)
    theirs, ours = pair("digits")
    for one in (theirs, ours):
        one.partial_fit(x, y, classes=np.arange(10)).partial_fit(x, y, some_weights(200))
    same(theirs, ours)


class Convertible:
    """What NumPy can make an array of, and no more."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)

    def __len__(self):
        return len(self.array)


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("metric", [None, "accuracy"])
@pytest.mark.parametrize(
    "kind", ["coo", "dia", "bsr", "lil", "csr", Convertible, np.ndarray.tolist]
)
def test_every_kind_of_input_with_early_stopping(kind, metric):
    x, y = data("classes")
    given = sp.csr_matrix(x).asformat(kind) if isinstance(kind, str) else kind(x)
    theirs, ours = pair("classes", early_stopping=True)
    ours.set_params(early_stopping_metric=metric)
    same(theirs.fit(given, y), ours.fit(given, y))


def test_names_of_features():
    x, y = data("classes")
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    theirs, ours = (one.fit(table, y) for one in pair("classes"))
    same(theirs, ours)
    assert ours.feature_names_in_.dtype == theirs.feature_names_in_.dtype == object
    assert ours.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert np.array_equal(ours.predict(table), theirs.predict(table))
    other = table.rename({"a": "z"})
    assert refused(lambda: ours.predict(other)) == refused(lambda: theirs.predict(other))
    caught = warned(lambda: ours.predict(x))
    assert caught == warned(lambda: theirs.predict(x))
    assert "does not have valid feature names" in caught[0][1]
    assert not hasattr(ours.fit(x, y), "feature_names_in_")


def test_names_of_features_with_early_stopping():
    # No warning of names that are missing comes from inside.
    x, y = data("classes")
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    same(*(one.fit(table, y) for one in pair("classes", early_stopping=True)))


@pytest.mark.parametrize("name", ["classes", "labels", "values", "outputs", "counts"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_float32_inputs_give_float32_weights(name, solver):
    x, y = data(name)
    x = x.astype(np.float32)
    theirs, ours = (one.fit(x, y) for one in pair(name, solver=solver, max_iter=5))
    same_weights(theirs, ours, 1e-5)
    assert {c.dtype for c in [*ours.coefs_, *ours.intercepts_]} == {np.dtype(np.float32)}
    assert ours.predict(x).dtype == (y.dtype if is_classifier(ours) else np.float32)
    if is_classifier(ours):
        assert ours.predict_proba(x).dtype == np.float32


@pytest.mark.parametrize("name", ["binary", "classes", "labels", "values", "counts"])
def test_lbfgs_reaches_the_minimum_from_float32_inputs_too(name):
    # SciPy's vector makes scikit-learn's weights float64, whatever it began with.
    x, y = data(name)
    x = x.astype(np.float32)
    settings = {"hidden_layer_sizes": (), "alpha": 1.0, "tol": 1e-9, "max_iter": 1000}
    theirs, ours = (one.fit(x, y) for one in pair(name, solver="lbfgs", **settings))
    assert ours.converged_
    same_weights(theirs, ours, 1e-4)
    assert ours.loss_ <= theirs.loss_ * (1 + 1e-6)
    for one in (theirs, ours):
        assert {c.dtype for c in [*one.coefs_, *one.intercepts_]} == {np.dtype(np.float64)}
    assert ours.predict(x).dtype == theirs.predict(x).dtype


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, bool, np.longdouble])
def test_other_inputs_give_float64_weights(dtype):
    x, y = data("digits")
    x = (16 * x).astype(dtype)
    theirs, ours = (one.fit(x, y) for one in pair("digits"))
    same(theirs, ours)
    assert ours.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("order", ["F", "strided", "readonly"])
def test_layouts_of_memory(order):
    x, y = data("classes")
    other = x.copy()
    if order == "F":
        other = np.asfortranarray(x)
    elif order == "strided":
        other = np.repeat(x, 2, axis=0)[::2]
    other.flags.writeable = order != "readonly"
    _, ours = fitted("classes")
    assert MLPClassifier(**QUICK).fit(other, y).loss_curve_ == ours.loss_curve_


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_written_to_the_data(name):
    x, y = (part.copy() for part in data(name))
    weights = some_weights(len(x))
    before = copy.deepcopy((x, y, weights))
    for solver in ("sgd", "lbfgs"):
        _, ours = pair(name, solver=solver, max_iter=2)
        ours.fit(x, y, weights).predict(x)
        ours.score(x, y, weights)
    assert all(np.array_equal(now, then) for now, then in zip((x, y, weights), before))


# Errors ------------------------------------------------------------------------------------------

WRONG = {
    "activation": ["none", 3],
    "solver": ["newton", None],
    "alpha": [-1e-9, "big"],
    "batch_size": [0, "all", 2.5],
    "learning_rate": ["falling", 0.1],
    "learning_rate_init": [0.0, None],
    "power_t": [-0.1, "half"],
    "max_iter": [0, 2.5],
    "shuffle": ["yes", 2],
    "random_state": ["seed", 0.5],
    "tol": [-1.0, None],
    "verbose": ["loud", -1],
    "warm_start": ["yes", None],
    "momentum": [-0.1, 1.1],
    "nesterovs_momentum": ["yes", 2],
    "early_stopping": ["yes", None],
    "validation_fraction": [-0.1, 1.0],
    "beta_1": [-0.1, 1.0],
    "beta_2": [-0.1, 1.0],
    "epsilon": [0.0, "small"],
    "n_iter_no_change": [0, 2.5],
    "max_fun": [0, 2.5],
    "hidden_layer_sizes": [0, "wide", None],
}


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
@pytest.mark.parametrize(("name", "value"), [(k, v) for k, some in WRONG.items() for v in some])
def test_invalid_parameters(theirs, ours, name, value):
    x, y = data("classes")
    calls = [lambda one=one: one(**{name: value}).fit(x, y) for one in (theirs, ours)]
    (other_kind, other), (kind, text) = map(refused, calls)
    assert kind is other_kind is InvalidParameterError
    if name == "activation":
        # Ours takes more of them.
        assert text.split(" must be ")[0] == other.split(" must be ")[0]
        assert text.split(" Got ")[1] == other.split(" Got ")[1]
    else:
        # The order in a set of names is that of its hashes.
        assert sorted(text) == sorted(other)


def test_every_parameter_is_checked():
    names = set(inspect.signature(TheirClassifier).parameters)
    assert names == set(WRONG)


def test_an_invalid_loss():
    x, y = data("values")
    for one in (TheirRegressor, MLPRegressor):
        kind, text = refused(lambda one=one: one(loss="cubic").fit(x, y))
        assert kind is InvalidParameterError
        assert text.startswith("The 'loss' parameter of MLPRegressor must be a")


def test_parameters_are_checked_in_fit_not_before():
    ours = MLPClassifier(alpha=-1.0)
    assert ours.set_params(alpha=-2.0).alpha == -2.0


@pytest.mark.parametrize("size", [2.5, "a", None])
@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_sizes_that_are_no_integers(theirs, ours, size):
    x, y = data("classes")
    for one in (theirs, ours):
        kind, _ = refused(lambda one=one: one(hidden_layer_sizes=(size,)).fit(x, y))
        assert issubclass(kind, TypeError | ValueError)


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_no_size(theirs, ours):
    x, y = data("classes")
    calls = [lambda one=one: one(hidden_layer_sizes=(3, 0)).fit(x, y) for one in (theirs, ours)]
    found = [refused(call) for call in calls]
    assert found[0] == found[1] == (ValueError, "hidden_layer_sizes must be > 0, got [3, 0].")


def test_the_check_of_parameters_can_be_switched_off():
    with config_context(skip_parameter_validation=True):
        theirs, ours = fitted("classes", verbose=None)
    same(theirs, ours)


BAD = {
    "one dimension": lambda x, y: (x[:, 0], y),
    "three dimensions": lambda x, y: (x[:, :, None], y),
    "another number": lambda x, y: (x, y[:-1]),
    "no samples": lambda x, y: (x[:0], y[:0]),
    "no features": lambda x, y: (x[:, :0], y),
    "nan": lambda x, y: (np.where(x > 2, np.nan, x), y),
    "infinity": lambda x, y: (np.where(x > 2, np.inf, x), y),
    "text": lambda x, y: (np.full(x.shape, "a"), y),
    "complex": lambda x, y: (x * 1j, y),
    "no targets": lambda x, y: (x, None),
    "targets of nan": lambda x, y: (x, np.where(y > 0, np.nan, y)),
    "targets of three dimensions": lambda x, y: (x, np.zeros((len(x), 2, 2))),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["classes", "values"])
def test_bad_data(name, bad):
    x, y = BAD[bad](*data(name))
    theirs, ours = pair(name)
    assert refused(lambda: ours.fit(x, y)) == refused(lambda: theirs.fit(x, y))
    assert not hasattr(ours, "coefs_")


@pytest.mark.parametrize("bad", ["one dimension", "nan", "infinity", "no samples", "no features"])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_bad_inputs_of_predict(name, bad):
    x, _ = BAD[bad](*data(name))
    theirs, ours = fitted(name)
    assert refused(lambda: ours.predict(x)) == refused(lambda: theirs.predict(x))


def test_another_number_of_features():
    x, _ = data("classes")
    theirs, ours = fitted("classes")
    for method in ("predict", "predict_proba", "predict_log_proba"):
        mine, other = (getattr(one, method) for one in (ours, theirs))
        assert refused(lambda call=mine: call(x[:, :3])) == refused(
            lambda call=other: call(x[:, :3])
        )
    text = "X has 3 features, but MLPClassifier is expecting 4 features as input."
    assert refused(lambda: ours.predict(x[:, :3])) == (ValueError, text)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_not_fitted(name):
    x, y = data(name)
    theirs, ours = pair(name)
    methods = ["predict"] + ["predict_proba", "predict_log_proba"] * is_classifier(ours)
    for method in methods:
        mine, other = (getattr(one, method) for one in (ours, theirs))
        found = refused(lambda call=mine: call(x))
        assert found == refused(lambda call=other: call(x))
        assert found[0] is NotFittedError
    assert refused(lambda: ours.score(x, y)) == refused(lambda: theirs.score(x, y))


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_weights_that_become_infinite(size):
    x, y = data("values")
    theirs, ours = pair("values", solver="sgd", learning_rate_init=1e6, activation="identity")
    start = r"^Solver produced non-finite parameter weights"
    with np.errstate(all="ignore"):
        for one in (theirs, ours):
            with pytest.raises(ValueError, match=start):
                one.set_params(max_iter=1000).fit(size * x, y)
    # At once, so not after 1000 epochs.
    assert len(ours.loss_curve_) < 100 < len(theirs.loss_curve_)


# Interruption ------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_interruption_keeps_the_epochs_that_are_done(monkeypatch, early_stopping):
    def interrupted(*lines):
        if lines[0].startswith("Iteration 4"):
            raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "print", interrupted)
    x, y = data("classes")
    found = []
    for one in pair("classes", verbose=True, early_stopping=early_stopping):
        with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
            one.fit(x, y)
        found.append(one)
    theirs, ours = found
    same(theirs, ours)
    assert (ours.n_iter_, len(ours.loss_curve_)) == (4, 4)
    assert ours.predict(x).shape == (150,)


def test_an_interruption_within_an_epoch():
    x, y = data("values")

    class Interrupted(np.random.RandomState):
        """Interrupts the fourth shuffling."""

        calls = 0

        def shuffle(self, order):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            super().shuffle(order)

    found = []
    for one in pair("values"):
        one.set_params(random_state=Interrupted(2))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            one.fit(x, y)
        found.append(one)
    same(*found)
    assert found[1].n_iter_ == 3


# As an estimator among others --------------------------------------------------------------------


def test_clones_have_the_parameters_and_nothing_else():
    _, ours = fitted("classes", alpha=0.5)
    ours.set_params(dropout=0.25, label_smoothing=0.1)
    fresh = clone(ours)
    assert fresh.get_params() == ours.get_params()
    assert not hasattr(fresh, "coefs_")
    with pytest.raises(NotFittedError):
        fresh.predict(data("classes")[0])


def test_set_params():
    ours = MLPClassifier()
    assert ours.set_params(alpha=0.3, hidden_layer_sizes=(2, 1)) is ours
    assert (ours.alpha, ours.get_params()["hidden_layer_sizes"]) == (0.3, (2, 1))
    kind, text = refused(lambda: ours.set_params(alpa=1))
    assert kind is ValueError
    assert text.startswith("Invalid parameter 'alpa' for estimator MLPClassifier(")


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_how_it_is_written(theirs, ours):
    for settings in ({}, {"alpha": 1.0, "solver": "sgd"}):
        assert repr(ours(**settings)) == repr(theirs(**settings))


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_how_it_is_displayed(theirs, ours):
    x, y = data("classes")
    for one in (ours(alpha=0.125), ours(alpha=0.125, max_iter=2).fit(x, y)):
        html = one._repr_html_()
        assert ours.__name__ in html
        assert "0.125" in html
        assert "n_iter_no_change" in html
        assert set(one._repr_mimebundle_()) == {"text/plain", "text/html"}


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_metadata_routing(theirs, ours):
    assert str(ours().get_metadata_routing()) == str(theirs().get_metadata_routing())
    setters = [name for name in dir(theirs) if name.startswith("set_") and "request" in name]
    assert setters == [name for name in dir(ours) if name.startswith("set_") and "request" in name]
    with config_context(enable_metadata_routing=True):
        asked = [one().set_fit_request(sample_weight=True) for one in (theirs, ours)]
        asked = [one.set_score_request(sample_weight=False) for one in asked]
        assert str(asked[0].get_metadata_routing()) == str(asked[1].get_metadata_routing())
        assert "True" in str(asked[1].get_metadata_routing())


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_set_output_is_where_theirs_is(theirs, ours):
    assert hasattr(ours(), "set_output") == hasattr(theirs(), "set_output")


def test_weights_can_be_set():
    x, _ = data("classes")
    theirs, ours = fitted("classes")
    for one in (theirs, ours):
        one.coefs_ = [2.0 * c for c in one.coefs_]
        one.intercepts_ = [c + 1.0 for c in one.intercepts_]
    same_weights(theirs, ours)
    close(ours.predict_proba(x), theirs.predict_proba(x))


def test_weights_can_be_written_to():
    x, _ = data("classes")
    theirs, ours = fitted("classes")
    for one in (theirs, ours):
        one.coefs_[0][:, 1] = 0.0
        one.intercepts_[-1][...] += 1.0
    close(ours.predict_proba(x), theirs.predict_proba(x))


def test_weights_of_a_layer_can_be_replaced():
    x, _ = data("classes")
    theirs, ours = fitted("classes")
    for one in (theirs, ours):
        one.coefs_[0] = np.zeros_like(one.coefs_[0])
    close(ours.predict_proba(x), theirs.predict_proba(x))

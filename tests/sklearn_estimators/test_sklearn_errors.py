"""Bad parameters and bad data are refused with scikit-learn's errors."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.utils._param_validation import InvalidParameterError
from sklearn_cases import KINDS, assert_same_fit, error_of, fit_pair, load_problem, make_pair

from anyback_nn.sklearn import MLPClassifier, MLPRegressor

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
    x, y = load_problem("classes")
    calls = [lambda one=one: one(**{name: value}).fit(x, y) for one in (theirs, ours)]
    (other_kind, other), (kind, text) = map(error_of, calls)
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
    x, y = load_problem("values")
    for one in (TheirRegressor, MLPRegressor):
        kind, text = error_of(lambda one=one: one(loss="cubic").fit(x, y))
        assert kind is InvalidParameterError
        assert text.startswith("The 'loss' parameter of MLPRegressor must be a")


def test_parameters_are_checked_in_fit_not_before():
    ours = MLPClassifier(alpha=-1.0)
    assert ours.set_params(alpha=-2.0).alpha == -2.0


@pytest.mark.parametrize("size", [2.5, "a", None])
@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_sizes_that_are_no_integers(theirs, ours, size):
    x, y = load_problem("classes")
    for one in (theirs, ours):
        kind, _ = error_of(lambda one=one: one(hidden_layer_sizes=(size,)).fit(x, y))
        assert issubclass(kind, TypeError | ValueError)


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_no_size(theirs, ours):
    x, y = load_problem("classes")
    calls = [lambda one=one: one(hidden_layer_sizes=(3, 0)).fit(x, y) for one in (theirs, ours)]
    found = [error_of(call) for call in calls]
    assert found[0] == found[1] == (ValueError, "hidden_layer_sizes must be > 0, got [3, 0].")


def test_the_check_of_parameters_can_be_switched_off():
    with config_context(skip_parameter_validation=True):
        theirs, ours = fit_pair("classes", verbose=None)
    assert_same_fit(theirs, ours)


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
    x, y = BAD[bad](*load_problem(name))
    theirs, ours = make_pair(name)
    assert error_of(lambda: ours.fit(x, y)) == error_of(lambda: theirs.fit(x, y))
    assert not hasattr(ours, "coefs_")


@pytest.mark.parametrize("bad", ["one dimension", "nan", "infinity", "no samples", "no features"])
@pytest.mark.parametrize("name", ["classes", "values"])
def test_bad_inputs_of_predict(name, bad):
    x, _ = BAD[bad](*load_problem(name))
    theirs, ours = fit_pair(name)
    assert error_of(lambda: ours.predict(x)) == error_of(lambda: theirs.predict(x))


def test_another_number_of_features():
    x, _ = load_problem("classes")
    theirs, ours = fit_pair("classes")
    for method in ("predict", "predict_proba", "predict_log_proba"):
        mine, other = (getattr(one, method) for one in (ours, theirs))
        assert error_of(lambda call=mine: call(x[:, :3])) == error_of(
            lambda call=other: call(x[:, :3])
        )
    text = "X has 3 features, but MLPClassifier is expecting 4 features as input."
    assert error_of(lambda: ours.predict(x[:, :3])) == (ValueError, text)


@pytest.mark.parametrize("name", ["classes", "values"])
def test_not_fitted(name):
    x, y = load_problem(name)
    theirs, ours = make_pair(name)
    methods = ["predict"] + ["predict_proba", "predict_log_proba"] * is_classifier(ours)
    for method in methods:
        mine, other = (getattr(one, method) for one in (ours, theirs))
        found = error_of(lambda call=mine: call(x))
        assert found == error_of(lambda call=other: call(x))
        assert found[0] is NotFittedError
    assert error_of(lambda: ours.score(x, y)) == error_of(lambda: theirs.score(x, y))


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_weights_that_become_infinite(size):
    x, y = load_problem("values")
    theirs, ours = make_pair("values", solver="sgd", learning_rate_init=1e6, activation="identity")
    start = r"^Solver produced non-finite parameter weights"
    with np.errstate(all="ignore"):
        for one in (theirs, ours):
            with pytest.raises(ValueError, match=start):
                one.set_params(max_iter=1000).fit(size * x, y)
    # At once, so not after 1000 epochs.
    assert len(ours.loss_curve_) < 100 < len(theirs.loss_curve_)

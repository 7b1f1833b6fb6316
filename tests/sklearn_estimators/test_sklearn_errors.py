"""Bad parameters and bad data are refused with scikit-learn's errors."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn import config_context
from sklearn.utils._param_validation import InvalidParameterError
from sklearn_cases import (
    KINDS,
    error_of,
    fit_pair,
    load_problem,
    make_pair,
    same_error,
    train_pair,
)

from anyback_nn.sklearn import MLPRegressor

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
    "loss": ["cubic", 3],
}
"""Of every parameter of scikit-learn's: loss is one of the regressor alone."""


@pytest.mark.parametrize(
    ("theirs", "ours", "name", "value"),
    [
        (*kind.values, name, value)
        for kind in KINDS
        for name in inspect.signature(kind.values[0]).parameters
        for value in WRONG[name]
    ],
)
def test_invalid_parameters(theirs, ours, name, value):
    x, y = load_problem("classes")
    calls = [lambda cls=cls: cls(**{name: value}).fit(x, y) for cls in (theirs, ours)]
    (other_kind, other), (kind, text) = map(error_of, calls)
    assert kind is other_kind is InvalidParameterError
    if name in ("activation", "loss"):
        # Ours takes more of them.
        assert text.split(" must be ")[0] == other.split(" must be ")[0]
        assert text.split(" Got ")[1] == other.split(" Got ")[1]
    else:
        # The order in a set of names is that of its hashes.
        assert sorted(text) == sorted(other)


@pytest.mark.parametrize("size", [2.5, "a", None])
@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_sizes_that_are_no_integers(theirs, ours, size):
    x, y = load_problem("classes")
    for cls in (theirs, ours):
        kind, _ = error_of(lambda cls=cls: cls(hidden_layer_sizes=(size,)).fit(x, y))
        assert issubclass(kind, TypeError | ValueError)


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_hidden_layers_of_no_size(theirs, ours):
    x, y = load_problem("classes")
    pair = [cls(hidden_layer_sizes=(3, 0)) for cls in (theirs, ours)]
    expected = (ValueError, "hidden_layer_sizes must be > 0, got [3, 0].")
    assert same_error(pair, lambda mlp: mlp.fit(x, y)) == expected


def test_the_check_of_parameters_can_be_switched_off():
    with config_context(skip_parameter_validation=True):
        train_pair("classes", verbose=None)


BAD = {
    "one dimension": lambda x, y: (x[:, 0], y),
    "three dimensions": lambda x, y: (x[:, :, None], y),
    "another number": lambda x, y: (x, y[:-1]),
    "no samples": lambda x, y: (x[:0], y[:0]),
    "no features": lambda x, y: (x[:, :0], y),
    "nan": lambda x, y: (np.where(x > 2, np.nan, x), y),
    "infinity": lambda x, y: (np.where(x > 2, np.inf, x), y),
    "strings": lambda x, y: (np.full(x.shape, "a"), y),
    "complex": lambda x, y: (x * 1j, y),
    "no targets": lambda x, y: (x, None),
    "targets of nan": lambda x, y: (x, np.where(y > 0, np.nan, y)),
    "targets of three dimensions": lambda x, y: (x, np.zeros((len(x), 2, 2))),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["classes", "values"])
def test_bad_data(name, bad):
    x, y = BAD[bad](*load_problem(name))
    pair = make_pair(name)
    same_error(pair, lambda mlp: mlp.fit(x, y))
    assert not hasattr(pair[1], "coefs_")


METHODS = [
    *(("classes", method) for method in ("predict", "predict_proba", "predict_log_proba")),
    ("values", "predict"),
]


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_bad_inputs_of_prediction(name, method):
    pair = fit_pair(name)
    for bad in ("one dimension", "nan", "infinity", "no samples", "no features"):
        x, _ = BAD[bad](*load_problem(name))
        same_error(pair, lambda mlp, x=x: getattr(mlp, method)(x))
    some = load_problem(name)[0][:, :3]
    _, text = same_error(pair, lambda mlp: getattr(mlp, method)(some))
    assert text.startswith("X has 3 features, but")


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_weights_that_become_infinite(size):
    x, y = load_problem("values")
    settings = {"solver": "sgd", "learning_rate_init": 1e6, "activation": "identity"}
    theirs, ours = pair = make_pair("values", **settings, max_iter=1000)
    with np.errstate(all="ignore"):
        for mlp in pair:
            with pytest.raises(ValueError, match="^Solver produced non-finite parameter weights"):
                mlp.fit(size * x, y)
    # At once, so not after 1000 epochs.
    assert len(ours.loss_curve_) < 100 < len(theirs.loss_curve_)


@pytest.mark.parametrize("targets", [["1.5"] * 20, ["high"] * 20], ids=["digits", "words"])
def test_targets_of_a_regression_that_are_strings(targets):
    x = np.arange(40.0).reshape(20, 2)
    with pytest.raises(ValueError, match="expected numeric targets, got dtype <U"):
        MLPRegressor().fit(x, np.array(targets))

"""An estimator like scikit-learn's: parameters, methods, attributes, clones, display."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags
from sklearn_cases import (
    KINDS,
    QUICK,
    assert_same_predictions,
    assert_same_weights,
    fit_pair,
    list_fitted_attributes,
    load_problem,
)

# What there is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_parameters_have_their_names_and_defaults(theirs, ours):
    other, mine = (inspect.signature(cls).parameters for cls in (theirs, ours))
    for name, parameter in other.items():
        assert (mine[name].default, mine[name].kind) == (parameter.default, parameter.kind)
    shared = [name for name in mine if name in other]
    assert shared == list(other)  # those that can be given by position, too
    added = [parameter for name, parameter in mine.items() if name not in other]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in added)


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_methods_have_their_names_and_parameters(theirs, ours):
    public = [name for name in dir(theirs()) if not name.startswith("_")]
    assert [name for name in public if not hasattr(ours(), name)] == []
    assert hasattr(ours(), "set_output") == hasattr(theirs(), "set_output")
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
    x, y = load_problem("classes")
    mine = ours(**QUICK).fit(pl.DataFrame(x, schema=list("abcd")), y)
    assert [name for name in names if not hasattr(mine, name)] == []


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_nothing_fitted_is_there_before_fit(theirs, ours):
    fresh = ours()
    x, y = load_problem("classes")
    names = list_fitted_attributes(theirs(**QUICK).fit(x, y))
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


# As an estimator among others --------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_how_it_is_displayed(theirs, ours):
    for settings in ({}, {"alpha": 1.0, "solver": "sgd"}):
        assert repr(ours(**settings)) == repr(theirs(**settings))
    x, y = load_problem("classes")
    for mlp in (ours(alpha=0.125), ours(alpha=0.125, max_iter=2).fit(x, y)):
        html = mlp._repr_html_()
        assert ours.__name__ in html
        assert "0.125" in html
        assert "n_iter_no_change" in html
        assert set(mlp._repr_mimebundle_()) == {"text/plain", "text/html"}


@pytest.mark.parametrize(("theirs", "ours"), KINDS)
def test_metadata_routing(theirs, ours):
    assert str(ours().get_metadata_routing()) == str(theirs().get_metadata_routing())
    setters = [name for name in dir(theirs) if name.startswith("set_") and "request" in name]
    assert setters == [name for name in dir(ours) if name.startswith("set_") and "request" in name]
    with config_context(enable_metadata_routing=True):
        requests = [cls().set_fit_request(sample_weight=True) for cls in (theirs, ours)]
        requests = [mlp.set_score_request(sample_weight=False) for mlp in requests]
        assert str(requests[0].get_metadata_routing()) == str(requests[1].get_metadata_routing())
        assert "True" in str(requests[1].get_metadata_routing())


def replace_all(mlp):
    mlp.coefs_ = [2.0 * c for c in mlp.coefs_]
    mlp.intercepts_ = [c + 1.0 for c in mlp.intercepts_]


def write_into(mlp):
    mlp.coefs_[0][:, 1] = 0.0
    mlp.intercepts_[-1][...] += 1.0


def replace_those_of_a_layer(mlp):
    mlp.coefs_[0] = np.zeros_like(mlp.coefs_[0])


@pytest.mark.parametrize("change", [replace_all, write_into, replace_those_of_a_layer])
def test_weights_can_be_changed(change):
    theirs, ours = pair = fit_pair("classes")
    for mlp in pair:
        change(mlp)
    assert_same_weights(theirs, ours)
    assert_same_predictions(theirs, ours, load_problem("classes")[0])

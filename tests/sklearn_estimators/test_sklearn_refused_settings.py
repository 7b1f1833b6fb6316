"""Settings that scikit-learn does not have are refused with what to do instead."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn_cases import classifier, regressor

import anyback_nn as nn
from anyback_nn.errors import ShapeError
from anyback_nn.sklearn import MLPClassifier

WRONG = {
    "too few outputs": (
        {"layers": [nn.Dense(2)]},
        ShapeError,
        r"the network has 2 outputs, but these targets need 3: end it with Dense\(3\)",
    ),
    "layers that are none": (
        {"layers": [nn.Dense(3), "relu"]},
        TypeError,
        r"layer 1: expected a Layer .*'relu'",
    ),
    "a class for a layer": (
        {"layers": [nn.Dense(3), nn.ReLU]},
        TypeError,
        r"layer 1: expected a Layer .* Write ReLU\(",
    ),
    "a loss of values": (
        {"loss": nn.MeanSquaredError()},
        ValueError,
        r"MeanSquaredError does not classify .* Use MLPRegressor",
    ),
    "a loss of two classes": (
        {"loss": "binary_cross_entropy"},
        ValueError,
        r"BinaryCrossEntropy is for two classes .* there are 3 classes\. Use loss='log_loss'",
    ),
    "a loss object of two classes": (
        {"loss": nn.BinaryCrossEntropy()},
        ValueError,
        r"for two classes or several labels, but there are 3 classes\. Use loss='log_loss'",
    ),
    "smoothing twice": (
        {"loss": nn.SoftmaxCrossEntropy(), "label_smoothing": 0.1},
        ValueError,
        r"label_smoothing: give it to the loss that you pass",
    ),
    "dropout in lbfgs": (
        {"solver": "lbfgs", "dropout": 0.1},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "batch norm in lbfgs": (
        {"solver": "lbfgs", "batch_norm": True},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "batch norm among layers in lbfgs": (
        {"solver": "lbfgs", "layers": [nn.BatchNorm(), nn.Dense(3)]},
        ValueError,
        r"dropout and batch normalisation .* Use solver='adam' or 'sgd'",
    ),
    "an activation that is none": (
        {"activation": ["rleu"]},
        ValueError,
        r"activation: expected one of .*leaky_relu.*, got 'rleu'",
    ),
    "an activation that is no name": (
        {"activation": [nn.Dense(2)]},
        TypeError,
        r"activation: expected a name or an Activation, got Dense",
    ),
    "too many activations": (
        {"activation": ["relu", "tanh"]},
        ValueError,
        r"activation: expected one for each of the 1 hidden layers, got 2",
    ),
    "too few rates": (
        {"dropout": [0.1], "hidden_layer_sizes": (4, 3)},
        ValueError,
        r"dropout: expected one for each of the 2 hidden layers, got 1",
    ),
    "a rate that is no number": (
        {"dropout": ["a"]},
        TypeError,
        r"dropout: expected numbers from 0 to below 1, got 'a'",
    ),
    "a rate of 1": (
        {"dropout": [1.0]},
        ValueError,
        r"(?i)dropout.*0.*1",
    ),
    "validation data of one": (
        {"validation_data": (np.ones((2, 4)),)},
        ValueError,
        r"validation_data: expected \(X, y\) or \(X, y, sample_weight\), got 1 entries",
    ),
    "validation data of other features": (
        {"validation_data": (np.ones((2, 3)), [0, 1])},
        ValueError,
        r"X has 3 features, but MLPClassifier is expecting 4 features",
    ),
    "validation data of other classes": (
        {"validation_data": (np.ones((2, 4)), [0, 7])},
        ValueError,
        r"`y` has classes not in `self\.classes_`",
    ),
    "validation data of other lengths": (
        {"validation_data": (np.ones((2, 4)), [0])},
        ValueError,
        r"inconsistent numbers of samples: \[2, 1\]",
    ),
    "an unknown backend": (
        {"backend": "pytorch"},
        ValueError,
        r"unknown backend 'pytorch': expected .*numpy.*Did you mean 'torch'\?",
    ),
    "a metric that is none": (
        {"early_stopping_metric": "acuracy", "early_stopping": True},
        ValueError,
        r"'acuracy'",
    ),
    "callbacks that are none": (
        {"callbacks": [print]},
        TypeError,
        r"expected callbacks to be Callback objects, got <built-in function print>",
    ),
    "a class for a callback": (
        {"callbacks": [nn.EarlyStopping]},
        TypeError,
        r"Write EarlyStopping\(\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name, iris):
    settings, kind, text = WRONG[name]
    with pytest.raises(kind, match=text):
        classifier(**settings).fit(*iris)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"dtype": "float16"}, "The 'dtype' parameter"),
        ({"activation": "softmax"}, "The 'activation' parameter"),
        ({"optimizer": "adm"}, "The 'optimizer' parameter"),
        ({"schedule": 0.1}, "The 'schedule' parameter"),
        ({"clip_norm": 0.0}, "The 'clip_norm' parameter"),
        ({"l2_per_sample": -1.0}, "The 'l2_per_sample' parameter"),
        ({"average_weights": 1.0}, "The 'average_weights' parameter"),
        ({"label_smoothing": 1.5}, "The 'label_smoothing' parameter"),
        ({"class_weight": "equal"}, "The 'class_weight' parameter"),
        ({"loss": "hinge"}, "The 'loss' parameter"),
        ({"validation_data": 0.1}, "The 'validation_data' parameter"),
        ({"layers": 3}, "The 'layers' parameter"),
        ({"backend": 1}, "The 'backend' parameter"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_settings_out_of_range_are_refused_as_scikit_learn_does(settings, text, iris):
    with pytest.raises(ValueError, match=f"{text} of MLPClassifier must be"):
        classifier(**settings).fit(*iris)


def test_a_loss_of_classes_is_not_for_values(values):
    with pytest.raises(ValueError, match=r"SoftmaxCrossEntropy classifies\. Use MLPClassifier"):
        regressor(loss=nn.SoftmaxCrossEntropy()).fit(*values)


def test_the_softmax_is_not_for_labels(iris):
    x, y = iris
    with pytest.raises(ValueError, match=r"not for several labels\. Use loss='log_loss'"):
        classifier(loss="softmax_cross_entropy").fit(x, np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match=r"not for several labels\. Use loss='log_loss'"):
        classifier(loss=nn.SoftmaxCrossEntropy()).fit(x, np.eye(3, dtype=int)[y])


def test_balanced_needs_all_samples(iris):
    with pytest.raises(ValueError, match=r"Compute it with .*compute_class_weight.* as a dict"):
        classifier(class_weight="balanced").partial_fit(*iris, classes=[0, 1, 2])


def test_what_is_refused_leaves_a_fitted_estimator_as_it_was(iris):
    x, y = iris
    names = np.asarray(["a", "b", "c"])[y]
    ours = classifier(max_iter=3).fit(x, names)
    state, before, plain = dict(vars(ours)), ours.predict_proba(x), ours.get_params()
    for settings, kind, _ in WRONG.values():
        with pytest.raises(kind):
            # The classes are others, so that half of a fit would show.
            ours.set_params(**settings).fit(x, y)
        ours.set_params(**plain)
        assert vars(ours) == state
        np.testing.assert_array_equal(ours.predict_proba(x), before)


@pytest.mark.parametrize("name", ["an unknown backend", "too few outputs", "dropout in lbfgs"])
def test_what_is_refused_leaves_an_estimator_unfitted(name, iris):
    settings, kind, _ = WRONG[name]
    ours = classifier(**settings)
    with pytest.raises(kind):
        ours.fit(*iris)
    assert set(vars(ours)) == set(ours.get_params())


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.dtype("int8"), dict])
def test_a_dtype_that_is_none_of_them(dtype, iris):
    with pytest.raises(ValueError, match=r"dtype: expected 'float32' or 'float64', got"):
        MLPClassifier(max_iter=1, dtype=dtype).fit(*iris)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("U3", "strings"), ("S3", "strings"), ("M8[D]", "dates"), ("m8[D]", "durations")],
)
def test_inputs_that_are_no_numbers(kind, text, iris):
    x, y = iris
    wrong = np.ones_like(x, dtype="int64").astype(kind)
    with pytest.raises(ValueError, match=rf"X: expected numbers, got {text}"):
        MLPClassifier(max_iter=1).fit(wrong, y)
    with pytest.raises(ValueError, match=rf"X: expected numbers, got {text}"):
        MLPClassifier(max_iter=1).fit(x, y).predict(wrong)


@pytest.mark.parametrize("metric", ["roc_auc", lambda y, p: 1.0])
def test_a_metric_that_does_not_suit_says_so(metric, iris):
    mlp = MLPClassifier(max_iter=1, early_stopping=True, early_stopping_metric=metric)
    text = r"early_stopping_metric could not score .*'roc_auc_ovr'.*function\(estimator, X, y\)"
    with pytest.raises(ValueError, match=text):
        mlp.fit(*iris)


@pytest.mark.parametrize("change", [{"dropout": 0.5}, {"batch_norm": True}])
def test_layers_leave_nothing_to_other_parameters(change, iris):
    mlp = MLPClassifier(max_iter=1, layers=[nn.Dense(3)], **change)
    with pytest.raises(ValueError, match=f"{next(iter(change))} would have no effect"):
        mlp.fit(*iris)

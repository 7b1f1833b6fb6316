"""Settings that scikit-learn does not have are refused with what to do instead."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn_cases import classifier, regressor

import anyback_nn as nn
from anyback_nn.errors import ShapeError

NOISE = r"dropout and batch normalisation .* Use solver='adam' or 'sgd'"

WRONG = {
    "too few outputs": (
        {"layers": [nn.Dense(2)]},
        r"the network has 2 outputs, but these targets need 3: end it with Dense\(3\)",
    ),
    "layers that are none": ({"layers": [nn.Dense(3), "relu"]}, r"expected a Layer .*'relu'"),
    "a class for a layer": ({"layers": [nn.Dense(3), nn.ReLU]}, r"a Layer .* Write ReLU\("),
    "dropout with layers": (
        {"layers": [nn.Dense(3)], "dropout": 0.5},
        r"dropout would have no effect: put them into layers",
    ),
    "batch norm with layers": (
        {"layers": [nn.Dense(3)], "batch_norm": True},
        r"batch_norm would have no effect",
    ),
    "a loss of values": (
        {"loss": nn.MeanSquaredError()},
        r"MeanSquaredError does not classify .* Use MLPRegressor",
    ),
    "a loss of two classes": (
        {"loss": "binary_cross_entropy"},
        r"BinaryCrossEntropy is for two classes .* there are 3 classes\. Use loss='log_loss'",
    ),
    "a loss object of two classes": (
        {"loss": nn.BinaryCrossEntropy()},
        r"for two classes or several labels, but there are 3 classes\. Use loss='log_loss'",
    ),
    "smoothing twice": (
        {"loss": nn.SoftmaxCrossEntropy(), "label_smoothing": 0.1},
        r"label_smoothing: give it to the loss that you pass",
    ),
    "dropout in lbfgs": ({"solver": "lbfgs", "dropout": 0.1}, NOISE),
    "batch norm in lbfgs": ({"solver": "lbfgs", "batch_norm": True}, NOISE),
    "batch norm among layers in lbfgs": (
        {"solver": "lbfgs", "layers": [nn.BatchNorm(), nn.Dense(3)]},
        NOISE,
    ),
    "an activation that is none": (
        {"activation": ["rleu"]},
        r"activation: expected one of .*leaky_relu.*, got 'rleu'",
    ),
    "an activation that is no name": (
        {"activation": [nn.Dense(2)]},
        r"activation: expected a name or an Activation, got Dense",
    ),
    "too many activations": (
        {"activation": ["relu", "tanh"]},
        r"activation: expected one for each of the 1 hidden layers, got 2",
    ),
    "too few rates": (
        {"dropout": [0.1], "hidden_layer_sizes": (4, 3)},
        r"dropout: expected one for each of the 2 hidden layers, got 1",
    ),
    "a rate that is no number": (
        {"dropout": ["a"]},
        r"dropout: expected numbers from 0 to below 1, got 'a'",
    ),
    "a rate of 1": ({"dropout": [1.0]}, r"(?i)dropout.*0.*1"),
    "validation data of one": (
        {"validation_data": (np.ones((2, 4)),)},
        r"validation_data: expected \(X, y\) or \(X, y, sample_weight\), got 1 entries",
    ),
    "validation data of other features": (
        {"validation_data": (np.ones((2, 3)), [0, 1])},
        r"X has 3 features, but MLPClassifier is expecting 4 features",
    ),
    "validation data of other classes": (
        {"validation_data": (np.ones((2, 4)), [0, 7])},
        r"`y` has classes not in `self\.classes_`",
    ),
    "validation data of other lengths": (
        {"validation_data": (np.ones((2, 4)), [0])},
        r"inconsistent numbers of samples: \[2, 1\]",
    ),
    "an unknown backend": (
        {"backend": "pytorch"},
        r"unknown backend 'pytorch': expected .*numpy.*Did you mean 'torch'\?",
    ),
    **{
        f"an optimizer with {solver}": (
            {"solver": solver, "optimizer": "adam"},
            rf"solver='{solver}' would have no effect, because optimizer='adam'.* one of the two",
        )
        for solver in ("sgd", "lbfgs")
    },
    **{
        f"{name} in lbfgs": (
            {"solver": "lbfgs", name: value},
            rf"{name} would have no effect with solver='lbfgs'.* Use solver='adam' or 'sgd'",
        )
        for name, value in {
            "clip_norm": 1.0,
            "schedule": nn.StepDecay(0.1, every=2),
            "average_weights": 0.9,
        }.items()
    },
    "a metric without validation data": (
        {"early_stopping_metric": "accuracy"},
        r"early_stopping_metric would have no effect .* validation_data=\(X, y\), or early_stop",
    ),
    "a metric without validation data in lbfgs": (
        {"early_stopping_metric": "accuracy", "early_stopping": True, "solver": "lbfgs"},
        r"early_stopping_metric would have no effect .* validation_data=\(X, y\)$",
    ),
    "a metric that is none": ({"early_stopping_metric": "acuracy"}, r"'acuracy'"),
    "callbacks that are none": (
        {"callbacks": [print]},
        r"expected callbacks to be Callback objects, got <built-in function print>",
    ),
    "a class for a callback": ({"callbacks": [nn.EarlyStopping]}, r"Write EarlyStopping\(\)"),
    **{
        f"the dtype {dtype}": ({"dtype": dtype}, r"dtype: expected 'float32' or 'float64', got")
        for dtype in (np.float16, np.int64, np.dtype("int8"), dict)
    },
    # Out of range, which scikit-learn's own check finds.
    **{
        f"{name}={value}": ({name: value}, f"The '{name}' parameter of MLPClassifier must be")
        for name, value in {
            "dropout": 1.0,
            "dtype": "float16",
            "activation": "softmax",
            "optimizer": "adm",
            "schedule": 0.1,
            "clip_norm": 0.0,
            "l2_per_sample": -1.0,
            "average_weights": 1.0,
            "label_smoothing": 1.5,
            "class_weight": "equal",
            "loss": "hinge",
            "validation_data": 0.1,
            "layers": 3,
            "backend": 1,
        }.items()
    },
}
"""Settings of a classifier of three classes, and a part of the message."""

KINDS = {
    "too few outputs": ShapeError,
    "layers that are none": TypeError,
    "a class for a layer": TypeError,
    "an activation that is no name": TypeError,
    "a rate that is no number": TypeError,
    "callbacks that are none": TypeError,
    "a class for a callback": TypeError,
}
"""The classes of errors; of all others it is `ValueError`."""


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_explained_and_changes_nothing(name, iris):
    x, y = iris
    settings, text = WRONG[name]
    kind = KINDS.get(name, ValueError)
    fresh = classifier(**settings)
    with pytest.raises(kind, match=text):
        fresh.fit(x, y)
    assert set(vars(fresh)) == set(fresh.get_params())
    # The classes are others, so that half of a fit would show.
    ours = classifier(max_iter=3).fit(x, np.asarray(["a", "b", "c"])[y])
    state, before, plain = dict(vars(ours)), ours.predict_proba(x), ours.get_params()
    with pytest.raises(kind, match=text):
        ours.set_params(**settings).fit(x, y)
    ours.set_params(**plain)
    assert vars(ours) == state
    np.testing.assert_array_equal(ours.predict_proba(x), before)


def test_losses_for_other_targets(iris, values):
    x, y = iris
    with pytest.raises(ValueError, match=r"SoftmaxCrossEntropy classifies\. Use MLPClassifier"):
        regressor(loss=nn.SoftmaxCrossEntropy()).fit(*values)
    for loss in ("softmax_cross_entropy", nn.SoftmaxCrossEntropy()):
        with pytest.raises(ValueError, match=r"not for several labels\. Use loss='log_loss'"):
            classifier(loss=loss).fit(x, np.eye(3, dtype=int)[y])


def test_balanced_needs_all_samples(iris):
    with pytest.raises(ValueError, match=r"Compute it with .*compute_class_weight.* as a dict"):
        classifier(class_weight="balanced").partial_fit(*iris, classes=[0, 1, 2])


@pytest.mark.parametrize(
    ("kind", "text"),
    [("U3", "strings"), ("S3", "strings"), ("M8[D]", "dates"), ("m8[D]", "durations")],
)
def test_inputs_that_are_no_numbers(kind, text, iris):
    x, y = iris
    wrong = np.ones_like(x, dtype="int64").astype(kind)
    fitted = classifier().fit(x, y)
    for call in (lambda: classifier().fit(wrong, y), lambda: fitted.predict(wrong)):
        with pytest.raises(ValueError, match=rf"X: expected numbers, got {text}"):
            call()


@pytest.mark.parametrize("metric", ["roc_auc", lambda y, p: 1.0])
def test_a_metric_that_does_not_suit_is_explained(metric, iris):
    text = r"early_stopping_metric could not score .*'roc_auc_ovr'.*function\(estimator, X, y\)"
    with pytest.raises(ValueError, match=text):
        classifier(early_stopping=True, early_stopping_metric=metric).fit(*iris)

"""Scores, tables and JSON."""

import io
import math

import numpy as np
import pytest
import sklearn.metrics
from rich.console import Console

from anyback_nn.cli.measure import confusion_matrix, measure
from anyback_nn.cli.report import confusion_table, to_json
from anyback_nn.datasets import load
from anyback_nn.model import Model
from anyback_nn.network.layers import Dense
from anyback_nn.network.losses import MeanSquaredError, SoftmaxCrossEntropy


def shown(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_classification(backend):
    data = load("blobs")
    loss = SoftmaxCrossEntropy()
    model = Model(Dense(data.n_outputs), loss=loss, backend=backend).build(data.n_features)
    measured = measure(model, data.encoding, data.x_test, data.y_test)
    predicted = model.predict_classes(data.x_test)
    metrics = sklearn.metrics
    expected = metrics.confusion_matrix(data.y_test, predicted, labels=range(data.n_outputs))
    np.testing.assert_array_equal(measured.confusion, expected)
    assert measured.n_rows == len(data.x_test)
    assert measured.scores == {
        "loss": pytest.approx(metrics.log_loss(data.y_test, model.predict(data.x_test)), rel=1e-5),
        "accuracy": metrics.accuracy_score(data.y_test, predicted),
    }


def test_regression(backend, houses):
    data = load(houses, target="price")
    model = Model(Dense(1), loss=MeanSquaredError(), backend=backend).build(data.n_features)
    measured = measure(model, data.encoding, data.x_test, data.y_test)
    actual = data.encoding.decode(data.y_test)
    predicted = data.encoding.decode(model.predict(data.x_test)[:, 0])
    metrics = sklearn.metrics
    assert measured.confusion is None
    assert {name: value for name, value in measured.scores.items() if name != "loss"} == {
        "r2": pytest.approx(metrics.r2_score(actual, predicted), rel=1e-4),
        "mean_absolute_error": pytest.approx(metrics.mean_absolute_error(actual, predicted)),
        "root_mean_squared_error": pytest.approx(
            metrics.root_mean_squared_error(actual, predicted)
        ),
    }


def test_confusion_matrix_has_classes_that_never_occur():
    actual, predicted = np.asarray([0, 2, 2]), np.asarray([0, 2, 0])
    expected = sklearn.metrics.confusion_matrix(actual, predicted, labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(actual, predicted, 4), expected)


def test_confusion_table():
    counts = np.asarray([[1200, 0], [3, 40]])
    lines = shown(confusion_table(counts, ("no", "[b]yes"), 80)).splitlines()
    assert [line.split() for line in lines if not line.startswith("─")] == [
        ["actual", "\\", "predicted", "no", "[b]yes"],
        ["no", "1,200", "."],
        ["[b]yes", "3", "40"],
    ]


def test_many_classes_become_the_most_confused_pairs():
    n_classes = 30
    labels = tuple(f"class {i}" for i in range(n_classes))
    counts = np.diag(np.full(n_classes, 90))
    counts[3, 5], counts[5, 3], counts[8, 1] = 10, 7, 7
    text = shown(confusion_table(counts, labels, 80))
    assert "The most confused classes" in text
    rows = [line.split() for line in text.splitlines()[3:]]
    assert rows == [
        ["class", "3", "class", "5", "10", "10.0%"],
        ["class", "5", "class", "3", "7", "7.2%"],
        ["class", "8", "class", "1", "7", "7.2%"],
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert "actual \\ predicted" in shown(confusion_table(counts, labels, 1000), 1000)


def test_only_the_ten_most_confused_pairs():
    labels = tuple(f"class {i}" for i in range(30))
    text = shown(confusion_table(np.ones((30, 30), dtype=int), labels, 80))
    assert len(text.splitlines()) == 3 + 10


def test_no_class_was_confused():
    labels = tuple(f"class {i}" for i in range(30))
    assert "No classes were confused" in shown(confusion_table(np.eye(30, dtype=int), labels, 80))


def test_json_has_no_nan():
    value = {"a": math.nan, "b": {"c": -math.inf}, "d": 1.5, "e": None, "f": "größe"}
    assert to_json(value) == (
        '{"a": null, "b": {"c": null}, "d": 1.5, "e": null, "f": "gr\\u00f6\\u00dfe"}'
    )

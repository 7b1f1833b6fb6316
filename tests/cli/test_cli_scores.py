"""Scores, and the tables of confused classes."""

import io

import numpy as np
import pytest
import sklearn.metrics
from rich.console import Console

from anyback_nn.cli.scores import compute_scores, confusion_table, count_confusion
from anyback_nn.datasets import load
from anyback_nn.model import Model
from anyback_nn.network.layers import Dense
from anyback_nn.network.losses import MeanSquaredError, SoftmaxCrossEntropy
from anyback_nn.training import evaluation

LABELS = tuple(f"class {i}" for i in range(30))


def build(data, loss, backend):
    return Model(Dense(data.n_outputs), loss=loss, backend=backend).build(data.n_features)


def render(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_classification(backend):
    data = load("blobs")
    model = build(data, SoftmaxCrossEntropy(), backend)
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    predicted = model.predict_classes(data.x_test)
    metrics = sklearn.metrics
    expected = metrics.confusion_matrix(data.y_test, predicted, labels=range(data.n_outputs))
    np.testing.assert_array_equal(scores.confusion, expected)
    assert scores.n_rows == len(data.x_test)
    assert scores.values == {
        "loss": pytest.approx(metrics.log_loss(data.y_test, model.predict(data.x_test)), rel=1e-5),
        "accuracy": metrics.accuracy_score(data.y_test, predicted),
    }


def test_one_pass_gives_the_same_loss_as_evaluate(backend, monkeypatch):
    data = load("blobs")
    model = build(data, SoftmaxCrossEntropy(), backend)
    expected = model.evaluate(data.x_test, data.y_test)
    calls = []
    compute_outputs = evaluation.compute_outputs
    monkeypatch.setattr(
        evaluation, "compute_outputs", lambda *args: calls.append(args) or compute_outputs(*args)
    )
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    assert len(calls) == 1
    assert scores.values["loss"] == expected["loss"]


def test_regression(backend, houses):
    data = load(houses, target="price")
    model = build(data, MeanSquaredError(), backend)
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    actual = data.encoding.decode(data.y_test)
    predicted = data.encoding.decode(model.predict(data.x_test)[:, 0])
    metrics = sklearn.metrics
    assert scores.confusion is None
    assert {name: value for name, value in scores.values.items() if name != "loss"} == {
        "r2": pytest.approx(metrics.r2_score(actual, predicted), rel=1e-4),
        "mean_absolute_error": pytest.approx(metrics.mean_absolute_error(actual, predicted)),
        "root_mean_squared_error": pytest.approx(
            metrics.root_mean_squared_error(actual, predicted)
        ),
    }


def test_confusion_matrix_has_classes_that_never_occur():
    actual, predicted = np.asarray([0, 2, 2]), np.asarray([0, 2, 0])
    expected = sklearn.metrics.confusion_matrix(actual, predicted, labels=range(4))
    np.testing.assert_array_equal(count_confusion(actual, predicted, 4), expected)


def test_confusion_table():
    counts = np.asarray([[1200, 0], [3, 40]])
    lines = render(confusion_table(counts, ("no", "[b]yes"), 80)).splitlines()
    assert [line.split() for line in lines if not line.startswith("─")] == [
        ["actual", "\\", "predicted", "no", "[b]yes"],
        ["no", "1,200", "."],
        ["[b]yes", "3", "40"],
    ]


def test_many_classes_become_the_most_confused_pairs():
    counts = np.diag(np.full(30, 90))
    counts[3, 5], counts[5, 3], counts[8, 1] = 10, 7, 7
    text = render(confusion_table(counts, LABELS, 80))
    assert "The most confused classes" in text
    rows = [line.split() for line in text.splitlines()[3:]]
    assert rows == [
        ["class", "3", "class", "5", "10", "10.0%"],
        ["class", "5", "class", "3", "7", "7.2%"],
        ["class", "8", "class", "1", "7", "7.2%"],
    ]
    assert max(map(len, text.splitlines())) <= 80
    assert "actual \\ predicted" in render(confusion_table(counts, LABELS, 1000), 1000)


def test_only_the_ten_most_confused_pairs():
    text = render(confusion_table(np.ones((30, 30), dtype=int), LABELS, 80))
    assert len(text.splitlines()) == 3 + 10


def test_no_class_was_confused():
    assert "No classes were confused" in render(confusion_table(np.eye(30, dtype=int), LABELS, 80))

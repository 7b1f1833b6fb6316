"""Scores, and the tables of confused classes."""

import io
import math

import numpy as np
import pytest
import sklearn.metrics
from rich.console import Console
from sklearn.dummy import DummyClassifier, DummyRegressor

from anyback_nn.cli.scores import (
    Scores,
    choose_judge,
    compute_scores,
    confusion_table,
    targets_table,
)
from anyback_nn.datasets import load
from anyback_nn.model import Model
from anyback_nn.network.layers import Dense
from anyback_nn.network.losses import (
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
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
        "balanced_accuracy": metrics.balanced_accuracy_score(data.y_test, predicted),
        "f1_macro": pytest.approx(metrics.f1_score(data.y_test, predicted, average="macro")),
        "roc_auc": pytest.approx(
            metrics.roc_auc_score(data.y_test, model.predict(data.x_test), multi_class="ovr")
        ),
        "average_precision": pytest.approx(
            metrics.average_precision_score(data.y_test, model.predict(data.x_test))
        ),
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


def test_several_targets_have_scores_of_their_own(sizes, backend):
    data = load(sizes, target="width,depth")
    model = build(data, MeanSquaredError(), backend)
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    actual = data.encoding.decode(data.y_test)
    predicted = data.encoding.decode(model.predict(data.x_test))
    metrics = sklearn.metrics
    assert list(scores.targets) == ["width", "depth"]
    assert scores.values["r2"] == pytest.approx(metrics.r2_score(actual, predicted), rel=1e-4)
    for i, part in enumerate(scores.targets.values()):
        expected = metrics.mean_absolute_error(actual[:, i], predicted[:, i])
        assert part.values["mean_absolute_error"] == pytest.approx(expected, rel=1e-5)
    assert scores.to_json()["targets"]["depth"]["r2"] == scores.targets["depth"].values["r2"]
    text = render(targets_table(scores.targets), width=100)
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["width", "depth"]


def test_the_baseline_is_that_of_scikit_learn(sizes, flowers, backend):
    data = load(sizes, target="large")
    model = build(data, SoftmaxCrossEntropy(), backend)
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    x, y = data.x_test, data.y_test
    dummy = DummyClassifier(strategy="most_frequent").fit(x, y)
    metrics, predicted = sklearn.metrics, dummy.predict(x)
    assert scores.baseline == {
        "accuracy": metrics.accuracy_score(y, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted),
        "f1_macro": metrics.f1_score(y, predicted, average="macro"),
        "roc_auc": 0.5,
        "average_precision": metrics.average_precision_score(y, dummy.predict_proba(x)[:, 1]),
    }
    assert scores.constant == "always predicting 'no', the most frequent class"

    data = load(sizes, target="depth")
    model = build(data, MeanSquaredError(), backend)
    scores = compute_scores(model, data.encoding, data.x_test, data.y_test)
    actual = data.encoding.decode(data.y_test)
    predicted = DummyRegressor().fit(data.x_test, actual).predict(data.x_test)
    assert scores.baseline == {
        "r2": 0.0,
        "mean_absolute_error": pytest.approx(metrics.mean_absolute_error(actual, predicted)),
        "root_mean_squared_error": pytest.approx(
            metrics.root_mean_squared_error(actual, predicted)
        ),
    }


@pytest.mark.parametrize(
    ("judge", "value", "constant", "is_worse"),
    [
        ("accuracy", 0.4, 0.5, True),
        ("accuracy", 0.5, 0.5, True),
        ("accuracy", 0.6, 0.5, False),
        ("accuracy", 1.0, 1.0, False),
        ("mean_absolute_error", 3.0, 2.0, True),
        ("mean_absolute_error", 1.0, 2.0, False),
        ("mean_absolute_error", 0.0, 0.0, False),
    ],
)
def test_what_is_not_better_than_the_baseline(judge, value, constant, is_worse):
    sentence = Scores(9, {judge: value}, {judge: constant}, "always predicting 'a'").compare(judge)
    assert (sentence is not None) == is_worse
    assert not is_worse or "is not better than" in sentence


def test_what_is_not_better_in_part():
    def regression(r2, error):
        values = {"r2": r2, "mean_absolute_error": error}
        return Scores(9, values, {"r2": 0.0, "mean_absolute_error": 2.0}, "always predicting 'a'")

    assert "of no use" in regression(-0.5, 2.5).compare("r2")
    assert "of no use" in regression(math.nan, math.nan).compare("r2")
    sentence = regression(-0.5, 1.5).compare("r2")
    assert "0 of always predicting 'a', though the mean absolute error is" in sentence
    assert "of no use" not in sentence
    good, bad = regression(0.5, 1.0), regression(-0.5, 2.5)
    for targets, names in ("ab", "'a', 'b'"), ("bc", "'b'"), ("c", None):
        parts = {name: good if name == "c" else bad for name in targets}
        scores = Scores(9, {"r2": 0.5}, {"r2": 0.0}, "always predicting 'a'", targets=parts)
        sentence = scores.compare("r2")
        assert (sentence is None) == (names is None)
        assert names is None or f"the R2 of {names} is not better than that of always" in sentence


@pytest.mark.parametrize(("constant", "is_advised"), [(0.85, True), (0.75, False)])
def test_weights_are_advised_where_one_class_is_most_of_the_rows(constant, is_advised):
    for judge in "accuracy", "balanced_accuracy":
        scores = Scores(9, {judge: 0.5}, {judge: constant}, "always predicting 'a'")
        expected = is_advised and judge == "accuracy"
        assert ("--class-weight balanced" in scores.compare(judge)) == expected


def test_the_score_that_training_aims_at(sizes):
    def judge(loss, *, balanced=False, **options):
        data = load(sizes, **options)
        return choose_judge(build(data, loss, "numpy"), data.encoding, balanced=balanced)

    assert judge(SoftmaxCrossEntropy(), target="large") == "accuracy"
    assert judge(SoftmaxCrossEntropy(), target="large", balanced=True) == "balanced_accuracy"
    assert judge(MeanSquaredError(), target="depth") == "r2"
    assert judge(MeanAbsoluteError(), target="depth") == "mean_absolute_error"
    assert judge(MeanSquaredError(), target="depth", log_target=True) == "r2"
    assert judge(MeanAbsoluteError(), target="width,depth") == "r2"


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

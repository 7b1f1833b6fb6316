"""Whole pages: every section, also without data, and nothing of the data is markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_subjects import HOSTILE, train, write_table

import anyback_nn as nn
from anyback_nn.report import Subject, build_report

# PyTorch comes with Jinja2, but not with what draws.
pytestmark = pytest.mark.needs("matplotlib")


class Page(HTMLParser):
    """Collects the tags, the ids and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.words, self.attributes = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def labels(table):
    subject = train(table, target="label", activity=nn.ActivityLog(every=1))
    return replace(subject, facts={"seed": "0"}, options={"--target": HOSTILE})


CLASSES = ("settings", "network", "training", "classes", "mistakes", "importance")


def test_what_comes_from_the_data_is_text(labels):
    page = Page(build_report(replace(labels, title=HOSTILE, command=HOSTILE, warnings=[HOSTILE])))
    assert "script" not in page.tags
    assert not {"b", "i"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 4
    assert "\\x1b[2J" in page.text
    assert "\x1b" not in page.text


def test_a_classifier_has_all_sections_and_ids_are_unique(labels):
    page = Page(build_report(labels))
    assert [name for name in page.ids if name in (*CLASSES, "weights", "activity")] == [
        *CLASSES,
        "weights",
        "activity",
    ]
    assert len(page.ids) == len(set(page.ids))


def test_a_regressor_of_several_targets_has_two_pictures_each(tmp_path):
    path = tmp_path / "two.csv"
    rows = [f"{i % 17},{i % 5 + 0.5},{2 * (i % 17)}.25,{-(i % 5)}.5" for i in range(80)]
    path.write_text("\n".join(["a,b,width,depth", *rows]))
    text = build_report(train(path, target="width,depth"))
    page = Page(text)
    assert "values" in page.ids
    for name in ("width", "depth"):
        assert f"Residuals of {name}" in page.text
    assert page.text.count("actual - predicted") == 2


def test_a_model_alone_has_the_sections_that_need_no_data(labels):
    bare = Subject("model", labels.model, missing="it has no encoding")
    page = Page(build_report(bare))
    assert [name for name in page.ids if not name.startswith("p")] == [
        *("scores", "network", "training", "weights", "activity")
    ]
    assert "The data are not here (it has no encoding)" in page.text
    assert "Not recorded: train with --report" in page.text


def test_a_model_that_was_not_trained_says_so():
    model = nn.Model(nn.LayerNorm(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(3)
    page = Page(build_report(Subject("new", model)))
    assert "The model has no history" in page.text
    assert "weights" not in page.ids  # the first layer is not dense


def test_warnings_are_named_at_the_top(labels):
    def kill(row):
        return {**row, **({"dead": 0.9} if "dead" in row else {})}

    sick = [kill(row) for row in labels.activity]
    poor = ["the accuracy is not better"]
    bare = Subject("m", labels.model, activity=sick, warnings=poor)
    text = Page(build_report(bare)).text
    assert "To look at: Scores , Inside of the network" in text
    assert "90% of the units" in text
    assert "The accuracy is not better" in text


def test_more_than_ten_classes_have_a_table_and_the_worst_curves(tmp_path):
    path = tmp_path / "many.csv"
    rows = [f"{i % 15 + (i * 7 % 11) / 11:.3f},{i % 3},name{i % 15}" for i in range(600)]
    path.write_text("\n".join(["a,b,c", *rows]))
    page = Page(build_report(train(path, target="c", epochs=2)))
    assert "all together" in page.text
    assert "the 9 that are told apart worst" in page.text
    assert "of the class" in page.text


def test_an_overfitted_model_is_told(labels):
    history = [
        {"epoch": n + 1, "train_loss": 1 / (n + 1), "validation_loss": value, "seconds": 0.5}
        for n, value in enumerate((1.0, 0.5, 0.9))
    ]
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    model.training.history.rows[:] = history
    text = Page(build_report(Subject("m", model))).text
    assert (
        "validation loss was lowest in epoch 2, 0.5, and is 0.9 in the epoch of the model" in text
    )
    assert "3 epochs in 1.5 s; epoch 2 has the lowest validation loss." in text
    kept = Page(build_report(Subject("m", model, kept_epoch=2))).text
    assert "lowest in epoch 2" not in kept
    assert "the model has the parameters of epoch 2" in kept


@pytest.mark.parametrize("n_rows", [5, 40])
def test_arrays_have_features_without_names_and_a_target_without_one(tmp_path, n_rows):
    x = np.linspace(-1, 1, 3 * n_rows).reshape(n_rows, 3).astype("float32")
    np.savez(tmp_path / "x.npz", x=x, y=x[:, 0] ** 2)
    page = Page(build_report(train(tmp_path / "x.npz", epochs=1, task="regression")))
    assert "predicted target" in page.text
    assert "x2" in page.text


def test_the_largest_errors_of_images_are_images(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, size=(60, 5, 5)).astype("uint8")
    np.savez(tmp_path / "x.npz", x=x, y=x[:, 0, 0] / 7)
    page = Page(build_report(train(tmp_path / "x.npz", epochs=1, task="regression")))
    assert page.tags.count("img") == 10
    assert "predicted" in page.text


def test_many_columns_have_no_importance_and_the_page_says_so(tmp_path):
    path = tmp_path / "wide.csv"
    draws = np.random.default_rng(0).normal(size=(60, 201))
    rows = [",".join([*(f"{x:.2f}" for x in row), "ab"[int(row[0] > 0)]]) for row in draws]
    path.write_text("\n".join([",".join([*(f"x{i}" for i in range(201)), "y"]), *rows]))
    page = Page(build_report(train(path, target="y", epochs=1)))
    assert "Importance of the columns Not measured: it is for tables of at most 200" in page.text

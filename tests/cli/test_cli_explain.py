"""A sample of a run, explained."""

import json
import re
import shutil

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.datasets import load


@pytest.fixture
def moons(program):
    program("train", "moons", "--hidden", "4", "--epochs", "3", "--quiet")
    return "runs/moons-1"


def test_the_sample_is_walked_forward_and_back(program, moons):
    outcome = program("explain", moons, "--sample", "7")
    model = nn.Model.load(f"{moons}/model.safetensors")
    sample = load("moons").x_test[[7]]
    start = f"Sample 7 of 200 in the test part of moons: target {load('moons').y_test[7]}, "
    assert f"{start}predicted {model.predict_classes(sample)[0]}. 2 inputs" in outcome.out
    prediction = re.search(r"Ŷ = A₂ = softmax\(Z₂\) .*\n +0: +1:\n +(\S+) +(\S+)\n", outcome.out)
    expected = model.predict(sample)[0]
    assert [float(x) for x in prediction.groups()] == pytest.approx(expected, rel=1e-3)
    order = [outcome.out.index(f"\n{name} = ") for name in ("Z₁", "L", "dZ₂", "dW₂", "dZ₁", "dW₁")]
    assert order == sorted(order)
    assert "change = −α · m̂ / (√(v̂) + ε)\n" in outcome.out
    assert "w_new = w + change = " in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("width", [30, 45])
def test_lines_are_as_wide_as_the_terminal_and_say_the_same(program, moons, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", "1000")
    whole = program("explain", moons).out
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = program("explain", moons).out
    assert max(map(len, narrow.splitlines())) <= width
    last = whole.index("The next update")
    assert narrow[narrow.index("The next") :].split() == whole[last:].split()


def test_a_chosen_weight_in_the_textbooks_notation(program, moons):
    outcome = program("explain", moons, "--weight", "2,3,1", "--notation", "columns").out
    assert "Z₂ = W₂ᵀ D₁ + b₂    (2 × 1)" in outcome
    assert "dW₂[3,1] = (1/m) · D₁[3,0] · dZ₂[1,0]" in outcome


def test_the_script_computes_the_same(program, moons, capsys):
    outcome = program("explain", moons, "--python", "--weight", "1,0,2", "--html", "page.html")
    assert outcome.err == "note: written to page.html\n"
    names = {}
    exec(outcome.out, names)
    sample = load("moons").x_test[[0]]
    assert names["A2"] == pytest.approx(nn.Model.load(f"{moons}/model.safetensors").predict(sample))
    assert names["w_new"] != names["w"]


def test_the_page_names_features_and_classes(program, tmp_path, flowers, classifier):
    outcome = program("explain", classifier, flowers, "--html", "page.html")
    assert outcome.out == "written to page.html\n"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert len(data["features"]) == len(data["values"]["X"][0])
    assert len(data["classes"]) == len(data["values"]["Y"][0])
    assert np.isfinite(data["values"]["L"])


def test_a_regression_has_the_targets_units(program, regressor, houses):
    text = " ".join(program("explain", regressor, houses).out.split())
    title = re.search(r"test part of .*?: target (\S+), predicted (\S+)\. ", text)
    target, predicted = map(float, title.groups())
    assert target > 10_000
    assert predicted == pytest.approx(target, rel=0.2)


def test_the_text_names_features_and_outputs(program, regressor, houses):
    text = program("explain", regressor, houses).out
    assert re.search(r"^X \(1 × 1\)\n +area:\n +\S+\n", text, re.MULTILINE)
    assert re.search(r"^Y \(1 × 1\)\n +price:\n +\S+\n", text, re.MULTILINE)
    columns = program("explain", regressor, houses, "--notation", "columns").out
    assert re.search(r"^X \(1 × 1\)\n +area: +\S+\n", columns, re.MULTILINE)


def test_large_tables_are_cut(program):
    program("train", "digits", "--hidden", "30", "--epochs", "1", "--quiet")
    outcome = program("explain", "runs/digits-1")
    assert "note: large tables are cut to their corners" in outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_matrix_too_wide_for_the_terminal_lacks_its_middle(program, monkeypatch):
    program("train", "moons", "--hidden", "8", "--epochs", "1", "--quiet")
    monkeypatch.setenv("COLUMNS", "60")
    outcome = program("explain", "runs/moons-1")
    *table, end = outcome.out.partition("with W₁    (2 × 8)\n")[2].splitlines()[:3]
    assert end.startswith("with b₁")  # each row is one line
    assert all("…" in row.split() and len(row) <= 60 for row in table)
    assert "note: large tables are cut" in outcome.err


def test_long_labels_are_cut(program, tmp_path):
    rows = "".join(f"{i % 7},{i},{'ab'[i % 2] * 300}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,y,kind\n{rows}", encoding="utf-8")
    program("train", "t.csv", "--target", "kind", "--epochs", "1", "--hidden", "3", "--quiet")
    text = program("explain", "runs/t-1").out.replace("\n", "")
    assert re.search("(a{59}|b{59})…", text)
    assert not re.search("a{60}|b{60}", text)


def test_what_is_wrong_is_said(fails, moons, tmp_path):
    assert "the test part of moons has 200 samples" in fails(
        "explain", moons, "--sample", "200", status=2
    )
    assert "such as 1,0,2; got '1,0'" in fails("explain", moons, "--weight", "1,0", status=2)
    assert "'--weight': expected (layer, input, unit)" in fails(
        "explain", moons, "--weight", "9,0,0", status=2
    )
    (tmp_path / "page.html").write_text("mine", encoding="utf-8")
    assert "--force" in fails("explain", moons, "--html", "page.html")
    assert "is unknown" in fails("explain", moons, "--notation", "rowz", status=2)


def test_a_model_file_alone_is_told_what_it_lacks(program, fails, moons, tmp_path):
    shutil.copy(f"{moons}/model.safetensors", tmp_path / "own.safetensors")
    message = fails("explain", "own.safetensors", "moons")
    assert "or a model file next to the settings.json of its run" in message
    nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2).save(tmp_path / "p.safetensors")
    assert "model.explain in Python" in fails("explain", "p.safetensors", "moons")


def test_data_that_are_gone_are_asked_for(program, fails, tmp_path):
    rows = "\n".join(f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,y,kind\n{rows}\n", encoding="utf-8")
    program("train", "t.csv", "--target", "kind", "--epochs", "1", "--hidden", "3", "--quiet")
    (tmp_path / "t.csv").rename(tmp_path / "moved.csv")
    assert "say where they are" in fails("explain", "runs/t-1")
    assert "in the test part of moved.csv" in program("explain", "runs/t-1", "moved.csv").out

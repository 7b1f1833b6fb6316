"""Measuring a run again."""

import json

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.datasets import load


def saved(path, *, encoding=None, n_in=2, n_out=2, loss=None):
    model = nn.Model(nn.Dense(n_out), loss=loss or nn.SoftmaxCrossEntropy()).build(n_in)
    model.encoding = encoding
    model.save(path)
    return path


def test_the_test_part_again(program, backend):
    common = ("--backend", backend.spec, "--json")
    trained = program("train", "moons", "--hidden", "4", "--epochs", "2", "--seed", "5", *common)
    for run in ("runs/moons-1", "runs/moons-1/model.safetensors"):
        result = program("evaluate", run, "moons", *common).json
        assert (result["part"], result["rows"]) == ("test part", 200)
        assert result["loss"] == pytest.approx(trained.json["test_loss"], rel=1e-6)
        assert result["accuracy"] == trained.json["test_accuracy"]


def test_all_rows_of_a_table(program, classifier, flowers, backend):
    outcome = program("evaluate", classifier, flowers, "--backend", backend.spec)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{flowers}, all rows: 120 rows\n")
    assert "größe, [b]" in outcome.out
    quiet = program("evaluate", classifier, flowers, "--backend", backend.spec, "--quiet")
    assert len(quiet.out.splitlines()) == 3


def test_regression(program, regressor, houses, backend):
    result = program("evaluate", regressor, houses, "--backend", backend.spec, "--json").json
    settings = json.loads((regressor / "settings.json").read_text())["result"]
    assert result["rows"] == 150
    assert result["r2"] == pytest.approx(settings["test_r2"], abs=0.2)
    assert "accuracy" not in result


def test_npz_says_which_rows(program, tmp_path):
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    np.savez(tmp_path / "parts.npz", x_train=x, y_train=y, x_test=x[:7], y_test=y[:7])
    program("train", "whole.npz", "--hidden", "none", "--epochs", "1", "--output", "run")
    for name, part, n_rows in ("whole.npz", "all rows", 20), ("parts.npz", "test part", 7):
        result = program("evaluate", "run", name, "--json").json
        assert (result["part"], result["rows"]) == (part, n_rows)


def test_no_model(fails, tmp_path):
    assert "there is no model file nowhere" in fails("evaluate", "nowhere", "digits")
    assert "holds no model.safetensors" in fails("evaluate", tmp_path, "digits")


def test_a_model_without_an_encoding(fails, tmp_path):
    path = saved(tmp_path / "own.safetensors")
    message = fails("evaluate", path, "moons")
    assert "saved from Python" in message
    assert "model.encoding = dataset.encoding.to_json()" in message


def test_an_encoding_that_does_not_fit(fails, tmp_path):
    encoding = load("moons").encoding.to_json()
    for settings in {"n_in": 3}, {"n_out": 3}, {"loss": nn.MeanSquaredError()}:
        path = saved(tmp_path / "own.safetensors", encoding=encoding, **settings)
        assert "does not fit its encoding" in fails("evaluate", path, "moons")
    path = saved(tmp_path / "own.safetensors", encoding={"features": {"kind": "magic"}})
    assert "own.safetensors: " in fails("evaluate", path, "moons")

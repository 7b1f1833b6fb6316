"""Measuring a run again."""

import bz2
import gzip
import hashlib
import io
import json
import shutil
import sys
import zipfile

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


def test_all_rows_of_a_table(program, classifier, flowers, backend, tmp_path):
    outcome = program("evaluate", classifier, flowers, "--backend", backend.spec)
    assert outcome.status == 0
    assert "note: training had seen 96 of these 120 rows" in outcome.err
    assert "--part test measures the other 24" in outcome.err
    assert outcome.out.startswith(f"{flowers}, all rows: 120 rows\n")
    assert "größe, [b]" in outcome.out
    (tmp_path / "one.csv").write_text("x,y,kind\n1,2,中\n", encoding="utf-8")
    one = program("evaluate", classifier, "one.csv", "--backend", backend.spec)
    assert "one.csv, all rows: 1 row\n" in one.out
    quiet = program("evaluate", classifier, flowers, "--backend", backend.spec, "--quiet")
    assert len(quiet.out.splitlines()) == 7
    assert quiet.err == ""


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


# The rows that training had seen ------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--test-share", "0.3"],
        ["--group", "owner"],
        ["--time", "week"],
        ["--target", "width,depth", "--log-target"],
        ["--target", "large", "--class-weight", "balanced"],
    ],
)
def test_the_rows_that_were_tested_can_be_measured_alone(program, sizes, options, tmp_path):
    common = ("--hidden", "4", "--epochs", "2", "--output", "run", "--json")
    trained = program("train", sizes, "--target", "depth", *options, *common).json
    copy = shutil.copy(sizes, tmp_path / "copy.csv")  # the same by its contents
    for run in "run", "run/model.safetensors":
        result = program("evaluate", run, copy, "--part", "test", "--json").json
        assert (result["part"], result["seen_in_training"]) == ("test part", 0)
        assert result["loss"] == pytest.approx(trained["test_loss"], rel=1e-6)
        assert result["baseline"] == trained["test_baseline"]
    everything = program("evaluate", "run", copy, "--json").json
    assert (everything["part"], everything["rows"]) == ("all rows", 100)
    assert everything["seen_in_training"] == 100 - result["rows"]


@pytest.mark.parametrize("source", ["sizes.csv", "sizes.csv.gz", "sizes.zip", "-"])
def test_the_file_of_training_is_known_compressed_or_piped(
    program, sizes, source, tmp_path, monkeypatch
):
    content = sizes.read_bytes()
    (tmp_path / "sizes.csv").write_bytes(content)
    (tmp_path / "sizes.csv.gz").write_bytes(gzip.compress(content))
    (tmp_path / "sizes.csv.bz2").write_bytes(bz2.compress(content))
    with zipfile.ZipFile(tmp_path / "sizes.zip", "w") as archive:
        archive.write(sizes, "sizes.csv")

    def run(*arguments):
        piped = bz2.compress(content) if arguments[0] == "train" else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        return program(*arguments, "--json").json

    options = ("--target", "depth", "--hidden", "4", "--epochs", "1", "--output", "run")
    trained = run("train", source, *options)
    for other in "sizes.csv", "sizes.csv.gz", "sizes.csv.bz2", "sizes.zip", "-":
        result = run("evaluate", "run", other, "--part", "test")
        assert (result["rows"], result["loss"]) == (20, pytest.approx(trained["test_loss"]))
    settings = tmp_path / "run" / "settings.json"
    known = json.loads(settings.read_text())
    # Runs of before have that of the compressed file.
    known["data"]["fingerprint"] = hashlib.sha256((tmp_path / "sizes.zip").read_bytes()).hexdigest()
    settings.write_text(json.dumps(known))
    assert run("evaluate", "run", "sizes.zip")["seen_in_training"] == 80


def test_the_test_file_of_training(program, sizes, tmp_path):
    (tmp_path / "few.csv").write_text("".join(sizes.read_text().splitlines(keepends=True)[:31]))
    options = ("--target", "depth", "--hidden", "4", "--epochs", "2", "--output", "run")
    program("train", sizes, *options, "--test-file", "few.csv")
    outcome = program("evaluate", "run", sizes)
    assert "seen 100 of these 100 rows" in outcome.err
    assert "--part test measures the test file" in outcome.err
    result = program("evaluate", "run", sizes, "--part", "test", "--json").json
    assert result["rows"] == 30


def test_other_data_have_no_part_that_is_known(program, fails, sizes, flowers, tmp_path):
    program(
        "train", sizes, "--target", "depth", "--hidden", "4", "--epochs", "1", "--output", "run"
    )
    other = tmp_path / "other.csv"
    other.write_text(sizes.read_text() + "0.5,3.5,50,no,1,1\n")
    assert program("evaluate", "run", other, "--json").json["seen_in_training"] is None
    message = fails("evaluate", "run", other, "--part", "test", status=2)
    assert "it is not the file that run was trained with" in message
    message = fails("evaluate", "run", sizes, "--part", "test", "--target", "width", status=2)
    assert "leave --target out" in message
    assert "'tst' is unknown" in fails("evaluate", "run", sizes, "--part", "tst", status=2)


def test_a_model_file_alone_does_not_know_its_rows(program, fails, sizes, tmp_path):
    program(
        "train", sizes, "--target", "depth", "--hidden", "4", "--epochs", "1", "--output", "run"
    )
    shutil.move(tmp_path / "run" / "model.safetensors", tmp_path / "alone.safetensors")
    assert program("evaluate", "alone.safetensors", sizes).err == ""
    assert "is not the file" in fails(
        "evaluate", "alone.safetensors", sizes, "--part", "test", status=2
    )


def test_built_in_data_are_divided_as_in_training(program, fails):
    common = ("--hidden", "4", "--epochs", "2", "--json")
    trained = program("train", "moons", "--test-share", "0.05", *common).json
    result = program("evaluate", "runs/moons-1", "moons", "--json").json
    assert (result["rows"], result["accuracy"]) == (50, trained["test_accuracy"])
    message = fails("evaluate", "runs/moons-1", "moons", "--part", "all", status=2)
    assert "comes with a test part" in message


@pytest.mark.parametrize(
    "change",
    [
        {"target": [{}]},
        {"unknown": 1},
        {"test_fraction": "much"},
    ],
    ids=str,
)
def test_settings_of_a_run_that_train_did_not_write(fails, change, classifier, flowers, tmp_path):
    shutil.copytree(classifier, tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    settings = json.loads(path.read_text())
    settings["data"]["options"] |= change
    path.write_text(json.dumps(settings))
    err = fails("evaluate", "run", flowers, "--part", "test")
    assert "settings.json of run is not as train wrote it" in err


def test_settings_of_a_run_do_not_raise_the_limit_of_memory(fails, classifier, flowers, tmp_path):
    shutil.copytree(classifier, tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    settings = json.loads(path.read_text())
    settings["data"]["options"]["memory_limit"] = 10**12
    path.write_text(json.dumps(settings))
    err = fails("evaluate", "run", flowers, "--part", "test", "--memory-limit", "1kB")
    assert "of which 1.0 kB are allowed" in err

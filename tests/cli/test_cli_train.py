"""Training: what is printed, what is written, and what is not."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.datasets import encoding_from_json, load

QUICK = ("moons", "--hidden", "4", "--epochs", "2", "--learning-rate", "0.01")


def test_a_run(program, backend, tmp_path):
    outcome = program("train", *QUICK, "--backend", backend.spec)
    assert (outcome.status, outcome.err) == (0, "")
    assert "Dense(n_out=4, initializer=HeNormal())" in outcome.out
    assert "(rows, 4)" in outcome.out
    assert "total" in outcome.out
    assert "2 epochs in" in outcome.out
    assert "moons, test part: 200 rows" in outcome.out
    assert "actual \\ predicted" in outcome.out
    assert outcome.out.endswith("written to runs/moons-1\n")
    assert "\x1b" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80

    run = tmp_path / "runs" / "moons-1"
    assert {path.name for path in run.iterdir()} == {
        "model.safetensors",
        "history.csv",
        "settings.json",
    }
    model = nn.Model.load(run / "model.safetensors")
    data = load("moons")
    assert encoding_from_json(model.encoding) == data.encoding
    settings = json.loads((run / "settings.json").read_text())
    assert settings["asked"]["hidden"] == "4"
    expected = model.evaluate(data.x_test, data.y_test)
    assert settings["result"]["test_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert settings["result"]["backend"] == backend.spec
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == model.history["train_loss"]
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_the_same_as_in_python(program, tmp_path):
    program(
        *("train", "moons", "--hidden", "8,4", "--activation", "tanh", "--dropout", "0.25"),
        *("--optimizer", "rmsprop", "--learning-rate", "0.01", "--l2", "0.001", "--epochs", "2"),
        *("--clip-norm", "0.5"),
        *("--batch-size", "50", "--validation", "0.2", "--seed", "3", "--dtype", "float64"),
        *("--output", "run"),
    )
    written = nn.Model.load(tmp_path / "run" / "model.safetensors")
    data = load("moons")
    model = nn.Model(
        *written.network.layers, loss=nn.SoftmaxCrossEntropy(), seed=3, dtype="float64"
    )
    optimizer = nn.RMSProp(nn.CosineDecay(0.01, epochs=2), l2=0.001, clip_norm=0.5)
    model.fit(
        *(data.x_train, data.y_train),
        optimizer=optimizer,
        epochs=2,
        batch_size=50,
        validation=0.2,
    )
    assert written.history["validation_loss"] == model.history["validation_loss"]
    assert written.training.optimizer == optimizer
    kinds = [type(layer).__name__ for layer in written.network.layers]
    assert kinds == ["Dense", "Tanh", "Dropout", "Dense", "Tanh", "Dropout", "Dense"]
    assert written.network.layers[2] == nn.Dropout(0.25)


def test_no_hidden_layer_and_a_constant_rate(program, tmp_path):
    options = ("--hidden", "none", "--epochs", "2", "--schedule", "constant")
    assert program("train", "moons", *options).status == 0
    written = nn.Model.load(tmp_path / "runs" / "moons-1" / "model.safetensors")
    assert written.history["learning_rate"] == [0.001, 0.001]
    assert [type(layer) for layer in written.network.layers] == [nn.Dense]


def test_json(program, backend):
    outcome = program("train", *QUICK, "--validation", "0", "--json", "--backend", backend.spec)
    result = outcome.json
    assert outcome.status == 0
    assert result["backend"] == backend.spec
    assert result["device"] == backend.device_label
    assert result["dtype"] == "float32"
    assert result["parameters"] == 2 * 4 + 4 + 4 * 2 + 2
    assert result["epochs"] == 2
    assert result["seconds"] > 0
    assert result["train_loss"] > 0
    assert result["validation_loss"] is None
    assert 0 < result["test_accuracy"] <= 1
    assert result["output"] == "runs/moons-1"


@pytest.mark.parametrize("compute_dtype", ["float16", "bfloat16"])
def test_mixed_precision(program, backend, compute_dtype, tmp_path):
    arguments = (*QUICK, "--compute-dtype", compute_dtype, "--backend", backend.spec)
    assert program("train", *arguments, "--json").json["compute_dtype"] == compute_dtype
    written = nn.Model.load(tmp_path / "runs" / "moons-1" / "model.safetensors", backend=backend)
    assert written.compute_dtype == compute_dtype


def test_regression(program, houses, tmp_path):
    arguments = ("train", houses, "--target", "price", "--hidden", "8", "--epochs", "3")
    outcome = program(*arguments)
    assert "R2" in outcome.out
    assert "Errors are in units of the target." in outcome.out
    assert "actual \\ predicted" not in outcome.out
    result = program(*arguments, "--json").json
    assert {"test_r2", "test_mean_absolute_error", "test_root_mean_squared_error"} <= set(result)
    model = nn.Model.load(tmp_path / "runs" / "houses-2" / "model.safetensors")
    assert model.loss == nn.MeanSquaredError()
    assert model.n_out == 1


def test_quiet_prints_the_scores_alone(program, flowers):
    outcome = program("train", flowers, "--target", "kind", "--epochs", "1", "--quiet")
    scores = ["loss", "accuracy", "balanced", "F1", "ROC", "average"]
    lines = [line.split()[0] for line in outcome.out.splitlines()]
    assert lines == ["flowers,", *scores, "written"]
    assert outcome.err == ""


def test_notes_go_to_stderr(program, tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b,kind\n" + "1,,x\n2,3,y\n4,5,x\n0,1,y\n" * 10)
    arguments = ("train", path, "--target", "kind", "--epochs", "1")
    outcome = program(*arguments, "--json")
    assert outcome.json["output"] == "runs/gaps-1"
    assert "note: missing numbers filled" in outcome.err
    assert program(*arguments, "--quiet").err == ""


def test_runs_are_numbered(program, tmp_path):
    for expected in ("runs/moons-1", "runs/moons-2"):
        assert program("train", *QUICK, "--json").json["output"] == expected
    (tmp_path / "runs" / "moons-1" / "model.safetensors").unlink()
    assert program("train", *QUICK, "--json").json["output"] == "runs/moons-3"


def test_output_may_be_deep_or_empty(program, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("a/b/c", "empty"):
        assert program("train", *QUICK, "--output", folder).status == 0
        assert (tmp_path / folder / "model.safetensors").exists()


def test_output_that_cannot_be(fails, program, tmp_path, monkeypatch):
    program("train", *QUICK, "--output", "taken")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.txt").touch()
    (tmp_path / "file").touch()
    monkeypatch.setattr(nn.Model, "fit", None)  # all of it is checked before the training
    assert "taken holds a model already" in fails("train", *QUICK, "--output", "taken")
    assert "not an empty folder" in fails("train", *QUICK, "--output", "notes")
    assert "not an empty folder" in fails("train", *QUICK, "--output", "file")
    assert "cannot write file/run" in fails("train", *QUICK, "--output", "file/run")


def test_data_that_cannot_be_learned_from(fails, flowers, tmp_path):
    assert "'digits'?" in fails("train", "dgits")
    assert "--target" in fails("train", flowers)
    assert "has no column 'knd'. Did you mean 'kind'?" in fails("train", flowers, "--target", "knd")
    assert "--target" in fails("train", "digits", "--target", "kind")
    assert "numbers" in fails("train", flowers, "--target", "kind", "--task", "regression")


def test_a_backend_that_cannot_be_used(fails, monkeypatch):
    def unavailable(spec):
        raise nn.BackendUnavailableError(f"backend {spec!r}: there is no GPU")

    monkeypatch.setattr("anyback_nn.cli.options.select", unavailable)
    assert "backend 'cupy': there is no GPU" in fails("train", "digits", "--backend", "cupy")


@pytest.mark.filterwarnings("default")
def test_divergence(fails):
    with np.errstate(all="ignore"):
        message = fails("train", "moons", "--optimizer", "sgd", "--learning-rate", "1e30")
    assert "learning rate" in message


def test_early_stopping_keeps_the_best_epoch(program, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0, 0.0])

    def judge(self, fit):
        fit.history.last["validation_loss"] = next(losses)
        on_epoch_end(self, fit)

    on_epoch_end = nn.EarlyStopping.on_epoch_end
    monkeypatch.setattr(nn.EarlyStopping, "on_epoch_end", judge)
    arguments = ("train", "moons", "--hidden", "4", "--epochs", "5", "--early-stopping", "2")
    result = program(*arguments, "--json").json
    assert (result["epochs"], result["kept_epoch"]) == (4, 2)
    assert result["validation_loss"] == 1.0
    losses = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    assert "4 of 5 epochs" in (out := program(*arguments).out)
    assert "keeping epoch 2" in out


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_on_a_terminal(program, monkeypatch, quiet):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        outcome = program("train", *QUICK, *["--quiet"] * quiet)
        print("end", file=terminal, flush=True)
        text = os.read(ours, 100_000)
    os.close(ours)
    assert (b"epoch 2/2" in text) == (b"validation 0." in text) == (not quiet)
    assert "test part" in outcome.out


def test_the_digits_are_learned(program):
    result = program("train", "digits", "--json").json
    assert result["test_accuracy"] >= 0.97


def test_the_model_is_kept_when_nobody_reads_the_output(tmp_path):
    command = f"{sys.executable} -m anyback_nn train {' '.join(QUICK)} --output run | true"
    subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert nn.Model.load(tmp_path / "run" / "model.safetensors").history


def test_what_is_said_about_a_table_is_stored_with_the_model(program, tmp_path):
    text = "id\ta, b\tc\td\te\ty\n" + "".join(
        f"{i}\t{i % 7}\t{i % 3}\t{i % 5}\t{'x' if i % 4 else 'none'}\t{i % 2}\n" for i in range(40)
    )
    (tmp_path / "table.tsv").write_text(text, encoding="utf-16-le")
    outcome = program(
        *("train", "table.tsv", "--target", "y", "--separator", "tab", "--decimal", "."),
        *("--encoding", "utf-16-le", "--na-values", "none,nothing", "--na-values", "x y"),
        *("--id", "id", "--drop", '"a, b"', "--drop", "c", "--numeric", "d", "--categorical", "e"),
        *("--hidden", "none", "--epochs", "1", "--output", "run"),
    )
    assert outcome.status == 0, outcome.err
    model = nn.Model.load(tmp_path / "run" / "model.safetensors")
    assert encoding_from_json(model.encoding).options == nn.datasets.TableOptions(
        separator="\t",
        decimal=".",
        encoding="utf-16-le",
        na_values=("none", "nothing", "x y"),
        ids=("id",),
        drop=("a, b", "c"),
        numeric=("d",),
        categorical=("e",),
    )
    result = program("evaluate", "run", "table.tsv", "--json").json
    assert result["rows"] == 40


def test_chosen_features(program, tmp_path):
    (tmp_path / "table.csv").write_text("a,b,c,y\n" + "1,2,3,0\n3,1,2,1\n" * 9)
    options = ("--target", "y", "--features", "c, a", "--hidden", "none", "--epochs", "1")
    assert program("train", "table.csv", *options, "--output", "run").status == 0
    model = nn.Model.load(tmp_path / "run" / "model.safetensors")
    encoding = encoding_from_json(model.encoding)
    assert encoding.options.features == ("c", "a")
    assert sorted(encoding.features.names) == ["a", "c"]
    message = program("evaluate", "run", "table.csv", "--features", "a").err
    assert "table.csv: the model was trained with the features 'c': expected" in message


def test_a_model_of_arrays_takes_chosen_columns_of_a_table(program, tmp_path):
    program("train", "moons", "--hidden", "none", "--epochs", "1", "--output", "run")
    (tmp_path / "new.csv").write_text("id,a,b,c,y\n7,1,2,3,0\n8,3,1,2,1\n")
    for options in ("--drop", "id,c"), ("--features", "a,b"):
        result = program("evaluate", "run", "new.csv", "--target", "y", *options, "--json").json
        assert result["rows"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--separator", "::"), "separator is '::'"),
        (("--decimal", ";"), "decimal mark is ';'"),
        (("--encoding", "latin-eins"), "'latin-eins' is unknown"),
        (("--drop", "x", "--features", "x"), "both in drop and in features"),
    ],
)
def test_options_of_tables_that_are_wrong(fails, flowers, options, message):
    assert message in fails("train", flowers, "--target", "kind", *options, status=2)


# What is tested, and what is learned --------------------------------------------------------------

SHORT = ("--hidden", "4", "--epochs", "2", "--learning-rate", "0.01")


@pytest.fixture
def train(program, sizes, tmp_path):
    """Train on the sizes, and return the result, the model and its encoding."""

    def run(*options):
        result = program("train", sizes, *SHORT, *options, "--output", "run", "--json").json
        model = nn.Model.load(tmp_path / "run" / "model.safetensors")
        shutil.rmtree(tmp_path / "run")
        return result, model, encoding_from_json(model.encoding)

    return run


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--test-share", "0.4"], {"test_fraction": 0.4}),
        (["--group", "owner"], {"group": "owner"}),
        (["--time", "week", "--test-share", "0.1"], {"time": "week", "test_fraction": 0.1}),
        (["--log-target"], {"log_target": True}),
        (["--target", "width,depth"], {"target": "width,depth"}),
        (["--loss", "poisson"], {"center_target": False}),
    ],
)
def test_the_options_of_data_are_those_of_python(train, sizes, options, settings):
    _, model, encoding = train("--target", "depth", *options)
    data = load(sizes, **{"target": "depth", **settings})
    assert encoding == data.encoding
    loss = nn.Poisson() if "--loss" in options else nn.MeanSquaredError()
    other = nn.Model(*model.network.layers, loss=loss)
    x, y, validation = data.x_train, data.y_train, 0.1
    if data.blocks is not None:
        (x, y), validation = data.split_validation(0.1)
    optimizer = nn.Adam(nn.CosineDecay(0.01, epochs=2))
    other.fit(x, y, optimizer=optimizer, epochs=2, batch_size=64, validation=validation)
    assert model.history["train_loss"] == other.history["train_loss"]
    assert model.history["validation_loss"] == other.history["validation_loss"]


def test_a_file_of_tests(program, sizes):
    arguments = ("train", sizes, *SHORT, "--target", "depth", "--test-file", sizes)
    outcome = program(*arguments)
    assert "100 rows to train and validate with, 100 to test" in " ".join(outcome.out.split())
    assert "sizes, test part: 100 rows" in outcome.out


@pytest.mark.parametrize("name", [name for name, loss in nn.LOSSES.items() if not loss.classifies])
def test_losses_of_a_continuous_target(train, name):
    result, model, _ = train("--target", "depth", "--loss", name)
    assert type(model.loss) is nn.LOSSES[name]
    assert np.isfinite(result["test_loss"])


def test_a_loss_of_counts_predicts_in_units_of_the_target(program, sizes, tmp_path):
    options = ("--target", "depth", "--loss", "poisson", "--dropout", "0", "--batch-size", "8")
    settings = ("--hidden", "16", "--epochs", "30", "--learning-rate", "0.02", "--json")
    result = program("train", sizes, *options, *settings).json
    assert result["test_r2"] > 0.8
    text = program("predict", "runs/sizes-1", sizes).out
    predicted = np.array(text.split()[1:], dtype=float)
    assert (predicted > 0).all()
    assert 30 < predicted.mean() < 70


def test_a_loss_decides_what_integers_are(program, tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("a,n\n" + "1,2\n2,4\n3,6\n4,8\n" * 10)
    options = ("--target", "n", "--loss", "poisson", *SHORT)
    assert "a continuous target" in program("train", path, *options).out
    assert "one of 4 classes" in program("train", path, "--target", "n", *SHORT).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["large", "--loss", "mean_squared_error"], "non-numeric value 'no' in column 'large'"),
        (
            ["large", "--loss", "binary_cross_entropy"],
            "and this one has one a class): expected softmax",
        ),
        (["depth", "--loss", "huber", "--task", "classification"], "huber does not fit the task"),
        (["depth", "--loss", "hubber"], "Did you mean 'huber'"),
        (["depth", "--loss", "poisson", "--log-target"], "leave --log-target out"),
        (["large", "--log-target"], "--log-target"),
        (["depth", "--class-weight", "balanced"], "a continuous target has no classes"),
        (["large", "--class-weight", "balance"], "Did you mean 'balanced'"),
        (["depth,large"], "'large' has classes: train a model for each target"),
        (["depth", "--test-share", "1"], "a share between 0 and 1"),
        (["depth", "--group", "owner", "--time", "week"], "leave group (--group) or time (--time)"),
    ],
)
def test_options_that_do_not_fit(program, sizes, options, message, tmp_path):
    outcome = program("train", sizes, *SHORT, "--target", *options)
    assert outcome.status in (1, 2)
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group", "large"], "sizes.csv: validation part (--validation 0 leaves it out): all"),
        (["--time", "half"], "leaves it out): all rows have the same time"),
        (["--validation", "0.999"], "more data or another fraction (--validation)"),
    ],
)
def test_a_validation_part_that_cannot_be(fails, sizes, options, message, tmp_path):
    text = sizes.read_text().splitlines()
    rows = [f"{line},{2 * i // len(text)}" for i, line in enumerate(text[1:])]
    (tmp_path / "sizes.csv").write_text("\n".join([f"{text[0]},half", *rows]))
    # A copy of the target would be noted before the error.
    options = *options, "--target", "depth", "--drop", "x,width"
    assert message in fails("train", "sizes.csv", *SHORT, *options)


def test_balanced_classes(train, sizes):
    result, model, _ = train("--target", "large", "--class-weight", "balanced")
    data = load(sizes, target="large")
    other = nn.Model(*model.network.layers, loss=nn.SoftmaxCrossEntropy())
    optimizer = nn.Adam(nn.CosineDecay(0.01, epochs=2))
    settings = {"epochs": 2, "batch_size": 64, "validation": 0.1, "class_weight": "balanced"}
    other.fit(data.x_train, data.y_train, optimizer=optimizer, **settings)
    assert model.history["train_loss"] == other.history["train_loss"]
    assert result["test_baseline"]["balanced_accuracy"] == 0.5


def test_several_targets_are_predicted_with_their_names(program, sizes):
    program("train", sizes, *SHORT, "--target", "width,depth", "--output", "run")
    lines = list(csv.reader(program("predict", "run", sizes).out.splitlines()))
    assert lines[0] == ["prediction_width", "prediction_depth"]
    values = np.array(lines[1:], dtype=float)
    assert values.shape == (100, 2)
    assert 2.5 < values[:, 0].mean() < 4.5
    outcome = program("evaluate", "run", sizes)
    assert "width" in outcome.out
    assert outcome.status == 0


# What is said of a bad run ------------------------------------------------------------------------


def test_a_run_that_is_no_better_than_a_constant(program, tmp_path):
    random = np.random.default_rng(0)
    rows = [f"{a:.3f},{'no' if b < 0.9 else 'yes'}" for a, b in random.uniform(size=(200, 2))]
    (tmp_path / "noise.csv").write_text("\n".join(["a,y", *rows]))
    outcome = program("train", "noise.csv", "--target", "y", *SHORT)
    assert outcome.status == 0
    note = "is not better than the 0.875 of always predicting 'no', the most frequent class"
    assert note in outcome.err
    assert "Baseline: always predicting 'no'" in outcome.out
    assert program("train", "noise.csv", "--target", "y", *SHORT, "--quiet").err == ""


def test_a_loss_that_exploded_without_becoming_infinite(program, houses):
    options = ("--hidden", "8", "--epochs", "3", "--schedule", "constant")
    command = ("train", houses, "--target", "price", *options, "--optimizer", "adam")
    outcome = program(*command, "--learning-rate", "2")
    assert outcome.status == 0
    assert "is far above the 1 of a network whose outputs are all 0" in outcome.err
    assert "smaller --learning-rate" in outcome.err
    assert "far above" not in program(*command, "--learning-rate", "0.01").err


def test_a_good_run_has_no_notes(program):
    outcome = program("train", "moons", "--epochs", "8", "--learning-rate", "0.01")
    assert (outcome.status, outcome.err) == (0, "")


# A log --------------------------------------------------------------------------------------------


def test_a_line_an_epoch_for_a_log_file(program):
    outcome = program("train", *QUICK, "--log")
    lines = outcome.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all(" validation 0." in line and line.endswith(" s") for line in lines)
    assert "epoch" not in program("train", *QUICK, "--quiet").err
    quiet = program("train", *QUICK, "--quiet", "--log")
    assert len(quiet.err.splitlines()) == 2

"""``anyback-nn export``: files that answer like ``anyback-nn predict``, from raw data."""

import csv
import io

import numpy as np
import pytest
from onnx_files import run

import anyback_nn as nn
from anyback_nn.datasets.columns import MISSING_MARKERS

pytestmark = pytest.mark.needs("ndonnx")


def write_table(path, target, n_rows=300):
    """Write a table with categories, gaps, markers of missing values, and numbers far from 0."""
    random = np.random.default_rng(0)
    age, income = random.normal(40, 12, n_rows), random.normal(5e4, 1e4, n_rows)
    town = random.choice(["Rome", "Oslo", "São Paulo, BR", "Łódź", 'a "b"'], n_rows)
    member = random.choice(["True", "False", "true"], n_rows)
    sign = random.choice(["+", "-", "0+"], n_rows)
    price = [f"${value:,.2f}" for value in random.uniform(1000, 9000, n_rows)]
    answers = {
        "mood": np.where((age > 40) ^ (town == "Oslo"), "good", "größe, [b]"),
        "cost": 100 + age + 30 * (town == "Rome"),
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "income", "town", "member", "sign", "price", target])
        for i in range(n_rows):
            gap = i % 7
            row = [f"{age[i]:.3f}", "-999" if gap == 2 else f"{income[i]:.0f}", town[i], member[i]]
            row[0] = ["", "NA"][i % 2] if gap == 0 else row[0]
            row[2] = ["", "?", "n/a"][i % 3] if gap == 1 else row[2]
            writer.writerow([*row, sign[i], price[i], answers[target][i]])
    return path


def read_raw(path):
    """Read a table as a program without this library would: numbers, and strings as they are."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}

    def number(text):
        text = text.replace("$", "").replace(",", "")
        return float("nan") if text in MISSING_MARKERS else float(text)

    return {
        **{name: np.asarray([*map(number, columns[name])]) for name in ("age", "income", "price")},
        **{name: np.asarray(columns[name], object) for name in ("town", "member", "sign")},
    }


def predictions(program, *arguments):
    header, *rows = csv.reader(io.StringIO(program("predict", *arguments).out))
    return dict(zip(header, zip(*rows)))


def take(columns, rows):
    return {name: column[rows] for name, column in columns.items()}


TRAIN = ("--epochs", "4", "--quiet", "--na-values=-999", "--output", "run")


def test_classes_from_raw_strings_and_numbers(program, tmp_path):
    table = write_table("table.csv", "mood")
    assert program("train", table, "--target", "mood", *TRAIN).status == 0
    outcome = program("export", "run", "model.onnx")
    assert (outcome.status, outcome.err) == (0, "")
    assert "numbers with the unit '$'" in " ".join(outcome.out.split())
    assert outcome.out.endswith("written to model.onnx\n")
    expected = predictions(program, "run", table, "--probabilities")
    columns = read_raw(table)
    # Whatever the number of rows, each has its own answer.
    for rows in (slice(1), slice(7), slice(None), np.arange(1000) % 300):
        outputs = run("model.onnx", **take(columns, rows))
        assert outputs["prediction"].tolist() == np.asarray(expected["prediction"])[rows].tolist()
        for i, name in enumerate(("good", "größe, [b]")):
            wanted = np.asarray(expected[name], float)[rows]
            np.testing.assert_allclose(outputs["probabilities"][:, i], wanted, atol=1e-5)


def test_strings_that_training_has_not_seen_and_all_markers(program, tmp_path):
    table = write_table("table.csv", "mood")
    program("train", table, "--target", "mood", *TRAIN)
    program("export", "run", "model.onnx", "--quiet")
    texts = [*MISSING_MARKERS, "Paris", "rome", "TRUE"]
    with open("new.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "income", "town", "member", "sign", "price"])
        writer.writerows([["41", "50000", text, "FALSE", "+", "$1,000.00"] for text in texts])
    expected = predictions(program, "run", "new.csv", "--probabilities")
    outputs = run("model.onnx", **read_raw("new.csv"))
    wanted = np.asarray(expected["good"], float)
    np.testing.assert_allclose(outputs["probabilities"][:, 0], wanted, atol=1e-5)
    assert len(set(wanted.round(6))) > 1


@pytest.mark.parametrize("signs", ["+", "+-", "-0"])
def test_signs(signs, program, tmp_path):
    """Where + is a category, - is a value, whether training has seen it or not."""
    values = [*signs, "", "zero"]
    rows = [f"{i % 5},{values[i % len(values)]},{'ab'[i % 2]}" for i in range(80)]
    with open("table.csv", "w", encoding="utf-8") as file:
        file.write("\n".join(["x,sign,y", *rows]))
    program("train", "table.csv", "--target", "y", *TRAIN)
    assert program("export", "run", "model.onnx", "--quiet").status == 0
    expected = predictions(program, "run", "table.csv", "--probabilities")
    columns = list(zip(*(row.split(",")[:2] for row in rows)))
    outputs = run(
        "model.onnx", x=np.asarray(columns[0], float), sign=np.asarray(columns[1], object)
    )
    wanted = np.asarray(expected["a"], float)
    np.testing.assert_allclose(outputs["probabilities"][:, 0], wanted, atol=1e-5)


@pytest.mark.parametrize("options", [(), ("--log-target",)], ids=str)
def test_a_continuous_target_in_its_own_units(options, program, tmp_path):
    table = write_table("table.csv", "cost")
    program("train", table, "--target", "cost", *TRAIN, *options)
    (output,) = program("export", "run", "model.onnx", "--json").json["outputs"]
    assert (output["name"], output["type"], output["shape"]) == (
        *("prediction", "float64", ["n_samples"]),
    )
    expected = np.asarray(predictions(program, "run", table)["prediction"], float)
    outputs = run("model.onnx", **read_raw(table))
    np.testing.assert_allclose(outputs["prediction"], expected, rtol=1e-6)


def test_several_targets(program, sizes, tmp_path):
    program("train", sizes, "--target", "width,depth", "--features", "x", *TRAIN)
    program("export", "run", "model.onnx")
    expected = predictions(program, "run", sizes)
    x = np.loadtxt(sizes, delimiter=",", skiprows=1, usecols=0)
    outputs = run("model.onnx", x=x)
    assert [*outputs] == ["prediction_width", "prediction_depth"]
    for name, values in outputs.items():
        # Of the size of the targets, as those near 0 are differences.
        np.testing.assert_allclose(values, np.asarray(expected[name], float), atol=1e-4)


def test_pixels_are_scaled_in_the_graph(program, tmp_path):
    program("train", "digits", "--epochs", "1", "--quiet", "--output", "run")
    program("export", "run", "model.onnx")
    digits = nn.datasets.load("digits")
    raw = digits.x_test * 16  # from 0 to 16
    outputs = run("model.onnx", x=raw.astype(np.float32))
    expected = predictions(program, "run", "digits")["prediction"]
    assert outputs["prediction"].tolist() == list(expected)


def test_a_model_that_was_saved_in_python(program, tmp_path):
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(3)
    model.save("model.safetensors")
    assert program("export", "model.safetensors", "model.onnx", "--quiet") == (0, "", "")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(run("model.onnx", x=x)["prediction"], model.predict(x))


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("when", lambda i: f"2024-01-{1 + i % 28:02}", "'when' hold dates"),
        ("prediction", lambda i: i % 5, "rename them"),
    ],
    ids=["dates", "the name of an output"],
)
def test_a_column_that_cannot_be_an_input(name, value, message, program, fails):
    rows = [f"{value(i)},{i % 3},{'ab'[i % 2]}" for i in range(60)]
    with open("table.csv", "w", encoding="utf-8") as file:
        file.write("\n".join([f"{name},x,y", *rows]))
    program("train", "table.csv", "--target", "y", "--quiet", "--epochs", "1", "--output", "run")
    assert message in fails("export", "run", "model.onnx")


def test_a_file_that_exists(program, fails):
    program("train", "moons", "--quiet", "--epochs", "1", "--output", "run")
    with open("model.onnx", "w", encoding="utf-8") as file:
        file.write("before")
    assert "--force" in fails("export", "run", "model.onnx")
    assert program("export", "run", "model.onnx", "--force", "--quiet").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "model.onnx"), "nothing"),
        (("here.txt", "model.onnx"), "here.txt"),
        ((".", "model.onnx"), "model.safetensors"),
    ],
)
def test_no_run(arguments, message, fails):
    with open("here.txt", "w", encoding="utf-8") as file:
        file.write("no model")
    assert message in fails("export", *arguments)

"""Predictions as CSV."""

import csv
import io
import sys

import numpy as np
import pytest

from anyback_nn.datasets import encoding_from_json, read
from anyback_nn.model import Model


def parsed(text):
    return list(csv.reader(io.StringIO(text)))


def expected(run, data):
    model = Model.load(run / "model.safetensors")
    encoding = encoding_from_json(model.encoding)
    return encoding, model.predict(read(data, encoding, with_target=False).x)


def test_labels(program, classifier, flowers, backend):
    outcome = program("predict", classifier, flowers, "--backend", backend.spec)
    assert (outcome.status, outcome.err) == (0, "")
    header, *rows = parsed(outcome.out)
    encoding, probabilities = expected(classifier, flowers)
    assert header == ["prediction"]
    assert [label for (label,) in rows] == encoding.decode(probabilities.argmax(axis=1)).tolist()


def test_probabilities(program, classifier, flowers, backend):
    options = ("--probabilities", "--backend", backend.spec)
    header, *rows = parsed(program("predict", classifier, flowers, *options).out)
    encoding, probabilities = expected(classifier, flowers)
    assert header == ["prediction", *encoding.classes]
    written = np.asarray([row[1:] for row in rows], dtype=np.float32)
    np.testing.assert_allclose(written, probabilities, rtol=1e-5)
    assert max(len(cell) for row in rows for cell in row[1:]) < 16  # digits of float32 only


def test_a_continuous_target_in_its_own_units(program, regressor, houses, backend):
    outcome = program("predict", regressor, houses, "--backend", backend.spec)
    values = np.asarray([row[0] for row in parsed(outcome.out)[1:]], dtype=float)
    encoding, standardised = expected(regressor, houses)
    np.testing.assert_allclose(values, encoding.decode(standardised[:, 0]), rtol=1e-6)
    assert 200_000 < values.mean() < 600_000


def test_no_target_is_needed(program, classifier, tmp_path):
    (tmp_path / "new.csv").write_text("y,x\n1,2\n3,4\n")
    assert len(parsed(program("predict", classifier, "new.csv").out)) == 3


def test_notes_go_to_stderr(program, classifier, tmp_path):
    (tmp_path / "new.csv").write_text("y,x,further\n1,2,3\n")
    outcome = program("predict", classifier, "new.csv")
    assert outcome.err.startswith("note: ignored columns")
    assert len(parsed(outcome.out)) == 2
    assert program("predict", classifier, "new.csv", "--quiet").err == ""


def test_a_file(program, fails, classifier, flowers, tmp_path):
    text = program("predict", classifier, flowers).out
    outcome = program("predict", classifier, flowers, "--output", "out/new.csv")
    assert (outcome.status, outcome.err) == (0, "")
    assert "predictions written to out/new.csv" in outcome.out
    path = tmp_path / "out" / "new.csv"
    assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]

    path.write_text("mine")
    options = ("--output", path)
    assert "--force" in fails("predict", classifier, flowers, *options)
    assert program("predict", classifier, flowers, *options, "--force").status == 0
    assert path.read_text(encoding="utf-8") == text


def test_a_file_that_cannot_be(fails, classifier, flowers, tmp_path):
    (tmp_path / "file").touch()
    command = ("predict", classifier, flowers, "--output")
    assert "cannot write file/new.csv" in fails(*command, "file/new.csv")
    assert "not a regular file" in fails(*command, tmp_path, "--force")


def test_a_file_is_written_whole_or_not_at_all(fails, classifier, flowers, tmp_path, monkeypatch):
    def fail(file, columns):
        file.write("prediction\n")
        raise KeyboardInterrupt

    monkeypatch.setattr("anyback_nn.cli.predict.write_csv", fail)
    fails("predict", classifier, flowers, "--output", "new.csv", status=130)
    (tmp_path / "new.csv").write_text("mine")
    fails("predict", classifier, flowers, "--output", "new.csv", "--force", status=130)


def test_a_continuous_target_has_no_probabilities(fails, regressor, houses):
    message = fails("predict", regressor, houses, "--probabilities", status=2)
    assert "--probabilities" in message


def test_stdout_is_utf_8_whatever_the_locale(program, classifier, flowers, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert program("predict", classifier, flowers, "--probabilities").status == 0
    assert "中" in stdout.buffer.getvalue().decode("utf-8")


@pytest.mark.parametrize("data", ["nowhere.csv", "digits"])
def test_data_that_do_not_fit(fails, classifier, data):
    assert data in fails("predict", classifier, data)


EUROPEAN = "kennung;fläche;ort;preis\n" + "".join(
    f"00{i};{20 + i}.5;{'ab'[i % 2]};{100 + 2 * i}.25\n" for i in range(40)
)
QUICK = ("--epochs", "1", "--hidden", "none")


@pytest.fixture
def european(program, tmp_path):
    """A run that was trained on a table in Latin-1, with a column that names the rows."""
    (tmp_path / "haus.csv").write_text(EUROPEAN, encoding="latin-1")
    options = ("--target", "preis", "--id", "kennung", "--encoding", "latin-1", "--drop", "ort")
    outcome = program("train", "haus.csv", *options, *QUICK, "--output", "run")
    assert outcome.status == 0, outcome.err
    return tmp_path / "run"


def test_columns_that_name_the_rows_come_before_the_prediction(program, european):
    outcome = program("predict", european, "haus.csv")
    header, *rows = parsed(outcome.out)
    assert header == ["kennung", "prediction"]
    assert [row[0] for row in rows] == [f"00{i}" for i in range(40)]
    header, *rows = parsed(program("predict", european, "haus.csv", "--id", "ort,kennung").out)
    assert header == ["ort", "kennung", "prediction"]
    assert rows[1][:2] == ["b", "001"]


def test_an_absent_column_that_names_the_rows(program, fails, european, tmp_path):
    (tmp_path / "new.csv").write_text("fläche;ort\n30.5;a\n", encoding="latin-1")
    outcome = program("predict", european, "new.csv")
    assert parsed(outcome.out)[0] == ["prediction"]
    assert "has no column 'kennung', which named the rows in training" in outcome.err
    assert "new.csv: has no column 'nr'" in fails("predict", european, "new.csv", "--id", "nr")
    message = fails("predict", european, "new.csv", "--id", "fläche")
    assert "the model was trained with the features 'fläche': expected none of them" in message
    (tmp_path / "new.csv").write_text("preis;ort\n30.5;a\n", encoding="latin-1")
    for command in ("evaluate", "--target", "ort"), ("predict", "--id", "ort"):
        message = fails(command[0], european, "new.csv", *command[1:])
        assert "lacks 1 column, 'fläche'" in message
        assert message.endswith("the file has 'preis', 'ort'\n")


def test_a_file_may_be_written_in_another_way_than_that_of_training(program, european, tmp_path):
    expected = program("predict", european, "haus.csv").out
    text = EUROPEAN.replace(";", "~")
    (tmp_path / "new.txt").write_text(text, encoding="utf-16")
    options = ("--encoding", "utf-16", "--separator", "~", "--decimal", ".")
    assert program("predict", european, "new.txt", *options).out == expected


def test_a_table_from_standard_input(program, classifier, flowers, monkeypatch):
    expected = program("predict", classifier, flowers).out
    stdin = io.TextIOWrapper(io.BytesIO(flowers.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert program("predict", classifier, "-").out == expected

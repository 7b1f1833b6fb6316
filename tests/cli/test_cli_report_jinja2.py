"""Reports of runs: with and without data, activity and libraries; and the command that repeats."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.cli import main
from anyback_nn.model import Model
from anyback_nn.tree import tree_leaves

# PyTorch comes with Jinja2, but not with what draws.
pytestmark = pytest.mark.needs("matplotlib")

SMALL = ("--hidden", "4", "--epochs", "3", "--batch-size", "16")


def find_sections(path):
    text = path.read_text(encoding="utf-8")
    known = ("settings", "classes", "values", "mistakes", "importance", "weights", "activity")
    return [name for name in known if f'<section id="{name}">' in text], text


@pytest.fixture(scope="module")
def run(tmp_path_factory, flowers):
    """A run with a report, and where its data are."""
    folder = tmp_path_factory.mktemp("report")
    options = ["--target", "kind", "--report", "--seed", "3", "--output", folder / "run"]
    assert main(["train", *map(str, [flowers, *SMALL, *options])]) == 0
    return folder / "run"


def test_train_writes_the_report_and_what_it_recorded(run):
    sections, text = find_sections(run / "report.html")
    assert sections == ["settings", "classes", "mistakes", "importance", "weights", "activity"]
    assert "Not recorded" not in text
    lines = (run / "activity.csv").read_text().splitlines()
    assert len(lines) == 1 + 4  # Dense, ReLU, Dropout and Dense of the last epoch
    assert "größe, [b]" in text


def test_the_report_of_a_run_is_the_one_that_train_wrote(run, program, tmp_path):
    outcome = program("report", run, "--output", tmp_path / "again.html", "--json")
    assert outcome.json == {"file": str(tmp_path / "again.html"), "has_data": True}
    assert (tmp_path / "again.html").read_text() == (run / "report.html").read_text()
    fails = program("report", run)
    assert fails.status == 1
    assert f"{run / 'report.html'} exists: choose another file, or replace it with --force" in (
        fails.err
    )
    shutil.copytree(run, tmp_path / "copy")
    forced = program("report", "copy", "--force", "--quiet")
    assert (forced.status, forced.err) == (0, "")


def test_the_command_trains_the_same_model_again(run, program, tmp_path):
    text = (run / "report.html").read_text(encoding="utf-8")
    line = text.partition("<pre><code>")[2].partition("</code>")[0].replace("&#39;", "'")
    words = shlex.split(line)
    assert words[:2] == ["anyback-nn", "train"]
    assert {"--seed", "--hidden", "--batch-size"} <= set(words)
    assert not {"--report", "--output", "--dropout"} & set(words)
    assert program(*words[1:], "--output", tmp_path / "again").status == 0
    models = [Model.load(path / "model.safetensors") for path in (run, tmp_path / "again")]
    for a, b in zip(*(tree_leaves(model.params) for model in models)):
        np.testing.assert_array_equal(a, b)


def test_a_run_of_before_has_no_activity_and_says_so(program, classifier, tmp_path):
    assert program("report", classifier, "--output", "report.html").status == 0
    assert "Not recorded: train with --report" in (tmp_path / "report.html").read_text()


def test_values(program, regressor, tmp_path):
    assert program("report", regressor, "--output", "report.html").status == 0
    sections, text = find_sections(tmp_path / "report.html")
    assert sections == ["settings", "values", "mistakes", "importance", "weights", "activity"]
    assert "predicted price" in text


def test_data_that_are_gone_changed_or_moved(program, fails, flowers, tmp_path):
    shutil.copy(flowers, tmp_path / "data.csv")
    program("train", "data.csv", "--target", "kind", *SMALL, "--output", "run")
    (tmp_path / "data.csv").rename(tmp_path / "moved.csv")
    gone = program("report", "run")
    assert gone.status == 0
    assert "note: the report has no part that needs data: the data of run are no longer at" in (
        gone.err
    )
    sections, text = find_sections(tmp_path / "run" / "report.html")
    assert sections == ["settings", "weights", "activity"]
    assert "The data are not here (the data of run are no longer at data.csv" in text
    accuracy = json.loads((tmp_path / "run" / "settings.json").read_text())["result"]
    assert f"{accuracy['test_accuracy']:.4f}" in text
    assert "no scores" not in text

    moved = program("report", "run", "moved.csv", "--force", "--json")
    assert moved.json["has_data"]
    assert "classes" in find_sections(tmp_path / "run" / "report.html")[0]

    (tmp_path / "data.csv").write_text("x,y,kind\n" + 9 * "1,2,a\n3,4,b\n")
    assert "nothing.csv: no such file" in fails("report", "run", "nothing.csv", "--force")
    lost = fails("report", "run", "--force")
    assert "data.csv has other contents than when run was trained" in lost
    assert "run/report.html exists, and may have parts that need data: remove it first" in lost
    changed = program("report", "run", "--output", "other.html")
    assert "data.csv has other contents than when run was trained" in changed.err
    assert changed.status == 0
    refused = program("report", "run", "data.csv", "--force")
    assert (refused.status, "other contents" in refused.err) == (1, True)


def test_a_model_file_alone(program, run, tmp_path):
    shutil.copy(run / "model.safetensors", tmp_path / "own.safetensors")
    assert program("report", "own.safetensors").status == 0
    sections, text = find_sections(tmp_path / "own.report.html")
    assert sections == ["settings", "weights", "activity"]
    assert "<h1>own.safetensors</h1>" in text
    assert "does not say which data it was trained with" in text
    # Its neighbours are not its own.
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    model.save(tmp_path / "python.safetensors")
    assert program("report", "python.safetensors").status == 0
    assert "saved from Python" in (tmp_path / "python.report.html").read_text()


def test_what_is_no_run(fails, tmp_path):
    assert "holds no model.safetensors" in fails("report", tmp_path)
    assert "there is no model file nowhere" in fails("report", "nowhere")


def test_settings_of_another_program(program, run, tmp_path):
    for text in (
        "[]",
        "{}",
        '{"asked": 1}',
        '{"asked": {"data": 3, "seed": []}, "result": 2}',
        '{"asked": [], "data": {"fingerprint": null, "options": {}, "train_rows": 1}}',
        r'{"asked": {"data": "\ud800"}, "result": {"test_\ud800": 0.5}}',
        "{",
    ):
        folder = tmp_path / "odd"
        shutil.copytree(run, folder)
        (folder / "settings.json").write_text(text)
        (folder / "report.html").unlink()
        outcome = program("report", folder)
        assert outcome.status == 0
        assert "settings.json" in outcome.err
        assert "is not as train wrote it" in outcome.err
        assert find_sections(folder / "report.html")[0] == ["settings", "weights", "activity"]
        shutil.rmtree(folder)


def test_an_activity_file_that_is_damaged(fails, run, tmp_path):
    shutil.copytree(run, tmp_path / "odd")
    for text in "junk", "epoch,layer\nx,y\n", "epoch,layer\n" + 200_000 * "1":
        (tmp_path / "odd" / "activity.csv").write_text(text)
        message = fails("report", "odd", "--force")
        assert "activity.csv is not as train wrote it" in message
        assert "remove it, and the report goes without" in message


@pytest.mark.parametrize("module", ["jinja2", "matplotlib", "sklearn"])
def test_without_a_library_nothing_is_computed(fails, run, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    expected = f"a report needs {module}, which cannot be imported"
    for command in (["report", run, "--force"], ["train", "moons", "--report"]):
        message = fails(*command)
        assert expected in message
        assert "pip install 'anyback-nn[report]'" in message


def test_a_resumed_run_keeps_what_it_recorded(program, tmp_path):
    options = ("--hidden", "4", "--report", "--checkpoint-every", "1", "--schedule", "constant")
    program("train", "moons", *options, "--epochs", "40", "--output", "whole")
    program("train", "moons", *options, "--epochs", "20", "--output", "broken")
    (tmp_path / "broken" / "model.safetensors").unlink()
    (tmp_path / "broken" / "report.html").unlink()
    outcome = program("train", "--resume", "broken", "--epochs", "40")
    assert outcome.status == 0, outcome.err
    assert outcome.out.endswith("written to broken\nreport written to broken/report.html\n")
    whole, broken = (
        (tmp_path / name / "activity.csv").read_text().splitlines() for name in ("whole", "broken")
    )
    epochs = [sorted({int(line.split(",")[0]) for line in lines[1:]}) for lines in (whole, broken)]
    assert 20 in epochs[1]  # where it ended first
    assert min(epochs[0]) == min(epochs[1]) < 20 < 40 == max(epochs[1])
    assert (tmp_path / "broken" / "report.html").exists()

"""What is in a saved model or run."""

import json

import pytest
from safetensors.numpy import save_file

import anyback_nn as nn


@pytest.fixture
def run(classifier):
    return classifier


def test_a_run(program, run):
    model = nn.Model.load(run / "model.safetensors")
    for path in run, run / "model.safetensors":
        out = program("inspect", path).out
        for part in ("Dense(n_out=", "SoftmaxCrossEntropy", "Adam(learning_rate=CosineDecay"):
            assert part in out
        result = program("inspect", path, "--json").json
        assert sum(layer["parameters"] for layer in result["layers"]) == model.layout.size
        shapes = {name: list(array.shape) for name, array in model.params[0].items()}
        assert result["layers"][0]["arrays"] == shapes
        assert (result["inputs"], result["epochs"]) == (model.n_in, len(model.history))
        assert result["target"].startswith("'kind', one of ")
        assert f"train_loss {model.history['train_loss'][-1]:.4g}" in result["last epoch"]
        noted = json.loads((run / "settings.json").read_text())
        assert result["fingerprint"] == noted["data"]["fingerprint"]
        assert f"accuracy {noted['result']['test_accuracy']:.4g}" in result["test part"]


def test_classes_that_are_not_defined_here(program, tmp_path):
    """What is in the file of somebody else can be seen before anything of it is loaded."""
    model = nn.Model(nn.Dense(2), loss=nn.MeanSquaredError()).build(3)
    arrays, settings = nn.training.checkpoint.collect_contents(model)
    settings["network"]["settings"]["layers"][0] |= {"kind": "Theirs", "module": "their.layers"}
    settings["encoding"] = {"anything": 1}
    nn.training.checkpoint.write(tmp_path / "m", arrays, settings)
    outcome = program("inspect", "m")
    assert outcome.status == 0
    for part in ("Theirs(n_out=2", "(3, 2)", "None", "of another program"):
        assert part in outcome.out
    assert "test part" not in outcome.out


def test_what_cannot_be_inspected(fails, program, tmp_path, run):
    assert "there is no model file nowhere" in fails("inspect", "nowhere")
    save_file({}, tmp_path / "other")
    assert "was not written by anyback_nn" in fails("inspect", "other")
    nn.training.checkpoint.write(tmp_path / "empty", {}, {"network": {"settings": {"layers": [1]}}})
    assert "empty: the contents do not fit together" in fails("inspect", "empty")
    (tmp_path / "settings.json").write_text("[]")  # of another program
    (tmp_path / "m").write_bytes((run / "model.safetensors").read_bytes())
    assert "fingerprint" not in program("inspect", "m").out

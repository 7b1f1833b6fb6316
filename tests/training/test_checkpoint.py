"""Model files: written whole or not at all, and nothing in them is trusted."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import anyback_nn as nn
from anyback_nn.training import checkpoint
from anyback_nn.training.checkpoint import SETTINGS


@dataclass(frozen=True)
class Doubled(nn.Layer):
    """A layer of a user's own, with a setting."""

    factor: float = 2.0

    def forward(self, params, x, context=nn.PREDICTION):
        return self.factor * x, None

    def backward(self, params, cache, dy):
        return self.factor * dy, {}


class Nameless(Doubled):
    """Not a dataclass of its own, so its name cannot be trusted to rebuild it."""


@pytest.fixture
def model():
    layers = (nn.Dense(4, initializer=nn.Orthogonal(1.5)), nn.LeakyReLU(0.3), nn.Dense(2))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(label_smoothing=0.1), seed=7).build(3)


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change):
    """Change a file's metadata or arrays and write it again."""
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(metadata, arrays)
    save_file(arrays, path, metadata)


def network_layer(settings):
    return settings["network"]["settings"]["layers"][0]["settings"]


def settings_of(metadata, change):
    settings = json.loads(metadata["anyback_nn"])
    change(settings)
    metadata["anyback_nn"] = json.dumps(settings)


def test_every_layer_loss_and_optimizer_is_described_and_rebuilt():
    from anyback_nn.network.activations import ACTIVATIONS
    from anyback_nn.network.losses import LOSSES
    from anyback_nn.optim.optimizers import OPTIMIZERS

    block = nn.Residual(nn.Dense(3, bias=False, initializer=nn.Constant(0.5)), nn.Dropout(0.1))
    things = [
        nn.Network(nn.Dense(3), nn.BatchNorm(0.8), nn.LayerNorm(), block),
        *(one() for one in ACTIVATIONS.values()),
        *(one() for one in LOSSES.values()),
        *(one() for one in OPTIMIZERS.values()),
        nn.Adam(nn.CosineDecay(0.1, epochs=5, warmup=1), l2=0.1, clip_norm=2.0),
        nn.AdamW(nn.ReduceOnPlateau(0.1), penalize_all=True),
    ]
    for thing in things:
        assert SETTINGS.from_json(json.loads(json.dumps(SETTINGS.to_json(thing)))) == thing


def test_a_layer_of_the_users_own_needs_no_registration(tmp_path):
    model = nn.Model(Doubled(3.0), nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    model.save(tmp_path / "m")
    assert nn.Model.load(tmp_path / "m").network.layers[0] == Doubled(3.0)


def test_a_name_that_is_taken_cannot_be_saved(tmp_path):
    taken = dataclass(frozen=True)(type("Dense", (Doubled,), {}))
    model = nn.Model(taken(), loss=nn.MeanSquaredError()).build(2)
    with pytest.raises(nn.CheckpointError, match="another class is called Dense"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_settings_may_have_any_name(tmp_path):
    @dataclass(frozen=True)
    class Kind(Doubled):
        kind: str = "a kind of its own"

    model = nn.Model(Kind(3.0, kind="other"), loss=nn.MeanSquaredError()).build(2)
    model.save(tmp_path / "m")
    assert nn.Model.load(tmp_path / "m").network == model.network


def test_a_history_that_is_not_json_cannot_be_saved(model, tmp_path):
    model.training.history.rows.append({"epoch": object()})
    with pytest.raises(nn.CheckpointError, match="is not valid JSON"):
        model.save(tmp_path / "m")


def test_a_single_number_can_be_a_parameter(tmp_path):
    @dataclass(frozen=True)
    class Shift(nn.Layer):
        def init(self, n_in, draws):
            return {"shift": draws.full((), 0.5)}

        def forward(self, params, x, context=nn.PREDICTION):
            return x + params["shift"], None

        def backward(self, params, cache, dy):
            return dy, {"shift": dy.sum()}

    model = nn.Model(Shift(), loss=nn.MeanSquaredError()).build(2)
    model.save(tmp_path / "m")
    assert nn.Model.load(tmp_path / "m").predict([[0.0, 1.0]]).tolist() == [[0.5, 1.5]]


@dataclass(frozen=True)
class Counter(Doubled):
    """Counts its training steps in state that was drawn from the generator itself."""

    def init_state(self, n_in, draws):
        start = int(draws.generator.integers(1, 5))
        return {
            "count": draws.backend.xp.asarray(start, device=draws.backend.device),
            "chosen": draws.bernoulli((n_in,), 0.5),
        }

    def next_state(self, state, cache):
        return {**state, "count": state["count"] + 1}


def test_state_keeps_its_dtype_wherever_it_came_from(tmp_path):
    model = nn.Model(Counter(), nn.Dense(1), loss=nn.MeanSquaredError())
    model.fit(np.ones((4, 2)), np.ones(4), epochs=3)
    before = model.training.state[0]
    model.save(tmp_path / "m")
    after = nn.Model.load(tmp_path / "m").training.state[0]
    for name in before:
        assert after[name].dtype == before[name].dtype
        np.testing.assert_array_equal(after[name], before[name])


def test_loading_draws_no_weights(path, monkeypatch):
    monkeypatch.setattr(nn.random.Random, "orthogonal", None)
    assert nn.Model.load(path).layout.size == 26


def test_what_is_not_settings_cannot_be_saved(tmp_path):
    @dataclass(frozen=True)
    class WithArray(Doubled):
        factor: object = None

    model = nn.Model(WithArray(np.ones(2)), loss=nn.MeanSquaredError()).build(2)
    with pytest.raises(nn.CheckpointError, match="cannot save array"):
        model.save(tmp_path / "m")


def test_a_damaged_file_is_refused_at_every_length(path):
    data = path.read_bytes()
    for length in (0, 1, 7, 8, 20, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(nn.CheckpointError, match=r"model\.safetensors is not a model file"):
            nn.Model.load(path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04K\x01.", b"PK\x03\x04", b"\xff" * 64])
def test_a_foreign_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(nn.CheckpointError, match="is not a model file"):
        nn.Model.load(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m, a: m.clear(), "not written by anyback_nn"),
        (lambda m, a: settings_of(m, lambda s: s.update(version=3)), "version 3; .* up to 2"),
        (lambda m, a: settings_of(m, lambda s: s.update(version="x")), "format version 'x'"),
        (lambda m, a: settings_of(m, lambda s: s.pop("version")), "no readable settings"),
        (lambda m, a: m.update(anyback_nn="{"), "no readable settings"),
        (lambda m, a: m.update(anyback_nn="[]"), "no readable settings"),
        (lambda m, a: a.pop("parameters.0.weight"), "'parameters.0.weight' is missing"),
        (
            lambda m, a: a.update({"parameters.0.weight": np.ones((9, 9))}),
            r"shape \(9, 9\), expected \(3, 4\)",
        ),
        (lambda m, a: settings_of(m, lambda s: s.pop("n_in")), "do not fit together"),
        (lambda m, a: settings_of(m, lambda s: s.update(n_in="3")), "do not fit together"),
        (lambda m, a: settings_of(m, lambda s: s.update(dtype="int8")), "do not fit together"),
        (
            lambda m, a: settings_of(m, lambda s: network_layer(s).update(units=3)),
            r"network.layers\[0\] has the fields .*'units'.*: expected 'n_out'",
        ),
        (
            lambda m, a: settings_of(m, lambda s: s["loss"].update(kind="Missing")),
            "'Missing', which is not defined.*define or impo",
        ),
        (
            lambda m, a: settings_of(m, lambda s: s.update(loss="os.system")),
            "loss is .* expected Loss",
        ),
        (lambda m, a: settings_of(m, lambda s: s["loss"].update(kind="Dense")), "kind 'Dense'"),
        (
            lambda m, a: settings_of(m, lambda s: network_layer(s).update(n_out="4")),
            r"network.layers\[0\].n_out is '4': expected an integer",
        ),
    ],
)
def test_contents_that_do_not_fit_are_refused(path, change, text):
    rewrite(path, change)
    with pytest.raises(nn.CheckpointError, match=text):
        nn.Model.load(path)


def test_a_folder_with_a_model_is_understood(path):
    inside = path.rename(path.with_name("model.safetensors"))
    with pytest.raises(nn.CheckpointError, match=f"It is a folder: do you mean {inside}") as raised:
        nn.Model.load(inside.parent)
    assert str(raised.value).startswith(f"there is no model file {inside.parent}.")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(nn.CheckpointError, match="there is no model file .*nothing"):
        nn.Model.load(tmp_path / "nothing")
    with pytest.raises(nn.CheckpointError, match="there is no folder"):
        nn.Model(nn.Dense(1), loss=nn.Poisson()).build(1).save(tmp_path / "no" / "m")


def test_a_write_that_fails_leaves_the_old_file(model, path, monkeypatch):
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(nn.CheckpointError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(model, path, monkeypatch):
    done, replace = [], os.replace

    def note(what, status):
        done.append((what, status.st_size, status.st_ino))

    def replaced(old, new):
        note("in its place", os.stat(old))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", lambda file: note("on the disk", os.fstat(file)))
    monkeypatch.setattr(os, "replace", replaced)
    model.save(path)
    assert [what for what, *_ in done] == ["on the disk", "in its place"]
    # The same file, all of it.
    assert done[0][1:] == done[1][1:]
    assert done[0][1] == path.stat().st_size


def test_arrays_that_are_not_contiguous_are_kept_as_they_are(tmp_path):
    # safetensors would write their memory in the wrong order without a word (its issue 825).
    array = np.arange(6.0).reshape(2, 3).T
    checkpoint.write(tmp_path / "m", {"a": array}, {})
    np.testing.assert_array_equal(checkpoint.read(tmp_path / "m")[0]["a"], array)


def test_the_file_holds_no_pickle(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert set(metadata) == {"anyback_nn"}
    assert json.loads(metadata["anyback_nn"])["seed"] == 7

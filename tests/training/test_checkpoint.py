"""Model files: written whole or not at all, and nothing in them is trusted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tracemalloc
from dataclasses import dataclass, make_dataclass

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import anyback_nn as nn
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.network.losses import LOSSES
from anyback_nn.optim.optimizers import OPTIMIZERS
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


@pytest.fixture
def model():
    layers = (nn.Dense(4, initializer=nn.Orthogonal(1.5)), nn.LeakyReLU(0.3), nn.Dense(2))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(label_smoothing=0.1), seed=7).build(3)


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def sign(metadata, arrays):
    """Set the checksum to what the docstring of `compute_checksum` says."""
    settings = json.loads(metadata["anyback_nn"])
    first = {name: settings.pop(name) for name in ("version", "checksum") if name in settings}
    parts = [json.dumps(settings).encode()]
    for name, array in sorted(arrays.items()):
        parts.append(f"\n{name} {array.dtype.str} {[*array.shape]}\n".encode() + array.tobytes())
    first["checksum"] = hashlib.sha256(b"".join(parts)).hexdigest()
    metadata["anyback_nn"] = json.dumps(first | settings)


def change_file(path, change):
    """Change a file's metadata or arrays and write it again, with a checksum that fits."""
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(metadata, arrays)
    with contextlib.suppress(KeyError, ValueError, AttributeError, TypeError, RecursionError):
        sign(metadata, arrays)
    save_file(arrays, path, metadata)


def change_settings(path, change):
    """Change the settings in a file and write it again."""

    def rewrite(metadata, arrays):
        settings = json.loads(metadata["anyback_nn"])
        change(settings)
        metadata["anyback_nn"] = json.dumps(settings)

    change_file(path, rewrite)


def layer_of(settings):
    return settings["network"]["settings"]["layers"][0]["settings"]


def test_every_layer_loss_and_optimizer_is_described_and_rebuilt():
    block = nn.Residual(nn.Dense(3, bias=False, initializer=nn.Constant(0.5)), nn.Dropout(0.1))
    parts = [
        nn.Network(nn.Dense(3), nn.BatchNorm(0.8), nn.LayerNorm(), block),
        *(kind() for kind in (ACTIVATIONS | LOSSES | OPTIMIZERS).values()),
        nn.Adam(nn.CosineDecay(0.1, epochs=5, warmup=1), l2=0.1, clip_norm=2.0),
        nn.AdamW(nn.ReduceOnPlateau(0.1), penalize_all=True),
    ]
    for part in parts:
        assert SETTINGS.from_json(json.loads(json.dumps(SETTINGS.to_json(part)))) == part


def test_a_layer_of_the_users_own_needs_no_registration(tmp_path):
    model = nn.Model(Doubled(3.0), nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    model.save(tmp_path / "m")
    assert nn.Model.load(tmp_path / "m").network.layers[0] == Doubled(3.0)


def test_a_class_of_another_module_is_not_taken_for_it(tmp_path):
    def define(module, **defaults):
        options = {"namespace": {"__module__": module}, "bases": (Doubled,), "frozen": True}
        return make_dataclass("Gain", [("gain", float, 1.0)], **options)

    mine, other = define("my.layers"), define("their.layers")
    for kind in mine, other:
        nn.Model(kind(gain=3.0), loss=nn.MeanSquaredError()).build(2).save(
            tmp_path / kind.__module__
        )
        (layer,) = nn.Model.load(tmp_path / kind.__module__).network.layers
        assert type(layer) is kind
    change_settings(
        tmp_path / "my.layers",
        lambda s: s["network"]["settings"]["layers"][0].update(module="our.layers"),
    )
    with pytest.raises(
        nn.CheckpointError, match="kind 'Gain' of the module 'our.layers', which is"
    ):
        nn.Model.load(tmp_path / "my.layers")
    # A script that was run and is imported now.
    change_settings(
        tmp_path / "my.layers",
        lambda s: s["network"]["settings"]["layers"][0].update(module="__main__"),
    )
    assert nn.Model.load(tmp_path / "my.layers").network.layers[0].gain == 3.0


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


@pytest.mark.parametrize("value", [object(), "text"])
def test_a_history_that_could_not_be_read_cannot_be_saved(model, tmp_path, value):
    model.training.history.rows.append({"epoch": value})
    with pytest.raises(nn.CheckpointError, match="no list of rows of numbers"):
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


@pytest.mark.parametrize("length", [0, 1, 7, 8, 20, 200, -1])
def test_a_damaged_file_is_refused_at_every_length(path, length):
    path.write_bytes(path.read_bytes()[:length])
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
        (lambda m, a: m.update(anyback_nn="{"), "no readable settings"),
        (lambda m, a: m.update(anyback_nn="[]"), "no readable settings"),
        (lambda m, a: a.pop("parameters.0.weight"), "'parameters.0.weight' is missing"),
        (
            lambda m, a: a.update({"parameters.0.weight": np.ones((9, 9))}),
            r"shape \(9, 9\), expected \(3, 4\)",
        ),
    ],
)
def test_contents_that_do_not_fit_are_refused(path, change, text):
    change_file(path, change)
    with pytest.raises(nn.CheckpointError, match=text):
        nn.Model.load(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.update(version=3), "version 3; .* up to 2"),
        (lambda s: s.update(version="x"), "format version 'x'"),
        (lambda s: s.pop("version"), "no readable settings"),
        (lambda s: s.pop("n_in"), "do not fit together"),
        (lambda s: s.update(n_in="3"), "n_in is '3': expected an integer of at least 1"),
        (lambda s: s.update(step=-1), "step is -1: expected an integer of at least 0"),
        (lambda s: s.update(epoch=1.5), "epoch is 1.5: expected an integer"),
        (lambda s: s.update(first_epoch=None), "first_epoch is None: expected an integer"),
        (lambda s: s.update(history=[1]), "history is no list of rows"),
        (lambda s: s.update(n_in=10**4), r"shape \(3, 4\), expected \(10000, 4\)"),
        (lambda s: layer_of(s).update(n_out=10**12), "shape .*, expected"),
        (lambda s: layer_of(s).update(n_out=int("9" * 4000)), "do not fit together|shape"),
        (lambda s: s.update(version=0), "format version 0"),
        (lambda s: s.update(version=True), "format version True"),
        (lambda s: s.update(dtype="int8"), "do not fit together"),
        (
            lambda s: layer_of(s).update(units=3),
            r"layers\[0\] has the .*'units'.*: expected 'n_out'",
        ),
        (lambda s: layer_of(s).update(n_out="4"), r"layers\[0\].n_out is '4': expected an integer"),
        (lambda s: s["loss"].update(kind="Missing"), "'Missing', which is not defined.*define or "),
        (lambda s: s["loss"].update(kind="Dense"), "kind 'Dense'"),
        (lambda s: s.update(loss="os.system"), "loss is .* expected Loss"),
    ],
)
def test_settings_that_do_not_fit_are_refused(path, change, text):
    change_settings(path, change)
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
    events, files, replace = [], [], os.replace

    def record(event, file):
        status = os.stat(file)
        events.append(event)
        files.append((status.st_size, status.st_ino))

    def recorded_replace(old, new):
        record("in its place", old)
        replace(old, new)

    monkeypatch.setattr(os, "fsync", lambda file: record("on the disk", file))
    monkeypatch.setattr(os, "replace", recorded_replace)
    model.save(path)
    assert events == ["on the disk", "in its place", "on the disk"]
    # The same file, all of it, and then its name.
    assert files[:2] == 2 * [(path.stat().st_size, path.stat().st_ino)]
    assert files[2][1] == path.parent.stat().st_ino


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
def test_a_file_keeps_its_mode_and_a_link_stays_one(model, path):
    path.chmod(0o640)
    link = path.with_name("link")
    link.symlink_to(path.name)
    before = path.stat().st_ino
    model.save(link)
    assert link.is_symlink()
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(path.parent.iterdir()) == [link, path]


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


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_a_flipped_bit_in_any_byte_is_found(path):
    content, last = path.read_bytes(), nn.Model.load(path)
    for position in range(len(content)):
        path.write_bytes(content)
        flip(path, position, bit=position % 8)
        try:
            model = nn.Model.load(path)
        except nn.CheckpointError:
            continue
        # Spaces that pad the header say nothing; without its name, there is no checksum.
        name = content.index(b"checksum")
        assert content[position : position + 1] == b" " or name <= position < name + 8
        np.testing.assert_array_equal(model.training.params[0], last.training.params[0])


def test_memory_is_taken_for_what_is_in_the_file_only(tmp_path):
    """Not for the network that its settings describe, nor for a file of another program."""
    save_file({"x": np.zeros(2**22)}, tmp_path / "other")
    network = nn.Model(nn.Dense(2), nn.Dense(2), loss=nn.MeanSquaredError()).build(2)
    network.save(tmp_path / "m")
    change_settings(
        tmp_path / "m", lambda s: (s.update(n_in=10**4), layer_of(s).update(n_out=10**4))
    )
    for name in "other", "m":
        tracemalloc.start()
        with pytest.raises(nn.CheckpointError):
            nn.Model.load(tmp_path / name)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**22


@dataclass(frozen=True)
class Remembering(nn.Layer):
    """Of its state nothing is known."""

    def forward(self, params, x, context=nn.PREDICTION):
        return x, None

    def backward(self, params, cache, dy):
        return dy, {}

    def init_state(self, n_in, draws):
        return {"variance": draws.full((1,), -1.0), "best": draws.full((1,), math.inf)}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", np.nan), ("mean", np.inf), ("variance", np.nan), ("variance", -1e-3)],
)
def test_state_that_no_training_leaves_is_refused(tmp_path, name, value, inside):
    norm, path = nn.BatchNorm(), "state.0"
    if inside:
        norm, path = nn.Residual(nn.Dense(2), norm), "state.0.1"
    model = nn.Model(norm, Remembering(), nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    model.save(tmp_path / "m")
    nn.Model.load(tmp_path / "m")
    change_file(tmp_path / "m", lambda m, a: a[f"{path}.{name}"].fill(value))
    with pytest.raises(nn.CheckpointError, match=rf"'{path}\.{name}' contains NaN .* or negative"):
        nn.Model.load(tmp_path / "m")


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 2, "network": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"version": 2, "n_in": ' + "9" * 5000 + "}",
    ],
)
def test_settings_that_python_cannot_read(path, text):
    change_file(path, lambda m, a: m.update(anyback_nn=text))
    with pytest.raises(nn.CheckpointError, match="no readable settings"):
        nn.Model.load(path)


def test_blocks_in_blocks_beyond_what_python_calls(path):
    def nest(settings):
        block = layer_of(settings)
        settings["network"]["settings"]["layers"][0] = {"kind": "Dense", "settings": block}
        for _ in range(200):
            layers = settings["network"]["settings"]["layers"]
            inner = {"kind": "Residual", "settings": {"layers": layers}}
            settings["network"]["settings"]["layers"] = [inner]

    change_settings(path, nest)
    with pytest.raises(nn.CheckpointError):
        nn.Model.load(path)

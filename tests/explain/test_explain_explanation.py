"""An explanation can be checked by hand: a test does so, from what is printed alone."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from explained import N_IN, NETWORKS

import anyback_nn as nn
from anyback_nn.explain.code import to_code
from anyback_nn.explain.text import iterate_parts, to_text

OPTIMIZERS = {
    "sgd": nn.GradientDescent(0.3),
    "momentum, penalties": nn.Momentum(0.1, l1=0.01, l2=0.1),
    "nesterov": nn.Nesterov(nn.CosineDecay(0.1, epochs=7)),
    "adagrad": nn.Adagrad(0.05),
    "rmsprop, clipped": nn.RMSProp(0.01, clip_value=0.01),
    "adam": nn.Adam(0.01),
    "adamw, clipped": nn.AdamW(0.01, weight_decay=0.3, clip_norm=0.05),
}


def train(optimizer=OPTIMIZERS["adam"], dtype="float32", layers=None, epochs=2):
    """Train a small model a little, and return it with some of its samples."""
    x, y = nn.datasets.make_moons(60, noise=0.1, seed=0)
    layers = layers or (nn.Dense(4), nn.Tanh(), nn.Dense(1))
    model = nn.Model(*layers, loss="binary_cross_entropy", dtype=dtype)
    model.fit(x, y, optimizer=optimizer, epochs=epochs, batch_size=20, progress=False)
    return model, x, y


def build(case, n_samples):
    """Return an untrained model of a case, with samples."""
    layers, loss = NETWORKS[case]
    rng = np.random.default_rng(0)
    model = nn.Model(*layers, loss=loss).build(N_IN)
    x, y = rng.normal(size=(n_samples, N_IN)), rng.integers(2, size=(n_samples, model.n_out))
    return model, x, y[:, 0] if case == "classes" else y


SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
SIGNS = {"−": "-", "·": "*", "√": "np.sqrt", "²": "**2", "³": "**3", "^": "**", "\u0302": "_hat"}
SIGNS |= {"min(": "np.minimum(", "max(": "np.maximum(", "sign(": "np.sign("}


def to_python(text):
    for sign, word in SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"\[([^\]]*>[^\]]*)\]", r"(\1)", text)
    return text.translate(SUBSCRIPTS)


def recompute(text):
    """Compute each line of the worked update from the numbers printed before; return the last.

    A line is ``name = formula = numbers = value``. What a formula names, and no line before has
    printed, must be among its numbers.
    """
    printed, n_lines = {}, 0
    for line in text.splitlines():
        if not line.startswith("  ") or " = " not in line or line.startswith("    "):
            continue
        if setting := re.fullmatch(r"(.*) = (.*), the .*", to_python(line).strip()):
            printed[setting[1]] = float(setting[2])
            continue
        name, *middle, value = to_python(line).strip().split(" = ")
        value = float(value)
        numbers = middle[-1] if len(middle) > 1 else value
        computed = [eval(numbers, {"np": np}) if isinstance(numbers, str) else numbers]
        if middle:
            names = re.findall(r"[^\W\d]\w*(?:\[[\d,]+\])?", middle[0])
            names = [found for found in names if found not in ("np", "sqrt", "minimum", "maximum")]
            if all(found in printed for found in names if found != "sign"):
                formula = middle[0]
                for found in sorted(set(names), key=len, reverse=True):
                    formula = re.sub(
                        rf"(?<![\w.]){re.escape(found)}(?![\w\[])", f"P[{found!r}]", formula
                    )
                computed.append(eval(formula, {"np": np, "P": printed}))
        assert computed == [pytest.approx(value, rel=2e-5)] * len(computed), line
        printed[name] = value
        n_lines += len(computed)
    return printed, n_lines


@pytest.mark.parametrize("weight", [(1, 1, 2), (2, 3, 0)], ids=["first layer", "last layer"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_update_is_recomputed_from_what_is_printed(optimizer, weight):
    model, x, y = train(optimizer, "float64")
    text = str(model.explain(x[0], y[0], weight=weight)).partition("The next update")[2]
    printed, n_lines = recompute(text)
    assert n_lines >= 8
    # The model's own next step, on this sample, ends at the same number.
    layer, i, j = weight
    model.fit(x[:1], y[:1], epochs=1, batch_size=1, progress=False)
    expected = float(model.params[2 * (layer - 1)]["weight"][i, j])
    assert printed["w_new"] == pytest.approx(expected, rel=1e-5)


def test_the_way_back_to_a_weight_is_recomputed_in_both_notations():
    model, x, y = train()
    explanation = model.explain(x[:3], y[:3], weight=(1, 0, 2))
    for notation in ("rows", "columns"):
        text = to_text(explanation, notation).partition("The next update")[2]
        printed, _ = recompute(text.replace(" / m", " / 3").replace("1/m", "1/3"))
        assert printed["dW1[0,2]"] == pytest.approx(explanation.values["dW1"][0, 2], rel=1e-5)


def test_a_long_sum_is_printed_by_its_ends():
    model, x, y = train()
    (*_, line) = model.explain(x, y, weight=(1, 0, 2)).work_gradient()
    assert "… (60 terms)" in line.numbers
    assert line.formula.count("·") == 4


def test_the_largest_gradient_of_the_first_layer_is_worked_out():
    model, x, y = train()
    explanation = model.explain(x[:5], y[:5])
    gradient = np.abs(explanation.values["dW1"])
    name, i, j = explanation.weight
    assert name == "W1"
    assert gradient[i, j] == gradient.max()


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_the_loss_is_recomputed_from_what_is_printed(case, notation):
    model, x, y = build(case, n_samples=2)
    explanation = model.explain(x, y)
    line = explanation.work_loss(notation)
    assert str(line).startswith("L = (1/")
    (code,) = to_code(f"L = {line.numbers.replace('²', '^2')}")
    numbers = code.removeprefix("L = ")
    assert eval(numbers, {"np": np}) == pytest.approx(explanation.values["L"], rel=1e-4), numbers


def test_a_loss_of_many_numbers_is_not_written_out():
    model, x, y = train()
    assert model.explain(x[:8], y[:8]).work_loss() is not None
    assert model.explain(x[:9], y[:9]).work_loss() is None


def test_a_small_change_is_seen_in_the_weight():
    model, x, y = train(nn.GradientDescent(1e-7), "float64")
    lines = {line.name: line for line in model.explain(x[0], y[0]).work_update()}
    old, change, new = (float(to_python(lines[name].value)) for name in ("w", "change", "w_new"))
    assert new - old == pytest.approx(change, rel=0.1)
    decimals = {len(lines[name].value.partition(".")[2]) for name in ("w", "w_new")}
    assert len(decimals) == 1


def test_the_penalty_is_said_to_be_outside_of_the_loss():
    model, x, y = train(nn.GradientDescent(0.1, l1=0.2, l2=0.1))
    text = str(model.explain(x[0], y[0]))
    assert "for each weight λ₁ |w|, whose slope is λ₁ sign(w) and (λ₂/2) w², whose slope" in text


def test_gradients_of_samples_are_not_called_those_of_the_mean_loss():
    model, x, y = train()
    rows, columns = (to_text(model.explain(x[:3], y[:3]), n) for n in ("rows", "columns"))
    assert "How much the loss grows" in rows
    assert "averaged" not in rows
    assert "How much the loss of each sample by itself grows" in columns
    assert "summed" not in columns


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_the_text_has_each_step_with_its_shape(case, notation):
    model, x, y = build(case, n_samples=2)
    explanation = model.explain(x, y)
    equations = [p.text for p in iterate_parts(explanation, notation) if p.kind == "equation"]
    values = explanation.values if notation == "rows" else explanation.columns
    for step in explanation.steps:
        if values[step.symbol].ndim:
            shape = " × ".join(map(str, values[step.symbol].shape))
            assert any(text.endswith(f"    ({shape})") for text in equations)


@pytest.mark.parametrize("case", NETWORKS)
def test_the_script_computes_everything_again(case, tmp_path):
    model, x, y = build(case, n_samples=3)
    explanation = model.explain(x, y)
    names = {}
    exec(explanation.to_python(), names)
    compared = [step for step in explanation.steps if step.symbol.isalnum()]
    assert len(compared) >= 6
    for step in compared:
        expected = explanation.values[step.symbol]
        assert names[step.symbol] == pytest.approx(expected, rel=2e-4, abs=1e-6), step.rows
    if explanation.weight:
        weight, i, j = explanation.weight
        expected = explanation.update.values[weight]["w_new"][i, j]
        assert names["w_new"] == pytest.approx(expected, rel=1e-4)


def test_the_script_of_a_large_network_reads_the_models_file(tmp_path):
    model, x, y = train(layers=(nn.Dense(500), nn.ReLU(), nn.Dense(1)))
    model.save(tmp_path / "model.safetensors")
    explanation = model.explain(x[0], y[0])
    script = tmp_path / "script.py"
    script.write_text(explanation.to_python(), encoding="utf-8")
    assert len(explanation.to_python()) < 2000
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    weight, i, j = explanation.weight
    values = explanation.update.values[weight]
    old, new = map(float, re.findall(r"[\d.e-]{3,}", done.stdout))
    assert (old, new) == pytest.approx((values["w"][i, j], values["w_new"][i, j]), rel=1e-6)


def test_without_targets_there_is_the_forward_part():
    model, x, _ = train()
    explanation = model.explain(x[0])
    assert [step.symbol for step in explanation.steps] == ["Z1", "A1", "Z2", "A2"]
    assert explanation.update is None
    assert explanation.weight is None
    assert explanation.values["A2"] == pytest.approx(model.predict(x[:1]), rel=1e-5)
    assert "Backward" not in str(explanation)
    exec(explanation.to_python(), {})


def test_what_a_step_of_training_does_otherwise_is_said():
    layers = (nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.5), nn.Dense(1))
    model, x, y = train(layers=layers)
    text = str(model.explain(x[0], y[0]))
    assert "Dropout does nothing here" in text
    assert "BatchNorm uses its running averages" in text


def test_a_model_before_training_begins_with_adam_from_zeros():
    model = nn.Model(nn.Dense(2), nn.Tanh(), nn.Dense(1), loss="mean_squared_error").build(2)
    explanation = model.explain([0.5, 1.0], [2.0])
    assert explanation.update.constants["t"] == 1
    assert (explanation.update.values["W1"]["m_old"] == 0).all()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ((3, 0, 0), r"one of \(1, i, j\) with i below 2 and j below 4, \(2, i, j\) with"),
        ((1, 2, 0), "expected"),
        ((1, 0, -1), "expected"),
        ((1, 0), r"got \(1, 0\)"),
        ("first", "Layers count from 1"),
    ],
)
def test_a_weight_that_is_not_there_is_refused(weight, message):
    model, x, y = train()
    with pytest.raises(ValueError, match=message):
        model.explain(x[0], y[0], weight=weight)


def test_an_update_needs_targets():
    model, x, _ = train()
    with pytest.raises(ValueError, match="pass the target y"):
        model.explain(x[0], weight=(1, 0, 0))


def test_samples_and_targets_must_fit():
    model, x, y = train()
    with pytest.raises(nn.ShapeError):
        model.explain([1.0, 2.0, 3.0])
    with pytest.raises(nn.ShapeError, match="a target for each of 2 samples, got 3"):
        model.explain(x[:2], y[:3])
    with pytest.raises(nn.AnybackError, match="no parameters yet"):
        nn.Model(nn.Dense(1), loss="mean_squared_error").explain([1.0])


def test_an_explanation_is_the_same_on_every_backend(backend):
    x, y = nn.datasets.make_moons(40, noise=0.1, seed=0)
    texts = []
    for library in ("numpy", backend):
        model = nn.Model(
            nn.Dense(3), nn.Tanh(), nn.Dense(2), loss="softmax_cross_entropy", backend=library
        )
        model.fit(x, y, optimizer=nn.GradientDescent(0.1), epochs=1, batch_size=20, progress=False)
        texts.append(model.explain(model.backend.asarray(x[:2], "float32"), y[:2]))
    ours, theirs = texts
    assert ours.weight == theirs.weight
    for symbol, value in ours.values.items():
        assert theirs.values[symbol] == pytest.approx(value, rel=1e-3, abs=1e-5), symbol


def test_a_row_of_a_data_frame_is_explained():
    frame = pytest.importorskip("pandas").DataFrame({"a": [0.5, 1.0], "b": [2.0, 3.0]})
    model = nn.Model(nn.Dense(1), loss="mean_squared_error")
    model.fit(frame, [1.0, 2.0], epochs=1, progress=False)
    explanation = model.explain(frame.iloc[[1]], [2.0])
    assert explanation.features == ("a", "b")
    assert explanation.values["X"].tolist() == [[1.0, 3.0]]


def test_a_network_without_weights_has_no_worked_update():
    model = nn.Model(nn.LayerNorm(), nn.Tanh(), loss="mean_squared_error").build(3)
    explanation = model.explain([1.0, 2.0, 4.0], [0.0, 0.0, 0.0])
    assert explanation.weight is None
    assert "next update" not in str(explanation)
    with pytest.raises(ValueError, match="one of none"):
        model.explain([1.0, 2.0, 4.0], [0.0, 0.0, 0.0], weight=(1, 0, 0))


def test_after_the_end_of_a_schedule_the_last_rate_above_0_is_used():
    model, x, y = train(nn.Adam(nn.CosineDecay(0.1, epochs=2)))
    explanation = model.explain(x[0], y[0])
    assert explanation.update.constants["rate"] == pytest.approx(0.05)
    assert "ended with a learning rate of 0" in str(explanation)
    assert "t = 7, with the learning rate" in str(explanation)
    assert "α = 0.05, the learning rate" in str(explanation)

"""The playground in headless Chromium: it trains, and Python computes the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from playground_pages import (
    choose,
    choose_weight,
    read,
    read_number,
    read_worked,
    run_script,
    settle,
    take,
)

import anyback_nn as nn
from anyback_nn.playground import load_plane
from anyback_nn.playground.settings import build_model

HOSTILE = "</script><b>\"'\\n, é\u2028"


def test_spirals_are_learned(play):
    page = play(shape="spirals")
    page.select_option("#speed", "fast")
    page.click("#run")
    page.wait_for_selector("#test-accuracy:text-matches('^(0.9[5-9]|1)')", timeout=60_000)
    assert page.inner_text("#status") == "Running."
    page.click("#run")
    page.wait_for_selector("#run[aria-pressed=false]")
    settle(page)
    assert read(page, "test-accuracy") >= 0.95
    assert read(page, "train-accuracy") >= 0.95


def test_a_step_changes_a_weight_as_in_numpy(page):
    take(page, 1)
    page.dispatch_event(".network .area >> nth=5", "pointerenter")
    shown = page.inner_text("#hover")
    x, y = nn.datasets.make_moons(500, noise=0.1)
    model = build_model((4,), "Tanh")
    model.fit(x[:32], y[:32], optimizer=nn.Adam(0.01), batch_size=32, shuffle=False, epochs=1)
    assert shown.startswith("weight from x2 to unit 1 of layer 1: ")
    expected = float(model.params[0]["weight"][1, 1])
    assert float(shown.rpartition(" ")[2]) == pytest.approx(expected, rel=2e-4)


def test_a_worked_update_gives_the_weight_of_the_next_step(page):
    choose(page, layers=2, l2=0.01, batchSize=16)
    take(page, 2)
    choose_weight(page, 14)  # 8 are before those of layer 2
    x, y = nn.datasets.make_moons(500, noise=0.1)
    model = build_model((4, 4), "Tanh")
    batches = [(x[i : i + 16], y[i : i + 16]) for i in (0, 16)]
    adam = nn.Adam(0.01, l2=0.01)
    model.fit(batches, optimizer=adam, epochs=1)
    before = float(model.params[2]["weight"][1, 2])
    gradient = model.explain(x[32:48], y[32:48]).values["dW2"][1, 2]
    model.fit([(x[32:48], y[32:48])], optimizer=adam, epochs=1)
    after = float(model.params[2]["weight"][1, 2])
    for notation in ("rows", "columns"):
        page.check(f"#walk input[value={notation}]")
        assert read_worked(page, "dW2") == pytest.approx(gradient, rel=1e-4)
        assert read_worked(page, "g") == pytest.approx(gradient + 0.01 * before, rel=1e-4)
        assert read_worked(page, "w_new") == pytest.approx(after, rel=1e-5)
    assert "W2[1,2]" in page.inner_text("#weight option:checked")
    assert "training samples 32 to 47 (m = 16)" in page.inner_text("#about-walk")


def test_a_click_on_a_point_walks_it_through_the_network(page):
    choose(page, layers=2)
    x, y = nn.datasets.make_moons(500, noise=0.1)
    box = page.locator("#points").bounding_box()
    page.click("#points", position={"x": box["width"] * 0.9, "y": box["height"] * 0.9})
    about = page.wait_for_selector("#about-walk:text-matches('^Sample [1-9]')").inner_text()
    sample = int(about.split()[1])
    assert page.input_value("#sample") == str(sample)
    # The nearest of all points to the lower right corner.
    place = np.asarray([0.8, -0.8]) * 0.54 * np.ptp(x, axis=0).max() + (x.max(0) + x.min(0)) / 2
    assert sample == int(np.hypot(*(x - place).T).argmin())
    explanation = build_model((4, 4), "Tanh").explain(x[[sample]], y[[sample]])
    for symbol in ("X", "A1", "A3", "dZ1", "dW2"):
        cells = page.locator(f"#walk .matrix[data-symbol={symbol}] >> nth=0").locator("td")
        shown = [read_number(text) for text in cells.all_inner_texts()]
        np.testing.assert_allclose(
            shown, explanation.values[symbol].ravel(), rtol=2e-3, atol=1e-7, err_msg=symbol
        )


@pytest.mark.parametrize(
    ("settings", "layers", "changed"),
    [
        ({}, 1, {}),
        (
            {"noise": 0.2, "optimizer": "Momentum", "learningRate": 0.03},
            0,
            {"learningRate": 0.003, "l2": 0.01},
        ),
        (
            {"shape": "circles", "activation": "ReLU", "batchSize": 8, "seed": 49, "l2": 0.01},
            4,
            {"batchSize": 16},
        ),
        (
            {"shape": "xor", "activation": "Sigmoid", "optimizer": "RMSProp", "l2": 0.0003},
            3,
            {"optimizer": "Adam", "batchSize": 64},
        ),
        ({"shape": "spirals", "activation": "LeakyReLU", "optimizer": "GradientDescent"}, 2, {}),
        ({"shape": "blobs", "activation": "Identity", "learningRate": 0.3, "batchSize": 64}, 2, {}),
    ],
    ids=["default", "momentum", "relu", "sigmoid", "leaky", "identity"],
)
def test_the_script_reproduces_100_steps(page, settings, layers, changed):
    """Also if settings are changed on the way, and so does the next update of the chosen weight."""
    choose(page, layers=layers, **settings)
    if layers:
        page.click("[aria-label='one unit less in layer 1']")
        settle(page)
    take(page, 60 if changed else 100)
    choose_weight(page, 1)
    if changed:
        for name, value in changed.items():
            page.select_option(f"#{name}", str(value))
        settle(page)
        assert "resumes from the same weights" in page.inner_text("#status")
        take(page, 40)
    assert page.inner_text("#steps") == "100"
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    worked = [read_worked(page, symbol) for symbol in ("dW1", "w_new")]
    losses, (_, *update) = run_script(page)
    assert losses == pytest.approx(expected, abs=1e-4)
    assert update == pytest.approx(worked, rel=1e-3, abs=1e-5)


def test_the_readers_own_table(page, tmp_path):
    random = np.random.default_rng(0)
    rows = [[*random.normal(3, 2, 2), 0.0] for _ in range(200)]
    lines = [
        f"{a:.4f};{b:.4f};{'in' if (a - 3) ** 2 + (b - 3) ** 2 < 4 else 'out'}" for a, b, _ in rows
    ]
    quoted = HOSTILE.replace('"', '""')
    table = tmp_path / "own.csv"
    text = "\n".join([f'width;"{quoted}";kind', *sorted(lines), "1,5;;in"])
    table.write_text(text.replace(".", ","), encoding="utf-8")
    page.select_option("#learningRate", "0.1")
    page.set_input_files("#file", table)
    page.wait_for_selector("#about-data:text('140 samples for training, 60 for testing')")
    assert "1 rows are left out" in page.inner_text("#about-data")
    assert page.inner_text("#second option:checked") == HOSTILE.replace("\u2028", "\u2028")
    take(page, 100)
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    assert expected[0] < 0.5
    assert run_script(page)[0] == pytest.approx(expected, abs=1e-4)


def test_a_table_of_the_command_line(play):
    random = np.random.default_rng(1)
    x = random.normal(0, 30, (100, 2))
    kinds = np.where(x[:, 0] > x[:, 1], HOSTILE, "no")
    import polars as pl

    frame = pl.DataFrame({HOSTILE: x[:, 0], "b": x[:, 1], "kind": kinds})
    page = play(data=load_plane(frame, target="kind"))
    assert HOSTILE.split("\u2028", maxsplit=1)[0] in page.inner_text("#class-0")
    take(page, 10)
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    assert run_script(page)[0] == pytest.approx(expected, abs=1e-4)

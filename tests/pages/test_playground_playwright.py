"""The playground in headless Chromium: it trains, and Python computes the same numbers."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest
from watched_pages import WIDTHS

import anyback_nn as nn
from anyback_nn.playground import build_playground, load_plane
from anyback_nn.playground.settings import build_model

HOSTILE = "</script><b>\"'\\n, é\u2028"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page with its default settings: spirals, two layers of eight tanh units, Adam."""
    path = tmp_path_factory.mktemp("playground") / "page.html"
    path.write_text(build_playground(), encoding="utf-8")
    return path


@pytest.fixture
def play(open_page, path):
    """Open the page, and wait until it can train."""

    def play(page_path=path, **options):
        page = open_page(page_path, **options)
        page.wait_for_selector("#status:not(:empty)", state="attached")
        return page

    return play


def choose(page, **settings):
    """Choose settings, and wait for the new network."""
    for name, value in settings.items():
        if name == "shape":
            page.click(f"label:has(input[value={value}])")
        elif name == "seed":
            page.fill("#seed", str(value))
            page.press("#seed", "Tab")
        elif name == "noise":
            page.fill("#noise", str(value))
        else:
            page.select_option(f"#{name}", str(value))
    wait_for(page, 0)


def wait_for(page, steps, timeout=30):
    """Wait until so many steps are shown."""
    page.wait_for_selector(f"#steps:text-is('{steps:,}')", state="attached", timeout=1000 * timeout)


def take(page, steps):
    """Take steps: by epochs while they are short, then one by one."""
    per_epoch = int(page.get_attribute("#epoch", "data-steps"))
    for _ in range(steps // per_epoch):
        page.click("#epoch")
    for _ in range(steps % per_epoch):
        page.click("#step")
    wait_for(page, steps)


def read(page, name):
    return float(page.get_attribute(f"#{name}", "data-value"))


def run_script(page):
    """Run the script of the page; return the losses that it prints."""
    page.click("#tab-python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(page.inner_text("#code"), "script", "exec"), {})
    return [float(loss) for loss in re.findall(r"loss (\S+),", printed.getvalue())]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens(play, width, scheme):
    page = play(width=width, scheme=scheme)
    assert 0.5 < read(page, "train-loss") < 1
    for _ in range(2):
        page.click("#more")
    take(page, 1)


def test_spirals_are_learned(play):
    page = play()
    page.select_option("#speed", "fast")
    page.click("#run")
    page.wait_for_selector("#test-accuracy:text-matches('^(0.9[5-9]|1)')", timeout=60_000)
    page.click("#run")
    page.wait_for_selector("#run[aria-pressed=false]")
    assert read(page, "test-accuracy") >= 0.95
    assert read(page, "train-accuracy") >= 0.95


def test_a_step_changes_a_weight_as_in_numpy(play):
    page = play()
    take(page, 1)
    page.dispatch_event(".network .area >> nth=5", "pointerenter")
    shown = page.inner_text("#hover")
    x, y = nn.datasets.make_spirals(500, n_classes=2, noise=0.03)
    model = build_model((8, 8), "Tanh")
    model.fit(x[:32], y[:32], optimizer=nn.Adam(0.01), batch_size=32, shuffle=False, epochs=1)
    assert shown.startswith("weight from x1 to unit 5 of layer 1: ")
    expected = float(model.params[0]["weight"][0, 5])
    assert float(shown.rpartition(" ")[2]) == pytest.approx(expected, rel=2e-4)


def read_number(text):
    return float(text.replace("−", "-").replace("=", "").strip("() \n"))


@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_a_worked_update_gives_the_weight_of_the_next_step(play, notation):
    page = play()
    choose(page, l2=0.01, batchSize=16)
    take(page, 2)
    page.dispatch_event(".network .area >> nth=26", "click")  # 16 are before those of layer 2
    page.wait_for_selector("#worked")
    page.check(f"#walk input[value={notation}]")
    x, y = nn.datasets.make_spirals(500, n_classes=2, noise=0.03)
    model = build_model((8, 8), "Tanh")
    batches = [(x[i : i + 16], y[i : i + 16]) for i in (0, 16)]
    adam = nn.Adam(0.01, l2=0.01)
    model.fit(batches, optimizer=adam, epochs=1)
    before = float(model.params[2]["weight"][1, 2])
    gradient = model.explain(x[32:48], y[32:48]).values["dW2"][1, 2]
    model.fit([(x[32:48], y[32:48])], optimizer=adam, epochs=1)
    after = float(model.params[2]["weight"][1, 2])

    def read_line(symbol):
        return read_number(page.inner_text(f"#worked .line[data-symbol={symbol}] .value"))

    assert read_line("dW2") == pytest.approx(gradient, rel=1e-4)
    assert read_line("g") == pytest.approx(gradient + 0.01 * before, rel=1e-4)
    assert read_line("w_new") == pytest.approx(after, rel=1e-5)
    assert "W2[1,2]" in page.inner_text("#weight option:checked")


def test_a_click_on_a_point_walks_it_through_the_network(play):
    page = play()
    x, y = nn.datasets.make_spirals(500, n_classes=2, noise=0.03)
    box = page.locator("#points").bounding_box()
    page.click("#points", position={"x": box["width"] * 0.9, "y": box["height"] * 0.9})
    about = page.wait_for_selector("#about-walk:text-matches('^Sample [1-9]')").inner_text()
    sample = int(about.split()[1])
    assert page.input_value("#sample") == str(sample)
    # The nearest of all points to the lower right corner.
    place = np.asarray([0.8, -0.8]) * 0.54 * np.ptp(x, axis=0).max() + (x.max(0) + x.min(0)) / 2
    assert sample == int(np.hypot(*(x - place).T).argmin())
    explanation = build_model((8, 8), "Tanh").explain(x[[sample]], y[[sample]])
    for symbol in ("X", "A1", "A3", "dZ1", "dW2"):
        cells = page.locator(f"#walk .matrix[data-symbol={symbol}] >> nth=0").locator("td")
        shown = [read_number(text) for text in cells.all_inner_texts()]
        np.testing.assert_allclose(
            shown, explanation.values[symbol].ravel(), rtol=2e-3, atol=1e-7, err_msg=symbol
        )


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, 2),
        ({"shape": "moons", "noise": 0.2, "optimizer": "Momentum", "learningRate": 0.03}, 0),
        ({"shape": "circles", "activation": "ReLU", "batchSize": 8, "seed": 49, "l2": 0.01}, 4),
        ({"shape": "xor", "activation": "Sigmoid", "optimizer": "RMSProp", "l2": 0.0003}, 3),
        ({"shape": "blobs", "activation": "LeakyReLU", "optimizer": "GradientDescent"}, 1),
        ({"activation": "Identity", "learningRate": 0.3, "batchSize": 64, "seed": 7}, 2),
    ],
    ids=["default", "momentum", "relu", "sigmoid", "leaky", "identity"],
)
def test_the_script_reproduces_100_steps(play, settings, layers):
    page = play()
    for _ in range(abs(layers - 2)):
        page.click("#more" if layers > 2 else "#fewer")
    if layers:
        page.click("[aria-label='one unit less in layer 1']")
    choose(page, **settings)
    take(page, 100)
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    assert run_script(page) == pytest.approx(expected, abs=1e-4)


def test_the_readers_own_table(play, tmp_path):
    random = np.random.default_rng(0)
    rows = [[*random.normal(3, 2, 2), 0.0] for _ in range(200)]
    lines = [
        f"{a:.4f};{b:.4f};{'in' if (a - 3) ** 2 + (b - 3) ** 2 < 4 else 'out'}" for a, b, _ in rows
    ]
    quoted = HOSTILE.replace('"', '""')
    table = tmp_path / "own.csv"
    text = "\n".join([f'width;"{quoted}";kind', *sorted(lines), "1,5;;in"])
    table.write_text(text.replace(".", ","), encoding="utf-8")
    page = play()
    page.set_input_files("#file", table)
    page.wait_for_selector("#about-data:text('140 samples for training, 60 for testing')")
    assert "1 rows are left out" in page.inner_text("#about-data")
    assert page.inner_text("#second option:checked") == HOSTILE.replace("\u2028", "\u2028")
    take(page, 100)
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    assert expected[0] < 0.5
    assert run_script(page) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,x\n", "1 rows below its header: expected 10"),
        ("a,b,c\n" + "1,2,x\n" * 20, "no column has two different values"),
        ("a,b,c\n" + "1,u,x\n2,v,y\n" * 20, "expected two columns of numbers"),
        ("a,b,c\n" + "1,,x\n,2,y\n" * 20, "0 rows have no gaps"),
    ],
    ids=["short", "one class", "strings", "gaps"],
)
def test_other_tables_are_refused(play, tmp_path, text, message):
    page = play()
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    page.set_input_files("#file", tmp_path / "own.csv")
    page.wait_for_selector("#file-problem:not([hidden])")
    assert message in page.inner_text("#file-problem")


def test_a_loss_that_is_not_finite_ends_the_run(play):
    page = play()
    choose(page, activation="Identity", optimizer="Momentum", learningRate=3, l2=0.1, batchSize=1)
    page.click("#run")
    page.wait_for_selector("#status:text('lower the learning rate')")
    assert page.get_attribute("#run", "aria-pressed") == "false"


def test_a_table_of_the_command_line(play, tmp_path):
    random = np.random.default_rng(1)
    x = random.normal(0, 30, (100, 2))
    kinds = np.where(x[:, 0] > x[:, 1], HOSTILE, "no")
    import polars as pl

    frame = pl.DataFrame({HOSTILE: x[:, 0], "b": x[:, 1], "kind": kinds})
    path = tmp_path / "page.html"
    path.write_text(build_playground(load_plane(frame, target="kind")), encoding="utf-8")
    page = play(path)
    assert HOSTILE.split("\u2028", maxsplit=1)[0] in page.inner_text("#class-0")
    take(page, 10)
    expected = [read(page, "train-loss"), read(page, "test-loss")]
    assert run_script(page) == pytest.approx(expected, abs=1e-4)

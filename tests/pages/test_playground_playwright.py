"""The playground in headless Chromium: it trains, and Python computes the same numbers."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest
from watched_pages import WIDTHS, find_overflow, open_watched

import anyback_nn as nn
from anyback_nn.playground import build_playground, load_plane
from anyback_nn.playground.settings import build_model

HOSTILE = "</script><b>\"'\\n, é\u2028"


DEFAULTS = {
    "activation": "Tanh",
    "optimizer": "Adam",
    "learningRate": 0.01,
    "batchSize": 32,
    "l2": 0,
    "seed": 0,
    "noise": 0.1,
    "links": "weights",
    "speed": "epoch",
}


@pytest.fixture
def play(open_page, tmp_path):
    """Open a page, and wait until it can train."""

    def play(width=WIDTHS[1], scheme="light", **options):
        path = tmp_path / "page.html"
        path.write_text(build_playground(**options), encoding="utf-8")
        page = open_page(path, width=width, scheme=scheme)
        page.wait_for_selector("#status:not(:empty)", state="attached")
        return page

    return play


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """A page for many tests, as opening one takes longer than most of them do."""
    path = tmp_path_factory.mktemp("playground") / "page.html"
    path.write_text(build_playground(), encoding="utf-8")
    page, wrong = open_watched(browser, path, WIDTHS[1], "light")
    page.wait_for_selector("#status:not(:empty)", state="attached")
    yield page, wrong
    page.close()


@pytest.fixture
def page(opened):
    """The page with its default settings, at step 0; at the end, nothing may be wrong with it."""
    page, wrong = opened
    page.click("#tab-sample")
    page.evaluate("document.getElementById('all-values').checked = false")
    choose(page)
    yield page
    problems = [*wrong, *find_overflow(page)]
    wrong.clear()
    assert problems == []


def choose(page, shape="moons", layers=1, **settings):
    """Choose settings, with hidden layers of four units, and wait for the new network."""
    while not page.is_disabled("#fewer"):
        page.click("#fewer")
    for _ in range(layers):
        page.click("#more")
    page.click(f"label:has(input[value={shape}])")
    page.evaluate(
        """(values) => {
            for (const [id, value] of Object.entries(values)) {
                document.getElementById(id).value = value;
            }
        }""",
        DEFAULTS | settings,
    )
    page.click("#reset")
    settle(page)


def settle(page):
    """Wait until the page has done everything."""
    page.wait_for_selector("#playground[data-waiting='0']")


def take(page, steps):
    """Take steps: by epochs while they are short, then one by one."""
    per_epoch = int(page.get_attribute("#epoch", "data-steps"))
    for _ in range(steps // per_epoch):
        page.click("#epoch")
    for _ in range(steps % per_epoch):
        page.click("#step")
    settle(page)


def read(page, name):
    return float(page.get_attribute(f"#{name}", "data-value"))


def run_script(page):
    """Run the script of the page; return the losses and the numbers of a weight that it prints."""
    page.click("#tab-python")
    settle(page)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(page.inner_text("#code"), "script", "exec"), {})
    losses = [float(loss) for loss in re.findall(r"loss (\S+),", printed.getvalue())]
    return losses, [float(number) for number in re.findall(r" = (\S+)", printed.getvalue())]


def read_number(text):
    return float(text.replace("−", "-").replace("=", "").strip("() \n"))


def read_worked(page, symbol):
    return read_number(page.inner_text(f"#worked .line[data-symbol={symbol}] .value"))


def choose_weight(page, nth):
    page.dispatch_event(f".network .area >> nth={nth}", "click")
    settle(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_are_beside_the_network_or_linked(play, width, scheme):
    page = play(width=width, scheme=scheme)
    assert 0.5 < read(page, "train-loss") < 1
    for _ in range(3):
        page.click("#more")
    take(page, 1)
    place = page.evaluate("scrollY")
    choose_weight(page, 1)
    assert page.evaluate("scrollY") == place
    assert page.is_visible("a[href='#panel']") == (width == WIDTHS[0])
    network, panel = (page.locator(part).bounding_box() for part in ("#diagram", "#panel"))
    assert (network["x"] + network["width"] <= panel["x"]) == (width == WIDTHS[1])


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


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("hello", ["it has 1 column: expected two columns of numbers and one with two classes"]),
        ("a,b,c\n1,2,x\n", ["no column has two different values", "1 row below its header"]),
        ("a,b,c\n" + "1,2,x\n" * 20, ["no column has two different values"]),
        ("a,b,c\n" + "1,u,x\n2,3,y\n" * 20, ["expected two columns of numbers, but b has “u”"]),
        ("a,b,c\n" + "1,,x\n,2,y\n" * 20, ["0 rows have no gaps"]),
    ],
    ids=["one column", "short", "one class", "strings", "gaps"],
)
def test_other_tables_are_refused(page, tmp_path, text, messages):
    page.set_input_files("#file", [])
    (tmp_path / "own.csv").write_text(text, encoding="utf-8")
    page.set_input_files("#file", tmp_path / "own.csv")
    page.wait_for_selector(f"#file-problem:not([hidden]):text('{messages[0]}')")
    for message in messages:
        assert message in page.inner_text("#file-problem")


@pytest.mark.parametrize(("name", "most"), [("seed", 49), ("sample", 499)])
@pytest.mark.parametrize("written", ["9999", "-3", "1.5", ""])
def test_other_numbers_are_refused(page, name, most, written):
    last = page.input_value(f"#{name}")
    page.fill(f"#{name}", written)
    page.press(f"#{name}", "Tab")
    message = page.wait_for_selector(f"#{name}-problem:not([hidden])").inner_text()
    assert message.endswith(f"expected an integer from 0 to {most}.")
    assert page.input_value(f"#{name}") == last


def test_a_new_setting_of_the_steps_keeps_the_weights(page):
    take(page, 3)
    loss = read(page, "train-loss")
    page.select_option("#learningRate", "0.1")
    page.wait_for_selector("#status:text('begins again, at t = 1')")
    assert (read(page, "train-loss"), page.inner_text("#steps")) == (loss, "3")
    page.click("#reset")
    page.wait_for_selector("#status:text('new weights: step 0')")
    assert page.inner_text("#steps") == "0"


def test_a_loss_that_is_not_finite_ends_the_run(page):
    choose(page, activation="Identity", optimizer="Momentum", learningRate=3, l2=0.1, batchSize=1)
    page.click("#run")
    page.wait_for_selector("#advice:text('no longer a finite number')")
    page.wait_for_selector("#run[aria-pressed=false]")
    page.select_option("#learningRate", "0.01")
    settle(page)
    assert page.inner_text("#steps") == "0"
    assert page.is_hidden("#advice")


def test_a_run_that_does_not_get_on_is_noticed(page):
    choose(page, activation="ReLU", optimizer="Momentum", learningRate=3, links="gradients")
    page.click("#run")
    page.wait_for_selector("#advice:text-matches('larger than without|hardly changes')")
    page.click("#run")
    page.wait_for_selector("#status:text('Paused')")
    # Units are dead, so the gradients of their weights are 0: lines are blue, orange or grey.
    kinds = []
    for line, area in zip(page.locator(".line[d]").all(), page.locator(".area").all(), strict=True):
        area.dispatch_event("pointerenter")
        gradient = read_number(page.inner_text("#hover").rpartition(" ")[2])
        kinds.append(["point-0", "none", "point-1"][int(np.sign(gradient)) + 1])
        assert line.evaluate("line => line.style.stroke") == f"var(--{kinds[-1]})"
    assert {"none"} < {*kinds}


def test_the_tables_of_the_chosen_weight_are_with_its_derivation(page):
    choose_weight(page, 1)
    tables = page.locator("#walk .matrix:visible")
    assert [table.get_attribute("data-symbol") for table in tables.all()] == ["W1", "dW1"]
    tables.nth(1).locator("td").nth(6).click()
    settle(page)
    assert "W1[1,2]" in page.inner_text("#weight option:checked")
    page.check("#all-values")
    page.wait_for_selector("#walk .matrix[data-symbol=dZ2]")
    assert page.locator("#walk .matrix:visible").count() > 10
    assert page.locator("#walk .flow").bounding_box()["y"] < 300


def test_the_map_of_a_unit_is_named_and_has_a_scale(page):
    page.click("[aria-label='unit 1 of layer 1: show its map']")
    assert page.inner_text("#result-title") == "Output of unit 1 of layer 1"
    ends = [page.inner_text(f"#scale-{i}") for i in range(3)]
    assert [read_number(end) for end in ends] == [
        -read_number(ends[2]),
        0,
        pytest.approx(1, abs=0.1),
    ]
    page.click("[aria-label='unit 1 of layer 1: show its map']")
    assert page.inner_text("#result-title") == "Prediction"


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

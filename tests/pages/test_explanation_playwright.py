"""The page of an explanation, in a browser: its numbers, its notations, and what a click does."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from watched_pages import WIDTHS

import anyback_nn as nn


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network, its explanation and the page."""
    x, y = nn.datasets.make_moons(60, noise=0.1, seed=0)
    model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(1), loss="binary_cross_entropy")
    model.fit(x, y, optimizer=nn.Adam(0.01), epochs=2, progress=False)
    explanation = model.explain(x[:3], y[:3])
    path = tmp_path_factory.mktemp("small") / "page.html"
    explanation.to_html(path)
    return explanation, path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The default network for the digits, with dropout, and the page."""
    digits = nn.datasets.load("digits")
    layers = (nn.Dense(256), nn.ReLU(), nn.Dropout(0.1), nn.Dense(128), nn.ReLU(), nn.Dense(10))
    model = nn.Model(*layers, loss="softmax_cross_entropy")
    model.fit(digits.x_train[:200], digits.y_train[:200], epochs=1, progress=False)
    explanation = model.explain(digits.x_test[0], digits.y_test[0])
    path = tmp_path_factory.mktemp("large") / "page.html"
    explanation.to_html(path)
    return explanation, path


def write_page(folder, *layers, y=None, loss="mean_squared_error"):
    model = nn.Model(*layers, loss=loss).build(3)
    model.explain(np.asarray([[0.5, -1.0, 2.0]]), y).to_html(folder / "page.html")
    return folder / "page.html"


def test_without_targets_the_page_ends_with_the_prediction(open_page, tmp_path):
    page = open_page(write_page(tmp_path, nn.Dense(2), nn.Tanh()))
    assert page.locator(".step[data-symbol]").count() == 2
    assert page.locator("#worked, td.weight").count() == 0


@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_blocks_and_normalisations_have_a_page(open_page, tmp_path, notation):
    block = nn.Residual(nn.Dense(4), nn.Tanh(), nn.Dense(4))
    layers = (nn.BatchNorm(), nn.Dense(4), nn.LayerNorm(), block, nn.Softmax(), nn.Dense(1))
    page = open_page(write_page(tmp_path, *layers, y=[[1.0]]))
    page.get_by_label(notation).check()
    page.locator(".matrix[data-symbol='W1'] td.weight").first.click()
    assert "dZ1[0,0]" in page.locator("#worked").inner_text()


def number(text):
    return float(text.replace("−", "-"))


def shown_matrix(page, symbol):
    """Return the numbers of a table in the page."""
    rows = page.locator(f".step[data-symbol='{symbol}'] .matrix[data-symbol='{symbol}'] tbody tr")
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    return np.asarray([[number(cell) for cell in row] for row in cells])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_nothing_is_wrong_with_the_page(open_page, request, size, width, scheme):
    explanation, path = request.getfixturevalue(size)
    page = open_page(path, width, scheme)
    steps = page.locator(".step[data-symbol]")
    assert [s.get_attribute("data-symbol") for s in steps.all()] == [
        step.symbol for step in explanation.steps
    ]


@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_every_value_is_shown_in_both_notations(open_page, small, notation):
    explanation, path = small
    page = open_page(path)
    page.get_by_label(notation).check()
    values = explanation.values if notation == "rows" else explanation.columns
    for step in explanation.steps:
        value = values[step.symbol]
        if value.ndim:
            assert shown_matrix(page, step.symbol) == pytest.approx(
                np.atleast_2d(value), rel=1e-3, abs=1e-6
            )


def test_switching_the_notation_transposes_shapes_and_equations(open_page, small):
    page = open_page(small[1])
    step = page.locator(".step[data-symbol='Z1']")
    assert step.locator(".equation").first.inner_text().startswith("Z1 = X W1 + b1")
    assert "(3 × 4)" in step.inner_text()
    page.get_by_label("columns").check()
    assert step.locator(".equation").first.inner_text().startswith("Z1 = W1T X + b1")
    assert "(4 × 3)" in step.inner_text()
    assert page.evaluate("document.activeElement.value") == "columns"


def worked(page):
    """Return the last value of each line of the worked update, by its symbol."""
    lines = page.locator("#worked .line").all()
    return {
        line.get_attribute("data-symbol"): number(
            line.locator(".value").inner_text().removeprefix("= ")
        )
        for line in lines
    }


@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_a_click_on_a_weight_works_out_its_update(open_page, small, notation):
    explanation, path = small
    page = open_page(path)
    page.get_by_label(notation).check()
    before = worked(page)
    page.locator(".matrix[data-symbol='W2'] td.weight").nth(3).click()
    assert "W2[3,0]" in page.locator("#worked h2").inner_text()
    after = worked(page)
    assert before.keys() != after.keys()
    values = explanation.update.values["W2"]
    for symbol in ("g", "m_t", "v_t", "m_hat", "v_hat", "change", "w_new"):
        assert after[symbol] == pytest.approx(values[symbol][3, 0], rel=1e-5)
    assert after["dW2"] == pytest.approx(values["dw"][3, 0], rel=1e-5)
    assert page.locator("td.chosen").count() == 2


def test_the_page_has_the_lines_of_the_text(open_page, small):
    explanation, path = small
    page = open_page(path)
    lines = [*explanation.work_gradient(), *explanation.work_update()]
    shown = page.locator("#worked .line").all()
    assert len(shown) == len(lines)
    for element, line in zip(shown, lines):
        value = element.locator(".value").inner_text().removeprefix("= ")
        assert number(value) == pytest.approx(number(line.value), rel=1e-5)
        for part in re.findall(r"[\d.]{4,}", line.numbers):
            assert part in element.inner_text()


def test_a_weight_is_chosen_by_the_keyboard_too(open_page, small):
    page = open_page(small[1])
    page.locator(".matrix[data-symbol='dW1'] td.weight").nth(2).focus()
    page.keyboard.press("Enter")
    assert "W1[0,2]" in page.locator("#worked h2").inner_text()


def test_a_large_network_is_abridged_but_for_the_chosen_weight(open_page, large):
    explanation, path = large
    page = open_page(path)
    name, i, j = explanation.weight
    assert page.locator(f".matrix[data-symbol='{name}'] td.chosen").count() == 1
    expected = explanation.update.values[name]["w_new"][i, j]
    assert worked(page)["w_new"] == pytest.approx(expected, rel=1e-5)
    assert path.stat().st_size < 500_000
    # The rest of a table that the page has as a whole is shown if it is wanted.
    row = page.locator(".step[data-symbol='Z1'] .matrix[data-symbol='Z1']")
    assert row.locator("td").count() == 8
    row.get_by_role("button").click()
    assert row.locator("td").count() == 256


def test_the_script_is_copied(open_page, small):
    explanation, path = small
    page = open_page(path)
    page.get_by_role("button", name="Copy as Python").click()
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('copied')")
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    assert page.locator("textarea").input_value() == explanation.to_python()
    page.get_by_text("Show the script").click()
    assert page.locator("#script pre").inner_text().strip() == explanation.to_python().strip()


def test_the_script_is_that_of_the_weight_that_was_clicked(open_page, small):
    explanation, path = small
    page = open_page(path)
    page.locator(".matrix[data-symbol='W2'] td.weight").nth(3).click()
    page.get_by_text("Show the script").click()
    names = {}
    exec(page.locator("#script pre").inner_text(), names)
    values = explanation.update.values["W2"]
    for symbol in ("w", "m_old", "v_old", "w_new"):
        assert names[symbol] == pytest.approx(values[symbol][3, 0], rel=1e-6)


@pytest.mark.parametrize("notation", ["rows", "columns"])
def test_the_loss_is_worked_out(open_page, small, notation):
    explanation, path = small
    page = open_page(path)
    page.get_by_label(notation).check()
    shown = page.locator(".step[data-symbol='L'] .line").inner_text().split("\n")
    line = explanation.work_loss(notation)
    assert [text.removeprefix("= ") for text in shown[1:]] == [line.numbers, line.value]


def test_the_loss_of_many_samples_is_not_worked_out(open_page, tmp_path):
    model = nn.Model(nn.Dense(1), loss="mean_squared_error").build(3)
    rng = np.random.default_rng(0)
    explanation = model.explain(rng.normal(size=(9, 3)), rng.normal(size=(9, 1)))
    explanation.to_html(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert page.locator(".step[data-symbol='L']").count() == 1
    assert page.locator(".step[data-symbol='L'] .line").count() == 0


def test_gradients_of_parameters_are_branches_of_the_way_back(open_page, small):
    page = open_page(small[1])
    nodes = page.evaluate(
        """() => [...document.querySelectorAll(".flow .node")].map(
            node => [...node.querySelectorAll("a")].map(a => a.hash.replace("#step-", "")))"""
    )
    assert nodes == [
        *(["X"], ["Z1"], ["A1"], ["Z2"], ["A2"], ["L"]),
        *(["dZ2", "dW2", "db2"], ["dA1"], ["dZ1", "dW1", "db1"]),
    ]


def darkness(element, side):
    """Return the darkness of a pixel at a side of a table, in the space below its last row."""
    image = Image.open(io.BytesIO(element.screenshot())).convert("L")
    x = {"left": 2, "right": image.width - 3}[side]
    return 255 - image.getpixel((x, image.height - 2))


def test_a_table_with_more_to_scroll_to_has_a_shade_at_that_side(open_page, large):
    page = open_page(large[1], 380)
    table = page.locator(".matrix[data-symbol='W1']").first
    assert (darkness(table, "left"), darkness(table, "right") > 20) == (0, True)
    table.evaluate("e => e.scrollTo(10000, 0)")
    assert (darkness(table, "left") > 20, darkness(table, "right")) == (True, 0)

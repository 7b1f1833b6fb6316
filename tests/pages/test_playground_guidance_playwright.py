"""What the playground says and shows to its reader: where numbers are, and what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from playground_pages import choose, choose_weight, read, read_number, settle, take
from watched_pages import WIDTHS


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

"""Drive the playground: choose settings, take steps, and read what it shows."""

from __future__ import annotations

import contextlib
import io
import re

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

"""A page in one file: its data survive, its policy holds, and what is wrong with it is noticed."""

from __future__ import annotations

import pytest
from watched_pages import WIDTHS, find_overflow, open_watched

from anyback_nn.pages import build_page

TEXT = "</script><b>&amp; \u2028 ü"
SHOW = "document.body.dataset.text = JSON.parse(document.getElementById('data').textContent)"


def write(folder, *arguments, **options):
    path = folder / "page.html"
    path.write_text(build_page(*arguments, **options), encoding="utf-8")
    return path


def test_data_and_title_arrive_as_they_are(open_page, tmp_path):
    page = open_page(write(tmp_path, TEXT, "<p>here</p>", data=TEXT, scripts=[SHOW]))
    assert page.evaluate("document.body.dataset.text") == TEXT
    assert page.title() == TEXT


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_wide_scrolls_by_itself(open_page, tmp_path, width):
    wide = "<table><tr>" + "<td>0.123456789</td>" * 100 + "</tr></table>"
    open_page(write(tmp_path, "wide", f'<div class="wide">{wide}</div>'), width)


@pytest.mark.parametrize(
    ("body", "script", "expected"),
    [
        ("<img src='https://example.org/a.png'>", "", "example.org"),
        ("", "await fetch('https://example.org')", "example.org"),
        ("", "throw Error('oh')", "error: oh"),
        ("", "console.warn('hm')", "warning: hm"),
        ("<div style='width: 2000px'>wide</div>", "", "overflow: DIV"),
    ],
    ids=["image", "fetch", "error", "warning", "overflow"],
)
def test_what_is_wrong_is_noticed(browser, tmp_path, body, script, expected):
    page, wrong = open_watched(browser, write(tmp_path, "t", body, scripts=[script]), 380, "light")
    wrong += find_overflow(page)
    page.close()
    assert expected in "\n".join(wrong)

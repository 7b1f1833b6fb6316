"""Pages in headless Chromium: what they request, what they complain about, and what they show.

A page is opened from disk, as users do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playground_pages import choose
from watched_pages import WIDTHS, find_overflow, open_watched

from anyback_nn.playground import build_playground

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, (
        "no Chromium was found: install it (Debian: apt-get install chromium), or name the program "
        "in the environment variable CHROMIUM"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Any]]:
    """Open the file of a page; at the end of the test, nothing may be wrong with it."""
    pages = []

    def open_page(path: Path, width: int = WIDTHS[1], scheme: str = "light") -> Any:
        page, wrong = open_watched(browser, path, width, scheme)
        pages.append((page, wrong))
        return page

    yield open_page
    for page, wrong in pages:
        wrong += find_overflow(page)
        page.close()
    assert [wrong for _, wrong in pages if wrong] == []


@pytest.fixture
def play(open_page, tmp_path):
    """Open a playground, and wait until it can train."""

    def play(width=WIDTHS[1], scheme="light", **options):
        path = tmp_path / "page.html"
        path.write_text(build_playground(**options), encoding="utf-8")
        page = open_page(path, width=width, scheme=scheme)
        page.wait_for_selector("#status:not(:empty)", state="attached")
        return page

    return play


@pytest.fixture(scope="session")
def opened_playground(browser, tmp_path_factory):
    """A playground for many tests, as opening one takes longer than most of them do."""
    path = tmp_path_factory.mktemp("playground") / "page.html"
    path.write_text(build_playground(), encoding="utf-8")
    page, wrong = open_watched(browser, path, WIDTHS[1], "light")
    page.wait_for_selector("#status:not(:empty)", state="attached")
    yield page, wrong
    page.close()


@pytest.fixture
def page(opened_playground):
    """The playground as it opens; at the end of the test, nothing may be wrong with it."""
    page, wrong = opened_playground
    page.click("#tab-sample")
    page.evaluate("document.getElementById('all-values').checked = false")
    choose(page)
    yield page
    problems = [*wrong, *find_overflow(page)]
    wrong.clear()
    assert problems == []

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
from watched_pages import WIDTHS, find_overflow, open_watched

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

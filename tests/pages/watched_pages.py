"""Open a page, and notice what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WIDTHS = (380, 1400)
"""A telephone and a desk, in CSS pixels."""

WITHIN = ("file://", "data:", "blob:")
"""The requests that leave neither the page nor the disk."""


def open_watched(browser: Any, path: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """Open a page from disk; the list gets its requests, and what it complains about."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []

    def note_request(request: Any) -> None:
        if not request.url.startswith(WITHIN):
            wrong.append(f"request: {request.url}")

    def note_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"{message.type}: {message.text}")

    page.on("request", note_request)
    page.on("console", note_message)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.goto(path.resolve().as_uri())
    return page, wrong


def find_overflow(page: Any) -> list[str]:
    """Return elements that are wider than the page, if it has to be scrolled sideways."""
    return page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.body.querySelectorAll("*")]
                .filter(element => element.getBoundingClientRect().right > width + 1)
                .map(element => `overflow: ${element.tagName} ${element.className}`).slice(0, 10);
        }"""
    )

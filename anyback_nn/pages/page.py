"""Build a web page as one file: its style, its scripts and its data are inside of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from anyback_nn.utils.files import atomic_write

__all__ = ["build_page", "read_asset", "write_page"]

_DATA = "data"
"""The id of the element that has the page's data as JSON."""


def build_page(
    title: str,
    body: str,
    *,
    data: Any = None,
    styles: Iterable[str] = (),
    scripts: Iterable[str] = (),
    script_sources: str = "",
) -> str:
    """Build a page that opens from disk, in light and dark, on small and large screens.

    Its content security policy forbids every request, to this computer too.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML, in which what comes from users is escaped.
    data : JSON value, optional
        In scripts: ``JSON.parse(document.getElementById("data").textContent)``. Numbers that are
        not finite are an error.
    styles, scripts : iterable of str
        Further styles, and scripts, which are modules and run after the body is there.
    script_sources : str
        Further sources of scripts in the policy, such as ``blob:``.

    Examples
    --------
    >>> page = build_page("A & B", "<p>text</p>", data={"text": "</script>"})
    >>> "<title>A &amp; B</title>" in page, "</script>" in page.partition("<p>text</p>")[2]
    (True, True)
    """
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'unsafe-inline' {script_sources}".strip()
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Without an icon of its own, a browser would ask for one.
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title>",
        *(f"<style>\n{style}\n</style>" for style in (read_asset("style.css"), *styles)),
        f"</head>\n<body>\n{body}",
    ]
    if data is not None:
        # No text in it can end the element.
        text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        parts.append(f'<script type="application/json" id="{_DATA}">{text}</script>')
    parts += (f'<script type="module">\n{script}\n</script>' for script in scripts)
    return "\n".join([*parts, "</body></html>", ""])


def read_asset(name: str) -> str:
    """Read a style or a script of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def write_page(page: str, path: Path) -> None:
    """Write a page, completely or not at all.

    Names of files and in settings may have characters that UTF-8 lacks: they are escaped.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")

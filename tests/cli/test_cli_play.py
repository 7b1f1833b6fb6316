"""``anyback-nn play``: a page of one file, which is opened unless it is written."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest


@pytest.fixture
def opened(monkeypatch):
    """The addresses that were opened in the browser."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not addresses.append(address))
    return addresses


def test_a_page_is_written(program, opened, tmp_path):
    outcome = program("play", "moons", "--output", "page.html")
    assert (outcome.status, outcome.out, opened) == (0, "written to page.html\n", [])
    assert '"shape":"moons"' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_is_not_kept_is_opened(program, opened):
    outcome = program("play", "--json")
    assert opened[0].startswith("file:///")
    assert opened[0].removeprefix("file://") == outcome.json["file"]
    page = Path(outcome.json["file"]).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")


def test_a_page_is_opened_or_not_as_told(program, opened):
    program("play", "--no-open")
    program("play", "--output", "page.html", "--open")
    assert [address.rpartition("/")[2] for address in opened] == ["page.html"]


def test_without_a_browser_a_note_says_what_to_do(program, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert "note: no browser was found: open " in program("play").err


def test_a_table_is_in_the_page(program, opened, tmp_path):
    rows = [f"{i % 7},{i * i % 11},{'up' if i % 2 else 'down'}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,way", *rows]), encoding="utf-8")
    assert program("play", "t.csv", "--target", "way", "--output", "page.html").status == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"columns":["a","b"],"classes":["down","up"]' in page


def test_data_of_another_kind_are_refused(fails, opened, tmp_path):
    (tmp_path / "page.html").write_text("mine", encoding="utf-8")
    assert "page.html exists" in fails("play", "--output", "page.html")
    assert "digits has 64 features" in fails("play", "digits", "--output", "new.html")
    assert "only tables take it" in fails("play", "spirals", "--target", "y")
    assert "is no table" in fails("play", "spirals", "--features", "a,b")
    assert "Did you mean 'spirals'?" in fails("play", "spirls")
    assert opened == []

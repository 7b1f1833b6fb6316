"""Pictures are elements of the page: in its colours and font, with ids of their own."""

import re
from xml.etree import ElementTree

import numpy as np
from report_subjects import HOSTILE

from anyback_nn.report.drawing import diverging, draw, find_colors, sequential


def plot(ax, text="text"):
    ax.plot([1, 2, 3], marker="o", label=text)
    ax.axhline(0.5, color=find_colors()["soft"])
    ax.imshow(np.arange(6.0).reshape(2, 3), cmap=sequential())
    ax.set_title(text)
    ax.legend()


def test_colors_and_font_are_those_of_the_page():
    svg = draw(plot, "caption").svg
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"base64,[^\"]*", "", svg))
    assert {"var(--ink)", "var(--soft)", "var(--blue)"} <= set(re.findall(r"var\(--\w+\)", svg))
    assert "font-family" not in svg
    assert "text</text>" in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_ids_are_unique_on_a_page_and_references_lead_to_them():
    pictures = [draw(plot, "caption"), draw(lambda ax: plot(ax, "other"), "caption")]
    ids = [re.findall(r' id="([^"]+)"', picture.svg) for picture in pictures]
    assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])
    for own, picture in zip(ids, pictures):
        referenced = re.findall(r'(?:href="#|url\(#)([\w-]+)', picture.svg)
        assert referenced
        assert set(referenced) <= set(own)


def test_a_picture_is_the_same_each_time():
    assert draw(plot, "caption") == draw(plot, "caption")


def test_powers_are_written_as_numbers():
    for high, expected in (1000, {"1", "10", "100"}), (10, {"1", "2", "5"}):

        def plot_log(ax, high=high):
            ax.plot([1, 2], [1, high])
            ax.set_yscale("log")

        svg = draw(plot_log, "caption").svg
        assert "$" not in svg
        assert expected <= set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_names_of_columns_are_text():
    for text in HOSTILE, "$a$ \\frac", "größe 中", 'a" onload="b', "]]>":
        root = ElementTree.fromstring(draw(lambda ax, text=text: ax.set_title(text), text).svg)
        assert root.get("aria-label") == text
        assert text in [element.text for element in root.iter("text")]
        assert not [*root.iter("script")]
        assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]


def test_nothing_is_drawn_where_a_weight_is_0():
    assert diverging()(0.5)[3] < 0.02
    assert diverging()(0.0)[3] == diverging()(1.0)[3] == 1.0
    assert diverging()(0.0) != diverging()(1.0)
    assert sequential()(0.0)[3] == 0.0

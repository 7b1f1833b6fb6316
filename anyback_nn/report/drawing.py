"""Pictures as SVG in the colours and the font of the page, in light and dark."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any
from xml.etree import ElementTree

from anyback_nn.pages import read_asset
from anyback_nn.report.content import Picture

__all__ = ["SIZE", "diverging", "draw", "find_colors", "sequential"]

SIZE = (4.2, 3.1)
"""In inches: a picture is about as wide as a telephone, so that its letters keep their size."""

_PIXELS = 96
"""CSS pixels in an inch."""

_LINK = "{http://www.w3.org/1999/xlink}href"
_SERIES = ("blue", "orange", "green", "red", "violet")


@cache
def find_colors() -> dict[str, str]:
    """Return the colours of a light page by their names, such as ``"ink"``."""
    light = read_asset("style.css").partition("}")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))


def _settings() -> dict[str, Any]:
    """Return Matplotlib's settings for the pictures of a page."""
    from cycler import cycler

    colors = find_colors()
    series = cycler(linestyle=["-", "--"]) * cycler(color=[colors[name] for name in _SERIES])
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor")
    frame = ("axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys((*ink, "ytick.labelcolor"), colors["ink"]),
        **dict.fromkeys(frame, colors["soft"]),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
        "grid.color": colors["line"],
        "axes.prop_cycle": series,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11.0,
        "axes.titleweight": "bold",
        "font.size": 10.0,
        "legend.frameon": False,
        "legend.fontsize": 9.0,
        "lines.linewidth": 1.6,
        "svg.fonttype": "none",
        "svg.hashsalt": "anyback_nn",
        # A dollar sign in the name of a column is one.
        "text.parse_math": False,
        "image.interpolation": "nearest",
    }


def draw(
    plot: Callable[[Any], object], caption: str, *, size: tuple[float, float] = SIZE
) -> Picture:
    """Draw a picture by a function of axes; ``size`` is in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_settings()), warnings.catch_warnings():
        # The browser has the letters that Matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=size, layout="constrained")
        plot(figure.subplots())
        for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
            if axis.get_scale() == "log":
                write_plainly(axis)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return Picture(to_html(file.getvalue(), caption), caption, size[0] * _PIXELS)


def write_plainly(axis: Any) -> None:
    """Write the powers of a logarithmic axis as numbers: as mathematics they need mathtext."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    low, high = axis.get_view_interval()
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def to_html(svg: bytes, label: str) -> str:
    """Return an SVG of Matplotlib's as an element of a page, in the page's font and colours.

    Its ids begin with a hash of it, so that no two pictures of a page share one.
    """
    prefix = f"p{hashlib.sha256(svg).hexdigest()[:8]}-"
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if (target := element.attrib.pop(_LINK, None)) is not None:
            is_own = target.startswith("#")
            element.set("href", f"#{prefix}{target[1:]}" if is_own else target)
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, prefix + value)
            elif name == "clip-path":
                element.set(name, value.replace("url(#", f"url(#{prefix}"))
            elif name == "style":
                element.set(name, _restyle(value))
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _restyle(style: str) -> str:
    """Replace colours by those of the page, and leave the font to it."""
    variables = {value: f"var(--{name})" for name, value in find_colors().items()}
    variables |= {"#000000": "var(--ink)", "#808080": "var(--soft)"}
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    return re.sub(r"#[0-9a-f]{6}", lambda found: variables.get(found[0], found[0]), style)


def sequential() -> Any:
    """Return colours from nothing to blue, over whichever colour the page has."""
    return _blend("sequential", [(find_colors()["blue"], 0.0), (find_colors()["blue"], 0.75)])


def diverging() -> Any:
    """Return colours from orange over nothing, which is 0, to blue."""
    orange, blue = find_colors()["orange"], find_colors()["blue"]
    ends = [(orange, 1.0), (orange, 0.0), (blue, 0.0), (blue, 1.0)]
    return _blend("diverging", ends, [0.0, 0.5, 0.5, 1.0])


def _blend(name: str, colors: list[Any], places: list[float] | None = None) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    rgba = [to_rgba(*color) for color in colors]
    points: Any = rgba if places is None else list(zip(places, rgba))
    return LinearSegmentedColormap.from_list(name, points)

"""Images and bars of characters, for a terminal with colours.

Every character is two pixels: the upper half block "▀" has a colour, and what is behind it another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

__all__ = ["CUT", "HalfBlocks", "draw_bars"]

CUT = "↑"
"""The end of a bar that would be higher."""


class HalfBlocks:
    """An image of which every character shows two pixels, one above the other.

    Parameters
    ----------
    rgb : ndarray, shape (2 n_rows, n_columns, 3)
        Red, green and blue from 0 to 1; black where they are NaN.
    """

    def __init__(self, rgb: np.ndarray) -> None:
        # In 32 steps, which the eye hardly tells apart: neighbours have the same style then, and
        # styles are few enough to be kept.
        self.pixels = np.clip(np.nan_to_num(rgb) * 31 + 0.5, 0, 31).astype(int) * 255 // 31

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for upper, lower in zip(self.pixels[::2].tolist(), self.pixels[1::2].tolist()):
            yield from _draw_line(list(zip(map(tuple, upper), map(tuple, lower))))
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = self.pixels.shape[1]
        return Measurement(width, width)


def _draw_line(cells: Sequence[Any]) -> Iterator[Segment]:
    """Draw characters; those of the same colours in one segment."""
    start = 0
    for stop in range(1, len(cells) + 1):
        if stop == len(cells) or cells[stop] != cells[start]:
            yield Segment("▀" * (stop - start), _style(*cells[start]))
            start = stop


@lru_cache(maxsize=8192)
def _style(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))


def draw_bars(values: Sequence[float], n_total: int, width: int, height: int) -> list[str]:
    """Draw values as bars of characters, from 0 to the largest, or to four times the median.

    The first loss may be a hundred times the others, which would all be 0. Bars that are cut end
    with `CUT`.

    Parameters
    ----------
    values : sequence of float
    n_total : int
        The number of values that there will be: the bars leave room for them.
    width, height : int
        In characters.

    Returns
    -------
    list of str, length height

    Examples
    --------
    >>> draw_bars([4.0, 2.0, 1.0], 4, 4, 2)
    ['█   ', '██▄ ']
    """
    finite = [value for value in values if np.isfinite(value)]
    top, low = max(finite, default=1.0), min(0.0, *finite, 0.0)
    if low == 0.0 and finite:
        top = min(top, 4 * float(np.median(finite)))
    lines = [""] * height
    for column in range(width):
        index = column * n_total // width
        value = values[index] if index < len(values) else np.nan
        share = (value - low) / (top - low) if top > low else 0.0
        eighths = round(8 * height * min(share, 1.0)) if np.isfinite(share) else 0
        for i in range(height):
            part = min(max(eighths - 8 * (height - 1 - i), 0), 8)
            lines[i] += CUT if i == 0 and share > 1.0 else " ▁▂▃▄▅▆▇█"[part]
    return lines

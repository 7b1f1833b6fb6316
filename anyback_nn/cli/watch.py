"""Show in the terminal what a network predicts, and its loss, while it learns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import typer
from rich.color import Color
from rich.console import Console
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from anyback_nn.cli.pixels import CUT, HalfBlocks, draw_bars
from anyback_nn.cli.printing import create_label
from anyback_nn.cli.scene import Scene
from anyback_nn.plotting.surface import Plane, distinct_colors, shade
from anyback_nn.training.callbacks import Callback, describe_losses
from anyback_nn.training.fit import FitContext
from anyback_nn.utils.signals import catch_signals

__all__ = ["Watch", "paint", "require_terminal"]

FRAMES_PER_SECOND = 10
"""The most frames that are drawn in a second of training."""

SHARE_OF_TIME = 0.1
"""The most of the time that may be spent on drawing."""

MOST_POINTS = 120
"""The rows that are drawn: more would hide what the network predicts."""

SIDE_WIDTH, SIDE_GAP = 36, 2
WIDE, HIGH = 64, 16
"""From this size of a terminal on, the loss is to the right of the plane, not below it."""
MOST_ROWS, MOST_BARS = 24, 10

DARK, LIGHT = np.array([0.07, 0.07, 0.09]), np.ones(3)
VIRIDIS = (
    np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]) / 255
)
"""Colours from the lowest to the highest value."""


def require_terminal(console: Console) -> None:
    """Raise `typer.BadParameter` unless pictures can be shown."""
    if not console.is_terminal:
        missing = "a terminal, and standard error is not one"
    elif console.is_dumb_terminal or console.no_color or console.color_system in (None, "windows"):
        missing = "a terminal with colours (NO_COLOR or TERM says that it has none)"
    else:
        return
    raise typer.BadParameter(
        f"expected {missing}: leave it out; --animate FILE.gif writes a film instead",
        param_hint="'--watch'",
    )


def paint(scene: Scene, plane: Plane, response: np.ndarray) -> np.ndarray:
    """Colour the plane by what is predicted, and the rows of a scene on top by their targets.

    Returns
    -------
    ndarray, shape (n_rows, n_columns, 3)
        Red, green and blue from 0 to 1; the first row is the highest.
    """
    if scene.classes is not None:
        colors = distinct_colors(response.shape[-1])
        rgb, points = shade(response, colors, DARK, (0.15, 0.55)), colors[scene.y.astype(int)]
    else:
        low, high = scene.y.min(), scene.y.max()
        rgb, points = (
            _color_values((values - low) / max(high - low, 1e-12)) for values in (response, scene.y)
        )
        rgb = 0.75 * rgb + 0.25 * DARK
    rows, columns = plane.locate(scene.x)
    rgb[rows, columns] = 0.65 * points + 0.35 * LIGHT
    return rgb[::-1]


def _color_values(share: np.ndarray) -> np.ndarray:
    places = np.linspace(0.0, 1.0, len(VIRIDIS))
    return np.stack([np.interp(share, places, channel) for channel in VIRIDIS.T], axis=-1)


class Watch(Callback):
    """Shows what a network predicts in the plane of two features, and its loss, while it learns.

    Parameters
    ----------
    scene : Scene
    console : Console
        Of a terminal.
    """

    every_batch = False
    writes = True
    comes_last = True

    def __init__(self, scene: Scene, console: Console) -> None:
        self.scene, self.console = scene.sample(MOST_POINTS), console
        self._live: Live | None = None
        self._next = 0.0
        self._planes: dict[tuple[int, int], Plane] = {}

    def on_train_begin(self, fit: FitContext) -> None:
        self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
        with suppress(OSError):
            self._live.start()
        self._show(fit)

    def on_batch_end(self, fit: FitContext) -> None:
        if time.perf_counter() >= self._next:
            self._show(fit)

    def on_epoch_end(self, fit: FitContext) -> None:
        if time.perf_counter() >= self._next:
            self._show(fit)

    def on_train_end(self, fit: FitContext) -> None:
        self._show(fit)
        self.close()

    def close(self) -> None:
        """Restore the terminal; also called when training ends with an error."""
        if self._live is not None:
            with suppress(OSError):  # the terminal may be closed
                self._live.stop()

    def _show(self, fit: FitContext) -> None:
        assert self._live is not None
        start = time.perf_counter()
        frame = self.draw(fit)
        # A frame that Ctrl-C cuts off would shift those after it.
        with catch_signals(), suppress(OSError):
            self._live.update(frame, refresh=True)
        now = time.perf_counter()
        self._next = now + max(1 / FRAMES_PER_SECOND, (now - start) * (1 / SHARE_OF_TIME - 1))

    def draw(self, fit: FitContext) -> Table:
        """Draw a frame that fits into the terminal."""
        width, height = self.console.size
        # The last line is for the cursor.
        height = height - 1
        frame = Table.grid(padding=(0, SIDE_GAP, 0, 0))
        if width >= WIDE and height + 1 >= HIGH:
            n_rows = min(height, (width - SIDE_WIDTH - SIDE_GAP) // 2, MOST_ROWS)
            side = Table.grid()
            side.add_column(width=SIDE_WIDTH)
            for line in self._describe(fit):
                side.add_row(line)
            side.add_row("")
            n_bars = n_rows - len(self.console.render_lines(side)) - 1
            bars = self._draw_loss(fit, SIDE_WIDTH, min(max(n_bars, 1), MOST_BARS))
            cut = f" ({CUT} is higher)" if CUT in bars.plain else ""
            side.add_row(Text(f"training loss{cut}", style="dim"))
            side.add_row(bars)
            frame.add_row(self._draw_plane(fit, n_rows, 2 * n_rows), side)
            return frame
        n_bars = 3 if height >= 12 else 0
        n_columns = min(width, 2 * max(height - 2 - n_bars, 1), 2 * MOST_ROWS)
        frame.add_row(self._draw_plane(fit, max(n_columns // 2, 1), n_columns))
        frame.add_row(Text(f"epoch {fit.epoch}/{fit.last_epoch}", no_wrap=True))
        frame.add_row(Text(_losses(fit), no_wrap=True))
        if n_bars:
            frame.add_row(self._draw_loss(fit, n_columns, n_bars))
        return frame

    def _draw_plane(self, fit: FitContext, n_rows: int, n_columns: int) -> HalfBlocks:
        shape = 2 * n_rows, n_columns
        if shape not in self._planes:  # the terminal may get another size
            self._planes[shape] = self.scene.plane(*shape)
        plane = self._planes[shape]
        return HalfBlocks(paint(self.scene, plane, self.scene.predict(fit.model, plane)))

    def _draw_loss(self, fit: FitContext, width: int, height: int) -> Text:
        losses = [row["train_loss"] for row in fit.history]
        bars = draw_bars(losses, max(fit.last_epoch, 1), width, height)
        return Text("\n".join(bars), style="cyan", no_wrap=True)

    def _describe(self, fit: FitContext) -> Iterable[Any]:
        """Describe the epoch, its losses and metrics, and the classes."""
        yield Text(f"epoch {fit.epoch}/{fit.last_epoch}", style="bold")
        yield ""
        row = fit.history.last if fit.history.rows else {}
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=10)
        table.add_row("", Text("training"), Text("validation"), style="dim")
        names = [name.removeprefix("train_") for name in row if name.startswith("train_")]
        for name in names or ["loss"]:
            values = (row.get(f"{part}_{name}") for part in ("train", "validation"))
            texts = ("" if value is None else f"{value:.4f}" for value in values)
            table.add_row(name.replace("_", " "), *texts)
        yield table
        if self.scene.classes is not None and len(self.scene.classes) <= 5:
            yield ""
            yield _name_classes(self.scene.classes)
        if fit.stop_reason is not None:
            yield Text(f"stopped: {fit.stop_reason}")


def _losses(fit: FitContext) -> str:
    return describe_losses(fit.history.last) if fit.history.rows else ""


def _name_classes(classes: Sequence[str]) -> Text:
    """Return the names of the classes, each after a mark of its colour."""
    legend = Text(no_wrap=True)
    for name, color in zip(classes, distinct_colors(len(classes))):
        red, green, blue = (255 * color).astype(int).tolist()
        legend.append("■ ", Style(color=Color.from_rgb(red, green, blue)))
        legend.append_text(create_label(f"{name}  ", n_letters=16))
    return legend

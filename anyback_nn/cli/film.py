"""A film of what a network predicts, and of its loss, while it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from anyback_nn.cli.run_folder import check_file
from anyback_nn.cli.scene import Scene
from anyback_nn.errors import AnybackError
from anyback_nn.plotting.decision_boundary import DecisionBoundaryDisplay
from anyback_nn.plotting.learning_curves import LearningCurvesDisplay, find_curves
from anyback_nn.training.callbacks import Callback
from anyback_nn.training.fit import FitContext
from anyback_nn.training.history import History
from anyback_nn.utils.arguments import require_extra
from anyback_nn.utils.files import atomic_write

__all__ = ["Film", "check_film"]

MOST_FRAMES = 100
FRAME_MS, LAST_FRAME_MS = 80, 2500
"""How long a frame is shown, in milliseconds, and the last one before the film begins again."""

RESOLUTION = 64
"""The number of points along each axis in which the network predicts."""

MOST_POINTS = 300
N_COLORS = 192
SIZE, DPI = (8.4, 3.6), 90
"""Of a frame: its width and height in inches, and the pixels in an inch."""


def check_film(path: Path) -> None:
    """Raise unless a film can be drawn and written to ``path``."""
    if path.suffix.lower() != ".gif":
        raise typer.BadParameter(
            f"expected a file that ends in .gif, got {path}", param_hint="'--animate'"
        )
    check_file(path, force=True)
    if path.exists():
        raise AnybackError(f"{path} exists: choose another file, or remove it")
    require_extra("matplotlib", "plot", "drawing", AnybackError)  # before anything is computed


@dataclass
class Frame:
    """What a frame shows: the predictions in all points of the plane, after an epoch."""

    epoch: int
    response: np.ndarray
    title: str


class Film(Callback):
    """Keeps what a network predicts after evenly spaced epochs, and draws a film of it.

    Nothing is drawn before `write`, so that training takes no longer than it must.
    """

    every_batch = False
    writes = True
    comes_last = True

    def __init__(self, scene: Scene) -> None:
        self.scene = scene.sample(MOST_POINTS)
        self.plane = self.scene.plane(RESOLUTION, RESOLUTION)
        self.frames: list[Frame] = []
        self.history = History()
        self._epochs: set[int] = set()

    def on_train_begin(self, fit: FitContext) -> None:
        first, last = fit.epoch, fit.last_epoch
        n_frames = min(last - first + 1, MOST_FRAMES)
        self._epochs = set(np.linspace(first, last, n_frames).round().astype(int).tolist())
        self._keep(fit)

    def on_epoch_end(self, fit: FitContext) -> None:
        if fit.epoch in self._epochs:
            self._keep(fit)

    def on_train_end(self, fit: FitContext) -> None:
        self.history = fit.history.copy()
        if fit.stop_reason is not None:
            # Parameters of an earlier epoch may have been restored.
            self._keep(fit, "the network that is kept")

    def _keep(self, fit: FitContext, title: str | None = None) -> None:
        response = self.scene.predict(fit.model, self.plane).astype(np.float32)
        self.frames.append(Frame(fit.epoch, response, title or f"epoch {fit.epoch}"))

    def write(self, path: Path, *, quiet: bool = False) -> None:
        """Draw all frames and write the film; progress is shown on a terminal, unless quiet."""
        console = Console(stderr=True)
        images = list(
            track(
                self.draw(),
                "drawing the film",
                total=len(self.frames),
                console=console,
                transient=True,
                disable=quiet or not console.is_terminal,
            )
        )
        times = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
        with atomic_write(path) as temporary:
            images[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=images[1:],
                duration=times,
                loop=0,
            )

    def draw(self) -> Iterator[Any]:
        """Draw all frames as Pillow's images."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes: Any = figure.subplots(1, 2)
        first = self.frames[0]
        boundary = DecisionBoundaryDisplay(
            xx0=self.plane.xx0,
            xx1=self.plane.xx1,
            response=first.response,
            classes=self.scene.classes,
            x=self.scene.x,
            y=self.scene.y,
        ).plot(axes[0])
        boundary.image_.set_interpolation("bilinear")
        # The film stays still but for what is learned.
        if self.scene.classes is None:
            boundary.image_.set_clim(self.scene.y.min(), self.scene.y.max())
        rows = self.history.rows
        losses = find_curves(self.history)["loss"]
        curves = LearningCurvesDisplay(epochs=self.history["epoch"], curves={"loss": losses})
        curves.plot(axes[1])
        title = boundary.ax_.set_title(first.title)
        above = [*boundary.points_, *boundary.ax_.spines.values(), title, *curves.lines_.values()]
        # What moves is drawn on a picture of what does not, which takes a tenth of the time.
        for artist in (boundary.image_, *boundary.boundaries_, *above):
            artist.set_animated(True)
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        for frame in self.frames:
            canvas.restore_region(still)
            boundary.update(frame.response)
            title.set_text(frame.title)
            n_rows = sum(row["epoch"] <= frame.epoch for row in rows)
            for (_, part), line in curves.lines_.items():
                line.set_data(curves.epochs[:n_rows], losses[part][:n_rows])
            for artist in (boundary.image_, *boundary.boundaries_, *above):
                figure.draw_artist(artist)
            image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
            yield image.quantize(N_COLORS, Image.Quantize.FASTOCTREE)

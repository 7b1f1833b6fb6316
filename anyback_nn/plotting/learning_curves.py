"""The loss and the metrics of every epoch, with the best epoch marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from anyback_nn.optim.schedules import direction
from anyback_nn.plotting.models import find_model
from anyback_nn.plotting.style import choose_colors, clear_frame, create_axes, divide, escape_math
from anyback_nn.training.history import History

__all__ = ["LearningCurvesDisplay", "find_best", "find_curves"]

PARTS = {"train_": "training", "validation_": "validation"}
"""The beginning of a name in the history, and the part of the data that it means."""

STEEP = 20
"""A logarithmic axis shows a value that is this many times the median."""

MAX_MARKERS = 10
"""With at most this many epochs, each is marked by a point: a single one is no line."""


class LearningCurvesDisplay:
    """The loss and the metrics of every epoch, a panel for each, with the best epoch marked.

    Training values are means over an epoch, during which the parameters change; validation values
    are those of its end.

    Parameters
    ----------
    epochs : array, shape (n_epochs,)
    curves : dict of str to dict of str to array
        For each quantity, such as ``"loss"``, the values of ``"training"`` and ``"validation"``,
        each of shape (n_epochs,).
    best_epoch : int, optional
        The epoch to mark.
    monitor : str, optional
        The quantity that is best there.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        The axes that were divided into panels, and their figure.
    axes_ : ndarray of Axes, shape (n_quantities,)
    lines_ : dict of (str, str) to Line2D

    Examples
    --------
    >>> import anyback_nn as nn
    >>> history = [
    ...     {"epoch": 1, "train_loss": 0.7, "validation_loss": 0.6},
    ...     {"epoch": 2, "train_loss": 0.4, "validation_loss": 0.5},
    ...     {"epoch": 3, "train_loss": 0.3, "validation_loss": 0.8},
    ... ]
    >>> display = nn.plotting.LearningCurvesDisplay.from_history(history)
    >>> display.best_epoch, display.curves["loss"]["validation"].tolist()
    (2, [0.6, 0.5, 0.8])
    """

    def __init__(
        self,
        *,
        epochs: Any,
        curves: Mapping[str, Mapping[str, Any]],
        best_epoch: int | None = None,
        monitor: str | None = None,
    ) -> None:
        self.epochs = np.asarray(epochs)
        self.curves = {
            name: {part: np.asarray(values) for part, values in parts.items()}
            for name, parts in curves.items()
        }
        self.best_epoch = best_epoch
        self.monitor = monitor

    @classmethod
    def from_estimator(cls, estimator: Any, **options: Any) -> LearningCurvesDisplay:
        """Draw the history of a model or of a fitted estimator; the options of `from_history`."""
        return cls.from_history(find_model(estimator).history, **options)

    @classmethod
    def from_history(
        cls,
        history: History | Iterable[Mapping[str, float]],
        *,
        monitor: str | None = None,
        mode: str | None = None,
        ax: Any = None,
    ) -> LearningCurvesDisplay:
        """Draw a history.

        Parameters
        ----------
        history : History or iterable of mapping
            One row per epoch.
        monitor : str, optional
            The value whose best epoch is marked. Default: ``"validation_loss"``, else
            ``"validation_score"``; if there is neither, none is marked.
        mode : "min" or "max", optional
            Whether lower or higher values are better, see `EarlyStopping`.
        ax : Axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        ValueError
            The history is empty, or lacks ``monitor``.
        """
        rows = History([dict(row) for row in history])
        if not rows.rows:
            raise ValueError("the history is empty: train the model first")
        if monitor is None:
            usual = ("validation_loss", "validation_score")
            monitor = next((name for name in usual if name in rows.names), None)
        best = None
        if monitor is not None:
            if monitor not in rows.names:
                raise ValueError(f"monitor: expected one of {', '.join(rows.names)}, got {monitor}")
            best = find_best(rows, monitor, mode)
        curves = find_curves(rows)
        display = cls(epochs=rows["epoch"], curves=curves, best_epoch=best, monitor=monitor)
        return display.plot(ax)

    def plot(self, ax: Any = None) -> LearningCurvesDisplay:
        """Draw, by default in a new figure."""
        n = len(self.curves)
        self.ax_ = create_axes(ax, (max(0.75 * n, 1.0), 0.75))
        self.figure_ = self.ax_.figure
        self.axes_ = divide(self.ax_, 1, n)[0]
        colors = dict(zip(PARTS.values(), choose_colors(2)))
        self.lines_: dict[tuple[str, str], Any] = {}
        for panel, (name, parts) in zip(self.axes_, self.curves.items()):
            for part, values in parts.items():
                (self.lines_[name, part],) = panel.plot(
                    self.epochs,
                    values,
                    color=colors[part],
                    label=part,
                    marker="o" if len(values) <= MAX_MARKERS else "",
                    markersize=4,
                )
            values = np.concatenate(list(parts.values()))
            if np.nanmin(values) > 0 and np.nanmax(values) > STEEP * np.nanmedian(values):
                panel.set_yscale("log")
            self._mark_best(panel, name)
            panel.set_title(escape_math(name.replace("_", " ")))
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(axis="y", alpha=0.3)
            clear_frame(panel)
        # The panel with most lines explains all colours.
        most = max(range(n), key=lambda i: len(self.axes_[i].get_legend_handles_labels()[0]))
        self.axes_[most].legend(frameon=False)
        return self

    def _mark_best(self, panel: Any, name: str) -> None:
        """Mark the best epoch by a line, and its value by a point where it is the best."""
        import matplotlib as mpl

        if self.best_epoch is None:
            return
        color = mpl.rcParams["text.color"]
        is_monitored = self.monitor is not None and self.monitor.endswith(f"_{name}")
        panel.axvline(
            self.best_epoch,
            color=color,
            linestyle=":",
            linewidth=1,
            alpha=0.6,
            label=f"best epoch, {self.best_epoch}" if is_monitored else None,
            zorder=1,
        )
        if is_monitored:
            part = next(p for prefix, p in PARTS.items() if str(self.monitor).startswith(prefix))
            value = self.curves[name][part][list(self.epochs).index(self.best_epoch)]
            line = self.lines_[name, part]
            panel.plot(self.best_epoch, value, marker="o", color=line.get_color(), zorder=3)


def find_curves(history: History) -> dict[str, dict[str, list[float]]]:
    """Return the values in training and validation of the loss and of each metric.

    Examples
    --------
    >>> find_curves(History([{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.7}]))
    {'loss': {'training': [0.5], 'validation': [0.7]}}
    """
    curves: dict[str, dict[str, list[float]]] = {}
    for name in history.names:
        for prefix, part in PARTS.items():
            if name.startswith(prefix):
                curves.setdefault(name.removeprefix(prefix), {})[part] = history[name]
    return curves


def find_best(history: History, monitor: str, mode: str | None = None) -> int | None:
    """Return the epoch with the best value, see `EarlyStopping`; None if no value is finite.

    Examples
    --------
    >>> history = History([{"epoch": 1, "score": float("nan")}, {"epoch": 2, "score": 0.5}])
    >>> find_best(history, "score")
    2
    """
    values = direction(monitor, mode) * np.asarray(history[monitor])
    if not np.isfinite(values).any():
        return None
    return int(history["epoch"][int(np.nanargmin(values))])

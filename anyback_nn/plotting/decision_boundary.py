"""What a model predicts in the plane of two features, with the samples on top."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback_nn.plotting.models import encode_classes
from anyback_nn.plotting.style import choose_colors, create_axes, escape_math
from anyback_nn.plotting.surface import Plane, predict_plane, shade, to_points
from anyback_nn.utils.frames import is_frame

__all__ = ["DecisionBoundaryDisplay"]

MAX_VECTORS = 2000
"""More points are pixels in a vector graphic, which would be large otherwise."""


class DecisionBoundaryDisplay:
    """What a model predicts in the plane of two features, with the samples on top.

    The colour is that of the most probable class, the paler the less certain; lines are where two
    classes are equally probable. For a continuous target it is the predicted value.

    Parameters
    ----------
    xx0, xx1 : array, shape (n_rows, n_columns)
        The grid, as from `numpy.meshgrid`.
    response : array, shape (n_rows, n_columns, n_classes) or (n_rows, n_columns)
        The probability of each class, or the predicted value.
    classes : array, shape (n_classes,), optional
        The classes; None for a continuous target.
    x : array, shape (n_samples, 2), optional
        Samples to draw.
    y : array, shape (n_samples,), optional
        Their targets; for classes their indices.
    xlabel, ylabel : str, optional

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    image_ : AxesImage
    boundaries_ : list of QuadContourSet
    points_ : list of PathCollection
        For each class, or of all samples.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(200, noise=0.1, seed=0)
    >>> model = nn.Model(nn.Dense(16), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> history = model.fit(x, y, optimizer=nn.Adam(0.01), epochs=30)
    >>> display = nn.plotting.DecisionBoundaryDisplay.from_estimator(model, x, y)
    >>> display.response.shape
    (200, 200, 2)
    """

    def __init__(
        self,
        *,
        xx0: Any,
        xx1: Any,
        response: Any,
        classes: Any = None,
        x: Any = None,
        y: Any = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
    ) -> None:
        self.xx0, self.xx1 = np.asarray(xx0), np.asarray(xx1)
        self.response = np.asarray(response)
        self.classes = None if classes is None else np.asarray(classes)
        self.x = None if x is None else to_points(x)
        self.y = None if y is None else np.asarray(y).reshape(-1)
        if self.x is not None and self.y is not None and len(self.x) != len(self.y):
            raise ValueError(
                f"y: expected a target for each of the {len(self.x)} samples, got {len(self.y)}"
            )
        self.xlabel, self.ylabel = xlabel, ylabel

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        grid_resolution: int = 200,
        display_labels: Any = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        ax: Any = None,
    ) -> DecisionBoundaryDisplay:
        """Draw the predictions of a model, or of any fitted classifier or regressor.

        Parameters
        ----------
        estimator : Model or estimator
            A model, or an estimator with ``predict_proba`` or ``predict``.
        X : array or data frame, shape (n_samples, 2)
            Samples, around which the plane is drawn.
        y : array, shape (n_samples,), optional
            Their targets. Default: no samples are drawn.
        grid_resolution : int
            The number of points along each axis.
        display_labels : sequence of str, optional
            The names of the classes.
        xlabel, ylabel : str, optional
            Default: the names of the columns, if there are any.
        ax : Axes, optional
            Where to draw. Default: a new figure.

        Raises
        ------
        ValueError
            There are not two features, there are several labels or targets, or ``y`` does not fit.
        """
        points = to_points(X)
        plane = Plane.around(points, grid_resolution, grid_resolution)
        response, classes = predict_plane(estimator, plane, like=X)
        names = list(X.columns) if is_frame(X) else [None, None]
        display = cls(
            xx0=plane.xx0,
            xx1=plane.xx1,
            response=response,
            classes=classes if display_labels is None else display_labels,
            x=None if y is None else points,
            y=None if y is None else encode_classes(estimator, y),
            xlabel=xlabel or names[0],
            ylabel=ylabel or names[1],
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> DecisionBoundaryDisplay:
        """Draw, by default in a new figure."""
        self.ax_ = create_axes(ax)
        self.figure_ = self.ax_.figure
        plane = Plane(self.xx0, self.xx1)
        frame = {"extent": plane.extent, "origin": "lower", "aspect": "auto"}
        if self.classes is None:
            self.image_ = self.ax_.imshow(self.response, **frame)
            self.figure_.colorbar(self.image_, ax=self.ax_, label="prediction")
        else:
            self.image_ = self.ax_.imshow(self._shade(), **frame)
        self.boundaries_: list[Any] = []
        self._draw_boundaries()
        self._draw_points()
        left, right, low, high = plane.extent
        self.ax_.set(xlim=(left, right), ylim=(low, high))
        self.ax_.set(xlabel=escape_math(self.xlabel or ""), ylabel=escape_math(self.ylabel or ""))
        return self

    def update(self, response: Any) -> None:
        """Draw other predictions of the same points, for a film."""
        self.response = np.asarray(response)
        self.image_.set_data(self.response if self.classes is None else self._shade())
        for boundary in self.boundaries_:
            boundary.remove()
        self._draw_boundaries()

    def _shade(self) -> np.ndarray:
        from matplotlib.colors import to_rgb

        colors = choose_colors(self.response.shape[-1])
        return shade(self.response, colors, np.array(to_rgb(self.ax_.get_facecolor())))

    def _draw_boundaries(self) -> None:
        """Draw where the most probable class changes."""
        import matplotlib as mpl

        self.boundaries_ = []
        n = 0 if self.classes is None else self.response.shape[-1]
        for k in range(1 if n == 2 else n):
            # By how much class k is more probable than any other.
            lead = self.response[..., k] - np.delete(self.response, k, axis=-1).max(axis=-1)
            if lead.min() < 0 < lead.max():
                contour = self.ax_.contour(
                    *(self.xx0, self.xx1, lead, [0.0]),
                    colors=[mpl.rcParams["text.color"]],
                    linewidths=0.8,
                )
                self.boundaries_.append(contour)

    def _draw_points(self) -> None:
        """Draw the samples in the colours of their targets."""
        self.points_: list[Any] = []
        if self.x is None:
            return
        import matplotlib as mpl

        style: dict[str, Any] = {
            "s": 18,
            "linewidths": 0.6,
            "rasterized": len(self.x) > MAX_VECTORS,
        }
        if self.classes is None:
            # The value where there is no error has the colour of the surface: the edge shows it.
            style |= {"c": self.y, "norm": self.image_.norm, "cmap": self.image_.cmap}
            style["edgecolors"] = [mpl.rcParams["text.color"]]
            self.points_.append(self.ax_.scatter(*self.x.T, **style))
            return
        style["edgecolors"] = [self.ax_.get_facecolor()]
        for k, color in enumerate(choose_colors(len(self.classes))):
            of_class = self.x[self.y == k]
            name = escape_math(self.classes[k])
            self.points_.append(self.ax_.scatter(*of_class.T, color=[color], label=name, **style))
        # Without these arguments, Matplotlib leaves out names that begin with an underscore.
        self.ax_.legend(
            *(self.points_, [escape_math(name) for name in self.classes]),
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            markerscale=1.5,
        )

"""The weights of each unit of the first layer, as an image of the inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.network.layers import Dense
from anyback_nn.plotting.models import find_model
from anyback_nn.plotting.style import create_axes

__all__ = ["WeightImagesDisplay"]


class WeightImagesDisplay:
    """The weights of each unit of the first dense layer, as an image of the inputs.

    One colour is for positive weights and one for negative ones; white is 0. All images have the
    same scale.

    Parameters
    ----------
    images : array, shape (n_units, height, width)

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    image_ : AxesImage
        All images in one, with gaps of NaN between them.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> model = nn.Model(nn.Dense(6), nn.ReLU(), nn.Dense(10), loss=nn.SoftmaxCrossEntropy())
    >>> display = nn.plotting.WeightImagesDisplay.from_estimator(model.build(64))
    >>> display.images.shape
    (6, 8, 8)
    """

    def __init__(self, *, images: Any) -> None:
        self.images = np.asarray(images)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        shape: tuple[int, int] | None = None,
        max_units: int = 64,
        ax: Any = None,
        cmap: Any = "RdBu_r",
    ) -> WeightImagesDisplay:
        """Draw the weights of a model or of a fitted estimator.

        Parameters
        ----------
        estimator : Model or estimator
        shape : tuple of int, optional
            Height and width of the images that are the inputs. Default: a square.
        max_units : int
            The number of units to draw: the first ones.
        ax : Axes, optional
            Where to draw. Default: a new figure.
        cmap : str or Colormap
            Colours whose middle is 0.

        Raises
        ------
        ValueError
            The first layer is not dense, or the inputs have no such shape.
        """
        model = find_model(estimator)
        first = model.network.layers[0]
        if not isinstance(first, Dense):
            raise ValueError(f"expected the first layer to be Dense, got {type(first).__name__}")
        n_in, side = model.n_inputs, math.isqrt(model.n_inputs)
        if shape is None and side**2 != n_in:
            raise ValueError(
                f"the {n_in} inputs are no square image: pass shape=(height, width) if they are one"
            )
        height, width = shape or (side, side)
        if height * width != n_in:
            raise ValueError(f"shape: expected height * width to be {n_in}, got {height} * {width}")
        weight = to_numpy(model.params[0]["weight"])[:, :max_units]
        return cls(images=weight.T.reshape(-1, height, width)).plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: Any = "RdBu_r") -> WeightImagesDisplay:
        """Draw, by default in a new figure."""
        n, height, width = self.images.shape
        # About as wide as high.
        n_columns = math.ceil(math.sqrt(n * height / width))
        n_rows = math.ceil(n / n_columns)
        self.ax_ = create_axes(ax, (0.95, 1.1 * (n_rows * height) / (n_columns * width)))
        self.figure_ = self.ax_.figure
        gap = max(1, round(0.08 * min(height, width)))
        mosaic = np.full((n_rows * (height + gap) - gap, n_columns * (width + gap) - gap), np.nan)
        for i, image in enumerate(self.images):
            top, left = i // n_columns * (height + gap), i % n_columns * (width + gap)
            mosaic[top : top + height, left : left + width] = image
        limit = float(np.abs(self.images).max()) or 1.0
        self.image_ = self.ax_.imshow(
            mosaic, cmap=cmap, vmin=-limit, vmax=limit, interpolation="nearest"
        )
        self.ax_.set_axis_off()
        bar = self.figure_.colorbar(self.image_, ax=self.ax_, label="weight", shrink=0.6, pad=0.02)
        bar.outline.set_visible(False)
        return self

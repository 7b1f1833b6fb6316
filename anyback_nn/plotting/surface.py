"""What a model predicts all over the plane of two features, and its colours."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.model import Model
from anyback_nn.utils.frames import is_frame

__all__ = ["PETROFF", "Plane", "distinct_colors", "predict_plane", "shade", "to_points"]

PETROFF = (
    *(0x3F90DA, 0xFFA90E, 0xBD1F01, 0x94A4A2, 0x832DB6),
    *(0xA96B59, 0xE76300, 0xB9AC70, 0x717581, 0x92DADD),
)
"""Ten colours for people with any colour vision (M. Petroff, arXiv:2107.02270)."""


@dataclass(frozen=True)
class Plane:
    """A rectangle of the plane, and the points of a grid in it.

    Attributes
    ----------
    xx0, xx1 : ndarray, shape (n_rows, n_columns)
        The two features of each point; the first row is the lowest.
    """

    xx0: np.ndarray
    xx1: np.ndarray

    @classmethod
    def around(cls, points: np.ndarray, n_rows: int, n_columns: int, margin: float = 0.08) -> Plane:
        """Create the grid around points, with a margin in units of their range."""
        low, high = points.min(axis=0), points.max(axis=0)
        edge = margin * np.where(high > low, high - low, 1.0)
        low, high = low - edge, high + edge
        return cls(
            *np.meshgrid(
                np.linspace(low[0], high[0], n_columns), np.linspace(low[1], high[1], n_rows)
            )
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers of rows and columns."""
        return self.xx0.shape

    @property
    def points(self) -> np.ndarray:
        """All points, row by row, shape (n_points, 2)."""
        return np.stack([self.xx0.ravel(), self.xx1.ravel()], axis=1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The left, right, lower and upper edge of an image whose pixels are the points."""
        edges: list[float] = []
        for first, last, n in zip(
            (self.xx0[0, 0], self.xx1[0, 0]), (self.xx0[0, -1], self.xx1[-1, 0]), self.shape[::-1]
        ):
            half = (last - first) / max(n - 1, 1) / 2
            edges += [float(first - half), float(last + half)]
        return edges[0], edges[1], edges[2], edges[3]

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the row and the column of the pixel that each point is in."""
        left, right, low, high = self.extent
        columns = (points[:, 0] - left) / (right - left) * self.shape[1]
        rows = (points[:, 1] - low) / (high - low) * self.shape[0]
        return rows.astype(int), columns.astype(int)


def to_points(x: Any) -> np.ndarray:
    """Return inputs as an array of two features.

    Raises
    ------
    ValueError
        They have another number of features.
    """
    points = np.asarray(x.to_numpy() if is_frame(x) else to_numpy(x), dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"expected inputs with two features, shape (n_samples, 2), got {points.shape}: the "
            "picture is the plane of two numbers"
        )
    return points


def predict_plane(estimator: Any, plane: Plane, like: Any = None) -> tuple[np.ndarray, Any]:
    """Predict all points of a plane.

    Parameters
    ----------
    estimator : Model or estimator
        A model, or an estimator with ``predict_proba`` or ``predict``.
    plane : Plane
    like : data frame, optional
        The points are passed in such a frame, if it is one.

    Returns
    -------
    response : ndarray, shape (n_rows, n_columns, n_classes) or (n_rows, n_columns)
        The probability of each class, or the predicted value.
    classes : ndarray, optional
        The classes; None for a continuous target.

    Raises
    ------
    ValueError
        There are several labels or targets.
    """
    x: Any = plane.points
    if is_frame(like):
        x = type(like)({name: x[:, i] for i, name in enumerate(like.columns)})
    classes = getattr(estimator, "classes_", None)
    if isinstance(estimator, Model):
        response = to_numpy(estimator.predict(x))
        if estimator.loss.classifies:
            n_outputs = response.shape[1]
            classes = np.arange(max(n_outputs, 2))
            if n_outputs == 1:
                response = np.concatenate([1.0 - response, response], axis=1)
    elif hasattr(estimator, "predict_proba"):
        response = to_numpy(estimator.predict_proba(x))
    else:
        response = to_numpy(estimator.predict(x))
        if classes is not None:
            response = (response[:, None] == np.asarray(classes)).astype(float)
    if classes is None:
        response = response.reshape(len(plane.points), -1)
        if response.shape[1] != 1:
            raise ValueError(f"expected one continuous target, got {response.shape[1]}")
        return response.reshape(plane.shape), None
    # Those of a network that diverges are NaN.
    if (np.abs(response.sum(axis=1) - 1.0) > 1e-3).any():
        raise ValueError(
            "expected the probabilities of one class for each sample, which sum to 1: several "
            "labels cannot share one colour"
        )
    return response.reshape(*plane.shape, -1), np.asarray(classes)


def distinct_colors(n: int) -> np.ndarray:
    """Return colours for ``n`` things; more than ten go around the colour wheel.

    Returns
    -------
    ndarray, shape (n, 3)
        Red, green and blue from 0 to 1.

    Examples
    --------
    >>> (255 * distinct_colors(2)).astype(int).tolist()
    [[63, 144, 218], [255, 169, 14]]
    """
    if n > len(PETROFF):
        return np.array([colorsys.hsv_to_rgb(i / n, 0.8, 0.9) for i in range(n)])
    return np.array([list(color.to_bytes(3)) for color in PETROFF[:n]]) / 255


def shade(
    probabilities: np.ndarray,
    colors: np.ndarray,
    paper: np.ndarray,
    strength: tuple[float, float] = (0.12, 0.6),
) -> np.ndarray:
    """Colour each point by its most probable class, the stronger the more probable it is.

    Parameters
    ----------
    probabilities : ndarray, shape (..., n_classes)
    colors : ndarray, shape (n_classes, 3)
    paper : ndarray, shape (3,)
        The colour that is left where nothing is known.
    strength : tuple of float
        The share of the class's colour where all classes are equally probable, and where it is
        certain.

    Returns
    -------
    ndarray, shape (..., 3)
        Red, green and blue from 0 to 1.

    Examples
    --------
    >>> red, blue, white = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)
    >>> colors, p = np.array([red, blue]), np.array([[1.0, 0.0], [0.5, 0.5]])
    >>> shade(p, colors, np.array(white), strength=(0.0, 1.0)).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    n = probabilities.shape[-1]
    certainty = np.clip((probabilities.max(axis=-1) - 1 / n) / (1 - 1 / n), 0.0, 1.0)
    share = np.nan_to_num(strength[0] + (strength[1] - strength[0]) * certainty)[..., None]
    mixed = share * colors[probabilities.argmax(axis=-1)] + (1.0 - share) * paper
    rgb: np.ndarray = np.clip(mixed, 0.0, 1.0)
    return rgb

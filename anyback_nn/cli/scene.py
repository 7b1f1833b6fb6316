"""What is watched while a network learns: data with two features, and its predictions there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import typer

from anyback_nn.datasets import Dataset
from anyback_nn.plotting.surface import Plane, predict_plane

__all__ = ["Scene"]


@dataclass(frozen=True)
class Scene:
    """Some rows of training data, in the plane of their two features.

    Attributes
    ----------
    x : ndarray, shape (n_rows, 2)
    y : ndarray, shape (n_rows,)
        Indices of classes, or values.
    classes : tuple of str, optional
        The labels of the classes; None for regression.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, dataset: Dataset, option: str) -> Scene:
        """Return all training rows of a dataset.

        Raises
        ------
        typer.BadParameter
            They have no two features, or more than one target.
        """
        classes = dataset.encoding.classes
        problem = None
        if dataset.n_features != 2:
            problem = f"two features, but {dataset.name} has {dataset.n_features}"
            problem += " (a column of categories counts as one for each)"
        elif classes is None and dataset.n_outputs > 1:
            problem = f"one target, but {dataset.name} has {dataset.n_outputs}"
        if problem is not None:
            raise typer.BadParameter(
                f"it shows the plane of two features: expected data with {problem}. Choose two "
                "columns of numbers with --features A,B, or one of xor, circles, moons, spirals, "
                "blobs",
                param_hint=f"'{option}'",
            )
        return cls(np.asarray(dataset.x_train), np.asarray(dataset.y_train).reshape(-1), classes)

    def sample(self, n_rows: int) -> Scene:
        """Return at most this many rows, evenly spaced."""
        step = -(-len(self.x) // n_rows)
        return Scene(self.x[::step], self.y[::step], self.classes)

    def plane(self, n_rows: int, n_columns: int) -> Plane:
        """Return a grid around the rows."""
        return Plane.around(self.x.astype(float), n_rows, n_columns)

    def predict(self, model: Any, plane: Plane) -> np.ndarray:
        """Return the probability of each class, or the value, in all points of a plane."""
        return predict_plane(model, plane)[0]

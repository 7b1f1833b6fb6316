"""The way from raw data to a network and back, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.datasets.features import (
    CategoricalColumn,
    Columns,
    DateColumn,
    Features,
    NumericColumn,
    Scaling,
)
from anyback_nn.datasets.formats import ClockFormat, DateFormat, NumberFormat
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.targets import (
    ClassLabels,
    ContinuousTarget,
    ContinuousTargets,
    LogTarget,
    Target,
    Task,
    target_names,
)
from anyback_nn.errors import DataError
from anyback_nn.utils.serialization import Serializer

__all__ = ["Encoding", "encoding_from_json"]


@dataclass(frozen=True)
class Encoding:
    """How raw rows become a network's input, and its outputs become predictions.

    Parameters
    ----------
    features : Scaling or Columns
        Encoding of an array, or of a table.
    target : ClassLabels, ContinuousTarget or ContinuousTargets
        Encoding of the target, for classification or for regression.
    options : TableOptions
        What was said about the table of training; other tables are read in the same way.

    Examples
    --------
    >>> encoding = Encoding(Scaling(64, scale=16.0), ClassLabels(("no", "yes")))
    >>> encoding.task, encoding.n_features, encoding.decode([1, 0])
    ('classification', 64, array(['yes', 'no'], dtype='<U3'))
    >>> encoding_from_json(encoding.to_json()) == encoding
    True
    """

    features: Features
    target: Target
    options: TableOptions = NO_OPTIONS

    @property
    def task(self) -> Task:
        """Either ``"classification"`` or ``"regression"``."""
        return self.target.task

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The labels, in the order of the class indices; None for regression."""
        return self.target.labels

    @property
    def n_features(self) -> int:
        """Width of an encoded row."""
        return self.features.n_features

    @property
    def n_outputs(self) -> int:
        """The number of classes; for regression that of targets."""
        return self.target.n_outputs

    @property
    def prediction_names(self) -> tuple[str, ...]:
        """The names of the columns of predictions: one, unless there are several targets."""
        if self.task == "regression" and self.n_outputs > 1:
            return tuple(f"prediction_{name}" for name in target_names(self.target))
        return ("prediction",)

    def fits(self, n_in: int | None, n_out: int, *, classifies: bool) -> bool:
        """Return whether a network and its loss can be those of this encoding."""
        sizes = (self.n_features, self.n_outputs)
        return sizes == (n_in, n_out) and classifies == (self.classes is not None)

    def decode(self, values: Any) -> np.ndarray:
        """Turn a network's predictions into the labels or units of the data.

        Parameters
        ----------
        values : array_like, any shape
            Classification: class indices. Regression: standardised predictions; of several targets,
            shape (..., n_targets).

        Returns
        -------
        ndarray, the same shape
            Classification: labels (str). Regression: float64 in the target's own units.
        """
        return self.target.decode(values)

    def decode_columns(self, values: Any) -> dict[str, np.ndarray]:
        """Decode predictions of shape (n_rows,), or (n_rows, n_targets), into named columns."""
        decoded = self.decode(values)
        columns = [decoded] if self.classes is not None else decoded.T
        return dict(zip(self.prediction_names, columns, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; `encoding_from_json` reads them back without a loss."""
        data: dict[str, Any] = _SERIALIZER.to_json(self)
        if self.options == NO_OPTIONS:
            del data["settings"]["options"]  # arrays and most tables have none
        return data


def encoding_from_json(data: Any) -> Encoding:
    """Read an encoding from the plain data that `Encoding.to_json` returned.

    Nothing in the data is executed: kinds are looked up among the known ones, and every field is
    checked.

    Parameters
    ----------
    data : dict
        As ``json.loads`` returns it.

    Raises
    ------
    DataError
        If a kind or a field is unknown, is missing, or holds something else than expected.
    """
    encoding: Encoding = _SERIALIZER.from_json(data, Encoding, "encoding")
    return encoding


_FORMATS = (NumberFormat, ClockFormat, DateFormat)
_TABLE = (Columns, NumericColumn, DateColumn, CategoricalColumn, TableOptions, *_FORMATS)
_TARGETS = (ClassLabels, ContinuousTarget, LogTarget, ContinuousTargets)
_KINDS = {kind.__name__: kind for kind in (Encoding, Scaling, *_TABLE, *_TARGETS)}
# As they are called in files of format 1.
_KINDS |= {"scaling": Scaling, "columns": Columns}
_KINDS |= {"classes": ClassLabels, "quantity": ContinuousTarget}
_SERIALIZER = Serializer(_KINDS.get, DataError)

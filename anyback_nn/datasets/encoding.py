"""The way from raw data to a network and back, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.datasets.features import Columns, Features, Scaling
from anyback_nn.datasets.schema import read_fields
from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget, Target, Task
from anyback_nn.errors import DataError
from anyback_nn.utils.messages import quoted_list

__all__ = ["Encoding", "encoding_from_json"]

_FEATURES = {"scaling": Scaling, "columns": Columns}
_TARGETS = {"classes": ClassLabels, "quantity": ContinuousTarget}


@dataclass(frozen=True)
class Encoding:
    """How raw rows become a network's input, and its outputs become predictions.

    Parameters
    ----------
    features : Scaling or Columns
        Encoding of an array, or of a table.
    target : ClassLabels or ContinuousTarget
        Encoding of the target, for classification or for regression.

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
        """The number of classes, or 1 for regression."""
        return self.target.n_outputs

    def decode(self, values: Any) -> np.ndarray:
        """Turn a network's predictions into the labels or units of the data.

        Parameters
        ----------
        values : array_like, any shape
            Classification: class indices. Regression: standardised predictions.

        Returns
        -------
        ndarray, the same shape
            Classification: labels (str). Regression: float64 in the target's own units.
        """
        return self.target.decode(values)

    def to_json(self) -> dict[str, Any]:
        """Give plain data for JSON; `encoding_from_json` reads it back without a loss."""
        return {"features": self.features.to_json(), "target": self.target.to_json()}


def encoding_from_json(data: Any) -> Encoding:
    """Read an encoding from the plain data that `Encoding.to_json` gave.

    Nothing in the data is executed: kinds are looked up among the known ones, and every field is
    checked.

    Parameters
    ----------
    data : dict
        What ``json.loads`` gave.

    Raises
    ------
    DataError
        If a kind or a field is not known, is missing, or holds something else than expected.
    """
    return Encoding(
        **read_fields(
            data,
            "encoding",
            features=lambda part, what: _kind(part, what, _FEATURES).from_json(_without_kind(part)),
            target=lambda part, what: _kind(part, what, _TARGETS).from_json(_without_kind(part)),
        )
    )


def _kind(part: Any, what: str, known: dict[str, Any]) -> Any:
    kind = part.get("kind") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in known:
        raise DataError(
            f"{what} is of the kind {kind!r}: expected one of {quoted_list(known)}; was it written "
            "by another version?"
        )
    return known[kind]


def _without_kind(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "kind"}

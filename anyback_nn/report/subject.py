"""What a report is about: a model, and what is known of its training and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.datasets import Dataset, Encoding
from anyback_nn.datasets.targets import target_names
from anyback_nn.model import Model

__all__ = ["Score", "Subject"]


@dataclass(frozen=True)
class Score:
    """One score of the model on the test part.

    Parameters
    ----------
    name, value : str
        As they are shown.
    baseline : str
        That of the best constant prediction; empty if it has none.
    """

    name: str
    value: str
    baseline: str = ""


@dataclass(frozen=True, eq=False)
class Subject:
    """What a report is about.

    Parameters
    ----------
    title : str
        The name of the data or of the model's file.
    model : Model
    encoding : Encoding, optional
        How its data were encoded; None if the model does not know.
    dataset : Dataset, optional
        The data of training, divided as then. The report measures its test part.
    missing : str
        Why there are no data, in a sentence; empty if there are.
    activity : sequence of mapping, optional
        The rows of `ActivityLog`; None if they were not recorded.
    kept_epoch : int, optional
        The epoch whose parameters the model has, if it is not the last.
    facts, options : mapping of str to str
        What is known of the training, and the options that it was called with.
    command : str
        The command that trains the same model again; empty if it is unknown.
    scores : sequence of Score
    warnings : sequence of str
        Sentences about the scores.
    """

    title: str
    model: Model
    encoding: Encoding | None = None
    dataset: Dataset | None = None
    missing: str = ""
    activity: Sequence[Mapping[str, Any]] | None = None
    kept_epoch: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    scores: Sequence[Score] = ()
    warnings: Sequence[str] = ()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The labels of a classifier."""
        return None if self.encoding is None else self.encoding.classes

    @cached_property
    def predicted(self) -> np.ndarray:
        """The predictions for the test part: probabilities, or values in the target's own units.

        Shape (n_rows, n_classes) or (n_rows, n_targets).
        """
        assert self.dataset is not None
        return self.predict(self.dataset.x_test)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predict encoded rows, as for `predicted`."""
        assert self.encoding is not None
        outputs: np.ndarray = to_numpy(self.model.predict(x)).astype(np.float64)
        if self.classes is not None:
            return outputs
        values = outputs if self.encoding.n_outputs > 1 else outputs[:, 0]
        return self.encoding.decode(values).reshape(len(x), -1)

    @cached_property
    def actual(self) -> np.ndarray:
        """The targets of the test part: class indices, or values of shape (n_rows, n_targets)."""
        assert self.dataset is not None
        assert self.encoding is not None
        y = self.dataset.y_test
        return y if self.classes is not None else self.encoding.decode(y).reshape(len(y), -1)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the continuous targets."""
        assert self.encoding is not None
        return target_names(self.encoding.target) or ("target",)

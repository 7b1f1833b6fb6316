"""Everything that training changes, in one place, so that it can be copied and put back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from array_api_compat import array_namespace

from anyback_nn.network.parameters import Storage, map_leaves
from anyback_nn.training.history import History
from anyback_nn.training.optimizers import Optimizer

__all__ = ["TrainingState"]


@dataclass
class TrainingState:
    """The numbers of a model.

    Attributes
    ----------
    params : tuple of array
        The parameters in storage form, see `Layout`.
    state : nested tuples and dicts of array
        What the layers carry from step to step.
    optimizer : Optimizer, optional
        The settings with which ``slots`` came about.
    slots : dict of tuple of array
        What the optimiser keeps for each parameter.
    step : int
        The steps that this optimiser has taken.
    epoch : int
        The epochs that the model has been trained.
    first_epoch : int
        The epoch with which this optimiser began: its schedule counts from there.
    history : History
    """

    params: Storage
    state: Any
    optimizer: Optimizer | None = None
    slots: dict[str, Storage] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    first_epoch: int = 0
    history: History = field(default_factory=History)

    def begin(self, optimizer: Optimizer) -> None:
        """Go on with an optimiser: from its slots if it is the same one, else afresh."""
        if optimizer == self.optimizer:
            return
        self.optimizer = optimizer
        self.slots = optimizer.init(self.params)
        self.step = 0
        self.first_epoch = self.epoch

    def copy(self) -> TrainingState:
        """Copy it so that further training does not change the copy."""
        return replace(
            self,
            params=_copies(self.params),
            state=_copies(self.state),
            slots=_copies(self.slots),
            history=History(list(self.history.rows)),
        )


def _copies(tree: Any) -> Any:
    return map_leaves(lambda array: array_namespace(array).asarray(array, copy=True), tree)

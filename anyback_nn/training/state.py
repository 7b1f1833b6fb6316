"""Everything that training changes, in one place, so that it can be copied and put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from anyback_nn.network.layout import Packed
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.training.history import History
from anyback_nn.tree import tree_copy, tree_map

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
        What the optimiser keeps for each parameter; in mixed precision the scale of the loss, too.
    step : int
        The steps that this optimiser has taken.
    epoch : int
        The epochs that the model has been trained.
    first_epoch : int
        The epoch with which this optimiser began: its schedule counts from there.
    history : History
    """

    params: Packed
    state: Any
    optimizer: Optimizer | None = None
    slots: dict[str, Packed] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    first_epoch: int = 0
    history: History = field(default_factory=History)

    def begun(self, optimizer: Optimizer) -> TrainingState:
        """Go on with an optimiser: from its slots if it is the same one, else afresh."""
        if optimizer == self.optimizer:
            return self
        return replace(
            self,
            optimizer=optimizer,
            slots=optimizer.init(self.params),
            step=0,
            first_epoch=self.epoch,
        )

    def map(self, function: Callable[[Any], Any]) -> TrainingState:
        """Make the same of the results of a function on every array."""
        return replace(
            self,
            params=tree_map(function, self.params),
            state=tree_map(function, self.state),
            slots=tree_map(function, self.slots),
        )

    def copy(self, copied: Callable[[Any], Any] = tree_copy) -> TrainingState:
        """Copy it so that further training does not change the copy.

        Parameters
        ----------
        copied : callable
            `tree_copy`, or the same compiled.
        """
        params, state, slots = copied((self.params, self.state, self.slots))
        # The rows of a history are added to, not changed.
        history = History(list(self.history.rows))
        return replace(self, params=params, state=state, slots=slots, history=history)

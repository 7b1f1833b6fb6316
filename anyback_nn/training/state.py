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
        The packed parameters, see `Layout`.
    state : nested tuples and dicts of array
        What the layers carry from step to step.
    optimizer : Optimizer, optional
        The settings that ``optimizer_state`` belongs to.
    optimizer_state : dict of tuple of array
        What the optimiser keeps for each parameter; in float16 the scale of the loss, too.
    step : int
        The steps that this optimiser has taken.
    epoch : int
        The epochs that the model has been trained.
    first_epoch : int
        The epoch at which this optimiser began: its schedule counts from there.
    history : History
    """

    params: Packed
    state: Any
    optimizer: Optimizer | None = None
    optimizer_state: dict[str, Packed] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    first_epoch: int = 0
    history: History = field(default_factory=History)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle, also what release 0.1 wrote."""
        if "slots" in state:
            state = {**state, "optimizer_state": state["slots"]}
            del state["slots"]
        self.__dict__.update(state)

    def with_optimizer(self, optimizer: Optimizer) -> TrainingState:
        """Continue with an optimiser: from its state if it is the same one, else from the start."""
        if optimizer == self.optimizer:
            return self
        return replace(
            self,
            optimizer=optimizer,
            optimizer_state=optimizer.init(self.params),
            step=0,
            first_epoch=self.epoch,
        )

    def map(self, function: Callable[[Any], Any]) -> TrainingState:
        """Apply a function to every array."""
        return replace(
            self,
            params=tree_map(function, self.params),
            state=tree_map(function, self.state),
            optimizer_state=tree_map(function, self.optimizer_state),
        )

    def copy(self, copied: Callable[[Any], Any] = tree_copy) -> TrainingState:
        """Copy it so that further training does not change the copy.

        Parameters
        ----------
        copied : callable
            `tree_copy`, or the same compiled.
        """
        params, state, kept = copied((self.params, self.state, self.optimizer_state))
        # The rows of a history are added to, not changed.
        history = History(list(self.history.rows))
        return replace(self, params=params, state=state, optimizer_state=kept, history=history)

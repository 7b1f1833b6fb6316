"""All that training changes, in one object, so that it can be copied and restored."""

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
    """The arrays and counters of a model.

    Attributes
    ----------
    params : tuple of array
        The packed parameters, see `Layout`.
    state : nested tuples and dicts of array
        The state of the layers, such as running means.
    optimizer : Optimizer, optional
        The optimiser of ``optimizer_state``.
    optimizer_state : dict of tuple of array
        The state of the optimiser; in float16 also the scale of the loss.
    step : int
        The number of steps of this optimiser.
    epoch : int
        The number of epochs that the model has been trained.
    first_epoch : int
        The epoch in which this optimiser began: its schedule counts from there.
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
        """Unpickle; also the state of release 0.1."""
        if "slots" in state:
            state = {**state, "optimizer_state": state["slots"]}
            del state["slots"]
        self.__dict__.update(state)

    def with_optimizer(
        self, optimizer: Optimizer, init: Callable[[Optimizer], dict[str, Packed]]
    ) -> TrainingState:
        """Return the state for training with an optimiser: unchanged if it is the same one.

        ``init`` creates the state of another one.
        """
        if optimizer == self.optimizer:
            # A custom optimiser may equal the last one, and compute something else.
            self.optimizer = optimizer
            return self
        return replace(
            self,
            optimizer=optimizer,
            optimizer_state=init(optimizer),
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

    def copy(self, copy_tree: Callable[[Any], Any] = tree_copy) -> TrainingState:
        """Copy the state, so that further training does not change the copy.

        Parameters
        ----------
        copy_tree : callable
            `tree_copy`, or the compiled function.
        """
        trees = copy_tree((self.params, self.state, self.optimizer_state))
        params, state, optimizer_state = trees
        return replace(
            self,
            params=params,
            state=state,
            optimizer_state=optimizer_state,
            # Rows are appended to a history, and never changed.
            history=History(list(self.history.rows)),
        )

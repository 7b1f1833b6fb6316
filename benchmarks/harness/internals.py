"""What the benchmarks use of the package besides its public names."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import anyback_nn as nn
from anyback_nn.backends import Backend
from anyback_nn.bench import Steps
from anyback_nn.inputs.batches import ArraySource
from anyback_nn.jit.graph import Op
from anyback_nn.network.activations import Activation
from anyback_nn.testing import collect_programs

__all__ = ["Activation", "ArraySource", "Steps", "collect_programs"]


def set_weights(model: nn.Model, weights: Sequence[tuple[Any, Any]]) -> nn.Model:
    """Build a model with these weights and biases of its dense layers."""
    model.build(len(weights[0][0]))
    pairs = iter(weights)
    tree = list(model.layout.unpack(model.training.params))
    for position, layer in enumerate(model.network.layers):
        if isinstance(layer, nn.Dense):
            weight, bias = (model.backend.asarray(array, model.dtype) for array in next(pairs))
            tree[position] = {"weight": weight, "bias": bias}
    model.training.params = model.layout.pack(tuple(tree))
    return model


# Traced steps ------------------------------------------------------------------------------------


@contextlib.contextmanager
def label_operations(find_label: Callable[[Any], str | None], default: str) -> Iterator[None]:
    """Within it, label each operation that is traced by the method that it comes from.

    Parameters
    ----------
    find_label : callable
        From the ``self`` of a method to its label, or None to go on to its caller.
    default : str
        The label of operations from no such method.
    """
    initialize = Op.__init__

    def label(operation: Any, *arguments: Any, **options: Any) -> None:
        initialize(operation, *arguments, **options)
        operation.label, frame = None, sys._getframe(1)
        while frame and operation.label is None:
            operation.label = find_label(frame.f_locals.get("self"))
            frame = frame.f_back
        operation.label = operation.label or default

    with patch.object(Op, "__init__", label):
        yield


def list_operations(program: Any) -> list[tuple[str, str]]:
    """List the label and the name of the function of each call of a program."""
    return [(operation.label, operation.function.__name__) for operation in program.replay.ops]


def count_kernels(program: Any) -> tuple[int, int]:
    """Count the calls of a program, and how many of them are kernels of ours."""
    kinds = [type(function).__name__ for function, *_ in program.replay.calls]
    return program.replay.n_calls, kinds.count("ElementwiseKernel")


# Backends ----------------------------------------------------------------------------------------


def disable_tracing(kind: type[Any]) -> type[Any]:
    """Derive a backend that calls each step as it is."""
    plain = {"trace_rules": None, "scan": Backend.scan}
    return type("Untraced", (kind,), plain)


def limit_memory(kind: type[Any], n_bytes: int | None, transfer: bool = True) -> type[Any]:
    """Derive a backend with so much free memory, None for enough.

    Parameters
    ----------
    kind : type
    n_bytes : int, optional
    transfer : bool
        Whether batches are copied while the device computes.
    """
    members: dict[str, Any] = {"free_memory": lambda self: n_bytes}
    members |= {} if transfer else {"transfer": Backend.transfer}
    return type("Limited", (kind,), members)

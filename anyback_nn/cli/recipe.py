"""From the options of a command to a network, an optimiser and a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import typer

from anyback_nn.backends import Backend
from anyback_nn.cli import options
from anyback_nn.datasets import Dataset
from anyback_nn.model import Model
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import Dense, Dropout
from anyback_nn.network.losses import LOSSES, SoftmaxCrossEntropy
from anyback_nn.optim.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.optim.schedules import CosineDecay
from anyback_nn.utils.messages import plural

__all__ = ["build_model", "build_optimizer", "choose_loss", "describe_data"]


def choose_loss(loss: str | None, task: str) -> str:
    """Choose the loss by its name, else the first one for the task.

    Raises
    ------
    typer.BadParameter
        The loss is for another task.
    """
    if task == "classification":
        # An output a class; the other losses that classify take labels that are 0 or 1.
        fitting = [name for name, kind in LOSSES.items() if kind is SoftmaxCrossEntropy]
    else:
        fitting = [name for name, kind in LOSSES.items() if not kind.classifies]
    if loss is not None and loss not in fitting:
        reason = ""
        if task == "classification" and LOSSES[loss].classifies:
            reason = " (it is for a network with a single output, and this one has one a class)"
        raise typer.BadParameter(
            f"{loss} does not fit the task, {task}{reason}: expected {' or '.join(fitting)}",
            param_hint="'--loss'",
        )
    return loss or fitting[0]


def build_model(
    dataset: Dataset,
    backend: Backend | str,
    *,
    hidden: str,
    activation: str,
    dropout: float,
    seed: int,
    dtype: str,
    compute_dtype: str | None = None,
    loss: str | None = None,
) -> Model:
    """Build the model for a dataset, with its initial parameters.

    The widths of the hidden layers are written as `anyback_nn.cli.options.parse_widths` reads them;
    without dropout there are no dropout layers.
    """
    layers: list[Layer] = []
    for width in options.parse_widths(hidden):
        layers += [Dense(width), ACTIVATIONS[activation]()]
        layers += [Dropout(dropout)] if dropout else []
    model = Model(
        *layers,
        Dense(dataset.n_outputs),
        loss=LOSSES[choose_loss(loss, dataset.task)](),
        backend=backend,
        seed=seed,
        dtype=dtype,
        compute_dtype=compute_dtype,
    )
    model.encoding = dataset.encoding.to_json()
    return model.build(dataset.n_features)


def build_optimizer(
    name: str,
    *,
    learning_rate: float | None = None,
    epochs: int | None = None,
    l2: float = 0.0,
    clip_norm: float | None = None,
) -> Optimizer:
    """Build an optimiser, whose learning rate is its own by default.

    With ``epochs``, the rate falls to 0 along a cosine over that many; without, it is constant.
    """
    kind: Any = OPTIMIZERS[name]
    optimizer: Optimizer = kind(l2=l2, clip_norm=clip_norm)
    rate = optimizer.schedule(0.0) if learning_rate is None else learning_rate
    return replace(optimizer, learning_rate=CosineDecay(rate, epochs) if epochs else rate)


def describe_data(dataset: Dataset) -> str:
    """Return what is to be learned from what, in a sentence."""
    classes = dataset.encoding.classes
    if classes is not None:
        target = f"one of {len(classes)} classes"
    else:
        several = dataset.n_outputs > 1
        target = f"{dataset.n_outputs} continuous targets" if several else "a continuous target"
    return (
        f"{dataset.name}: {dataset.task} ({target}) of {plural(dataset.n_features, 'feature')}, "
        f"{plural(len(dataset.x_train), 'row')} to train and validate with, "
        f"{len(dataset.x_test):,} to test"
    )

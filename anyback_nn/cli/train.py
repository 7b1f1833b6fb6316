"""``anyback-nn train``: from data to a tested model in a folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from anyback_nn.cli import options
from anyback_nn.errors import AnybackError

if TYPE_CHECKING:
    from anyback_nn.backends import Backend
    from anyback_nn.datasets import Dataset
    from anyback_nn.model import Model
    from anyback_nn.network.layer import Layer
    from anyback_nn.optim.optimizers import Optimizer

__all__ = ["train"]


def train(
    data: options.Data,
    target: options.Target = None,
    task: options.Task = "auto",
    validation: options.Validation = 0.1,
    hidden: options.Hidden = "256,128",
    activation: options.Activation = "relu",
    dropout: options.Dropout = 0.1,
    optimizer: options.Optimizer = "adam",
    learning_rate: options.LearningRate = None,
    schedule: options.Schedule = "cosine",
    l2: options.L2 = 0.0,
    epochs: options.Epochs = 50,
    batch_size: options.BatchSize = 64,
    early_stopping: options.EarlyStopping = None,
    seed: options.Seed = 0,
    backend: options.BackendSpec = None,
    dtype: options.Dtype = "float32",
    compute_dtype: options.ComputeDtype = None,
    output: options.RunFolder = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a network on DATA, test it, and write it to a new folder.

    The test part is the one that the data come with, else a fifth of the rows.
    """
    asked = dict(locals())
    if early_stopping is not None and not validation:
        raise typer.BadParameter(
            "there is no validation loss to watch: set --validation above 0",
            param_hint="'--early-stopping'",
        )
    selected = options.selected(backend)
    options.check_compute_dtype(compute_dtype, dtype, selected)

    from anyback_nn import __version__
    from anyback_nn.cli import run
    from anyback_nn.cli.measure import measure
    from anyback_nn.cli.report import Report, network_table
    from anyback_nn.datasets import load
    from anyback_nn.training.callbacks import EarlyStopping

    dataset = load(data, target=target, task=task)
    run.free_folder(output, dataset.name)  # hours of training should not end with this error
    layers = hidden_layers(options.widths(hidden), activation, dropout)
    model = build(layers, dataset, selected, seed, dtype, compute_dtype)

    report = Report(as_json=json, quiet=quiet)
    report.notes(dataset.notes)
    report.show(contents(dataset) + "\n")
    report.show(network_table(model))
    report.show("")
    stopping = EarlyStopping(early_stopping) if early_stopping else None
    interrupted = False
    try:
        model.fit(
            dataset.x_train,
            dataset.y_train,
            optimizer=rule(optimizer, learning_rate, schedule, l2, epochs),
            epochs=epochs,
            batch_size=batch_size,
            validation=validation or None,
            callbacks=[stopping] if stopping else [],
            progress=False if quiet else None,
        )
    except KeyboardInterrupt:
        if not model.history:
            raise AnybackError("interrupted in the first epoch: nothing was written") from None
        interrupted = True

    best = stopping.best_epoch if stopping and not interrupted else 0
    measured = measure(model, dataset.encoding, dataset.x_test, dataset.y_test)
    result = {
        **course(model, best or len(model.history)),
        **{f"test_{name}": value for name, value in measured.scores.items()},
        "interrupted": interrupted,
    }
    # Written before anything is printed: what reads the output may be gone, or fail.
    settings = {"anyback_nn": __version__, "asked": asked, "result": result}
    folder = run.write(model, settings, output, dataset.name)
    report.show(in_words(result, epochs) + "\n")
    report.scores(f"{dataset.name}, test part", dataset.encoding, measured)
    report.end({**result, "output": folder}, written=folder)
    if interrupted:
        raise AnybackError(
            f"interrupted: {len(model.history)} of {epochs} epochs were finished and are kept"
        )


def rule(name: str, rate: float | None, schedule: str, l2: float, epochs: int) -> Optimizer:
    """Make the optimiser, with its learning rate over all epochs."""
    from anyback_nn.optim.optimizers import OPTIMIZERS
    from anyback_nn.optim.schedules import CosineDecay

    kind: Any = OPTIMIZERS[name]
    made: Optimizer = kind(l2=l2)
    first = made.schedule(0.0) if rate is None else rate
    return replace(
        made, learning_rate=CosineDecay(first, epochs) if schedule == "cosine" else first
    )


def contents(dataset: Dataset) -> str:
    """Say what is to be learned from what."""
    from anyback_nn.datasets.wording import counted

    classes = dataset.encoding.classes
    what = "a quantity" if classes is None else f"one of {len(classes)} classes"
    return (
        f"{dataset.name}: {dataset.task} ({what}) of {counted(dataset.n_features, 'feature')}, "
        f"{counted(len(dataset.x_train), 'row')} to train and validate with, "
        f"{len(dataset.x_test):,} to test"
    )


def hidden_layers(widths: tuple[int, ...], activation: str, dropout: float) -> list[Layer]:
    """Make the layers in front of the last one."""
    from anyback_nn.network.activations import ACTIVATIONS
    from anyback_nn.network.layers import Dense, Dropout

    layers: list[Layer] = []
    for width in widths:
        layers += [Dense(width), ACTIVATIONS[activation]()]
        layers += [Dropout(dropout)] if dropout else []
    return layers


def build(
    layers: list[Layer],
    dataset: Dataset,
    backend: Backend | str,
    seed: int,
    dtype: str,
    compute_dtype: str | None = None,
) -> Model:
    """Make the model that suits the data, with its initial parameters."""
    from anyback_nn.model import Model
    from anyback_nn.network.layers import Dense
    from anyback_nn.network.losses import MeanSquaredError, SoftmaxCrossEntropy

    model = Model(
        *layers,
        Dense(dataset.n_outputs),
        loss=SoftmaxCrossEntropy() if dataset.task == "classification" else MeanSquaredError(),
        backend=backend,
        seed=seed,
        dtype=dtype,
        compute_dtype=compute_dtype,
    )
    model.encoding = dataset.encoding.to_json()
    return model.build(dataset.n_features)


def course(model: Model, kept: int) -> dict[str, Any]:
    """Sum up how training went; ``kept`` is the epoch whose parameters the model has."""
    row = model.history.rows[kept - 1]
    return {
        "backend": model.backend.spec,
        "device": model.backend.device_label,
        "dtype": model.dtype,
        "compute_dtype": model.compute_dtype,
        "parameters": model.layout.size,
        "epochs": len(model.history),
        "kept_epoch": kept,
        "seconds": sum(model.history["seconds"]),
        "train_loss": row["train_loss"],
        "validation_loss": row.get("validation_loss"),
    }


def in_words(result: dict[str, Any], asked: int) -> str:
    """Say how training went."""
    from anyback_nn.datasets.wording import counted

    done, kept = result["epochs"], result["kept_epoch"]
    words = counted(asked, "epoch") if done == asked else f"{done} of {asked} epochs"
    words += f" in {result['seconds']:.1f} s"
    words += "" if kept == done else f"; keeping epoch {kept}, the best"
    words += f"; training loss {result['train_loss']:.4f}"
    if result["validation_loss"] is not None:
        words += f", validation loss {result['validation_loss']:.4f}"
    return words

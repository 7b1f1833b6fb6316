"""``anyback-nn train``: from data to a tested model in a folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from anyback_nn import __version__
from anyback_nn.cli import options, recipe, run_folder
from anyback_nn.cli.printing import Printer, create_table
from anyback_nn.cli.run_folder import TrainingData
from anyback_nn.cli.scores import Scores, choose_judge, compute_scores, show_scores
from anyback_nn.datasets import Dataset, load
from anyback_nn.errors import AnybackError
from anyback_nn.inputs.checks import check_compute_dtype
from anyback_nn.model import Model
from anyback_nn.network.layer import Layer
from anyback_nn.network.losses import LOSSES, Poisson
from anyback_nn.training.callbacks import EarlyStopping, EpochLog
from anyback_nn.utils.memory import limit_memory
from anyback_nn.utils.messages import plural, prefix_errors
from anyback_nn.utils.signals import hold_signals

__all__ = ["train"]

FAR = 10
"""How many times as large as that of outputs of 0 a loss may be."""

SOME_ROWS = 4096
"""The most rows, in random order, whose loss with outputs of 0 is computed."""


def train(
    data: options.Data,
    target: options.Target = None,
    task: options.Task = "auto",
    test_file: options.TestFile = None,
    test_share: options.TestShare = None,
    group: options.Group = None,
    time: options.Time = None,
    log_target: options.LogTarget = False,
    drop: options.Drop = None,
    features: options.Features = None,
    categorical: options.Categorical = None,
    numeric: options.Numeric = None,
    ids: options.Ids = None,
    na_values: options.NaValues = None,
    separator: options.Separator = None,
    decimal: options.Decimal = None,
    text_encoding: options.TextEncoding = None,
    memory_limit: options.MemoryLimit = None,
    validation: options.Validation = 0.1,
    hidden: options.Hidden = "256,128",
    activation: options.Activation = "relu",
    dropout: options.Dropout = 0.1,
    loss: options.LossName = None,
    class_weight: options.ClassWeight = None,
    optimizer: options.OptimizerName = "adam",
    learning_rate: options.LearningRate = None,
    schedule: options.Schedule = "cosine",
    l2: options.L2 = 0.0,
    clip_norm: options.ClipNorm = None,
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
    log: options.Log = False,
) -> None:
    """Train a network on DATA, test it, and write it to a new folder.

    The test part is the one that the data come with, else a fifth of the rows, or what --test-file,
    --test-share, --group or --time say.
    """
    arguments = dict(locals())
    refuse_together(arguments)
    device = options.select_backend(backend)
    with options.usage_error("--compute-dtype"):
        check_compute_dtype(compute_dtype, dtype, device)

    counts = loss is not None and LOSSES[loss] is Poisson
    if loss is not None and task == "auto":
        task = "classification" if LOSSES[loss].classifies else "regression"
    recipe.choose_loss(loss, task)
    reading: dict[str, Any] = {
        "target": target,
        "task": task,
        "test_fraction": test_share,
        "test_file": None if test_file is None else str(test_file),
        "group": group,
        "time": time,
        "log_target": log_target,
        "center_target": not counts,
        **vars(options.table_options(arguments)),
    }
    with limit_memory(memory_limit):
        fingerprint = next(iter(run_folder.compute_fingerprints(data)), None)
        dataset = load(data, **reading)
    if class_weight is not None and dataset.task == "regression":
        raise typer.BadParameter(
            "a continuous target has no classes: leave it out, or use --task classification",
            param_hint="'--class-weight'",
        )
    run_folder.find_free(output, dataset.name)  # hours of training should not end with this error
    model = recipe.build_model(
        dataset,
        device,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        seed=seed,
        dtype=dtype,
        compute_dtype=compute_dtype,
        loss=loss,
    )
    x, y, held_out = divide(data, dataset, validation)

    printer = Printer(as_json=json, quiet=quiet)
    printer.notes(dataset.notes)
    printer.show(recipe.describe_data(dataset) + "\n")
    printer.show(network_table(model))
    printer.show("")
    stopping = EarlyStopping(early_stopping) if early_stopping else None
    interrupted = False
    try:
        model.fit(
            x,
            y,
            optimizer=recipe.build_optimizer(
                optimizer,
                learning_rate=learning_rate,
                epochs=epochs if schedule == "cosine" else None,
                l2=l2,
                clip_norm=clip_norm,
            ),
            epochs=epochs,
            batch_size=batch_size,
            validation=held_out,
            class_weight=class_weight,
            callbacks=[*([stopping] if stopping else []), *([EpochLog()] if log else [])],
            progress=False if quiet or log else None,
        )
    except KeyboardInterrupt:
        if not model.history:
            raise AnybackError("interrupted in the first epoch: nothing was written") from None
        interrupted = True

    best_epoch = stopping.best_epoch if stopping and not interrupted else 0
    known = {
        "anyback_nn": __version__,
        "asked": arguments,
        "data": vars(TrainingData(fingerprint, reading, len(dataset.x_train))),
    }
    kept: Any = None
    try:
        with hold_signals():
            # Before anything is printed: what reads the output may be gone, or fail.
            kept = measure_and_write(model, dataset, best_epoch, known, output, interrupted)
    except KeyboardInterrupt:
        if kept is None:
            raise
    scores, result, written = kept
    printer.show(describe_training(result, epochs) + "\n")
    show_scores(printer, f"{dataset.name}, test part", dataset.encoding, scores)
    judge = choose_judge(model, dataset.encoding, balanced=class_weight is not None)
    warnings = (describe_explosion(model, y, result["train_loss"]), scores.compare(judge))
    printer.notes(filter(None, warnings))
    printer.end({**result, "output": written}, written=written)
    if interrupted:
        raise AnybackError(
            f"interrupted: {len(model.history)} of {epochs} epochs were finished and are kept"
        )


def refuse_together(asked: dict[str, Any]) -> None:
    """Raise `typer.BadParameter` if options contradict each other."""
    if asked["early_stopping"] is not None and not asked["validation"]:
        raise typer.BadParameter(
            "there is no validation loss to watch: set --validation above 0",
            param_hint="'--early-stopping'",
        )
    if asked["log_target"] and LOSSES.get(asked["loss"]) is Poisson:
        raise typer.BadParameter(
            "it predicts the logarithm itself: leave --log-target out", param_hint="'--loss'"
        )


def measure_and_write(
    model: Model,
    dataset: Dataset,
    best_epoch: int,
    known: dict[str, Any],
    output: Path | None,
    interrupted: bool,
) -> tuple[Scores, dict[str, Any], Path]:
    """Measure the test part and write the run; return the scores, the result and the folder."""
    scores = compute_scores(model, dataset.encoding, dataset.x_test, dataset.y_test)
    result = summarize(model, best_epoch, scores, interrupted=interrupted)
    settings = {**known, "result": result}
    return scores, result, run_folder.write(model, settings, output, dataset.name)


def divide(data: str, dataset: Dataset, share: float) -> tuple[Any, Any, Any]:
    """Return ``x``, ``y`` and the validation data for `Model.fit`.

    It draws a share of the rows itself, unless rows stay together.
    """
    if dataset.blocks is None or not share:
        return dataset.x_train, dataset.y_train, share or None
    with prefix_errors(data):
        (x, y), validation = dataset.split_validation(share)
    return x, y, validation


def describe_explosion(model: Model, y: Any, train_loss: float) -> str | None:
    """Return a sentence if training has made the loss far larger than that of outputs of 0."""
    y = y[:SOME_ROWS]
    zeros = np.zeros((len(y), model.n_out))
    targets = model.loss.check_targets(y, model.n_out)
    start = float(model.loss.forward(zeros, targets)[0].mean())
    if train_loss < FAR * start:
        return None
    return (
        f"the training loss, {train_loss:.4g}, is far above the {start:.4g} of a network whose "
        "outputs are all 0: training has gone astray, though the loss has stayed finite. Use a "
        "smaller --learning-rate, --clip-norm 1, or another --optimizer"
    )


def network_table(model: Model) -> Table:
    """Create the table of the layers, with the shapes of their outputs and their parameters."""
    table = create_table("layer", "output shape", "parameters", numeric=["parameters"])
    table.add_row("Input", f"(rows, {model.n_in})")
    for layer, row in zip(model.network.layers, model.summary()):
        parameters = f"{row.parameters:,}" if row.parameters else ""
        table.add_row(_describe_layer(layer), f"(rows, {row.output_shape[1]})", parameters)
    table.add_section()
    table.add_row("total", "", f"{model.layout.size:,}", style="bold")
    return table


def _describe_layer(layer: Layer) -> str:
    """Return a layer's expression, without the settings that have their default."""
    settings: Any = fields(layer)  # type: ignore[arg-type]
    values = ((field.name, getattr(layer, field.name), field.default) for field in settings)
    changed = (f"{name}={value!r}" for name, value, default in values if value != default)
    return f"{type(layer).__name__}({', '.join(changed)})"


def summarize(
    model: Model, best_epoch: int, scores: Scores, *, interrupted: bool
) -> dict[str, Any]:
    """Return how training went; the parameters are those of the best epoch, if there is one."""
    kept_epoch = best_epoch or len(model.history)
    row = model.history.rows[kept_epoch - 1]
    return {
        "backend": model.backend.spec,
        "device": model.backend.device_label,
        "dtype": model.dtype,
        "compute_dtype": model.compute_dtype,
        "parameters": model.layout.size,
        "epochs": len(model.history),
        "kept_epoch": kept_epoch,
        "seconds": sum(model.history["seconds"]),
        "train_loss": row["train_loss"],
        "validation_loss": row.get("validation_loss"),
        **{f"test_{name}": value for name, value in scores.to_json().items()},
        "interrupted": interrupted,
    }


def describe_training(result: dict[str, Any], epochs: int) -> str:
    """Return how training went, in a sentence."""
    done, kept = result["epochs"], result["kept_epoch"]
    sentence = plural(epochs, "epoch") if done == epochs else f"{done} of {epochs} epochs"
    sentence += f" in {result['seconds']:.1f} s"
    sentence += "" if kept == done else f"; keeping epoch {kept}, the best"
    sentence += f"; training loss {result['train_loss']:.4f}"
    if result["validation_loss"] is not None:
        sentence += f", validation loss {result['validation_loss']:.4f}"
    return sentence

"""``anyback-nn train``: from data to a tested model in a folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from anyback_nn import __version__
from anyback_nn.backends import Backend
from anyback_nn.cli import options, ranks, recipe, run_folder
from anyback_nn.cli.film import Film, check_film
from anyback_nn.cli.printing import Printer, create_table, print_message
from anyback_nn.cli.run_folder import RunFolder, TrainingData
from anyback_nn.cli.scene import Scene
from anyback_nn.cli.scores import Scores, choose_judge, compute_scores, show_scores
from anyback_nn.cli.watch import Watch, require_terminal
from anyback_nn.datasets import Dataset, load
from anyback_nn.errors import AnybackError, DivergenceError, OutOfMemoryError
from anyback_nn.inputs.checks import check_compute_dtype
from anyback_nn.model import Model
from anyback_nn.network.losses import LOSSES, Poisson
from anyback_nn.training import checkpoint
from anyback_nn.training.activity import ActivityLog
from anyback_nn.training.callbacks import EarlyStopping, EpochLog
from anyback_nn.training.fit import FitContext
from anyback_nn.training.resume import Checkpoint, list_files
from anyback_nn.utils.arguments import write_settings
from anyback_nn.utils.memory import limit_memory
from anyback_nn.utils.messages import plural, prefix_errors, quoted_list
from anyback_nn.utils.signals import catch_signals

__all__ = ["train"]

FAR = 10
"""How many times as large as that of outputs of 0 a loss may be."""

NOT_STORED = ("context", "resume", "distributed")
"""The arguments that a run does not keep."""

SOME_ROWS = 4096
"""The most rows, in random order, whose loss with outputs of 0 is computed."""


def train(
    context: typer.Context,
    data: options.NewData = None,
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
    on_divergence: options.OnDivergence = "stop",
    checkpoint_every: options.CheckpointEvery = None,
    resume: options.Resume = None,
    seed: options.Seed = 0,
    backend: options.BackendSpec = None,
    distributed: options.Distributed = "auto",
    dtype: options.Dtype = "float32",
    compute_dtype: options.ComputeDtype = None,
    output: options.RunFolder = None,
    report: options.Report = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    log: options.Log = False,
    watch: options.Watch = False,
    animate: options.Animate = None,
) -> None:
    """Train a network on DATA, test it, and write it to a new folder.

    The test part is the one that the data come with, else a fifth of the rows, or what --test-file,
    --test-share, --group or --time say.
    """
    asked = {name: value for name, value in locals().items() if name not in NOT_STORED}
    ranks.join(distributed, data)
    if resume is None:
        if data is None:
            raise typer.BadParameter("expected DATA, or --resume", param_hint="'DATA'")
        run(asked)
        return
    refuse_changes(context)
    # Locked before anything is read.
    folder, settings = run_folder.reopen(resume)
    with folder:
        run(combine(context, asked, settings["asked"], resume), folder, settings)


# Resuming ----------------------------------------------------------------------------------------

SHOWN = ("json", "quiet", "log", "watch", "animate")
"""What is shown, which may be something else each time."""

RESUMED_WITH = (
    *("data", "test_file", "epochs", "on_divergence", "checkpoint_every", "backend"),
    *("distributed", "memory_limit", *SHOWN),
)
"""What may be other than when the run was begun."""


def refuse_changes(context: typer.Context) -> None:
    """Raise `typer.BadParameter` if options are given that a run must be resumed with."""
    names = {str(option.name): option.opts[0] for option in context.command.params}
    for name, option in names.items():
        if name not in (*RESUMED_WITH, "resume") and is_given(context, name):
            allowed = ["DATA", *(names[one] for one in RESUMED_WITH[1:])]
            raise typer.BadParameter(
                "a run resumes with the options that it was begun with: leave it out. Only "
                f"{quoted_list(allowed, len(allowed))} may change",
                param_hint=f"'{option}'",
            )


def is_given(context: typer.Context, name: str) -> bool:
    """Return whether an option is in the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def combine(
    context: typer.Context, asked: dict[str, Any], begun: dict[str, Any], path: Path
) -> dict[str, Any]:
    """Return the arguments with which a run was begun, and those that are given now."""
    with checkpoint.name_file(path / run_folder.SETTINGS):
        combined = options.recall(context.command, begun)
    given = [name for name in RESUMED_WITH if name in asked and is_given(context, name)]
    combined |= {name: asked[name] for name in given}
    # What was shown then says nothing about now.
    combined |= {name: asked[name] for name in SHOWN}
    return {name: combined[name] for name in asked}


# A run -------------------------------------------------------------------------------------------


def run(
    arguments: dict[str, Any],
    folder: RunFolder | None = None,
    begun: Mapping[str, Any] | None = None,
) -> None:
    """Train, test and write a new run, or the one of a folder, with the settings it has begun."""
    refuse_together(arguments)
    asked = SimpleNamespace(**arguments)
    if ranks.joined.rank == 0:
        check_pictures(asked)
    device = options.select_backend(asked.backend)
    device.check_computes("steps")
    asked.backend = device.spec
    device = ranks.choose_device(device)
    with options.usage_error("--compute-dtype"):
        check_compute_dtype(asked.compute_dtype, asked.dtype, device)
    reading = describe_reading(asked)
    with limit_memory(asked.memory_limit):
        fingerprints = run_folder.compute_fingerprints(asked.data)
        known: dict[str, Any] = {
            "anyback_nn": __version__,
            "asked": vars(asked),
            "epochs": asked.epochs,
            "test_file": find_fingerprint(asked.test_file),
            "versions": list_versions(device),
        }
        if begun is not None:
            # The learning rate keeps the plan of the beginning.
            known["epochs"] = begun.get("epochs", asked.epochs)
            require_same_data(asked, begun, fingerprints, known["test_file"])
        dataset = load(asked.data, **reading)
    if asked.class_weight is not None and dataset.task == "regression":
        raise typer.BadParameter(
            "a continuous target has no classes: leave it out, or use --task classification",
            param_hint="'--class-weight'",
        )
    model = recipe.build_model(
        dataset,
        device,
        hidden=asked.hidden,
        activation=asked.activation,
        dropout=asked.dropout,
        seed=asked.seed,
        dtype=asked.dtype,
        compute_dtype=asked.compute_dtype,
        loss=asked.loss,
    )
    parts = divide(asked.data, dataset, asked.validation)
    watches = asked.watch and ranks.joined.rank == 0
    watch = Watch(Scene.of(dataset, "--watch"), Console(stderr=True)) if watches else None
    film = Film(Scene.of(dataset, "--animate")) if asked.animate else None
    printer = Printer(as_json=asked.json, quiet=asked.quiet)
    fingerprint = next(iter(fingerprints), None)
    known["data"] = vars(TrainingData(fingerprint, reading, len(dataset.x_train)))
    if folder is None:
        folder = run_folder.open_new(asked.output, dataset.name)
    with folder:
        folder.name = dataset.name
        folder.begin(known)
        printer.notes(dataset.notes)
        printer.show(recipe.describe_data(dataset) + "\n")
        printer.show(network_table(model))
        printer.show("")
        activity = ActivityLog() if asked.report else None
        checkpoints = RunCheckpoint(folder, known, asked, printer)
        best_epoch = fit(asked, model, parts, checkpoints, activity, watch, film)
        finish(asked, model, dataset, folder, printer, known, best_epoch, activity)
    if film is not None and ranks.joined.rank == 0:  # the run is whole, whatever becomes of it
        write_film(film, asked.animate, folder.path, printer)


def check_pictures(asked: SimpleNamespace) -> None:
    """Raise unless there is all that --report, --watch and --animate need."""
    if asked.report:
        from anyback_nn.report import require_libraries

        require_libraries()
    if asked.watch:
        require_terminal(Console(stderr=True))
    if asked.animate is not None:
        check_film(asked.animate)


def list_versions(backend: Backend) -> dict[str, str]:
    """Return the versions of what computes."""
    versions = {"anyback-nn": __version__, "Python": platform.python_version()}
    return versions | {"numpy": np.__version__, backend.name: backend.version}


def find_fingerprint(path: Any) -> str | None:
    """Return what tells the contents of a file from others; None if there is no file."""
    return None if path is None else next(iter(run_folder.compute_fingerprints(str(path))), None)


def require_same_data(
    asked: SimpleNamespace,
    begun: Mapping[str, Any],
    fingerprints: Sequence[str],
    test_file: str | None,
) -> None:
    """Raise `AnybackError` if a run is resumed with other files than those it was begun with."""
    changed = None
    # What cannot be read is told by what reads it.
    if fingerprints and begun["data"].get("fingerprint") not in (*fingerprints, None):
        changed = asked.data
    if test_file is not None and begun.get("test_file") not in (test_file, None):
        changed = asked.test_file
    if changed is not None:
        raise AnybackError(
            f"{changed} has other contents than when the run was begun: expected the same data. If "
            "the file has moved, name it again"
        )


class RunCheckpoint(Checkpoint):
    """Writes the checkpoints of a run, and its settings again if its folder was removed."""

    def __init__(
        self,
        folder: RunFolder,
        settings: Mapping[str, Any],
        asked: SimpleNamespace,
        printer: Printer,
    ) -> None:
        self.run, self.settings = folder, settings
        super().__init__(
            folder.checkpoints,
            asked.checkpoint_every,
            report=lambda message: printer.notes([message]),
        )

    def save(self, fit: FitContext) -> Path | None:
        path = super().save(fit)
        if path is not None and not (self.run.path / run_folder.SETTINGS).exists():
            with suppress(OSError):
                self.run.begin(self.settings)
        return path


def describe_reading(asked: SimpleNamespace) -> dict[str, Any]:
    """Return the arguments of `anyback_nn.datasets.load`."""
    counts = asked.loss is not None and LOSSES[asked.loss] is Poisson
    task = asked.task
    if asked.loss is not None and task == "auto":
        task = "classification" if LOSSES[asked.loss].classifies else "regression"
    recipe.choose_loss(asked.loss, task)
    return {
        "target": asked.target,
        "task": task,
        "test_fraction": asked.test_share,
        "test_file": None if asked.test_file is None else str(asked.test_file),
        "group": asked.group,
        "time": asked.time,
        "log_target": asked.log_target,
        "center_target": not counts,
        **vars(options.table_options(vars(asked))),
    }


def fit(
    asked: SimpleNamespace,
    model: Model,
    parts: tuple[Any, ...],
    checkpoints: RunCheckpoint,
    activity: ActivityLog | None,
    watch: Watch | None,
    film: Film | None,
) -> int:
    """Train on the parts of `divide`; return the epoch that early stopping has kept, or 0."""
    path, folder = checkpoints.run.path, checkpoints.folder
    stopping = EarlyStopping(asked.early_stopping) if asked.early_stopping else None
    optimizer = recipe.build_optimizer(
        asked.optimizer,
        learning_rate=asked.learning_rate,
        epochs=checkpoints.settings["epochs"] if asked.schedule == "cosine" else None,
        l2=asked.l2,
        clip_norm=asked.clip_norm,
    )
    is_resumed = bool(list_files(folder))
    log = EpochLog() if asked.log else None
    callbacks = [x for x in (stopping, log, activity, checkpoints, watch, film) if x is not None]
    try:
        with nullcontext() if watch is None else closing(watch):
            model.fit(
                *parts[:2],
                # That of the checkpoint, whose schedule may end in another epoch than this run.
                optimizer=None if is_resumed else optimizer,
                epochs=asked.epochs,
                batch_size=asked.batch_size,
                validation=parts[2],
                class_weight=asked.class_weight,
                callbacks=callbacks,
                progress=False if asked.quiet or asked.log or asked.watch else None,
                resume=True,
                on_divergence=asked.on_divergence,
                distributed=ranks.joined,
            )
    except (DivergenceError, OutOfMemoryError) as error:
        if not list_files(folder):
            raise
        more = " --on-divergence rollback" if isinstance(error, DivergenceError) else ""
        raise AnybackError(
            f"{error}. The finished epochs are in {path}. To resume: anyback-nn train --resume "
            f"{path}{more}"
        ) from error
    except (KeyboardInterrupt, SystemExit) as end:
        files = list_files(folder)
        if not files:
            raise
        with suppress(OSError):  # the terminal may be closed
            print_message(
                "error",
                f"interrupted; a checkpoint is in {path} ({files[0].stem}). Resume with: "
                f"anyback-nn train --resume {path}",
            )
        status = end.code if isinstance(end, SystemExit) else 130
        raise typer.Exit(status if isinstance(status, int) else 1) from None
    return stopping.best_epoch if stopping else 0


def finish(
    asked: SimpleNamespace,
    model: Model,
    dataset: Dataset,
    folder: RunFolder,
    printer: Printer,
    known: dict[str, Any],
    best_epoch: int,
    activity: ActivityLog | None,
) -> None:
    """Measure the test part, write the run, and print both; then write its report, if asked to."""
    kept: Any = None
    try:
        with catch_signals():
            # Before anything is printed: what reads the output may be gone, or fail.
            scores = compute_scores(model, dataset.encoding, dataset.x_test, dataset.y_test)
            if ranks.joined.rank:
                return
            result = summarize(model, best_epoch, scores)
            kept = folder.finish(
                model,
                {**known, "result": result},
                activity,
                keep_checkpoints=asked.checkpoint_every is not None,
            )
    except (KeyboardInterrupt, SystemExit):
        # It came too late to interrupt anything.
        if kept is None:
            raise
    written, reason = kept
    printer.show(describe_training(result, asked.epochs) + "\n")
    show_scores(printer, f"{dataset.name}, test part", dataset.encoding, scores)
    judge = choose_judge(model, dataset.encoding, balanced=asked.class_weight is not None)
    explosion = describe_explosion(model, dataset.y_train, result["train_loss"])
    warnings = [*filter(None, (explosion, scores.compare(judge)))]
    printer.notes(warnings)
    printer.end({**result, "output": written}, written=written)
    if activity is not None:
        from anyback_nn.cli.reporting import build_subject, list_scores, write_report

        subject = build_subject(
            *(dataset.name, model, dataset.encoding, dataset, {**known, "result": result}),
            activity=activity.rows,
            scores=list_scores(scores),
            warnings=warnings,
        )
        write_report(subject, written / run_folder.REPORT)
        printer.show(f"report written to {written / run_folder.REPORT}")
    if reason is not None:
        raise AnybackError(f"{reason}. The run was written to {written} instead")


def write_film(film: Film, path: Path, run: Path, printer: Printer) -> None:
    """Write the film of a run that is finished."""
    try:
        film.write(path, quiet=printer.quiet)
    except KeyboardInterrupt:
        print_message("error", f"interrupted; {run} is complete, and {path} was not written")
        raise typer.Exit(130) from None
    if first := film.frames[0].epoch:
        printer.notes([f"{path} begins after epoch {first}, where the run was resumed"])
    printer.show(f"film written to {path}")


def refuse_together(asked: dict[str, Any]) -> None:
    """Raise `typer.BadParameter` if options contradict each other."""
    if asked["early_stopping"] is not None and not asked["validation"]:
        raise typer.BadParameter(
            "there is no validation loss to watch: set --validation above 0",
            param_hint="'--early-stopping'",
        )
    for name in ("quiet", "log"):
        if asked["watch"] and asked[name]:
            raise typer.BadParameter(
                f"--{name} wants another output: leave one of them out", param_hint="'--watch'"
            )
    if asked["log_target"] and LOSSES.get(asked["loss"]) is Poisson:
        raise typer.BadParameter(
            "it predicts the logarithm itself: leave --log-target out", param_hint="'--loss'"
        )


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
        table.add_row(write_settings(layer), f"(rows, {row.output_shape[1]})", parameters)
    table.add_section()
    table.add_row("total", "", f"{model.layout.size:,}", style="bold")
    return table


def summarize(model: Model, best_epoch: int, scores: Scores) -> dict[str, Any]:
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

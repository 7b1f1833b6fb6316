"""The sections on the network and on the course of its training."""

from __future__ import annotations

from collections.abc import Mapping

from anyback_nn.plotting.learning_curves import LearningCurvesDisplay, find_best, find_curves
from anyback_nn.plotting.network_diagram import NetworkDiagramDisplay
from anyback_nn.report.content import Picture, Section, Table, shorten
from anyback_nn.report.drawing import draw
from anyback_nn.report.subject import Subject
from anyback_nn.training.history import History
from anyback_nn.utils.arguments import write_settings
from anyback_nn.utils.messages import plural

__all__ = ["describe_network", "describe_settings", "describe_training"]

OVERFITTED = 1.25
"""The validation loss over the best one above which a model has learned its rows by heart."""

MONITOR = "validation_loss"
"""By which the best epoch is chosen."""

MOST_METRICS = 6

MOST_BESIDE = 4
"""The number of columns of the diagram of a network that is next to the table of its layers."""


def describe_settings(subject: Subject) -> Section:
    """Show what is known of the training, and how to repeat it."""
    tables, text = [], []
    if subject.facts:
        tables.append(Table((), [*subject.facts.items()], n_strings=2))
    if subject.options:
        tables.append(Table(("option", "value"), [*subject.options.items()], n_strings=2))
    if subject.command:
        text.append(
            "This command trains the same model again, with the same versions and the same data:"
        )
    return Section("settings", "Settings and data", text, tables=tables, command=subject.command)


def describe_network(subject: Subject) -> Section:
    """Show the layers, with the shapes of their outputs and their parameters."""
    model = subject.model
    rows = [("Input", f"(rows,\u00a0{model.n_in})", "")]
    for layer, row in zip(model.network.layers, model.summary()):
        shape, count = f"(rows,\u00a0{row.output_shape[1]})", f"{row.parameters:,}"
        rows.append((shorten(write_settings(layer), 60), shape, count if row.parameters else ""))
    rows.append(("total", "", f"{model.layout.size:,}"))
    n_columns = 1 + sum(row.parameters > 0 for row in model.summary())
    caption = "The layers from the input to the output, with the number of their units."
    picture = draw(
        lambda ax: NetworkDiagramDisplay.from_estimator(model, ax=ax),
        caption,
        size=(max(4.2, 1.05 * n_columns), 3.0),
    )
    table = Table(("layer", "output shape", "parameters"), rows, n_strings=2)
    is_small = n_columns <= MOST_BESIDE
    return Section("network", "Network", tables=[table], pictures=[picture], is_beside=is_small)


def describe_training(subject: Subject) -> Section:
    """Show the loss and the metrics of every epoch, with the best one."""
    history = subject.model.history
    title = "Training"
    if not history.rows:
        return Section("training", title, ["The model has no history: it was not trained."])
    curves = find_curves(history)
    best = find_best(history, MONITOR) if MONITOR in history.names else None
    shown = list(curves.items())[:MOST_METRICS]
    pictures = [draw_curve(history, name, parts, best) for name, parts in shown]
    return Section(
        "training",
        title,
        [describe_end(subject, best)],
        warn_of_overfitting(subject, best),
        pictures=pictures,
    )


def draw_curve(
    history: History, name: str, parts: Mapping[str, list[float]], best: int | None
) -> Picture:
    """Draw one value in training and validation, and mark the best epoch."""
    words = name.upper() if name == "r2" else name.replace("_", " ")
    whens = {
        "training": "in training, while the parameters change",
        "validation": "of the validation rows at its end",
    }
    caption = f"The {words} of each epoch: {', and '.join(whens[part] for part in parts)}."
    if best is not None and name == "loss":
        caption += f" Epoch {best} has the lowest validation loss."
    display = LearningCurvesDisplay(
        epochs=history["epoch"],
        curves={name: parts},
        best_epoch=best,
        monitor=MONITOR,
    )
    return draw(display.plot, caption)


def describe_end(subject: Subject, best: int | None) -> str:
    """Return how long training took, and which epoch the model is of."""
    history = subject.model.history
    seconds = sum(row.get("seconds", 0.0) for row in history)
    sentence = f"{plural(len(history), 'epoch')} in {seconds:.1f} s"
    if best is not None:
        sentence += f"; epoch {best} has the lowest validation loss"
    if subject.kept_epoch is not None and subject.kept_epoch != len(history):
        sentence += f", and the model has the parameters of epoch {subject.kept_epoch}"
    return f"{sentence}."


def warn_of_overfitting(subject: Subject, best: int | None) -> list[str]:
    """Return a warning if the validation loss has risen since the best epoch."""
    history = subject.model.history
    if best is None:
        return []
    kept = history.rows[(subject.kept_epoch or len(history)) - 1]
    lowest = history.rows[best - 1][MONITOR]
    now = kept.get(MONITOR, lowest)
    if now <= OVERFITTED * lowest or lowest <= 0:
        return []
    return [
        f"the validation loss was lowest in epoch {best}, {lowest:.4g}, and is {now:.4g} in the "
        f"epoch of the model, {kept['epoch']}: it seems to have learned its rows by heart. Try "
        "--early-stopping 10, more --dropout, --l2, or fewer units."
    ]

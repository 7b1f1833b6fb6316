"""How well a model predicts rows whose targets are known, and how well a constant would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from anyback_nn.array_api import to_numpy
from anyback_nn.cli import ranks
from anyback_nn.cli.metrics import count_confusion, score_classes, score_values
from anyback_nn.cli.printing import Printer, create_label, create_table
from anyback_nn.datasets import Encoding
from anyback_nn.datasets.targets import target_names
from anyback_nn.model import Model
from anyback_nn.network.losses import MeanSquaredError
from anyback_nn.training.evaluation import evaluate_and_predict, require_same
from anyback_nn.training.fit import batch_arrays, check_arrays
from anyback_nn.utils.messages import cut, plural, quoted_list

__all__ = [
    "Scores",
    "choose_judge",
    "compute_scores",
    "confusion_table",
    "label",
    "show_scores",
    "write_score",
]

LABELS = {"r2": "R2", "f1_macro": "F1 (macro)", "roc_auc": "ROC AUC"}
BATCH_SIZE = 4096
MOSTLY_ONE_CLASS = 0.8
"""The share of the most frequent class above which the others are rare."""

MOST_PAIRS = 10
"""The largest number of rows in the table of confused classes."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores by their names, beside those of the best constant prediction.

    Parameters
    ----------
    n_rows : int
    values : dict of str to float
    baseline : dict of str to float
        Those of always predicting the same, where it has them.
    constant : str
        What the baseline predicts.
    confusion : ndarray of int, shape (n_classes, n_classes), optional
        Actual classes on the first axis, predicted ones on the second.
    targets : dict of str to Scores
        Those of each of several targets.
    """

    n_rows: int
    values: dict[str, float]
    baseline: dict[str, float]
    constant: str
    confusion: Any = None
    targets: dict[str, Scores] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of them."""
        result: dict[str, Any] = {**self.values, "baseline": self.baseline}
        if self.targets:
            result["targets"] = {name: part.to_json() for name, part in self.targets.items()}
        return result

    def compare(self, judge: str) -> str | None:
        """Return a sentence if the model, or one of several targets, is not above the baseline.

        They are compared by the score ``judge``, see `choose_judge`.
        """
        if self.targets:
            worse = {n: part for n, part in self.targets.items() if not part.beats_baseline(judge)}
            subject = f"the {label(judge)} of {quoted_list(worse)} is not better than that of "
        else:
            worse = {} if self.beats_baseline(judge) else {"": self}
            value, constant = self.values[judge], self.baseline[judge]
            subject = f"the {label(judge)}, {value:.4g}, is not better than the {constant:.4g} of "
        if not worse:
            return None
        advice = "Try more epochs, another learning rate, or other features"
        if judge == "accuracy" and self.baseline[judge] > MOSTLY_ONE_CLASS:
            advice += "; or --class-weight balanced, if the rare classes are what counts"
        error = "mean_absolute_error"
        if judge == "r2" and all(part.beats_baseline(error) for part in worse.values()):
            reason = f", though the {label(error)} is: some rows are predicted far off"
        else:
            reason = f": the model is of no use for {'them' if self.targets else 'these rows'}"
        return f"{subject}{self.constant}{reason}. {advice}"

    def beats_baseline(self, judge: str) -> bool:
        """Return whether a score is better than that of the baseline, or none can be."""
        value, constant = self.values[judge], self.baseline[judge]
        if judge.endswith("error"):
            return value < constant or constant == 0.0  # all targets are the same
        return value > constant or constant == 1.0


def label(name: str) -> str:
    """Return the words for a score."""
    return LABELS.get(name, name.replace("_", " "))


def choose_judge(model: Model, encoding: Encoding, *, balanced: bool) -> str:
    """Choose the score that training aims at; ``balanced`` if all classes weighed the same."""
    if encoding.classes is not None:
        return "balanced_accuracy" if balanced else "accuracy"
    aims_at_mean = isinstance(model.loss, MeanSquaredError)
    return "r2" if aims_at_mean or encoding.n_outputs > 1 else "mean_absolute_error"


def compute_scores(model: Model, encoding: Encoding, x: Any, y: Any) -> Scores:
    """Compute the scores of a model, in one pass over encoded rows, which ranks share.

    They are ``loss`` and those of `score_classes` or `score_values`, the latter in the target's own
    units. The baseline always predicts the most frequent class, or the mean, of the same rows.
    """
    with model.backend.scope(model.dtype):
        rows = check_arrays(model, x, y, None)
        source = batch_arrays(model, rows, BATCH_SIZE, resident=False, ranks=ranks.joined)
        require_same(model, source)
        means, outputs = evaluate_and_predict(model, source)
        predicted = to_numpy(model.loss.link(outputs))
        classes = to_numpy(model.loss.decide(outputs)) if encoding.classes is not None else None
    loss = {"loss": means["loss"]}
    if encoding.classes is not None:
        return _score_classes(loss, y, predicted, classes, encoding.classes)
    if encoding.n_outputs == 1:
        actual = encoding.decode(y)
        return _score_values(loss, actual, encoding.decode(predicted[:, 0]))
    names = target_names(encoding.target)
    columns = zip(names, encoding.decode(y).T, encoding.decode(predicted).T)
    targets = {name: _score_values({}, *pair) for name, *pair in columns}
    r2, constant = (
        float(np.mean([getattr(part, side)["r2"] for part in targets.values()]))
        for side in ("values", "baseline")
    )
    first, *_ = targets.values()
    return Scores(len(x), {**loss, "r2": r2}, {"r2": constant}, first.constant, targets=targets)


def _score_classes(
    loss: dict[str, float], y: Any, probabilities: Any, predicted: Any, labels: tuple[str, ...]
) -> Scores:
    confusion = count_confusion(y, predicted, len(labels))
    most = int(confusion.sum(axis=1).argmax())
    always = np.zeros_like(confusion)
    always[:, most] = confusion.sum(axis=1)
    return Scores(
        len(y),
        loss | score_classes(y, probabilities, confusion),
        score_classes(y, np.zeros(probabilities.shape), always),
        f"always predicting {cut(labels[most])!r}, the most frequent class",
        confusion,
    )


def _score_values(loss: dict[str, float], actual: Any, predicted: Any) -> Scores:
    mean = np.broadcast_to(actual.mean(), actual.shape)
    baseline = score_values(actual, mean)
    return Scores(
        len(actual),
        loss | score_values(actual, predicted),
        # Rounding of the mean is no score.
        baseline | {"r2": float(actual.min() == actual.max())},
        "always predicting the mean",
    )


def show_scores(printer: Printer, source: str, encoding: Encoding, scores: Scores) -> None:
    """Print the scores and, unless asked to be quiet, which classes were confused."""
    width = max(len(label(name)) for name in scores.values)
    printer.show(
        create_label(f"{source}: {plural(scores.n_rows, 'row')}", "bold", 1000), even_if_quiet=True
    )
    for name, value in scores.values.items():
        line = f"  {label(name):<{width}}  {write_score(name, value)}"
        if name in scores.baseline:
            line += f"  (baseline {write_score(name, scores.baseline[name])})"
        elif encoding.classes is None:
            line += " (of the standardised target)"
        printer.show(line, even_if_quiet=True)
    if scores.targets:
        printer.show(targets_table(scores.targets), even_if_quiet=True)
    errors = " Errors are in units of the target." if encoding.classes is None else ""
    printer.show(f"  Baseline: {scores.constant}.{errors}")
    if encoding.classes is not None:
        printer.show("")
        printer.show(confusion_table(scores.confusion, encoding.classes, Console().width))
        printer.show("")


def write_score(name: str, value: float) -> str:
    """Return a score as it is shown."""
    return f"{value:.6g}" if name.endswith("error") else f"{value:.4f}"


def targets_table(targets: dict[str, Scores]) -> Table:
    """Create the table of the scores of each target, with the errors of the baseline."""
    names = ("r2", "mean_absolute_error", "root_mean_squared_error")
    headers = ("R2", "mean abs. error", "baseline", "root mean sq. error", "baseline ")
    table = create_table("target", *headers, numeric=headers)
    for target, scores in targets.items():
        cells = [write_score("r2", scores.values["r2"])]
        for name in names[1:]:
            cells += [write_score(name, part[name]) for part in (scores.values, scores.baseline)]
        table.add_row(create_label(target), *cells)
    return table


def confusion_table(counts: Any, labels: tuple[str, ...], width: int) -> Table:
    """Create the table of how many rows of each class were predicted as which class.

    The actual classes are on the first axis of ``counts``, the predicted ones on the second. If the
    matrix is wider than ``width``, the table has the most confused pairs of classes instead.
    """
    table = create_table("actual \\ predicted", *labels, numeric=labels)
    for i, label in enumerate(labels):
        cells = (
            Text(f"{count:,}" if count else ".", style="bold" if i == j else "")
            for j, count in enumerate(counts[i].tolist())
        )
        table.add_row(create_label(label), *cells)
    unlimited = Console(width=100_000)
    fits = Measurement.get(unlimited, unlimited.options, table).maximum <= width
    return table if fits else _confused_pairs(counts, labels)


def _confused_pairs(counts: Any, labels: tuple[str, ...]) -> Table:
    """Create the table of the pairs of classes that were confused most often."""
    table = create_table(
        *("actual", "predicted", "rows", "of the class"), numeric=["rows", "of the class"]
    )
    totals = counts.sum(axis=1).tolist()
    pairs = [
        (count, i, j)
        for i, row in enumerate(counts.tolist())
        for j, count in enumerate(row)
        if count and i != j
    ]
    for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:MOST_PAIRS]:
        names = (create_label(labels[i]), create_label(labels[j]))
        table.add_row(*names, f"{count:,}", f"{count / totals[i]:.1%}")
    table.title = "The most confused classes" if pairs else "No classes were confused"
    table.title_justify, table.title_style = "left", "none"
    return table

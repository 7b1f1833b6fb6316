"""The section on classes: what is taken for what, how well they are ranked, and how sure."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback_nn.report.content import Picture, Section, Table, shorten
from anyback_nn.report.drawing import draw, find_colors, sequential
from anyback_nn.report.subject import Subject

__all__ = ["describe_classes"]

MOST_CELLS = 12
"""The largest number of classes whose confusion matrix is a picture."""

MOST_CURVES = 10
"""The largest number of classes that have a curve each."""

MOST_PAIRS = 12
"""The number of rows in the table of confused classes."""


def describe_classes(subject: Subject) -> Section:
    """Compare the predicted classes of the test part with the actual ones."""
    labels, actual, probabilities = subject.classes, subject.actual, subject.predicted
    assert labels is not None
    names = [shorten(label, 16) for label in labels]
    predicted = probabilities.argmax(axis=1)
    pictures, tables, text = [], [], []
    if len(names) <= MOST_CELLS:
        pictures.append(draw_confusion(actual, predicted, names))
    else:
        tables.append(list_confused(actual, predicted, names))
    ranked = find_ranked(actual, len(names))
    if len(ranked) < (1 if len(names) == 2 else len(names)):
        text.append(
            "Classes without a row, or with all rows of the test part, have no curve: there is "
            "nothing to tell them from."
        )
    if ranked:
        pictures += draw_curves(actual, probabilities, names, ranked)
    pictures.append(draw_calibration(actual, probabilities, names))
    return Section("classes", "Classes", text=text, tables=tables, pictures=pictures)


def find_ranked(actual: Any, n_classes: int) -> list[int]:
    """Return the classes that have a curve: the second of two, or each against the others."""
    counts = np.bincount(actual, minlength=n_classes)
    candidates = [1] if n_classes == 2 else range(n_classes)
    return [c for c in candidates if 0 < counts[c] < len(actual)]


def draw_confusion(actual: Any, predicted: Any, names: list[str]) -> Picture:
    """Draw how many rows of each class were predicted as which class."""
    from sklearn.metrics import ConfusionMatrixDisplay

    are_long = max(map(len, names)) > 3

    def plot(ax: Any) -> None:
        display = ConfusionMatrixDisplay.from_predictions(
            actual,
            predicted,
            labels=range(len(names)),
            display_labels=names,
            cmap=sequential(),
            colorbar=False,
            text_kw={"color": find_colors()["ink"], "fontsize": 9 if len(names) > 6 else 11},
            ax=ax,
        )
        for cell in display.text_.ravel():
            cell.set_alpha(0.35 if cell.get_text() == "0" else 1.0)
        ax.set(xlabel="predicted", ylabel="actual")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        for label in ax.get_xticklabels() if are_long and len(names) > 2 else ():
            label.set(rotation=40, ha="right", rotation_mode="anchor")

    caption = (
        "Confusion matrix: how many rows of each class (down) were predicted as which (across)."
    )
    return draw(plot, caption, size=(4.2, 4.0))


def list_confused(actual: Any, predicted: Any, names: list[str]) -> Table:
    """List the pairs of classes that were confused most often."""
    pairs, counts = np.unique(
        np.stack([actual, predicted])[:, actual != predicted], axis=1, return_counts=True
    )
    totals = np.bincount(actual, minlength=len(names))
    rows = [
        (names[i], names[j], f"{counts[k]:,}", f"{counts[k] / totals[i]:.1%}")
        for k in np.argsort(-counts, kind="stable")[:MOST_PAIRS]
        for i, j in [pairs[:, k]]
    ]
    return Table(("actual", "predicted", "rows", "of the class"), rows, n_strings=2)


def draw_curves(
    actual: Any, probabilities: Any, names: list[str], ranked: list[int]
) -> list[Picture]:
    """Draw ROC and precision-recall curves, those of the worst classes if there are many."""
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, roc_auc_score

    binary, shown = len(names) == 2, ranked
    if len(ranked) > MOST_CURVES:
        areas = [roc_auc_score(actual == c, probabilities[:, c]) for c in ranked]
        worst = np.argsort(areas, kind="stable")[: MOST_CURVES - 1]
        shown = [ranked[i] for i in worst]
    curves = [(names[c], actual == c, probabilities[:, c]) for c in shown]
    if shown is not ranked:
        one_hot = actual[:, None] == np.arange(len(names))
        curves.insert(0, ("all together", one_hot.ravel(), probabilities.ravel()))
    which = f"the class {names[1]!r}" if binary else "each class against all others"
    if shown is not ranked:
        which = f"all classes together, and the {len(shown)} that are told apart worst"
    height = 3.6 + (0.0 if binary else 0.2 * ((len(curves) + 1) // 2) + 0.4)

    def create_plot(display: Any, short: str, attribute: str, words: str, **axes: Any) -> Any:
        def plot(ax: Any) -> None:
            chance = {"color": find_colors()["soft"], "linestyle": ":", "label": "_chance"}
            labels = {}
            for name, is_class, scores in curves:
                curve = display.from_predictions(
                    is_class,
                    scores,
                    name=None,
                    ax=ax,
                    drop_intermediate=True,
                    plot_chance_level=binary,
                    chance_level_kw=chance,
                )
                area = getattr(curve, attribute)
                labels[curve.line_] = (
                    f"{name} ({short} {area:.3f})" if binary else f"{name} {area:.3f}"
                )
            ax.set(**axes)
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2}
            options = {} if binary else {**below, "title": words, "title_fontsize": 9}
            # Without these arguments, Matplotlib leaves out names that begin with an underscore.
            ax.legend(list(labels), list(labels.values()), **options)

        return plot

    roc = create_plot(
        RocCurveDisplay,
        "AUC",
        "roc_auc",
        "area below the curve",
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    recall = create_plot(
        PrecisionRecallDisplay,
        "AP",
        "average_precision",
        "average precision",
        xlabel="recall",
        ylabel="precision",
    )
    return [
        draw(
            roc,
            f"ROC curve of {which}: the share of its rows that are found, against the share of "
            "other rows that are taken for it. The number is the area below the curve; 1 is best, "
            "0.5 is chance.",
            size=(4.2, height),
        ),
        draw(
            recall,
            f"Precision and recall of {which}: how many of the rows that are taken for it are of "
            "it, against how many of its rows are found. The number is the average precision.",
            size=(4.2, height),
        ),
    ]


def draw_calibration(actual: Any, probabilities: Any, names: list[str]) -> Picture:
    """Draw whether what is predicted with a probability happens as often."""
    from sklearn.calibration import CalibrationDisplay

    if len(names) == 2:
        happened, stated = actual == 1, probabilities[:, 1]
        what, right = f"of the class {names[1]!r}", f"share of rows that are {names[1]}"
    else:
        happened, stated = probabilities.argmax(axis=1) == actual, probabilities.max(axis=1)
        what, right = "of the predicted class", "share of rows in which it was right"
    n_bins = max(2, min(10, len(actual) // 20))

    def plot(ax: Any) -> None:
        CalibrationDisplay.from_predictions(
            happened,
            np.clip(stated, 0.0, 1.0),
            n_bins=n_bins,
            strategy="quantile",
            ax=ax,
            pos_label=True,
            markersize=5,
        )
        ax.set(xlabel=f"mean probability {what}"[:44], ylabel=right)
        ax.get_legend().remove()
        ax.grid(alpha=0.5)

    caption = (
        f"Calibration: the probability {what}, in {n_bins} bins of equally many rows, against how "
        "often it was right. On the dotted line, probabilities can be taken at their word; below "
        "it, the network is too sure."
    )
    return draw(plot, caption, size=(4.2, 3.6))

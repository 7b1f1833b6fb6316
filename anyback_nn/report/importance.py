"""The section on the importance of columns: how much worse the scores are without each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.report.columns import RawColumn, find_image_shape, list_columns
from anyback_nn.report.content import Section, shorten
from anyback_nn.report.drawing import draw, find_colors
from anyback_nn.report.subject import Subject

__all__ = ["UNMEASURED", "Importance", "describe_importance", "measure_importance"]

MOST_COLUMNS = 200
"""With more columns, it is not measured."""

MOST_SHOWN = 20
MOST_VALUES = 4_000_000
"""The number of features that are predicted from, over all permutations."""

REPEATS = 5

TITLE = "Importance of the columns"


@dataclass(frozen=True, eq=False)
class Importance:
    """The permutation importance of columns, the most important one first.

    Parameters
    ----------
    columns : list of RawColumn
    means, deviations : ndarray, shape (n_columns,)
        The drop of the score when the values of a column are shuffled, over several permutations.
    score : str
        The name of the score.
    n_rows : int
    """

    columns: list[RawColumn]
    means: np.ndarray
    deviations: np.ndarray
    score: str
    n_rows: int


def measure_importance(subject: Subject) -> Importance | None:
    """Measure on rows of the test part; None for images, and for very many columns."""
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import accuracy_score, r2_score

    dataset, encoding = subject.dataset, subject.encoding
    assert dataset is not None
    assert encoding is not None
    columns = list_columns(encoding)
    if find_image_shape(encoding) is not None or len(columns) > MOST_COLUMNS:
        return None
    x, actual = dataset.x_test, subject.actual
    n_rows = min(len(x), max(100, MOST_VALUES // (len(columns) * REPEATS * x.shape[1])))
    if n_rows < 2:
        return None
    rows = np.sort(np.random.default_rng(0).choice(len(x), size=n_rows, replace=False))
    classifies = subject.classes is not None

    def measure(_: object, table: Any, y: Any) -> float:
        predicted = subject.predict(_take_columns(x, table, columns))
        if classifies:
            return float(accuracy_score(y, predicted.argmax(axis=1)))
        return float(r2_score(y, predicted))

    # scikit-learn shuffles row numbers, not values: the features of one column stay together.
    table = np.repeat(rows[:, None], len(columns), axis=1)
    result = permutation_importance(
        _Nothing(), table, actual[rows], scoring=measure, n_repeats=REPEATS, random_state=0
    )
    order = np.argsort(-result.importances_mean, kind="stable")
    return Importance(
        [columns[i] for i in order],
        result.importances_mean[order],
        result.importances_std[order],
        "accuracy" if classifies else "R2",
        n_rows,
    )


UNMEASURED = Section(
    "importance",
    TITLE,
    [
        f"Not measured: it is for tables of at most {MOST_COLUMNS} columns, not for images, and "
        "needs two rows of the test part."
    ],
)
"""In place of `describe_importance`."""


class _Nothing:
    """Stands for an estimator: the score knows the model itself."""

    def fit(self) -> None:
        """Do nothing; scikit-learn looks for the method."""


def _take_columns(x: np.ndarray, table: np.ndarray, columns: list[RawColumn]) -> np.ndarray:
    """Take each column from its own rows; ``table`` has the number of the row for each column."""
    taken = np.empty((len(table), x.shape[1]), dtype=x.dtype)
    for rows, column in zip(table.T, columns):
        taken[:, column.start : column.stop] = x[rows, column.start : column.stop]
    return taken


def describe_importance(importance: Importance) -> Section:
    """Draw the importance of the columns."""
    n = min(len(importance.columns), MOST_SHOWN)
    names = [shorten(column.name) for column in importance.columns[:n]]
    colors = find_colors()

    def plot(ax: Any) -> None:
        ax.barh(
            range(n),
            importance.means[:n],
            xerr=importance.deviations[:n],
            color=colors["blue"],
            ecolor=colors["soft"],
            height=0.7,
        )
        ax.set_yticks(range(n), names)
        ax.set_ylim(n - 0.4, -0.6)
        ax.axvline(0.0, color=colors["soft"], linewidth=0.8)
        ax.set_xlabel(f"drop of the {importance.score}")
        ax.grid(axis="x", alpha=0.5)

    caption = (
        f"Permutation importance: how far the {importance.score} falls when the values of a column "
        f"are shuffled among {importance.n_rows:,} rows of the test part, {REPEATS} times (mean "
        "and standard deviation)."
    )
    text = ["Columns that say the same share their importance: each looks less important alone."]
    if n < len(importance.columns):
        text.append(f"These are the first {n} of {len(importance.columns)} columns.")
    picture = draw(plot, caption, size=(4.2, 1.0 + 0.23 * n))
    return Section("importance", TITLE, text=text, pictures=[picture])

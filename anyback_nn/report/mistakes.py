"""The section on mistakes: the rows that were predicted wrong with the most certainty."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback_nn.report.columns import RawColumn, find_image_shape
from anyback_nn.report.content import Card, Section, Table, shorten
from anyback_nn.report.subject import Subject

__all__ = ["describe_mistakes"]

MOST_IMAGES, MOST_ROWS, MOST_COLUMNS = 24, 10, 8


def describe_mistakes(
    subject: Subject, columns: Sequence[RawColumn], *, are_ranked: bool = False
) -> Section:
    """Show the most confident mistakes, or the largest errors.

    The first ``columns`` are shown: the most important ones, if they ``are_ranked``.
    """
    assert subject.dataset is not None
    assert subject.encoding is not None
    x, labels = subject.dataset.x_test, subject.classes
    if labels is None:
        return _describe_errors(subject, columns, are_ranked)
    probabilities, actual = subject.predicted, subject.actual
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    (wrong,) = np.nonzero(predicted != actual)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    title = "The most confident mistakes"
    if not len(wrong):
        return Section(
            "mistakes", title, [f"None: all {len(x):,} rows of the test part are right."]
        )
    text = [f"{len(wrong):,} of the {len(x):,} rows of the test part are wrong."]
    shape = find_image_shape(subject.encoding)
    names = [shorten(label, 16) for label in labels]
    if shape is not None:
        cards = [
            Card(
                draw_image(x[i].reshape(shape)),
                (f"predicted {names[predicted[i]]} ({sure[i]:.0%})", f"actual {names[actual[i]]}"),
            )
            for i in wrong[:MOST_IMAGES]
        ]
        return Section("mistakes", title, text, cards=cards)
    shown = list(columns[:MOST_COLUMNS])
    rows = [
        (names[actual[i]], names[predicted[i]], f"{sure[i]:.1%}", *_write(shown, x[i]))
        for i in wrong[:MOST_ROWS]
    ]
    head = ("actual", "predicted", "sure", *(shorten(column.name) for column in shown))
    text += _say_which(columns, are_ranked)
    return Section("mistakes", title, text, tables=[Table(head, rows, n_strings=2)])


def _describe_errors(subject: Subject, columns: Sequence[RawColumn], are_ranked: bool) -> Section:
    """List the rows with the largest errors, in units of each target's standard deviation."""
    assert subject.dataset is not None
    assert subject.encoding is not None
    x, actual, predicted = subject.dataset.x_test, subject.actual, subject.predicted
    spread = actual.std(axis=0)
    size = np.abs(predicted - actual) / np.where(spread > 0, spread, 1.0)
    order = np.argsort(-size.max(axis=1), kind="stable")[:MOST_ROWS]
    names, shown = subject.target_names, list(columns[:MOST_COLUMNS])
    text = ["The error is the predicted value less the actual one."]
    title, rows, head = "The largest errors", [], []
    shape = find_image_shape(subject.encoding)
    if shape is not None and len(names) == 1:
        cards = [
            Card(
                draw_image(x[i].reshape(shape)),
                (f"predicted {predicted[i, 0]:.4g}", f"actual {actual[i, 0]:.4g}"),
            )
            for i in order
        ]
        return Section("mistakes", title, text, cards=cards)
    if len(names) == 1:
        head = ["actual", "predicted", "error"]
        for i in order:
            a, p = actual[i, 0], predicted[i, 0]
            rows.append((f"{a:.5g}", f"{p:.5g}", f"{p - a:+.4g}", *_write(shown, x[i])))
    else:
        head = ["target", "actual", "predicted", "error"]
        for i in order:
            j = int(size[i].argmax())
            a, p = actual[i, j], predicted[i, j]
            cells = (shorten(names[j]), f"{a:.5g}", f"{p:.5g}", f"{p - a:+.4g}")
            rows.append((*cells, *_write(shown, x[i])))
    head += [shorten(column.name) for column in shown]
    text += _say_which(columns, are_ranked)
    table = Table(head, rows, n_strings=int(len(names) > 1))
    return Section("mistakes", title, text, tables=[table])


def _write(columns: Sequence[RawColumn], features: np.ndarray) -> list[str]:
    return [shorten(column.write(features)) for column in columns]


def _say_which(columns: Sequence[RawColumn], are_ranked: bool) -> list[str]:
    if len(columns) <= MOST_COLUMNS:
        return []
    which = "most important" if are_ranked else "first"
    return [f"The columns are the {MOST_COLUMNS} {which} ones of {len(columns)}."]


def draw_image(values: Any) -> str:
    """Return a gray image as a ``data:`` URL; black is 0 and white is 1."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, values, cmap="gray", vmin=0.0, vmax=1.0, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

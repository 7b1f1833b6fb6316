"""From a subject to a page."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import anyback_nn
from anyback_nn.errors import AnybackError
from anyback_nn.pages import build_page
from anyback_nn.report.activity import describe_activity
from anyback_nn.report.classes import describe_classes
from anyback_nn.report.columns import list_columns
from anyback_nn.report.content import Section, Table
from anyback_nn.report.importance import UNMEASURED, describe_importance, measure_importance
from anyback_nn.report.mistakes import describe_mistakes
from anyback_nn.report.subject import Subject
from anyback_nn.report.training import describe_network, describe_settings, describe_training
from anyback_nn.report.values import describe_values
from anyback_nn.report.weights import describe_weights
from anyback_nn.utils.arguments import require_extra

__all__ = ["build_report", "require_libraries"]


def require_libraries() -> None:
    """Raise `AnybackError` unless the libraries that draw and write a report are installed."""
    for module in ("jinja2", "matplotlib", "sklearn"):
        require_extra(module, "report", "a report", AnybackError)


def build_report(subject: Subject) -> str:
    """Build the page of a report: one file that opens from disk, and requests nothing.

    Parameters
    ----------
    subject : Subject
        What it is about. Without data or activity, the parts that need them say so.

    Raises
    ------
    AnybackError
        A library is missing; the message says how to install it.
    """
    require_libraries()
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader(__package__),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The pictures are ours, and their text is escaped.
    environment.filters["as_element"] = Markup
    sections = [section for section in list_sections(subject) if not section.is_empty]
    body = environment.get_template("report.html").render(
        title=subject.title,
        version=anyback_nn.__version__,
        tiles=list_tiles(subject),
        sections=sections,
    )
    style = (files(__package__) / "report.css").read_text(encoding="utf-8")
    return build_page(f"Report: {subject.title}", body, styles=[style])


def list_tiles(subject: Subject) -> list[tuple[str, str]]:
    """List the numbers that matter most, with their names."""
    scores = [(score.name, score.value) for score in subject.scores if score.baseline]
    rows = [] if subject.dataset is None else [("test rows", f"{len(subject.dataset.x_test):,}")]
    sizes = [
        (name, subject.facts[name])
        for name in ("parameters", "epochs", "seconds")
        if name in subject.facts
    ]
    return [*scores[:2], *rows, *sizes]


def list_sections(subject: Subject) -> Iterator[Section]:
    """Describe all that is known of the subject, section by section."""
    yield describe_scores(subject)
    yield describe_settings(subject)
    yield describe_network(subject)
    yield describe_training(subject)
    if subject.dataset is not None and len(subject.dataset.x_test):
        importance = measure_importance(subject)
        assert subject.encoding is not None
        ranked = importance is not None
        columns = importance.columns if importance else list_columns(subject.encoding)
        yield describe_values(subject) if subject.classes is None else describe_classes(subject)
        yield describe_mistakes(subject, columns, are_ranked=ranked)
        yield describe_importance(importance) if importance else UNMEASURED
    if (weights := describe_weights(subject)) is not None:
        yield weights
    yield describe_activity(subject.activity)


def describe_scores(subject: Subject) -> Section:
    """Show the scores of the test part next to those of the best constant prediction."""
    rows = [(score.name, score.value, score.baseline) for score in subject.scores]
    tables = [Table(("score", "model", "baseline"), rows)] if rows else []
    text = ["Measured on the test part, which training has not seen."] if rows else []
    if subject.missing:
        text.append(
            f"The data are not here ({subject.missing}): curves, mistakes and the importance of "
            "columns are left out."
        )
    return Section("scores", "Scores", text, subject.warnings, tables)

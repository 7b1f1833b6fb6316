"""The section on continuous targets: predicted against actual values, and residuals."""

from __future__ import annotations

from typing import Any

from anyback_nn.report.content import Picture, Section, shorten
from anyback_nn.report.drawing import draw, find_colors
from anyback_nn.report.subject import Subject

__all__ = ["describe_values"]

MOST_TARGETS = 6
"""The number of targets that have pictures."""

MOST_POINTS = 400
"""The number of rows in a picture, drawn at random."""


def describe_values(subject: Subject) -> Section:
    """Compare the predicted values of the test part with the actual ones."""
    names = subject.target_names
    pictures: list[Picture] = []
    columns = zip(names[:MOST_TARGETS], subject.actual.T, subject.predicted.T)
    for name, actual, predicted in columns:
        pictures += draw_errors(shorten(name), actual, predicted)
    text = []
    if len(subject.actual) > MOST_POINTS:
        text.append(f"The pictures have {MOST_POINTS} of the {len(subject.actual):,} rows.")
    if len(names) > MOST_TARGETS:
        text.append(f"They are of the first {MOST_TARGETS} of the {len(names)} targets.")
    return Section("values", "Predicted values", text=text, pictures=pictures)


def draw_errors(name: str, actual: Any, predicted: Any) -> list[Picture]:
    """Draw predicted against actual values, and the residuals."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter
    from sklearn.metrics import PredictionErrorDisplay

    colors = find_colors()

    def create_plot(kind: str, **axes: Any) -> Any:
        def plot(ax: Any) -> None:
            PredictionErrorDisplay.from_predictions(
                actual,
                predicted,
                kind=kind,
                subsample=min(MOST_POINTS, len(actual)),
                random_state=0,
                ax=ax,
                scatter_kwargs={"color": colors["blue"], "alpha": 0.55, "s": 16, "linewidths": 0},
                line_kwargs={"color": colors["soft"], "linestyle": "--"},
            )
            # scikit-learn divides the range into equal parts, which are not round numbers.
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(5))
                axis.set_major_formatter(ScalarFormatter())
            ax.set(**axes)

        return plot

    against = create_plot(
        "actual_vs_predicted", xlabel=f"predicted {name}", ylabel=f"actual {name}"
    )
    residual = create_plot(
        "residual_vs_predicted", xlabel=f"predicted {name}", ylabel="actual - predicted"
    )
    return [
        draw(
            against,
            f"Predicted {name} against the actual one. On the dashed line, they are equal.",
            size=(4.2, 3.8),
        ),
        draw(
            residual,
            f"Residuals of {name}: the actual value less the predicted one. A trend or a funnel is "
            "something that the network has not learned.",
            size=(4.2, 3.8),
        ),
    ]

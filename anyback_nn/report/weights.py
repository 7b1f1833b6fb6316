"""The section on the weights of the first layer: what each of its units looks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.network.layers import Dense
from anyback_nn.plotting.weight_images import WeightImagesDisplay
from anyback_nn.report.columns import find_image_shape, list_features
from anyback_nn.report.content import Picture, Section, shorten
from anyback_nn.report.drawing import diverging, draw
from anyback_nn.report.subject import Subject

__all__ = ["describe_weights"]

MOST_UNITS, MOST_FEATURES = 64, 30


def describe_weights(subject: Subject) -> Section | None:
    """Show the weights of the first layer; None if it is not dense."""
    model = subject.model
    if not isinstance(model.network.layers[0], Dense):
        return None
    weight = to_numpy(model.params[0]["weight"])
    n_units = min(weight.shape[1], MOST_UNITS)
    of = "" if n_units == weight.shape[1] else f" of {weight.shape[1]}"
    shape = None if subject.encoding is None else find_image_shape(subject.encoding)
    if shape is not None:
        images = weight[:, :n_units].T.reshape(-1, *shape)
        picture = draw(
            lambda ax: WeightImagesDisplay(images=images).plot(ax, cmap=diverging()),
            f"The weights of the first {n_units}{of} units, each an image of the input: blue where "
            "a bright point makes the unit more active, orange where it makes it less active.",
            size=(4.2, 3.4),
        )
    else:
        picture = draw_heat_map(subject, weight, n_units, of)
    return Section("weights", "Weights of the first layer", pictures=[picture])


def draw_heat_map(subject: Subject, weight: Any, n_units: int, of: str) -> Picture:
    """Draw the weights as a map, a line for each feature: those with the largest weights."""
    n_in = len(weight)
    known = None if subject.encoding is None else list_features(subject.encoding)
    names = known or [f"feature {i + 1}" for i in range(n_in)]
    order = np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")[:MOST_FEATURES]
    limit = float(np.abs(weight).max()) or 1.0

    def plot(ax: Any) -> None:
        image = ax.imshow(
            weight[order, :n_units], cmap=diverging(), vmin=-limit, vmax=limit, aspect="auto"
        )
        ax.set_yticks(range(len(order)), [shorten(names[i], 20) for i in order])
        ax.set_xlabel("unit")
        ax.xaxis.get_major_locator().set_params(integer=True)
        bar = ax.figure.colorbar(image, ax=ax, orientation="horizontal", shrink=0.6, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label("weight")

    which = f", of which the {len(order)} with the largest weights" if len(order) < n_in else ""
    caption = (
        f"The weights of the first {n_units}{of} units, a line for each feature{which}: blue makes "
        "a unit more active when the feature is large, orange less."
    )
    return draw(plot, caption, size=(4.2, 1.6 + 0.2 * len(order)))
